// Gates of the scorer gla; see gates.h.
#include "core/checkpoint/gates.h"

#include "core/checkpoint/checkpoint.h"
#include "core/base/files.h"
#include "core/checkpoint/open_engine.h"
#include "core/checkpoint/tensor_set.h"

#include <stdlib.h>
#include <string.h>

static bool has_file(const char *folder) {
    char *path = path_join(folder, checkpoint_file_names[FILE_GATES]);
    bool has = file_exists(path);
    free(path);
    return has;
}

// Whether a folder is a checkpoint that has gates, or is of a run whose seed draws the very ones: dense
// stages did not keep theirs at first.
static bool gates_known(const char *folder, bool *known, Error *error) {
    *known = has_file(folder);
    if (*known || !model_is_checkpoint(folder)) return true;
    TrainerState state;
    if (!checkpoint_read_state(folder, &state, error)) return false;
    const char *scorer = json_string_value(json_object_get(state.settings, "scorer"));
    int row;
    *known = scorer && choice_find(SCORER_CHOICES, scorer, &row) && SCORER_TABLE[row].gates;
    json_decref(state.settings);
    return true;
}

bool gates_check(const char *folder, const char *instead, Error *error) {
    bool known;
    if (!gates_known(folder, &known, error)) return false;
    return known ||
           error_set(error, STATUS_USAGE,
                     "%s has no gates of the scorer gla, which a run draws at its beginning and keeps in "
                     "its checkpoints (exports have none); %s",
                     folder, instead);
}

bool gates_load(Engine *engine, const char *folder, Error *error) {
    if (engine->table.frozen_size == 0 || !has_file(folder)) return true;
    char *path = path_join(folder, checkpoint_file_names[FILE_GATES]);
    TensorSet set = tensor_set_frozen(&engine->table);
    SafetensorsFile file;
    bool ok = safetensors_open(path, &file, error);
    if (ok) {
        ok = tensor_set_match(&set, &file, 1, NULL, error) &&
             tensor_set_load(&set, &file, engine, NULL, error);
        safetensors_close(&file);
    }
    tensor_set_free(&set);
    free(path);
    return ok;
}
