// `eval`: the loss of a model on shards; see evaluate.h.
#include "evaluate.h"

#include "checkpoint.h"
#include "clock.h"
#include "dataloader.h"
#include "json_file.h"
#include "model_folder.h"
#include "open_engine.h"
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

static bool evaluate_data(Engine *engine, DataLoader *data, int64_t sequences, Attention attention,
                          Evaluation *sum, Error *error) {
    int64_t N = data->seq_len;
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)(N + 1), sizeof *tokens);
    double start = now();
    bool ok = true;
    for (int64_t i = 0; ok && i < sequences; i++) {
        double nats = 0;
        ok = dataloader_read(data, i * N, 1, tokens, error) &&
             engine_evaluate(engine, tokens, 1, N, attention, &nats, error);
        for (int64_t n = 1; ok && n <= N; n++) sum->bytes += tokens[n] < TOKEN_BOS;
        sum->nats += nats;
    }
    sum->sequences = sequences;
    sum->targets = sequences * N;
    sum->seconds = now() - start;
    free(tokens);
    if (ok && !isfinite(sum->nats)) {
        ok = error_set(error, STATUS_NONFINITE, "the loss is %f: the model's weights are of no use",
                       sum->nats);
    }
    return ok;
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

// Settings of the Lighthouse layer that the model was trained with, where the folder says so.
static bool read_trained_settings(Options *options, const char *folder, Error *error) {
    TrainerState state;
    memset(&state, 0, sizeof state);
    bool ok = !model_is_checkpoint(folder) ||
              (checkpoint_read_state(folder, &state, error) &&
               options_read_settings(options, state.settings, SOURCE_RESUME, folder, error));
    json_decref(state.settings);
    return ok;
}

static bool evaluate_folder(const EngineApi *api, Options *options, const char *folder, Error *error) {
    EngineConfig config;
    memset(&config, 0, sizeof config);
    if (!model_folder_config(folder, &config.model, &config.context, error)) return false;
    if (!read_trained_settings(options, folder, error)) return false;
    if (options->eval_seq_len > 0) config.context = options->eval_seq_len;
    config.batch = 1;
    config.use_lighthouse = options->eval_attention == ATTENTION_LIGHTHOUSE;
    config.lighthouse = options_lighthouse(options);
    if (!options_dense_layers(options->dense_layers, config.model.n_layers, config.dense_layer, error))
        return false;
    if (config.use_lighthouse) {
        Hierarchy hierarchy;
        if (!hierarchy_create(&config.lighthouse, config.context, &hierarchy, error)) return false;
        hierarchy_warn(&hierarchy);
    }

    DataLoader data;
    if (!dataloader_open(&data, options->data, config.context, config.model.vocab_size, error)) return false;
    int64_t sequences = data.n_sequences;
    if (options->eval_batches > 0 && options->eval_batches < sequences) sequences = options->eval_batches;
    Evaluation sum;
    memset(&sum, 0, sizeof sum);
    Engine *engine = engine_open_model(api, &config, folder, (uint64_t)options->seed, error);
    bool ok =
        engine && evaluate_data(engine, &data, sequences, (Attention)options->eval_attention, &sum, error);
    if (ok) print_evaluation(options, folder, config.context, data.bytes, &sum);
    engine_destroy(engine);
    dataloader_close(&data);
    return ok;
}

bool evaluate_model(const EngineApi *api, Options *options, Error *error) {
    if (!options->data) {
        return error_set(error, STATUS_USAGE,
                         "--data is missing: the shards to evaluate on, as --data 'data/val_*.bin'");
    }
    char *folder = model_find(options, error);
    bool ok = folder && evaluate_folder(api, options, folder, error);
    free(folder);
    return ok;
}
