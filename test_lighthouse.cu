// The Lighthouse layer on the GPU against the CPU engine in float64 and against golden cases. Needs a GPU.
//   test_lighthouse [--golden DIR...]
// Every kernel on awkward shapes, always; golden cases (dev/test/golden/README.md has the format). Exit
// status 1 when a check fails. Outputs are poisoned before every run, and everything runs twice: the same
// bits.
#include "cpu/cpu.h"
#include "dev/test/support/golden.h"
#include "dev/test/support/gpu_check.cuh"
#include "dev/test/support/lighthouse_case.cuh"
#include "dev/test/support/lighthouse_long.cuh"

#define BF16_ERROR 2.5e-3 // of one rounding to bf16, by norms

// ---------------------------------------------------------------------------------------------------------------
// One case, part by part.

// The CPU's own selection from the scores the GPU has; entries and positions are the same to the last.
static void check_selection(GpuChecks *checks, LighthouseCase *c, const char *what) {
    const Hierarchy *h = &c->shape.hierarchy;
    int64_t heads = c->shape.B * c->shape.H, entries = heads * h->n_entries, rows = heads * h->n_selected;
    case_download(c->cpu_scratch.score_q, c->scratch.scores.q, entries);
    case_download(c->cpu_scratch.score_k, c->scratch.scores.k, entries);
    lighthouse_select(&c->cpu_scratch, &c->shape);
    lighthouse_order(&c->cpu_rows, &c->cpu_scratch, &c->shape);
    gpu_poison(c->rows.entries, (size_t)rows * sizeof(int32_t));
    gpu_poison(c->rows.positions, (size_t)entries * sizeof(int32_t));
    select_entries(&c->context, c->rows.entries, c->rows.positions, c->scratch.scores, &c->shape);
    int32_t *selected = gpu_download(c->rows.entries, rows),
            *positions = gpu_download(c->rows.positions, entries);
    gpu_check(checks, gpu_differences(selected, c->cpu_rows.entries, rows), 0, "%s: %s, entries", c->name,
              what);
    gpu_check(checks, gpu_differences(positions, c->cpu_rows.positions, entries), 0, "%s: %s, positions",
              c->name, what);
    gpu_poison(c->rows.positions, (size_t)entries * sizeof(int32_t));
    int32_t *forced = gpu_alloc<int32_t>(rows);
    gpu_upload(forced, selected, rows);
    force_entries(&c->context, c->rows.entries, c->rows.positions, forced, &c->shape);
    int32_t *inverse = gpu_download(c->rows.positions, entries);
    gpu_check(checks, gpu_differences(inverse, positions, entries), 0, "%s: %s, forced", c->name, what);
    CUDA_CHECK(cudaFree(forced));
    free(selected), free(positions), free(inverse);
}

static void check_norm(GpuChecks *checks, LighthouseCase *c) {
    int64_t entries = c->shape.B * c->shape.H * c->shape.hierarchy.n_entries;
    lighthouse_score(&c->cpu_scratch, c->cpu.q, c->cpu.k, c->cpu.v, NULL, &c->shape);
    float *scores[2] = {c->scratch.scores.q, c->scratch.scores.k};
    real *expected[2] = {c->cpu_scratch.score_q, c->cpu_scratch.score_k};
    for (int side = 0; side < 2; side++) gpu_poison(scores[side], (size_t)entries * sizeof(float));
    Error error;
    if (!cuda_lighthouse_score(&c->context, c->sdpa, &c->scratch, c->q, c->k, c->v, NULL, false, &c->shape,
                               &error))
        error_exit(&error);
    for (int side = 0; side < 2; side++) {
        float *score = gpu_download(scores[side], entries);
        int64_t different = 0;
        for (int64_t i = 0; i < entries; i++) different += !(score[i] == (float)expected[side][i]);
        gpu_check(checks, (double)different, 0, "%s: norm, %s scores", c->name, side ? "key" : "query");
        free(score);
    }
    check_selection(checks, c, "selection");
}

