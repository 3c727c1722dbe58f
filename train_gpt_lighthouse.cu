// train_gpt_lighthouse: pretrains language models at very long context. The training loop.
//
// Most of a run trains under Lighthouse attention, which is fast; a short tail under dense attention ends it
// in an ordinary Llama. This file tells that story; what computes stands behind core/engine/engine.h.
#include "core/checkpoint/checkpoint.h"
#include "core/base/clock.h"
#include "core/base/console.h"
#include "core/engine/context.h"
#include "core/engine/engine.h"
#include "core/commands/commands.h"
#include "core/commands/evaluate.h"
#include "core/base/files.h"
#include "core/cost/flops.h"
#include "core/checkpoint/gates.h"
#include "core/base/json_file.h"
#include "core/train/log.h"
#include "core/train/next_rows.h"
#include "core/checkpoint/model_folder.h"
#include "core/model/model_tokenizer.h"
#include "core/engine/nonfinite.h"
#include "core/checkpoint/open_engine.h"
#include "core/options/options.h"
#include "core/train/progress.h"
#include "core/options/rank_match.h"
#include "core/train/run.h"
#include "core/train/run_shared.h"
#include "core/train/run_data.h"
#include "core/checkpoint/saver.h"
#include "core/train/schedule.h"
#include "core/base/signals.h"
#include "core/model/tokenizer.h"
#include "core/train/train_plan.h"
#include "dataloader.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the engine

// The GPU where it is asked for, or where --device auto finds one. NULL on error. What only plans need not
// see a GPU.
static const EngineApi *choose_engine(int device, bool plans, const Ranks *ranks, Error *error) {
#ifdef WITH_CUDA
    bool gpu = device != DEVICE_CPU && engine_cuda()->present();
    if (gpu && ranks_many(ranks) && !engine_cuda_device(ranks, error)) return NULL;
    if (gpu || (device == DEVICE_CUDA && plans)) return engine_cuda();
    const char *why = "no GPU is to be seen on this machine (nvidia-smi shows what the driver sees)";
#else
    const char *why = "this program was built without the CUDA engine; build it where nvcc is";
    (void)plans, (void)ranks;
#endif
    if (device != DEVICE_CUDA) return engine_cpu();
    error_set(error, STATUS_USAGE, "--device cuda: %s, or use --device cpu", why);
    return NULL;
}

// ---- train

// A job that is preempted is killed 30 s after the signal. What would still take longer than this of an
// update or a validation is left off: the state before it is saved, and a resumed run begins it anew.
#define HURRY_SECONDS 10.0

typedef struct {
    const Options *options;
    Ranks *ranks;
    Run run;
    TrainerState state; // where the run stands
    Engine *engine;
    DataLoader data, val;
    ModelOrigin origin; // what the model brings from a checkpoint or from --init
    bool has_val;
    Log *log; // on the first rank
    Saver *saver;
    int64_t saved; // step of the last save that was begun in the run's folder; -1 for none
    Progress progress;
    double gigabytes; // of the engine's memory
    TrainPlan plan;
    int32_t *tokens; // (batch, N+1)
    Attention attention;
    bool left_off; // the update or validation that was begun, for a signal
} Trainer;

// Whether a signal has come, to any rank.
static bool stopping(Trainer *t) {
    double signals = signals_pending();
    ranks_sum(t->ranks, &signals, 1);
    return signals > 0;
}

// Whether what began at `since` and is done in part is to be left off, on all ranks.
static bool leaves_off(Trainer *t, double since, int64_t done, int64_t all) {
    if (done == 0) return false;
    double rest = (now() - since) / (double)done * (double)(all - done);
    double hurries = signals_pending() && rest > HURRY_SECONDS;
    ranks_sum(t->ranks, &hurries, 1);
    t->left_off = hurries > 0;
    return t->left_off;
}

// What was trained on is no measure.
static void warn_shared_shard(const DataLoader *data, const DataLoader *val) {
    for (int64_t i = 0; i < val->n_shards; i++) {
        for (int64_t j = 0; j < data->n_shards; j++) {
            const Shard *one = &val->shards[i], *other = &data->shards[j];
            if (!shard_same_tokens(one, other)) continue;
            warn("%s of --val holds the same tokens as %s of --data: the validation loss will be of text "
                 "that was trained on",
                 one->path, other->path);
            return;
        }
    }
}

