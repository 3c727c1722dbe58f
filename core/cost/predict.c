// The step time on paper; see predict.h.
#include "core/cost/predict.h"

#include "core/cost/floors.h"
#include "core/cost/traffic.h"
#include "core/engine/offload.h"
#include "core/checkpoint/trainer_state.h"

#include <math.h>
#include <string.h>

// ---- Rates of one H200, with their sources
//
// attention.jsonl, growth.jsonl and tables.txt, with the steps, lie in dev/results/bench. A rate is what a
// part's floor (its bytes moved once, its operations without recomputation) makes of the measured time.

typedef struct {
    double size, rate;
} RatePoint;

// Operations a second of a layer's matrix products, by the width of the residual stream. 1024: tables.txt,
// 530m and 270m, 212 to 219 ms. 512: what the steps of `small` leave (dev/results/small), dense and
// Lighthouse, when their attention and what moves is taken away.
static const RatePoint PRODUCTS[] = {{512, 525e12}, {1024, 727e12}};

// Of causal attention forward and backward, by its rows. 18,432 to 98,304: attention.jsonl, "sdpa of S rows"
// on a GPU that has worked (scorer dilated; 1,048,576 tokens; 524,288 tokens); 30 dense layers of a step
// come to 129 ms each, as these do. The others: growth.jsonl, dense.
static const RatePoint SDPA_FORWARD[] = {{8192, 495e12},  {18432, 531e12},  {65536, 590e12},
                                         {98304, 553e12}, {262144, 537e12}, {1048576, 519e12}};
static const RatePoint SDPA_BACKWARD[] = {{8192, 455e12},  {18432, 496e12},  {65536, 521e12},
                                          {98304, 534e12}, {262144, 538e12}, {1048576, 545e12}};

#define HEAD_RATE 592e12 // operations a second of head and loss, the logits' moves included: tables.txt, 530m

// Bytes a second.
#define MOVES_RATE       3.7e12  // score, gather, scatter and their backwards: attention.jsonl, "all moves"
#define SELECT_RATE      0.35e12 // attention.jsonl, 524,288 tokens; 20 to 50 us either way in other rows
#define ELEMENTWISE_RATE 3.6e12  // tables.txt
#define EMBEDDING_RATE   2.6e12  // tables.txt
#define OPTIMIZER_RATE   4.18e12 // tables.txt
#define HOST_RATE \
    50e9 // each way between a GPU and pinned host memory, assumed: PCIe 5.0 x16, 80 % of which is reached

// On a straight line between neighbours over the logarithm of the size; the ends' rates beyond the ends.
static double rate_at(const RatePoint *points, int count, double size) {
    if (size <= points[0].size) return points[0].rate;
    for (int i = 1; i < count; i++) {
        const RatePoint *low = &points[i - 1], *high = &points[i];
        if (size > high->size) continue;
        return low->rate + (high->rate - low->rate) * log(size / low->size) / log(high->size / low->size);
    }
    return points[count - 1].rate;
}

#define RATE_AT(table, size) rate_at(table, (int)(sizeof(table) / sizeof *(table)), (double)(size))

// ---- One rank that does everything

// Bytes and operations alone are asked of floors.
static const Rates NO_RATES = {1, 1};

static double score_seconds(const LighthouseShape *shape) {
    Floor floor = floor_call(BENCH_SCORE, shape, 2, true, &NO_RATES);
    double rate = lighthouse_scorer(&shape->config)->rate;
    if (rate == 0) {
        int64_t rows = shape->hierarchy.n / shape->config.dilation; // of a subsequence
        rate = RATE_AT(SDPA_FORWARD, rows);
    }
    return floor.bytes / MOVES_RATE + floor.flops / rate;
}

static double call_seconds(BenchCall call, const LighthouseShape *shape) {
    Floor floor = floor_call(call, shape, 2, true, &NO_RATES);
    switch (call) {
    case BENCH_SCORE: return score_seconds(shape);
    case BENCH_SELECT: return floor.bytes / SELECT_RATE;
    case BENCH_ATTEND: return floor.flops / RATE_AT(SDPA_FORWARD, shape->hierarchy.n_selected);
    case BENCH_ATTEND_BACKWARD: return floor.flops / RATE_AT(SDPA_BACKWARD, shape->hierarchy.n_selected);
    default: return floor.bytes / MOVES_RATE;
    }
}

typedef struct {
    double forward, backward;
} PassSeconds;

