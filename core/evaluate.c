// `eval`: the loss of a model on shards; see evaluate.h.
#include "evaluate.h"

#include "checkpoint.h"
#include "clock.h"
#include "context.h"
#include "dataloader.h"
#include "json_file.h"
#include "model_folder.h"
#include "open_engine.h"
#include "rank_match.h"
#include "tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t sequences, targets;
    int64_t bytes; // among the targets, of data that are bytes
    double nats, seconds;
} Evaluation;

// Ranks take turns at the sequences; sums are over all of them.
static bool evaluate_data(Engine *engine, DataLoader *data, int64_t sequences, Attention attention,
                          Evaluation *sum, Error *error) {
    Ranks *ranks = engine->config.ranks;
    int64_t N = data->seq_len;
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)(N + 1), sizeof *tokens);
    double start = now();
    bool ok = true;
    for (int64_t i = ranks->data_rank; ok && i - ranks->data_rank < sequences; i += ranks->data_size) {
        double nats = 0;
        bool mine = i < sequences; // the last ranks may have none in the last turn
        ok = ranks_agree(ranks, !mine || dataloader_read(data, i * N, 1, tokens, error), error);
        if (!ok || !mine) continue;
        ok = engine_evaluate(engine, tokens, 1, N, attention, &nats, error);
        for (int64_t n = 1; ranks->context_rank == 0 && n <= N; n++) sum->bytes += tokens[n] < TOKEN_BOS;
        sum->nats += nats;
    }
    free(tokens);
    if (!ranks_agree(ranks, ok, error)) return false;
    double sums[2] = {sum->nats, (double)sum->bytes};
    ranks_sum(ranks, sums, 2);
    sum->nats = sums[0];
    sum->bytes = (int64_t)sums[1];
    sum->sequences = sequences;
    sum->targets = sequences * N;
    sum->seconds = now() - start;
    if (isfinite(sum->nats)) return true;
    ranks->agreed = true;
    return error_set(error, STATUS_NONFINITE, "the loss is %f: the model's weights are of no use", sum->nats);
}

// `bytes`: the tokens are bytes, so that there is a loss a byte.
static void print_evaluation(const Options *options, const char *folder, int64_t N, bool bytes,
                             const Evaluation *sum) {
    double per_target = sum->nats / (double)sum->targets;
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:o, s:f, s:f}", "model", folder, "data",
                  options->data, "attention", attention_name((Attention)options->eval_attention), "seq_len",
                  (json_int_t)N, "sequences", (json_int_t)sum->sequences, "targets", (json_int_t)sum->targets,
                  "nats_per_target", per_target, "perplexity", json_number(exp(per_target)), "seconds",
                  sum->seconds, "tokens_per_second", (double)sum->targets / sum->seconds);
    if (bytes) {
        double bits = sum->nats / (log(2.0) * (double)sum->bytes);
        json_object_set_new(json, "bytes", json_integer(sum->bytes));
        json_object_set_new(json, "bits_per_byte", json_number(bits));
    }
    json_dumpf(json, stdout, JSON_REAL_PRECISION(10));
    printf("\n");
    json_decref(json);
}

// Settings of the Lighthouse layer that the model was trained with, where the folder says so; others may be
// asked for, which is told.
static bool read_trained_settings(Options *options, const char *folder, Error *error) {
    TrainerState state;
    if (!model_is_checkpoint(folder)) return true;
    memset(&state, 0, sizeof state);
    bool ok = checkpoint_read_state(folder, &state, error) &&
              options_read_settings(options, state.settings, SOURCE_RESUME, folder, error);
    if (ok) {
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
    if (!options_check_lighthouse(options, options->eval_attention == ATTENTION_LIGHTHOUSE, error))
        return false;
    if (!ranks_split(ranks, options->eval_cp, error)) return false;
    if (options->eval_seq_len > config->context) {
        warn("--seq-len %lld: the model was trained on %lld tokens", (long long)options->eval_seq_len,
             (long long)config->context);
    }
    if (options->eval_seq_len > 0) config->context = options->eval_seq_len;
    config->batch = 1;
    config->use_lighthouse = options->eval_attention == ATTENTION_LIGHTHOUSE;
    config->lighthouse = options_lighthouse(options);
    config->ranks = ranks;
    if (!options_dense_layers(options->dense_layers, config->model.n_layers, config->dense_layer, error) ||
        !context_check(config, options->eval_cp, error))
        return false;
    if (config->use_lighthouse) {
        Hierarchy hierarchy;
        if (!hierarchy_create(&config->lighthouse, config->context, &hierarchy, error)) return false;
        hierarchy_warn(&hierarchy);
    }
    return true;
}

static bool evaluate_folder(const EngineApi *api, Options *options, Ranks *ranks, const char *folder,
                            Error *error) {
    EngineConfig config;
    DataLoader data;
    Evaluation sum;
    memset(&sum, 0, sizeof sum);
    bool ok = configure(options, ranks, folder, &config, error);
    ok = ok && dataloader_open(&data, options->data, config.context, config.model.vocab_size, error);
    if (!ranks_agree(ranks, ok, error) || !rank_match_start(ranks, options, folder, error)) return false;
    ranks_group(ranks);
    int64_t sequences = data.n_sequences;
    if (options->eval_batches > 0 && options->eval_batches < sequences) sequences = options->eval_batches;
    Engine *engine = engine_open_model(api, &config, folder, (uint64_t)options->seed, error);
    ranks->patience = (double)options->watchdog;
    ok = ranks_agree(ranks, engine != NULL, error) &&
         evaluate_data(engine, &data, sequences, (Attention)options->eval_attention, &sum, error);
    if (ok) print_evaluation(options, folder, config.context, data.bytes, &sum);
    // What only this rank knows is told at once: an engine ends together with those of the others.
    if (!ok && ranks_many(ranks) && !ranks->agreed) ranks_fail(ranks, error);
    engine_destroy(engine);
    dataloader_close(&data);
    return ok;
}

bool evaluate_model(const EngineApi *api, Options *options, Ranks *ranks, Error *error) {
    if (!options->data) {
        ranks->agreed = true;
        return error_set(error, STATUS_USAGE,
                         "--data is missing: the shards to evaluate on, as --data 'data/val_*.bin'");
    }
    char *folder = model_find(options, error);
    bool ok =
        ranks_agree(ranks, folder != NULL, error) && evaluate_folder(api, options, ranks, folder, error);
    free(folder);
    return ok;
}
