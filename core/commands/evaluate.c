// `eval`: the loss of a model on shards; see evaluate.h.
#include "core/commands/evaluate.h"

#include "core/commands/causality.h"
#include "core/checkpoint/checkpoint.h"
#include "core/base/clock.h"
#include "core/base/console.h"
#include "core/engine/context.h"
#include "dataloader.h"
#include "core/checkpoint/gates.h"
#include "core/base/json_file.h"
#include "core/checkpoint/model_folder.h"
#include "core/model/model_tokenizer.h"
#include "core/model/token_bytes.h"
#include "core/checkpoint/open_engine.h"
#include "core/commands/niah.h"
#include "core/commands/position_bands.h"
#include "core/options/rank_match.h"
#include "core/train/next_rows.h"
#include "core/model/tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    int64_t sequences, targets;
    int64_t bytes;    // of the targets' text
    int64_t textless; // targets of which that is not known
    double nats, seconds;
    bool by_position; // the bands are filled
    PositionBands bands;
} Evaluation;

// The losses of the sequence that was evaluated last, as far as its targets lie on this rank.
static void add_positions(Engine *engine, int64_t N, PositionBands *bands) {
    const Ranks *ranks = engine->config.ranks;
    int64_t count = N / ranks_context(ranks);
    double *nats = (double *)alloc_or_exit((size_t)count, sizeof *nats);
    engine_read_evaluated(engine, 0, count, nats, NULL);
    position_bands_add(bands, ranks->context_rank * count, count, nats);
    free(nats);
}

// On a terminal a line that stands from the first second on; in a log one after 10 s, 20 s, 40 s, …
static void show_progress(int64_t done, int64_t total, double before, double seconds) {
    bool terminal = isatty(STDERR_FILENO), said = before >= 1;
    if (terminal ? seconds < 1 : done >= total || !niah_says(before, seconds)) return;
    if (!console_has_room(STDERR_FILENO)) return;
    if (done >= total) {
        if (said) fprintf(stderr, "\r\033[K");
        return;
    }
    fprintf(stderr, "%s%lld of %lld sequences, %.0f s left%s", terminal ? "\r" : "", (long long)done,
            (long long)total, seconds * (double)(total - done) / (double)done, terminal ? "\033[K" : "\n");
}

// Adds the bytes of the targets' text: of data that are bytes, themselves; marks have none.
static void count_bytes(const DataLoader *data, const TokenBytes *known, const int32_t *tokens,
                        Evaluation *sum) {
    for (int64_t n = 1; n <= data->seq_len; n++) {
        int64_t bytes = data->bytes ? tokens[n] < TOKEN_BOS : token_bytes_of(known, tokens[n - 1], tokens[n]);
        if (bytes == TOKEN_UNKNOWN)
            sum->textless++;
        else
            sum->bytes += bytes;
    }
}

// Ranks take turns at the sequences; sums are over all of them.
static bool evaluate_data(Engine *engine, DataLoader *data, const TokenBytes *known, int64_t sequences,
                          Attention attention, Evaluation *sum, Error *error) {
    Ranks *ranks = engine->config.ranks;
    int64_t N = data->seq_len;
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)(N + 1), sizeof *tokens);
    double start = now(), seconds = 0;
    bool ok = true;
    for (int64_t i = ranks->data_rank; ok && i - ranks->data_rank < sequences; i += ranks->data_size) {
        double nats = 0;
        bool mine = i < sequences; // the last ranks may have none in the last turn
        ok = ranks_agree(ranks, next_rows(ranks, data, 1, tokens, error), error);
        if (!ok || !mine) continue;
        ok = engine_evaluate(engine, tokens, 1, N, attention, &nats, error);
        if (ranks->context_rank == 0) count_bytes(data, known, tokens, sum);
        sum->nats += nats;
        if (ok && sum->by_position) add_positions(engine, N, &sum->bands);
        double before = seconds;
        seconds = now() - start;
        int64_t done = i + ranks->data_size < sequences ? i + ranks->data_size : sequences;
        if (ranks_first(ranks)) show_progress(done, sequences, before, seconds);
    }
    free(tokens);
    if (!ranks_agree(ranks, ok, error)) return false;
    double sums[3] = {sum->nats, (double)sum->bytes, (double)sum->textless};
    ranks_sum(ranks, sums, 3);
    if (sum->by_position) position_bands_sum(&sum->bands, ranks);
    sum->nats = sums[0];
    sum->bytes = (int64_t)sums[1];
    sum->textless = (int64_t)sums[2];
    sum->sequences = sequences;
    sum->targets = sequences * N;
    sum->seconds = now() - start;
    if (isfinite(sum->nats)) return true;
    ranks->agreed = true;
    return error_set(error, STATUS_NONFINITE, "the loss is %f: the model's weights are of no use", sum->nats);
}

