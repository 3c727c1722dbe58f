// `niah`: needle in a haystack; see niah.h.
#include "core/commands/niah.h"

#include "core/checkpoint/checkpoint.h"
#include "core/base/clock.h"
#include "core/base/console.h"
#include "core/engine/context.h"
#include "core/base/files.h"
#include "core/checkpoint/model_folder.h"
#include "core/commands/niah_report.h"
#include "core/commands/niah_task.h"
#include "core/checkpoint/open_engine.h"
#include "core/options/rank_match.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_LENGTH ((int64_t)1 << 29)
#define MAX_BATCH  64 // sequences of a pass

// ---- Lists

// The next number of a list, and what is behind it and its comma; false where there is no number.
static bool list_next(const char **at, double *number) {
    char *end;
    *number = strtod(*at, &end);
    if (end == *at) return false;
    if (*end == 'K' || *end == 'k') {
        *number *= 1024;
        end++;
    }
    if (*end && *end != ',') return false;
    if (*end && !end[1]) return false; // a comma with nothing behind it
    *at = *end ? end + 1 : end;
    return true;
}

bool niah_parse_lengths(NiahGrid *grid, const char *list, Error *error) {
    const char *at = list;
    double number = 0;
    for (grid->n_lengths = 0; grid->n_lengths == 0 || *at; grid->n_lengths++) {
        bool ok = grid->n_lengths < NIAH_MAX_STEPS && list_next(&at, &number) && number == floor(number) &&
                  number >= NIAH_MIN_LENGTH && number <= (double)MAX_LENGTH;
        ok = ok && (grid->n_lengths == 0 || number > (double)grid->lengths[grid->n_lengths - 1]);
        if (!ok) {
            return error_set(
                error, STATUS_USAGE,
                "--lengths %s: must be up to %d rising numbers of tokens, from %d to %lld, with commas "
                "between, as 4K,8K,98304",
                list, NIAH_MAX_STEPS, NIAH_MIN_LENGTH, (long long)MAX_LENGTH);
        }
        grid->lengths[grid->n_lengths] = (int64_t)number;
    }
    return true;
}

// Of a percent: depths that are nearer to each other would have the same trials.
static int64_t hundredths(double depth) {
    return llround(depth * 100);
}

bool niah_parse_depths(NiahGrid *grid, const char *list, Error *error) {
    const char *at = list;
    double number = 0;
    for (grid->n_depths = 0; grid->n_depths == 0 || *at; grid->n_depths++) {
        bool ok = grid->n_depths < NIAH_MAX_STEPS && list_next(&at, &number) && number >= 0 && number <= 100;
        ok = ok && (grid->n_depths == 0 || hundredths(number) > hundredths(grid->depths[grid->n_depths - 1]));
        if (!ok) {
            return error_set(error, STATUS_USAGE,
                             "--depths %s: must be up to %d rising percentages, 0.01 or more apart, with "
                             "commas between, as 0,50,100",
                             list, NIAH_MAX_STEPS);
        }
        grid->depths[grid->n_depths] = number;
    }
    return true;
}

// The default lengths that the model's context holds; the context alone where it holds none.
static void standard_lengths(NiahGrid *grid, int64_t context) {
    static const int64_t lengths[] = {4096, 8192, 16384, 32768, 65536, 98304};
    grid->n_lengths = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths && lengths[i] <= context; i++) {
        grid->lengths[grid->n_lengths++] = lengths[i];
    }
    if (grid->n_lengths == 0) grid->lengths[grid->n_lengths++] = context;
}

static bool make_grid(NiahGrid *grid, const Options *options, int64_t context, Error *error) {
    grid->seed = (uint64_t)options->seed;
    grid->n_trials = options->trials;
    if (!options->lengths && context < NIAH_MIN_LENGTH) {
        return error_set(
            error, STATUS_USAGE,
            "the model's context of %lld tokens is too short for a trial; name --lengths from %d on",
            (long long)context, NIAH_MIN_LENGTH);
    }
    if (!options->lengths) {
        standard_lengths(grid, context);
    } else if (!niah_parse_lengths(grid, options->lengths, error)) {
        return false;
    }
    if (!niah_parse_depths(grid, options->depths, error)) return false;
    int64_t longest = grid->lengths[grid->n_lengths - 1];
    if (longest > context) {
        warn("--lengths reach %lld tokens; the model was trained on %lld", (long long)longest,
             (long long)context);
    }
    grid->trials = (NiahTrial *)alloc_or_exit(
        (size_t)(grid->n_lengths * grid->n_depths) * (size_t)grid->n_trials, sizeof *grid->trials);
    return true;
}

