// How near the CPU engine's training step comes to its matrix and attention products alone.
//
// The floor is the step's products (linear layers forward and backward; attention's two products forward and
// five backward, causal) at the rate of one large sgemm on all cores. Prints one line a case: bench_cpu_step
// [STEPS]
#include "core/engine.h"
#include "core/flops.h"

#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// FLOPs a second of OpenBLAS on 2048 x 2048 x 2048, the best of some.
static double sgemm_rate(void) {
    const int n = 2048;
    float *a = (float *)alloc_or_exit((size_t)n * n, sizeof *a),
          *b = (float *)alloc_or_exit((size_t)n * n, sizeof *b);
    float *c = (float *)alloc_or_exit((size_t)n * n, sizeof *c);
    for (int i = 0; i < n * n; i++) a[i] = (float)(i % 17) - 8, b[i] = (float)(i % 13) - 6;
    openblas_set_num_threads(omp_get_max_threads());
    double best = 0;
    for (int i = 0; i < 10; i++) {
        double start = omp_get_wtime();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1, a, n, b, n, 0, c, n);
        double rate = 2.0 * n * n * n / (omp_get_wtime() - start);
        best = rate > best ? rate : best;
    }
    free(a);
    free(b);
    free(c);
    return best;
}

// Products of one update: flops_sequence counts six of attention's seven (it leaves out the recomputed
// scores).
static double product_flops(const EngineConfig *config, Attention attention) {
    double flops = flops_sequence(config, config->context, attention);
    for (int layer = 0; layer < config->model.n_layers; layer++) {
        bool lighthouse = attention == ATTENTION_LIGHTHOUSE && !config->dense_layer[layer];
        flops += flops_attention(config, config->context, lighthouse) / 6;
    }
    return flops * (double)config->batch;
}

static void bench(const char *name, const EngineConfig *config, Attention attention, int steps, double rate) {
    Error error;
    Engine *engine = engine_cpu()->create(config, &error);
    if (!engine) error_exit(&error);
    for (int p = 0; p < engine->table.count; p++) {
        const Param *param = &engine->table.params[p];
        float *values = (float *)alloc_or_exit((size_t)param_size(param), sizeof *values);
        param_init(param, 1, 0, param_size(param), values);
        engine_write(engine, TENSOR_WEIGHT, p, 0, param_size(param), values);
        free(values);
    }
    int64_t targets = config->batch * config->context, count = config->batch * (config->context + 1);
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)count, sizeof *tokens);
    for (int64_t i = 0; i < count; i++) tokens[i] = (int32_t)(i * 2654435761u % 256);

    double *seconds = (double *)alloc_or_exit((size_t)steps, sizeof *seconds);
    for (int step = -2; step < steps; step++) { // two to warm up
        double start = omp_get_wtime(), nats, norm;
        AdamW adamw = {step + 3, 1e-3, 0.9, 0.95, 1e-8, 0.1, 1};
        if (!engine_forward_backward(engine, tokens, attention, targets, &nats, &error)) error_exit(&error);
        if (!engine_update(engine, &adamw, &norm, &error)) error_exit(&error);
        if (step >= 0) seconds[step] = omp_get_wtime() - start;
    }
    qsort(seconds, (size_t)steps, sizeof *seconds, ascending);
    double median = seconds[steps / 2], floor = product_flops(config, attention) / rate;
    printf("%-28s %8.1f ms a step, products alone %7.1f ms: %.2fx; %7.0f tokens/s\n", name, median * 1e3,
           floor * 1e3, median / floor, (double)targets / median);
    free(seconds);
    free(tokens);
    engine_destroy(engine);
}

int main(int argc, char **argv) {
    int steps = argc > 1 ? atoi(argv[1]) : 11;
    double rate = sgemm_rate();
    printf("%d threads, sgemm of 2048: %.0f GFLOP/s\n", omp_get_max_threads(), rate * 1e-9);

    EngineConfig config;
    memset(&config, 0, sizeof config);
    ModelConfig tiny = {6, 128, 2, 2, 64, 256, 320, 10000, 1e-5},
                larger = {4, 512, 4, 2, 128, 768, 320, 10000, 1e-5};
    LighthouseConfig lighthouse = {SCORER_NORM, 3, 2, 256, 4};
    config.model = tiny;
    config.lighthouse = lighthouse;
    config.dense_layer[0] = config.dense_layer[1] = config.dense_layer[4] = config.dense_layer[5] = true;
    config.use_lighthouse = true;
    config.training = true;
    config.batch = 1;
    config.context = 2048;
    bench("tiny, dense", &config, ATTENTION_DENSE, steps, rate);
    bench("tiny, Lighthouse (norm)", &config, ATTENTION_LIGHTHOUSE, steps, rate);
    config.lighthouse.scorer = SCORER_DILATED;
    bench("tiny, Lighthouse (dilated)", &config, ATTENTION_LIGHTHOUSE, steps, rate);
    config.lighthouse.scorer = SCORER_GLA;
    bench("tiny, Lighthouse (gla)", &config, ATTENTION_LIGHTHOUSE, steps, rate);

    LighthouseConfig longer = {SCORER_NORM, 3, 4, 256, 4};
    config.model = larger;
    config.lighthouse = longer;
    config.dense_layer[1] = config.dense_layer[4] = config.dense_layer[5] = false;
    config.dense_layer[3] = true;
    config.context = 8192;
    bench("dim 512, 8192 tokens, dense", &config, ATTENTION_DENSE, steps, rate);
    bench("the same, Lighthouse (norm)", &config, ATTENTION_LIGHTHOUSE, steps, rate);
    return 0;
}
