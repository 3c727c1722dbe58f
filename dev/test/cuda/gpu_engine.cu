// The CUDA engine against the CPU engine, tensor by tensor. Needs a GPU.
//   test_gpu_engine                 golden models and small random models
// Exit status 1 when a check fails. Both engines start from the same bf16 weights; where the attention is
// Lighthouse the GPU is given the CPU's selection, so that a score that falls either way by rounding changes
// nothing. What is left is the rounding of bf16 activations.
#include "core/base/random.h"
#include "core/engine/offload.h"
#include "cpu/engine.h"
#include "cuda/engine/optimizer.cuh"
#include "dev/test/support/golden_model.h"
#include "dev/test/support/gpu_check.cuh"

#include <string>
#include <vector>

#define BOUND_LOSS \
    3e-4 // of the mean loss of many targets; one alone has the rounding of its logit, see loss_bound
#define BOUND_GRADIENT 3e-2 // ||gpu - cpu|| / ||cpu|| of a tensor's gradient
#define BOUND_LOGITS   1.5e-2

typedef std::vector<float> Floats;

static double loss_bound(int64_t targets) {
    return BOUND_LOSS + 5e-3 / sqrt((double)targets);
}

static void must(bool ok, const Error *error) {
    if (!ok) error_exit(error);
}

static Engine *create(const EngineApi *api, const EngineConfig *config) {
    Error error;
    Engine *engine = api->create(config, &error);
    must(engine != NULL, &error);
    return engine;
}

static Floats read_tensor(Engine *engine, TensorKind kind, int param) {
    Floats values((size_t)param_size(&engine->table.params[param]));
    engine_read(engine, kind, param, 0, (int64_t)values.size(), values.data());
    return values;
}

// Initial weights as in training, but larger where the model starts near zero, so that every part matters;
// bf16.
static void write_weights(Engine *engine, uint64_t seed) {
    for (int p = 0; p < engine->table.count; p++) {
        const Param *param = &engine->table.params[p];
        Floats values((size_t)param_size(param));
        param_init(param, seed, 0, (int64_t)values.size(), values.data());
        for (size_t i = 0; i < values.size(); i++) {
            float x = values[i];
            if (param->n_dims == 1) x += 0.1f * (float)random_normal(seed + 1, (uint64_t)p, i, HUGE_VAL);
            if (param->layer >= 0 && param->n_dims == 2) x *= 4;
            values[i] = __bfloat162float(__float2bfloat16(x));
        }
        engine_write(engine, TENSOR_WEIGHT, p, 0, (int64_t)values.size(), values.data());
    }
}

static std::vector<int32_t> random_tokens(int64_t count, int64_t V, uint64_t seed) {
    std::vector<int32_t> tokens((size_t)count);
    for (int64_t i = 0; i < count; i++) {
        tokens[(size_t)i] = (int32_t)(random_bits(seed, 5, (uint64_t)i) % (uint64_t)(V < 257 ? V : 257));
    }
    return tokens;
}

// Gives the GPU the entries that the CPU gathered in its last pass.
static void force(Engine *gpu, Engine *cpu) {
    const EngineConfig *config = &cpu->config;
    Hierarchy hierarchy;
    Error error;
    must(hierarchy_create(&config->lighthouse, config->context, &hierarchy, &error), &error);
    std::vector<int32_t> entries((size_t)(config->batch * config->model.n_heads * hierarchy.n_selected));
    for (int layer = 0; layer < config->model.n_layers; layer++) {
        if (config->dense_layer[layer]) continue;
        engine_read_selection(cpu, layer, entries.data());
        engine_force_selection(gpu, layer, entries.data());
    }
}

static void set_free(Engine *gpu) {
    for (int layer = 0; layer < gpu->config.model.n_layers; layer++) engine_force_selection(gpu, layer, NULL);
}

static double pass(Engine *engine, const int32_t *tokens, Attention attention) {
    Error error;
    double nats;
    int64_t targets = engine->config.batch * engine->config.context;
    must(engine_forward_backward(engine, tokens, attention, targets, &nats, &error), &error);
    return nats / (double)targets;
}

// Zero gradients, without touching anything else.
static void clear_gradients(Engine *engine) {
    for (int p = 0; p < engine->table.count; p++) {
        if (!engine->table.params[p].trained) continue;
        Floats zeros((size_t)param_size(&engine->table.params[p]), 0.0f);
        engine_write(engine, TENSOR_GRADIENT, p, 0, (int64_t)zeros.size(), zeros.data());
    }
}

