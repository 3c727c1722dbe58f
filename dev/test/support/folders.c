// Model folders and checkpoints; see folders.h.
#include "folders.h"

#include "core/base/files.h"
#include "core/base/json_file.h"
#include "core/checkpoint/trainer_state.h"
#include "scratch.h"
#include "tiny_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void copy_if_there(const char *from, const char *to, const char *name) {
    char *source = path_join(from, name), *target = path_join(to, name);
    if (file_exists(source)) file_copy(source, target);
    free(source);
    free(target);
}

void checkpoint_copy(const char *from, const char *to, bool trainer) {
    for (int i = 0; i < CHECKPOINT_FILES; i++) {
        bool of_trainer = strncmp(checkpoint_file_names[i], "trainer/", 8) == 0;
        if (trainer || !of_trainer) copy_if_there(from, to, checkpoint_file_names[i]);
    }
    if (trainer) copy_if_there(from, to, STATE_FILE_NAME);
}

json_t *config_of(const char *folder) {
    Error error;
    char *path = path_join(folder, "config.json");
    json_t *config = json_file_read(path, &error);
    if (!config) fail_msg("%s", error.message);
    free(path);
    return config;
}

void expect_member(const char *folder, const char *key, const char *value) {
    json_t *config = config_of(folder);
    char *text = json_dumps(json_object_get(config, key), JSON_ENCODE_ANY | JSON_COMPACT);
    if (strcmp(text ? text : "missing", value) != 0)
        fail_msg("%s: %s is %s, not %s", folder, key, text ? text : "missing", value);
    free(text);
    json_decref(config);
}

void config_put(const char *folder, json_t *config, const char *changes) {
    json_t *change = json_loads(changes, 0, NULL), *value;
    assert_non_null(change);
    const char *key;
    json_object_foreach(change, key, value) {
        if (json_is_null(value)) {
            json_object_del(config, key);
        } else {
            json_object_set(config, key, value);
        }
    }
    char *text = json_dumps(config, 0);
    scratch_write(folder, "config.json", text, -1);
    free(text);
    json_decref(config);
    json_decref(change);
}

void make_model(const char *from, const char *to, const char *changes) {
    char path[2][256];
    config_put(to, config_of(from), changes);
    snprintf(path[0], sizeof path[0], "%s/model.safetensors", from);
    snprintf(path[1], sizeof path[1], "%s/model.safetensors", to);
    file_copy(path[0], path[1]);
}
