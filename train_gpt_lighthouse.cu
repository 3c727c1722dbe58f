// train_gpt_lighthouse: pretrains language models at very long context. The commands and the training loop.
//
// Most of a run trains under Lighthouse attention, which is fast; a short tail under dense attention ends it
// in an ordinary Llama. This file tells that story; what computes stands behind core/engine.h.
#include "core/bench.h"
#include "core/checkpoint.h"
#include "core/clock.h"
#include "core/context.h"
#include "core/engine.h"
#include "core/evaluate.h"
#include "core/export.h"
#include "core/files.h"
#include "core/flops.h"
#include "core/generate.h"
#include "core/info.h"
#include "core/json_file.h"
#include "core/log.h"
#include "core/model_folder.h"
#include "core/niah.h"
#include "core/nonfinite.h"
#include "core/open_engine.h"
#include "core/options.h"
#include "core/pack_command.h"
#include "core/progress.h"
#include "core/report.h"
#include "core/rank_match.h"
#include "core/run.h"
#include "core/saver.h"
#include "core/schedule.h"
#include "core/signals.h"
#include "core/train_plan.h"
#include "dataloader.h"

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

// Of all ranks the same engine.
static const EngineApi *agree_on_engine(int device, bool plans, Ranks *ranks, Error *error) {
    const EngineApi *api = choose_engine(device, plans, ranks, error);
    if (!ranks_agree(ranks, api != NULL, error)) return NULL;
    return ranks_compare(ranks, "the engine that --device auto takes", api == engine_cpu(), error) ? api
                                                                                                   : NULL;
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
    ModelTokenizer tokenizer; // of a model on ready ids
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
            if (!file_same(val->shards[i].path, data->shards[j].path)) continue;
            warn("%s is in --data and in --val: the validation loss will be of text that was trained on",
                 val->shards[i].path);
            return;
        }
    }
}

static bool open_data(Trainer *t, Error *error) {
    const Options *o = t->options;
    if (!dataloader_open(&t->data, o->data, o->seq_len, o->vocab, error)) return false;
    dataloader_set_ranks(&t->data, t->ranks->data_rank, t->ranks->data_size);
    dataloader_seek(&t->data, t->state.cursor);
    t->data.epoch = t->state.epoch;
    t->has_val = o->val && o->val_every > 0;
    if (!t->has_val) return true;
    if (!dataloader_open(&t->val, o->val, o->seq_len, o->vocab, error)) return false;
    dataloader_set_ranks(&t->val, t->ranks->data_rank, t->ranks->data_size);
    warn_shared_shard(&t->data, &t->val);
    return t->data.bytes == t->val.bytes ||
           error_set(error, STATUS_DATA,
                     "--data %s holds %s, --val %s does not: validate on shards that were packed alike",
                     o->data, t->data.bytes ? "bytes" : "ready ids", o->val);
}

// A run goes on with tokens of the kind that it began with.
static bool match_tokens(const Trainer *t, Error *error) {
    bool bytes;
    if (!t->run.checkpoint) return true;
    if (!model_tokenizer_is_bytes(t->run.checkpoint, &bytes, error)) return false;
    return bytes == t->data.bytes ||
           error_set(
               error, STATUS_USAGE,
               "--data %s holds %s, and the run to resume was trained on %s; to change that, start a new "
               "run with --init %s",
               t->options->data, t->data.bytes ? "bytes" : "ready ids", bytes ? "bytes" : "ready ids",
               t->run.checkpoint);
}

// A model on ready ids keeps the tokenizer that it came with.
static bool open_tokenizer(Trainer *t, Error *error) {
    const char *folder = t->run.checkpoint ? t->run.checkpoint : t->options->init;
    return match_tokens(t, error) && (t->data.bytes || model_tokenizer_read(folder, &t->tokenizer, error));
}

// Weights: those of the checkpoint, of --init, or drawn from the seed.
static bool open_model(Trainer *t, const EngineApi *api, Error *error) {
    size_t bytes = 0;
    t->engine = engine_open(api, &t->run.engine, &bytes, error);
    if (!t->engine) return false;
    t->gigabytes = (double)bytes / 1e9;
    engine_draw_weights(t->engine, (uint64_t)t->options->seed, t->options->embedding_std,
                        t->run.checkpoint || t->options->init);
    if (t->run.checkpoint) return checkpoint_load(t->engine, t->run.checkpoint, error);
    const char *init = t->options->init;
    if (init && model_is_checkpoint(init) && !checkpoint_verify_model(init, error)) return false;
    return !init || model_folder_load(t->engine, init, error);
}

