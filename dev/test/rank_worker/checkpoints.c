// Checkpoints that several ranks write and read together, in the present folder; see worker.h.
#include "core/checkpoint/checkpoint.h"
#include "core/base/files.h"
#include "dev/test/rank_worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What element i of a tensor is set to.
static float value_of(TensorKind kind, int param, int64_t i) {
    return (float)((i * 7 + param * 131 + (int)kind * 17) % 4093) / 64 - 20;
}

// Every element that this engine's rank may write.
static void fill(Engine *engine, float *values) {
    const Ranks *ranks = engine->config.ranks;
    static const TensorKind kinds[] = {TENSOR_WEIGHT, TENSOR_MOMENT1, TENSOR_MOMENT2};
    for (int k = 0; k < 3; k++) {
        for (int p = 0; p < engine->table.count; p++) {
            const Param *param = &engine->table.params[p];
            int64_t start = 0, count = param_size(param);
            if (kinds[k] != TENSOR_WEIGHT && !param->trained) continue;
            if (kinds[k] != TENSOR_WEIGHT)
                param_share(&engine->table, param, ranks ? ranks->rank : 0, &start, &count);
            for (int64_t i = 0; i < count; i++) values[i] = value_of(kinds[k], p, start + i);
            if (count > 0) engine_write(engine, kinds[k], p, start, count, values);
        }
    }
}

// Every element of this rank's share is what `fill` wrote.
static void check(Ranks *ranks, Engine *engine, float *values, const char *what) {
    static const TensorKind kinds[] = {TENSOR_WEIGHT, TENSOR_MOMENT1, TENSOR_MOMENT2};
    for (int k = 0; k < 3; k++) {
        for (int p = 0; p < engine->table.count; p++) {
            const Param *param = &engine->table.params[p];
            if (kinds[k] != TENSOR_WEIGHT && !param->trained) continue;
            int64_t start, count;
            param_share(&engine->table, param, engine->config.ranks ? ranks->rank : 0, &start, &count);
            if (count > 0) engine_read(engine, kinds[k], p, start, count, values);
            for (int64_t i = 0; i < count; i++) {
                expect(ranks, values[i] == value_of(kinds[k], p, start + i), "%s: element %d of %s is %f",
                       what, (int)(start + i), param->name, (double)values[i]);
            }
        }
    }
}

static void expect_same_file(Ranks *ranks, const char *name) {
    Digest one = {0, 0}, other = {0, 0};
    Error error;
    char path[2][256];
    snprintf(path[0], sizeof path[0], "alone/step_00000004/%s", name);
    snprintf(path[1], sizeof path[1], "together/step_00000004/%s", name);
    expect(ranks, digest_file(path[0], &one, &error) && digest_file(path[1], &other, &error), "%s",
           error.message);
    expect(ranks, one.size == other.size && one.xxh3 == other.xxh3, "%s differs", name);
}

// Changes one byte of a file.
static bool damage(const char *path) {
    FILE *file = fopen(path, "r+b");
    if (!file) return false;
    bool written = fseek(file, 5000, SEEK_SET) == 0 && fputc(1, file) == 1;
    return fclose(file) == 0 && written;
}

static void expect_refused(Ranks *ranks, Engine *engine, const char *part) {
    Error error;
    expect(ranks, !checkpoint_load(engine, "together/step_00000004", &error),
           "a damaged checkpoint was loaded");
    expect(ranks, error.status == STATUS_DATA && strstr(error.message, part) && ranks->agreed, "told: %s",
           error.message);
    ranks->agreed = false;
}

void scenario_checkpoint(Ranks *ranks, const Subject *subject) {
    static const ModelConfig model = {2, 72, 4, 2, 64, 88, 264, 10000, 1e-5};
    static const LighthouseConfig lighthouse = {SCORER_GLA, 2, 2, 256, 4};
    EngineConfig config;
    Error error;
    memset(&config, 0, sizeof config);
    config.model = model;
    config.lighthouse = lighthouse;
    config.use_lighthouse = config.training = true;
    config.batch = 1;
    config.context = 512;
    Engine *alone = subject->engine->create(&config, &error);
    config.ranks = ranks;
    Engine *together = subject->engine->create(&config, &error);
    expect(ranks, alone && together, "%s", error.message);
    float *values = (float *)alloc_or_exit((size_t)(264 * 88), sizeof *values);
    TrainerState state;
    memset(&state, 0, sizeof state);
    state.step = 4;
    state.settings = json_object();

    fill(together, values);
    expect(ranks, checkpoint_save(together, "together", &state, 512, NULL, &error), "%s", error.message);
    if (ranks->rank == 0) {
        fill(alone, values);
        expect(ranks, checkpoint_save(alone, "alone", &state, 512, NULL, &error), "%s", error.message);
        expect_same_file(ranks, "model.safetensors");
        expect_same_file(ranks, "trainer/optimizer.safetensors");
        expect_same_file(ranks, "trainer/gates.safetensors");
        expect_same_file(ranks, "trainer/state.json");
        engine_destroy(alone);
        config.ranks = NULL;
        alone = subject->engine->create(&config, &error);
        expect(ranks, checkpoint_load(alone, "together/step_00000004", &error), "%s", error.message);
        check(ranks, alone, values, "one rank reads several's");
    }
    ranks_agree(ranks, true, &error);
    engine_destroy(together);
    config.ranks = ranks;
    together = subject->engine->create(&config, &error);
    expect(ranks, checkpoint_load(together, "alone/step_00000004", &error), "%s", error.message);
    check(ranks, together, values, "several ranks read one's");

    // A damaged file is found by the rank that verifies it, and told to all.
    if (ranks->rank == 0) {
        expect(ranks, damage("together/step_00000004/trainer/optimizer.safetensors"), "damage");
    }
    ranks_agree(ranks, true, &error);
    expect_refused(ranks, together, "damaged");
    json_decref(state.settings);
    engine_destroy(alone);
    engine_destroy(together);
    free(values);
}
