// Engines of several ranks against one engine that does all the work alone, on rank 0; see worker.h.
#include "core/engine/context.h"
#include "dev/test/support/numbers.h"
#include "dev/test/rank_worker/worker.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VOCABULARY 264
#define STEPS      10

static EngineConfig small_config(int64_t context, int64_t topk, int64_t heads, int64_t kv_heads) {
    const ModelConfig model = {2, 72, heads, kv_heads, 64, 88, VOCABULARY, 10000, 1e-5};
    const LighthouseConfig lighthouse = {SCORER_NORM, 3, 2, topk, 4};
    EngineConfig config;
    memset(&config, 0, sizeof config);
    config.model = model;
    config.lighthouse = lighthouse;
    config.use_lighthouse = true;
    config.training = true;
    config.deterministic = true;
    config.batch = 1;
    config.context = context;
    return config;
}

// With the weights that runs begin with, or with ones spread more, so that every layer matters.
static Engine *create(Ranks *ranks, const Subject *subject, const EngineConfig *config, bool initial) {
    Error error;
    Engine *engine = subject->engine->create(config, &error);
    if (!engine) ranks_fail(ranks, &error);
    for (int p = 0; p < engine->table.count; p++) {
        const Param *param = &engine->table.params[p];
        int64_t size = param_size(param);
        float *values = numbers_new(size, 50 + (uint64_t)p, param->n_dims == 1 ? 0.1 : 0.08);
        for (int64_t i = 0; i < size && param->n_dims == 1; i++) values[i] += 1;
        if (initial) param_init(param, 1, 0, size, values);
        engine_write(engine, TENSOR_WEIGHT, p, 0, size, values);
        free(values);
    }
    return engine;
}

static int32_t *new_tokens(int64_t rows, int64_t context, uint64_t stream) {
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)(rows * (context + 1)), sizeof *tokens);
    for (int64_t i = 0; i < rows * (context + 1); i++) {
        tokens[i] = (int32_t)numbers_between(stream, (uint64_t)i, 0, VOCABULARY - 1);
    }
    return tokens;
}

// The two sides of a comparison: engine `all` is only on rank 0.
typedef struct {
    Ranks *ranks;
    const Subject *subject;
    Engine *own, *all;
    int64_t rows;        // sequences an update
    int32_t *selections; // (rows, layers, H S) what `all` selected, where `own` is to gather the same
} Sides;

static Sides open_sides(Ranks *ranks, const Subject *subject, const EngineConfig *config, int64_t rows,
                        bool initial) {
    EngineConfig shared = *config;
    shared.ranks = ranks;
    shared.micro_steps = rows / ranks->data_size / config->batch;
    Sides sides = {ranks, subject, create(ranks, subject, &shared, initial), NULL, rows, NULL};
    if (ranks->rank == 0) sides.all = create(ranks, subject, config, initial);
    return sides;
}

static void close_sides(Sides *sides) {
    engine_destroy(sides->own);
    engine_destroy(sides->all);
    free(sides->selections);
}

// ---- selections: a score's last bit turns them, and weights differ by roundings after the first update

static int64_t selected_count(const EngineConfig *config) {
    LighthouseShape shape;
    Error error;
    if (!context_lighthouse(config, 1, config->context, 1, &shape, &error)) error_exit(&error);
    return shape.H * shape.hierarchy.n_selected;
}

static int32_t *selection_at(Sides *s, int64_t row, int layer) {
    const EngineConfig *config = &s->own->config;
    return s->selections + (row * config->model.n_layers + layer) * selected_count(config);
}

// Of one row, behind the pass of `all` over it.
static void keep_selections(Sides *s, int64_t row) {
    const EngineConfig *config = &s->own->config;
    for (int layer = 0; layer < config->model.n_layers; layer++) {
        if (!config->dense_layer[layer]) engine_read_selection(s->all, layer, selection_at(s, row, layer));
    }
}

static void force_selections(Sides *s, int64_t row) {
    const EngineConfig *config = &s->own->config;
    for (int layer = 0; layer < config->model.n_layers; layer++) {
        if (config->dense_layer[layer]) continue;
        engine_force_selection(s->own, layer, selection_at(s, row, layer));
    }
}

// From here on, in passes of one row.
static void share_selections(Sides *s) {
    const EngineConfig *config = &s->own->config;
    int64_t each = config->model.n_layers * selected_count(config);
    s->selections = (int32_t *)alloc_or_exit((size_t)(s->rows * each), sizeof *s->selections);
}

