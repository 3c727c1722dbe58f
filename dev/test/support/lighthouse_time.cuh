// Times of the Lighthouse layer's parts: medians, with everything out of the cache before each run, beside
// the bytes each must move once and the share of a plain copy's speed that makes.
#ifndef TEST_LIGHTHOUSE_TIME_CUH
#define TEST_LIGHTHOUSE_TIME_CUH

#include "dev/test/support/lighthouse_case.cuh"

#include <algorithm>

#define TIME_RUNS  15
#define TIME_FLUSH ((size_t)512 << 20) // bytes written before each run

typedef struct {
    CudaContext *context;
    void *flush; // two buffers of TIME_FLUSH bytes
    cudaEvent_t begin, end;
    double copy; // bytes a second, read and written
} Timer;

// Median milliseconds of a call that puts work on the context's stream.
template <typename Call> static inline double time_call(Timer *timer, Call call) {
    float times[TIME_RUNS];
    call();
    for (int run = 0; run < TIME_RUNS; run++) {
        CUDA_CHECK(cudaMemsetAsync(timer->flush, run, TIME_FLUSH, timer->context->stream));
        CUDA_CHECK(cudaEventRecord(timer->begin, timer->context->stream));
        call();
        CUDA_CHECK(cudaEventRecord(timer->end, timer->context->stream));
        CUDA_CHECK(cudaEventSynchronize(timer->end));
        CUDA_CHECK(cudaEventElapsedTime(&times[run], timer->begin, timer->end));
    }
    std::sort(times, times + TIME_RUNS);
    return times[TIME_RUNS / 2];
}

// bytes 0: not a matter of bytes
template <typename Call>
static inline void time_part(Timer *timer, const char *name, double bytes, Call call) {
    double ms = time_call(timer, call);
    printf("  %-28s %9.3f ms", name, ms);
    if (bytes > 0)
        printf("  %8.1f MB  %5.1f %% of copy speed", bytes / 1e6, 100 * bytes / (ms / 1e3) / timer->copy);
    printf("\n");
    fflush(stdout);
}

static inline void time_or_exit(bool ok, const Error *error) {
    if (!ok) error_exit(error);
}

static inline void time_norm_layer(Timer *timer, Sdpa *sdpa, const LighthouseSetting *setting) {
    LighthouseCase *c = case_create_gpu(setting, timer->context, sdpa);
    const LighthouseShape *shape = &c->shape;
    const Hierarchy *h = &shape->hierarchy;
    double heads = (double)shape->B * shape->H, row = 2.0 * shape->D, tokens = heads * h->n * row;
    double rows = heads * h->n_selected * row, entries = heads * h->n_entries * 4, base = heads * h->n * 4;
    CudaContext *context = timer->context;
    SdpaProblem problem = gathered_problem(shape);
    Error error;
    printf("%s: S %lld\n", setting->name, (long long)h->n_selected);
    NormJob jobs[2] = {norm_job(c->q, c->scratch.scores.q, shape->H),
                       norm_job(c->k, c->scratch.scores.k, shape->H)};
    time_part(timer, "norm", 2 * tokens + 2 * base, [&] {
        norm_scores(context, &jobs[0], &jobs[1], shape->B, shape->H, h->n, h->n_entries, shape->D);
    });
    time_part(timer, "coarser scores", 2 * entries, [&] { pool_scores(context, c->scratch.scores, shape); });
    time_part(timer, "select and order", 0,
              [&] { select_entries(context, c->rows.entries, c->rows.positions, c->scratch.scores, shape); });
    time_part(timer, "gather", 3 * (tokens + rows),
              [&] { cuda_lighthouse_gather(context, &c->rows, c->q, c->k, c->v, shape); });
    time_part(timer, "SDPA of S rows", 0, [&] {
        time_or_exit(sdpa_forward(sdpa, &problem, c->rows.q, c->rows.k, c->rows.v, c->rows.out, c->rows.lse,
                                  c->scratch.sdpa, c->scratch.sdpa_bytes, &error),
                     &error);
    });
    time_part(timer, "scatter", tokens + rows + entries,
              [&] { cuda_lighthouse_scatter(context, c->out, &c->rows, shape); });
    time_part(timer, "scatter backward", tokens + rows,
              [&] { cuda_lighthouse_scatter_backward(context, c->scratch.dout, c->dout, &c->rows, shape); });
    time_part(timer, "SDPA of S rows, backward", 0, [&] {
        time_or_exit(sdpa_backward(sdpa, &problem, c->rows.q, c->rows.k, c->rows.v, c->rows.out,
                                   c->scratch.dout, c->rows.lse, c->scratch.dq, c->scratch.dk, c->scratch.dv,
                                   c->scratch.sdpa, c->scratch.sdpa_bytes, &error),
                     &error);
    });
    time_part(timer, "gather backward", 3 * (tokens + rows) + entries, [&] {
        cuda_lighthouse_gather_backward(context, c->dq, c->dk, c->dv, &c->rows, &c->scratch, shape);
    });
    auto forward = [&] {
        time_or_exit(cuda_lighthouse_forward(context, sdpa, c->out, &c->rows, &c->scratch, c->q, c->k, c->v,
                                             NULL, false, NULL, shape, &error),
                     &error);
    };
    time_part(timer, "layer, forward", 0, forward);
    time_part(timer, "layer, forward and backward", 0, [&] {
        forward();
        time_or_exit(cuda_lighthouse_backward(context, sdpa, c->dq, c->dk, c->dv, c->dout, &c->rows,
                                              &c->scratch, shape, &error),
                     &error);
    });
    case_free(c);
}

