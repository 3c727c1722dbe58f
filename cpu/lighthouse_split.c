// The Lighthouse layer where P ranks share the sequences, each with a slice: what crosses from rank to rank.
//
// The hierarchy is the slice's (core/context.h), so selection, order and gather are those of
// cpu/lighthouse.c. Rows are traded around attention; the last entry of each level but the base reaches into
// the next slice, so its row travels there, and its gradient back; scorers that look along the sequence
// trade, or hand their state on.
#include "cpu/cpu.h"

void lighthouse_plan_split(MemoryPlan *plan, LighthouseScratch *scratch, const LighthouseShape *shape,
                           const ContextSplit *split) {
    const Hierarchy *h = &shape->hierarchy;
    int64_t B = shape->B, H = shape->H, D = shape->D, rows = B * H * h->n_selected * D;
    int64_t borders = B * H * (h->levels - 1) * D;
    bool dilated = shape->config.scorer == SCORER_DILATED, gla = shape->config.scorer == SCORER_GLA;
    int64_t whole = dilated ? B * h->n * H * D : 0,
            states = gla ? 2 * B * H * shape->config.dilation * D * D : 0;
    const char *purpose = "workspace";
    plan_add(plan, (void **)&scratch->trade_q, purpose, "traded q", rows, sizeof(real));
    plan_add(plan, (void **)&scratch->trade_k, purpose, "traded k", rows, sizeof(real));
    plan_add(plan, (void **)&scratch->trade_v, purpose, "traded v", rows, sizeof(real));
    plan_add(plan, (void **)&scratch->trade_out, purpose, "traded out", rows, sizeof(real));
    plan_add(plan, (void **)&scratch->border, purpose, "border in", borders, sizeof(real));
    plan_add(plan, (void **)&scratch->border_out, purpose, "border out", borders, sizeof(real));
    plan_add(plan, (void **)&scratch->whole_q, purpose, "dilated q", whole, sizeof(real));
    plan_add(plan, (void **)&scratch->whole_k, purpose, "dilated k", whole / shape->share, sizeof(real));
    plan_add(plan, (void **)&scratch->whole_v, purpose, "dilated v", whole / shape->share, sizeof(real));
    plan_add(plan, (void **)&scratch->whole_score, purpose, "dilated scores", whole / D, sizeof(real));
    plan_add(plan, (void **)&scratch->gla_states, purpose, "gla states", states, sizeof(double));
    scratch->split = split;
}

// ---- scores

// Norms of the subsequences' attention need all rows: this rank's heads of them.
void lighthouse_split_dilated(Rows score, LighthouseScratch *scratch, Rows q, Rows k, Rows v,
                              const LighthouseShape *shape) {
    const ContextSplit *split = scratch->split;
    int64_t B = shape->B, n = shape->hierarchy.n, D = shape->D, H = shape->H;
    int64_t N = n * split->size, own = H / split->size;
    // One of q and k has a head for each query head, the other may be shared; v is shared as the keys are.
    Rows sides[3] = {q, k, v}, whole[3];
    real *buffers[3] = {q.share == 1 ? scratch->whole_q : scratch->whole_k,
                        q.share == 1 ? scratch->whole_k : scratch->whole_q, scratch->whole_v};
    for (int i = 0; i < 3; i++) {
        int64_t heads = H / sides[i].share;
        context_trade(split, buffers[i], sides[i], B, n, heads, D);
        whole[i] = rows_token_major(buffers[i], N, heads / split->size, D, sides[i].share);
    }
    Rows norms = rows_token_major(scratch->whole_score, N, own, 1, 1);
    lighthouse_dilated_score(norms, scratch->dilated, whole[0], whole[1], whole[2], B, own, N, D,
                             shape->config.dilation);
    context_return(split, score, scratch->whole_score, B, n, H, 1);
}

// The recurrence goes on where the rank before has ended, and its state then goes to the next.
void lighthouse_split_gla(LighthouseScratch *scratch, Rows q, Rows k, Rows v, const real *gate,
                          const LighthouseShape *shape) {
    const ContextSplit *split = scratch->split;
    const Hierarchy *h = &shape->hierarchy;
    int64_t dilation = shape->config.dilation, states = shape->B * shape->H * dilation * shape->D * shape->D;
    int before = (int)split->index - 1, next = (int)split->index + 1;
    if (before >= 0) {
        collectives_receive(split->queue, before, scratch->gla_states, 2 * states, ELEMENT_F64);
        context_wait(split, "the state of the gla scorer");
    } else {
        memset(scratch->gla_states, 0, (size_t)(2 * states) * sizeof *scratch->gla_states);
    }
    gla_score(scratch->score_q, h->n_entries, q, k, v, gate, scratch->gla_states, shape->B, shape->H, h->n,
              shape->D, dilation);
    gla_score(scratch->score_k, h->n_entries, k, q, v, gate, scratch->gla_states + states, shape->B, shape->H,
              h->n, shape->D, dilation);
    if (next == split->size) return;
    collectives_send(split->queue, next, scratch->gla_states, 2 * states, ELEMENT_F64);
    context_wait(split, "the state of the gla scorer");
}

// ---- attention

