// FP8 operands: every code by its definition, blocks and linear layers against float64, and what an engine
// multiplies. Every call of cpu/matmul.c comes through here first (the linker's --wrap).
#include "cpu/engine.h"
#include "cpu/fp8.h"
#include "cpu/linear.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/numbers.h"
#include "dev/test/support/small_engine.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

// ---- formats by their definition

// The values of codes 0 and up, the positive ones, up to the largest.
typedef struct {
    int count;
    double values[128];
} Table;

// OCP's 8-bit formats: a code is sign, exponent, mantissa; exponent 0 has no leading one. e4m3's last code is
// NaN, e5m2's last four are infinity and NaN.
static Table table_of(Fp8Format format) {
    Table table;
    int mantissa = format == FP8_E4M3 ? 3 : 2, bias = format == FP8_E4M3 ? 7 : 15;
    table.count = format == FP8_E4M3 ? 127 : 124;
    for (int code = 0; code < table.count; code++) {
        int exponent = code >> mantissa, fraction = code & ((1 << mantissa) - 1);
        double whole = fraction / (double)(1 << mantissa) + (exponent > 0);
        table.values[code] = ldexp(whole, (exponent > 0 ? exponent : 1) - bias);
    }
    return table;
}

static double most_of(Fp8Format format) {
    return format == FP8_E4M3 ? 448 : 57344;
}

// The nearest value, of two the one with the even code.
static double nearest(const Table *table, double x) {
    int best = 0;
    double size = fabs(x);
    for (int code = 1; code < table->count; code++) {
        double off = fabs(table->values[code] - size), least = fabs(table->values[best] - size);
        if (off < least || (off == least && code % 2 == 0)) best = code;
    }
    return copysign(table->values[best], x);
}

static void expect_rounded(Fp8Format format, float x, double want) {
    if (fp8_round(format, x) != want || signbit(fp8_round(format, x)) != signbit(x))
        fail_msg("%s: %.9g becomes %.9g, not %.9g", format ? "e5m2" : "e4m3", x, fp8_round(format, x), want);
    if (fp8_round(format, -x) != -want) fail_msg("%.9g is not as its opposite", -x);
}

static void test_every_code(void **state) {
    (void)state;
    for (int f = FP8_E4M3; f <= FP8_E5M2; f++) {
        Table table = table_of((Fp8Format)f);
        assert_true(table.values[table.count - 1] == most_of((Fp8Format)f));
        for (int code = 0; code < table.count; code++) {
            expect_rounded((Fp8Format)f, (float)table.values[code], table.values[code]);
            if (code + 1 == table.count) break;
            float low = (float)table.values[code], high = (float)table.values[code + 1],
                  tie = (low + high) / 2;
            expect_rounded((Fp8Format)f, tie, code % 2 == 0 ? low : high);
            expect_rounded((Fp8Format)f, nextafterf(tie, 0), low);
            expect_rounded((Fp8Format)f, nextafterf(tie, INFINITY), high);
        }
    }
}

static void test_beyond_the_largest(void **state) {
    (void)state;
    static const float sizes[] = {1.0001f, 1.03f, 1.08f, 1.5f, 4, 1e6f, 1e30f, INFINITY};
    for (int f = FP8_E4M3; f <= FP8_E5M2; f++) {
        float most = (float)most_of((Fp8Format)f);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            expect_rounded((Fp8Format)f, most * sizes[i], most);
        assert_true(isnan(fp8_round((Fp8Format)f, NAN)));
        expect_rounded((Fp8Format)f, 1e-40f, 0);
    }
}

static void test_any_number(void **state) {
    (void)state;
    for (int f = FP8_E4M3; f <= FP8_E5M2; f++) {
        Table table = table_of((Fp8Format)f);
        for (int exponent = -20; exponent < 18; exponent++) {
            float *x = numbers_new(200, (uint64_t)(exponent + 20), ldexp(1, exponent));
            for (int i = 0; i < 200; i++) expect_rounded((Fp8Format)f, x[i], nearest(&table, x[i]));
            free(x);
        }
    }
}

// ---- blocks

// Height and width of a block; that of FP8_ALONG_ROWS is a column.
static void block_size(Fp8Blocks blocks, int64_t *height, int64_t *width) {
    *height = blocks == FP8_ALONG_COLUMNS ? 1 : FP8_BLOCK;
    *width = blocks == FP8_ALONG_ROWS ? 1 : FP8_BLOCK;
}

