// The probe of causality; see causality.h.
#include "core/commands/causality.h"

#include "core/base/clock.h"
#include "core/base/json_file.h"
#include "core/checkpoint/trainer_state.h"
#include "core/train/next_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define PROBES    8   // of a sequence
#define READ_ROWS 256 // outputs fetched at once

// What a pass gave, as far as it lies on this rank: rows first, first + 1, ... of the sequence.
typedef struct {
    int64_t first, count;
    uint64_t *hashes; // (count) of a row's output
    double *nats;     // (count)
} Outputs;

static Outputs outputs_create(const Engine *engine, int64_t N) {
    const Ranks *ranks = engine->config.ranks;
    Outputs outputs;
    outputs.count = N / ranks_context(ranks);
    outputs.first = ranks->context_rank * outputs.count;
    outputs.hashes = (uint64_t *)alloc_or_exit((size_t)outputs.count, sizeof *outputs.hashes);
    outputs.nats = (double *)alloc_or_exit((size_t)outputs.count, sizeof *outputs.nats);
    return outputs;
}

static void outputs_free(Outputs *outputs) {
    free(outputs->hashes);
    free(outputs->nats);
}

static bool outputs_make(Engine *engine, const int32_t *tokens, int64_t N, Attention attention,
                         Outputs *outputs, Error *error) {
    int64_t C = engine->config.model.dim;
    double nats;
    if (!engine_evaluate(engine, tokens, 1, N, attention, &nats, error)) return false;
    if (!isfinite(nats)) {
        return error_set(error, STATUS_NONFINITE, "the loss is %f: the model's weights are of no use", nats);
    }
    engine_read_evaluated(engine, 0, outputs->count, outputs->nats, NULL);
    float *rows = (float *)alloc_or_exit((size_t)(READ_ROWS * C), sizeof *rows);
    for (int64_t start = 0; start < outputs->count; start += READ_ROWS) {
        int64_t count = outputs->count - start < READ_ROWS ? outputs->count - start : READ_ROWS;
        engine_read_evaluated(engine, start, count, NULL, rows);
        for (int64_t i = 0; i < count; i++)
            outputs->hashes[start + i] = XXH3_64bits(rows + i * C, (size_t)C * sizeof *rows);
    }
    free(rows);
    return true;
}

// Place of the first token that shares a chunk with the one at t: under dense attention t itself.
static int64_t chunk_begin(const EngineConfig *config, int64_t N, Attention attention, int64_t t) {
    Hierarchy hierarchy;
    Error error;
    if (attention == ATTENTION_DENSE || !hierarchy_create(&config->lighthouse, N, &hierarchy, &error))
        return t;
    int64_t span = hierarchy.level_span[hierarchy.levels - 1], begin = 0;
    for (int64_t chunk = 0; chunk < hierarchy.n_chunks; chunk++) {
        int64_t next = hierarchy_chunk_begin(&hierarchy, chunk) * span;
        if (next <= t) begin = next;
    }
    return begin;
}

// The token of probe i: the second of the sequence, the last one, and between them. Under Lighthouse
// attention two of them stand at a chunk's border, as its first token and as the last one before it.
static int64_t probe_place(const EngineConfig *config, int64_t N, Attention attention, int64_t i) {
    int64_t t = 1 + (N - 2) * i / (PROBES - 1), begin = chunk_begin(config, N, attention, t);
    bool border = begin > 1 && begin < t && (i == PROBES / 2 || i == PROBES / 2 + 1);
    return border ? begin - i % 2 : t;
}

// A row that stands before the changed token. The loss of the last one is of another target now.
static void compare_before(Causality *sum, int64_t distance, bool in_chunk, bool changed, double change) {
    sum->before++;
    sum->changed_before += changed;
    sum->beyond += changed && !in_chunk;
    if (changed) sum->farthest = fmax(sum->farthest, (double)distance);
    if (!in_chunk || distance < 2) return;
    sum->losses++;
    sum->change += change;
    sum->largest = fmax(sum->largest, change);
}

static void compare(Causality *sum, const Outputs *as_is, const Outputs *other, int64_t t, int64_t begin) {
    for (int64_t i = 0; i < as_is->count; i++) {
        int64_t n = as_is->first + i;
        bool changed = as_is->hashes[i] != other->hashes[i];
        if (n < t) {
            compare_before(sum, t - n, n >= begin, changed, fabs(as_is->nats[i] - other->nats[i]));
        } else {
            sum->after++;
            sum->changed_after += changed;
        }
    }
}

// Another token of the same text, so that it is one the model knows; where there is none, any other.
static int32_t other_token(const int32_t *tokens, int64_t N, int64_t t, int64_t V) {
    for (int64_t i = 1; i < N; i++) {
        int32_t other = tokens[(t + i) % N];
        if (other != tokens[t]) return other;
    }
    return (int32_t)((tokens[t] + 1) % V);
}

// Rows whose bits are not the same when nothing has changed.
static double differences(const Outputs *one, const Outputs *other) {
    double count = 0;
    for (int64_t i = 0; i < one->count; i++) count += one->hashes[i] != other->hashes[i];
    return count;
}