static DataMark mark_of(const DataLoader *data) {
    DataMark mark = {dataloader_fingerprint(data), data->n_shards, data->n_tokens};
    return mark;
}

// Notes in the state where the data stand.
static void note_places(const DataLoader *data, TrainerState *state) {
    int count = data->mixture.count;
    state->cursor = count > 1 ? mixture_tokens(&data->mixture, &data->places) : data->places.of[0].cursor;
    state->epoch = count > 1 ? 0 : data->places.of[0].epoch;
    state->n_sources = count > 1 ? count : 0;
    for (int i = 0; i < state->n_sources; i++) {
        const DataStream *stream = &data->streams[i];
        SourceState source = {data->mixture.weights[i],
                              data->places.of[i],
                              data->places.tokens[i],
                              {dataloader_source_fingerprint(data, i), stream->n_shards, stream->n_tokens}};
        state->sources[i] = source;
    }
}

// Where the state says that the data stand: those that its marks are of.
static DataPlaces places_of(const TrainerState *state) {
    DataPlaces places;
    memset(&places, 0, sizeof places);
    places.of[0].cursor = state->cursor;
    places.of[0].epoch = state->epoch;
    for (int i = 0; i < state->n_sources; i++) {
        places.of[i] = state->sources[i].place;
        places.tokens[i] = state->sources[i].tokens;
    }
    return places;
}

// The names that `pack` gives: a pattern that takes both kinds trains on what was kept apart.
static void warn_validation_shard(const char *pattern, const DataLoader *data) {
    bool training = false;
    for (int64_t i = 0; i < data->n_shards; i++)
        training = training || strncmp(path_name(data->shards[i].path), "train_", 6) == 0;
    for (int64_t i = 0; training && i < data->n_shards; i++) {
        const char *path = data->shards[i].path;
        if (strncmp(path_name(path), "val_", 4) != 0) continue;
        warn(
            "--data %s takes %s too, which `pack` has kept for validation: its loss will be of text that was "
            "trained on",
            pattern, path);
        return;
    }
}

// More sequences than there are.
static void warn_val_batches(const Trainer *t) {
    const Options *o = t->options;
    if (o->source[OPTION_val_batches] != SOURCE_COMMAND_LINE || o->val_batches <= t->val.n_sequences) return;
    warn("--val-batches %lld: --val %s holds %lld sequences of --seq-len %lld, which are all taken",
         (long long)o->val_batches, o->val, (long long)t->val.n_sequences, (long long)o->seq_len);
}

static bool open_data(Trainer *t, Error *error) {
    const Options *o = t->options;
    Mixture mixture;
    if (!mixture_parse(o->data, &mixture, error)) return false;
    if (!dataloader_open_mixture(&t->data, &mixture, o->seq_len, o->vocab, error))
        return error_prefix(error, "--data");
    warn_validation_shard(o->data, &t->data);
    dataloader_set_ranks(&t->data, t->ranks->data_rank, t->ranks->data_size);
    t->has_val = o->val && o->val_every > 0;
    if (!t->has_val) return true;
    if (!dataloader_open(&t->val, o->val, o->seq_len, o->vocab, error)) return error_prefix(error, "--val");
    dataloader_set_ranks(&t->val, t->ranks->data_rank, t->ranks->data_size);
    warn_shared_shard(&t->data, &t->val);
    warn_val_batches(t);
    return t->data.bytes == t->val.bytes ||
           error_set(error, STATUS_DATA,
                     "--data %s holds %s, --val %s does not: validate on shards that were packed alike",
                     o->data, t->data.bytes ? "bytes" : "token ids", o->val);
}

// Bytes have ids of their own, and ids may have any.
static bool check_vocabulary(const Trainer *t, Error *error) {
    int64_t vocab = t->options->vocab;
    return !t->data.bytes || vocab >= TOKEN_COUNT ||
           error_set(error, STATUS_USAGE,
                     "--vocab %lld: --data %s holds bytes, which with the two marks of a document need %d; "
                     "shards of a smaller vocabulary's ids are made by 'pack --tokens'",
                     (long long)vocab, t->options->data, TOKEN_COUNT);
}