// The values of a block one by one, each the nearest to it under the scale.
static void block_by_definition(double *out, const float *in, int64_t stride, int64_t height, int64_t width,
                                Fp8Format format, const Table *table) {
    double largest = 0;
    for (int64_t r = 0; r < height; r++)
        for (int64_t c = 0; c < width; c++) largest = fmax(largest, fabs((double)in[r * stride + c]));
    float scale = fmaxf((float)largest / (float)most_of(format), 0x1p-126f), inverse = 1 / scale;
    for (int64_t r = 0; r < height; r++)
        for (int64_t c = 0; c < width; c++)
            out[r * stride + c] = nearest(table, in[r * stride + c] * inverse) * scale;
}

static void quantize_by_definition(double *out, const float *in, int64_t rows, int64_t cols, Fp8Format format,
                                   Fp8Blocks blocks) {
    Table table = table_of(format);
    int64_t height, width;
    block_size(blocks, &height, &width);
    for (int64_t r = 0; r < rows; r += height)
        for (int64_t c = 0; c < cols; c += width)
            block_by_definition(out + r * cols + c, in + r * cols + c, cols,
                                rows - r < height ? rows - r : height, width, format, &table);
}

// Values of very different size, beside each other and in all blocks.
static float *uneven(int64_t rows, int64_t cols, uint64_t stream) {
    float *x = numbers_new(rows * cols, stream, 1);
    for (int64_t i = 0; i < rows * cols; i++) {
        int64_t row = i / cols, col = i % cols;
        x[i] *= (float)exp(1.5 * sin((double)row * 0.7) + 2 * cos((double)col * 0.3));
    }
    return x;
}

static void check_blocks(int64_t rows, int64_t cols, Fp8Format format, Fp8Blocks blocks) {
    float *in = uneven(rows, cols, 3), *got = numbers_new(rows * cols, 4, 1);
    double *want = numbers_zeros(rows * cols);
    if (cols > FP8_BLOCK) memset(in, 0, FP8_BLOCK * sizeof *in); // a whole block, or a row of it
    fp8_quantize(got, in, rows, cols, format, blocks);
    quantize_by_definition(want, in, rows, cols, format, blocks);
    for (int64_t i = 0; i < rows * cols; i++) {
        if (got[i] != (float)want[i])
            fail_msg("blocks %d, (%d, %d) of (%d, %d): %.9g, not %.9g", (int)blocks, (int)(i / cols),
                     (int)(i % cols), (int)rows, (int)cols, got[i], want[i]);
    }
    free(in);
    free(got);
    free(want);
}

static void test_blocks(void **state) {
    (void)state;
    for (int f = FP8_E4M3; f <= FP8_E5M2; f++) {
        for (int b = FP8_ALONG_COLUMNS; b <= FP8_SQUARE; b++) {
            check_blocks(1, 128, (Fp8Format)f, (Fp8Blocks)b);
            check_blocks(130, 256, (Fp8Format)f, (Fp8Blocks)b);
            check_blocks(256, 384, (Fp8Format)f, (Fp8Blocks)b);
        }
    }
}

// A value that is not finite makes its block NaN, and no other; the smallest numbers are as far apart as
// there.
static void test_not_finite(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    assert_true(isnan(fp8_scale(FP8_E4M3, INFINITY)) && isnan(fp8_scale(FP8_E4M3, NAN)));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        float *x = numbers_new(3 * 256, 1, 1);
        x[256 + 130] = bad[i];
        fp8_quantize(x, x, 3, 256, FP8_E4M3, FP8_ALONG_COLUMNS);
        for (int64_t at = 0; at < 3 * 256; at++) assert_true(!!isnan(x[at]) == (at >= 256 + 128 && at < 512));
        free(x);
    }
    float tiny[128] = {1e-40f, -1e-45f, 0, FLT_MIN}, rounded[128];
    fp8_quantize(rounded, tiny, 1, 128, FP8_E4M3, FP8_ALONG_COLUMNS);
    for (int i = 0; i < 128; i++) assert_true(fabsf(rounded[i] - tiny[i]) <= FLT_MIN * 0x1p-10f);
    assert_true(rounded[3] == FLT_MIN);
}

// ---- linear layers: forward and gradients, straight through the rounding

typedef struct {
    int64_t rows, n_in, n_out;
    float *in, *weight, *dout;
    CpuFp8 room;
} Layer;