static bool match_data(Trainer *t, Error *error) {
    return ranks_compare(t->ranks, "--data", dataloader_fingerprint(&t->data), error) &&
           (!t->has_val || ranks_compare(t->ranks, "--val", dataloader_fingerprint(&t->val), error));
}

static bool open_run(Trainer *t, Error *error) {
    if (!run_begin(&t->run, t->options, error)) return false;
    t->log = log_open(t->run.folder, error);
    if (!t->log) return false;
    return !t->options->tensorboard || log_to_tensorboard(t->log, t->run.folder, t->state.step, error);
}

static bool open_trainer(Trainer *t, const EngineApi *api, Error *error) {
    const Options *o = t->options;
    t->state = t->run.state;
    if (!ranks_agree(t->ranks, open_data(t, error), error) || !match_data(t, error)) return false;
    if (!ranks_agree(t->ranks, open_tokenizer(t, error), error)) return false;
    if (!ranks_agree(t->ranks, open_model(t, api, error), error)) return false;
    if (!ranks_agree(t->ranks, !ranks_first(t->ranks) || open_run(t, error), error)) return false;
    t->tokens = (int32_t *)alloc_or_exit((size_t)(o->batch * (o->seq_len + 1)), sizeof *t->tokens);
    t->saver = saver_create(t->engine, t->plan.saves_beside);
    t->saved = t->run.continues ? t->state.step : -1;
    Attention attention = schedule_attention(o, t->state.step);
    t->attention = t->run.checkpoint ? t->state.attention : attention;
    t->state.attention = t->attention;
    if (o->skip_spikes == 0) spikes_forget(&t->state.spikes);
    t->state.settings = options_settings(o);
    progress_begin(&t->progress, stdout, schedule_end(o), o->log_every);
    if (!t->run.checkpoint) return true;
    printf("resumed %s: step %lld, %s attention%s%s\n", t->run.checkpoint, (long long)t->state.step,
           attention_name(attention), t->run.changes[0] ? "; changed: " : "", t->run.changes);
    return log_event(t->log, "resume", t->state.step,
                     json_pack("{s:s, s:s, s:s, s:i}", "checkpoint", t->run.checkpoint, "attention",
                               attention_name(attention), "changed", t->run.changes, "ranks",
                               ranks_count(t->ranks)),
                     error);
}

