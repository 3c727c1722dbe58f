// The Lighthouse layer, step by step as it is defined: score, select, order, gather, attend, scatter, and
// back. Source: "Long Context Pre-Training with Lighthouse Attention", arXiv 2605.06554.
#include "cpu/cpu.h"

#include <assert.h>
#include <stdlib.h>

// ---- plan

void lighthouse_plan_rows(MemoryPlan *plan, LighthouseRows *rows, const LighthouseShape *shape,
                          int64_t layers) {
    int64_t heads = layers * shape->B * shape->H, selected = heads * shape->hierarchy.n_selected;
    const char *purpose = "lighthouse";
    plan_add(plan, (void **)&rows->entries, purpose, "entries", selected, sizeof(int32_t));
    plan_add(plan, (void **)&rows->positions, purpose, "positions", heads * shape->hierarchy.n_entries,
             sizeof(int32_t));
    plan_add(plan, (void **)&rows->q, purpose, "gathered q", selected * shape->D, sizeof(real));
    plan_add(plan, (void **)&rows->k, purpose, "gathered k", selected * shape->D, sizeof(real));
    plan_add(plan, (void **)&rows->v, purpose, "gathered v", selected * shape->D, sizeof(real));
    plan_add(plan, (void **)&rows->out, purpose, "gathered out", selected * shape->D, sizeof(real));
    plan_add(plan, (void **)&rows->lse, purpose, "log-sum-exp", selected, sizeof(real));
}

void lighthouse_plan_scratch(MemoryPlan *plan, LighthouseScratch *scratch, const LighthouseShape *shape,
                             bool training, const CpuCp *cp) {
    int64_t heads = shape->B * shape->H, S = shape->hierarchy.n_selected, D = shape->D;
    int64_t entries = heads * shape->hierarchy.n_entries, rows = training ? heads * S * D : 0;
    bool attends = lighthouse_scorer(&shape->config)->attends;
    const char *purpose = "workspace";
    plan_add(plan, (void **)&scratch->score_q, purpose, "query scores", entries, sizeof(real));
    plan_add(plan, (void **)&scratch->score_k, purpose, "key scores", entries, sizeof(real));
    plan_add(plan, (void **)&scratch->expanded, purpose, "expanded", entries, sizeof(uint8_t));
    plan_add(plan, (void **)&scratch->dilated, purpose, "dilated attention",
             attends ? heads * shape->hierarchy.n * D : 0, sizeof(real));
    plan_add(plan, (void **)&scratch->dout, purpose, "gathered dout", rows, sizeof(real));
    plan_add(plan, (void **)&scratch->dq, purpose, "gathered dq", rows, sizeof(real));
    plan_add(plan, (void **)&scratch->dk, purpose, "gathered dk", rows, sizeof(real));
    plan_add(plan, (void **)&scratch->dv, purpose, "gathered dv", rows, sizeof(real));
    int64_t ranks = cp ? cp->size : 1,
            sdpa = sdpa_backward_workspace(shape->B, shape->H / ranks, 1, S * ranks, D);
    plan_add(plan, (void **)&scratch->sdpa, purpose, "gathered dq partial", training ? sdpa : 0,
             sizeof(real));
    scratch->cp = cp;
    if (cp) lighthouse_plan_cp(plan, scratch, shape, cp);
}

// ---- 1. score

// A coarser entry scores the maximum over its children.   score: (B, H, E)
static void pool_scores(real *score, const LighthouseShape *shape) {
    const Hierarchy *h = &shape->hierarchy;
#pragma omp parallel for
    for (int64_t head = 0; head < shape->B * shape->H; head++) {
        real *entry = score + head * h->n_entries;
        for (int l = 1; l < h->levels; l++) {
            for (int64_t i = 0; i < h->level_count[l]; i++) {
                const real *child = entry + h->level_offset[l - 1] + i * h->pool;
                real highest = 0;
                for (int64_t c = 0; c < h->pool; c++) highest = child[c] > highest ? child[c] : highest;
                entry[h->level_offset[l] + i] = highest;
            }
        }
    }
}

void lighthouse_score(LighthouseScratch *scratch, Rows q, Rows k, Rows v, const real *gate,
                      const LighthouseShape *shape) {
    lighthouse_base_scores(scratch, q, k, v, gate, shape);
    pool_scores(scratch->score_q, shape);
    pool_scores(scratch->score_k, shape);
}