static Layer layer_new(int64_t rows, int64_t n_in, int64_t n_out) {
    Layer l = {rows, n_in, n_out, uneven(rows, n_in, 5), uneven(n_out, n_in, 6), uneven(rows, n_out, 7), {0}};
    l.room.left = numbers_new(rows * (n_in + n_out), 8, 1);
    l.room.right = numbers_new((rows + n_out) * (n_in + n_out), 9, 1);
    return l;
}

static void layer_free(Layer *l) {
    void *buffers[] = {l->in, l->weight, l->dout, l->room.left, l->room.right};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

// sum[i] += the sum over k of a[i / n, k] b[i % n, k], each with the strides of its two indices
typedef struct {
    const double *x;
    int64_t row, term;
} Side;
static void add_products(double *sum, Side a, Side b, int64_t m, int64_t n, int64_t terms) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t k = 0; k < terms; k++)
                sum[i * n + j] += a.x[i * a.row + k * a.term] * b.x[j * b.row + k * b.term];
}

static void expect_near(const char *what, const float *got, const double *want, int64_t count) {
    double error = numbers_error(got, want, count);
    if (!(error < 2e-6)) fail_msg("%s is off by %.2e of its norm", what, error);
}

static void check_forward(const Layer *l) {
    double *in = numbers_zeros(l->rows * l->n_in), *weight = numbers_zeros(l->n_out * l->n_in);
    double *want = numbers_zeros(l->rows * l->n_out);
    float *got = numbers_new(l->rows * l->n_out, 10, 1);
    Places places = {1, l->rows, 0};
    quantize_by_definition(in, l->in, l->rows, l->n_in, FP8_E4M3, FP8_ALONG_COLUMNS);
    quantize_by_definition(weight, l->weight, l->n_out, l->n_in, FP8_E4M3, FP8_SQUARE);
    add_products(want, (Side){in, l->n_in, 1}, (Side){weight, l->n_in, 1}, l->rows, l->n_out, l->n_in);
    cpu_linear_forward(&l->room, got, l->in, l->weight, places, l->n_in, l->n_out);
    expect_near("the product", got, want, l->rows * l->n_out);
    void *buffers[] = {in, weight, want, got};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

static void check_backward_input(const Layer *l, bool accumulate) {
    int64_t count = l->rows * l->n_in;
    double *dout = numbers_zeros(l->rows * l->n_out), *weight = numbers_zeros(l->n_out * l->n_in);
    double *want = numbers_zeros(count);
    float *got = numbers_new(count, 11, 1);
    for (int64_t i = 0; i < count && accumulate; i++) want[i] = got[i];
    quantize_by_definition(dout, l->dout, l->rows, l->n_out, FP8_E4M3, FP8_ALONG_COLUMNS);
    quantize_by_definition(weight, l->weight, l->n_out, l->n_in, FP8_E4M3, FP8_SQUARE);
    add_products(want, (Side){dout, l->n_out, 1}, (Side){weight, 1, l->n_in}, l->rows, l->n_in, l->n_out);
    cpu_linear_backward_input(&l->room, got, l->dout, l->weight, l->rows, l->n_in, l->n_out, accumulate);
    expect_near("the gradient of the input", got, want, count);
    void *buffers[] = {dout, weight, want, got};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

static void check_backward_weight(const Layer *l) {
    int64_t count = l->n_out * l->n_in;
    double *dout = numbers_zeros(l->rows * l->n_out), *in = numbers_zeros(l->rows * l->n_in);
    double *want = numbers_zeros(count);
    float *got = numbers_new(count, 12, 1);
    for (int64_t i = 0; i < count; i++) want[i] = got[i];
    quantize_by_definition(dout, l->dout, l->rows, l->n_out, FP8_E4M3, FP8_ALONG_ROWS);
    quantize_by_definition(in, l->in, l->rows, l->n_in, FP8_E4M3, FP8_ALONG_ROWS);
    add_products(want, (Side){dout, 1, l->n_out}, (Side){in, 1, l->n_in}, l->n_out, l->n_in, l->rows);
    cpu_linear_backward_weight(&l->room, got, l->dout, l->in, l->rows, l->n_in, l->n_out);
    expect_near("the gradient of the weight", got, want, count);
    void *buffers[] = {dout, in, want, got};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]);
}

static void test_products(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {{130, 128, 256}, {256, 256, 128}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        Layer l = layer_new(shapes[i][0], shapes[i][1], shapes[i][2]);
        check_forward(&l);
        check_backward_input(&l, false);
        check_backward_input(&l, true);
        check_backward_weight(&l);
        layer_free(&l);
    }
}