// Scores of few values: what is selected hangs on the order among equals.
static void check_ties(GpuChecks *checks, LighthouseCase *c) {
    int64_t entries = c->shape.B * c->shape.H * c->shape.hierarchy.n_entries;
    for (int side = 0; side < 2; side++) {
        float *score = (float *)alloc_or_exit((size_t)entries, sizeof *score);
        for (int64_t i = 0; i < entries; i++) score[i] = floorf(8 * fabsf(case_normal(70 + side, i))) / 8;
        gpu_upload(side ? c->scratch.scores.k : c->scratch.scores.q, score, entries);
        free(score);
    }
    check_selection(checks, c, "ties");
    CUDA_CHECK(cudaMemset(c->scratch.scores.q, 0, (size_t)entries * sizeof(float)));
    CUDA_CHECK(cudaDeviceSynchronize());
    check_selection(checks, c, "all query scores zero");
}

// Compares GPU rows with what the CPU made in the same layout.
static void check_rows(GpuChecks *checks, const LighthouseCase *c, const char *what, const bf16 *rows,
                       const real *expected, int64_t count, double bound) {
    float *host = gpu_download_bf16(rows, count);
    gpu_check(checks, gpu_error(host, expected, count), bound, "%s: %s", c->name, what);
    free(host);
}

// Gather, scatter and their backwards, each on random input, with the selection of check_norm.
static void check_exchanges(GpuChecks *checks, LighthouseCase *c) {
    const LighthouseShape *shape = &c->shape;
    int64_t rows = c->row_count, tokens = c->token_count;
    bf16 *gathered[3] = {c->rows.q, c->rows.k, c->rows.v},
         *dgathered[3] = {c->scratch.dq, c->scratch.dk, c->scratch.dv};
    real *cpu_gathered[3] = {c->cpu_rows.q, c->cpu_rows.k, c->cpu_rows.v};
    real *cpu_dgathered[3] = {c->cpu_scratch.dq, c->cpu_scratch.dk, c->cpu_scratch.dv};
    Rows sources[3] = {c->cpu.q, c->cpu.k, c->cpu.v}, gradients[3] = {c->cpu.dq, c->cpu.dk, c->cpu.dv};
    const char *names[3] = {"gather q", "gather k", "gather v"};
    for (int i = 0; i < 3; i++) gpu_poison(gathered[i], (size_t)rows * sizeof(bf16));
    cuda_lighthouse_gather(&c->context, &c->rows, &c->scratch, c->q, c->k, c->v, shape);
    for (int i = 0; i < 3; i++) {
        lighthouse_gather(cpu_gathered[i], sources[i], c->cpu_rows.entries, shape);
        check_rows(checks, c, names[i], gathered[i], cpu_gathered[i], rows, BF16_ERROR);
    }
    case_random(c->rows.out, c->cpu_rows.out, rows, 80);
    gpu_poison(c->out.data, (size_t)tokens * sizeof(bf16));
    cuda_lighthouse_scatter(&c->context, c->out, &c->rows, &c->scratch, shape);
    lighthouse_scatter(c->cpu.out, c->cpu_rows.out, c->cpu_rows.positions, NULL, shape);
    check_rows(checks, c, "scatter", c->out.data, c->cpu.out.data, tokens, BF16_ERROR);

    gpu_poison(c->scratch.dout, (size_t)rows * sizeof(bf16));
    cuda_lighthouse_scatter_backward(&c->context, c->dout, &c->rows, &c->scratch, shape);
    lighthouse_scatter_backward(c->cpu_scratch.dout, c->cpu.dout, c->cpu_rows.entries, shape);
    check_rows(checks, c, "scatter backward", c->scratch.dout, c->cpu_scratch.dout, rows, BF16_ERROR);

    for (int i = 0; i < 3; i++) case_random(dgathered[i], cpu_dgathered[i], rows, 81 + i);
    gpu_poison(c->dq.data, (size_t)c->packed_count * sizeof(bf16));
    cuda_lighthouse_gather_backward(&c->context, c->dq, c->dk, c->dv, &c->rows, &c->scratch, shape);
    for (int i = 0; i < 3; i++)
        lighthouse_gather_backward(gradients[i], cpu_dgathered[i], c->cpu_rows.positions, shape);
    check_rows(checks, c, "gather backward", c->dq.data, c->cpu.dq.data, c->packed_count, BF16_ERROR);
}

