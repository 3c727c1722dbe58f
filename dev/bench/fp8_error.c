// How far FP8 takes matrix products from the exact ones, by the scales of its operands, beside bf16.
//
//   fp8_error train …     the program's own `train`, with a look at every product of a block, forward and
//   backward fp8_error synthetic   one layer of drawn operands: outlying channels and rows of very different
//   size
//
// The linker leads every call of cpu/matmul.c through here (--wrap). An error is ||got - exact|| / ||exact||;
// the exact product is one in float64 of the operands in float32. The table is of medians and of the largest.
#include "core/base/random.h"
#include "cpu/cpu.h"
#include "cpu/fp8.h"
#include "core/base/error.h"

#include <stdio.h>
#include <stdlib.h>

// ---- ways to round an operand

typedef enum { BY_TENSOR, BY_ROW, BY_128, BY_32, AS_BF16 } Scales;
static const struct {
    const char *name;
    Scales scales;
    bool power; // scales are powers of two, else the largest magnitude becomes the format's
    Fp8Format of_gradients;
} ways[] = {
    {"bf16", AS_BF16, false, FP8_E4M3},
    {"a tensor", BY_TENSOR, false, FP8_E4M3},
    {"a tensor, gradients e5m2", BY_TENSOR, false, FP8_E5M2},
    {"a row", BY_ROW, false, FP8_E4M3},
    {"a row, power of two", BY_ROW, true, FP8_E4M3},
    {"a row, gradients e5m2", BY_ROW, false, FP8_E5M2},
    {"1x128, weights 128x128", BY_128, false, FP8_E4M3},
    {"1x128, weights 128x128, power of two", BY_128, true, FP8_E4M3},
    {"1x128, weights 128x128, gradients e5m2", BY_128, false, FP8_E5M2},
    {"1x32, power of two", BY_32, true, FP8_E4M3},
};
enum { WAYS = sizeof ways / sizeof *ways };
enum { FORWARD, OF_INPUT, OF_WEIGHT, PRODUCTS };

// A matrix whose sums run along its rows, and how large its blocks are.
typedef struct {
    int64_t rows, terms;
    int64_t height, width;
} Shape;

static float bf16_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void round_block(float *x, int64_t stride, int64_t height, int64_t width, Fp8Format format,
                        bool power) {
    float largest = 0;
    for (int64_t r = 0; r < height; r++)
        for (int64_t c = 0; c < width; c++) largest = fmaxf(largest, fabsf(x[r * stride + c]));
    float scale = fp8_scale(format, largest);
    if (power) scale = exp2f(ceilf(log2f(scale)));
    for (int64_t r = 0; r < height; r++)
        for (int64_t c = 0; c < width; c++)
            x[r * stride + c] = fp8_round(format, x[r * stride + c] / scale) * scale;
}

static void round_operand(float *x, const Shape *s, Fp8Format format, bool power) {
    int64_t down = (s->rows + s->height - 1) / s->height, across = (s->terms + s->width - 1) / s->width;
#pragma omp parallel for
    for (int64_t i = 0; i < down * across; i++) {
        int64_t r = i / across * s->height, c = i % across * s->width;
        round_block(x + r * s->terms + c, s->terms, s->rows - r < s->height ? s->rows - r : s->height,
                    s->terms - c < s->width ? s->terms - c : s->width, format, power);
    }
}

static Shape shape_of(Scales scales, int64_t rows, int64_t terms, bool weight) {
    Shape s = {rows, terms, 1, terms};
    if (scales == BY_TENSOR) s.height = rows;
    if (scales == BY_128) s.width = 128, s.height = weight ? 128 : 1;
    if (scales == BY_32) s.width = 32;
    return s;
}

// x (rows, terms) as a way rounds it; `of`: what it is
typedef enum { WEIGHT, ACTIVATION, GRADIENT } Operand;
static void round_as(float *out, const float *x, int way, int64_t rows, int64_t terms, Operand of) {
    memcpy(out, x, (size_t)(rows * terms) * sizeof *x);
    if (ways[way].scales == AS_BF16) {
        for (int64_t i = 0; i < rows * terms; i++) out[i] = bf16_of(x[i]);
        return;
    }
    Shape shape = shape_of(ways[way].scales, rows, terms, of == WEIGHT);
    round_operand(out, &shape, of == GRADIENT ? ways[way].of_gradients : FP8_E4M3, ways[way].power);
}

// ---- errors

static struct {
    double *errors;
    int count;
} seen[PRODUCTS][WAYS];

static void note(int product, int way, double error) {
    int n = seen[product][way].count++;
    seen[product][way].errors = (double *)grow_or_exit(seen[product][way].errors, n, sizeof(double));
    seen[product][way].errors[n] = error;
}

static double distance(const float *got, const double *want, int64_t count) {
    double off = 0, all = 0;
    for (int64_t i = 0; i < count; i++) {
        off += (got[i] - want[i]) * (got[i] - want[i]);
        all += want[i] * want[i];
    }
    return sqrt(off / all);
}

// The product of a (m, k) and b (n, k), each summed along its rows, in every way.
static void look(int product, const float *a, Operand of_a, int64_t m, const float *b, Operand of_b,
                 int64_t n, int64_t k) {
    double *exact_a = (double *)alloc_or_exit((size_t)(m * k + n * k + m * n), sizeof *exact_a);
    double *exact_b = exact_a + m * k, *exact = exact_b + n * k;
    float *near_a = (float *)alloc_or_exit((size_t)(m * k + n * k + m * n), sizeof *near_a);
    float *near_b = near_a + m * k, *near = near_b + n * k;
    for (int64_t i = 0; i < m * k; i++) exact_a[i] = a[i];
    for (int64_t i = 0; i < n * k; i++) exact_b[i] = b[i];
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, exact_a, (int)k, exact_b,
                (int)k, 0, exact, (int)n);
    for (int way = 0; way < WAYS; way++) {
        round_as(near_a, a, way, m, k, of_a);
        round_as(near_b, b, way, n, k, of_b);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1, near_a, (int)k,
                    near_b, (int)k, 0, near, (int)n);
        note(product, way, distance(near, exact, m * n));
    }
    free(exact_a);
    free(near_a);
}