// A run goes on in its data where it was, or begins others.
static bool place_data(Trainer *t, Error *error) {
    DataMark data = mark_of(&t->data), val = {0, 0, 0};
    if (t->has_val) val = mark_of(&t->val);
    if (!run_match_data(&t->run, t->options, &data, &val, t->data.mixture.count, &t->state, error))
        return false;
    DataPlaces places = places_of(&t->state);
    dataloader_seek_places(&t->data, &places);
    note_places(&t->data, &t->state);
    if (t->options->data_order == DATA_ORDER_SHUFFLED)
        dataloader_shuffle(&t->data, (uint64_t)t->options->seed);
    return true;
}

// A checkpoint without marks was trained on ids. Where any other folder names none, bytes give it theirs.
static bool check_kind(const Trainer *t, const char *folder, Error *error) {
    const char *data = t->options->data;
    TokenKind kind = TOKENS_IDS;
    bool begins = !model_is_checkpoint(folder);
    if (!model_tokenizer_check_data(folder, data, t->data.bytes, begins, error) ||
        !model_token_kind(folder, &kind, error))
        return false;
    if (t->data.bytes && kind == TOKENS_OPEN)
        warn("%s has neither a tokenizer nor marks of a document: it becomes a model of bytes, as --data %s "
             "holds them",
             folder, data);
    return true;
}

// A model keeps what it came with, and goes on with tokens of its kind.
static bool open_origin(Trainer *t, Error *error) {
    const char *checkpoint = t->run.checkpoint, *folder = checkpoint ? checkpoint : t->options->init;
    bool ok = (!folder || check_kind(t, folder, error)) && check_vocabulary(t, error) &&
              place_data(t, error) && model_origin_read(folder, t->data.bytes, &t->origin, error);
    if (ok && folder && !checkpoint) model_origin_warn(&t->origin, folder, t->options->seq_len);
    return ok;
}

// Weights: those of the checkpoint, of --init, or drawn from the seed.
static bool open_model(Trainer *t, const EngineApi *api, Error *error) {
    size_t bytes = 0;
    t->engine = engine_open(api, &t->run.engine, &bytes, error);
    if (!t->engine) return false;
    t->gigabytes = (double)bytes / 1e9;
    engine_draw_weights(t->engine, (uint64_t)t->options->seed, t->options->embedding_std,
                        t->run.checkpoint || t->options->init);
    if (t->run.checkpoint) {
        return (t->run.verified ? checkpoint_load_verified : checkpoint_load)(t->engine, t->run.checkpoint,
                                                                              error);
    }
    const char *init = t->options->init;
    if (init && model_is_checkpoint(init) && !checkpoint_verify_model(init, error)) return false;
    return !init || (model_folder_load(t->engine, init, error) && gates_load(t->engine, init, error));
}

// How many epochs of a source the run will have taken at its end, where it goes on with the data that it
// began with. `name`: of one of several sources. `sequences`: of it, that are still to come.
static void print_source(const Trainer *t, int source, const char *name, double sequences) {
    const DataStream *stream = &t->data.streams[source];
    DataPlace place = t->data.places.of[source];
    double n = (double)stream->n_sequences, done = (double)place.cursor / (n * (double)t->options->seq_len);
    if (done > 1) done = 1;
    done += (double)place.epoch;
    char before[48] = "";
    if (t->run.checkpoint) snprintf(before, sizeof before, ", %.4g of them before", done);
    print_line(stdout,
               "data: %s%lld shard%s, %lld tokens, %lld sequences; the run takes %.4g epochs of them%s", name,
               (long long)stream->n_shards, stream->n_shards == 1 ? "" : "s", (long long)stream->n_tokens,
               (long long)stream->n_sequences, done + sequences / n, before);
}

static void print_data(const Trainer *t) {
    const Options *o = t->options;
    const Mixture *mixture = &t->data.mixture;
    double left = (double)(schedule_end(o) - t->state.step) * (double)o->global_batch, weights = 0;
    for (int i = 0; i < mixture->count; i++) weights += (double)mixture->weights[i];
    for (int i = 0; i < mixture->count; i++) {
        double share = (double)mixture->weights[i] / weights;
        char name[512] = "";
        if (mixture->count > 1)
            snprintf(name, sizeof name, "%s, %.4g%%: ", mixture->patterns[i], 100 * share);
        print_source(t, i, name, left * share);
    }
}