// Loss and gradients of one pass from cleared gradients: GPU against CPU.
static void compare_pass(GpuChecks *checks, Engine *gpu, Engine *cpu, const int32_t *tokens,
                         Attention attention, const char *name) {
    const char *stage = attention == ATTENTION_DENSE ? "dense" : "lighthouse";
    clear_gradients(gpu);
    clear_gradients(cpu);
    double expected = pass(cpu, tokens, attention);
    if (attention == ATTENTION_LIGHTHOUSE) force(gpu, cpu);
    double loss = pass(gpu, tokens, attention);
    gpu_check(checks, fabs(loss - expected) / expected, BOUND_LOSS, "%s %s: loss", name, stage);
    double worst = 0;
    std::string which;
    for (int p = 0; p < gpu->table.count; p++) {
        const Param *param = &gpu->table.params[p];
        if (!param->trained) continue;
        Floats a = read_tensor(gpu, TENSOR_GRADIENT, p), b = read_tensor(cpu, TENSOR_GRADIENT, p);
        double error = gpu_error(a.data(), b.data(), (int64_t)a.size());
        if (!(error <= BOUND_GRADIENT))
            gpu_check(checks, error, BOUND_GRADIENT, "%s %s: %s", name, stage, param->name);
        if (!(error <= worst)) worst = error, which = param->name;
    }
    gpu_check(checks, worst, BOUND_GRADIENT, "%s %s: worst gradient, %s", name, stage, which.c_str());
    if (attention == ATTENTION_LIGHTHOUSE) set_free(gpu);
}

// ---------------------------------------------------------------------------------------------------------------
// Golden models.

static void check_golden(GpuChecks *checks, const char *path) {
    GoldenModel model;
    Error error;
    if (!golden_model_open(&model, path)) exit(1);
    Engine *gpu = golden_model_engine(&model, engine_cuda()),
           *cpu = golden_model_engine(&model, engine_cpu());
    if (!gpu || !cpu) exit(1);
    compare_pass(checks, gpu, cpu, model.tokens, ATTENTION_DENSE, path);
    compare_pass(checks, gpu, cpu, model.tokens, ATTENTION_LIGHTHOUSE, path);
    engine_destroy(cpu);
    engine_destroy(gpu);

    const struct {
        const char *name;
        int switch_at;
    } schedules[] = {{"dense", 0}, {"lighthouse", 10}, {"lighthouse5_dense5", 5}};
    // The CPU goes the same ten steps and gives the GPU its selections: by the tenth, weights differ enough
    // for entries to be taken or not, and losses with them by up to 1 %.
    for (auto schedule : schedules) {
        double worst = 0, norm;
        gpu = golden_model_engine(&model, engine_cuda());
        cpu = golden_model_engine(&model, engine_cpu());
        for (int step = 0; step < 10; step++) {
            Attention attention = step < schedule.switch_at ? ATTENTION_LIGHTHOUSE : ATTENTION_DENSE;
            AdamW adamw = golden_model_adamw(&model, step);
            pass(cpu, model.tokens, attention);
            if (attention == ATTENTION_LIGHTHOUSE) force(gpu, cpu);
            double loss = pass(gpu, model.tokens, attention);
            double expected = golden_model_step_loss(&model, schedule.name, step);
            worst = fmax(worst, fabs(loss - expected) / expected);
            must(engine_update(cpu, &adamw, &norm, &error), &error);
            must(engine_update(gpu, &adamw, &norm, &error), &error);
        }
        gpu_check(checks, worst, 5e-3, "%s: ten steps, %s", path, schedule.name);
        engine_destroy(cpu);
        engine_destroy(gpu);
    }
    golden_model_close(&model);
}

// ---------------------------------------------------------------------------------------------------------------
// Small random models.

static EngineConfig small_config(int64_t dim, int64_t heads, int64_t kv_heads, int64_t head_dim,
                                 int64_t batch, Scorer scorer) {
    EngineConfig config;
    memset(&config, 0, sizeof config);
    ModelConfig model = {4, dim, heads, kv_heads, head_dim, dim + 72, 320, 10000, 1e-5};
    LighthouseConfig lighthouse = {scorer, 3, 2, 128, 4};
    config.model = model;
    config.lighthouse = lighthouse;
    config.dense_layer[0] = true;
    config.use_lighthouse = config.training = config.deterministic = true;
    config.batch = batch;
    config.context = 1024;
    config.cache = 1100;
    return config;
}

// Differing bits of all gradients of two engines.
static double gradient_differences(Engine *a, Engine *b) {
    double differences = 0;
    for (int p = 0; p < a->table.count; p++) {
        if (!a->table.params[p].trained) continue;
        Floats x = read_tensor(a, TENSOR_GRADIENT, p), y = read_tensor(b, TENSOR_GRADIENT, p);
        differences += gpu_differences(x.data(), y.data(), (int64_t)x.size());
    }
    return differences;
}

typedef struct {
    size_t gpu, host;
} PlanBytes;

static PlanBytes planned(const EngineConfig *config) {
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    Error error;
    must(engine_cuda()->plan(config, plan, &error), &error);
    PlanBytes bytes = {plan->total, plan->host};
    free(plan);
    return bytes;
}

static size_t plan_bytes(const EngineConfig *config) {
    return planned(config).gpu;
}

// An engine that keeps less has the same results, under the attentions up to `last`.
static void check_kept(GpuChecks *checks, const EngineConfig *config, const EngineConfig *less_config,
                       Attention last, const int32_t *tokens, const char *name, const char *what) {
    Engine *all = create(engine_cuda(), config), *less = create(engine_cuda(), less_config);
    write_weights(all, 3);
    write_weights(less, 3);
    gpu_check(checks, plan_bytes(less_config) < plan_bytes(config) ? 0 : 1, 0, "%s: %s keeps less", name,
              what);
    for (int attention = ATTENTION_LIGHTHOUSE; attention <= last; attention++) {
        double difference =
            fabs(pass(all, tokens, (Attention)attention) - pass(less, tokens, (Attention)attention));
        gpu_check(checks, difference, 0, "%s: loss with %s", name, what);
        gpu_check(checks, gradient_differences(all, less), 0, "%s: gradients with %s", name, what);
    }
    engine_destroy(less);
    engine_destroy(all);
}

