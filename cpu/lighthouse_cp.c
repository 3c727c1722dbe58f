// The Lighthouse layer where P ranks share the sequences, each with a slice: what crosses from rank to rank.
//
// The hierarchy is the slice's (core/engine/context.h), so selection, order and gather are those of
// cpu/lighthouse.c. Rows are exchanged around attention; the last entry of each level but the base reaches
// into the next slice, so its row travels there, and its gradient back; scorers that look along the sequence
// exchange, or hand their state on.
#include "core/engine/context.h"
#include "cpu/cpu.h"

void lighthouse_plan_cp(MemoryPlan *plan, LighthouseScratch *scratch, const LighthouseShape *shape,
                        const CpuCp *cp) {
    const Hierarchy *h = &shape->hierarchy;
    int64_t B = shape->B, H = shape->H, D = shape->D, rows = B * H * h->n_selected * D;
    int64_t halos = B * H * (h->levels - 1) * D;
    const ScorerRow *scorer = lighthouse_scorer(&shape->config);
    int64_t whole = scorer->attends ? B * h->n * H * D : 0,
            whole_kv = whole / H * context_heads(H / shape->share, cp->size),
            states = scorer->recurs ? 2 * B * H * shape->config.dilation * D * D : 0;
    const char *purpose = "workspace";
    plan_add(plan, (void **)&scratch->exchanged_q, purpose, "exchanged q", rows, sizeof(real));
    plan_add(plan, (void **)&scratch->exchanged_k, purpose, "exchanged k", rows, sizeof(real));
    plan_add(plan, (void **)&scratch->exchanged_v, purpose, "exchanged v", rows, sizeof(real));
    plan_add(plan, (void **)&scratch->exchanged_out, purpose, "exchanged out", rows, sizeof(real));
    plan_add(plan, (void **)&scratch->halo, purpose, "halo in", halos, sizeof(real));
    plan_add(plan, (void **)&scratch->halo_out, purpose, "halo out", halos, sizeof(real));
    plan_add(plan, (void **)&scratch->whole_q, purpose, "dilated q", whole, sizeof(real));
    plan_add(plan, (void **)&scratch->whole_k, purpose, "dilated k", whole_kv, sizeof(real));
    plan_add(plan, (void **)&scratch->whole_v, purpose, "dilated v", whole_kv, sizeof(real));
    plan_add(plan, (void **)&scratch->whole_score, purpose, "dilated scores", whole / D, sizeof(real));
    plan_add(plan, (void **)&scratch->gla_states, purpose, "gla states", states, sizeof(double));
    scratch->cp = cp;
}

// ---- attention

// All gathered rows of this rank's heads.   (B, S P, H / P, D)
static Rows exchanged_rows(real *data, const CpuCp *cp, const LighthouseShape *shape) {
    return rows_token_major(data, shape->hierarchy.n_selected * cp->size, shape->H / cp->size, shape->D, 1);
}

void lighthouse_cp_attend(LighthouseRows *rows, LighthouseScratch *scratch, const LighthouseShape *shape) {
    const CpuCp *cp = scratch->cp;
    int64_t B = shape->B, H = shape->H, S = shape->hierarchy.n_selected, D = shape->D, all = S * cp->size;
    cpu_context_all_to_all(cp, rows->q, rows_head_major(scratch->exchanged_q, H, S, D), B, S, H, D);
    cpu_context_all_to_all(cp, rows->k, rows_head_major(scratch->exchanged_k, H, S, D), B, S, H, D);
    cpu_context_all_to_all(cp, rows->v, rows_head_major(scratch->exchanged_v, H, S, D), B, S, H, D);
    cpu_sdpa_forward(exchanged_rows(rows->out, cp, shape), rows->lse, exchanged_rows(rows->q, cp, shape),
                     exchanged_rows(rows->k, cp, shape), exchanged_rows(rows->v, cp, shape), B, H / cp->size,
                     all, all, D);
    cpu_context_return(cp, rows_head_major(scratch->exchanged_out, H, S, D), rows->out, B, S, H, D);
}

