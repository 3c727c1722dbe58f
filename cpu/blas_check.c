// Whether the BLAS computes what it should; see blas_check.h.
#include "cpu/blas_check.h"

#include "cpu/cpu.h"

#include <float.h>
#include <omp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

// c (m, n) = scale op(a) op(b) + beta c; op(a): (m, k). Rows lie `GAP` elements further apart than they are
// long.
typedef struct {
    bool transpose_a, transpose_b;
    int m, n, k;
    real scale, beta;
} Product;

#define GAP 3

// The kinds of cpu/matmul.c and cpu/sdpa.c: whole tiles, tails of every edge, sums longer than a block of any
// kernel.
static const Product products[] = {
    {false, true, ROW_TILE, 96, 72, 1, 0},      // a linear layer forward
    {false, true, 1, 264, 65, 1, 0},            // a token's logits
    {false, true, 127, 37, 24, (real)0.125, 0}, // scores of attention
    {false, true, 13, 8, 1100, 1, 0},
    {false, false, 67, 88, 72, 1, 0}, // backward to the input
    {false, false, 64, 65, 39, 1, 1}, // added up; attention's output
    {false, false, 3, 24, 1100, 1, 1},
    {true, false, 88, 72, 131, 1, 1}, // backward to the weight; keys and values
    {true, false, 37, 64, 127, 1, 1},
    {true, false, 7, 5, 1100, 1, 1},
};

static const char *kind_of(const Product *p) {
    return p->transpose_a ? "A^T B" : p->transpose_b ? "A B^T" : "A B";
}

// ---- one product

static int columns_a(const Product *p) {
    return p->transpose_a ? p->m : p->k;
}
static int columns_b(const Product *p) {
    return p->transpose_b ? p->k : p->n;
}

// Uniform in [-1, 1).
static real *numbers(int64_t count, uint64_t seed) {
    real *x = (real *)alloc_or_exit((size_t)count, sizeof *x);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = (real)((double)(seed >> 40) / (1 << 23) - 1);
    }
    return x;
}

// Row i of op(a) op(b), and of the sums of the terms' sizes, which bound what rounding may do.
static void plain_row(double *sum, double *sizes, const real *a, const real *b, const Product *p, int i) {
    int lda = columns_a(p) + GAP, ldb = columns_b(p) + GAP;
    for (int j = 0; j < p->n; j++) sum[j] = sizes[j] = 0;
    for (int l = 0; l < p->k; l++) {
        double x = p->transpose_a ? a[l * lda + i] : a[i * lda + l];
        for (int j = 0; j < p->n; j++) {
            double term = x * (p->transpose_b ? b[j * ldb + l] : b[l * ldb + j]);
            sum[j] += term;
            sizes[j] += fabs(term);
        }
    }
}

// The first element of `got` that k + 2 roundings do not explain, -1 for none. Behind each row nothing may
// have been written.
static int wrong_element(const real *got, const real *before, const real *a, const real *b,
                         const Product *p) {
    double *sum = (double *)alloc_or_exit((size_t)p->n, 2 * sizeof *sum), *sizes = sum + p->n;
    double epsilon = sizeof(real) == sizeof(float) ? FLT_EPSILON : DBL_EPSILON;
    int ldc = p->n + GAP, wrong = -1;
    for (int i = 0; i < p->m && wrong < 0; i++) {
        plain_row(sum, sizes, a, b, p, i);
        for (int j = 0; j < ldc && wrong < 0; j++) {
            int at = i * ldc + j;
            double old = p->beta * before[at], want = j < p->n ? p->scale * sum[j] + old : before[at];
            double most = j < p->n ? epsilon * (p->k + 2) * (p->scale * sizes[j] + fabs(old)) : 0;
            if (!(fabs(got[at] - want) <= most)) wrong = at;
        }
    }
    free(sum);
    return wrong;
}

// Whether the BLAS gives what plain loops do.
static bool product_right(const Product *p, int *wrong) {
    int rows_a = p->transpose_a ? p->k : p->m, rows_b = p->transpose_b ? p->n : p->k;
    int lda = columns_a(p) + GAP, ldb = columns_b(p) + GAP, ldc = p->n + GAP;
    real *a = numbers((int64_t)rows_a * lda, 1), *b = numbers((int64_t)rows_b * ldb, 2);
    real *before = numbers((int64_t)p->m * ldc, 3), *c = numbers((int64_t)p->m * ldc, 3);
    for (int i = 0; i < p->m && p->beta == 0; i++) { // what is not added to need not be a number
        for (int j = 0; j < p->n; j++) c[i * ldc + j] = (real)NAN;
    }
    real_gemm(CblasRowMajor, p->transpose_a ? CblasTrans : CblasNoTrans,
              p->transpose_b ? CblasTrans : CblasNoTrans, p->m, p->n, p->k, p->scale, a, lda, b, ldb, p->beta,
              c, ldc);
    *wrong = wrong_element(c, before, a, b, p);
    free(a);
    free(b);
    free(before);
    free(c);
    return *wrong < 0;
}

// ---- all of them

