// export: the same model in a folder of its own, float32 or bf16, whole or not at all.
#include "core/base/files.h"
#include "core/base/json_file.h"
#include "core/model/safetensors.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/held.h"
#include "dev/test/support/folders.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CHECKPOINT "run/step_00000008"

static int set_up(void **state) {
    if (tiny_enter(state)) return 1;
    program_expect(0, NULL, TINY_TRAIN "--out run --steps 8 --scorer gla --dense-layers none");
    return 0;
}

static double loss_of(const char *model) {
    json_t *json = program_json("eval --model %s --data val_*.bin", model);
    double loss = json_number_value(json_object_get(json, "nats_per_target"));
    json_decref(json);
    return loss;
}

static void expect_config(const char *folder, const char *type) {
    Error error;
    char *path = path_join(folder, "config.json"), *original = path_join(CHECKPOINT, "config.json");
    json_t *config = json_file_read(path, &error), *source = json_file_read(original, &error);
    if (!config || !source) fail_msg("%s", error.message);
    json_object_set_new(source, "dtype", json_string(type));
    json_object_set_new(source, "torch_dtype", json_string(type));
    assert_true(json_equal(config, source));
    json_decref(config);
    json_decref(source);
    free(path);
    free(original);
}

// Every tensor of the checkpoint, and no other; each value within a rounding of its own.
static void compare(const char *path, SafetensorsType type, double tolerance) {
    SafetensorsFile ours, theirs;
    Error error;
    if (!safetensors_open(path, &ours, &error) ||
        !safetensors_open(CHECKPOINT "/model.safetensors", &theirs, &error)) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(ours.count, theirs.count);
    for (int i = 0; i < ours.count; i++) {
        int64_t count = theirs.tensors[i].count;
        assert_string_equal(ours.tensors[i].name, theirs.tensors[i].name);
        assert_int_equal(ours.tensors[i].n_dims, theirs.tensors[i].n_dims);
        assert_int_equal(ours.tensors[i].dims[0], theirs.tensors[i].dims[0]);
        assert_int_equal(ours.tensors[i].count, count);
        assert_int_equal(ours.tensors[i].type, type);
        float *x = (float *)alloc_or_exit((size_t)count, sizeof *x);
        float *y = (float *)alloc_or_exit((size_t)count, sizeof *y);
        assert_true(safetensors_read(&ours, i, 0, count, x, &error));
        assert_true(safetensors_read(&theirs, i, 0, count, y, &error));
        for (int64_t e = 0; e < count; e++) assert_true(fabs((double)x[e] - y[e]) <= tolerance * fabs(y[e]));
        free(x);
        free(y);
    }
    safetensors_close(&ours);
    safetensors_close(&theirs);
}

static void test_export(void **state) {
    (void)state;
    double loss = loss_of("run");
    free(program_output("export --model run --out plain/"));
    expect_config("plain", "float32");
    compare("plain/model.safetensors", SAFETENSORS_F32, 0);
    assert_true(loss_of("plain") == loss);

    free(program_output("export --model " CHECKPOINT " --out half --bf16"));
    expect_config("half", "bfloat16");
    compare("half/model.safetensors", SAFETENSORS_BF16, 1.0 / 256);
    assert_true(loss_of("half") != loss);
    assert_true(fabs(loss_of("half") - loss) < 5e-3);
    assert_int_equal(scratch_count("half"), 4);
    assert_true(files_equal("half/tokenizer.json", CHECKPOINT "/tokenizer.json"));
    assert_true(files_equal("half/tokenizer_config.json", CHECKPOINT "/tokenizer_config.json"));

    // Of an exported folder, which has no tokenizer here: bf16 numbers are float32 numbers.
    assert_int_equal(remove("half/tokenizer.json"), 0);
    free(program_output("export --model half --out wide"));
    assert_int_equal(scratch_count("wide"), 3);
    assert_true(loss_of("wide") == loss_of("half"));
    free(program_output("generate --model half --prompt abc --max-bytes 3"));
}

