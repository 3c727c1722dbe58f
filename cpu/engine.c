// The CPU engine: the whole decoder in one allocation, behind the interface of core/engine/engine.h.
#include "cpu/engine.h"

#include "core/base/host_memory.h"
#include "cpu/engine_parts.h"

#include <assert.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

// ---- opening and closing

static CpuEngine *engine_new(const EngineConfig *config) {
    CpuEngine *e = (CpuEngine *)alloc_or_exit(1, sizeof *e);
    engine_begin(&e->base, engine_cpu(), config);
    return e;
}

static void cpu_destroy(Engine *engine) {
    CpuEngine *e = (CpuEngine *)engine;
    collectives_destroy(e->cp.queue);
    collectives_destroy(e->optimizer.queue);
    param_table_free(&e->base.table);
    free(e->arena);
    free(e);
}

static bool cpu_plan(const EngineConfig *config, MemoryPlan *plan, Error *error) {
    CpuEngine *e = engine_new(config);
    bool ok = cpu_plan_engine(e, plan, error);
    for (int i = 0; i < plan->count; i++) plan->rows[i].pointer = NULL; // they pointed into e
    cpu_destroy(&e->base);
    return ok;
}

static bool cpu_present(void) {
    return true;
}

static double cpu_describe_device(char *name, size_t size) {
    snprintf(name, size, "processor, %d threads", omp_get_max_threads());
    return 0;
}

// One queue for what the passes wait for, another for the sums that go on beside them.
static void connect_engine(CpuEngine *e) {
    Ranks *ranks = e->base.config.ranks;
    e->optimizer.table = &e->base.table;
    e->optimizer.ranks = ranks;
    e->scratch.clock = &e->clock;
    e->scratch.cp = cpu_cp_of(e);
    if (!ranks_many(ranks)) return;
    e->optimizer.queue = collectives_mpi(ranks, RANKS_ALL);
    e->optimizer.clock = &e->clock;
    e->cp.index = ranks->context_rank;
    e->cp.clock = &e->clock;
    if (cpu_cp_of(e)) e->cp.queue = collectives_mpi(ranks, RANKS_CONTEXT);
}

static Engine *cpu_create(const EngineConfig *config, Error *error) {
    CpuEngine *e = engine_new(config);
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    bool ok = cpu_plan_engine(e, plan, error);
    if (ok) {
        // Zeroed, and backed by memory only where it is touched.
        e->arena = calloc(plan->total, 1);
        ok = e->arena ||
             error_set(error, STATUS_MEMORY, "no %.2f GB of memory on the host", (double)plan->total / 1e9);
    }
    if (!ranks_agree(config->ranks, ok, error)) {
        free(plan);
        cpu_destroy(&e->base);
        return NULL;
    }
    plan_bind(plan, e->arena);
    free(plan);
    const ModelConfig *m = &config->model;
    RopeFrequencies frequencies = model_frequencies(m, engine_rope_length(config));
    cpu_rope_table(e->scratch.cosines, e->scratch.sines, engine_positions(config), m->head_dim, &frequencies);
    connect_engine(e);
    openblas_set_num_threads(1); // the kernels spread tiles over the cores themselves
    return &e->base;
}

// ---- passes

// Weights, or gradients as a pass adds them up.
static real *tensor(CpuEngine *e, TensorKind kind, ParamRole role, int layer) {
    int index = param_find(&e->base.table, role, layer);
    if (index < 0) return NULL;
    const Param *param = &e->base.table.params[index];
    if (!param->trained) return e->frozen + param->offset;
    return kind == TENSOR_WEIGHT ? e->optimizer.weights + param->offset
                                 : optimizer_whole_gradient(&e->optimizer, param);
}