// The losses of single targets, and what the head makes them of; some rows by themselves.
static void check_evaluated_rows(GpuChecks *checks, Engine *gpu, Engine *cpu, const int32_t *tokens,
                                 const char *name) {
    const int64_t rows = 900, first = 700, C = gpu->config.model.dim;
    std::vector<double> a((size_t)rows), b(a.size());
    Floats x((size_t)(rows * C)), y(x.size());
    Error error;
    double total, sum = 0;
    must(engine_evaluate(cpu, tokens, 1, rows, ATTENTION_DENSE, &total, &error), &error);
    must(engine_evaluate(gpu, tokens, 1, rows, ATTENTION_DENSE, &total, &error), &error);
    engine_read_evaluated(gpu, 0, rows, a.data(), x.data());
    engine_read_evaluated(cpu, 0, rows, b.data(), y.data());
    for (double nats : a) sum += nats;
    gpu_check(checks, fabs(sum / total - 1), 1e-12, "%s: losses of targets add up", name);
    gpu_check(checks, gpu_error(a.data(), b.data(), rows), BOUND_LOGITS, "%s: losses of targets", name);
    gpu_check(checks, gpu_error(x.data(), y.data(), rows * C), BOUND_LOGITS, "%s: outputs", name);
    engine_read_evaluated(gpu, first, rows - first, b.data(), y.data());
    gpu_check(checks,
              gpu_differences(a.data() + first, b.data(), rows - first) +
                  gpu_differences(x.data() + first * C, y.data(), (rows - first) * C),
              0, "%s: rows from the %lld-th on", name, (long long)first);
}

static void check_evaluate(GpuChecks *checks, Engine *gpu, Engine *cpu, const int32_t *tokens,
                           const char *name) {
    const int64_t shapes[][2] = {{1, 1024}, {1, 512}, {1, 77}, {1, 1}, {2, 384}};
    Error error;
    double a, b;
    for (const int64_t *shape : shapes) {
        if (shape[0] > gpu->config.batch) continue;
        must(engine_evaluate(gpu, tokens, shape[0], shape[1], ATTENTION_DENSE, &a, &error), &error);
        must(engine_evaluate(cpu, tokens, shape[0], shape[1], ATTENTION_DENSE, &b, &error), &error);
        gpu_check(checks, fabs(a - b) / b, loss_bound(shape[0] * shape[1]), "%s: evaluate %lld x %lld", name,
                  (long long)shape[0], (long long)shape[1]);
    }
    check_evaluated_rows(checks, gpu, cpu, tokens, name);
    must(engine_evaluate(gpu, tokens, 1, 512, ATTENTION_LIGHTHOUSE, &a, &error), &error);
    must(engine_evaluate(cpu, tokens, 1, 512, ATTENTION_LIGHTHOUSE, &b, &error), &error);
    gpu_check(checks, fabs(a - b) / b, 5 * BOUND_LOSS, "%s: evaluate under lighthouse, own selection", name);
}

// A prompt longer than the activations of one sequence, then a few tokens one by one, then a few together.
static void check_decode(GpuChecks *checks, Engine *gpu, Engine *cpu, const int32_t *tokens,
                         const char *name) {
    const int64_t counts[] = {1030, 1, 1, 7, 40, 1};
    int64_t V = gpu->config.model.vocab_size, position = 0;
    Floats a((size_t)V), b((size_t)V);
    Error error;
    for (int64_t count : counts) {
        must(engine_decode(gpu, tokens + position, count, position, a.data(), &error), &error);
        must(engine_decode(cpu, tokens + position, count, position, b.data(), &error), &error);
        gpu_check(checks, gpu_error(a.data(), b.data(), V), BOUND_LOGITS, "%s: decode %lld tokens at %lld",
                  name, (long long)count, (long long)position);
        position += count;
    }
    bool refused =
        !engine_decode(gpu, tokens, 200, position, a.data(), &error) && error.status == STATUS_USAGE;
    gpu_check(checks, !refused, 0, "%s: decode refuses what its cache cannot hold", name);
}

// One long sequence, and a batch of more and shorter ones than the configuration's.
static void check_predict(GpuChecks *checks, Engine *gpu, Engine *cpu, const int32_t *tokens,
                          const char *name) {
    const EngineConfig *config = &gpu->config;
    const int64_t shapes[][2] = {{1, config->context}, {2 * config->batch, config->context / 2}};
    int64_t V = config->model.vocab_size;
    Floats a((size_t)(2 * config->batch * V)), b(a.size());
    Error error;
    for (const int64_t *shape : shapes) {
        must(engine_predict(gpu, tokens, shape[0], shape[1], a.data(), &error), &error);
        must(engine_predict(cpu, tokens, shape[0], shape[1], b.data(), &error), &error);
        gpu_check(checks, gpu_error(a.data(), b.data(), shape[0] * V), BOUND_LOGITS,
                  "%s: predict %lld x %lld", name, (long long)shape[0], (long long)shape[1]);
    }
}