static bool match_data(Trainer *t, Error *error) {
    return ranks_compare(t->ranks, "--data", dataloader_fingerprint(&t->data), error) &&
           (!t->has_val || ranks_compare(t->ranks, "--val", dataloader_fingerprint(&t->val), error));
}

static bool open_run(Trainer *t, Error *error) {
    if (!run_begin(&t->run, t->options, error)) return false;
    memcpy(t->state.run, t->run.id, sizeof t->state.run);
    t->log = log_open(t->run.folder, error);
    if (!t->log) return false;
    return !t->options->tensorboard || log_to_tensorboard(t->log, t->run.folder, t->state.step, error);
}

// How a run goes on, on the console and in the log.
static bool log_resume(Trainer *t, Attention attention, Error *error) {
    print_line(stdout, "resumed %s: step %lld, %s attention%s%s%s", t->run.checkpoint,
               (long long)t->state.step, attention_name(attention),
               t->run.begins_data ? "; new data, from its beginning" : "",
               t->run.changes[0] ? "; changed: " : "", t->run.changes);
    char *path = path_absolute(t->run.checkpoint);
    json_t *checkpoint = json_string(path); // NULL where it is no UTF-8
    json_t *fields =
        json_pack("{s:o, s:s, s:s, s:i}", "checkpoint",
                  checkpoint ? checkpoint : json_string(path_name(t->run.checkpoint)), "attention",
                  attention_name(attention), "changed", t->run.changes, "ranks", ranks_count(t->ranks));
    free(path);
    if (t->run.begins_data) json_object_set_new(fields, "new_data", json_true());
    return log_event(t->log, "resume", t->state.step, fields, error);
}

static bool open_trainer(Trainer *t, const EngineApi *api, Error *error) {
    const Options *o = t->options;
    t->state = t->run.state;
    if (!ranks_agree(t->ranks, open_data(t, error), error) || !match_data(t, error)) return false;
    if (!ranks_agree(t->ranks, open_origin(t, error), error)) return false;
    if (!ranks_agree(t->ranks, open_model(t, api, error), error)) return false;
    if (!ranks_agree(t->ranks, !ranks_first(t->ranks) || open_run(t, error), error)) return false;
    if (!run_check_shared(t->run.folder, t->ranks, error)) return false;
    t->tokens = (int32_t *)alloc_or_exit((size_t)(o->batch * (o->seq_len + 1)), sizeof *t->tokens);
    t->saver = saver_create(t->engine, t->plan.saves_beside);
    t->saved = t->run.continues ? t->state.step : -1;
    Attention attention = schedule_attention(o, t->state.step);
    t->attention = t->run.checkpoint ? t->state.attention : attention;
    t->state.attention = t->attention;
    if (o->skip_spikes == 0) spikes_forget(&t->state.spikes);
    t->state.settings = options_settings(o);
    progress_begin(&t->progress, stdout, schedule_end(o), o->log_every);
    print_data(t);
    return !t->run.checkpoint || log_resume(t, attention, error);
}

static void close_trainer(Trainer *t) {
    if (t->state.settings != t->run.state.settings) json_decref(t->state.settings);
    saver_free(t->saver);
    if (t->log) log_close(t->log);
    dataloader_close(&t->data);
    if (t->has_val) dataloader_close(&t->val);
    engine_destroy(t->engine);
    model_origin_free(&t->origin);
    free(t->tokens);
    run_free(&t->run);
}

// The stage changes at most once, between two updates.
static bool log_switch(Trainer *t, Error *error) {
    Attention attention = schedule_attention(t->options, t->state.step);
    if (attention == t->attention) return true;
    progress_break(&t->progress);
    printf("switch to %s attention at step %lld\n", attention_name(attention), (long long)t->state.step);
    json_t *fields =
        json_pack("{s:s, s:s}", "from", attention_name(t->attention), "to", attention_name(attention));
    t->attention = attention;
    spikes_forget(&t->state.spikes); // the losses of the stages do not compare
    return log_event(t->log, "switch", t->state.step, fields, error);
}