static void broadcast_selections(Sides *s) {
    const EngineConfig *config = &s->own->config;
    int64_t each = config->model.n_layers * selected_count(config);
    ranks_broadcast(s->ranks, s->selections, (size_t)(s->rows * each) * sizeof *s->selections);
}

// ---- passes

// Gradients of all rows on both sides; gives the sums of nats.
static void both_backward(Sides *s, const int32_t *tokens, Attention attention, double *nats, double *want) {
    const EngineConfig *config = &s->own->config;
    int64_t row_size = config->context + 1, targets = s->rows * config->context,
            each = s->rows / s->ranks->data_size;
    int64_t batch = config->batch;
    Error error;
    double one;
    *nats = *want = 0;
    for (int64_t i = 0; s->all && i < s->rows; i += batch) {
        expect(s->ranks,
               engine_forward_backward(s->all, tokens + i * row_size, attention, targets, &one, &error),
               "backward");
        *want += one;
        if (s->selections) keep_selections(s, i);
    }
    ranks_broadcast(s->ranks, want, sizeof *want);
    if (s->selections) broadcast_selections(s);
    for (int64_t i = 0; i < each; i += batch) {
        int64_t row = s->ranks->data_rank * each + i;
        if (s->selections) force_selections(s, row);
        expect(s->ranks,
               engine_forward_backward(s->own, tokens + row * row_size, attention, targets, &one, &error),
               "backward");
        *nats += one;
    }
    ranks_sum(s->ranks, nats, 1);
}

// ||own - all|| / ||all|| of one tensor, over the shares of all ranks.
static double tensor_error(Sides *s, TensorKind kind, int p) {
    const Param *param = &s->own->table.params[p];
    int64_t size = param_size(param), start, count;
    float *want = (float *)alloc_or_exit((size_t)size, sizeof *want);
    float *got = (float *)alloc_or_exit((size_t)size, sizeof *got);
    if (s->all) engine_read(s->all, kind, p, 0, size, want);
    ranks_broadcast(s->ranks, want, (size_t)size * sizeof *want);
    param_share(&s->own->table, param, s->ranks->rank, &start, &count);
    if (count > 0) engine_read(s->own, kind, p, start, count, got);
    double sums[3] = {0, 0, (double)count};
    for (int64_t i = 0; i < count; i++) {
        sums[0] += pow((double)got[i] - want[start + i], 2);
        sums[1] += pow(want[start + i], 2);
    }
    ranks_sum(s->ranks, sums, 3);
    free(want);
    free(got);
    expect(s->ranks, sums[2] == (double)size, "%s: the shares hold %.0f of %d elements", param->name, sums[2],
           (int)size);
    return sums[1] > 0 ? sqrt(sums[0] / sums[1]) : sums[0] > 0 ? INFINITY : 0;
}

static void expect_tensors(Sides *s, TensorKind kind, double tolerance, const char *what) {
    double largest = 0;
    for (int p = 0; p < s->own->table.count; p++) {
        if (!s->own->table.params[p].trained) continue;
        double e = tensor_error(s, kind, p);
        largest = e > largest ? e : largest;
        expect(s->ranks, e <= tolerance, "%s: %s is off by %g", what, s->own->table.params[p].name, e);
    }
    if (s->ranks->rank == 0) printf("%s: off by %.2g at most\n", what, largest);
}

static const AdamW RECIPE = {
    .step = 1, .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = ADAMW_EPS, .weight_decay = 0.1, .clip = 1};

static void both_update(Sides *s, int64_t step, double *norm, double *want) {
    AdamW adamw = RECIPE;
    adamw.step = step;
    adamw.matrices = step % 2 == 1;
    Error error;
    expect(s->ranks, engine_update(s->own, &adamw, norm, &error), "update");
    if (s->all) expect(s->ranks, engine_update(s->all, &adamw, want, &error), "update");
    ranks_broadcast(s->ranks, want, sizeof *want);
}

static double difference(double a, double b) {
    return fabs(a / b - 1);
}