static CpuBlockWeights block_weights(CpuEngine *e, TensorKind kind, int layer) {
    CpuBlockWeights w;
    w.attention_norm = tensor(e, kind, PARAM_ATTENTION_NORM, layer);
    w.q = tensor(e, kind, PARAM_Q, layer);
    w.k = tensor(e, kind, PARAM_K, layer);
    w.v = tensor(e, kind, PARAM_V, layer);
    w.q_bias = tensor(e, kind, PARAM_Q_BIAS, layer);
    w.k_bias = tensor(e, kind, PARAM_K_BIAS, layer);
    w.v_bias = tensor(e, kind, PARAM_V_BIAS, layer);
    w.q_norm = tensor(e, kind, PARAM_Q_NORM, layer);
    w.k_norm = tensor(e, kind, PARAM_K_NORM, layer);
    w.o = tensor(e, kind, PARAM_O, layer);
    w.ffn_norm = tensor(e, kind, PARAM_FFN_NORM, layer);
    w.gate = tensor(e, kind, PARAM_GATE, layer);
    w.up = tensor(e, kind, PARAM_UP, layer);
    w.down = tensor(e, kind, PARAM_DOWN, layer);
    w.gla_weight = tensor(e, kind, PARAM_GLA_WEIGHT, layer);
    w.gla_bias = tensor(e, kind, PARAM_GLA_BIAS, layer);
    return w;
}

// The buffers of one layer among those planned for all.
static CpuBlockActivations block_activations(const CpuEngine *e, int layer) {
    const EngineConfig *config = &e->base.config;
    const ModelConfig *m = &config->model;
    int64_t skip = layer % e->kept_layers, rows = skip * context_rows(config);
    CpuBlockActivations a = e->acts;
    a.attention_normed += rows * m->dim;
    a.attention_rstd += rows;
    a.q += rows * m->n_heads * m->head_dim;
    a.k += rows * context_heads(m->n_kv_heads, e->cp.size) * m->head_dim;
    a.v += rows * context_heads(m->n_kv_heads, e->cp.size) * m->head_dim;
    if (a.q_before) {
        a.q_before += rows * m->n_heads * m->head_dim;
        a.k_before += rows * m->n_kv_heads * m->head_dim;
        a.q_rstd += rows * m->n_heads;
        a.k_rstd += rows * m->n_kv_heads;
    }
    a.attention += rows * m->n_heads * m->head_dim;
    a.lse += rows * m->n_heads;
    if (a.exchanged_out) a.exchanged_out += rows * m->n_heads * m->head_dim;
    a.mid += rows * m->dim;
    a.ffn_normed += rows * m->dim;
    a.ffn_rstd += rows;
    a.gate += rows * m->ffn_dim;
    a.up += rows * m->ffn_dim;
    a.act += rows * m->ffn_dim;
    if (config->use_lighthouse) {
        const LighthouseShape *shape = &e->lighthouse;
        int64_t heads = skip * shape->B * shape->H, selected = heads * shape->hierarchy.n_selected;
        a.lighthouse.entries += selected;
        a.lighthouse.positions += heads * shape->hierarchy.n_entries;
        a.lighthouse.q += selected * shape->D;
        a.lighthouse.k += selected * shape->D;
        a.lighthouse.v += selected * shape->D;
        a.lighthouse.out += selected * shape->D;
        a.lighthouse.lse += selected;
    }
    return a;
}

static real *block_input(const CpuEngine *e, int64_t layer) {
    const EngineConfig *config = &e->base.config;
    return e->x + layer % e->kept_inputs * context_rows(config) * config->model.dim;
}

static void layer_forward(CpuEngine *e, const Pass *pass, int layer) {
    CpuBlockWeights weights = block_weights(e, TENSOR_WEIGHT, layer);
    CpuBlockActivations acts = block_activations(e, layer);
    Pass own = pass_of_layer(pass, &e->base.config, layer, e->forced[layer]);
    cpu_block_forward(block_input(e, layer + 1), block_input(e, layer), &weights, &acts, &e->scratch, &own);
}