// A source that was taken to its end since `before`.
static bool log_source_epoch(Trainer *t, int source, const DataPlaces *before, Error *error) {
    const char *name = t->data.mixture.count > 1 ? t->data.mixture.patterns[source] : NULL;
    int64_t epoch = t->data.places.of[source].epoch;
    if (epoch == before->of[source].epoch) return true;
    progress_break(&t->progress);
    print_line(stdout, "step %lld: all %lld sequences of %s were taken; epoch %lld begins%s",
               (long long)t->state.step, (long long)t->data.streams[source].n_sequences,
               name ? name : "the data", (long long)epoch + 1,
               t->data.shuffles ? ", in an order of its own" : ", in the same order");
    return log_event(t->log, "epoch", t->state.step,
                     json_pack("{s:I, s:s*}", "epoch", (json_int_t)epoch, "source", name), error);
}

static bool log_epochs(Trainer *t, const DataPlaces *before, Error *error) {
    for (int i = 0; i < t->data.mixture.count; i++)
        if (!log_source_epoch(t, i, before, error)) return false;
    return true;
}

// The end of a run whose loss or gradient is not finite: says where, and when. `loss`: else the gradient.
static bool stop_nonfinite(Trainer *t, bool loss, const DataPlaces *places, Error *error) {
    if (error->status == STATUS_NONFINITE) {
        (loss ? nonfinite_explain_loss : nonfinite_explain_gradient)(t->engine, &t->data, places, t->tokens,
                                                                     t->attention, error);
    }
    bool saved = checkpoint_newest(t->run.folder) >= 0;
    return error_prefix(error, "step %lld, data cursor %lld: this update was not made; %s%s%s",
                        (long long)t->state.step + 1, (long long)t->state.cursor,
                        saved ? "the checkpoints in " : "no checkpoint was saved before it",
                        saved ? t->run.folder : "", saved ? " are of before it" : "");
}

// Notes an update that was skipped; too many in a row are no spike.
static bool log_skip(Trainer *t, const LogStep *line, const SpikeLimits *limits, Error *error) {
    progress_break(&t->progress);
    printf("step %lld: skipped, with loss %.4f and gradient norm %.3f; the last updates allow up to %.4f and "
           "%.3f\n",
           (long long)line->step, line->loss, line->grad_norm, limits->loss, limits->norm);
    json_t *fields = json_pack("{s:o, s:o, s:o, s:o}", "loss", json_number(line->loss), "most_loss",
                               json_number(limits->loss), "grad_norm", json_number(line->grad_norm),
                               "most_grad_norm", json_number(limits->norm));
    if (!log_event(t->log, "skip", line->step, fields, error)) return false;
    if (++t->state.spikes.skipped < SPIKE_MOST_SKIPS) return true;
    t->ranks->agreed = true;
    return error_set(
        error, STATUS_NONFINITE,
        "step %lld: %d updates in a row were skipped, so loss %.4f and gradient norm %.3f are no "
        "spike; resume %s with a larger --skip-spikes, 0 for none, or a lower --lr",
        (long long)line->step, SPIKE_MOST_SKIPS, line->loss, line->grad_norm, t->run.folder);
}

// `most_norm` as in AdamW.
static AdamW step_adamw(const Trainer *t, double most_norm) {
    const Options *o = t->options;
    AdamW adamw = {0};
    adamw.step = t->state.step + 1;
    adamw.lr = schedule_lr(o, t->state.step);
    adamw.beta1 = o->beta1;
    adamw.beta2 = o->beta2;
    adamw.eps = ADAMW_EPS;
    adamw.weight_decay = o->weight_decay;
    adamw.clip = o->clip;
    adamw.matrices = o->decay == DECAY_OF_MATRICES;
    adamw.most_norm = most_norm;
    return adamw;
}

// The gradients of an update in micro-steps, and the nats of this rank. A signal may have it left off.
static bool micro_steps(Trainer *t, double start, int64_t targets, double *nats, Error *error) {
    *nats = 0;
    t->left_off = false;
    for (int64_t i = 0; i < t->run.engine.micro_steps; i++) {
        double batch_nats;
        if (leaves_off(t, start, i, t->run.engine.micro_steps)) return true;
        bool read = next_rows(t->ranks, &t->data, t->options->batch, t->tokens, error);
        if (!ranks_agree(t->ranks, read, error)) return false;
        if (!engine_forward_backward(t->engine, t->tokens, t->attention, targets, &batch_nats, error))
            return false;
        *nats += batch_nats;
    }
    return true;
}

