// The built program, run in the present folder by tests: its output and exit status, and its runs' files.
//
// The program is train_gpt_lighthouse in the folder that the environment variable BUILD names (default:
// build). It runs on the CPU engine, with one thread unless program_threads says otherwise.
#ifndef TEST_PROGRAM_H
#define TEST_PROGRAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int status; // exit status; 128 + signal where one ended it
    char *out;  // standard output and standard error, as text
    char *err;
} Outcome;

// Finds the program while the test is still in the folder it was started in; call it first in main.
void program_find(void);

// Threads of the programs started from here on.
void program_threads(int count);

// Programs started from here on are this many ranks under mpirun; 1 starts them by themselves. A word ":" in
// their line begins the words of one rank more. `worker`: build/rank_worker instead of the program.
void program_ranks(int count, bool worker);

// Runs the program with the words of a formatted line, which are parted by blanks, and waits for its end.
Outcome program_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
// The same with words as they are; NULL ends them.
Outcome program_run_words(const char *const *words);
void outcome_free(Outcome *outcome);

// Runs it and holds it against the status, and against a part of its standard error (NULL for any). On a miss
// the test fails and shows both.
void program_expect(int status, const char *part, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Runs it, and expects status 0.
#define DONE(...) program_expect(0, NULL, __VA_ARGS__)
// Runs it, expects status 0, and gives its standard output; release with free().
char *program_output(const char *format, ...) __attribute__((format(printf, 1, 2)));
// The same where it prints one JSON object; release with json_decref.
json_t *program_json(const char *format, ...) __attribute__((format(printf, 1, 2)));

// A program that runs beside the test.
typedef struct Program Program;
Program *program_start(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Programs started from here on ignore SIGHUP, as under nohup, or not, as is the rule.
void program_hangup(bool ignored);

void program_signal(const Program *program, int signal);
// Sends a signal to one rank of a program under mpirun.
void program_signal_rank(const Program *program, int rank, int signal);
// Waits for the end and releases it.
Outcome program_wait(Program *program);

#ifdef __cplusplus
}
#endif
#endif
