// The base scores of every scorer; core/model/scorers.def lists them. A scorer looks at a whole sequence, or
// at a slice of it where ranks share one.
#include "core/engine/context.h"
#include "cpu/cpu.h"

// The base scores among those of all entries.   score: (B, H, E)
static Rows base_scores(real *score, const LighthouseShape *shape) {
    int64_t E = shape->hierarchy.n_entries;
    return rows_make(score, shape->H * E, E, 1, 1);
}

// Norms of rows x (b, h, t).   score: the same with rows of one
static void row_norms(Rows score, Rows x, int64_t B, int64_t H, int64_t N, int64_t D) {
#pragma omp parallel for
    for (int64_t row = 0; row < B * H * N; row++) {
        int64_t b = row / (H * N), head = row / N % H, t = row % N;
        const real *x_row = cpu_rows_at(x, b, head, t);
        double squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t d = 0; d < D; d++) squares += (double)x_row[d] * x_row[d];
        *cpu_rows_at(score, b, head, t) = (real)sqrt(squares);
    }
}

static void norm_scores(LighthouseScratch *scratch, Rows q, Rows k, Rows v, const real *gate,
                        const LighthouseShape *s) {
    (void)v, (void)gate;
    row_norms(base_scores(scratch->score_q, s), q, s->B, s->H, s->hierarchy.n, s->D);
    row_norms(base_scores(scratch->score_k, s), k, s->B, s->H, s->hierarchy.n, s->D);
}

// ---- dilated: norms of causal attention within each subsequence

// The subsequence t = r (mod dilation) of sequence b, seen as sequence r of a batch of `dilation`.
static Rows subsequences(Rows x, int64_t b, int64_t dilation) {
    return rows_make(x.data + b * x.batch, x.row, x.head, x.row * dilation, x.share);
}

// attention: (B, N, H, D)
static void dilated_score(Rows score, real *attention, Rows q, Rows k, Rows v, int64_t B, int64_t H,
                          int64_t N, int64_t D, int64_t dilation) {
    Rows out = rows_token_major(attention, N, H, D, 1);
    for (int64_t b = 0; b < B; b++) {
        cpu_sdpa_forward(subsequences(out, b, dilation), NULL, subsequences(q, b, dilation),
                         subsequences(k, b, dilation), subsequences(v, b, dilation), dilation, H,
                         N / dilation, N / dilation, D);
    }
    row_norms(score, out, B, H, N, D);
}

// Norms of the subsequences' attention need all rows: this rank's heads of them.
static void cp_dilated_score(Rows score, LighthouseScratch *scratch, Rows q, Rows k, Rows v,
                             const LighthouseShape *shape) {
    const CpuCp *cp = scratch->cp;
    int64_t B = shape->B, n = shape->hierarchy.n, D = shape->D, H = shape->H;
    int64_t N = n * cp->size, own = H / cp->size;
    // One of q and k has a head for each query head, the other may be shared; v is shared as the keys are.
    Rows sides[3] = {q, k, v}, whole[3];
    real *buffers[3] = {q.share == 1 ? scratch->whole_q : scratch->whole_k,
                        q.share == 1 ? scratch->whole_k : scratch->whole_q, scratch->whole_v};
    for (int i = 0; i < 3; i++) {
        int64_t heads = H / sides[i].share, attended = context_heads(heads, cp->size);
        cpu_context_all_to_all(cp, buffers[i], sides[i], B, n, heads, D);
        whole[i] = rows_token_major(buffers[i], N, attended / cp->size, D, H / attended);
    }
    Rows norms = rows_token_major(scratch->whole_score, N, own, 1, 1);
    dilated_score(norms, scratch->dilated, whole[0], whole[1], whole[2], B, own, N, D,
                  shape->config.dilation);
    cpu_context_return(cp, score, scratch->whole_score, B, n, H, 1);
}

static void own_dilated_score(real *score, LighthouseScratch *scratch, Rows q, Rows k, Rows v,
                              const LighthouseShape *s) {
    Rows base = base_scores(score, s);
    if (scratch->cp) {
        cp_dilated_score(base, scratch, q, k, v, s);
    } else {
        dilated_score(base, scratch->dilated, q, k, v, s->B, s->H, s->hierarchy.n, s->D, s->config.dilation);
    }
}

// The key score is attention with queries and keys exchanged.
static void dilated_scores(LighthouseScratch *scratch, Rows q, Rows k, Rows v, const real *gate,
                           const LighthouseShape *shape) {
    (void)gate;
    own_dilated_score(scratch->score_q, scratch, q, k, v, shape);
    own_dilated_score(scratch->score_k, scratch, k, q, v, shape);
}

// ---- gla: norms of a gated linear recurrence along each subsequence; gla.c

// The recurrence goes on where the rank before has ended, and its state then goes to the next.
static void cp_gla_scores(LighthouseScratch *scratch, Rows q, Rows k, Rows v, const real *gate,
                          const LighthouseShape *shape) {
    const CpuCp *cp = scratch->cp;
    const Hierarchy *h = &shape->hierarchy;
    int64_t dilation = shape->config.dilation, states = shape->B * shape->H * dilation * shape->D * shape->D;
    int before = (int)cp->index - 1, next = (int)cp->index + 1;
    if (before >= 0) {
        collectives_receive(cp->queue, before, scratch->gla_states, 2 * states, ELEMENT_F64);
        cpu_context_wait(cp, "the state of the gla scorer");
    } else {
        memset(scratch->gla_states, 0, (size_t)(2 * states) * sizeof *scratch->gla_states);
    }
    gla_score(scratch->score_q, h->n_entries, q, k, v, gate, scratch->gla_states, shape->B, shape->H, h->n,
              shape->D, dilation);
    gla_score(scratch->score_k, h->n_entries, k, q, v, gate, scratch->gla_states + states, shape->B, shape->H,
              h->n, shape->D, dilation);
    if (next == cp->size) return;
    collectives_send(cp->queue, next, scratch->gla_states, 2 * states, ELEMENT_F64);
    cpu_context_wait(cp, "the state of the gla scorer");
}

static void gla_scores(LighthouseScratch *scratch, Rows q, Rows k, Rows v, const real *gate,
                       const LighthouseShape *s) {
    const Hierarchy *h = &s->hierarchy;
    if (scratch->cp) {
        cp_gla_scores(scratch, q, k, v, gate, s);
        return;
    }
    gla_score(scratch->score_q, h->n_entries, q, k, v, gate, NULL, s->B, s->H, h->n, s->D,
              s->config.dilation);
    gla_score(scratch->score_k, h->n_entries, k, q, v, gate, NULL, s->B, s->H, h->n, s->D,
              s->config.dilation);
}

// ---- all of them

typedef void (*BaseScores)(LighthouseScratch *scratch, Rows q, Rows k, Rows v, const real *gate,
                           const LighthouseShape *shape);

static const BaseScores SCORES[SCORER_COUNT] = {
#define SCORER(ID, name, ...) name##_scores,
#include "core/model/scorers.def"
#undef SCORER
};

void lighthouse_base_scores(LighthouseScratch *scratch, Rows q, Rows k, Rows v, const real *gate,
                            const LighthouseShape *shape) {
    SCORES[shape->config.scorer](scratch, q, k, v, gate, shape);
}