// Tensors [first, last) of the checkpoint's, by name, as a file of their own; `index` gets its entries.
static void write_shard(const SafetensorsFile *file, int first, int last, const char *name, json_t *index) {
    SafetensorsSpec *specs = (SafetensorsSpec *)alloc_or_exit((size_t)file->count, sizeof *specs);
    char *path = path_join("sharded", name);
    Digest digest;
    Error error;
    for (int i = first; i < last; i++) {
        const SafetensorsTensor *tensor = &file->tensors[i];
        specs[i - first].name = tensor->name;
        specs[i - first].n_dims = tensor->n_dims;
        memcpy(specs[i - first].dims, tensor->dims, sizeof specs[0].dims);
        json_object_set_new(index, tensor->name, json_string(name));
    }
    SafetensorsWriter *writer = safetensors_create(path, specs, last - first, SAFETENSORS_F32, &error);
    assert_non_null(writer);
    for (int i = first; i < last; i++) {
        float *values = (float *)alloc_or_exit((size_t)file->tensors[i].count, sizeof *values);
        assert_true(safetensors_read(file, i, 0, file->tensors[i].count, values, &error));
        assert_true(safetensors_append(writer, values, file->tensors[i].count, &error));
        free(values);
    }
    assert_true(safetensors_finish(writer, &digest, &error));
    free(path);
    free(specs);
}

// A model in several files becomes one in one, the same numbers.
static void test_shards(void **state) {
    (void)state;
    SafetensorsFile file;
    Error error;
    file_copy(CHECKPOINT "/config.json", "sharded/config.json");
    assert_true(safetensors_open(CHECKPOINT "/model.safetensors", &file, &error));
    json_t *index = json_object();
    write_shard(&file, 0, 5, "model-00001-of-00002.safetensors", index);
    write_shard(&file, 5, file.count, "model-00002-of-00002.safetensors", index);
    safetensors_close(&file);
    json_t *whole = json_pack("{s:o}", "weight_map", index);
    char *text = json_dumps(whole, 0);
    json_decref(whole);
    scratch_write("sharded", "model.safetensors.index.json", text, -1);
    free(text);
    DONE("export --model sharded --out joined");
    compare("joined/model.safetensors", SAFETENSORS_F32, 0);
    assert_true(loss_of("joined") == loss_of("sharded"));
    assert_int_equal(scratch_count("joined"), 2);
    assert_int_equal(remove("sharded/model-00002-of-00002.safetensors"), 0);
    program_expect(3, "model-00002-of-00002.safetensors: is not there", "export --model sharded --out new");
    assert_false(folder_exists("new") || folder_exists(".new.tmp"));
}

// The checkpoint's weights in a folder of its own, with another first one in a tensor.
static void write_changed(const char *folder, const char *tensor, float weight) {
    SafetensorsFile file;
    Error error;
    size_t size;
    char *weights = scratch_read(CHECKPOINT, "model.safetensors", &size);
    assert_true(safetensors_open(CHECKPOINT "/model.safetensors", &file, &error));
    const SafetensorsTensor *place = &file.tensors[safetensors_find(&file, tensor)];
    memcpy(weights + place->begin, &weight, sizeof weight);
    scratch_write(folder, "model.safetensors", weights, (int64_t)size);
    safetensors_close(&file);
    free(weights);
}

static void copy_embedding_to_head(void) {
    SafetensorsFile file;
    Error error;
    size_t size;
    char *weights = scratch_read("tied", "model.safetensors", &size);
    assert_true(safetensors_open("tied/model.safetensors", &file, &error));
    const SafetensorsTensor *head = &file.tensors[safetensors_find(&file, "lm_head.weight")];
    const SafetensorsTensor *source = &file.tensors[safetensors_find(&file, "model.embed_tokens.weight")];
    memcpy(weights + head->begin, weights + source->begin, (size_t)(head->end - head->begin));
    scratch_write("tied", "model.safetensors", weights, (int64_t)size);
    safetensors_close(&file);
    free(weights);
}

// What is no number, or would be none in bf16, is not handed on.
static void test_not_finite(void **state) {
    (void)state;
    file_copy(CHECKPOINT "/config.json", "broken/config.json");
    write_changed("broken", "model.norm.weight", NAN);
    program_expect(5, "tensor 'model.norm.weight' has a weight of nan", "export --model broken --out new");
    program_expect(5, "tensor 'model.norm.weight' has a weight of nan", "info broken --verify");
    file_copy(CHECKPOINT "/config.json", "large/config.json");
    write_changed("large", "model.norm.weight", 3.4e38F);
    program_expect(5, "too large for bf16; leave out --bf16", "export --model large --out new --bf16");
    assert_false(folder_exists("new") || folder_exists(".new.lighthouse"));
    DONE("export --model large --out same");
}