static void close_trainer(Trainer *t) {
    if (t->state.settings != t->run.state.settings) json_decref(t->state.settings);
    saver_free(t->saver);
    if (t->log) log_close(t->log);
    dataloader_close(&t->data);
    if (t->has_val) dataloader_close(&t->val);
    engine_destroy(t->engine);
    model_tokenizer_free(&t->tokenizer);
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

static bool log_epoch(Trainer *t, Error *error) {
    if (t->data.epoch == t->state.epoch) return true;
    t->state.epoch = t->data.epoch;
    return log_event(t->log, "epoch", t->state.step, json_pack("{s:I}", "epoch", (json_int_t)t->state.epoch),
                     error);
}

// The end of a run whose loss or gradient is not finite: says where, and when. `loss`: else the gradient.
static bool stop_nonfinite(Trainer *t, bool loss, int64_t cursor, Error *error) {
    if (error->status == STATUS_NONFINITE) {
        (loss ? nonfinite_explain_loss : nonfinite_explain_gradient)(t->engine, &t->data, cursor, t->tokens,
                                                                     t->attention, error);
    }
    return error_prefix(error,
                        "step %lld, data cursor %lld: this update was not made; the checkpoints in %s are "
                        "of before it",
                        (long long)t->state.step + 1, (long long)cursor, t->run.folder);
}

// Notes an update that was skipped; too many in a row are no spike.
static bool log_skip(Trainer *t, const LogStep *line, const SpikeLimits *limits, Error *error) {
    progress_break(&t->progress);
    printf("step %lld: skipped, with loss %.4f and gradient norm %.3f; the last updates allow up to %.4f and "
           "%.3f\n",
           (long long)line->step, line->loss, line->grad_norm, limits->loss, limits->norm);
    json_t *fields = json_pack("{s:f, s:f, s:f, s:f}", "loss", line->loss, "most_loss", limits->loss,
                               "grad_norm", line->grad_norm, "most_grad_norm", limits->norm);
    if (!log_event(t->log, "skip", line->step, fields, error)) return false;
    if (++t->state.spikes.skipped < SPIKE_MOST_SKIPS) return true;
    t->ranks->agreed = true;
    return error_set(
        error, STATUS_NONFINITE,
        "step %lld: %d updates in a row were skipped, so loss %.4f and gradient norm %.3f are no "
        "spike; resume %s with a larger --skip-spikes, 0 for none, or a lower --lr",
        (long long)line->step, SPIKE_MOST_SKIPS, line->loss, line->grad_norm, t->run.folder);
}

// One update: gradients of the global batch in micro-steps, then AdamW, unless it is a spike. A signal may
// have it left off.
static bool train_step(Trainer *t, Error *error) {
    const Options *o = t->options;
    double start = now(), nats = 0, grad_norm = 0;
    int64_t cursor = t->data.cursor, targets = o->global_batch * o->seq_len;
    t->ranks->step = t->state.step + 1;
    t->left_off = false;
    for (int64_t i = 0; i < t->run.engine.micro_steps; i++) {
        double batch_nats;
        if (leaves_off(t, start, i, t->run.engine.micro_steps)) return true;
        bool read = dataloader_next(&t->data, o->batch, t->tokens, error);
        if (!ranks_agree(t->ranks, read, error)) return false;
        if (!engine_forward_backward(t->engine, t->tokens, t->attention, targets, &batch_nats, error))
            return false;
        nats += batch_nats;
    }
    bool finite = isfinite(nats) || error_set(error, STATUS_NONFINITE, "the loss is %f", nats);
    if (!ranks_agree(t->ranks, finite, error)) return stop_nonfinite(t, true, cursor, error);
    ranks_sum(t->ranks, &nats, 1);
    double loss = nats / (double)targets;
    SpikeLimits limits = spikes_limits(&t->state.spikes, o->skip_spikes);
    AdamW adamw = {
        t->state.step + 1, schedule_lr(o, t->state.step),        o->beta1, o->beta2, 1e-8, o->weight_decay,
        o->clip,           loss > limits.loss ? -1 : limits.norm};
    if (!ranks_agree_worked(t->ranks, engine_update(t->engine, &adamw, &grad_norm, error), error))
        return stop_nonfinite(t, false, cursor, error);
    t->state.step++;
    t->state.tokens += targets;
    t->state.cursor = t->data.cursor;
    t->state.attention = t->attention;

    double seconds = now() - start;
    double flops = flops_sequence(&t->run.engine, o->seq_len, t->attention) * (double)o->global_batch;
    LogStep line = {t->state.step,
                    t->state.tokens,
                    loss,
                    grad_norm,
                    adamw.lr,
                    t->attention,
                    (double)targets / seconds,
                    t->plan.peak_flops > 0 ? flops / seconds / t->plan.peak_flops / t->ranks->size : NAN,
                    t->gigabytes,
                    seconds};
    progress_step(&t->progress, &line, schedule_left(o, &t->run.engine, t->state.step));
    if (!log_step(t->log, &line, error) || !log_epoch(t, error)) return false;
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
    dataloader_seek(&t->val, 0);
    for (int64_t done = 0, all = 0; done < count; done += all) {
        int64_t left = (count - done + ranks->data_size - 1) / ranks->data_size;
        int64_t rows = left < o->batch ? left : o->batch, before = done + ranks->data_rank * rows;
        double batch_nats;
        all = rows * ranks->data_size;
        if (!last_one && leaves_off(t, start, done, count)) return true;
        if (!ranks_agree(t->ranks, dataloader_next(&t->val, rows, t->tokens, error), error)) return false;
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

// Begins to save the state, unless that is done. The save before must have ended.
static bool begin_save(Trainer *t, Error *error) {
    if (t->saved == t->state.step) return true;
    if (!tend_save(t, true, error)) return false;
    saver_begin(t->saver, t->run.folder, &t->state, t->options->seq_len, t->data.bytes ? NULL : &t->tokenizer,
                t->options->keep);
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
    printf("done: %lld steps, %s%s\n", (long long)t->state.step, t->run.folder,
           first >= last ? "; there was nothing left to do, more --steps go on" : "");
    return true;
}

// Nothing is written, and no other rank waited for, before all ranks have come to the same plan.
static const EngineApi *plan_training(Trainer *t, Options *options, Error *error) {
    const EngineApi *api = NULL;
    bool ok = ranks_agree(t->ranks, run_prepare(&t->run, options, t->ranks, error), error) &&
              rank_match_start(t->ranks, options, t->run.checkpoint, error);
    if (ok) api = agree_on_engine(options->device, options->dry_run, t->ranks, error);
    ok = api && ranks_agree(t->ranks, train_plan_print(options, &t->run.engine, api, &t->plan, error), error);
    if (ok) ranks_group(t->ranks);
    return ok ? api : NULL;
}

static bool command_train(Options *options, Ranks *ranks, Error *error) {
    Trainer *t = (Trainer *)alloc_or_exit(1, sizeof *t);
    t->options = options;
    t->ranks = ranks;
    const EngineApi *api = plan_training(t, options, error);
    bool ok = api != NULL;
    if (ok && !options->dry_run) {
        signals_catch();
        ok = open_trainer(t, api, error) && train_loop(t, error);
        if (!ok) settle_save(t);
    }
    // What only this rank knows is told at once: an engine ends together with those of the others.
    if (!ok && ranks_many(ranks) && !ranks->agreed) ranks_fail(ranks, error);
    close_trainer(t);
    free(t);
    return ok;
}

// ---- eval, niah and generate

static bool command_eval(Options *options, Ranks *ranks, Error *error) {
    const EngineApi *api = agree_on_engine(options->device, false, ranks, error);
    return api && evaluate_model(api, options, ranks, error);
}

static bool command_niah(const Options *options, Ranks *ranks, Error *error) {
    const EngineApi *api = agree_on_engine(options->device, false, ranks, error);
    return api && niah_measure(api, options, ranks, error);
}

static bool command_generate(Options *options, Error *error) {
    const EngineApi *api = choose_engine(options->device, false, NULL, error);
    return api && generate_text(api, options, error);
}

// ---- bench and info

static bool command_bench(Options *options, Ranks *ranks, Error *error) {
    const EngineApi *api = agree_on_engine(options->device, false, ranks, error);
    return api && bench_run(options, api, ranks, error);
}

static bool command_info(Options *options, Error *error) {
    const EngineApi *api = choose_engine(DEVICE_AUTO, false, NULL, error);
    if (options->n_inputs == 0) {
        if (options->verify)
            return error_set(error, STATUS_USAGE, "--verify needs a path: info PATH --verify");
        info_build(stdout, api);
        return true;
    }
    return info_path(stdout, options->inputs[0], options->verify, error);
}

// Only the first rank speaks; errors of the others come by ranks_exit.
static void hush(const Ranks *ranks) {
    if (!ranks_first(ranks) && freopen("/dev/null", "w", stdout)) warnings_end();
}

static bool run_command(Options *options, Ranks *ranks, Error *error) {
    bool shared = (options->command & (COMMAND_TRAIN | COMMAND_EVAL | COMMAND_NIAH | COMMAND_BENCH)) != 0;
    if (ranks_many(ranks) && !shared) {
        ranks->agreed = true;
        return error_set(
            error, STATUS_USAGE,
            "only train, eval, niah and bench step work on several ranks; start this command without "
            "mpirun or srun");
    }
    switch (options->command) {
    case COMMAND_PACK: return pack_command(options, error);
    case COMMAND_TRAIN: return command_train(options, ranks, error);
    case COMMAND_EVAL: return command_eval(options, ranks, error);
    case COMMAND_GENERATE: return command_generate(options, error);
    case COMMAND_BENCH: return command_bench(options, ranks, error);
    case COMMAND_NIAH: return command_niah(options, ranks, error);
    case COMMAND_EXPORT: return export_model(options, error);
    case COMMAND_REPORT:
        return report_write((const char *const *)options->inputs, options->n_inputs, options->report_out,
                            options->published, stdout, error);
    case COMMAND_INFO: return command_info(options, error);
    }
    return false;
}

int main(int argc, char **argv) {
    Options options;
    Ranks ranks;
    Error error;
    streams_open();
    if (!ranks_open(&ranks, &error)) ranks_exit(&ranks, &error);
    hush(&ranks);
    bool done, ok = ranks_agree(&ranks, options_parse(&options, argc, argv, &done, &error), &error);
    if (ok && !done) ok = run_command(&options, &ranks, &error);
    options_free(&options);
    if (!ok) ranks_exit(&ranks, &error);
    if (fflush(stdout) != 0) {
        error_set_errno(&error, STATUS_DATA, "cannot write to standard output");
        ranks_exit(&ranks, &error);
    }
    ranks_close(&ranks);
    return STATUS_DONE;
}