// Notes the output of layer `layer` where it is the first that is not finite.
static void look_at_output(const CpuEngine *e, const Pass *pass, int layer, int *nonfinite) {
    const real *x = block_input(e, layer + 1);
    int64_t count = pass->B * pass->N * e->base.config.model.dim;
    for (int64_t i = 0; i < count && layer < *nonfinite; i++) {
        if (!isfinite(x[i])) *nonfinite = layer;
    }
}

// Embedding, all layers, final norm.   token of row (b, n): tokens[b * stride + n]
// nonfinite: NULL, or lowered to the first layer whose output is not finite
static void forward(CpuEngine *e, const Pass *pass, const int32_t *tokens, int64_t stride, int *nonfinite) {
    const ModelConfig *m = &e->base.config.model;
    part_begin(&e->clock, PART_EMBEDDING);
    cpu_embedding_forward(block_input(e, 0), tokens, stride, tensor(e, TENSOR_WEIGHT, PARAM_EMBEDDING, -1),
                          pass->B, pass->N, m->dim);
    if (nonfinite) look_at_output(e, pass, -1, nonfinite);
    for (int layer = 0; layer < m->n_layers; layer++) {
        layer_forward(e, pass, layer);
        if (nonfinite) look_at_output(e, pass, layer, nonfinite);
    }
    part_begin(&e->clock, PART_ELEMENTWISE);
    cpu_rmsnorm_forward(e->final_normed, e->final_rstd, block_input(e, m->n_layers),
                        tensor(e, TENSOR_WEIGHT, PARAM_FINAL_NORM, -1), pass->B * pass->N, m->dim,
                        m->norm_eps);
}

// A bucket's gradients are complete: its sum over the ranks begins, and others go on.
static void bucket_done(CpuEngine *e, bool last, int bucket) {
    if (last || e->optimizer.shares) optimizer_begin_sum(&e->optimizer, bucket);
    if (e->optimizer.queue) collectives_progress(e->optimizer.queue);
}

// From the gradient of the final norm's output, in scratch.dnormed, to all the others. `last`: no other pass
// adds to them before the update.
static void backward(CpuEngine *e, const Pass *pass, const int32_t *tokens, int64_t stride, bool last) {
    const ModelConfig *m = &e->base.config.model;
    int64_t rows = pass->B * pass->N;
    part_begin(&e->clock, PART_ELEMENTWISE);
    memset(e->dx, 0, (size_t)(rows * m->dim) * sizeof *e->dx);
    cpu_rmsnorm_backward(e->dx, tensor(e, TENSOR_GRADIENT, PARAM_FINAL_NORM, -1), e->scratch.norm,
                         e->scratch.dnormed, block_input(e, m->n_layers),
                         tensor(e, TENSOR_WEIGHT, PARAM_FINAL_NORM, -1), e->final_rstd, rows, m->dim);
    bucket_done(e, last, (int)m->n_layers + 1);
    for (int layer = (int)m->n_layers - 1; layer >= 0; layer--) {
        if (e->base.config.recompute && layer < m->n_layers - 1) layer_forward(e, pass, layer);
        optimizer_open(&e->optimizer, layer + 1);
        CpuBlockWeights weights = block_weights(e, TENSOR_WEIGHT, layer);
        CpuBlockWeights gradients = block_weights(e, TENSOR_GRADIENT, layer);
        CpuBlockActivations acts = block_activations(e, layer);
        Pass own = pass_of_layer(pass, &e->base.config, layer, e->forced[layer]);
        cpu_block_backward(e->dx, block_input(e, layer), &weights, &gradients, &acts, &e->scratch, &own);
        bucket_done(e, last, layer + 1);
    }
    part_begin(&e->clock, PART_EMBEDDING);
    optimizer_open(&e->optimizer, 0);
    cpu_embedding_backward(tensor(e, TENSOR_GRADIENT, PARAM_EMBEDDING, -1), e->dx, tokens, stride, pass->B,
                           pass->N, m->dim);
    bucket_done(e, last, 0);
}

