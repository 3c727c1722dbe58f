// The built program, run by tests; see program.h.
#include "program.h"

#include "built.h"
#include "core/base/error.h"
#include "core/base/signals.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_WORDS     128
#define LONGEST_LINE  8192
#define LIMIT_SECONDS 300 // a program that runs for longer hangs

extern char **environ;

static char program_path[PATH_MAX];
static char worker_path[PATH_MAX];
static char mpirun_path[PATH_MAX], each_rank_path[PATH_MAX]; // support/*.sh
static int ranks = 1;
static bool starts_worker, hangup_ignored;

struct Program {
    pid_t process;
    FILE *out, *err;
};

void program_find(void) {
    built_find("train_gpt_lighthouse", program_path);
    snprintf(worker_path, sizeof worker_path, "%.*s/rank_worker",
             (int)(strlen(program_path) - strlen("/train_gpt_lighthouse")), program_path);
    if (!realpath("dev/test/support/mpirun.sh", mpirun_path) ||
        !realpath("dev/test/support/each_rank.sh", each_rank_path)) {
        fprintf(stderr, "dev/test/support is not there: start tests in the repository's root\n");
        exit(1);
    }
    program_threads(1);
    setenv("CUDA_VISIBLE_DEVICES", "", 1);
}

void program_threads(int count) {
    char text[16];
    snprintf(text, sizeof text, "%d", count);
    setenv("OMP_NUM_THREADS", text, 1);
}

void program_ranks(int count, bool worker) {
    ranks = count;
    starts_worker = worker;
    // Open MPI gives back less memory than it took.
    setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
}

void program_hangup(bool ignored) {
    hangup_ignored = ignored;
    signal_set(SIGHUP, ignored ? SIG_IGN : SIG_DFL);
}

// ---- Starting and waiting

static Program *start_words(const char *const *words) {
    char *arguments[MAX_WORDS + 8] = {NULL}, all[16], first[16], np[] = "-np", next[] = "::";
    int count = 0, kinds = 1;
    for (int i = 0; words[i]; i++) kinds += strcmp(words[i], ":") == 0;
    snprintf(all, sizeof all, "%d", ranks + kinds - 1);
    snprintf(first, sizeof first, "%d", ranks);
    if (ranks > 1 || kinds > 1) {
        arguments[count++] = mpirun_path;
        arguments[count++] = np;
        arguments[count++] = all;
    }
    if (kinds > 1) {
        arguments[count++] = each_rank_path;
        arguments[count++] = first;
    }
    arguments[count++] = starts_worker ? worker_path : program_path;
    for (int i = 0; words[i]; i++) {
        assert_true(i < MAX_WORDS);
        arguments[count++] = strcmp(words[i], ":") == 0 ? next : (char *)words[i];
    }
    Program *program = (Program *)alloc_or_exit(1, sizeof *program);
    program->out = tmpfile();
    program->err = tmpfile();
    assert_true(program->out && program->err);

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", 0, 0);
    posix_spawn_file_actions_adddup2(&files, fileno(program->out), 1);
    posix_spawn_file_actions_adddup2(&files, fileno(program->err), 2);
    // A shell that starts tests beside itself has them ignore SIGINT, and nohup SIGHUP.
    posix_spawnattr_t attributes;
    sigset_t heeded;
    sigemptyset(&heeded);
    sigaddset(&heeded, SIGINT);
    sigaddset(&heeded, SIGQUIT);
    if (!hangup_ignored) sigaddset(&heeded, SIGHUP);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &heeded);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    int failed = posix_spawnp(&program->process, arguments[0], &files, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (failed) fail_msg("%s cannot be started: %s", program_path, strerror(failed));
    return program;
}

// Cuts `line` at its blanks.
static Program *start_line(const char *format, va_list values) {
    char line[LONGEST_LINE];
    const char *words[MAX_WORDS + 1];
    int count = 0;
    int length = vsnprintf(line, sizeof line, format, values);
    assert_true(length >= 0 && length < (int)sizeof line);
    char *rest = NULL;
    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        assert_true(count < MAX_WORDS);
        words[count++] = word;
    }
    words[count] = NULL;
    return start_words(words);
}

static char *whole_text(FILE *file) {
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = (char *)alloc_or_exit((size_t)size + 1, 1);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    fclose(file);
    return text;
}

Program *program_start(const char *format, ...) {
    va_list values;
    va_start(values, format);
    Program *program = start_line(format, values);
    va_end(values);
    return program;
}

void program_signal(const Program *program, int signal) {
    kill(program->process, signal);
}

void program_signal_rank(const Program *program, int rank, int signal) {
    char path[64], text[256] = "", *at = text;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", program->process, program->process);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    long process = 0;
    for (int i = 0; i <= rank; i++) process = strtol(at, &at, 10); // mpirun starts them in their order
    assert_true(process > 0);
    kill((pid_t)process, signal);
}

Outcome program_wait(Program *program) {
    struct timespec pause = {0, 1000000};
    int state = 0;
    bool hangs = false;
    for (int64_t waited = 0; waitpid(program->process, &state, hangs ? 0 : WNOHANG) == 0; waited++) {
        hangs = waited > LIMIT_SECONDS * INT64_C(1000);
        if (hangs) kill(program->process, SIGKILL);
        nanosleep(&pause, NULL);
    }
    Outcome outcome = {0, whole_text(program->out), whole_text(program->err)};
    outcome.status = WIFSIGNALED(state) ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
    free(program);
    if (hangs) fail_msg("the program did not end in %d s:\n%s%s", LIMIT_SECONDS, outcome.out, outcome.err);
    return outcome;
}

// ---- Whole runs

Outcome program_run_words(const char *const *words) {
    return program_wait(start_words(words));
}

Outcome program_run(const char *format, ...) {
    va_list values;
    va_start(values, format);
    Program *program = start_line(format, values);
    va_end(values);
    return program_wait(program);
}

void outcome_free(Outcome *outcome) {
    free(outcome->out);
    free(outcome->err);
}

static void show_line(const char *format, va_list values) {
    fprintf(stderr, "train_gpt_lighthouse ");
    vfprintf(stderr, format, values);
    fprintf(stderr, "\n");
}

void program_expect(int status, const char *part, const char *format, ...) {
    va_list values;
    va_start(values, format);
    Outcome outcome = program_wait(start_line(format, values));
    va_end(values);
    if (outcome.status != status || (part && !strstr(outcome.err, part))) {
        va_start(values, format);
        show_line(format, values);
        va_end(values);
        fail_msg("wanted status %d and '%s'; it ended with %d and said: %s", status, part ? part : "",
                 outcome.status, outcome.err);
    }
    outcome_free(&outcome);
}

// What a line prints, which is to end well.
static char *output_of(const char *format, va_list values) {
    va_list shown;
    va_copy(shown, values);
    Outcome outcome = program_wait(start_line(format, values));
    if (outcome.status != 0) {
        show_line(format, shown);
        fail_msg("it ended with status %d and said: %s", outcome.status, outcome.err);
    }
    va_end(shown);
    free(outcome.err);
    return outcome.out;
}

char *program_output(const char *format, ...) {
    va_list values;
    va_start(values, format);
    char *out = output_of(format, values);
    va_end(values);
    return out;
}

json_t *program_json(const char *format, ...) {
    va_list values;
    va_start(values, format);
    char *out = output_of(format, values);
    va_end(values);
    json_t *json = json_loads(out, 0, NULL);
    if (!json_is_object(json)) fail_msg("no JSON object: %s", out);
    free(out);
    return json;
}