// All gathered rows of this rank's heads.   (B, S P, H / P, D)
static Rows traded_rows(real *data, const ContextSplit *split, const LighthouseShape *shape) {
    return rows_token_major(data, shape->hierarchy.n_selected * split->size, shape->H / split->size, shape->D,
                            1);
}

void lighthouse_split_attend(LighthouseRows *rows, LighthouseScratch *scratch, const LighthouseShape *shape) {
    const ContextSplit *split = scratch->split;
    int64_t B = shape->B, H = shape->H, S = shape->hierarchy.n_selected, D = shape->D, all = S * split->size;
    context_trade(split, rows->q, rows_head_major(scratch->trade_q, H, S, D), B, S, H, D);
    context_trade(split, rows->k, rows_head_major(scratch->trade_k, H, S, D), B, S, H, D);
    context_trade(split, rows->v, rows_head_major(scratch->trade_v, H, S, D), B, S, H, D);
    sdpa_forward(traded_rows(rows->out, split, shape), rows->lse, traded_rows(rows->q, split, shape),
                 traded_rows(rows->k, split, shape), traded_rows(rows->v, split, shape), B, H / split->size,
                 all, all, D);
    context_return(split, rows_head_major(scratch->trade_out, H, S, D), rows->out, B, S, H, D);
}

void lighthouse_split_attend_backward(const LighthouseRows *rows, LighthouseScratch *scratch,
                                      const LighthouseShape *shape) {
    const ContextSplit *split = scratch->split;
    int64_t B = shape->B, H = shape->H, S = shape->hierarchy.n_selected, D = shape->D;
    context_trade(split, scratch->trade_out, rows_head_major(scratch->dout, H, S, D), B, S, H, D);
    sdpa_backward(traded_rows(scratch->trade_q, split, shape), traded_rows(scratch->trade_k, split, shape),
                  traded_rows(scratch->trade_v, split, shape), traded_rows(scratch->trade_out, split, shape),
                  traded_rows(rows->out, split, shape), rows->lse, traded_rows(rows->q, split, shape),
                  traded_rows(rows->k, split, shape), traded_rows(rows->v, split, shape), scratch->sdpa, B,
                  H / split->size, S * split->size, D);
    context_return(split, rows_head_major(scratch->dq, H, S, D), scratch->trade_q, B, S, H, D);
    context_return(split, rows_head_major(scratch->dk, H, S, D), scratch->trade_k, B, S, H, D);
    context_return(split, rows_head_major(scratch->dv, H, S, D), scratch->trade_v, B, S, H, D);
}

// ---- borders: the last entry of level l covers the first p^l - 1 positions of the next slice

// Row of the last entry of a head's level, -1 where it is not selected.
static int32_t last_row(const int32_t *positions, int64_t head, int level, const Hierarchy *h) {
    return positions[head * h->n_entries + h->level_offset[level + 1] - 1];
}

static void exchange_borders(LighthouseScratch *scratch, int by, int64_t count) {
    const ContextSplit *split = scratch->split;
    collectives_shift(split->queue, by, scratch->border, scratch->border_out, count, ELEMENT_REAL);
    context_wait(split, "the rows that reach past a slice");
}

const real *lighthouse_split_border(LighthouseScratch *scratch, const real *gathered,
                                    const int32_t *positions, const LighthouseShape *shape) {
    const Hierarchy *h = &shape->hierarchy;
    int64_t D = shape->D, levels = h->levels - 1, heads = shape->B * shape->H;
    for (int64_t i = 0; i < heads * levels; i++) {
        int32_t s = last_row(positions, i / levels, (int)(i % levels) + 1, h);
        real *row = scratch->border_out + i * D;
        if (s < 0) {
            memset(row, 0, (size_t)D * sizeof *row);
        } else {
            memcpy(row, gathered + (i / levels * h->n_selected + s) * D, (size_t)D * sizeof *row);
        }
    }
    exchange_borders(scratch, 1, heads * levels * D);
    return scratch->split->index > 0 ? scratch->border : NULL;
}

void lighthouse_split_border_backward(LighthouseScratch *scratch, Rows dout, const int32_t *positions,
                                      const LighthouseShape *shape) {
    const Hierarchy *h = &shape->hierarchy;
    int64_t D = shape->D, H = shape->H, levels = h->levels - 1, rows = shape->B * H * levels;
    memset(scratch->border, 0, (size_t)(rows * D) * sizeof *scratch->border);
#pragma omp parallel for
    for (int64_t i = 0; i < rows; i++) {
        int64_t head = i / levels, covered = h->level_span[i % levels + 1] - 1;
        real *sum = scratch->border_out + i * D;
        memset(sum, 0, (size_t)D * sizeof *sum);
        for (int64_t t = 0; t < covered; t++) {
            const real *row = rows_at(dout, head / H, head % H, t);
            for (int64_t d = 0; d < D; d++) sum[d] += row[d];
        }
    }
    exchange_borders(scratch, -1, rows * D);
    for (int64_t i = 0; i < rows; i++) {
        int32_t s = last_row(positions, i / levels, (int)(i % levels) + 1, h);
        if (s < 0) continue;
        real *row = scratch->dout + (i / levels * h->n_selected + s) * D;
        for (int64_t d = 0; d < D; d++) row[d] += scratch->border[i * D + d];
    }
}