// Ten updates, from initial weights as runs are.
static void check_updates(Ranks *ranks, const Subject *subject, const EngineConfig *config,
                          Attention attention) {
    Sides s = open_sides(ranks, subject, config, 4, true);
    if (attention == ATTENTION_LIGHTHOUSE) share_selections(&s);
    double nats, want, norm, want_norm, loss_error = 0, norm_error = 0;
    for (int64_t step = 1; step <= STEPS; step++) {
        int32_t *tokens = new_tokens(s.rows, config->context, (uint64_t)step);
        both_backward(&s, tokens, attention, &nats, &want);
        free(tokens);
        expect(ranks, difference(nats, want) <= subject->losses, "step %d: loss %.9g, not %.9g", (int)step,
               nats, want);
        if (step == 1) expect_tensors(&s, TENSOR_GRADIENT, subject->gradients, "gradients");
        both_update(&s, step, &norm, &want_norm);
        expect(ranks, difference(norm, want_norm) <= subject->norms, "step %d: norm %.9g, not %.9g",
               (int)step, norm, want_norm);
        loss_error = fmax(loss_error, difference(nats, want));
        norm_error = fmax(norm_error, difference(norm, want_norm));
    }
    if (ranks->rank == 0) printf("ten losses, norms: off by %.2g, %.2g at most\n", loss_error, norm_error);
    // Little but rounding is a key bias's gradient, as softmax takes no notice of what all keys share.
    double bound = subject->weights * (family_has(config->model.family, FAMILY_BIAS) ? 4 : 1);
    expect_tensors(&s, TENSOR_WEIGHT, bound, "weights");
    expect_tensors(&s, TENSOR_MOMENT2, subject->moments, "second moments");
    close_sides(&s);
}

// Sums that begin with the update, and a gradient that is not finite on one rank: it stops all, and changes
// nothing.
static void check_late_and_bad(Ranks *ranks, const Subject *subject, const EngineConfig *alone) {
    EngineConfig config = *alone;
    config.ranks = ranks;
    Engine *engine = create(ranks, subject, &config, false);
    double norm;
    int32_t *tokens = new_tokens(ranks->size, config.context, 1);
    Error error;
    double one;
    AdamW adamw = RECIPE;
    engine_forward_backward(engine, tokens, ATTENTION_DENSE, config.context, &one, &error);
    expect(ranks, engine_update(engine, &adamw, &norm, &error) && norm > 0, "late update");
    float before, after, bad = NAN;
    int64_t start, count;
    const Param *param = &engine->table.params[0];
    param_share(&engine->table, param, ranks->rank, &start, &count);
    engine_read(engine, TENSOR_WEIGHT, 0, start, 1, &before);
    if (ranks->rank == ranks->size - 1) engine_write(engine, TENSOR_GRADIENT, 0, start, 1, &bad);
    expect(ranks, !engine_update(engine, &adamw, &norm, &error) && error.status == STATUS_NONFINITE, "NaN");
    engine_read(engine, TENSOR_WEIGHT, 0, start, 1, &after);
    expect(ranks, before == after, "a refused update has changed a weight");
    adamw.most_norm = -1;
    engine_forward_backward(engine, tokens, ATTENTION_DENSE, config.context, &one, &error);
    expect(ranks, engine_update(engine, &adamw, &norm, &error) && adamw_skips(&adamw, norm),
           "a skipped update");
    engine_read(engine, TENSOR_WEIGHT, 0, start, 1, &after);
    expect(ranks, before == after, "a skipped update has changed a weight");
    free(tokens);
    engine_destroy(engine);
}

void scenario_data(Ranks *ranks, const Subject *subject) {
    EngineConfig config = small_config(512, 128, 4, 2);
    check_updates(ranks, subject, &config, ATTENTION_LIGHTHOUSE);
    if (ranks->size == 2) check_updates(ranks, subject, &config, ATTENTION_DENSE);
    config.model.tied = true;
    config.model.family = FAMILY_QWEN2;
    if (ranks->size == 2) check_updates(ranks, subject, &config, ATTENTION_LIGHTHOUSE);
    config.model.family = FAMILY_QWEN3;
    if (ranks->size == 2) check_updates(ranks, subject, &config, ATTENTION_DENSE);
    check_late_and_bad(ranks, subject, &config);
}

// ---- ranks that keep their shares of the gradients alone (--zero 2)

static void expect_bits(Ranks *ranks, Engine *a, Engine *b, TensorKind kind, const char *name) {
    for (int p = 0; p < a->table.count; p++) {
        const Param *param = &a->table.params[p];
        int64_t start, count;
        param_share(&a->table, param, ranks->rank, &start, &count);
        if (!param->trained || count == 0) continue;
        float *x = (float *)alloc_or_exit((size_t)count, sizeof *x);
        float *y = (float *)alloc_or_exit((size_t)count, sizeof *y);
        engine_read(a, kind, p, start, count, x);
        engine_read(b, kind, p, start, count, y);
        expect(ranks, memcmp(x, y, (size_t)count * sizeof *x) == 0, "%s: other bits in %s, kind %d", name,
               param->name, (int)kind);
        free(x);
        free(y);
    }
}