// A tied model stays tied: one matrix, told once. Another head than that is refused.
static void test_tied(void **state) {
    (void)state;
    Error error;
    SafetensorsFile file;
    json_t *config = json_file_read(CHECKPOINT "/config.json", &error);
    json_object_set_new(config, "tie_word_embeddings", json_true());
    char *text = json_dumps(config, 0);
    json_decref(config);
    scratch_write("tied", "config.json", text, -1);
    free(text);
    file_copy(CHECKPOINT "/model.safetensors", "tied/model.safetensors");
    program_expect(3, "lm_head.weight is not model.embed_tokens.weight", "export --model tied --out once");
    copy_embedding_to_head();
    DONE("export --model tied --out once");
    assert_true(safetensors_open("once/model.safetensors", &file, &error));
    assert_int_equal(safetensors_find(&file, "lm_head.weight"), -1);
    safetensors_close(&file);
    assert_true(loss_of("once") == loss_of("tied"));
}

static void test_refusals(void **state) {
    (void)state;
    program_expect(2, "--out is missing", "export --model run");
    program_expect(2, "--model is missing", "export --out new");
    program_expect(2, "--out run is there already", "export --model run --out run");
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    program_expect(2, "--out dangling is there already; choose another name, as a link is not replaced",
                   "export --model run --out dangling");
    assert_int_equal(remove("dangling"), 0);
    program_expect(3, "nothing", "export --model nothing --out new");
    file_copy(CHECKPOINT "/config.json", "headless/config.json");
    program_expect(3, "headless: no model folder: neither model.safetensors nor model.safetensors.index.json",
                   "export --model headless --out new");
    file_copy(CHECKPOINT "/config.json", "own.tmp/config.json");         // a folder that is none of export's
    file_copy(CHECKPOINT "/config.json", ".own.lighthouse/config.json"); // what a killed export left
    free(program_output("export --model run --out own"));
    assert_true(file_exists("own.tmp/config.json"));
    assert_false(folder_exists(".own.lighthouse"));
    checkpoint_copy(CHECKPOINT, "damaged/step_00000008", true);
    size_t size;
    free(scratch_read("damaged/step_00000008", "model.safetensors", &size));
    scratch_flip("damaged/step_00000008", "model.safetensors", size - 5, 1);
    program_expect(3, "model.safetensors: damaged", "export --model damaged/step_00000008 --out new --bf16");
    assert_false(folder_exists("new") || folder_exists(".new.lighthouse"));
}

// ---- While one is at work

// An export that stands still before it has written anything into its hidden folder.
static Program *start_held_export(const char *name) {
    Program *program =
        held_before(name, 0, "/.busy.lighthouse/", HELD_TILL_TOLD, "export --model run --out busy");
    assert_true(scratch_count(".busy.lighthouse") > 0);
    return program;
}

// The second is refused, and takes nothing from the first.
static void test_two_at_a_time(void **state) {
    (void)state;
    Program *program = start_held_export("first");
    program_expect(2, "another `export` is writing to busy: wait for it", "export --model run --out busy");
    held_go("first");
    Outcome outcome = program_wait(program);
    assert_int_equal(outcome.status, 0);
    outcome_free(&outcome);
    compare("busy/model.safetensors", SAFETENSORS_F32, 0);
    assert_int_equal(scratch_count("busy"), 4);
    assert_false(folder_exists(".busy.lighthouse"));
    Error error;
    assert_true(tree_remove("busy", &error));
}

// A signal leaves nothing; what a kill leaves, the next one removes.
static void test_ended(void **state) {
    (void)state;
    Program *program = start_held_export("stopped");
    program_signal(program, SIGTERM);
    Outcome outcome = program_wait(program);
    assert_int_equal(outcome.status, 128 + SIGTERM);
    expect_part(outcome.err, "no model is made, and what was begun is removed");
    outcome_free(&outcome);
    assert_false(folder_exists("busy") || folder_exists(".busy.lighthouse"));

    program = start_held_export("killed");
    program_signal(program, SIGKILL);
    outcome = program_wait(program);
    outcome_free(&outcome);
    assert_true(folder_exists(".busy.lighthouse"));
    scratch_write(".busy.lighthouse", "model-old.safetensors", "torn", -1);
    DONE("export --model run --out busy");
    assert_int_equal(scratch_count("busy"), 4);
    assert_false(folder_exists(".busy.lighthouse"));
    Error error;
    assert_true(tree_remove("busy", &error));
}

int main(void) {
    program_find();
    held_find();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export),   cmocka_unit_test(test_shards),
        cmocka_unit_test(test_tied),     cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_two_at_a_time),
        cmocka_unit_test(test_ended),
    };
    return cmocka_run_group_tests_name("export", tests, set_up, temporary_folder_leave) ? 1 : 0;
}