static bool probe_token(Engine *engine, int32_t *tokens, int64_t N, int64_t t, Attention attention,
                        const Outputs *as_is, Outputs *other, Causality *sum, Error *error) {
    int32_t token = tokens[t];
    tokens[t] = other_token(tokens, N, t, engine->config.model.vocab_size);
    bool ok = outputs_make(engine, tokens, N, attention, other, error);
    tokens[t] = token;
    if (!ok) return false;
    compare(sum, as_is, other, t, chunk_begin(&engine->config, N, attention, t));
    sum->probes += engine->config.ranks->context_rank == 0;
    return true;
}

static bool probe_sequence(Engine *engine, int32_t *tokens, int64_t N, Attention attention, Causality *sum,
                           Error *error) {
    Outputs as_is = outputs_create(engine, N), other = outputs_create(engine, N);
    bool ok = outputs_make(engine, tokens, N, attention, &as_is, error) &&
              outputs_make(engine, tokens, N, attention, &other, error);
    if (ok) sum->unsteady += differences(&as_is, &other);
    for (int64_t i = 0; ok && i < PROBES; i++) {
        int64_t t = probe_place(&engine->config, N, attention, i);
        ok = probe_token(engine, tokens, N, t, attention, &as_is, &other, sum, error);
    }
    outputs_free(&as_is);
    outputs_free(&other);
    return ok;
}

typedef struct {
    double largest, farthest;
} Tops;

static void sum_over_ranks(Causality *sum, Ranks *ranks) {
    double sums[] = {sum->probes, sum->unsteady,      sum->before, sum->changed_before, sum->beyond,
                     sum->after,  sum->changed_after, sum->losses, sum->change};
    Tops tops = {sum->largest, sum->farthest}, *all = (Tops *)alloc_or_exit((size_t)ranks->size, sizeof *all);
    ranks_sum(ranks, sums, sizeof sums / sizeof *sums);
    ranks_gather(ranks, &tops, sizeof tops, all);
    Causality total = {sums[0], sums[1], sums[2], sums[3], sums[4], sums[5],
                       sums[6], sums[7], sums[8], 0,       0,       0};
    for (int rank = 0; rank < ranks->size; rank++) {
        total.largest = fmax(total.largest, all[rank].largest);
        total.farthest = fmax(total.farthest, all[rank].farthest);
    }
    free(all);
    *sum = total;
}

bool causality_probe(Engine *engine, DataLoader *data, int64_t sequences, Attention attention, Causality *sum,
                     Error *error) {
    Ranks *ranks = engine->config.ranks;
    int64_t N = data->seq_len;
    double start = now();
    bool ok = true;
    memset(sum, 0, sizeof *sum);
    if (N < 2) {
        ranks->agreed = true;
        return error_set(error, STATUS_USAGE, "--seq-len 1: nothing stands before a token; use 2 or more");
    }
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)(N + 1), sizeof *tokens);
    for (int64_t i = ranks->data_rank; ok && i - ranks->data_rank < sequences; i += ranks->data_size) {
        bool mine = i < sequences; // the last ranks may have none in the last turn
        ok = ranks_agree(ranks, next_rows(ranks, data, 1, tokens, error), error);
        if (ok && mine) ok = probe_sequence(engine, tokens, N, attention, sum, error);
    }
    free(tokens);
    if (!ranks_agree_worked(ranks, ok, error)) return false;
    sum_over_ranks(sum, ranks);
    sum->seconds = now() - start;
    return true;
}

void causality_json(const Causality *sum, int64_t chunk, json_t *object) {
    bool causal = sum->changed_before == 0 && sum->changed_after > 0 && sum->unsteady == 0;
    json_t *found =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o, s:b, s:f}", "probes",
                  (json_int_t)sum->probes, "outputs_before", (json_int_t)sum->before, "changed_before",
                  (json_int_t)sum->changed_before, "changed_beyond_chunk", (json_int_t)sum->beyond,
                  "farthest", (json_int_t)sum->farthest, "outputs_after", (json_int_t)sum->after,
                  "changed_after", (json_int_t)sum->changed_after, "largest_change_nats", sum->largest,
                  "mean_change_nats", json_number(sum->losses > 0 ? sum->change / sum->losses : 0), "causal",
                  causal, "seconds", sum->seconds);
    if (chunk > 0) json_object_set_new(found, "chunk", json_integer(chunk));
    json_object_update(object, found);
    json_decref(found);
}

bool causality_judge(const Causality *sum, Attention attention, Error *error) {
    if (sum->unsteady > 0) {
        return error_set(error, STATUS_DATA,
                         "the same tokens gave other outputs in %.0f rows the second time: nothing that this "
                         "device computes is to be trusted",
                         sum->unsteady);
    }
    if (sum->changed_after == 0) {
        return error_set(error, STATUS_DATA,
                         "changing a token changed no output at all: the model does not read its text");
    }
    if (sum->beyond == 0) return true;
    return error_set(error, STATUS_DATA,
                     "not causal: changing a token changed %.0f of %.0f outputs before %s, up to %.0f tokens "
                     "before it, under %s attention",
                     sum->beyond, sum->before, attention == ATTENTION_DENSE ? "it" : "its chunk",
                     sum->farthest, attention_name(attention));
}
