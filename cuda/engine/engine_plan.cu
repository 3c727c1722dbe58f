// The memory plan of the CUDA engine; see engine_parts.cuh.
#include "core/engine/tiles.h"
#include "cuda/kernels/cross_entropy.cuh"
#include "cuda/engine/engine_parts.cuh"
#include "cuda/kernels/rmsnorm.cuh"

#include <string.h>

// Room for cuDNN's forward, which has taken none so far: its plans for shapes of evaluation are made later.
#define SDPA_FORWARD_BYTES ((size_t)16 << 20)

typedef struct {
    int64_t rows, back;           // tokens of a pass; the same where a backward may follow, else 0
    int64_t C, HD, QK, QKV, F, V; // QKV: as ranks of a sequence exchange them, where that is more
    int64_t logits;               // of a row: V, padded
} Sizes;

static Sizes sizes_of(const EngineConfig *config) {
    const ModelConfig *m = &config->model;
    Sizes s;
    s.rows = context_rows(config);
    s.back = config->training ? s.rows : 0;
    s.C = m->dim;
    s.HD = m->n_heads * m->head_dim;
    s.QK = s.HD + m->n_kv_heads * m->head_dim;
    s.QKV = s.HD + 2 * context_heads(m->n_kv_heads, ranks_context(config->ranks)) * m->head_dim;
    s.F = m->ffn_dim;
    s.V = m->vocab_size;
    s.logits = model_padded_vocab(s.V);
    return s;
}

// Whether a backward goes through dense attention: in the dense stage, or in layers that are always dense.
static bool dense_backward(const EngineConfig *config) {
    bool all_lighthouse = lighthouse_layers(config) == config->model.n_layers;
    return config->training && !(config->use_lighthouse && config->one_stage && all_lighthouse);
}

// Whether attention's backward reads the output where the forward of the block read it. Ranks that share
// sequences have it exchanged too, Lighthouse as gathered rows: else its gradient takes its place.
static bool reads_output(const CudaEngine *e) {
    return dense_backward(&e->base.config) && !cuda_cp_of(e);
}

static void plan_activations(CudaEngine *e, MemoryPlan *plan) {
    const EngineConfig *config = &e->base.config;
    Sizes s = sizes_of(config);
    int64_t kept = e->kept_layers * s.rows, attention = e->attention_slots * s.rows;
    int64_t with_lse = e->attention_slots - (e->attention_slots < e->kept_layers); // a shared one has none
    int64_t lse = config->training ? with_lse * s.rows * config->model.n_heads : 0;
    int64_t ffn = e->scratch.remakes ? e->scratch.tile : kept;
    const char *purpose = "activations";
    CudaBlockActivations *a = &e->acts;
    plan_add(plan, (void **)&e->x, purpose, "block inputs", e->kept_inputs * s.rows * s.C, sizeof(bf16));
    plan_add(plan, (void **)&a->qkv, purpose, "q, k, v", kept * s.QKV, sizeof(bf16));
    int64_t normed = family_has(config->model.family, FAMILY_QK_NORM) ? kept : 0;
    plan_add(plan, (void **)&a->qk, purpose, "q, k before their norm", normed * s.QK, sizeof(bf16));
    plan_add(plan, (void **)&a->attention, purpose, "attention", attention * s.HD, sizeof(bf16));
    plan_add(plan, (void **)&a->lse, purpose, "log-sum-exp", lse, sizeof(float));
    plan_add(plan, (void **)&a->exchanged_out, purpose, "exchanged attention",
             cuda_cp_of(e) ? attention * s.HD : 0, sizeof(bf16));
    plan_add(plan, (void **)&a->mid, purpose, "after attention", ffn * s.C, sizeof(bf16));
    plan_add(plan, (void **)&a->gate_up, purpose, "gate, up", ffn * 2 * s.F, sizeof(bf16));
}

// The most elements of a vector whose gradient is summed at once.
static int64_t widest_vector(const ModelConfig *m) {
    int64_t widest = m->dim, biases = (m->n_heads + 2 * m->n_kv_heads) * m->head_dim;
    if (family_has(m->family, FAMILY_BIAS) && biases > widest) widest = biases;
    if (family_has(m->family, FAMILY_QK_NORM) && 2 * m->head_dim > widest) widest = 2 * m->head_dim;
    return widest;
}