// With the loss a byte, where the targets' text is known.
static void print_evaluation(const Options *options, const char *folder, int64_t N, uint64_t data_hash,
                             const Evaluation *sum) {
    char hash[17];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)data_hash);
    double per_target = sum->nats / (double)sum->targets;
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:o, s:f, s:o}", "model", folder, "data",
                  options->eval_data, "data_xxh3", hash, "attention",
                  attention_name((Attention)options->eval_attention), "seq_len", (json_int_t)N, "sequences",
                  (json_int_t)sum->sequences, "targets", (json_int_t)sum->targets, "nats_per_target",
                  per_target, "perplexity", json_number(exp(per_target)), "seconds", sum->seconds,
                  "tokens_per_second", json_number((double)sum->targets / sum->seconds));
    if (sum->textless == 0) {
        double per_byte = sum->nats / (double)sum->bytes;
        json_object_set_new(json, "bytes", json_integer(sum->bytes));
        json_object_set_new(json, "nats_per_byte", json_number(per_byte));
        json_object_set_new(json, "bits_per_byte", json_number(per_byte / log(2.0)));
    }
    if (sum->by_position) position_bands_json(&sum->bands, json);
    json_dumpf(json, stdout, JSON_REAL_PRECISION(10));
    printf("\n");
    json_decref(json);
}

// Ids whose tokenizer is there, and of which no loss a byte is told all the same.
static void warn_textless(const char *folder, const TokenBytes *known, const Evaluation *sum) {
    if (sum->textless == 0 || (known->count == 0 && !known->why)) return;
    warn("%s: no loss a byte: %s", folder,
         known->why ? known->why : "--data holds ids that its tokenizer.json does not have");
}

static bool measure(Engine *engine, DataLoader *data, int64_t sequences, const Options *options,
                    const char *folder, Evaluation *sum, Error *error) {
    TokenBytes known;
    token_bytes_read(&known, folder, engine->config.model.vocab_size);
    bool ok = evaluate_data(engine, data, &known, sequences, (Attention)options->eval_attention, sum, error);
    if (ok && ranks_first(engine->config.ranks)) warn_textless(folder, &known, sum);
    if (ok) print_evaluation(options, folder, engine->config.context, dataloader_fingerprint(data), sum);
    token_bytes_free(&known);
    return ok;
}

// Instead of the loss: whether what stands before a token depends on it.
static bool probe(Engine *engine, DataLoader *data, const Options *options, const char *folder,
                  Error *error) {
    const EngineConfig *config = &engine->config;
    Attention attention = (Attention)options->eval_attention;
    int64_t sequences = options->eval_batches < 1 ? 1 : options->eval_batches;
    if (sequences > data->n_sequences) sequences = data->n_sequences;
    Causality found;
    if (!causality_probe(engine, data, sequences, attention, &found, error)) return false;
    json_t *json = json_pack("{s:s, s:s, s:s, s:I, s:I}", "model", folder, "data", options->eval_data,
                             "attention", attention_name(attention), "seq_len", (json_int_t)config->context,
                             "sequences", (json_int_t)sequences);
    bool chunks = attention == ATTENTION_LIGHTHOUSE;
    causality_json(&found, chunks ? config->context * LIGHTHOUSE_CHUNK_TOPK / config->lighthouse.topk : 0,
                   json);
    json_dumpf(json, stdout, JSON_REAL_PRECISION(10));
    printf("\n");
    json_decref(json);
    config->ranks->agreed = true; // all have the same sums
    return causality_judge(&found, attention, error);
}

// Settings of the Lighthouse layer that the model was trained with, where the folder says so; others may be
// asked for, which is told.
static bool read_trained_settings(Options *options, const char *folder, Error *error) {
    TrainerState state;
    if (!model_is_checkpoint(folder)) return true;
    memset(&state, 0, sizeof state);
    bool ok = checkpoint_read_state(folder, &state, error) &&
              options_read_settings(options, state.settings, SOURCE_RESUME, folder, error);
    if (ok && options->eval_attention == ATTENTION_LIGHTHOUSE) {
        char *changes = options_describe_changes(options, state.settings, "Attention");
        if (changes[0]) warn("%s was trained under other settings: %s", folder, changes);
        free(changes);
    }
    json_decref(state.settings);
    return ok;
}