void lighthouse_cp_attend_backward(const LighthouseRows *rows, LighthouseScratch *scratch,
                                   const LighthouseShape *shape) {
    const CpuCp *cp = scratch->cp;
    int64_t B = shape->B, H = shape->H, S = shape->hierarchy.n_selected, D = shape->D;
    cpu_context_all_to_all(cp, scratch->exchanged_out, rows_head_major(scratch->dout, H, S, D), B, S, H, D);
    cpu_sdpa_backward(exchanged_rows(scratch->exchanged_q, cp, shape),
                      exchanged_rows(scratch->exchanged_k, cp, shape),
                      exchanged_rows(scratch->exchanged_v, cp, shape),
                      exchanged_rows(scratch->exchanged_out, cp, shape), exchanged_rows(rows->out, cp, shape),
                      rows->lse, exchanged_rows(rows->q, cp, shape), exchanged_rows(rows->k, cp, shape),
                      exchanged_rows(rows->v, cp, shape), scratch->sdpa, B, H / cp->size, S * cp->size, D);
    cpu_context_return(cp, rows_head_major(scratch->dq, H, S, D), scratch->exchanged_q, B, S, H, D);
    cpu_context_return(cp, rows_head_major(scratch->dk, H, S, D), scratch->exchanged_k, B, S, H, D);
    cpu_context_return(cp, rows_head_major(scratch->dv, H, S, D), scratch->exchanged_v, B, S, H, D);
}

// ---- halos: the last entry of level l covers the first p^l - 1 positions of the next slice

// Row of the last entry of a head's level, -1 where it is not selected.
static int32_t last_row(const int32_t *positions, int64_t head, int level, const Hierarchy *h) {
    return positions[head * h->n_entries + h->level_offset[level + 1] - 1];
}

static void exchange_halos(LighthouseScratch *scratch, int by, int64_t count) {
    const CpuCp *cp = scratch->cp;
    collectives_shift(cp->queue, by, scratch->halo, scratch->halo_out, count, ELEMENT_REAL);
    cpu_context_wait(cp, "the rows that reach past a slice");
}

const real *lighthouse_cp_halo(LighthouseScratch *scratch, const real *gathered, const int32_t *positions,
                               const LighthouseShape *shape) {
    const Hierarchy *h = &shape->hierarchy;
    int64_t D = shape->D, levels = h->levels - 1, heads = shape->B * shape->H;
    for (int64_t i = 0; i < heads * levels; i++) {
        int32_t s = last_row(positions, i / levels, (int)(i % levels) + 1, h);
        real *row = scratch->halo_out + i * D;
        if (s < 0) {
            memset(row, 0, (size_t)D * sizeof *row);
        } else {
            memcpy(row, gathered + (i / levels * h->n_selected + s) * D, (size_t)D * sizeof *row);
        }
    }
    exchange_halos(scratch, 1, heads * levels * D);
    return scratch->cp->index > 0 ? scratch->halo : NULL;
}

void lighthouse_cp_halo_backward(LighthouseScratch *scratch, Rows dout, const int32_t *positions,
                                 const LighthouseShape *shape) {
    const Hierarchy *h = &shape->hierarchy;
    int64_t D = shape->D, H = shape->H, levels = h->levels - 1, rows = shape->B * H * levels;
    memset(scratch->halo, 0, (size_t)(rows * D) * sizeof *scratch->halo);
#pragma omp parallel for
    for (int64_t i = 0; i < rows; i++) {
        int64_t head = i / levels, covered = h->level_span[i % levels + 1] - 1;
        real *sum = scratch->halo_out + i * D;
        memset(sum, 0, (size_t)D * sizeof *sum);
        for (int64_t t = 0; t < covered; t++) {
            const real *row = cpu_rows_at(dout, head / H, head % H, t);
            for (int64_t d = 0; d < D; d++) sum[d] += row[d];
        }
    }
    exchange_halos(scratch, -1, rows * D);
    for (int64_t i = 0; i < rows; i++) {
        int32_t s = last_row(positions, i / levels, (int)(i % levels) + 1, h);
        if (s < 0) continue;
        real *row = scratch->dout + (i / levels * h->n_selected + s) * D;
        for (int64_t d = 0; d < D; d++) row[d] += scratch->halo[i * D + d];
    }
}