// Slices of whole blocks of tokens make what all tokens make: the same bits forward, the same sum of
// gradients.
static void test_slices(void **state) {
    (void)state;
    const int64_t cut = 128;
    Layer l = layer_new(384, 128, 256);
    Places places[] = {{1, l.rows, 0}, {1, cut, 0}, {1, l.rows - cut, cut}};
    float *whole = numbers_new(l.rows * l.n_out, 10, 1), *sliced = numbers_new(l.rows * l.n_out, 11, 1);
    double *sum = numbers_zeros(l.n_out * l.n_in);
    for (int i = 0; i < 3; i++)
        cpu_linear_forward(&l.room, i ? sliced + places[i].first * l.n_out : whole,
                           l.in + places[i].first * l.n_in, l.weight, places[i], l.n_in, l.n_out);
    assert_memory_equal(whole, sliced, (size_t)(l.rows * l.n_out) * sizeof *whole);
    memset(whole, 0, (size_t)(l.n_out * l.n_in) * sizeof *whole);
    memset(sliced, 0, (size_t)(l.n_out * l.n_in) * sizeof *sliced);
    for (int i = 0; i < 3; i++)
        cpu_linear_backward_weight(&l.room, i ? sliced : whole, l.dout + places[i].first * l.n_out,
                                   l.in + places[i].first * l.n_in, places[i].N, l.n_in, l.n_out);
    for (int64_t i = 0; i < l.n_out * l.n_in; i++) sum[i] = whole[i];
    expect_near("the sum of slices", sliced, sum, l.n_out * l.n_in);
    free(whole);
    free(sliced);
    free(sum);
    layer_free(&l);
}

// ---- what an engine multiplies

// Calls of products, and of those whose operands are FP8, in both backward and forward.
typedef struct {
    int calls, fp8;
} Count;
static struct { Count forward, of_input, of_weight; } counted;

// Whether rounding in these blocks changes nothing but a scale's last bits.
static bool is_rounded(const real *x, int64_t rows, int64_t cols, Fp8Blocks blocks) {
    float *again = numbers_new(rows * cols, 1, 1);
    bool same = true;
    fp8_quantize(again, x, rows, cols, FP8_E4M3, blocks);
    for (int64_t i = 0; i < rows * cols; i++) same = same && fabsf(again[i] - x[i]) <= 1e-6f * fabsf(x[i]);
    free(again);
    return same;
}

static void count(Count *count_of, bool fp8) {
    count_of->calls++;
    count_of->fp8 += fp8;
}

// The linker's names for what --wrap leads here, and for what lies behind.
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
void __real_cpu_matmul_forward(real *, const real *, const real *, Places, int64_t, int64_t);
void __wrap_cpu_matmul_forward(real *out, const real *in, const real *weight, Places places, int64_t n_in,
                               int64_t n_out) {
    if (fp8_takes(n_in, n_out))
        count(&counted.forward, is_rounded(in, places.B * places.N, n_in, FP8_ALONG_COLUMNS) &&
                                    is_rounded(weight, n_out, n_in, FP8_SQUARE));
    __real_cpu_matmul_forward(out, in, weight, places, n_in, n_out);
}

void __real_cpu_matmul_backward_input(real *, const real *, const real *, int64_t, int64_t, int64_t, bool);
void __wrap_cpu_matmul_backward_input(real *din, const real *dout, const real *weight, int64_t rows,
                                      int64_t n_in, int64_t n_out, bool accumulate) {
    if (fp8_takes(n_in, n_out))
        count(&counted.of_input, is_rounded(dout, rows, n_out, FP8_ALONG_COLUMNS) &&
                                     is_rounded(weight, n_out, n_in, FP8_SQUARE));
    __real_cpu_matmul_backward_input(din, dout, weight, rows, n_in, n_out, accumulate);
}