// The CPU's gradients in both engines, then one update each.
static void check_update(GpuChecks *checks, Engine *gpu, Engine *cpu, const char *name) {
    Error error;
    AdamW adamw = {.step = 3,
                   .lr = 1e-2,
                   .beta1 = 0.9,
                   .beta2 = 0.95,
                   .eps = ADAMW_EPS,
                   .weight_decay = 0.1,
                   .clip = 0.5};
    double norm, expected, worst = 0;
    for (int p = 0; p < gpu->table.count; p++) {
        if (!gpu->table.params[p].trained) continue;
        Floats g = read_tensor(cpu, TENSOR_GRADIENT, p);
        engine_write(gpu, TENSOR_GRADIENT, p, 0, (int64_t)g.size(), g.data());
    }
    must(engine_update(gpu, &adamw, &norm, &error), &error);
    must(engine_update(cpu, &adamw, &expected, &error), &error);
    gpu_check(checks, fabs(norm - expected) / expected, 1e-6, "%s: gradient norm", name);
    for (int kind = TENSOR_WEIGHT; kind <= TENSOR_MOMENT2; kind++) {
        for (int p = 0; p < gpu->table.count; p++) {
            if (!gpu->table.params[p].trained) continue;
            Floats a = read_tensor(gpu, (TensorKind)kind, p), b = read_tensor(cpu, (TensorKind)kind, p);
            worst = fmax(worst, gpu_error(a.data(), b.data(), (int64_t)a.size()));
        }
    }
    gpu_check(checks, worst, 1e-5, "%s: weights, gradients and moments after an update", name);

    int p = param_find(&gpu->table, PARAM_DOWN, 1);
    Floats before = read_tensor(gpu, TENSOR_WEIGHT, p);
    for (double most : {-1.0, 2.0}) { // the norm is 3 and some rounding
        Floats threes((size_t)param_size(&gpu->table.params[p]), 0.0f);
        threes[5] = 3;
        engine_write(gpu, TENSOR_GRADIENT, p, 0, (int64_t)threes.size(), threes.data());
        adamw.most_norm = most;
        must(engine_update(gpu, &adamw, &norm, &error), &error);
        Floats kept = read_tensor(gpu, TENSOR_WEIGHT, p), gone = read_tensor(gpu, TENSOR_GRADIENT, p);
        bool skipped = adamw_skips(&adamw, norm) && gone[5] == 0;
        gpu_check(checks, !skipped, 0, "%s: a norm above %g skips the update", name, most);
        gpu_check(checks, gpu_differences(kept.data(), before.data(), (int64_t)kept.size()), 0,
                  "... weights stay");
    }
    adamw.most_norm = 0;
    float infinite = INFINITY;
    engine_write(gpu, TENSOR_GRADIENT, p, 11, 1, &infinite);
    bool reported = !engine_update(gpu, &adamw, &norm, &error) && error.status == STATUS_NONFINITE;
    Floats after = read_tensor(gpu, TENSOR_WEIGHT, p), gradient = read_tensor(gpu, TENSOR_GRADIENT, p);
    Floats zeros(gradient.size(), 0.0f);
    gpu_check(checks, !reported, 0, "%s: a norm that is not finite is an error", name);
    gpu_check(checks, gpu_differences(after.data(), before.data(), (int64_t)after.size()), 0,
              "... weights stay");
    gpu_check(checks, gpu_differences(gradient.data(), zeros.data(), (int64_t)zeros.size()), 0,
              "... gradients go");
}

// One weight that is no number spoils a place of the model from its output on; both engines name it.
static void check_nonfinite(GpuChecks *checks, Engine *gpu, Engine *cpu, const int32_t *tokens,
                            const char *name) {
    const struct {
        ParamRole role;
        int layer, place;
    } cases[] = {
        {PARAM_EMBEDDING, -1, -1}, {PARAM_DOWN, 1, 1}, {PARAM_HEAD, -1, (int)gpu->config.model.n_layers}};
    Engine *engines[] = {gpu, cpu};
    int wrong = 0;
    for (Engine *engine : engines) {
        for (auto &c : cases) {
            Error error;
            int place = 0, before = 0, param = param_find(&engine->table, c.role, c.layer);
            // No token is the last row, which a tied head has from the embedding.
            int64_t dim = engine->config.model.dim, last = (engine->config.model.vocab_size - 1) * dim;
            int64_t at = c.role == PARAM_EMBEDDING ? tokens[0] * dim : c.role == PARAM_HEAD ? last : 0;
            float kept, nan = NAN;
            must(engine_find_nonfinite(engine, tokens, ATTENTION_LIGHTHOUSE, &before, &error), &error);
            engine_read(engine, TENSOR_WEIGHT, param, at, 1, &kept);
            engine_write(engine, TENSOR_WEIGHT, param, at, 1, &nan);
            must(engine_find_nonfinite(engine, tokens, ATTENTION_LIGHTHOUSE, &place, &error), &error);
            engine_write(engine, TENSOR_WEIGHT, param, at, 1, &kept);
            wrong += before != engine->config.model.n_layers + 1 || place != c.place;
        }
    }
    gpu_check(checks, wrong, 0, "%s: the first output that is not finite is found", name);
}