// Updates of one micro-step, as their sums then have one order, with and without; one of them is skipped.
// Where `alone` offloads the optimizer, those with their shares alone do.
static void check_same_sums(Ranks *ranks, const Subject *subject, const EngineConfig *alone,
                            Attention attention, const char *name) {
    EngineConfig config = *alone;
    Engine *engines[2];
    int64_t targets = ranks->data_size * config.batch * config.context;
    config.ranks = ranks;
    config.micro_steps = 1;
    for (int shared = 0; shared < 2; shared++) {
        config.share_gradients = shared == 1;
        config.offload_optimizer =
            shared == 1 && alone->offload_optimizer; // for which the CPU engine has no use
        engines[shared] = create(ranks, subject, &config, false);
    }
    for (int64_t step = 1; step <= 3; step++) {
        AdamW adamw = RECIPE;
        adamw.step = step;
        adamw.most_norm = step == 2 ? -1.0 : 0;
        adamw.matrices = true;
        double nats[2], norm[2];
        Error error;
        uint64_t stream = (uint64_t)(step * ranks->data_size + ranks->data_rank);
        int32_t *tokens = new_tokens(config.batch, config.context, stream);
        for (int i = 0; i < 2; i++)
            expect(ranks, engine_forward_backward(engines[i], tokens, attention, targets, &nats[i], &error),
                   "backward");
        free(tokens);
        if (step != 3) expect_bits(ranks, engines[0], engines[1], TENSOR_GRADIENT, name);
        for (int i = 0; i < 2; i++)
            expect(ranks, engine_update(engines[i], &adamw, &norm[i], &error), "update");
        expect(ranks, nats[0] == nats[1] && norm[0] == norm[1],
               "%s: loss %.17g and %.17g, norm %.17g and %.17g", name, nats[0], nats[1], norm[0], norm[1]);
    }
    for (int kind = TENSOR_WEIGHT; kind <= TENSOR_MOMENT2; kind++)
        expect_bits(ranks, engines[0], engines[1], (TensorKind)kind, name);
    engine_destroy(engines[0]);
    engine_destroy(engines[1]);
    if (ranks->rank == 0) printf("%s: the same bits\n", name);
}

void scenario_shares(Ranks *ranks, const Subject *subject) {
    int64_t slices = ranks->context_size;
    EngineConfig config = small_config(516 * slices, 128 * slices, 2 * slices, 1);
    config.model.n_layers = 4;
    config.dense_layer[1] = true;
    check_same_sums(ranks, subject, &config, ATTENTION_LIGHTHOUSE, "shares");
    config.lighthouse.scorer = SCORER_GLA;
    config.recompute = true;
    check_same_sums(ranks, subject, &config, ATTENTION_LIGHTHOUSE, "shares, gla, recomputed");
    config.model.tied = true;
    config.model.family = FAMILY_QWEN2;
    config.offload_optimizer = true;
    config.piece = 2048;
    check_same_sums(ranks, subject, &config, ATTENTION_DENSE, "shares, tied, offloaded");
    config.offload_optimizer = false;
    config.model.family = FAMILY_QWEN3;
    config.model.n_layers = 1;
    check_same_sums(ranks, subject, &config, ATTENTION_DENSE, "shares of one layer, tied");
    if (slices > 1) return;
    config = small_config(512, 128, 4, 2);
    config.share_gradients = true;
    check_updates(ranks, subject, &config, ATTENTION_LIGHTHOUSE);
    config.model.tied = true;
    check_updates(ranks, subject, &config, ATTENTION_DENSE);
    check_late_and_bad(ranks, subject, &config);
}

// Two updates; before the second the last rank gets a signal that it does not survive.
static void update_and_signal(Ranks *ranks, const Subject *subject, int64_t step, double patience,
                              int signal) {
    EngineConfig config = small_config(512, 128, 4, 2);
    config.ranks = ranks;
    Engine *engine = create(ranks, subject, &config, false);
    int32_t *tokens = new_tokens(1, config.context, 1);
    for (int i = 0; i < 2; i++) {
        AdamW adamw = RECIPE;
        adamw.step = i + 1;
        Error error;
        double nats, norm;
        ranks->step = step + i;
        bool ok = engine_forward_backward(engine, tokens, ATTENTION_LIGHTHOUSE, 512, &nats, &error);
        expect(ranks, ranks_agree(ranks, ok, &error), "backward");
        if (i == 1) ranks->patience = patience;
        if (i == 1 && ranks->rank == ranks->size - 1) raise(signal);
        expect(ranks, engine_update(engine, &adamw, &norm, &error), "update");
    }
    free(tokens);
    engine_destroy(engine);
}

