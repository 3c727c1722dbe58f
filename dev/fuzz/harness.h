// Fuzzing: one harness for each reader of files, or words, from strangers.
//
// A harness gives bytes to a reader as a user would, in an empty folder of its own, and asks it to take them
// or to refuse them with one clean line; the sanitizers watch for all else. libFuzzer (fuzzer.c) makes the
// bytes up; dev/test/base/test_fuzz.c gives every harness its seeds and past crashes again, without clang.
#ifndef FUZZ_HARNESS_H
#define FUZZ_HARNESS_H

#include "core/engine/engine.h"
#include "core/pack/pack.h"

#include <jansson.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *name; // of its folders in corpus/ and crashes/
    void (*run)(const char *folder, const uint8_t *data, size_t size);
    // Makes lengths and checksums right again where a mutation has made them wrong: nothing behind them would
    // ever be reached. `choice` is a random number. Gives the new size, `room` at most. NULL where the format
    // has none.
    size_t (*mend)(uint8_t *data, size_t size, size_t room, unsigned choice);
} Harness;

#define FUZZ_HARNESSES 12
extern const Harness fuzz_harnesses[FUZZ_HARNESSES];

// NULL for an unknown name.
const Harness *fuzz_harness(const char *name);

// Runs a harness on one input, in a fresh folder that is gone afterwards. Ends the program where the reader
// kept a file open.
void fuzz_run(const Harness *harness, const uint8_t *data, size_t size);

// A mutation that leaves a text whole: puts another number in place of one that stands in it, chosen by the
// random number `choice`. Gives the new size, `room` at most.
size_t fuzz_change_number(uint8_t *data, size_t size, size_t room, unsigned choice);

// ---- What harnesses are made of (harness.c)

// Ends the program as a crash does: what a reader must never do has happened.
void fuzz_must(bool holds, const char *what);
// A refusal has a status for it and a message of one line. Clears the error.
void fuzz_refused(Error *error);

// Writes folder/name and the folders on the way.
void fuzz_write(const char *folder, const char *name, const void *data, size_t size);
// An input of several files: each begins with a line "@@ NAME", NAME one of the list, which NULL ends. Bytes
// before the first such line belong to none; of files with one name the last counts.
void fuzz_unpack(const char *folder, const char *const *names, const uint8_t *data, size_t size);
// Packs one input into small shards, in order, on one thread.
PackConfig fuzz_pack_config(const char **input, const char *out);
// Plans an engine and looks whether it fits into a gigabyte, as every command does before it makes one.
void fuzz_plan(const EngineConfig *config);

// The smallest model, and weights of it (all zero) as a new file.
extern const ModelConfig fuzz_small_model;
void fuzz_write_weights(const char *folder, const char *name);

// ---- The harnesses, one a file

void fuzz_shard(const char *folder, const uint8_t *data, size_t size);
size_t fuzz_shard_mend(uint8_t *data, size_t size, size_t room, unsigned choice);
void fuzz_safetensors(const char *folder, const uint8_t *data, size_t size);
size_t fuzz_safetensors_mend(uint8_t *data, size_t size, size_t room, unsigned choice);
void fuzz_config(const char *folder, const uint8_t *data, size_t size);
void fuzz_tokenizer(const char *folder, const uint8_t *data, size_t size);
void fuzz_model(const char *folder, const uint8_t *data, size_t size);
void fuzz_state(const char *folder, const uint8_t *data, size_t size);
size_t fuzz_state_mend(uint8_t *data, size_t size, size_t room, unsigned choice);
// A checkpoint's state as its file has it, under a hash that is right; release with free().
char *fuzz_state_text(json_t *state, size_t *size);
void fuzz_settings(const char *folder, const uint8_t *data, size_t size);
void fuzz_log(const char *folder, const uint8_t *data, size_t size);
void fuzz_report(const char *folder, const uint8_t *data, size_t size);
void fuzz_documents(const char *folder, const uint8_t *data, size_t size);
void fuzz_ids(const char *folder, const uint8_t *data, size_t size);
void fuzz_words(const char *folder, const uint8_t *data, size_t size);

#ifdef __cplusplus
}
#endif
#endif