// The whole layer both ways with the selection forced; then once more from the scores on, to the same bits
// but for the gradients that come through cuDNN's backward.
static void check_layer(GpuChecks *checks, LighthouseCase *c) {
    const LighthouseShape *shape = &c->shape;
    int64_t heads = shape->B * shape->H, rows = heads * shape->hierarchy.n_selected;
    int32_t *forced = gpu_alloc<int32_t>(rows);
    gpu_upload(forced, c->cpu_rows.entries, rows);
    lighthouse_forward(c->cpu.out, &c->cpu_rows, &c->cpu_scratch, c->cpu.q, c->cpu.k, c->cpu.v, NULL,
                       c->cpu_rows.entries, shape);
    lighthouse_backward(c->cpu.dq, c->cpu.dk, c->cpu.dv, c->cpu.dout, &c->cpu_rows, &c->cpu_scratch, shape);
    case_forward_backward(c, forced);
    check_rows(checks, c, "layer, out", c->out.data, c->cpu.out.data, c->token_count, 5e-3);
    float *gradient = gpu_download_bf16(c->dq.data, c->packed_count);
    const char *names[3] = {"layer, dq", "layer, dk", "layer, dv"};
    const double bounds[3] = {1e-2, 1e-2, 5e-3};
    for (int i = 0; i < 3; i++) {
        double error = case_heads_error(c, gradient, c->cpu.dq.data, i);
        gpu_check(checks, error, bounds[i], "%s: %s", c->name, names[i]);
    }
    free(gradient);

    bf16 *once[2] = {NULL, NULL}, *twice[2] = {NULL, NULL};
    for (int run = 0; run < 2; run++) {
        case_forward_backward(c, NULL);
        (run ? twice : once)[0] = gpu_download(c->out.data, c->token_count);
        (run ? twice : once)[1] = gpu_download(c->dq.data, c->packed_count);
    }
    gpu_check(checks, gpu_differences(once[0], twice[0], c->token_count), 0, "%s: layer twice, out", c->name);
    gpu_check(checks, gpu_differences(once[1], twice[1], c->packed_count), 0, "%s: layer twice, gradients",
              c->name);
    for (int i = 0; i < 2; i++) free(once[i]), free(twice[i]);
    CUDA_CHECK(cudaFree(forced));
}

// ---------------------------------------------------------------------------------------------------------------
// The scorers that are not norms of q and k.

static void check_scores(GpuChecks *checks, LighthouseCase *c, const char *what, double bound) {
    const Hierarchy *h = &c->shape.hierarchy;
    int64_t entries = c->shape.B * c->shape.H * h->n_entries;
    lighthouse_score(&c->cpu_scratch, c->cpu.q, c->cpu.k, c->cpu.v, c->cpu_gate, &c->shape);
    float *scores[2] = {c->scratch.scores.q, c->scratch.scores.k}, *first[2];
    real *expected[2] = {c->cpu_scratch.score_q, c->cpu_scratch.score_k};
    for (int run = 0; run < 2; run++) {
        Error error;
        for (int side = 0; side < 2; side++) gpu_poison(scores[side], (size_t)entries * sizeof(float));
        if (!cuda_lighthouse_score(&c->context, c->sdpa, &c->scratch, c->q, c->k, c->v, c->gate, false,
                                   &c->shape, &error))
            error_exit(&error);
        for (int side = 0; side < 2; side++) {
            float *score = gpu_download(scores[side], entries);
            const char *name = side ? "key" : "query";
            if (run == 0) {
                gpu_check(checks, gpu_error(score, expected[side], entries), bound, "%s: %s, %s scores",
                          c->name, what, name);
                first[side] = score;
            } else {
                gpu_check(checks, gpu_differences(score, first[side], entries), 0, "%s: %s, %s scores twice",
                          c->name, what, name);
                free(score), free(first[side]);
            }
        }
    }
}