void scenario_update_hangs(Ranks *ranks, const Subject *subject) {
    update_and_signal(ranks, subject, 6, IMPATIENT, SIGSTOP);
}

void scenario_update_dies(Ranks *ranks, const Subject *subject) {
    update_and_signal(ranks, subject, 2, RANKS_LONG_PATIENCE, SIGKILL);
}

// All ranks of a sequence are given the logits after its last token.
static void check_predict(Sides *s, const int32_t *tokens, const char *name) {
    const EngineConfig *config = &s->own->config;
    int64_t count = config->batch * VOCABULARY;
    double squares = 0, differences = 0;
    float *got = (float *)alloc_or_exit((size_t)count, sizeof *got);
    float *want = (float *)alloc_or_exit((size_t)count, sizeof *want);
    Error error;
    expect(s->ranks, engine_predict(s->own, tokens, config->batch, config->context, got, &error), "predict");
    if (s->all) engine_predict(s->all, tokens, config->batch, config->context, want, &error);
    ranks_broadcast(s->ranks, want, (size_t)count * sizeof *want);
    for (int64_t i = 0; i < count; i++) {
        squares += (double)want[i] * want[i];
        differences += pow((double)got[i] - want[i], 2);
    }
    double off = sqrt(differences / squares);
    expect(s->ranks, off <= s->subject->slice_gradients, "%s: logits are off by %g", name, off);
    if (s->ranks->rank == 0) printf("%s, logits: off by %.2g\n", name, off);
    free(got);
    free(want);
}

// Softmax hardly sees what all keys have in common: with biases, gradients are small sums of large terms.
static double slice_gradients(const Ranks *ranks, const Subject *subject, const EngineConfig *config) {
    bool copied = ranks->context_size > config->model.n_kv_heads;
    double bound = copied ? subject->copied_gradients : subject->slice_gradients;
    // Sums of another order differ by 1e-7; where FP8 then rounds the other way a value moves by a sixteenth,
    // and so on through the layers. Scales of slices are held to those of the whole in test_fp8.
    if (config->fp8) return 0.04;
    return bound * (family_has(config->model.family, FAMILY_BIAS) ? 4 : 1);
}

// One step of one configuration: the loss, evaluated and trained, gradients, and the weights after.
static void check_context(Ranks *ranks, const Subject *subject, const EngineConfig *config,
                          Attention attention, const char *name) {
    Sides s = open_sides(ranks, subject, config, ranks->data_size * config->batch, false);
    int32_t *tokens = new_tokens(s.rows, config->context, 3);
    char what[64];
    double nats, want, evaluated = 0, norm, want_norm;
    Error error;
    const int32_t *row = tokens + ranks->data_rank * config->batch * (config->context + 1);
    expect(ranks, engine_evaluate(s.own, row, config->batch, config->context, attention, &evaluated, &error),
           "evaluate");
    ranks_sum(ranks, &evaluated, 1);
    check_predict(&s, tokens, name);
    both_backward(&s, tokens, attention, &nats, &want);
    free(tokens);
    if (ranks->rank == 0) printf("%s, loss: off by %.2g\n", name, difference(nats, want));
    expect(ranks, difference(nats, want) <= subject->slice_loss && nats == evaluated,
           "%s: loss %.17g, evaluated %.17g, not %.17g", name, nats, evaluated, want);
    snprintf(what, sizeof what, "%s, gradients", name);
    double gradients = slice_gradients(ranks, subject, config);
    expect_tensors(&s, TENSOR_GRADIENT, gradients, what);
    both_update(&s, 1, &norm, &want_norm);
    expect(ranks, difference(norm, want_norm) <= gradients, "%s: norm %.9g, not %.9g", name, norm, want_norm);
    close_sides(&s);
}

