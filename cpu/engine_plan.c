// The memory plan of the CPU engine; see engine_parts.h.
#include "core/engine/fp8_rule.h"
#include "core/engine/gradient_room.h"
#include "cpu/engine_parts.h"

#include <string.h>

static void plan_activations(CpuEngine *e, MemoryPlan *plan) {
    const EngineConfig *config = &e->base.config;
    const ModelConfig *m = &config->model;
    int64_t rows = context_rows(config), kept = e->kept_layers * rows, exchanged = cpu_cp_of(e) ? kept : 0;
    int64_t HD = m->n_heads * m->head_dim, KVD = m->n_kv_heads * m->head_dim;
    int64_t attended = context_heads(m->n_kv_heads, e->cp.size) * m->head_dim;
    const char *purpose = "activations";
    CpuBlockActivations *a = &e->acts;
    plan_add(plan, (void **)&e->x, purpose, "block inputs", e->kept_inputs * rows * m->dim, sizeof(real));
    plan_add(plan, (void **)&a->attention_normed, purpose, "attention norm", kept * m->dim, sizeof(real));
    plan_add(plan, (void **)&a->attention_rstd, purpose, "attention rstd", kept, sizeof(real));
    plan_add(plan, (void **)&a->q, purpose, "q", kept * HD, sizeof(real));
    plan_add(plan, (void **)&a->k, purpose, "k", kept * attended, sizeof(real));
    plan_add(plan, (void **)&a->v, purpose, "v", kept * attended, sizeof(real));
    int64_t normed = family_has(m->family, FAMILY_QK_NORM) ? kept : 0;
    plan_add(plan, (void **)&a->q_before, purpose, "q before its norm", normed * HD, sizeof(real));
    plan_add(plan, (void **)&a->k_before, purpose, "k before its norm", normed * KVD, sizeof(real));
    plan_add(plan, (void **)&a->q_rstd, purpose, "q rstd", normed * m->n_heads, sizeof(real));
    plan_add(plan, (void **)&a->k_rstd, purpose, "k rstd", normed * m->n_kv_heads, sizeof(real));
    plan_add(plan, (void **)&a->attention, purpose, "attention", kept * HD, sizeof(real));
    plan_add(plan, (void **)&a->lse, purpose, "log-sum-exp", kept * m->n_heads, sizeof(real));
    plan_add(plan, (void **)&a->exchanged_out, purpose, "exchanged attention", exchanged * HD, sizeof(real));
    plan_add(plan, (void **)&a->mid, purpose, "after attention", kept * m->dim, sizeof(real));
    plan_add(plan, (void **)&a->ffn_normed, purpose, "ffn norm", kept * m->dim, sizeof(real));
    plan_add(plan, (void **)&a->ffn_rstd, purpose, "ffn rstd", kept, sizeof(real));
    plan_add(plan, (void **)&a->gate, purpose, "gate", kept * m->ffn_dim, sizeof(real));
    plan_add(plan, (void **)&a->up, purpose, "up", kept * m->ffn_dim, sizeof(real));
    plan_add(plan, (void **)&a->act, purpose, "SwiGLU", kept * m->ffn_dim, sizeof(real));
    plan_add(plan, (void **)&e->final_normed, purpose, "final norm", rows * m->dim, sizeof(real));
    plan_add(plan, (void **)&e->final_rstd, purpose, "final rstd", rows, sizeof(real));
    if (config->use_lighthouse) lighthouse_plan_rows(plan, &a->lighthouse, &e->lighthouse, e->kept_layers);
}

// What is exchanged of one sequence at a time: tokens or gathered rows that lie here, of all heads.
static void plan_packed(CpuEngine *e, MemoryPlan *plan) {
    const EngineConfig *config = &e->base.config;
    int64_t rows = context_tokens(config);
    if (config->use_lighthouse && e->lighthouse.hierarchy.n_selected > rows) {
        rows = e->lighthouse.hierarchy.n_selected;
    }
    if (!cpu_cp_of(e)) return;
    plan_add(plan, (void **)&e->cp.packed, "workspace", "packed rows",
             rows * config->model.n_heads * config->model.head_dim, sizeof(real));
}

