// The least time of each part; see floors.h.
#include "core/cost/floors.h"

static Floor floor_of(double bytes, double flops, const Rates *rates) {
    double moving = bytes / rates->copy, computing = flops / rates->product;
    Floor floor = {bytes, flops, moving > computing ? moving : computing};
    return floor;
}

Floor floor_sum(Floor a, Floor b) {
    Floor sum = {a.bytes + b.bytes, a.flops + b.flops, a.seconds + b.seconds};
    return sum;
}

// ---- an attention layer

// Bytes of q, k, v (or their gradients), of out (or its), of gathered rows, of scores and of indices.
typedef struct {
    double q, k, v, out;
    double rows;                // one tensor (B, H, S, D)
    double base_scores, scores; // of queries and keys: level 0, and the levels above it
    double entries, positions;
    double pair_flops; // of one product over the pairs of S rows
} LayerSizes;

static LayerSizes sizes_of(const LighthouseShape *shape, size_t element) {
    const Hierarchy *h = &shape->hierarchy;
    double heads = (double)(shape->B * shape->H), row = (double)shape->D * (double)element;
    double tokens = heads * (double)h->n, rows = heads * (double)h->n_selected;
    LayerSizes s;
    s.q = s.out = tokens * row;
    s.k = s.v = s.q / (double)shape->share;
    s.rows = rows * row;
    s.base_scores = 2 * 4 * tokens;
    s.scores = 2 * 4 * heads * (double)h->n_entries - s.base_scores;
    s.entries = 4 * rows;
    s.positions = 4 * heads * (double)h->n_entries;
    s.pair_flops = rows * (double)h->n_selected * (double)shape->D;
    return s;
}

static Floor floor_score(const LighthouseShape *shape, const LayerSizes *s, bool scored, const Rates *rates) {
    const ScorerRow *scorer = lighthouse_scorer(&shape->config);
    double N = (double)shape->hierarchy.n, heads = (double)(shape->B * shape->H), D = (double)shape->D;
    double read = scorer->with_rope ? (scored ? s->base_scores : s->q + s->k) : s->q + s->k + s->v;
    double gates = scorer->gates ? 4 * heads * N : 0;
    return floor_of(read + gates + s->scores,
                    scorer->operations(N, heads * D, D, (double)shape->config.dilation), rates);
}

static Floor floor_dense(const LighthouseShape *shape, bool backward, size_t element, const Rates *rates) {
    LayerSizes s = sizes_of(shape, element);
    double n = (double)shape->hierarchy.n, pairs = (double)(shape->B * shape->H * shape->D) * n * n;
    double inputs = s.q + s.k + s.v;
    return backward ? floor_of(2 * inputs + 2 * s.out, 5 * pairs, rates)
                    : floor_of(inputs + s.out, 2 * pairs, rates);
}

Floor floor_call(BenchCall call, const LighthouseShape *shape, size_t element, bool scored,
                 const Rates *rates) {
    LayerSizes s = sizes_of(shape, element);
    double inputs = s.q + s.k + s.v;
    Floor sum = {0, 0, 0};
    switch (call) {
    case BENCH_SCORE: return floor_score(shape, &s, scored, rates);
    case BENCH_SELECT: return floor_of(s.scores + s.entries + s.positions, 0, rates);
    case BENCH_GATHER: return floor_of(inputs + s.entries + 3 * s.rows, 0, rates);
    case BENCH_ATTEND: return floor_of(4 * s.rows, 2 * s.pair_flops, rates);
    case BENCH_SCATTER: return floor_of(s.rows + s.positions + s.out, 0, rates);
    case BENCH_SCATTER_BACKWARD: return floor_of(s.out + s.entries + s.rows, 0, rates);
    case BENCH_ATTEND_BACKWARD: return floor_of(8 * s.rows, 5 * s.pair_flops, rates);
    case BENCH_GATHER_BACKWARD: return floor_of(3 * s.rows + s.positions + inputs, 0, rates);
    case BENCH_LIGHTHOUSE_FORWARD:
    case BENCH_LIGHTHOUSE_BOTH: {
        int last = call == BENCH_LIGHTHOUSE_BOTH ? BENCH_GATHER_BACKWARD : BENCH_SCATTER;
        for (int part = BENCH_SCORE; part <= last; part++) {
            sum = floor_sum(sum, floor_call((BenchCall)part, shape, element, scored, rates));
        }
        return sum;
    }
    case BENCH_DENSE_FORWARD: return floor_dense(shape, false, element, rates);
    case BENCH_DENSE_BOTH:
        return floor_sum(floor_dense(shape, false, element, rates), floor_dense(shape, true, element, rates));
    case BENCH_COPY:
    case BENCH_PRODUCT: break; // these are the rates
    }
    return sum;
}