// The line of the update that was just made.
static LogStep step_line(const Trainer *t, double loss, double grad_norm, double lr, double seconds) {
    const Options *o = t->options;
    double sequences = (double)o->global_batch;
    double flops = flops_sequence(&t->run.engine, o->seq_len, t->attention) * sequences;
    LogStep line = {0};
    line.step = t->state.step;
    line.tokens = t->state.tokens;
    line.loss = loss;
    line.grad_norm = grad_norm;
    line.lr = lr;
    line.attention = t->attention;
    line.tokens_per_second = (double)(o->global_batch * o->seq_len) / seconds;
    line.mfu = t->plan.peak_flops > 0 ? flops / seconds / t->plan.peak_flops / t->ranks->size : NAN;
    line.mem_gb = t->gigabytes;
    line.seconds = seconds;
    line.n_sources = t->state.n_sources;
    line.source_tokens = t->data.places.tokens;
    return line;
}

// One update: gradients of the global batch in micro-steps, then AdamW, unless it is a spike. A signal may
// have it left off.
static bool train_step(Trainer *t, Error *error) {
    const Options *o = t->options;
    double start = now(), nats, grad_norm = 0;
    DataPlaces before = t->data.places;
    int64_t targets = o->global_batch * o->seq_len;
    t->ranks->step = t->state.step + 1;
    if (!micro_steps(t, start, targets, &nats, error)) return false;
    if (t->left_off) return true;
    bool finite = isfinite(nats) || error_set(error, STATUS_NONFINITE, "the loss is %f", nats);
    if (!ranks_agree(t->ranks, finite, error)) return stop_nonfinite(t, true, &before, error);
    ranks_sum(t->ranks, &nats, 1);
    double loss = nats / (double)targets;
    SpikeLimits limits = spikes_limits(&t->state.spikes, o->skip_spikes);
    AdamW adamw = step_adamw(t, loss > limits.loss ? -1 : limits.norm);
    if (!ranks_agree_worked(t->ranks, engine_update(t->engine, &adamw, &grad_norm, error), error))
        return stop_nonfinite(t, false, &before, error);
    t->state.step++;
    t->state.tokens += targets;
    note_places(&t->data, &t->state);
    t->state.attention = t->attention;

    LogStep line = step_line(t, loss, grad_norm, adamw.lr, now() - start);
    progress_step(&t->progress, &line, schedule_left(o, &t->run.engine, t->state.step));
    if (!log_step(t->log, &line, error) || !log_epochs(t, &before, error)) return false;
    if (adamw_skips(&adamw, grad_norm)) return log_skip(t, &line, &limits, error);
    if (o->skip_spikes > 0) spikes_made(&t->state.spikes, loss, grad_norm);
    return true;
}

// Mean loss of the first validation sequences under one attention, unless a signal has it left off.
static bool validation_loss(Trainer *t, Attention attention, double *loss, int64_t *sequences, Error *error) {
    const Options *o = t->options;
    const Ranks *ranks = t->ranks;
    int64_t count = o->val_batches < t->val.n_sequences ? o->val_batches : t->val.n_sequences;
    double nats = 0, start = now();
    bool last_one = t->state.step == schedule_end(o); // the run is at its end, and not gone on with
    *sequences = count;
    *loss = NAN;
    dataloader_seek(&t->val, 0, 0);
    for (int64_t done = 0, all = 0; done < count; done += all) {
        int64_t left = (count - done + ranks->data_size - 1) / ranks->data_size;
        int64_t rows = left < o->batch ? left : o->batch, before = done + ranks->data_rank * rows;
        double batch_nats;
        all = rows * ranks->data_size;
        if (!last_one && leaves_off(t, start, done, count)) return true;
        if (!ranks_agree(t->ranks, next_rows(t->ranks, &t->val, rows, t->tokens, error), error)) return false;
        if (before + rows > count) rows = count - before; // the last ranks have less, or nothing
        if (rows <= 0) continue;
        if (!engine_evaluate(t->engine, t->tokens, rows, o->seq_len, attention, &batch_nats, error))
            return false;
        nats += batch_nats;
    }
    ranks_sum(t->ranks, &nats, 1);
    *loss = nats / (double)(count * o->seq_len);
    return true;
}

