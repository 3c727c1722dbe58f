// export: the same model in a folder of its own, float32 or bf16, whole or not at all.
#include "core/files.h"
#include "core/json_file.h"
#include "core/safetensors.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHECKPOINT "run/step_00000008"

static int set_up(void **state) {
    if (tiny_enter(state)) return 1;
    program_expect(0, NULL, TINY_TRAIN "--out run --steps 8 --scorer gla --dense-layers none");
    return 0;
}

static double loss_of(const char *model) {
    char *text = program_output("eval --model %s --data val_*.bin", model);
    json_t *json = json_loads(text, 0, NULL);
    double loss = json_number_value(json_object_get(json, "nats_per_target"));
    json_decref(json);
    free(text);
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

static void test_refusals(void **state) {
    (void)state;
    program_expect(2, "--out is missing", "export --model run");
    program_expect(2, "--model is missing", "export --out new");
    program_expect(2, "--out run is there already", "export --model run --out run");
    program_expect(3, "nothing", "export --model nothing --out new");
    file_copy(CHECKPOINT "/config.json", "headless/config.json");
    program_expect(
        3, "headless/model.safetensors is missing: export takes a model whose weights are in that one file",
        "export --model headless --out new");
    file_copy(CHECKPOINT "/config.json", "own.tmp/config.json");  // a folder that is none of export's
    file_copy(CHECKPOINT "/config.json", ".own.tmp/config.json"); // what a killed export left
    free(program_output("export --model run --out own"));
    assert_true(file_exists("own.tmp/config.json"));
    assert_false(folder_exists(".own.tmp"));
    static const char *const names[] = {"config.json",
                                        "model.safetensors",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "trainer/state.json",
                                        "trainer/optimizer.safetensors",
                                        "trainer/gates.safetensors"};
    for (int i = 0; i < 7; i++) {
        char from[128], to[128];
        snprintf(from, sizeof from, CHECKPOINT "/%s", names[i]);
        snprintf(to, sizeof to, "damaged/step_00000008/%s", names[i]);
        file_copy(from, to);
    }
    size_t size;
    free(scratch_read("damaged/step_00000008", "model.safetensors", &size));
    scratch_flip("damaged/step_00000008", "model.safetensors", size - 5, 1);
    program_expect(3, "model.safetensors: damaged", "export --model damaged/step_00000008 --out new --bf16");
    assert_false(folder_exists("new") || folder_exists(".new.tmp"));
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("export", tests, set_up, temporary_folder_leave) ? 1 : 0;
}