static void check_refusals(GpuChecks *checks, Engine *gpu, const EngineConfig *config, const char *name) {
    Error error;
    double nats;
    int64_t V = config->model.vocab_size;
    std::vector<int32_t> tokens = random_tokens(config->context + 1, V, 1);
    tokens[5] = (int32_t)V;
    bool refused = !engine_evaluate(gpu, tokens.data(), 1, config->context, ATTENTION_DENSE, &nats, &error) &&
                   error.status == STATUS_DATA;
    gpu_check(checks, !refused, 0, "%s: a token outside the vocabulary is an error", name);

    EngineConfig huge = *config;
    huge.batch = 1 << 20;
    Engine *none = engine_cuda()->create(&huge, &error);
    gpu_check(checks, none != NULL || error.status != STATUS_MEMORY, 0,
              "%s: a plan that does not fit is an error", name);
}

// A vocabulary so large that the logits come in chunks, the last one not full.
static void check_chunks(GpuChecks *checks) {
    EngineConfig config = small_config(64, 1, 1, 64, 2, SCORER_NORM);
    config.model.n_layers = 1;
    config.model.vocab_size = 1 << 19;
    config.context = 1100;
    Engine *gpu = create(engine_cuda(), &config), *cpu = create(engine_cpu(), &config);
    write_weights(gpu, 3);
    write_weights(cpu, 3);
    std::vector<int32_t> tokens = random_tokens(config.batch * (config.context + 1), 257, 9);
    compare_pass(checks, gpu, cpu, tokens.data(), ATTENTION_DENSE, "logits in chunks");
    engine_destroy(cpu);
    engine_destroy(gpu);
}

// Sequences in tiles, the last one not full, are what they are in one piece, but for the order of sums; where
// tiles are made once more too.
static void check_tiles(GpuChecks *checks, const EngineConfig *config, const char *name) {
    const int64_t TILE = 384;
    int64_t sequences = config->batch * (config->context + 1);
    std::vector<int32_t> tokens =
        random_tokens(sequences > 1200 ? sequences : 1200, config->model.vocab_size, 9);
    for (bool recompute : {false, true}) {
        EngineConfig whole = *config, tiled = *config;
        whole.recompute = tiled.recompute = recompute;
        tiled.tile = TILE;
        char what[96];
        snprintf(what, sizeof what, "%s, tiles of %lld%s", name, (long long)TILE,
                 recompute ? ", recomputed" : "");
        gpu_check(checks, plan_bytes(&tiled) < plan_bytes(&whole) ? 0 : 1, 0, "%s: less is held", what);
        Engine *gpu = create(engine_cuda(), &tiled);
        Engine *cpu = create(engine_cpu(), config); // which keeps every layer's selection
        write_weights(gpu, 3);
        write_weights(cpu, 3);
        if (!config->one_stage) compare_pass(checks, gpu, cpu, tokens.data(), ATTENTION_DENSE, what);
        compare_pass(checks, gpu, cpu, tokens.data(), ATTENTION_LIGHTHOUSE, what);
        check_evaluate(checks, gpu, cpu, tokens.data(), what);
        check_decode(checks, gpu, cpu, tokens.data(), what);
        check_predict(checks, gpu, cpu, tokens.data(), what);
        // The same bits again.
        clear_gradients(gpu);
        double first = pass(gpu, tokens.data(), ATTENTION_LIGHTHOUSE);
        Engine *again = create(engine_cuda(), &tiled);
        write_weights(again, 3);
        gpu_check(checks, fabs(pass(again, tokens.data(), ATTENTION_LIGHTHOUSE) - first), 0,
                  "%s: the loss again", what);
        gpu_check(checks, gradient_differences(gpu, again), 0, "%s: gradients again", what);
        engine_destroy(again);
        engine_destroy(cpu);
        engine_destroy(gpu);
    }
}

// An engine that offloads the inputs of its blocks has the bits of one that keeps them: in two micro-steps of
// each attention, with an evaluation in between that takes their places on the GPU.
static void check_offload(GpuChecks *checks, const EngineConfig *config, int64_t layers, const char *name) {
    EngineConfig kept = *config;
    kept.model.n_layers = layers;
    kept.recompute = true;
    EngineConfig away = kept;
    away.offload_activations = true;
    char what[96];
    snprintf(what, sizeof what, "%s, %lld layers, offloaded", name, (long long)layers);
    int64_t rows = kept.batch * kept.context;
    double input = (double)(rows * kept.model.dim) * sizeof(bf16), sequences[2] = {0, 0};
    PlanBytes before = planned(&kept), after = planned(&away);
    double host = (double)(after.host - before.host), gpu = (double)before.gpu - (double)after.gpu;
    gpu_check(checks, fabs(host - (double)(layers - 1) * input), 2 * PLAN_ALIGNMENT, "%s: bytes on the host",
              what);
    gpu_check(checks, fabs(gpu - (double)(layers - 1) * input), 2 * PLAN_ALIGNMENT, "%s: bytes of the GPU",
              what);
    Engine *a = create(engine_cuda(), &kept), *b = create(engine_cuda(), &away), *engines[] = {a, b};
    for (Engine *engine : engines) write_weights(engine, 3);
    for (int i = 0; i < 4; i++) {
        std::vector<int32_t> tokens =
            random_tokens(kept.batch * (kept.context + 1), kept.model.vocab_size, 9 + (uint64_t)i);
        Attention attention = i / 2 && !kept.one_stage ? ATTENTION_DENSE : ATTENTION_LIGHTHOUSE;
        double difference = fabs(pass(a, tokens.data(), attention) - pass(b, tokens.data(), attention));
        gpu_check(checks, difference, 0, "%s: loss %d", what, i);
        for (int e = 0; e < 2; e++) {
            Error error;
            must(engine_evaluate(engines[e], tokens.data(), 1, 512, ATTENTION_DENSE, &sequences[e], &error),
                 &error);
        }
        gpu_check(checks, fabs(sequences[0] - sequences[1]), 0, "%s: evaluation %d", what, i);
    }
    gpu_check(checks, gradient_differences(a, b), 0, "%s: gradients", what);
    engine_destroy(b);
    engine_destroy(a);
}