// ---- 2. select

// Scores are norms. Whatever is not above zero, as after an overflow a NaN, counts as zero: any scores have
// an order, which the GPU engine has too.
static real counted(real score) {
    return score > 0 ? score : 0;
}

// Moves the `count` candidates that score highest to the front, in order of score; ties go to the lower
// index. Candidates come in rising order and the rest keeps it.
static void highest_first(int32_t *candidates, int64_t n, int64_t count, const real *score) {
    for (int64_t taken = 0; taken < count; taken++) {
        int64_t best = taken;
        for (int64_t i = taken + 1; i < n; i++) {
            if (counted(score[candidates[i]]) > counted(score[candidates[best]])) best = i;
        }
        int32_t winner = candidates[best];
        memmove(candidates + taken + 1, candidates + taken, (size_t)(best - taken) * sizeof *candidates);
        candidates[taken] = winner;
    }
}

static int compare_entries(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

// One chunk of one head, from the coarsest level down: marks the entries to expand.   candidates: room for a
// chunk's coarse entries and for p * 128
static void select_chunk(uint8_t *expanded, const real *score_q, const real *score_k, int32_t *candidates,
                         const Hierarchy *h, int64_t chunk) {
    int64_t first = hierarchy_chunk_begin(h, chunk), n = hierarchy_chunk_begin(h, chunk + 1) - first;
    int32_t chosen[LIGHTHOUSE_CHUNK_TOPK];
    for (int64_t i = 0; i < n; i++) candidates[i] = (int32_t)(h->level_offset[h->levels - 1] + first + i);
    for (int l = h->levels - 1; l >= 1; l--) {
        const int64_t half = LIGHTHOUSE_CHUNK_TOPK / 2;
        highest_first(candidates, n, half, score_q);
        highest_first(candidates + half, n - half, half, score_k);
        memcpy(chosen, candidates, sizeof chosen);
        qsort(chosen, LIGHTHOUSE_CHUNK_TOPK, sizeof *chosen, compare_entries);
        n = 0;
        for (int64_t c = 0; c < LIGHTHOUSE_CHUNK_TOPK; c++) {
            expanded[chosen[c]] = 1;
            int64_t child = h->level_offset[l - 1] + (chosen[c] - h->level_offset[l]) * h->pool;
            for (int64_t i = 0; i < h->pool; i++) candidates[n++] = (int32_t)(child + i);
        }
    }
}

void lighthouse_select(LighthouseScratch *scratch, const LighthouseShape *shape) {
    const Hierarchy *h = &shape->hierarchy;
    int64_t E = h->n_entries, heads = shape->B * shape->H;
    int64_t room = h->n_coarse / h->n_chunks + 1;
    if (room < h->pool * LIGHTHOUSE_CHUNK_TOPK) room = h->pool * LIGHTHOUSE_CHUNK_TOPK;
    memset(scratch->expanded, 0, (size_t)(heads * E));
#pragma omp parallel for schedule(dynamic)
    for (int64_t task = 0; task < heads * h->n_chunks; task++) {
        int64_t head = task / h->n_chunks;
        int32_t *candidates = (int32_t *)alloc_or_exit((size_t)room, sizeof *candidates);
        select_chunk(scratch->expanded + head * E, scratch->score_q + head * E, scratch->score_k + head * E,
                     candidates, h, task % h->n_chunks);
        free(candidates);
    }
}

// ---- 3. order

// Appends the subtree of entry (level, i) in post-order; returns the number of rows there are then.
static int64_t post_order(int32_t *entries, int64_t count, const uint8_t *expanded, const Hierarchy *h,
                          int level, int64_t i) {
    int64_t entry = h->level_offset[level] + i;
    if (level > 0 && expanded[entry]) {
        for (int64_t c = 0; c < h->pool; c++) {
            count = post_order(entries, count, expanded, h, level - 1, i * h->pool + c);
        }
    }
    entries[count] = (int32_t)entry;
    return count + 1;
}

// The inverse map.   positions: (B, H, E), entries: (B, H, S)
static void invert(int32_t *positions, const int32_t *entries, const LighthouseShape *shape) {
    int64_t E = shape->hierarchy.n_entries, S = shape->hierarchy.n_selected;
#pragma omp parallel for
    for (int64_t head = 0; head < shape->B * shape->H; head++) {
        for (int64_t e = 0; e < E; e++) positions[head * E + e] = -1;
        for (int64_t s = 0; s < S; s++) positions[head * E + entries[head * S + s]] = (int32_t)s;
    }
}

void lighthouse_order(LighthouseRows *rows, const LighthouseScratch *scratch, const LighthouseShape *shape) {
    const Hierarchy *h = &shape->hierarchy;
#pragma omp parallel for
    for (int64_t head = 0; head < shape->B * shape->H; head++) {
        int32_t *entries = rows->entries + head * h->n_selected;
        int64_t count = 0;
        for (int64_t i = 0; i < h->n_coarse; i++) {
            count = post_order(entries, count, scratch->expanded + head * h->n_entries, h, h->levels - 1, i);
        }
        assert(count == h->n_selected);
    }
    invert(rows->positions, rows->entries, shape);
}

// ---- 4. gather, 6. scatter

void lighthouse_gather(real *gathered, Rows x, const int32_t *entries, const LighthouseShape *shape) {
    const Hierarchy *h = &shape->hierarchy;
    int64_t S = h->n_selected, H = shape->H, D = shape->D;
#pragma omp parallel for
    for (int64_t row = 0; row < shape->B * H * S; row++) {
        int64_t b = row / (H * S), head = row / S % H;
        int level = hierarchy_level(h, entries[row]);
        int64_t span = h->level_span[level], first = (entries[row] - h->level_offset[level]) * span;
        real *mean = gathered + row * D, scale = 1 / (real)span;
        memset(mean, 0, (size_t)D * sizeof *mean);
        for (int64_t t = first; t < first + span; t++) {
            const real *x_row = cpu_rows_at(x, b, head, t);
            for (int64_t d = 0; d < D; d++) mean[d] += x_row[d];
        }
        for (int64_t d = 0; d < D; d++) mean[d] *= scale;
    }
}

// Entry (l, i) holds nothing of positions from (i + 1) p^l on; position t may read it when t >= (i + 1) p^l
// - 1.
void lighthouse_scatter(Rows out, const real *gathered, const int32_t *positions, const real *halo,
                        const LighthouseShape *shape) {
    const Hierarchy *h = &shape->hierarchy;
    int64_t N = h->n, S = h->n_selected, E = h->n_entries, H = shape->H, D = shape->D;
#pragma omp parallel for
    for (int64_t row = 0; row < shape->B * H * N; row++) {
        int64_t head = row / N, t = row % N;
        real *out_row = cpu_rows_at(out, head / H, head % H, t);
        memset(out_row, 0, (size_t)D * sizeof *out_row);
        for (int l = h->levels - 1; l >= 0; l--) {
            int64_t reach = t - (h->level_span[l] - 1);
            if (reach < 0 && !halo) continue;
            const real *source;
            if (reach < 0) {
                source = halo + (head * (h->levels - 1) + l - 1) * D;
            } else {
                int64_t s = positions[head * E + h->level_offset[l] + reach / h->level_span[l]];
                if (s < 0) continue;
                source = gathered + (head * S + s) * D;
            }
            for (int64_t d = 0; d < D; d++) out_row[d] += source[d];
        }
    }
}

// ---- 7. backward

void lighthouse_scatter_backward(real *dgathered, Rows dout, const int32_t *entries,
                                 const LighthouseShape *shape) {
    const Hierarchy *h = &shape->hierarchy;
    int64_t S = h->n_selected, H = shape->H, D = shape->D;
#pragma omp parallel for
    for (int64_t row = 0; row < shape->B * H * S; row++) {
        int64_t b = row / (H * S), head = row / S % H;
        int level = hierarchy_level(h, entries[row]);
        int64_t span = h->level_span[level];
        int64_t first = (entries[row] - h->level_offset[level]) * span + span - 1; // the positions it wrote
        int64_t end = first + span < h->n ? first + span : h->n;
        real *sum = dgathered + row * D;
        memset(sum, 0, (size_t)D * sizeof *sum);
        for (int64_t t = first; t < end; t++) {
            const real *d_row = cpu_rows_at(dout, b, head, t);
            for (int64_t d = 0; d < D; d++) sum[d] += d_row[d];
        }
    }
}

void lighthouse_gather_backward(Rows dx, const real *dgathered, const int32_t *positions,
                                const LighthouseShape *shape) {
    const Hierarchy *h = &shape->hierarchy;
    int64_t N = h->n, S = h->n_selected, E = h->n_entries, H = shape->H, D = shape->D, share = dx.share;
#pragma omp parallel for
    for (int64_t row = 0; row < shape->B * (H / share) * N; row++) {
        int64_t b = row / (H / share * N), group = row / N % (H / share), t = row % N;
        real *sum = cpu_rows_at(dx, b, group * share, t);
        memset(sum, 0, (size_t)D * sizeof *sum);
        for (int64_t head = b * H + group * share; head < b * H + (group + 1) * share; head++) {
            for (int l = h->levels - 1; l >= 0; l--) {
                int64_t s = positions[head * E + h->level_offset[l] + t / h->level_span[l]];
                if (s < 0) continue;
                const real *source = dgathered + (head * S + s) * D;
                real scale = 1 / (real)h->level_span[l];
                for (int64_t d = 0; d < D; d++) sum[d] += scale * source[d];
            }
        }
    }
}

// ---- the layer

void lighthouse_forward(Rows out, LighthouseRows *rows, LighthouseScratch *scratch, Rows q, Rows k, Rows v,
                        const real *gate, const int32_t *forced, const LighthouseShape *shape) {
    int64_t B = shape->B, H = shape->H, S = shape->hierarchy.n_selected, D = shape->D;
    if (forced) {
        memcpy(rows->entries, forced, (size_t)(B * H * S) * sizeof *forced);
        invert(rows->positions, rows->entries, shape);
    } else {
        lighthouse_score(scratch, q, k, v, gate, shape);
        lighthouse_select(scratch, shape);
        lighthouse_order(rows, scratch, shape);
    }
    bool cp = scratch->cp != NULL;
    lighthouse_gather(cp ? scratch->exchanged_q : rows->q, q, rows->entries, shape);
    lighthouse_gather(cp ? scratch->exchanged_k : rows->k, k, rows->entries, shape);
    lighthouse_gather(cp ? scratch->exchanged_v : rows->v, v, rows->entries, shape);
    if (cp) {
        lighthouse_cp_attend(rows, scratch, shape);
        const real *halo = lighthouse_cp_halo(scratch, scratch->exchanged_out, rows->positions, shape);
        lighthouse_scatter(out, scratch->exchanged_out, rows->positions, halo, shape);
        return;
    }
    cpu_sdpa_forward(rows_head_major(rows->out, H, S, D), rows->lse, rows_head_major(rows->q, H, S, D),
                     rows_head_major(rows->k, H, S, D), rows_head_major(rows->v, H, S, D), B, H, S, S, D);
    lighthouse_scatter(out, rows->out, rows->positions, NULL, shape);
}

void lighthouse_backward(Rows dq, Rows dk, Rows dv, Rows dout, const LighthouseRows *rows,
                         LighthouseScratch *scratch, const LighthouseShape *shape) {
    int64_t B = shape->B, H = shape->H, S = shape->hierarchy.n_selected, D = shape->D;
    lighthouse_scatter_backward(scratch->dout, dout, rows->entries, shape);
    if (scratch->cp) {
        lighthouse_cp_halo_backward(scratch, dout, rows->positions, shape);
        lighthouse_cp_attend_backward(rows, scratch, shape);
    } else {
        cpu_sdpa_backward(rows_head_major(scratch->dq, H, S, D), rows_head_major(scratch->dk, H, S, D),
                          rows_head_major(scratch->dv, H, S, D), rows_head_major(scratch->dout, H, S, D),
                          rows_head_major(rows->out, H, S, D), rows->lse, rows_head_major(rows->q, H, S, D),
                          rows_head_major(rows->k, H, S, D), rows_head_major(rows->v, H, S, D), scratch->sdpa,
                          B, H, S, D);
    }
    lighthouse_gather_backward(dq, scratch->dq, rows->positions, shape);
    lighthouse_gather_backward(dk, scratch->dk, rows->positions, shape);
    lighthouse_gather_backward(dv, scratch->dv, rows->positions, shape);
}