// Loss of the pass behind `forward`, with its gradient in dx and the head's where dx is given.
// tokens: the first that lies here, of rows of `stride`
static double loss(CpuEngine *e, real *dx, const Pass *pass, const int32_t *tokens, int64_t stride,
                   double scale) {
    const ModelConfig *m = &e->base.config.model;
    part_begin(&e->clock, PART_HEAD);
    Places places = {pass->B, pass->N, pass->position};
    double nats = cpu_cross_entropy(e->nats, dx, dx ? tensor(e, TENSOR_GRADIENT, PARAM_HEAD, -1) : NULL,
                                    e->logits, e->final_normed, tensor(e, TENSOR_WEIGHT, PARAM_HEAD, -1),
                                    tokens + 1, stride, places, m->dim, m->vocab_size, scale);
    part_end(&e->clock);
    return nats;
}

// Logits of one row of the pass behind `forward`.   logits: (V)
static void logits_of_row(CpuEngine *e, int64_t row, float *logits) {
    const ModelConfig *m = &e->base.config.model;
    Places one = {1, 1, UNPLACED};
    cpu_matmul_forward(e->logits, e->final_normed + row * m->dim, tensor(e, TENSOR_WEIGHT, PARAM_HEAD, -1),
                       one, m->dim, m->vocab_size);
    for (int64_t i = 0; i < m->vocab_size; i++) logits[i] = (float)e->logits[i];
}

static bool cpu_forward_backward(Engine *engine, const int32_t *tokens, Attention attention,
                                 int64_t total_targets, double *nats, Error *error) {
    CpuEngine *e = (CpuEngine *)engine;
    int64_t stride = engine->config.context + 1;
    Pass pass;
    LighthouseShape shape;
    assert(engine->config.training);
    if (!pass_make(&pass, &engine->config, &shape, engine->config.batch, engine->config.context, attention,
                   error))
        return false;
    const int32_t *own = tokens + pass.position;
    forward(e, &pass, own, stride, NULL);
    optimizer_begin_pass(&e->optimizer);
    *nats = loss(e, e->scratch.dnormed, &pass, own, stride, 1.0 / (double)total_targets);
    backward(e, &pass, own, stride, ++e->calls == engine->config.micro_steps);
    part_end(&e->clock);
    return true;
}

static bool cpu_evaluate(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context,
                         Attention attention, double *nats, Error *error) {
    CpuEngine *e = (CpuEngine *)engine;
    Pass pass;
    LighthouseShape shape;
    if (!pass_make(&pass, &engine->config, &shape, batch, context, attention, error)) return false;
    const int32_t *own = tokens + pass.position;
    forward(e, &pass, own, context + 1, NULL);
    *nats = loss(e, NULL, &pass, own, context + 1, 0);
    return true;
}

static void cpu_read_evaluated(Engine *engine, int64_t start, int64_t count, double *nats, float *outputs) {
    CpuEngine *e = (CpuEngine *)engine;
    int64_t C = engine->config.model.dim;
    if (nats) memcpy(nats, e->nats + start, (size_t)count * sizeof *nats);
    for (int64_t i = 0; outputs && i < count * C; i++) outputs[i] = (float)e->final_normed[start * C + i];
}

static bool cpu_decode(Engine *engine, const int32_t *tokens, int64_t count, int64_t position, float *logits,
                       Error *error) {
    CpuEngine *e = (CpuEngine *)engine;
    Pass pass;
    if (!pass_make(&pass, &engine->config, NULL, 1, count, ATTENTION_DENSE, error)) return false;
    pass.position = position;
    pass.cached = true;
    forward(e, &pass, tokens, 0, NULL);
    if (logits) logits_of_row(e, count - 1, logits);
    return true;
}