static PassSeconds attention_seconds(const EngineConfig *config, bool lighthouse) {
    LighthouseShape shape;
    PassSeconds pass = {0, 0};
    if (!floor_shape(config, lighthouse, &shape)) return pass;
    if (!lighthouse) {
        double forward = floor_call(BENCH_DENSE_FORWARD, &shape, 2, true, &NO_RATES).flops;
        double both = floor_call(BENCH_DENSE_BOTH, &shape, 2, true, &NO_RATES).flops;
        pass.forward = forward / RATE_AT(SDPA_FORWARD, config->context);
        pass.backward = (both - forward) / RATE_AT(SDPA_BACKWARD, config->context);
        return pass;
    }
    for (int call = BENCH_SCORE; call <= BENCH_GATHER_BACKWARD; call++) {
        double seconds = call_seconds((BenchCall)call, &shape);
        *(call <= BENCH_SCATTER ? &pass.forward : &pass.backward) += seconds;
    }
    return pass;
}

double predict_attention(const EngineConfig *config, bool lighthouse) {
    PassSeconds pass = attention_seconds(config, lighthouse);
    return pass.forward + pass.backward;
}

// Adds the attention of all layers; gives what it takes in the forward. A recomputed block runs that twice,
// the last one excepted.
static double add_attention(const EngineConfig *config, Attention attention, double *parts) {
    PassSeconds pass[2] = {attention_seconds(config, false), {0, 0}};
    double forward = 0;
    if (attention == ATTENTION_LIGHTHOUSE) pass[1] = attention_seconds(config, true);
    for (int64_t layer = 0; layer < config->model.n_layers; layer++) {
        bool lighthouse = attention == ATTENTION_LIGHTHOUSE && !config->dense_layer[layer];
        bool again = config->recompute && layer < config->model.n_layers - 1;
        parts[lighthouse ? PART_LIGHTHOUSE : PART_DENSE_ATTENTION] +=
            pass[lighthouse].backward + (again ? 2 : 1) * pass[lighthouse].forward;
        forward += pass[lighthouse].forward;
    }
    return forward;
}

// What inputs of blocks are under way to host memory and back beyond the layers' forward and backward, which
// hide them. `forward` and `both`: seconds of these
static double host_seconds(const EngineConfig *config, double forward, double both) {
    double copies = offload_bytes(config) * ranks_context(config->ranks) / HOST_RATE;
    return fmax(0, copies - forward) + fmax(0, copies - (both - forward));
}

// What weights and moments are under way from host memory and back beyond the update, which hides it: both
// ways at once.
static double host_update_seconds(const EngineConfig *config, double update) {
    return fmax(0, offload_update_bytes(config) / HOST_RATE - update);
}

// Forward and backward of a micro-step, with nothing shared.
static void micro_step(const EngineConfig *config, Attention attention, double *parts) {
    Floor floors[PART_COUNT];
    for (int part = 0; part < PART_COUNT; part++) {
        floors[part] = floor_part((Part)part, config, attention, 2, &NO_RATES);
    }
    // Of a block's products a third is its forward, and so it is, roughly, with what is elementwise.
    double layers = (double)config->model.n_layers;
    double again = config->recompute ? 1 + (layers - 1) / layers / 3 : 1;
    memset(parts, 0, PART_COUNT * sizeof *parts);
    parts[PART_PRODUCTS] = again * floors[PART_PRODUCTS].flops / RATE_AT(PRODUCTS, config->model.dim);
    parts[PART_ELEMENTWISE] = again * floors[PART_ELEMENTWISE].bytes / ELEMENTWISE_RATE;
    parts[PART_HEAD] = floors[PART_HEAD].flops / HEAD_RATE;
    parts[PART_EMBEDDING] = floors[PART_EMBEDDING].bytes / EMBEDDING_RATE;
    double forward = add_attention(config, attention, parts), once = 1 / again / 3;
    double both = parts[PART_PRODUCTS] + parts[PART_ELEMENTWISE];
    forward += both * once;
    both += parts[PART_DENSE_ATTENTION] + parts[PART_LIGHTHOUSE];
    parts[PART_HOST] = host_seconds(config, forward, both);
}

// ---- Between ranks

// What the sums of one backward, of `hiding` seconds, take: together, and that of the embedding, which begins
// when the backward is over.
typedef struct {
    double hiding, all, last;
    double stalled; // the backward waits so long for a place for its next bucket
} Sums;

static double bucket_seconds(const ParamTable *table, int bucket, const Link *through) {
    int others = table->ranks - 1;
    double bytes = (double)table->buckets[bucket].share * others * TRANSPORT_CUDA.gradient;
    return bytes / through->rate + others * through->latency;
}