void blas_describe(char *text, size_t size) {
    char name[32] = "", version[32] = ""; // behind them comes how it was built
    sscanf(openblas_get_config(), "%31s %31s", name, version);
    snprintf(text, size, "%s %s with kernels for %s", name, version, openblas_get_corename());
}

// Another core type that this processor has, where the library can take one.
static const char *other_core(void) {
    const char *now = openblas_get_corename();
    if (!strstr(openblas_get_config(), "DYNAMIC_ARCH")) return NULL;
#ifdef __x86_64__
    bool modern = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (modern && strcmp(now, "Haswell") != 0) return "Haswell";
    return strcmp(now, "Nehalem") == 0 ? "Prescott" : "Nehalem";
#else
    (void)now;
    return NULL;
#endif
}

static bool refuse(Error *error, const char *fault) {
    char library[128], mend[64] = "";
    const char *core = other_core();
    blas_describe(library, sizeof library);
    if (core) snprintf(mend, sizeof mend, "set OPENBLAS_CORETYPE=%s, or ", core);
    return error_set(error, STATUS_MEMORY, "%s %s on this processor: %sinstall a newer OpenBLAS", library,
                     fault, mend);
}

static sigjmp_buf before_check;

static void leave_check(int signal) {
    siglongjmp(before_check, signal);
}

static bool check_products(Error *error) {
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        const Product *p = &products[i];
        int wrong;
        if (product_right(p, &wrong)) continue;
        char fault[160];
        snprintf(fault, sizeof fault, "computes a wrong product (%s of %d x %d x %d%s, row %d, column %d)",
                 kind_of(p), p->m, p->n, p->k, p->beta == 0 ? "" : ", added", wrong / (p->n + GAP),
                 wrong % (p->n + GAP));
        return refuse(error, fault);
    }
    return true;
}

// OpenBLAS maps a buffer for every thread that multiplies, and tries for ever where a limit (ulimit -v)
// leaves no room for one. This much it is on x86-64.
#define BUFFER_BYTES ((size_t)128 << 20)

static bool buffers_fit(Error *error) {
    struct rlimit limit;
    int threads = omp_get_max_threads(), got = 0;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return true;
    void **buffers = (void **)alloc_or_exit((size_t)threads, sizeof *buffers);
    while (got < threads) {
        void *buffer = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (buffer == MAP_FAILED) break;
        buffers[got++] = buffer;
    }
    for (int i = 0; i < got; i++) munmap(buffers[i], BUFFER_BYTES);
    free(buffers);
    return got == threads ||
           error_set(
               error, STATUS_MEMORY,
               "OpenBLAS maps %zu MB for each of %d threads, and there is room for %d: raise the limit of "
               "address space (ulimit -v), or set OMP_NUM_THREADS and OPENBLAS_NUM_THREADS to fewer",
               BUFFER_BYTES >> 20, threads, got);
}

// A name that OpenBLAS does not know is passed over by it without a word.
static void warn_of_core_type(void) {
    const char *asked = getenv("OPENBLAS_CORETYPE"), *taken = openblas_get_corename();
    if (!asked || !asked[0] || strcasecmp(asked, taken) == 0) return;
    warn("OPENBLAS_CORETYPE=%s is no core type of this OpenBLAS, which takes kernels for %s", asked, taken);
}

bool blas_check(Error *error) {
    warn_of_core_type();
    if (!buffers_fit(error)) return false;
    struct sigaction action, old_ill, old_segv;
    memset(&action, 0, sizeof action);
    action.sa_handler = leave_check;
    sigemptyset(&action.sa_mask);
    openblas_set_num_threads(1); // the kernels spread tiles over the cores themselves
    sigaction(SIGILL, &action, &old_ill);
    sigaction(SIGSEGV, &action, &old_segv);
    int signal = sigsetjmp(before_check, 1);
    bool ok = signal == 0 ? check_products(error)
                          : refuse(error, signal == SIGILL ? "uses an instruction that does not exist"
                                                           : "reads memory that it was not given");
    sigaction(SIGILL, &old_ill, NULL);
    sigaction(SIGSEGV, &old_segv, NULL);
    return ok;
}

// ---- The end

static void end_at_once(int status, void *unused) {
    (void)unused;
    fflush(NULL);
    _exit(status);
}

void blas_end_under_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) on_exit(end_at_once, NULL);
}

// ---- Ranks

void blas_compare(Ranks *ranks) {
    if (!ranks_many(ranks)) return;
    char own[128];
    memset(own, 0, sizeof own);
    blas_describe(own, sizeof own);
    char *all = (char *)alloc_or_exit((size_t)ranks->size, sizeof own);
    ranks_gather(ranks, own, sizeof own, all);
    int other = 1;
    while (other < ranks->size && strcmp(all, all + (size_t)other * sizeof own) == 0) other++;
    if (other < ranks->size) {
        warn("rank %d on %s computes by %s, rank 0 on %s by %s: sums are rounded in other ways, and a run on "
             "other ranks, or resumed, need not give the same bits; the same OPENBLAS_CORETYPE for all ranks "
             "makes them alike",
             other, ranks_host(ranks, other), all + (size_t)other * sizeof own, ranks_host(ranks, 0), all);
    }
    free(all);
}