// More ranks than key/value heads: ranks have copies of one, in dense layers and for the dilated scorer. The
// first layer is dense.
static void check_copied_heads(Ranks *ranks, const Subject *subject, int64_t kv_heads) {
    int64_t slices = ranks->context_size;
    EngineConfig config = small_config(516 * slices, 128 * slices, 2 * slices, kv_heads);
    char name[48];
    config.dense_layer[0] = true;
    config.batch = 2;
    config.lighthouse.scorer = SCORER_DILATED;
    config.model.family = FAMILY_QWEN2;
    snprintf(name, sizeof name, "dilated qwen2, %d kv heads", (int)kv_heads);
    check_context(ranks, subject, &config, ATTENTION_LIGHTHOUSE, name);
    config.batch = 1;
    config.recompute = true;
    config.model.family = FAMILY_QWEN3;
    snprintf(name, sizeof name, "dense qwen3, %d kv heads", (int)kv_heads);
    check_context(ranks, subject, &config, ATTENTION_DENSE, name);
}

static void check_heads_of_96(Ranks *ranks, const Subject *subject) {
    EngineConfig config = small_config(772 * ranks->context_size, 128 * ranks->context_size, 4, 2);
    config.dense_layer[0] = true;
    config.model.head_dim = 96;
    for (int scorer = 0; scorer < SCORER_COUNT; scorer++) {
        char name[48];
        config.lighthouse.scorer = (Scorer)scorer;
        snprintf(name, sizeof name, "%s, heads of 96", SCORER_TABLE[scorer].name);
        check_context(ranks, subject, &config, ATTENTION_LIGHTHOUSE, name);
    }
}

// Scales lie within a slice, whose forward has the same bits.
static void check_fp8(Ranks *ranks, const Subject *subject) {
    EngineConfig config = small_config(768 * ranks->context_size, 128 * ranks->context_size, 4, 2);
    config.model.dim = 128;
    config.model.ffn_dim = 256;
    config.fp8 = true;
    check_context(ranks, subject, &config, ATTENTION_LIGHTHOUSE, "fp8");
}

void scenario_context(Ranks *ranks, const Subject *subject) {
    int64_t slices = ranks->context_size;
    // Slices that begin and end within tiles of any size.
    EngineConfig config = small_config(772 * slices, 128 * slices, 4, slices);
    config.dense_layer[0] = true;
    for (int scorer = 0; scorer < SCORER_COUNT; scorer++) {
        config.lighthouse.scorer = (Scorer)scorer;
        check_context(ranks, subject, &config, ATTENTION_LIGHTHOUSE, SCORER_TABLE[scorer].name);
        if (ranks->data_size > 1) return; // the scorers know of nothing but their own sequence
    }
    for (int64_t kv_heads = 1; kv_heads < slices; kv_heads *= 2) {
        check_copied_heads(ranks, subject, kv_heads);
    }
    if (slices > 2) return;
    if (subject->engine == engine_cpu()) check_fp8(ranks, subject);
    config.lighthouse.scorer = SCORER_DILATED;
    config.batch = 2;
    check_context(ranks, subject, &config, ATTENTION_LIGHTHOUSE, "two sequences");
    config.lighthouse.scorer = SCORER_NORM;
    config.batch = 1;
    check_context(ranks, subject, &config, ATTENTION_DENSE, "dense");
    config.model.tied = true;
    check_context(ranks, subject, &config, ATTENTION_DENSE, "tied");
    for (int family = FAMILY_QWEN2; family <= FAMILY_QWEN3; family++) {
        config.model.family = (Family)family;
        check_context(ranks, subject, &config, ATTENTION_DENSE, FAMILY_TABLE[family].name);
        check_context(ranks, subject, &config, ATTENTION_LIGHTHOUSE, FAMILY_TABLE[family].name);
    }
    config.model.family = FAMILY_LLAMA;
    config.model.tied = false;
    config.recompute = true;
    config.dense_layer[0] = false;
    check_context(ranks, subject, &config, ATTENTION_LIGHTHOUSE, "recompute");
    config.dense_layer[0] = config.offload_activations = true; // which the CPU engine has no use for
    config.tile = 192;
    check_context(ranks, subject, &config, ATTENTION_LIGHTHOUSE, "tiles, offloaded");
    check_context(ranks, subject, &config, ATTENTION_DENSE, "dense tiles, offloaded");
    // Coarse entries of 16 tokens, and outputs that the backward scatters again.
    config = small_config(2048 * slices, 128 * slices, 2, 2);
    config.lighthouse.pool = 4;
    config.model.head_dim = 128;
    config.dense_layer[0] = config.one_stage = true;
    check_context(ranks, subject, &config, ATTENTION_LIGHTHOUSE, "wide heads, one stage");
    check_heads_of_96(ranks, subject);
}