static bool cpu_predict(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context, float *logits,
                        Error *error) {
    CpuEngine *e = (CpuEngine *)engine;
    Pass pass;
    if (!pass_make(&pass, &engine->config, NULL, batch, context, ATTENTION_DENSE, error)) return false;
    forward(e, &pass, tokens + pass.position, context, NULL);
    int64_t V = engine->config.model.vocab_size;
    memset(logits, 0, (size_t)(batch * V) * sizeof *logits);
    for (int64_t b = 0; b < batch && e->cp.index == e->cp.size - 1; b++) {
        logits_of_row(e, (b + 1) * pass.N - 1, logits + b * V);
    }
    if (pass.ranks > 1) { // the last slice has them
        collectives_all_reduce(e->cp.queue, logits, batch * V, ELEMENT_F32);
        cpu_context_wait(&e->cp, "the logits of the last slice");
    }
    return true;
}

static bool cpu_find_nonfinite(Engine *engine, const int32_t *tokens, Attention attention, int *layer,
                               Error *error) {
    CpuEngine *e = (CpuEngine *)engine;
    int64_t stride = engine->config.context + 1;
    int head = (int)engine->config.model.n_layers;
    Pass pass;
    LighthouseShape shape;
    if (!pass_make(&pass, &engine->config, &shape, engine->config.batch, engine->config.context, attention,
                   error))
        return false;
    const int32_t *own = tokens + pass.position;
    *layer = head + 1;
    forward(e, &pass, own, stride, layer);
    if (!isfinite(loss(e, NULL, &pass, own, stride, 0)) && *layer > head) *layer = head;
    return true;
}

static bool cpu_update(Engine *engine, const AdamW *adamw, double *grad_norm, Error *error) {
    CpuEngine *e = (CpuEngine *)engine;
    e->calls = 0;
    part_begin(&e->clock, PART_OPTIMIZER);
    bool ok = optimizer_update(&e->optimizer, adamw, grad_norm, error);
    part_end(&e->clock);
    return ok;
}

// ---- tensors in and out

// Where element `start` of a tensor lies on this rank.
static real *place(Engine *engine, TensorKind kind, int param, int64_t start) {
    CpuEngine *e = (CpuEngine *)engine;
    const Param *p = &engine->table.params[param];
    assert(p->trained || kind == TENSOR_WEIGHT);
    if (!p->trained) return e->frozen + p->offset + start;
    if (kind == TENSOR_WEIGHT) return e->optimizer.weights + p->offset + start;
    if (kind == TENSOR_GRADIENT) return optimizer_gradient(&e->optimizer, p, start);
    return optimizer_moment(&e->optimizer, kind, p, start);
}

real *cpu_engine_tensor(Engine *engine, TensorKind kind, int param) {
    return place(engine, kind, param, 0);
}

static void cpu_read(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count, float *out) {
    const real *values = place(engine, kind, param, start);
    for (int64_t i = 0; i < count; i++) out[i] = (float)values[i];
}

static void cpu_write(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count,
                      const float *in) {
    real *values = place(engine, kind, param, start);
    for (int64_t i = 0; i < count; i++) values[i] = in[i];
}

static void cpu_read_selection(Engine *engine, int layer, int32_t *entries) {
    CpuEngine *e = (CpuEngine *)engine;
    const LighthouseShape *shape = &e->lighthouse;
    assert(e->kept_layers == engine->config.model.n_layers); // else another layer's may be there
    memcpy(entries, block_activations(e, layer).lighthouse.entries,
           (size_t)(shape->B * shape->H * shape->hierarchy.n_selected) * sizeof *entries);
}

static void cpu_force_selection(Engine *engine, int layer, const int32_t *entries) {
    ((CpuEngine *)engine)->forced[layer] = entries;
}

static void cpu_time_parts(Engine *engine, double *seconds) {
    PartClock clock = {seconds, PART_COUNT, 0};
    ((CpuEngine *)engine)->clock = clock;
}

static size_t cpu_memory_available(const Ranks *ranks) {
    (void)ranks;
    return host_memory_available();
}

const EngineApi *engine_cpu(void) {
    static const EngineApi api = ENGINE_API("cpu", cpu, NULL, NULL);
    return &api;
}