void __real_cpu_matmul_backward_weight(real *, const real *, const real *, int64_t, int64_t, int64_t);
void __wrap_cpu_matmul_backward_weight(real *dweight, const real *dout, const real *in, int64_t rows,
                                       int64_t n_in, int64_t n_out) {
    if (fp8_takes(n_in, n_out))
        count(&counted.of_weight,
              is_rounded(dout, rows, n_out, FP8_ALONG_ROWS) && is_rounded(in, rows, n_in, FP8_ALONG_ROWS));
    __real_cpu_matmul_backward_weight(dweight, dout, in, rows, n_in, n_out);
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

// Two layers; widths of the heads' and the FFN's differ from the model's.
static EngineConfig fp8_config(bool fp8) {
    EngineConfig config = small_engine_config(SCORER_NORM, 1, 384);
    config.model.n_layers = 2;
    config.model.dim = 128;
    config.model.ffn_dim = 256;
    config.fp8 = fp8;
    return config;
}

static void expect_count(const char *what, Count got, int calls, int fp8) {
    if (got.calls != calls || got.fp8 != fp8)
        fail_msg("%s: %d products of %d have FP8 operands, not %d of %d", what, got.fp8, got.calls, fp8,
                 calls);
}

// One pass over two layers of seven products.
static void check_engine(bool fp8, bool recompute) {
    EngineConfig config = fp8_config(fp8);
    config.recompute = recompute;
    Engine *engine = small_engine_create(&config);
    int32_t *tokens = small_engine_tokens(385, 1);
    memset(&counted, 0, sizeof counted);
    small_engine_train(engine, tokens, ATTENTION_LIGHTHOUSE, 384);
    int forward = recompute ? 21 : 14;
    expect_count("forward", counted.forward, forward, fp8 ? forward : 0);
    expect_count("gradients of inputs", counted.of_input, 14, fp8 ? 14 : 0);
    expect_count("gradients of weights", counted.of_weight, 14, fp8 ? 14 : 0);
    free(tokens);
    engine_destroy(engine);
}

static void test_what_an_engine_multiplies(void **state) {
    (void)state;
    check_engine(false, false);
    check_engine(true, false);
    check_engine(true, true);
}

// Only what has whole blocks on both sides.
static void test_other_widths(void **state) {
    (void)state;
    EngineConfig config = fp8_config(true);
    config.model.ffn_dim = 136;
    assert_string_equal(fp8_names(&config.model, true).text, "q_proj, k_proj, v_proj, o_proj");
    assert_string_equal(fp8_names(&config.model, false).text, "gate_proj, up_proj, down_proj");
    Engine *engine = small_engine_create(&config);
    int32_t *tokens = small_engine_tokens(385, 1);
    memset(&counted, 0, sizeof counted);
    small_engine_train(engine, tokens, ATTENTION_DENSE, 384);
    expect_count("forward", counted.forward, 8, 8);
    free(tokens);
    engine_destroy(engine);
}

// The same bits with and without recomputation, on any number of threads, and not those of bf16.
static void test_same_bits(void **state) {
    (void)state;
    EngineConfig config = fp8_config(true), again = config, exact = fp8_config(false);
    again.recompute = true;
    Engine *a = small_engine_create(&config), *b = small_engine_create(&again),
           *c = small_engine_create(&exact);
    int32_t *tokens = small_engine_tokens(385, 1);
    double nats = small_engine_train(a, tokens, ATTENTION_LIGHTHOUSE, 384);
    omp_set_num_threads(2);
    assert_true(nats == small_engine_train(b, tokens, ATTENTION_LIGHTHOUSE, 384));
    omp_set_num_threads(1);
    expect_same_bits(a, b, TENSOR_GRADIENT);
    double without = small_engine_train(c, tokens, ATTENTION_LIGHTHOUSE, 384);
    assert_true(nats != without && fabs(nats / without - 1) < 0.01);
    free(tokens);
    engine_destroy(a);
    engine_destroy(b);
    engine_destroy(c);
}

static void test_refused(void **state) {
    (void)state;
    static MemoryPlan plan;
    Error error;
    EngineConfig config = fp8_config(true);
    config.context = 200;
    config.use_lighthouse = false;
    expect_failed(engine_cpu()->plan(&config, &plan, &error), &error, STATUS_USAGE,
                  "--seq-len 200 must be a multiple of 128");
    expect_part(error.message, "take 128, or --matmul bf16");
    Ranks pair = {0};
    pair.size = pair.context_size = 2;
    config = fp8_config(true);
    config.ranks = &pair;
    expect_failed(fp8_check(&config, &error), &error, STATUS_USAGE,
                  "--seq-len 384 must be a multiple of 256");
    config = fp8_config(true);
    config.model.dim = 72;
    expect_failed(engine_cpu()->plan(&config, &plan, &error), &error, STATUS_USAGE, "no product takes it");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code),   cmocka_unit_test(test_beyond_the_largest),
        cmocka_unit_test(test_any_number),   cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_not_finite),   cmocka_unit_test(test_products),
        cmocka_unit_test(test_slices),       cmocka_unit_test(test_what_an_engine_multiplies),
        cmocka_unit_test(test_other_widths), cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