// What the model, the options and the ranks ask of an engine.
static bool configure(Options *options, Ranks *ranks, const char *folder, EngineConfig *config,
                      Error *error) {
    memset(config, 0, sizeof *config);
    if (!model_folder_config(folder, &config->model, &config->context, error)) return false;
    if (!read_trained_settings(options, folder, error)) return false;
    if (!options_check_lighthouse(options, options->eval_attention == ATTENTION_LIGHTHOUSE, NULL, error))
        return false;
    if (options->eval_attention == ATTENTION_LIGHTHOUSE && SCORER_TABLE[options->scorer].gates &&
        !gates_check(folder, "evaluate such a checkpoint, or take another --scorer", error))
        return false;
    if (!ranks_split(ranks, options->eval_cp, error)) return false;
    if (options->eval_seq_len > config->context) {
        warn("--seq-len %lld: the model was trained on %lld tokens", (long long)options->eval_seq_len,
             (long long)config->context);
    }
    if (options->eval_seq_len > 0) config->context = options->eval_seq_len;
    rope_scaling_warn(&config->model.rope_scaling, config->context, false);
    config->batch = 1;
    config->use_lighthouse = options->eval_attention == ATTENTION_LIGHTHOUSE;
    config->lighthouse = options_lighthouse(options);
    config->ranks = ranks;
    const char *dense = config->use_lighthouse ? options->dense_layers : "all";
    if (!options_dense_layers(dense, config->model.n_layers, config->dense_layer, error) ||
        !context_check(config, options->eval_cp, error))
        return false;
    if (config->use_lighthouse) {
        Hierarchy hierarchy;
        if (!hierarchy_create(&config->lighthouse, config->context, &hierarchy, error)) return false;
        hierarchy_warn(&hierarchy);
    }
    return true;
}

// More sequences than there are.
static void warn_batches(const Options *options, const DataLoader *data) {
    if (options->eval_batches <= data->n_sequences) return;
    warn("--val-batches %lld: --data %s holds %lld sequences of %lld tokens, which are all taken",
         (long long)options->eval_batches, options->eval_data, (long long)data->n_sequences,
         (long long)data->seq_len);
}

static bool evaluate_folder(const EngineApi *api, Options *options, Ranks *ranks, const char *folder,
                            Error *error) {
    EngineConfig config;
    DataLoader data;
    Evaluation sum;
    memset(&sum, 0, sizeof sum);
    memset(&data, 0, sizeof data);
    bool ok = configure(options, ranks, folder, &config, error);
    ok = ok && (dataloader_open(&data, options->eval_data, config.context, config.model.vocab_size, error) ||
                error_prefix(error, "--data"));
    ok = ok && model_tokenizer_check_data(folder, options->eval_data, data.bytes, false, error);
    if (!ranks_agree(ranks, ok, error) || !rank_match_start(ranks, options, folder, error) ||
        !ranks_compare(ranks, "--data", dataloader_fingerprint(&data), error)) {
        dataloader_close(&data);
        return false;
    }
    ranks_group(ranks);
    dataloader_set_ranks(&data, ranks->data_rank, ranks->data_size);
    int64_t sequences = data.n_sequences;
    if (options->eval_batches > 0 && options->eval_batches < sequences) sequences = options->eval_batches;
    warn_batches(options, &data);
    sum.by_position = options->by_position;
    position_bands_create(&sum.bands, config.context);
    Engine *engine = engine_open_model(api, &config, folder, (uint64_t)options->seed, error);
    ranks->patience = (double)options->watchdog;
    ok = ranks_agree(ranks, engine != NULL, error);
    if (ok && options->probe_causality) {
        ok = probe(engine, &data, options, folder, error);
    } else if (ok) {
        ok = measure(engine, &data, sequences, options, folder, &sum, error);
    }
    // What only this rank knows is told at once: an engine ends together with those of the others.
    if (!ok && ranks_many(ranks) && !ranks->agreed) ranks_fail(ranks, error);
    engine_destroy(engine);
    dataloader_close(&data);
    return ok;
}

bool evaluate_model(const EngineApi *api, Options *options, Ranks *ranks, Error *error) {
    if (!options->eval_data) {
        ranks->agreed = true;
        return error_set(error, STATUS_USAGE,
                         "--data is missing: the shards to evaluate on, as --data 'data/val_*.bin'");
    }
    if (options->probe_causality && options->by_position) {
        ranks->agreed = true;
        return error_set(error, STATUS_USAGE,
                         "--probe-causality measures no loss: leave out --by-position, or run eval twice");
    }
    char *folder = model_find(options, error);
    bool ok =
        ranks_agree(ranks, folder != NULL, error) && evaluate_folder(api, options, ranks, folder, error);
    free(folder);
    return ok;
}