// ---- Trials

// A trial's number: the same text for a length, depth and count whatever else is measured.
// Lengths are below 2^30, and the option's bounds keep trials below 2^19.
static uint64_t trial_number(int64_t length, double depth, int64_t trial) {
    return (uint64_t)length << 33 | (uint64_t)hundredths(depth) << 19 | (uint64_t)trial;
}

// Of the ten answers.   logits: (V)
static bool read_digits(const NiahTask *task, const float *logits, float *digits, Error *error) {
    for (int digit = 0; digit < NIAH_ANSWERS; digit++) {
        int32_t token = niah_task_answer(task, digit);
        digits[digit] = logits[token];
        if (isfinite(digits[digit])) continue;
        return error_set(error, STATUS_NONFINITE,
                         "the logit of token %d is %f: the model's weights are of no use", token,
                         (double)digits[digit]);
    }
    return true;
}

static void judge(NiahTrial *trial, const float *digits) {
    double sum = 0;
    trial->answer = 0;
    for (int i = 1; i < 10; i++) {
        if (digits[i] > digits[trial->answer]) trial->answer = i;
    }
    for (int i = 0; i < 10; i++) sum += exp((double)digits[i] - digits[trial->answer]);
    trial->probability = exp((double)digits[trial->digit] - digits[trial->answer]) / sum;
}

// Buffers of a pass.
typedef struct {
    int32_t *tokens; // (batch, length), longest tokens at most
    float *logits;   // (batch, V)
} NiahBuffers;

static bool write_trials(const NiahGrid *grid, NiahTask *task, int l, int64_t first, int64_t count,
                         int32_t *tokens, Error *error) {
    int64_t length = grid->lengths[l];
    NiahTrial *trials = niah_trials(grid, l, 0) + first;
    for (int64_t i = 0; i < count; i++) {
        double depth = grid->depths[(first + i) / grid->n_trials];
        uint64_t number = trial_number(length, depth, (first + i) % grid->n_trials);
        if (!niah_task_trial(task, grid->seed, number, depth / 100, length, tokens + i * length,
                             &trials[i].digit, error))
            return false;
    }
    return true;
}

// Trials [first, first + count) of a length, counted over all depths. Where ranks share sequences, the last
// of them judges.
static bool run_batch(Engine *engine, const NiahGrid *grid, NiahTask *task, int l, int64_t first,
                      int64_t count, const NiahBuffers *buffers, Error *error) {
    int64_t length = grid->lengths[l], V = engine->config.model.vocab_size;
    NiahTrial *trials = niah_trials(grid, l, 0) + first;
    float digits[NIAH_ANSWERS];
    if (!write_trials(grid, task, l, first, count, buffers->tokens, error) ||
        !engine_predict(engine, buffers->tokens, count, length, buffers->logits, error))
        return false;
    const Ranks *ranks = engine->config.ranks;
    if (ranks->context_rank < ranks->context_size - 1) {
        memset(trials, 0, (size_t)count * sizeof *trials); // the last rank of a sequence counts
        return true;
    }
    for (int64_t i = 0; i < count; i++) {
        if (!read_digits(task, buffers->logits + i * V, digits, error)) return false;
        judge(&trials[i], digits);
    }
    return true;
}

// Every rank learns of all trials what those that judged them have found; elsewhere they are zero.
static void share_trials(Ranks *ranks, NiahTrial *trials, int64_t count) {
    if (!ranks_many(ranks)) return;
    double *values = (double *)alloc_or_exit((size_t)(3 * count), sizeof *values);
    for (int64_t i = 0; i < count; i++) {
        values[3 * i] = trials[i].digit;
        values[3 * i + 1] = trials[i].answer;
        values[3 * i + 2] = trials[i].probability;
    }
    ranks_sum(ranks, values, (int)(3 * count));
    for (int64_t i = 0; i < count; i++) {
        trials[i].digit = (int)values[3 * i];
        trials[i].answer = (int)values[3 * i + 1];
        trials[i].probability = values[3 * i + 2];
    }
    free(values);
}