// Gates of a random input, by both engines; they stay as the case's.
static void check_gate(GpuChecks *checks, LighthouseCase *c, int64_t C) {
    int64_t rows = c->shape.B * c->shape.hierarchy.n, H = c->shape.H;
    real *x = (real *)alloc_or_exit((size_t)(rows * C), sizeof *x);
    real *weight = (real *)alloc_or_exit((size_t)(H * C), sizeof *weight);
    real *bias = (real *)alloc_or_exit((size_t)H, sizeof *bias);
    bf16 *gpu_x = gpu_alloc<bf16>(rows * C);
    float *gpu_weight = gpu_alloc<float>(H * C), *gpu_bias = gpu_alloc<float>(H);
    case_random(gpu_x, x, rows * C, 90);
    case_random_float(gpu_weight, weight, H * C, 0.1, 91);
    case_random_float(gpu_bias, bias, H, 0.5, 92);
    const Places places = {1, rows, UNPLACED};
    gla_gate(c->cpu_gate, x, weight, bias, places, C, H);
    gpu_poison(c->gate, (size_t)(rows * H) * sizeof(float));
    cuda_gla_gate(&c->context, c->gate, gpu_x, gpu_weight, gpu_bias, rows, C, H);
    float *gate = gpu_download(c->gate, rows * H);
    gpu_check(checks, gpu_error(gate, c->cpu_gate, rows * H), 2e-6, "%s: gla gate, %lld wide", c->name,
              (long long)C);
    for (int64_t i = 0; i < rows * H; i++) c->cpu_gate[i] = gate[i];
    free(gate), free(x), free(weight), free(bias);
    CUDA_CHECK(cudaFree(gpu_x));
    CUDA_CHECK(cudaFree(gpu_weight));
    CUDA_CHECK(cudaFree(gpu_bias));
}

