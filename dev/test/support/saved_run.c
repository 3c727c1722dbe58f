// A run with one checkpoint; see saved_run.h.
#include "saved_run.h"

#include "core/base/files.h"
#include "expect.h"
#include "fake_engine.h"
#include "scratch.h"

#include <stdlib.h>
#include <string.h>

const ModelConfig saved_model = {2, 64, 2, 1, 64, 64, 320, 10000, 1e-5};

TrainerState saved_state(int64_t step) {
    TrainerState state;
    memset(&state, 0, sizeof state);
    state.step = step;
    state.cursor = step * 4096;
    state.epoch = 3;
    state.tokens = step * 4096 + 7;
    state.attention = ATTENTION_DENSE;
    state.settings =
        json_pack("{s:f, s:s, s:[i, i]}", "lr", 0.002, "data", "train_*.bin", "dense_layers", 0, -1);
    return state;
}

void saved_run_save(Engine *engine, const char *run, int64_t step) {
    TrainerState state = saved_state(step);
    Error error;
    expect_ok(checkpoint_save(engine, run, &state, SAVED_CONTEXT, NULL, &error), &error);
    json_decref(state.settings);
}

int saved_run_enter(void **data) {
    SavedRun *f = (SavedRun *)alloc_or_exit(1, sizeof *f);
    f->run = scratch_create();
    f->engine = fake_engine_create(&saved_model, true);
    fake_engine_fill(f->engine, 1);
    saved_run_save(f->engine, f->run, 10);
    f->folder = path_join(f->run, "step_00000010");
    *data = f;
    return 0;
}

int saved_run_leave(void **data) {
    SavedRun *f = (SavedRun *)*data;
    engine_destroy(f->engine);
    scratch_remove(f->run);
    free(f->folder);
    free(f);
    return 0;
}
