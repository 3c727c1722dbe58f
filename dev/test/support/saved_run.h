// A run with one checkpoint, of step 10, of an engine with gates: cmocka's set-up and tear-down of a test.
#ifndef TEST_SAVED_RUN_H
#define TEST_SAVED_RUN_H

#include "core/checkpoint/checkpoint.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    char *run, *folder; // of the run, and of its checkpoint
    Engine *engine;     // what it was saved from
} SavedRun;

#define SAVED_CONTEXT 2048
extern const ModelConfig saved_model;

// Makes a SavedRun and keeps it in *data; removes it.
int saved_run_enter(void **data);
int saved_run_leave(void **data);
// An entry of cmocka's table: a test that has one.
#define WITH_SAVED_RUN(test) cmocka_unit_test_setup_teardown(test, saved_run_enter, saved_run_leave)

// The state that a checkpoint of this step has; release its settings with json_decref.
TrainerState saved_state(int64_t step);
// Saves a checkpoint of this step.
void saved_run_save(Engine *engine, const char *run, int64_t step);

#ifdef __cplusplus
}
#endif
#endif