static void check_kernels(GpuChecks *checks, CudaContext *context, Sdpa *sdpa) {
    // scorer, L, p, k, dilation; B, H, KV, D, N
    static const LighthouseSetting norm[] = {
        {"one head", {SCORER_NORM, 3, 4, 128, 4}, 1, 1, 1, 128, 2048},
        {"grouped, two sequences", {SCORER_NORM, 3, 2, 256, 4}, 2, 4, 2, 64, 2044},
        {"uneven chunks", {SCORER_NORM, 2, 4, 384, 4}, 1, 3, 1, 128, 2060},
        {"four levels", {SCORER_NORM, 4, 2, 128, 4}, 2, 2, 2, 128, 1096},
        {"wide pool", {SCORER_NORM, 2, 8, 256, 4}, 1, 6, 2, 64, 2056},
        {"wide pool, three levels", {SCORER_NORM, 3, 8, 128, 4}, 1, 2, 1, 64, 8256},
        {"S = N and more", {SCORER_NORM, 3, 2, 256, 4}, 1, 2, 1, 64, 1024},
        {"one large chunk", {SCORER_NORM, 2, 2, 128, 4}, 1, 2, 2, 64, 18002},
        {"groups of four", {SCORER_NORM, 3, 4, 128, 4}, 2, 8, 2, 128, 2064},
        {"wider pool", {SCORER_NORM, 2, 16, 128, 4}, 2, 3, 3, 128, 2064},
        {"eight levels, grouped", {SCORER_NORM, 8, 2, 128, 4}, 1, 4, 2, 64, 16512},
        {"heads of 96", {SCORER_NORM, 3, 2, 256, 4}, 2, 3, 3, 96, 2044},
        {"heads of 96, grouped", {SCORER_NORM, 3, 4, 128, 4}, 2, 4, 2, 96, 2064},
    };
    static const LighthouseSetting others[] = {
        {"dilated", {SCORER_DILATED, 3, 2, 128, 4}, 1, 2, 2, 64, 1024},
        {"dilated, grouped", {SCORER_DILATED, 2, 4, 256, 4}, 2, 6, 2, 128, 1536},
        {"dilated by 3", {SCORER_DILATED, 2, 2, 128, 3}, 1, 4, 1, 64, 1002},
        {"gla", {SCORER_GLA, 3, 2, 128, 4}, 1, 2, 2, 64, 1024},
        {"gla, grouped", {SCORER_GLA, 2, 4, 256, 4}, 2, 4, 2, 128, 1560},
        {"gla, segments", {SCORER_GLA, 2, 4, 256, 2}, 1, 2, 1, 128, 16648},
        {"gla, segments", {SCORER_GLA, 2, 4, 256, 1}, 1, 1, 1, 64, 12296},
        {"dilated, heads of 96", {SCORER_DILATED, 2, 4, 256, 4}, 2, 6, 2, 96, 1536},
        {"gla, heads of 96", {SCORER_GLA, 2, 4, 256, 4}, 2, 4, 2, 96, 1560},
        {"gla, heads of 96, segments", {SCORER_GLA, 2, 4, 256, 2}, 1, 2, 1, 96, 16648},
    };
    for (size_t i = 0; i < sizeof norm / sizeof *norm; i++) {
        LighthouseCase *c = case_create(&norm[i], context, sdpa);
        check_norm(checks, c);
        check_exchanges(checks, c);
        if (c->shape.hierarchy.n < 4096) check_layer(checks, c);
        check_ties(checks, c);
        case_free(c);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        LighthouseCase *c = case_create(&others[i], context, sdpa);
        bool gla = others[i].config.scorer == SCORER_GLA;
        if (gla) check_gate(checks, c, i % 2 ? 1032 : 256);
        check_scores(checks, c, "scores", gla ? 1e-6 : 1e-2);
        case_free(c);
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Golden cases.

static void check_golden(GpuChecks *checks, CudaContext *context, Sdpa *sdpa, const char *folder) {
    GoldenLayer golden;
    if (!golden_layer_open(&golden, folder)) {
        gpu_check(checks, NAN, 0, "%s", folder);
        return;
    }
    LighthouseSetting setting = {folder, golden.config, 1, golden.H, golden.H, golden.D, golden.N};
    LighthouseCase *c = case_create(&setting, context, sdpa);
    int64_t heads = golden.H * golden.hierarchy.n_entries, rows = golden.H * golden.S;
    case_upload_heads(c, 0, golden.q);
    case_upload_heads(c, 1, golden.k);
    case_upload_heads(c, 2, golden.v);
    gpu_upload_bf16(c->dout.data, golden.dout, c->token_count);
    gpu_upload(c->gate, golden.gate, golden.N * golden.H);
    case_forward_backward(c, NULL);
    const float *golden_scores[2] = {golden.score_q, golden.score_k};
    for (int side = 0; side < 2; side++) {
        float *score = gpu_download(side ? c->scratch.scores.k : c->scratch.scores.q, heads);
        gpu_check(checks, gpu_error(score, golden_scores[side], heads),
                  golden.config.scorer == SCORER_DILATED ? 1e-2 : 1e-6, "%s: %s scores", folder,
                  side ? "key" : "query");
        free(score);
    }
    if (golden.config.scorer == SCORER_DILATED) {
        int32_t *forced = gpu_alloc<int32_t>(rows);
        gpu_upload(forced, golden.entries, rows);
        case_forward_backward(c, forced);
        CUDA_CHECK(cudaFree(forced));
    }
    int32_t *entries = gpu_download(c->rows.entries, rows);
    gpu_check(checks, gpu_differences(entries, golden.entries, rows), 0, "%s: selection", folder);
    free(entries);
    float *out = gpu_download_bf16(c->out.data, c->token_count);
    gpu_check(checks, golden_rows_error(&golden, out, golden.out), 5e-3, "%s: out", folder);
    free(out);
    const float *expected[3] = {golden.dq, golden.dk, golden.dv};
    const char *names[3] = {"dq", "dk", "dv"};
    for (int i = 0; i < 3; i++) {
        float *gradient = case_download_heads(c, i);
        gpu_check(checks, golden_rows_error(&golden, gradient, expected[i]), i == 2 ? 5e-3 : 1e-2, "%s: %s",
                  folder, names[i]);
        free(gradient);
    }
    case_free(c);
    golden_layer_close(&golden);
}

int main(int argc, char **argv) {
    CudaContext context;
    Error error;
    if (!cuda_context_create(&context, 0, &error)) error_exit(&error);
    Sdpa *sdpa = sdpa_create(context.stream, true, &error);
    if (!sdpa) error_exit(&error);
    GpuChecks checks = {0, 0, false};
    bool golden = false;
    check_kernels(&checks, &context, sdpa);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--golden") == 0) {
            golden = true;
        } else if (golden) {
            check_golden(&checks, &context, sdpa, argv[i]);
        } else {
            fprintf(stderr, "usage: test_lighthouse [--golden DIR...]\n");
            return 2;
        }
    }
    lighthouse_check_long(&checks, &context);
    sdpa_destroy(sdpa);
    cuda_context_destroy(&context);
    return gpu_checks_finish(&checks);
}