static bool log_validation(Trainer *t, Attention attention, double loss, int64_t sequences, double seconds,
                           Error *error) {
    progress_break(&t->progress);
    printf("step %lld: validation loss %.4f nats a %s under %s attention (%lld sequences)\n",
           (long long)t->state.step, loss, t->val.bytes ? "byte" : "token", attention_name(attention),
           (long long)sequences);
    json_t *fields =
        json_pack("{s:o, s:s, s:I, s:f}", "loss", json_number(loss), "attention", attention_name(attention),
                  "sequences", (json_int_t)sequences, "seconds", seconds);
    return log_event(t->log, "validation", t->state.step, fields, error);
}

// Under the stage's attention, and in the Lighthouse stage under dense too: what the switch would give now.
// All of it, unless a signal has it left off: then nothing is logged.
static bool validate(Trainer *t, Error *error) {
    double loss[ATTENTION_DENSE + 1], seconds[ATTENTION_DENSE + 1];
    int64_t sequences = 0;
    Attention first = t->run.engine.use_lighthouse ? t->attention : ATTENTION_DENSE;
    for (int attention = first; attention <= ATTENTION_DENSE; attention++) {
        double start = now();
        if (!validation_loss(t, (Attention)attention, &loss[attention], &sequences, error)) return false;
        seconds[attention] = now() - start;
        if (t->left_off) return true;
    }
    for (int attention = first; attention <= ATTENTION_DENSE; attention++) {
        if (!log_validation(t, (Attention)attention, loss[attention], sequences, seconds[attention], error))
            return false;
    }
    return true;
}

// Looks after the save that is under way; `wait`: until it is done.
static bool tend_save(Trainer *t, bool wait, Error *error) {
    SaveReport report;
    if (!saver_tend(t->saver, wait, &report, error)) return false;
    if (!report.done) return true;
    json_t *fields = json_pack("{s:f, s:f}", "seconds", report.seconds, "waited", report.waited);
    return log_event(t->log, "checkpoint", report.step, fields, error);
}

// Of all ranks the path that the first has found.
static void share_folder(Trainer *t) {
    size_t size = strlen(t->run.folder) + 1;
    ranks_broadcast(t->ranks, &size, sizeof size);
    if (!ranks_first(t->ranks)) {
        free(t->run.folder);
        t->run.folder = (char *)alloc_or_exit(size, 1);
    }
    ranks_broadcast(t->ranks, t->run.folder, size);
}

// Somebody may have moved or deleted the folder since the last save.
static bool follow_folder(Trainer *t, Error *error) {
    bool moved = false, first = ranks_first(t->ranks);
    bool ok = !first || (run_follow(&t->run, t->options, &moved, error) &&
                         (!moved || log_move(t->log, t->run.folder, error)));
    if (!ranks_agree(t->ranks, ok, error)) return false;
    memcpy(t->state.run, t->run.id, sizeof t->state.run);
    share_folder(t);
    return true;
}

// Begins to save the state, unless that is done. The save before must have ended.
static bool begin_save(Trainer *t, Error *error) {
    if (t->saved == t->state.step) return true;
    if (!tend_save(t, true, error) || !follow_folder(t, error)) return false;
    saver_begin(t->saver, t->run.folder, &t->state, t->options->seq_len, &t->origin, t->options->keep);
    t->saved = t->state.step;
    return tend_save(t, false, error);
}

// After another error: a save that is under way is brought to its end, where all ranks are at one.
static void settle_save(Trainer *t) {
    Error error;
    if (!t->saver || (ranks_many(t->ranks) && !t->ranks->agreed)) return;
    if (!tend_save(t, true, &error)) warn("%s", error.message);
}

static bool due(int64_t step, int64_t every, int64_t last) {
    return step == last || (every > 0 && step % every == 0);
}