static inline void time_scorer(Timer *timer, Sdpa *sdpa, const LighthouseSetting *setting, int64_t C) {
    LighthouseCase *c = case_create_gpu(setting, timer->context, sdpa);
    int64_t rows = setting->B * setting->N;
    Error error;
    printf("%s\n", setting->name);
    if (setting->config.scorer == SCORER_GLA) {
        bf16 *x = gpu_alloc<bf16>(rows * C);
        float *weight = gpu_alloc<float>(setting->H * C), *bias = gpu_alloc<float>(setting->H);
        case_fill(x, rows * C, 5, 0);
        CUDA_CHECK(cudaMemset(weight, 0, (size_t)(setting->H * C) * sizeof *weight));
        CUDA_CHECK(cudaMemset(bias, 0, (size_t)setting->H * sizeof *bias));
        time_part(timer, "gate", (double)rows * (2.0 * C + 4.0 * setting->H),
                  [&] { cuda_gla_gate(timer->context, c->gate, x, weight, bias, rows, C, setting->H); });
        CUDA_CHECK(cudaFree(x));
        CUDA_CHECK(cudaFree(weight));
        CUDA_CHECK(cudaFree(bias));
    }
    time_part(timer, "scores", 0, [&] {
        time_or_exit(cuda_lighthouse_score(timer->context, sdpa, &c->scratch, c->q, c->k, c->v, c->gate,
                                           false, &c->shape, &error),
                     &error);
    });
    case_free(c);
}

static inline void lighthouse_time(CudaContext *context) {
    Timer timer = {};
    Error error;
    timer.context = context;
    CUDA_CHECK(cudaMalloc(&timer.flush, 2 * TIME_FLUSH));
    CUDA_CHECK(cudaEventCreate(&timer.begin));
    CUDA_CHECK(cudaEventCreate(&timer.end));
    double ms = time_call(&timer, [&] {
        CUDA_CHECK(cudaMemcpyAsync((char *)timer.flush + TIME_FLUSH, timer.flush, TIME_FLUSH,
                                   cudaMemcpyDeviceToDevice, context->stream));
    });
    timer.copy = 2.0 * TIME_FLUSH / (ms / 1e3);
    printf("device copy: %.2f TB/s\n", timer.copy / 1e12);
    Sdpa *sdpa = sdpa_create(context->stream, false, &error);
    time_or_exit(sdpa != NULL, &error);
    static const LighthouseSetting layers[] = {
        {"norm, 98,304 tokens, k 1536, p 4, L 3", {SCORER_NORM, 3, 4, 1536, 4}, 1, 8, 8, 128, 98304},
        {"norm, 524,288 tokens, k 8192, p 4, L 3", {SCORER_NORM, 3, 4, 8192, 4}, 1, 8, 8, 128, 524288},
    };
    static const LighthouseSetting scorers[] = {
        {"gla, 98,304 tokens", {SCORER_GLA, 3, 4, 1536, 4}, 1, 8, 8, 128, 98304},
        {"dilated, 98,304 tokens", {SCORER_DILATED, 3, 4, 1536, 4}, 1, 8, 8, 128, 98304},
    };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) time_norm_layer(&timer, sdpa, &layers[i]);
    for (size_t i = 0; i < sizeof scorers / sizeof *scorers; i++)
        time_scorer(&timer, sdpa, &scorers[i], 1024);
    sdpa_destroy(sdpa);
    CUDA_CHECK(cudaFree(timer.flush));
    CUDA_CHECK(cudaEventDestroy(timer.begin));
    CUDA_CHECK(cudaEventDestroy(timer.end));
}

#endif
