// A training run small enough for tests: its data, its options, and what its folder holds.
#ifndef TEST_TINY_RUN_H
#define TEST_TINY_RUN_H

#include "temporary_folder.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TINY_CONTEXT   768
#define TINY_SEQUENCES 5 // of the training data: an epoch ends within a step of two

// A whole run but for --out and --steps; options behind it replace those of the file.
#define TINY_TRAIN "train --config tiny.json "

// Writes train_0.bin, train_1.bin and val_0.bin into the present folder, the alphabet over and over in
// documents of unlike lengths, and tiny.json.
void tiny_files(void);
// A test's set-up: a temporary folder with these files.
int tiny_enter(void **state);
// An entry of cmocka's table: a test that runs in such a folder.
#define IN_TINY_FOLDER(test) cmocka_unit_test_setup_teardown(test, tiny_enter, temporary_folder_leave)

// Fails the test unless the checkpoints of both runs after `step` updates hold the same bits: weights,
// moments, and whatever gates there are.
void expect_same_checkpoint(const char *run, const char *other, int64_t step);
// Fails the test unless both logs have the same steps 1 ... `steps`, each once and in order, with the same
// tokens, loss, gradient norm, learning rate and attention.
void expect_same_steps(const char *run, const char *other, int64_t steps);

// All lines of a run's log as an array; fails the test where a line is torn or no JSON. Release with
// json_decref.
json_t *tiny_log(const char *run);
// The lines of its steps alone.
json_t *tiny_steps(const char *run);
// The n-th line (from 0) of an event, in a log; NULL where there are fewer.
json_t *tiny_event(const json_t *log, const char *event, int n);
// What a line holds, which fails the test where it is missing or of another type.
int64_t line_integer(const json_t *line, const char *key);
const char *line_text(const json_t *line, const char *key);
double line_number(const json_t *line, const char *key);
// Waits until a run that goes on in another process has logged a step; false when it takes too long.
bool tiny_wait(const char *run, int64_t step);
// Likewise, until its log holds a text; an empty one: until there is a log, and the first update begins.
bool tiny_wait_for(const char *run, const char *wanted);
// Likewise, until its checkpoint of a step is there: saving goes on beside the updates that follow.
bool tiny_wait_saved(const char *run, int64_t step);

// Makes the model folder `scaled` from another (or of itself), every weight of one tensor times `factor`.
void tiny_scale(const char *model, const char *scaled, const char *tensor, float factor);

// Copies a file, making folders on the way.
void file_copy(const char *from, const char *to);
// Whether two files hold the same bytes.
bool files_equal(const char *one, const char *other);

#ifdef __cplusplus
}
#endif
#endif