bool niah_says(double before, double after) {
    return after >= 10 && (before < 10 || ilogb(after / 10) > ilogb(before / 10));
}

// `before`: seconds of this length when the last turn began.
static void show_progress(const NiahGrid *grid, int l, int64_t done, int64_t total, double before) {
    bool terminal = isatty(STDERR_FILENO);
    double seconds = grid->seconds[l];
    if (done < total && !terminal && !niah_says(before, seconds)) return;
    if (!console_has_room(STDERR_FILENO)) return;
    fprintf(stderr, "%s%lld tokens: %lld of %lld trials", terminal ? "\r" : "", (long long)grid->lengths[l],
            (long long)done, (long long)total);
    if (done < total) {
        fprintf(stderr, ", %.0f s left%s", seconds * (double)(total - done) / (double)done,
                terminal ? "   " : "\n");
    } else {
        NiahRate rate = niah_grid_rate(grid, l, l + 1, -1);
        // NOLINTNEXTLINE(clang-analyzer-core.DivideZero) a grid has lengths, depths and trials
        double percent = 100.0 * (double)rate.found / (double)rate.trials;
        fprintf(stderr, ", %.1f %% found, %.1f s\n", percent, grid->seconds[l]);
    }
}

// Sequences at once: as many as make one of the longest.
static int64_t batch_of(const NiahGrid *grid, int l) {
    int64_t batch = grid->lengths[grid->n_lengths - 1] / grid->lengths[l];
    return batch < MAX_BATCH ? batch : MAX_BATCH;
}

// All trials of a length. In each turn every group of ranks has up to a batch of them.
static bool run_length(Engine *engine, NiahGrid *grid, NiahTask *task, int l, const NiahBuffers *buffers,
                       Error *error) {
    Ranks *ranks = engine->config.ranks;
    int64_t total = grid->n_depths * grid->n_trials, groups = ranks->data_size, batch = batch_of(grid, l);
    double start = now();
    for (int64_t done = 0, turn = 0; done < total; done += turn) {
        int64_t each = (total - done + groups - 1) / groups;
        if (each > batch) each = batch;
        int64_t first = done + ranks->data_rank * each, mine = total - first;
        if (mine > each) mine = each; // the last groups may have less, or nothing
        turn = total - done < groups * each ? total - done : groups * each;
        bool ok = mine <= 0 || run_batch(engine, grid, task, l, first, mine, buffers, error);
        if (!ranks_agree_worked(ranks, ok, error)) return false;
        share_trials(ranks, niah_trials(grid, l, 0) + done, turn);
        double before = grid->seconds[l];
        grid->seconds[l] = now() - start;
        if (ranks_first(ranks)) show_progress(grid, l, done + turn, total, before);
    }
    return true;
}

static bool run_grid(Engine *engine, NiahGrid *grid, NiahTask *task, Error *error) {
    int64_t longest = grid->lengths[grid->n_lengths - 1];
    NiahBuffers buffers;
    buffers.tokens = (int32_t *)alloc_or_exit((size_t)longest, sizeof *buffers.tokens);
    buffers.logits =
        (float *)alloc_or_exit((size_t)(batch_of(grid, 0) * engine->config.model.vocab_size), sizeof(float));
    bool ok = true;
    for (int l = 0; ok && l < grid->n_lengths; l++) ok = run_length(engine, grid, task, l, &buffers, error);
    free(buffers.logits);
    free(buffers.tokens);
    return ok;
}

// ---- The whole

// All lengths in slices of whole tokens.
static bool check_slices(const NiahGrid *grid, const EngineConfig *config, int64_t slices, Error *error) {
    for (int l = 0; l < grid->n_lengths; l++) {
        if (grid->lengths[l] % slices == 0) continue;
        return error_set(error, STATUS_USAGE,
                         "--cp %lld does not divide the %lld tokens of a trial; name others with --lengths",
                         (long long)slices, (long long)grid->lengths[l]);
    }
    return context_check(config, slices, error);
}