static void plan_scratch(CpuEngine *e, MemoryPlan *plan) {
    const EngineConfig *config = &e->base.config;
    const ModelConfig *m = &config->model;
    int64_t rows = context_rows(config), back = config->training ? rows : 0,
            exchanged = cpu_cp_of(e) ? rows : 0;
    int64_t HD = m->n_heads * m->head_dim, KVD = m->n_kv_heads * m->head_dim;
    int64_t kv_heads = context_heads(m->n_kv_heads, e->cp.size);
    int64_t positions = engine_positions(config);
    int64_t gate_rows = config->use_lighthouse && lighthouse_scorer(&config->lighthouse)->gates ? rows : 0;
    int64_t sdpa = sdpa_backward_workspace(config->batch, m->n_heads / e->cp.size, m->n_heads / kv_heads,
                                           config->context, m->head_dim);
    const char *purpose = "workspace";
    CpuBlockScratch *s = &e->scratch;
    plan_add(plan, (void **)&s->cosines, purpose, "cosines", positions * m->head_dim / 2, sizeof(real));
    plan_add(plan, (void **)&s->sines, purpose, "sines", positions * m->head_dim / 2, sizeof(real));
    plan_add(plan, (void **)&e->logits, purpose, "logits", HEAD_CHUNK * m->vocab_size, sizeof(real));
    plan_add(plan, (void **)&e->nats, purpose, "nats", rows, sizeof(double));
    plan_add(plan, (void **)&s->gla_gate, purpose, "gla gate", gate_rows * m->n_heads, sizeof(real));
    plan_add(plan, (void **)&e->dx, purpose, "dx", back * m->dim, sizeof(real));
    plan_add(plan, (void **)&s->dnormed, purpose, "dnorm", back * m->dim, sizeof(real));
    plan_add(plan, (void **)&s->dattention, purpose, "dattention", back * HD, sizeof(real));
    plan_add(plan, (void **)&s->dq, purpose, "dq", back * HD, sizeof(real));
    plan_add(plan, (void **)&s->dk, purpose, "dk", back * KVD, sizeof(real));
    plan_add(plan, (void **)&s->dv, purpose, "dv", back * KVD, sizeof(real));
    plan_add(plan, (void **)&s->dact, purpose, "dSwiGLU", back * m->ffn_dim, sizeof(real));
    plan_add(plan, (void **)&s->dgate, purpose, "dgate", back * m->ffn_dim, sizeof(real));
    plan_add(plan, (void **)&s->dup, purpose, "dup", back * m->ffn_dim, sizeof(real));
    plan_add(plan, (void **)&s->sdpa, purpose, "dq partial", back ? sdpa : 0, sizeof(real));
    bool head_norms = family_has(m->family, FAMILY_QK_NORM);
    int64_t widest = head_norms && m->head_dim > m->dim ? m->head_dim : m->dim;
    plan_add(plan, (void **)&s->norm, purpose, "dnorm partial", back ? RMSNORM_SLICES * widest : 0,
             sizeof(double));
    plan_add(plan, (void **)&s->dhead, purpose, "dq before its norm", head_norms ? back * HD : 0,
             sizeof(real));
    plan_add(plan, (void **)&s->exchanged_q, purpose, "exchanged q", exchanged * HD, sizeof(real));
    plan_add(plan, (void **)&s->exchanged_k, purpose, "exchanged k", exchanged * kv_heads * m->head_dim,
             sizeof(real));
    plan_add(plan, (void **)&s->exchanged_v, purpose, "exchanged v", exchanged * kv_heads * m->head_dim,
             sizeof(real));
    plan_add(plan, (void **)&s->exchanged_out, purpose, "exchanged out", exchanged * HD, sizeof(real));
    if (config->use_lighthouse) {
        lighthouse_plan_scratch(plan, &s->lighthouse, &e->lighthouse, config->training, cpu_cp_of(e));
    }
    cpu_plan_fp8(plan, &s->fp8, config, rows);
    plan_packed(e, plan);
}

bool cpu_plan_engine(CpuEngine *e, MemoryPlan *plan, Error *error) {
    const EngineConfig *config = &e->base.config;
    const ModelConfig *m = &config->model;
    const ParamTable *table = &e->base.table;
    memset(plan, 0, sizeof *plan);
    e->kept_layers = config->training && !config->recompute ? m->n_layers : 1;
    e->kept_inputs = config->training ? m->n_layers + 1 : 2;
    e->cp.size = ranks_context(config->ranks);
    if (!context_check(config, e->cp.size, error) || !fp8_check(config, error)) return false;
    if (config->use_lighthouse &&
        !context_lighthouse(config, config->batch, config->context, e->cp.size, &e->lighthouse, error)) {
        return false;
    }
    int64_t trained = config->training ? table->trained_size : 0, share = trained / table->ranks;
    int64_t cache = m->n_layers * config->cache * m->n_kv_heads * m->head_dim;
    plan_add(plan, (void **)&e->optimizer.weights, "weights", "parameters", table->trained_size,
             sizeof(real));
    plan_add(plan, (void **)&e->frozen, "weights", "gla gates", table->frozen_size, sizeof(real));
    plan_add(plan, (void **)&e->optimizer.moment1, "optimizer", "first moments", share, sizeof(real));
    plan_add(plan, (void **)&e->optimizer.moment2, "optimizer", "second moments", share, sizeof(real));
    e->optimizer.shares = config->training && config->share_gradients && ranks_many(config->ranks);
    plan_add(plan, (void **)&e->optimizer.gradients, "gradients", "gradients",
             config->training ? gradients_kept(table, e->optimizer.shares) : 0, sizeof(real));
    plan_add(plan, (void **)&e->optimizer.room, "gradients", "two buckets of a backward",
             e->optimizer.shares ? gradient_room_size(table) : 0, sizeof(real));
    plan_activations(e, plan);
    plan_scratch(e, plan);
    plan_add(plan, (void **)&e->scratch.cache_k, "cache", "keys", cache, sizeof(real));
    plan_add(plan, (void **)&e->scratch.cache_v, "cache", "values", cache, sizeof(real));
    return true;
}