// ---- a training step

bool floor_shape(const EngineConfig *config, bool lighthouse, LighthouseShape *shape) {
    const ModelConfig *m = &config->model;
    Error error;
    shape->config = config->lighthouse;
    shape->B = config->batch;
    shape->H = m->n_heads;
    shape->D = m->head_dim;
    shape->share = m->n_heads / m->n_kv_heads;
    shape->hierarchy.n = config->context;
    shape->hierarchy.n_entries = shape->hierarchy.n_selected = 0;
    return !lighthouse || hierarchy_create(&config->lighthouse, config->context, &shape->hierarchy, &error);
}

static Floor floor_layers(Part part, const EngineConfig *config, Attention attention, size_t element,
                          const Rates *rates) {
    LighthouseShape shape;
    Floor sum = {0, 0, 0};
    bool lighthouse = part == PART_LIGHTHOUSE;
    if (!floor_shape(config, lighthouse, &shape)) return sum;
    Floor layer =
        floor_call(lighthouse ? BENCH_LIGHTHOUSE_BOTH : BENCH_DENSE_BOTH, &shape, element, true, rates);
    for (int i = 0; i < config->model.n_layers; i++) {
        bool is = attention == ATTENTION_LIGHTHOUSE && !config->dense_layer[i];
        if (is == lighthouse) sum = floor_sum(sum, layer);
    }
    return sum;
}

// Norms read one tensor and write one forward, read three (the gradients before and behind, and the input)
// and write one backward; RoPE reads and writes queries and keys; SwiGLU reads two and writes one forward,
// reads three and writes two backward. Residual additions are part of what comes before or behind them. The
// GPU engine keeps no output of a norm or of SwiGLU: its backward writes each once more (11 % more bytes at
// the 530m preset), which is recomputation to save memory, and so in the ratio.
static double elementwise_bytes(const ModelConfig *m, double rows, size_t element) {
    double norms = 2 * (double)m->n_layers + 1, layers = (double)m->n_layers;
    double norm = (2 + 4) * (double)m->dim;
    double rope = (2 + 2) * (double)((m->n_heads + m->n_kv_heads) * m->head_dim);
    double swiglu = (3 + 5) * (double)m->ffn_dim;
    double qk = (double)((m->n_heads + m->n_kv_heads) * m->head_dim),
           v = (double)(m->n_kv_heads * m->head_dim);
    if (family_has(m->family, FAMILY_QK_NORM)) rope += (3 + 3) * qk; // kept beside; read, and read again
    if (family_has(m->family, FAMILY_BIAS)) rope += (2 + 1) * (qk + v);
    return rows * (double)element * (norms * norm + layers * (rope + swiglu));
}

Floor floor_part(Part part, const EngineConfig *config, Attention attention, size_t element,
                 const Rates *rates) {
    const ModelConfig *m = &config->model;
    double rows = (double)(config->batch * config->context), C = (double)m->dim, V = (double)m->vocab_size;
    double stream = rows * C * (double)element; // one tensor of the residual stream
    ParamTable table = param_table_create(m, false);
    double n_params = (double)table.n_trained;
    param_table_free(&table);
    switch (part) {
    case PART_PRODUCTS: { // three products forward and backward for each weight of the layers
        double width = (double)((2 * m->n_heads + 2 * m->n_kv_heads) * m->head_dim + 3 * m->ffn_dim);
        return floor_of(0, 6 * rows * (double)m->n_layers * C * width, rates);
    }
    case PART_DENSE_ATTENTION:
    case PART_LIGHTHOUSE: return floor_layers(part, config, attention, element, rates);
    case PART_ELEMENTWISE: return floor_of(elementwise_bytes(m, rows, element), 0, rates);
    case PART_HEAD: // its rows read, their gradients written
        return floor_of(2 * stream, 6 * rows * C * V, rates);
    case PART_EMBEDDING: return floor_of(2 * stream, 0, rates);
    case PART_OPTIMIZER: { // gradients for their norm; weights, gradients, moments read and written
        double copies = element < sizeof(float) ? (double)element : 0; // the working copy of the weights
        return floor_of(n_params * (4 + 8 * 4 + copies), 0, rates);
    }
    case PART_RANKS:
    case PART_HOST:
    case PART_COUNT: break;
    }
    return floor_of(0, 0, rates);
}