static float *transposed(const float *x, int64_t rows, int64_t cols) {
    float *turned = (float *)alloc_or_exit((size_t)(rows * cols), sizeof *turned);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) turned[c * rows + r] = x[r * cols + c];
    return turned;
}

// ---- the products as they are called

// The linker's names for what --wrap leads here, and for what lies behind.
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
void __real_cpu_matmul_forward(real *, const real *, const real *, Places, int64_t, int64_t);
void __real_cpu_matmul_backward_input(real *, const real *, const real *, int64_t, int64_t, int64_t, bool);
void __real_cpu_matmul_backward_weight(real *, const real *, const real *, int64_t, int64_t, int64_t);
int __real_main(int argc, char **argv);

void __wrap_cpu_matmul_forward(real *out, const real *in, const real *weight, Places places, int64_t n_in,
                               int64_t n_out) {
    if (fp8_takes(n_in, n_out))
        look(FORWARD, in, ACTIVATION, places.B * places.N, weight, WEIGHT, n_out, n_in);
    __real_cpu_matmul_forward(out, in, weight, places, n_in, n_out);
}

void __wrap_cpu_matmul_backward_input(real *din, const real *dout, const real *weight, int64_t rows,
                                      int64_t n_in, int64_t n_out, bool accumulate) {
    if (fp8_takes(n_in, n_out)) {
        float *turned = transposed(weight, n_out, n_in);
        look(OF_INPUT, dout, GRADIENT, rows, turned, WEIGHT, n_in, n_out);
        free(turned);
    }
    __real_cpu_matmul_backward_input(din, dout, weight, rows, n_in, n_out, accumulate);
}

void __wrap_cpu_matmul_backward_weight(real *dweight, const real *dout, const real *in, int64_t rows,
                                       int64_t n_in, int64_t n_out) {
    if (fp8_takes(n_in, n_out)) {
        float *of_out = transposed(dout, rows, n_out), *of_in = transposed(in, rows, n_in);
        look(OF_WEIGHT, of_out, GRADIENT, n_out, of_in, ACTIVATION, n_in, rows);
        free(of_out);
        free(of_in);
    }
    __real_cpu_matmul_backward_weight(dweight, dout, in, rows, n_in, n_out);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_table(void) {
    printf("| a scale for | x W^T | dy W | dy^T x |\n| --- | --- | --- | --- |\n");
    for (int way = 0; way < WAYS; way++) {
        printf("| %s |", ways[way].name);
        for (int product = 0; product < PRODUCTS; product++) {
            double *errors = seen[product][way].errors;
            int count = seen[product][way].count;
            if (count == 0) continue;
            qsort(errors, (size_t)count, sizeof *errors, by_size);
            printf(" %.2f (%.2f) |", 100 * errors[count / 2], 100 * errors[count - 1]);
            free(errors);
        }
        printf("\n");
    }
    printf("%d, %d and %d products; errors in percent, median (largest)\n", seen[FORWARD][0].count,
           seen[OF_INPUT][0].count, seen[OF_WEIGHT][0].count);
}

// ---- drawn operands

enum { ROWS = 2048, N_IN = 512, N_OUT = 768 };

// x: four channels a hundred times as large. dy: rows whose sizes spread over some five powers of ten, as of
// tokens that are learned and others.
static void synthetic(void) {
    float *x =
        (float *)alloc_or_exit(ROWS * (size_t)(N_IN + N_OUT) * 2 + (size_t)N_IN * N_OUT * 2, sizeof *x);
    float *weight = x + ROWS * N_IN, *dy = weight + N_OUT * N_IN, *out = dy + ROWS * N_OUT;
    float *din = out + ROWS * N_OUT, *dweight = din + ROWS * N_IN;
    for (int64_t i = 0; i < ROWS * N_IN; i++)
        x[i] = (float)random_normal(1, 0, (uint64_t)i, HUGE_VAL) * (i % N_IN < 4 ? 100 : 1);
    for (int64_t i = 0; i < N_OUT * N_IN; i++)
        weight[i] = (float)random_normal(1, 1, (uint64_t)i, HUGE_VAL) * 0.02f;
    for (int64_t i = 0; i < ROWS * N_OUT; i++)
        dy[i] = (float)(random_normal(1, 2, (uint64_t)i, HUGE_VAL) *
                        exp(3 * random_normal(1, 3, (uint64_t)(i / N_OUT), HUGE_VAL)));
    Places places = {1, ROWS, 0};
    cpu_matmul_forward(out, x, weight, places, N_IN, N_OUT);
    cpu_matmul_backward_input(din, dy, weight, ROWS, N_IN, N_OUT, false);
    cpu_matmul_backward_weight(dweight, dy, x, ROWS, N_IN, N_OUT);
    free(x);
}

int __wrap_main(int argc, char **argv) {
    int status = 0;
    if (argc > 1 && strcmp(argv[1], "synthetic") == 0) {
        synthetic();
    } else {
        status = __real_main(argc, argv);
    }
    if (status == 0) print_table();
    return status;
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
