// The commands; see commands.h.
#include "core/commands/commands.h"

#include "core/base/console.h"
#include "core/base/files.h"
#include "core/base/host_memory.h"
#include "core/base/signals.h"
#include "core/bench/bench.h"
#include "core/commands/evaluate.h"
#include "core/commands/export.h"
#include "core/commands/generate.h"
#include "core/commands/info.h"
#include "core/commands/niah.h"
#include "core/options/help.h"
#include "core/pack/pack_command.h"
#include "core/report/report.h"
#include "cpu/blas_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ChooseEngine choose_engine;
static CommandTrain train;

// Of all ranks the same engine, which computes what it should.
const EngineApi *commands_engine(int device, bool plans, Ranks *ranks, Error *error) {
    const EngineApi *api = choose_engine(device, plans, ranks, error);
    bool blas = api == engine_cpu() && !plans;
    if (!ranks_agree(ranks, api && (!blas || blas_check(error)), error)) return NULL;
    if (!ranks_compare(ranks, "the engine that --device auto takes", api == engine_cpu(), error)) return NULL;
    if (blas) blas_compare(ranks);
    return api;
}

// ---- One function each

static bool command_pack(Options *options, Ranks *ranks, Error *error) {
    (void)ranks;
    return pack_command(options, error);
}

static bool command_train(Options *options, Ranks *ranks, Error *error) {
    return train(options, ranks, error);
}

static bool command_eval(Options *options, Ranks *ranks, Error *error) {
    const EngineApi *api = commands_engine(options->device, false, ranks, error);
    return api && evaluate_model(api, options, ranks, error);
}

static bool command_niah(Options *options, Ranks *ranks, Error *error) {
    const EngineApi *api = commands_engine(options->device, false, ranks, error);
    return api && niah_measure(api, options, ranks, error);
}

static bool command_generate(Options *options, Ranks *ranks, Error *error) {
    const EngineApi *api = commands_engine(options->device, false, ranks, error);
    return api && generate_text(api, options, error);
}

static bool command_bench(Options *options, Ranks *ranks, Error *error) {
    const EngineApi *api = commands_engine(options->device, false, ranks, error);
    return api && bench_run(options, api, ranks, error);
}

static bool command_export(Options *options, Ranks *ranks, Error *error) {
    (void)ranks;
    return export_model(options, error);
}

static bool command_report(Options *options, Ranks *ranks, Error *error) {
    (void)ranks;
    return report_write((const char *const *)options->inputs, options->n_inputs, options->positions,
                        options->report_out, options->published, stdout, error);
}

// Whether products on the CPU engine are right here.
static bool info_blas(void) {
    char library[128];
    Error fault;
    blas_describe(library, sizeof library);
    bool right = blas_check(&fault);
    printf("products    %s%s\n", right ? library : fault.message, right ? ": right" : "");
    return true;
}

static bool info_links(Options *options, Ranks *ranks, Error *error) {
    const EngineApi *api = commands_engine(options->device, false, ranks, error);
    return api && bench_links(options, api, ranks, error);
}

static bool command_info(Options *options, Ranks *ranks, Error *error) {
    if (options->links) return info_links(options, ranks, error);
    bool device = options->source[OPTION_device] == SOURCE_COMMAND_LINE;
    if (device || options->source[OPTION_watchdog] == SOURCE_COMMAND_LINE)
        return error_set(error, STATUS_USAGE, "--%s goes with info --links; leave it out",
                         device ? "device" : "watchdog");
    const EngineApi *api = choose_engine(DEVICE_AUTO, false, NULL, error);
    if (options->n_inputs == 0) {
        if (options->verify)
            return error_set(error, STATUS_USAGE, "--verify needs a path: info PATH --verify");
        info_build(stdout, api);
        return info_blas();
    }
    return info_paths(stdout, options->inputs, options->n_inputs, options->verify, error);
}

typedef bool (*CommandFunction)(Options *options, Ranks *ranks, Error *error);
static const CommandFunction RUN[COMMAND_COUNT] = {
#define COMMAND(ID, name, ...) command_##name,
#include "core/options/commands.def"
#undef COMMAND
};