static void plan_scratch(CudaEngine *e, MemoryPlan *plan) {
    const EngineConfig *config = &e->base.config;
    const ModelConfig *m = &config->model;
    Sizes s = sizes_of(config);
    int64_t positions = engine_positions(config);
    int64_t gate_rows = config->use_lighthouse && lighthouse_scorer(&config->lighthouse)->gates ? s.rows : 0;
    const char *purpose = "workspace";
    CudaBlockScratch *b = &e->scratch;
    plan_add(plan, (void **)&b->cosines, purpose, "cosines", positions * m->head_dim / 2, sizeof(float));
    plan_add(plan, (void **)&b->sines, purpose, "sines", positions * m->head_dim / 2, sizeof(float));
    plan_add(plan, (void **)&b->gla_gate, purpose, "gla gate", gate_rows * m->n_heads, sizeof(float));
    plan_add(plan, (void **)&b->normed, purpose, "norm", b->tile * s.C, sizeof(bf16));
    plan_add(plan, (void **)&b->act, purpose, "SwiGLU", b->tile * s.F, sizeof(bf16));
    plan_add(plan, (void **)&e->dx, purpose, "dx", s.back * s.C, sizeof(bf16));
    plan_add(plan, (void **)&b->dattention, purpose, "dattention", reads_output(e) ? s.back * s.HD : 0,
             sizeof(bf16));
    plan_add(plan, (void **)&b->dqkv, purpose, "dq, dk, dv", s.back * s.QKV, sizeof(bf16));
    plan_add(plan, (void **)&b->partial_sums, purpose, "dnorm partial",
             s.back ? column_slices(s.rows) * widest_vector(m) : 0, sizeof(float));
    plan_add(plan, (void **)&e->logits, purpose, "logits", cross_entropy_chunk(s.rows, s.logits) * s.logits,
             sizeof(bf16));
    plan_add(plan, (void **)&e->last_logits, purpose, "last logits", s.logits, sizeof(float));
    plan_add(plan, (void **)&e->nats, purpose, "nats", s.rows, sizeof(double));
    plan_add(plan, (void **)&e->total_nats, purpose, "total nats", 1, sizeof(double));
    plan_add(plan, (void **)&e->nonfinite, purpose, "not finite", 1, sizeof(int));
    plan_add(plan, (void **)&e->tokens, purpose, "tokens", s.rows + config->batch, sizeof(int32_t));
    if (config->training) {
        embedding_plan(plan, &e->order, purpose, s.rows, s.V);
        plan_add(plan, (void **)&e->embedding_partial, purpose, "dembedding partial",
                 embedding_max_slots(s.rows) * s.C, sizeof(float));
    }
    plan_add(plan, &e->matmul_workspace, purpose, "cuBLASLt", (int64_t)MATMUL_WORKSPACE_BYTES, 1);
}

// cuDNN's workspace for a pass, from its own plan where there is a GPU to make one.
static bool workspace_grow(CudaEngine *e, const SdpaProblem *problem, SdpaPass pass, Error *error) {
    size_t bytes = 0; // of a forward
    if (e->tools.sdpa) {
        if (!sdpa_workspace_bytes(e->tools.sdpa, problem, pass, &bytes, error)) return false;
    } else if (pass == SDPA_BACKWARD) {
        bytes = (size_t)sdpa_backward_bytes(problem, e->base.config.deterministic);
    }
    if (bytes > e->scratch.sdpa_bytes) e->scratch.sdpa_bytes = bytes;
    return true;
}

// One workspace for all of cuDNN's passes.
static bool plan_sdpa(CudaEngine *e, MemoryPlan *plan, Error *error) {
    const EngineConfig *config = &e->base.config;
    SdpaProblem dense = block_sdpa_problem(&config->model, config->batch, config->context, e->cp.size);
    e->scratch.sdpa_bytes = SDPA_FORWARD_BYTES;
    if (!workspace_grow(e, &dense, config->training ? SDPA_FORWARD_STATS : SDPA_FORWARD, error)) return false;
    if (dense_backward(config) && !workspace_grow(e, &dense, SDPA_BACKWARD, error)) return false;
    if (config->use_lighthouse) {
        SdpaProblem gathered = cuda_lighthouse_attention_problem(&e->lighthouse, cuda_cp_of(e));
        if (!workspace_grow(e, &gathered, SDPA_FORWARD_STATS, error)) return false;
        if (config->training && !workspace_grow(e, &gathered, SDPA_BACKWARD, error)) return false;
    }
    plan_add(plan, &e->scratch.sdpa, "workspace", e->tools.sdpa ? "cuDNN" : "cuDNN (estimated)",
             (int64_t)e->scratch.sdpa_bytes, 1);
    return true;
}