// One engine has one length for RoPE.
static void warn_of_stretching(const RopeScaling *scaling, const NiahGrid *grid) {
    int64_t longest = grid->lengths[grid->n_lengths - 1];
    if (scaling->type != ROPE_DYNAMIC || grid->n_lengths == 1 || (double)longest <= scaling->original) return;
    warn("RoPE of type dynamic is stretched for %lld tokens in every trial; for a length by itself name it "
         "alone in "
         "--lengths",
         (long long)longest);
}

static void warn_of_repeats(const NiahTask *task, const NiahGrid *grid) {
    int64_t longest = grid->lengths[grid->n_lengths - 1];
    if (!task->reads || task->data.n_tokens >= longest) return;
    warn("--data holds %lld tokens: in trials of up to %lld its text comes more than once",
         (long long)task->data.n_tokens, (long long)longest);
}

// What the model, the options and the ranks ask of an engine, and the trials.
static bool configure(const Options *options, Ranks *ranks, const char *folder, NiahGrid *grid,
                      NiahTask *task, EngineConfig *config, Error *error) {
    memset(config, 0, sizeof *config);
    int64_t context;
    if (!model_folder_config(folder, &config->model, &context, error)) return false;
    if (!niah_task_open(task, options, folder, &config->model, error) ||
        !make_grid(grid, options, context, error))
        return false;
    warn_of_repeats(task, grid);
    warn_of_stretching(&config->model.rope_scaling, grid);
    rope_scaling_warn(&config->model.rope_scaling, grid->lengths[grid->n_lengths - 1], false);
    config->batch = 1;
    config->context = grid->lengths[grid->n_lengths - 1];
    config->ranks = ranks;
    return ranks_split(ranks, options->eval_cp, error) && check_slices(grid, config, options->eval_cp, error);
}

// The same text is in the shards of all ranks.
static bool start_together(Ranks *ranks, const Options *options, const NiahGrid *grid, const NiahTask *task,
                           Error *error) {
    uint64_t data = task->reads ? dataloader_fingerprint(&task->data) : 0;
    return rank_match_start(ranks, options, grid->model, error) &&
           (!ranks_many(ranks) || ranks_compare(ranks, "--data", data, error));
}

static bool measure_folder(const EngineApi *api, const Options *options, Ranks *ranks, NiahGrid *grid,
                           NiahTask *task, Error *error) {
    EngineConfig config;
    bool ok = configure(options, ranks, grid->model, grid, task, &config, error);
    if (!ranks_agree(ranks, ok, error) || !start_together(ranks, options, grid, task, error)) return false;
    ranks_group(ranks);
    Engine *engine = engine_open_model(api, &config, grid->model, 0, error);
    ranks->patience = (double)options->watchdog;
    ok = ranks_agree(ranks, engine != NULL, error) && run_grid(engine, grid, task, error);
    engine_destroy(engine);
    return ok;
}

static bool print_and_write(const NiahGrid *grid, const NiahTask *task, const char *out, Error *error) {
    if (out && !niah_write(grid, task, out, error)) return false; // first what lasts, whoever reads the other
    json_t *summary = niah_summary(grid, task);
    json_dumpf(summary, stdout, JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(summary);
    return true;
}

// Hours may lie between this and the writing.
static bool place_for(const char *out, Error *error) {
    return checkpoint_check_out(out, error) && model_folder_check_out(out, out, error) &&
           niah_check_out(out, error) && folders_make(out, error);
}

bool niah_measure(const EngineApi *api, const Options *options, Ranks *ranks, Error *error) {
    NiahGrid grid;
    NiahTask task;
    memset(&grid, 0, sizeof grid);
    memset(&task, 0, sizeof task);
    char *folder = model_find(options, error);
    grid.model = folder;
    bool writes = options->out && ranks_first(ranks), made = writes && !folder_exists(options->out);
    bool ok = folder && (!writes || place_for(options->out, error));
    ok = ranks_agree(ranks, ok, error) && measure_folder(api, options, ranks, &grid, &task, error);
    if (ok) {
        ok = !ranks_first(ranks) || print_and_write(&grid, &task, options->out, error);
        ok = ranks_agree(ranks, ok, error);
    }
    if (!ok && made) (void)rmdir(options->out); // where it is empty
    niah_task_close(&task);
    free(grid.trials);
    free(folder);
    return ok;
}
