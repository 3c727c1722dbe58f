// Options: one table that parses, validates, documents, writes and reads every setting
// (core/options/options.def).
#ifndef CORE_OPTIONS_OPTIONS_H
#define CORE_OPTIONS_OPTIONS_H

#include "core/engine/engine.h"
#include "core/options/options_fields.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

// Parses a command line, argv[1] being the command. `--help` and `--version` print and set *done.
bool options_parse(Options *options, int argc, char **argv, bool *done, Error *error);
void options_free(Options *options);

// Sets one option from text, unless a later source has set it already.
bool options_set(Options *options, int option, const char *text, Source source, Error *error);
// Sets every option that --preset names, where there is one.
bool options_apply_preset(Options *options, Error *error);

// The settings that steer a run as an object {"lr": 0.002, …}; a new reference.
json_t *options_settings(const Options *options);
// Takes settings of such an object. `what` names it in errors. Unknown keys and impossible values are errors.
bool options_read_settings(Options *options, const json_t *settings, Source source, const char *what,
                           Error *error);
// Adds what settings of before an option was there stand for, where today's default is another or a resumed
// run may not change it.
void options_complete_settings(json_t *settings);
// Refuses (status 2) paths that options_settings could not keep.
bool options_check_paths(const Options *options, Error *error);
// Says which FIXED options differ from the settings of the run to resume (status 2).
bool options_check_fixed(const Options *options, const json_t *settings, Error *error);
// Whether an option's value is that of the settings.
bool options_keeps(const Options *options, int option, const json_t *settings);
// A text "lr 0.002 -> 0.001, …" of the settings that differ, empty when none does; `group`: of those alone
// that --help lists under it, NULL for all. Release with free().
char *options_describe_changes(const Options *options, const json_t *settings, const char *group);
// A hash of the values of all options that the command takes.
uint64_t options_hash(const Options *options);

// ---- what the settings mean

ModelConfig options_model(const Options *options);
// The option of a field of model_fields.def.
int options_of_field(int field);
// False where the table refuses a value.
bool options_set_model(Options *options, const ModelConfig *model, Source source, Error *error);
LighthouseConfig options_lighthouse(const Options *options);
// Of an engine that trains: its model, hierarchy, recomputation, determinism, batch and context.
void options_engine(const Options *options, EngineConfig *config);
// Refuses (status 2) --offload where nothing waits for the backward: without --recompute block.
bool options_check_offload(const Options *options, Error *error);
// Refuses (status 2) what the command line asks of GPUs where the CPU engine computes.
bool options_check_cpu(const Options *options, Error *error);
// Refuses (status 2) what settings ask of the CPU engine alone where GPUs compute.
bool options_check_gpu(const Options *options, Error *error);
// A warning where --zero 2 was asked for and has no effect.
void options_warn_zero(const Options *options, int64_t ranks);
// Refuses (status 2) what the command line asks of Lighthouse attention and nothing would heed: all where
// there is none, unless `settings` (NULL for none) have it already, and --dilation with a scorer that has
// none.
bool options_check_lighthouse(const Options *options, bool lighthouse, const json_t *settings, Error *error);
// Parses --dense-layers "0,1,-2,-1", "none" or "all".
bool options_dense_layers(const char *list, int64_t n_layers, bool dense_layer[MODEL_MAX_LAYERS],
                          Error *error);

// Refuses (status 4) sizes far beyond any machine, whose products would not fit 64 bits: no plan can be made
// of them.
bool options_check_sizes(const Options *options, Error *error);

#ifdef __cplusplus
}
#endif
#endif