// A run that a signal stopped where a validation was due has left that for now.
static bool make_up_validation(Trainer *t, Error *error) {
    const Options *o = t->options;
    bool missed = t->run.continues && t->has_val && due(t->state.step, o->val_every, schedule_end(o));
    bool held = true;
    if (!missed) return true;
    bool ok = !ranks_first(t->ranks) || log_holds(t->run.folder, "validation", t->state.step, &held, error);
    if (!ranks_agree(t->ranks, ok, error)) return false;
    ranks_broadcast(t->ranks, &held, sizeof held);
    return held || validate(t, error);
}

static bool train_loop(Trainer *t, Error *error) {
    const Options *o = t->options;
    int64_t first = t->state.step, last = schedule_end(o);
    t->ranks->patience = (double)o->watchdog;
    if (!make_up_validation(t, error)) return false;
    while (t->state.step < last) {
        if (!log_switch(t, error) || !train_step(t, error)) return false;
        bool validates = t->has_val && due(t->state.step, o->val_every, last), stop = stopping(t);
        validates = validates && !t->left_off;
        // A signal does not wait for a validation, but a run that is at its end is not gone on with.
        if (validates && (!stop || t->state.step == last)) {
            if (!validate(t, error)) return false;
            stop = stopping(t); // a signal may have come meanwhile
        }
        if (!tend_save(t, false, error)) return false;
        if ((stop || due(t->state.step, o->checkpoint_every, last)) && !begin_save(t, error)) return false;
        if (stop && t->state.step < last) {
            if (!tend_save(t, true, error)) return false;
            t->ranks->agreed = true;
            progress_break(&t->progress);
            char where[32] = " to another rank";
            if (signals_pending()) snprintf(where, sizeof where, " %d", signals_pending());
            return error_set(error, STATUS_PREEMPTED,
                             "stopped by signal%s after step %lld, which is saved; go on with "
                             "--resume %s",
                             where, (long long)t->state.step, t->run.folder);
        }
    }
    // A branch for which nothing is left to do is a run too, with its parent's state.
    if (first >= last && !begin_save(t, error)) return false;
    if (!tend_save(t, true, error)) return false;
    progress_break(&t->progress);
    print_line(stdout, "done: %lld steps, %s%s", (long long)t->state.step, t->run.folder,
               first >= last ? "; there was nothing left to do, more --steps go on" : "");
    return true;
}

// Nothing is written, and no other rank waited for, before all ranks have come to the same plan.
static const EngineApi *plan_training(Trainer *t, Options *options, Error *error) {
    const EngineApi *api = NULL;
    bool ok = rank_match_words(t->ranks, options, error) &&
              ranks_agree(t->ranks, run_prepare(&t->run, options, t->ranks, error), error) &&
              rank_match_start(t->ranks, options, t->run.checkpoint, error);
    if (ok) api = commands_engine(options->device, options->dry_run, t->ranks, error);
    // A plan without --device cpu is one for GPUs, wherever it is made.
    bool cpu = api == engine_cpu() && (!options->dry_run || options->device == DEVICE_CPU);
    ok = ok && api && (cpu ? options_check_cpu(options, error) : options_check_gpu(options, error));
    if (api && !ranks_agree(t->ranks, ok, error)) api = NULL;
    ok = api && ranks_agree(t->ranks, train_plan_print(options, &t->run.engine, api, &t->plan, error), error);
    if (ok) ranks_group(t->ranks);
    return ok ? api : NULL;
}

static bool train(Options *options, Ranks *ranks, Error *error) {
    Trainer *t = (Trainer *)alloc_or_exit(1, sizeof *t);
    t->options = options;
    t->ranks = ranks;
    if (!options->dry_run) console_open();
    t->saved = -1;
    const EngineApi *api = plan_training(t, options, error);
    bool ok = api != NULL;
    if (ok && !options->dry_run) {
        signals_catch();
        ok = open_trainer(t, api, error) && train_loop(t, error);
        if (!ok) settle_save(t);
        if (!ok && t->saved < 0 && t->state.step == t->run.state.step) run_abandon(&t->run);
    }
    // What only this rank knows is told at once: an engine ends together with those of the others.
    if (!ok && ranks_many(ranks) && !ranks->agreed) ranks_fail(ranks, error);
    close_trainer(t);
    free(t);
    return ok;
}

int main(int argc, char **argv) {
    return commands_main(argc, argv, choose_engine, train);
}
