// Model folders and checkpoints: copied, their JSON read, held against what it should be, and changed.
#ifndef TEST_FOLDERS_H
#define TEST_FOLDERS_H

#include <jansson.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

// Copies what a checkpoint has; without its folder trainer it is a model folder like any other.
void checkpoint_copy(const char *from, const char *to, bool trainer);

// A folder's config.json; release with json_decref.
json_t *config_of(const char *folder);
// Fails the test unless a member of config.json is this JSON text; "missing" stands for none.
void expect_member(const char *folder, const char *key, const char *value);
// Writes config.json into a folder, with the members of `changes` (JSON text) over its own; null removes one.
// Takes the reference.
void config_put(const char *folder, json_t *config, const char *changes);
// Makes a model folder of the weights in another, with the members of `changes` in its config.json.
void make_model(const char *from, const char *to, const char *changes);

#ifdef __cplusplus
}
#endif
#endif