// A Lighthouse layer's output is scattered again in the backward, from gathered rows that are kept anyway:
// cheaper than the memory it would take. Then only dense layers keep theirs, and one buffer serves the
// others, where there are several.
static int64_t attention_slots(const CudaEngine *e) {
    const EngineConfig *config = &e->base.config;
    if (!config->use_lighthouse || !config->one_stage || e->kept_layers == 1) return e->kept_layers;
    int64_t lighthouse = lighthouse_layers(config);
    return lighthouse > 1 ? e->kept_layers - lighthouse + 1 : e->kept_layers;
}

// The largest of what is exchanged at once: q, k, v of the tokens that lie here, or of their gathered rows.
// In training the first lie in q, k, v themselves or in their gradient, whichever is not needed.
static void plan_packed(CudaEngine *e, MemoryPlan *plan) {
    const EngineConfig *config = &e->base.config;
    Sizes s = sizes_of(config);
    int64_t tokens = s.rows * s.QKV, gathered = 0;
    if (config->use_lighthouse) gathered = config->batch * e->lighthouse.hierarchy.n_selected * 3 * s.HD;
    int64_t most = tokens > gathered ? tokens : gathered;
    e->cp.borrows = config->training && most == tokens;
    plan_add(plan, (void **)&e->cp.packed, "workspace", "packed rows", e->cp.borrows ? 0 : most,
             sizeof(bf16));
}

bool cuda_plan_engine(CudaEngine *e, MemoryPlan *plan, Error *error) {
    const EngineConfig *config = &e->base.config;
    const ModelConfig *m = &config->model;
    memset(plan, 0, sizeof *plan);
    e->kept_layers = config->training && !config->recompute ? m->n_layers : 1;
    e->offload.count = offload_inputs(config);
    e->offload.size = context_rows(config) * m->dim;
    e->kept_inputs = config->training && e->offload.count == 0 ? m->n_layers + 1 : OFFLOAD_ON_GPU;
    e->attention_slots = attention_slots(e);
    e->scratch.tile = tile_rows(config);
    e->scratch.remakes = e->kept_layers == 1 && e->scratch.tile < context_rows(config);
    e->cp.size = ranks_context(config->ranks);
    if (!context_check(config, e->cp.size, error)) return false;
    if (config->use_lighthouse &&
        !context_lighthouse(config, config->batch, config->context, e->cp.size, &e->lighthouse, error)) {
        return false;
    }
    cuda_optimizer_plan(&e->optimizer, plan, config);
    plan_add(plan, (void **)&e->frozen, "weights", "gla gates", e->base.table.frozen_size, sizeof(float));
    plan_activations(e, plan);
    plan_scratch(e, plan);
    if (!plan_sdpa(e, plan, error)) return false;
    if (config->use_lighthouse) {
        int64_t layers = lighthouse_layers(config);
        cuda_lighthouse_plan_rows(plan, &e->acts.lighthouse, &e->lighthouse,
                                  e->kept_layers > 1 && layers > 1 ? layers : 1, cuda_cp_of(e));
        cuda_lighthouse_plan_scratch(plan, &e->scratch.lighthouse, &e->lighthouse, config->training,
                                     cuda_cp_of(e));
    }
    if (cuda_cp_of(e)) plan_packed(e, plan);
    int64_t cache = m->n_layers * config->cache * m->n_kv_heads * m->head_dim;
    plan_add(plan, (void **)&e->scratch.cache_k, "cache", "keys", cache, sizeof(bf16));
    plan_add(plan, (void **)&e->scratch.cache_v, "cache", "values", cache, sizeof(bf16));
    return true;
}

void cuda_plan_host(CudaEngine *e, MemoryPlan *plan) {
    const EngineConfig *config = &e->base.config;
    Sizes s = sizes_of(config);
    const char *purpose = "host";
    memset(plan, 0, sizeof *plan);
    plan_add(plan, (void **)&e->host.tokens, purpose, "tokens", s.rows + config->batch, sizeof(int32_t));
    plan_add(plan, (void **)&e->host.nats, purpose, "nats", 1, sizeof(double));
    plan_add(plan, (void **)&e->host.norm, purpose, "gradient norm", 1, sizeof(GradientNorm));
    if (!config->training) return;
    plan_add(plan, (void **)&e->offload.host, purpose, "block inputs", e->offload.count * e->offload.size,
             sizeof(bf16));
    embedding_plan(plan, &e->host.order, purpose, s.rows, s.V);
    plan_add(plan, (void **)&e->host.starts, purpose, "starts", s.V + 1, sizeof(int32_t));
    cuda_optimizer_plan_host(&e->optimizer, plan);
}