// ---- The program

// Only the first rank speaks; errors of the others come by ranks_exit.
static void hush(const Ranks *ranks) {
    if (!ranks_first(ranks) && freopen("/dev/null", "w", stdout)) warnings_end();
}

// What a command prints is lost, and it is there for nothing else.
static bool check_output(const Options *options, const Ranks *ranks, Error *error) {
    bool files = (command_row(options->command)->flags & COMMAND_WRITES) != 0;
    if (options->command == COMMAND_NIAH && !options->out) files = false;
    if (files || !ranks_first(ranks) || !streams_output_was_closed()) return true;
    return error_set(error, STATUS_USAGE,
                     "standard output is closed, and the result would go there: open it, as with > "
                     "result.json");
}

static bool run_command(Options *options, Ranks *ranks, Error *error) {
    const CommandRow *row = command_row(options->command);
    console_ends_with_reader((row->flags & COMMAND_WRITES) == 0);
    if (ranks_many(ranks) && !(row->flags & COMMAND_RANKS) && !options->links) {
        ranks->agreed = true;
        return error_set(
            error, STATUS_USAGE,
            "only train, eval, niah, bench step and info --links work on several ranks; start this command "
            "without mpirun or srun");
    }
    return ranks_compare(ranks, "the command", (uint64_t)options->command, error) &&
           RUN[row - COMMANDS](options, ranks, error);
}

// Several of the other commands may follow each other in one task of a launcher, where MPI begins only once.
static bool uses_ranks(int argc, char **argv) {
    const CommandRow *row = argc > 1 ? command_find(argv[1]) : NULL;
    bool links = false; // the one way of `info` that does
    for (int i = 2; i < argc && row && row->command == COMMAND_INFO; i++)
        links = links || strcmp(argv[i], "--links") == 0 || strcmp(argv[i], "--links=true") == 0;
    return !row || links || (row->flags & COMMAND_RANKS);
}

// The ranks connect before options are read: --watchdog, where it is given, counts for that too.
static double connect_seconds(int argc, char **argv) {
    double seconds = 0;
    for (int i = 2; i < argc; i++) {
        if (strncmp(argv[i], "--watchdog=", 11) == 0) seconds = strtod(argv[i] + 11, NULL);
        if (strcmp(argv[i], "--watchdog") == 0 && i + 1 < argc) seconds = strtod(argv[i + 1], NULL);
    }
    return seconds >= 1 ? seconds : RANKS_CONNECT_SECONDS;
}

int commands_main(int argc, char **argv, ChooseEngine choose, CommandTrain train_command) {
    Options options;
    Ranks ranks;
    Error error;
    choose_engine = choose;
    train = train_command;
    signals_open();
    blas_end_under_limit();
    streams_open();
    if (!ranks_open(&ranks, uses_ranks(argc, argv), connect_seconds(argc, argv), &error))
        ranks_exit(&ranks, &error);
    hush(&ranks);
    bool done, ok = options_parse(&options, argc, argv, &done, &error) && (done || host_stack_check(&error));
    ok = ranks_agree(&ranks, ok, &error);
    if (ok && !done) ok = ranks_agree(&ranks, check_output(&options, &ranks, &error), &error);
    if (ok && !done) ok = run_command(&options, &ranks, &error);
    bool prints = ok && !done && (command_row(options.command)->flags & COMMAND_WRITES) == 0;
    options_free(&options);
    if (!ok) ranks_exit(&ranks, &error);
    if (fflush(stdout) != 0 && errno != EPIPE) { // who ceased to read it has no use for the rest
        error_set_errno(&error, STATUS_DATA, "cannot write to standard output");
        ranks_exit(&ranks, &error);
    }
    if (prints && ferror(stdout)) { // rows are flushed one by one, and one before the last was lost
        error_set(&error, STATUS_DATA, "cannot write all to standard output: is the disk full?");
        ranks_exit(&ranks, &error);
    }
    ranks_close(&ranks);
    return STATUS_DONE;
}