// A bucket is made when the sum of that before the last one has ended (core/engine/gradient_room.h).
static double stalled_seconds(const ParamTable *table, double hiding, const Link *through) {
    int last = table->n_buckets - 1;
    double made = 0, summed = 0, summed_before = 0, stalled = 0;
    for (int b = last; b >= 0; b--) {
        stalled += fmax(0, summed_before - made);
        made = fmax(made, summed_before) + (b > 0 && b < last ? hiding / (last - 1) : 0);
        summed_before = summed;
        summed = fmax(made, summed) + bucket_seconds(table, b, through);
    }
    return stalled;
}

static Sums sums_of(const EngineConfig *config, double hiding, const Link *through) {
    ParamTable table = param_table_create(&config->model, false);
    param_table_shard(&table, ranks_count(config->ranks));
    Sums sums = {hiding, 0, bucket_seconds(&table, 0, through), 0};
    for (int b = 0; b < table.n_buckets; b++) sums.all += bucket_seconds(&table, b, through);
    if (config->share_gradients) sums.stalled = stalled_seconds(&table, hiding, through);
    param_table_free(&table);
    return sums;
}

// Behind all backwards but the last one a forward goes on, half as long, before the sums have to be there.
static double sums_waiting(const EngineConfig *config, const Sums *sums) {
    double late = fmax(sums->last, sums->all - sums->hiding - sums->stalled);
    double before = (double)(traffic_sums(config) - 1) * fmax(0, late - sums->hiding / 2);
    return (double)traffic_sums(config) * sums->stalled + before + late;
}

// Seconds of an update in which a rank waits for others: for all-to-alls around attention, for weights, and
// for those sums of gradients that a backward, of `hiding` seconds, does not outlast.
static double waiting_seconds(const EngineConfig *config, Attention attention, const Links *links,
                              int ranks_per_host, double hiding) {
    int W = ranks_count(config->ranks), P = ranks_context(config->ranks);
    if (W == 1) return 0;
    double sequences = (double)(config->micro_steps * config->batch);
    Traffic moved = traffic_update(config, attention, config->micro_steps * config->batch, &TRANSPORT_CUDA);
    Link through = links_ring(links, W, ranks_per_host);
    Sums sums = sums_of(config, hiding, &through);
    double buckets = (double)config->model.n_layers + 2;
    double weights = moved.weights / through.rate + buckets * (W - 1) * through.latency;
    // Two all-to-alls forward and two backward a layer, with the rows of halos in between.
    double operations = 6 * sequences * (double)config->model.n_layers;
    return weights + sums_waiting(config, &sums) +
           links_exchange_seconds(links, moved.attention + moved.halos, operations, P, ranks_per_host);
}

// ---- The whole

Prediction predict_update(const EngineConfig *config, Attention attention, const Links *links,
                          int ranks_per_host) {
    Prediction p;
    double W = ranks_count(config->ranks), P = ranks_context(config->ranks), pass = 0;
    micro_step(config, attention, p.parts);
    for (int part = 0; part < PART_COUNT; part++) {
        p.parts[part] /= P; // a slice's rows, or all rows of H / P heads
        pass += p.parts[part];
        p.parts[part] *= (double)config->micro_steps;
    }
    p.parts[PART_OPTIMIZER] =
        floor_part(PART_OPTIMIZER, config, attention, 2, &NO_RATES).bytes / OPTIMIZER_RATE / W;
    p.parts[PART_HOST] += host_update_seconds(config, p.parts[PART_OPTIMIZER]);
    p.communication = waiting_seconds(config, attention, links, ranks_per_host, pass * 2 / 3);
    p.total = p.communication;
    for (int part = 0; part < PART_COUNT; part++) p.total += p.parts[part];
    return p;
}

void predict_print(const EngineConfig *config, Attention attention, const Links *links, int ranks_per_host,
                   FILE *out) {
    Prediction p = predict_update(config, attention, links, ranks_per_host);
    double groups = (double)ranks_count(config->ranks) / ranks_context(config->ranks);
    double tokens = groups * (double)(config->micro_steps * config->batch * config->context);
    fprintf(out, "  %-10s  %.3f s an update, %.1f K tokens/s; in ms:\n  ", attention_name(attention), p.total,
            tokens / p.total / 1e3);
    for (int part = 0; part < PART_COUNT; part++) {
        if (p.parts[part] > 0) fprintf(out, "  %s %.1f,", part_name((Part)part), p.parts[part] * 1e3);
    }
    fprintf(out, "  waiting for other ranks %.1f\n", p.communication * 1e3);
}