// Differing bits of weights and moments.
static double state_differences(Engine *a, Engine *b) {
    double differences = 0;
    for (int kind = TENSOR_WEIGHT; kind <= TENSOR_MOMENT2; kind++) {
        for (int p = 0; p < a->table.count; p++) {
            if (kind == TENSOR_GRADIENT || !a->table.params[p].trained) continue;
            Floats x = read_tensor(a, (TensorKind)kind, p), y = read_tensor(b, (TensorKind)kind, p);
            differences += gpu_differences(x.data(), y.data(), (int64_t)x.size());
        }
    }
    return differences;
}

static void copy_state(Engine *to, Engine *from) {
    for (int kind = TENSOR_WEIGHT; kind <= TENSOR_MOMENT2; kind++) {
        for (int p = 0; p < from->table.count; p++) {
            bool held = kind == TENSOR_WEIGHT || from->table.params[p].trained;
            if (kind == TENSOR_GRADIENT || !held) continue;
            Floats values = read_tensor(from, (TensorKind)kind, p);
            engine_write(to, (TensorKind)kind, p, 0, (int64_t)values.size(), values.data());
        }
    }
}

// One update of several engines; the second is skipped.
static void update_all(GpuChecks *checks, Engine *const *engines, int count, int64_t step, const char *what) {
    const EngineConfig *config = &engines[0]->config;
    Attention attention = step % 2 && !config->one_stage ? ATTENTION_DENSE : ATTENTION_LIGHTHOUSE;
    std::vector<int32_t> tokens =
        random_tokens(config->batch * (config->context + 1), config->model.vocab_size, 20 + (uint64_t)step);
    AdamW adamw = {step, 1e-2, 0.9, 0.95, 1e-8, 0.1, 0.5, step == 2 ? -1.0 : 0, step > 2};
    double first_loss = 0, first_norm = 0;
    for (int i = 0; i < count; i++) {
        Error error;
        double norm, loss = pass(engines[i], tokens.data(), attention);
        must(engine_update(engines[i], &adamw, &norm, &error), &error);
        if (i == 0) first_loss = loss, first_norm = norm;
        gpu_check(checks, fabs(loss - first_loss), 0, "%s: loss of update %lld", what, (long long)step);
        gpu_check(checks, fabs(norm - first_norm), 0, "%s: norm of update %lld", what, (long long)step);
    }
    for (int i = 1; i < count; i++)
        gpu_check(checks, state_differences(engines[0], engines[i]), 0, "%s: after update %lld", what,
                  (long long)step);
}

static void check_offloaded_plan(GpuChecks *checks, const EngineConfig *kept, const EngineConfig *away,
                                 const char *what) {
    PlanBytes before = planned(kept), after = planned(away);
    ParamTable table = param_table_create(&kept->model, true);
    param_table_shard(&table, 1);
    double masters = offload_update_bytes(away), host = (double)after.host - (double)before.host;
    double places = PIECE_PLACES * PIECE_ARRAYS * (double)piece_room(&table, away->piece);
    double more = (places + (double)table.vectors_size + OPTIMIZER_PIECE) * sizeof(float);
    double gpu = (double)before.gpu - (double)after.gpu;
    gpu_check(checks, fabs(host - masters), 4 * PLAN_ALIGNMENT, "%s: bytes on the host", what);
    gpu_check(checks, fabs(gpu - (masters - more)), 8 * PLAN_ALIGNMENT, "%s: bytes of the GPU", what);
    param_table_free(&table);
}

// An engine whose weights and moments lie in host memory, and go through the GPU `piece` elements at a time,
// has the bits of one that keeps them; so have two that go on from what it holds, whether theirs lie there or
// here.
static void check_offloaded_update(GpuChecks *checks, const EngineConfig *config, int64_t piece,
                                   const char *name) {
    EngineConfig kept = *config, away = kept;
    away.offload_optimizer = true;
    away.piece = piece;
    char what[96];
    snprintf(what, sizeof what, "%s, updates in pieces of %lld", name, (long long)piece);
    check_offloaded_plan(checks, &kept, &away, what);
    Engine *engines[4];
    for (int i = 0; i < 4; i++) engines[i] = create(engine_cuda(), i % 2 ? &away : &kept);
    gpu_check(checks, state_differences(engines[0], engines[1]), 0, "%s: zero at first", what);
    for (int i = 0; i < 2; i++) write_weights(engines[i], 3);
    for (int64_t step = 1; step <= 4; step++) update_all(checks, engines, 2, step, what);
    for (int i = 2; i < 4; i++) copy_state(engines[i], engines[1]);
    for (int64_t step = 5; step <= 6; step++) update_all(checks, engines, 4, step, what);
    for (Engine *engine : engines) engine_destroy(engine);
}

