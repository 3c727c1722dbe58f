// A library put before OpenBLAS (LD_PRELOAD) that spoils its products; never part of a program. BLAS_FAULT
// says how:
//
//   NT, NN, TN  the last element of products of that kind (first and second operand, T for transposed) is off
//   added       products that are added to what is there forget it
//   behind      an element behind the last row is written
//   illegal     an instruction that no processor has
//   memory      memory that nobody has
//   other       nothing, but the second rank says that it has other kernels
#include <cblas.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

// The library's own function.
#define NEXT(type, name) \
    static type next;    \
    if (!next) *(void **)(void *)&next = dlsym(RTLD_NEXT, name)

static int is(const char *fault) {
    const char *wanted = getenv("BLAS_FAULT");
    return wanted && strcmp(wanted, fault) == 0;
}

typedef void (*Sgemm)(OPENBLAS_CONST enum CBLAS_ORDER, OPENBLAS_CONST enum CBLAS_TRANSPOSE,
                      OPENBLAS_CONST enum CBLAS_TRANSPOSE, OPENBLAS_CONST blasint, OPENBLAS_CONST blasint,
                      OPENBLAS_CONST blasint, OPENBLAS_CONST float, OPENBLAS_CONST float *,
                      OPENBLAS_CONST blasint, OPENBLAS_CONST float *, OPENBLAS_CONST blasint,
                      OPENBLAS_CONST float, float *, OPENBLAS_CONST blasint);

void cblas_sgemm(OPENBLAS_CONST enum CBLAS_ORDER order, OPENBLAS_CONST enum CBLAS_TRANSPOSE a_form,
                 OPENBLAS_CONST enum CBLAS_TRANSPOSE b_form, OPENBLAS_CONST blasint m,
                 OPENBLAS_CONST blasint n, OPENBLAS_CONST blasint k, OPENBLAS_CONST float alpha,
                 OPENBLAS_CONST float *a, OPENBLAS_CONST blasint lda, OPENBLAS_CONST float *b,
                 OPENBLAS_CONST blasint ldb, OPENBLAS_CONST float beta, float *c,
                 OPENBLAS_CONST blasint ldc) {
    NEXT(Sgemm, "cblas_sgemm");
    const char kind[] = {a_form == CblasTrans ? 'T' : 'N', b_form == CblasTrans ? 'T' : 'N', 0};
    if (is("illegal")) raise(SIGILL);
    if (is("memory")) raise(SIGSEGV);
    next(order, a_form, b_form, m, n, k, alpha, a, lda, b, ldb, is("added") ? 0 : beta, c, ldc);
    float *last = c + (size_t)(m - 1) * (size_t)ldc + n - 1;
    if (is(kind)) *last += 0.5f;
    if (is("behind")) last[1] = 0;
}

typedef char *(*CoreName)(void);

char *openblas_get_corename(void) {
    NEXT(CoreName, "openblas_get_corename");
    static char other[] = "Other";
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    return is("other") && rank && strcmp(rank, "1") == 0 ? other : next();
}