// What an engine takes of the GPU is what its plan says.
static void check_taken(GpuChecks *checks, const EngineConfig *config, const char *name) {
    size_t before, after, total;
    Engine *first = create(engine_cuda(), config); // the libraries have their own by now
    CUDA_CHECK(cudaMemGetInfo(&before, &total));
    Engine *engine = create(engine_cuda(), config);
    CUDA_CHECK(cudaMemGetInfo(&after, &total));
    double plan = (double)plan_bytes(config), taken = (double)before - (double)after;
    gpu_check(checks, fabs(taken - plan) / plan, 0.03, "%s: %.2f GB are planned, %.2f GB taken", name,
              plan / 1e9, taken / 1e9);
    engine_destroy(engine);
    engine_destroy(first);
}

static EngineConfig large_config(void) {
    EngineConfig config = small_config(256, 2, 2, 128, 1, SCORER_NORM);
    config.context = 131072;
    config.tile = 16384;
    config.recompute = true;
    return config;
}

// A vocabulary that is padded inside: some updates, each with both decays at work, and the losses stay those
// of the CPU engine, which pads nothing. What rows of padding gained would show in every denominator.
static void check_padding(GpuChecks *checks, int64_t V) {
    EngineConfig config = small_config(128, 2, 1, 64, 2, SCORER_NORM);
    config.model.vocab_size = V;
    Engine *gpu = create(engine_cuda(), &config), *cpu = create(engine_cpu(), &config);
    write_weights(gpu, 3);
    write_weights(cpu, 3);
    std::vector<int32_t> tokens = random_tokens(config.batch * (config.context + 1), V, 9);
    char name[64];
    snprintf(name, sizeof name, "vocabulary of %lld", (long long)V);
    compare_pass(checks, gpu, cpu, tokens.data(), ATTENTION_DENSE, name);
    // Most rows of a large vocabulary move alike, and at 1e-2 rounding grows tenfold an update.
    AdamW adamw = {.step = 1,
                   .lr = V > 1000 ? 1e-3 : 1e-2,
                   .beta1 = 0.9,
                   .beta2 = 0.95,
                   .eps = ADAMW_EPS,
                   .weight_decay = 0.1,
                   .clip = 1};
    double norm;
    Error error;
    for (; adamw.step <= 4; adamw.step++) {
        must(engine_update(cpu, &adamw, &norm, &error), &error);
        must(engine_update(gpu, &adamw, &norm, &error), &error);
        double expected = pass(cpu, tokens.data(), ATTENTION_DENSE);
        double off = fabs(pass(gpu, tokens.data(), ATTENTION_DENSE) - expected) / expected;
        gpu_check(checks, off, 5e-3, "%s: after update %d", name, (int)adamw.step);
    }
    engine_destroy(cpu);
    engine_destroy(gpu);
}

static EngineConfig with_vocabulary(EngineConfig config, int64_t V) {
    config.model.vocab_size = V;
    return config;
}

// Positions of another kind: YaRN, and layers without RoPE, a dense one and one of Lighthouse.
static EngineConfig with_positions(EngineConfig config) {
    const RopeScaling yarn = {ROPE_YARN, 4, 256};
    config.model.family = FAMILY_SMOLLM3;
    config.model.rope_scaling = yarn;
    config.model.no_rope.has[0] = config.model.no_rope.has[2] = true;
    return config;
}

static void check_model(GpuChecks *checks, const EngineConfig *config, const char *name) {
    Engine *gpu = create(engine_cuda(), config), *cpu = create(engine_cpu(), config);
    write_weights(gpu, 3);
    write_weights(cpu, 3);
    int64_t sequences = config->batch * (config->context + 1);
    // check_decode reads further than one sequence.
    std::vector<int32_t> tokens =
        random_tokens(sequences > 1200 ? sequences : 1200, config->model.vocab_size, 9);
    double differences = 0;
    for (int p = 0; p < gpu->table.count; p++) {
        Floats a = read_tensor(gpu, TENSOR_WEIGHT, p), b = read_tensor(cpu, TENSOR_WEIGHT, p);
        differences += gpu_differences(a.data(), b.data(), (int64_t)a.size());
    }
    gpu_check(checks, differences, 0, "%s: weights written and read", name);
    compare_pass(checks, gpu, cpu, tokens.data(), ATTENTION_DENSE, name);
    compare_pass(checks, gpu, cpu, tokens.data(), ATTENTION_LIGHTHOUSE, name);
    check_evaluate(checks, gpu, cpu, tokens.data(), name);
    check_decode(checks, gpu, cpu, tokens.data(), name);
    check_predict(checks, gpu, cpu, tokens.data(), name);
    check_nonfinite(checks, gpu, cpu, tokens.data(), name);
    check_update(checks, gpu, cpu, name);
    check_refusals(checks, gpu, config, name);
    engine_destroy(cpu);
    engine_destroy(gpu);
    EngineConfig recompute = *config, one_stage = *config, no_dense = *config;
    recompute.recompute = one_stage.one_stage = true;
    check_kept(checks, config, &recompute, ATTENTION_DENSE, tokens.data(), name, "recompute");
    check_kept(checks, config, &one_stage, ATTENTION_LIGHTHOUSE, tokens.data(), name, "one stage");
    one_stage.recompute = true;
    check_kept(checks, config, &one_stage, ATTENTION_LIGHTHOUSE, tokens.data(), name,
               "one stage and recompute");
    no_dense.dense_layer[0] = false;
    one_stage = no_dense;
    one_stage.one_stage = true; // then no backward of dense attention is planned either
    check_kept(checks, &no_dense, &one_stage, ATTENTION_LIGHTHOUSE, tokens.data(), name,
               "one stage without dense layers");
}

static EngineConfig of_family(EngineConfig config, Family family, bool tied) {
    config.model.family = family;
    config.model.tied = tied;
    return config;
}

int main(void) {
    GpuChecks checks = {0, 0, false};
    const struct {
        const char *name;
        EngineConfig config;
    } models[] = {
        {"norm, 4/2 heads of 64", small_config(136, 4, 2, 64, 2, SCORER_NORM)},
        {"norm, 2/2 heads of 128", small_config(256, 2, 2, 128, 1, SCORER_NORM)},
        {"dilated, 4/1 heads of 64", small_config(128, 4, 1, 64, 1, SCORER_DILATED)},
        {"gla, 2/1 heads of 128", small_config(192, 2, 1, 128, 2, SCORER_GLA)},
        {"norm, 4/2 heads of 96", small_config(136, 4, 2, 96, 2, SCORER_NORM)},
        {"dilated, 4/1 heads of 96", small_config(128, 4, 1, 96, 1, SCORER_DILATED)},
        {"gla, 2/1 heads of 96", small_config(192, 2, 1, 96, 2, SCORER_GLA)},
        {"norm, qwen3, heads of 96",
         of_family(small_config(136, 4, 2, 96, 2, SCORER_NORM), FAMILY_QWEN3, true)},
        {"norm, tied", of_family(small_config(136, 4, 2, 64, 2, SCORER_NORM), FAMILY_LLAMA, true)},
        {"norm, qwen2", of_family(small_config(136, 4, 2, 64, 2, SCORER_NORM), FAMILY_QWEN2, true)},
        {"norm, qwen3", of_family(small_config(136, 4, 2, 64, 2, SCORER_NORM), FAMILY_QWEN3, true)},
        {"dilated, qwen3", of_family(small_config(64, 2, 1, 128, 1, SCORER_DILATED), FAMILY_QWEN3, false)},
        {"norm, vocabulary of 130", with_vocabulary(small_config(128, 2, 1, 64, 2, SCORER_NORM), 130)},
        {"norm, YaRN and no RoPE", with_positions(small_config(128, 2, 1, 64, 2, SCORER_NORM))},
    };
    EngineConfig no_dense = models[0].config; // attention's output then gives way to its gradient
    no_dense.dense_layer[0] = false;
    no_dense.one_stage = true;
    EngineConfig tiled = models[7].config, large = large_config(), away = large, hosted = models[9].config;
    tiled.tile = 384;
    away.offload_activations = true;
    hosted.offload_optimizer = true;
    hosted.piece = 4096;
    // First, as long as nothing else takes or gives back memory.
    check_taken(&checks, &large, "131,072 tokens in tiles");
    check_taken(&checks, &away, "131,072 tokens in tiles, offloaded");
    away.offload_optimizer = true;
    check_taken(&checks, &away, "131,072 tokens in tiles, all offloaded");
    for (int64_t piece : {32, 4096, 100000, 0})
        check_offloaded_update(&checks, &models[9].config, piece, models[9].name);
    check_offloaded_update(&checks, &models[3].config, 4096, models[3].name);
    check_offloaded_update(&checks, &models[8].config, 4096, models[8].name);
    check_model(&checks, &hosted, "norm, qwen2, weights and moments in host memory");
    for (int64_t layers : {1, 2, 3, 6}) check_offload(&checks, &models[0].config, layers, models[0].name);
    check_offload(&checks, &tiled, 4, "norm, qwen3, tiles of 384");
    check_offload(&checks, &no_dense, 4, "norm, one stage without dense layers");
    check_tiles(&checks, &no_dense, "norm, one stage without dense layers");
    for (int i : {0, 3, 7, 9}) check_tiles(&checks, &models[i].config, models[i].name);
    for (auto &model : models) check_model(&checks, &model.config, model.name);
    check_chunks(&checks);
    for (int64_t V : {9, 130, 263, 50257}) check_padding(&checks, V);
    check_golden(&checks, "dev/test/golden/model_kv1.json");
    check_golden(&checks, "dev/test/golden/model_kv2.json");
    return gpu_checks_finish(&checks);
}
