// Step times on paper against those that were measured (dev/results, the argument), and what more ranks
// change.
#include "core/cost/predict.h"

#include "core/cost/traffic.h"
#include "core/options/options.h"
#include "dev/test/support/program.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STEP_ALLOWED  0.1  // of the measured time
#define LAYER_ALLOWED 0.15 // a layer by itself keeps the GPU cooler than a step does

static const char *results;

// A preset as `bench` and `train` have it, in one micro-step of `batch`.
static EngineConfig configure(const char *preset, int64_t batch) {
    const char *words[] = {"test", "train", "--preset", preset, NULL};
    Options options;
    EngineConfig config;
    Error error;
    bool done;
    memset(&config, 0, sizeof config);
    assert_true(options_parse(&options, 4, (char **)words, &done, &error) &&
                options_apply_preset(&options, &error));
    config.model = options_model(&options);
    config.lighthouse = options_lighthouse(&options);
    config.use_lighthouse = config.training = true;
    config.batch = batch;
    config.context = options.seq_len;
    config.micro_steps = 1;
    assert_true(options_dense_layers(options.dense_layers, options.layers, config.dense_layer, &error));
    options_free(&options);
    return config;
}

static void expect_near(double predicted, double measured, double allowed, const char *what) {
    if (fabs(predicted / measured - 1) <= allowed) return;
    fail_msg("%s: predicted %.6g, measured %.6g", what, predicted, measured);
}

// The lines of a file below dev/results.
static json_t *read_lines(const char *name) {
    char path[4096], line[8192];
    snprintf(path, sizeof path, "%s/%s", results, name);
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s cannot be opened", path);
    json_t *rows = json_array();
    while (fgets(line, sizeof line, file)) json_array_append_new(rows, json_loads(line, 0, NULL));
    fclose(file);
    return rows;
}

static const char *text_of(const json_t *row, const char *key) {
    return json_string_value(json_object_get(row, key));
}

static double number_of(const json_t *row, const char *key) {
    return json_number_value(json_object_get(row, key));
}

// ---- one GPU

// Every step of `bench step`, and each part that takes more than a hundredth of it.
static void test_measured_steps(void **state) {
    (void)state;
    json_t *rows = read_lines("bench/step.jsonl"), *row;
    size_t i;
    int steps = 0, parts = 0;
    Prediction p = {{0}, 0, 0};
    double step = 0;
    json_array_foreach(rows, i, row) {
        const char *name = text_of(row, "name"), *attention = text_of(row, "attention");
        double measured = number_of(row, "ms") / 1e3;
        if (!attention) continue;
        if (strcmp(name, "step") == 0) {
            EngineConfig config = configure(text_of(row, "preset"), (int64_t)number_of(row, "batch"));
            assert_int_equal(config.context, (int64_t)number_of(row, "seq_len"));
            bool dense = strcmp(attention, "dense") == 0;
            p = predict_update(&config, dense ? ATTENTION_DENSE : ATTENTION_LIGHTHOUSE, &LINKS_ASSUMED, 8);
            expect_near(p.total, measured, STEP_ALLOWED, "a step");
            step = measured;
            steps++;
        }
        for (int part = 0; part < PART_COUNT; part++) {
            if (strcmp(name, part_name((Part)part)) != 0 || measured < step / 100) continue;
            expect_near(p.parts[part], measured, STEP_ALLOWED, name);
            parts++;
        }
    }
    json_decref(rows);
    assert_true(steps >= 3 && parts >= 13); // 530m under both attentions, 270m
}

// Every layer of `bench attention`.
static void test_measured_layers(void **state) {
    (void)state;
    json_t *rows = read_lines("bench/attention.jsonl"), *row;
    size_t i;
    int layers = 0;
    json_array_foreach(rows, i, row) {
        const char *name = text_of(row, "name"), *scorer = text_of(row, "scorer");
        bool lighthouse = strcmp(name, "lighthouse forward+backward") == 0;
        if (!lighthouse && strcmp(name, "dense forward+backward") != 0) continue;
        EngineConfig config = configure("530m", (int64_t)number_of(row, "batch"));
        config.context = (int64_t)number_of(row, "seq_len");
        if (lighthouse) {
            config.lighthouse.levels = (int64_t)number_of(row, "levels");
            config.lighthouse.topk = (int64_t)number_of(row, "topk");
            config.lighthouse.scorer = strcmp(scorer, "norm") == 0      ? SCORER_NORM
                                       : strcmp(scorer, "dilated") == 0 ? SCORER_DILATED
                                                                        : SCORER_GLA;
        }
        expect_near(predict_attention(&config, lighthouse), number_of(row, "ms") / 1e3, LAYER_ALLOWED, name);
        layers++;
    }
    json_decref(rows);
    assert_true(layers >= 6); // three scorers and dense at 98,304 tokens; 524,288; 1,048,576
}

// `bench attention` and `bench step --preset small` by context. Below these lengths kernels take less time
// than starting them.
static void test_measured_growth(void **state) {
    (void)state;
    json_t *rows = read_lines("bench/growth.jsonl"), *row;
    size_t i;
    int layers = 0, steps = 0;
    json_array_foreach(rows, i, row) {
        const char *name = text_of(row, "name"), *attention = text_of(row, "attention");
        double measured = number_of(row, "ms") / 1e3;
        int64_t context = (int64_t)number_of(row, "seq_len");
        bool layer = strstr(name, "forward+backward") != NULL, step = strcmp(name, "step") == 0;
        EngineConfig config = configure(step ? "small" : "530m", 1);
        config.context = context;
        config.lighthouse.topk = layer && name[0] == 'l' ? (int64_t)number_of(row, "topk") : context / 64;
        config.recompute = json_is_true(json_object_get(row, "recompute"));
        if (layer && name[0] == 'l') config.lighthouse.levels = (int64_t)number_of(row, "levels");
        if (layer && context >= 65536) {
            expect_near(predict_attention(&config, name[0] == 'l'), measured, LAYER_ALLOWED, name);
            layers++;
        }
        if (step && context >= 16384) {
            bool dense = strcmp(attention, "dense") == 0;
            Prediction p =
                predict_update(&config, dense ? ATTENTION_DENSE : ATTENTION_LIGHTHOUSE, &LINKS_ASSUMED, 8);
            expect_near(p.total, measured, STEP_ALLOWED, attention);
            steps++;
        }
    }
    json_decref(rows);
    assert_true(layers >= 11 && steps >= 14);
}

static int rising(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Whole runs: the median step under one attention in a log.
static void expect_run(const char *log, const EngineConfig *config, Attention attention) {
    json_t *rows = read_lines(log), *row;
    double *seconds = (double *)alloc_or_exit(json_array_size(rows), sizeof *seconds);
    size_t i, count = 0;
    const char *name = attention == ATTENTION_DENSE ? "dense" : "lighthouse";
    json_array_foreach(rows, i, row) {
        if (!json_object_get(row, "tok_per_s") || strcmp(text_of(row, "attention"), name) != 0) continue;
        seconds[count++] = number_of(row, "seconds");
    }
    assert_true(count >= 2);
    qsort(seconds, count, sizeof *seconds, rising);
    expect_near(predict_update(config, attention, &LINKS_ASSUMED, 8).total, seconds[count / 2], STEP_ALLOWED,
                log);
    free(seconds);
    json_decref(rows);
}

static void test_measured_runs(void **state) {
    (void)state;
    EngineConfig config = configure("530m", 1);
    expect_run("530m/log.jsonl", &config, ATTENTION_LIGHTHOUSE);
    expect_run("530m/log.jsonl", &config, ATTENTION_DENSE);
    config.context = 1048576;
    config.lighthouse.levels = 4;
    config.lighthouse.topk = 4096;
    config.recompute = true;
    expect_run("million/million_default.jsonl", &config, ATTENTION_LIGHTHOUSE);
    memset(config.dense_layer, 0, sizeof config.dense_layer);
    expect_run("million/million_none.jsonl", &config, ATTENTION_LIGHTHOUSE);
    config = configure("small", 4);
    expect_run("small/dense.jsonl", &config, ATTENTION_DENSE);
    expect_run("small/lighthouse_seed1.jsonl", &config, ATTENTION_LIGHTHOUSE);
}

// ---- more ranks

static double computing(const Prediction *p) {
    return p->total - p->communication;
}

static Prediction of_ranks_under(Attention attention, EngineConfig *config, int64_t size,
                                 int64_t context_size, int per_host) {
    static Ranks ranks;
    Error error;
    ranks_imagine(&ranks, size, per_host);
    assert_true(ranks_split(&ranks, context_size, &error));
    config->ranks = &ranks;
    return predict_update(config, attention, &LINKS_ASSUMED, ranks.local_size);
}

static Prediction of_ranks(EngineConfig *config, int64_t size, int64_t context_size, int per_host) {
    return of_ranks_under(ATTENTION_LIGHTHOUSE, config, size, context_size, per_host);
}

// `bench step --preset 530m` of two GPUs, on sequences of their own and on slices. No rate was taken from
// there.
static void test_measured_ranks(void **state) {
    (void)state;
    json_t *rows = read_lines("ranks/step.jsonl"), *row;
    size_t i;
    int steps = 0;
    json_array_foreach(rows, i, row) {
        int64_t size = (int64_t)number_of(row, "ranks");
        if (size < 2 || strcmp(text_of(row, "name"), "step") != 0) continue;
        EngineConfig config = configure("530m", 1);
        config.context = (int64_t)number_of(row, "seq_len");
        config.lighthouse.topk = config.context / 64;
        config.recompute = json_is_true(json_object_get(row, "recompute"));
        if (config.context == 1048576) {
            config.lighthouse.levels = 4;
            config.lighthouse.topk = 4096;
            memset(config.dense_layer, 0, sizeof config.dense_layer);
        }
        bool dense = strcmp(text_of(row, "attention"), "dense") == 0;
        Prediction p = of_ranks_under(dense ? ATTENTION_DENSE : ATTENTION_LIGHTHOUSE, &config, size,
                                      (int64_t)number_of(row, "cp"), 8);
        expect_near(p.total, number_of(row, "ms") / 1e3, STEP_ALLOWED, "a step of two ranks");
        steps++;
    }
    json_decref(rows);
    assert_int_equal(steps, 5);
}

// Of key/value heads fewer than ranks each rank gets a copy: as many bytes as of a head for each.
static void test_copied_heads(void **state) {
    (void)state;
    EngineConfig config = configure("530m", 1);
    Ranks ranks;
    Error error;
    double bytes[4] = {0};
    static const int64_t kv_heads[] = {1, 2, 4, 8};
    ranks_imagine(&ranks, 4, 8);
    assert_true(ranks_split(&ranks, 4, &error));
    config.ranks = &ranks;
    for (int i = 0; i < 4; i++) {
        config.model.n_kv_heads = kv_heads[i];
        bytes[i] = traffic_update(&config, ATTENTION_DENSE, 1, &TRANSPORT_CUDA).attention;
    }
    assert_true(bytes[0] == bytes[2] && bytes[1] == bytes[2] && bytes[3] == bytes[2] * (8 + 8) / (8 + 4));
}

static void test_more_ranks(void **state) {
    (void)state;
    EngineConfig config = configure("530m", 1);
    Prediction one = of_ranks(&config, 1, 1, 8);
    assert_true(one.communication == 0);
    Prediction eight = of_ranks(&config, 8, 1, 8); // as much work each, but for the shares of the optimizer
    assert_true(fabs(computing(&eight) + one.parts[PART_OPTIMIZER] * 7 / 8 - computing(&one)) < 1e-9);
    assert_true(eight.communication > 0 && eight.communication < 0.05 * eight.total);
    Prediction sliced = of_ranks(&config, 8, 4, 8);
    assert_true(fabs(sliced.parts[PART_PRODUCTS] * 4 / one.parts[PART_PRODUCTS] - 1) < 1e-9);
    assert_true(sliced.communication > eight.communication);
    Prediction apart = of_ranks(&config, 8, 4, 1); // each on a host of its own
    assert_true(apart.communication > 3 * sliced.communication);
    assert_true(of_ranks(&config, 1024, 1, 8).communication > 10 * eight.communication);

    config.micro_steps = 4; // the sums come once an update
    Prediction longer = of_ranks(&config, 8, 1, 8);
    assert_true(fabs(longer.parts[PART_HEAD] / one.parts[PART_HEAD] - 4) < 1e-9);
    assert_true(longer.communication == eight.communication);
}

// Shares of gradients: sums of a single micro-step cost nothing more where links are fast, those of several
// hide behind their backward and the next forward, and slow links let all of them wait.
static void test_shares(void **state) {
    (void)state;
    EngineConfig config = configure("530m", 1);
    double kept = of_ranks(&config, 8, 1, 8).communication, slow = of_ranks(&config, 8, 1, 1).communication;
    config.share_gradients = true;
    assert_true(of_ranks(&config, 8, 1, 8).communication == kept);
    assert_true(of_ranks(&config, 8, 1, 1).communication >= slow);
    config.micro_steps = 4;
    assert_true(of_ranks(&config, 8, 1, 8).communication == kept);
    config.context = 4096; // a short pass hides nothing
    config.lighthouse.topk = 256;
    config.share_gradients = false;
    double once = of_ranks(&config, 8, 1, 1).communication;
    config.share_gradients = true;
    double often = of_ranks(&config, 8, 1, 1).communication;
    if (!(often > 2 * once)) fail_msg("%g s of waiting with four sums, %g s with one", often, once);
    // The head's sum takes longer than a layer: the next but one waits for its place.
    config.context = 16384;
    config.micro_steps = 1;
    double single = of_ranks(&config, 8, 1, 1).communication;
    config.share_gradients = false;
    once = of_ranks(&config, 8, 1, 1).communication;
    if (!(single > 1.01 * once)) fail_msg("%g s of waiting with two places, %g s with all", single, once);
}

// Rows that are made again cost their forward once more.
static void test_recompute(void **state) {
    (void)state;
    EngineConfig config = configure("530m", 1);
    Prediction kept = predict_update(&config, ATTENTION_DENSE, &LINKS_ASSUMED, 8);
    config.recompute = true;
    Prediction again = predict_update(&config, ATTENTION_DENSE, &LINKS_ASSUMED, 8);
    double ratio = again.parts[PART_DENSE_ATTENTION] / kept.parts[PART_DENSE_ATTENTION];
    assert_true(ratio > 1.25 && ratio < 1.3 && again.parts[PART_HEAD] == kept.parts[PART_HEAD]);
}

// What is offloaded is hidden by the layers, but where these are over sooner.
static void test_offload(void **state) {
    (void)state;
    EngineConfig config = configure("8b", 1);
    config.context = 1048576;
    config.recompute = true;
    Prediction kept = of_ranks_under(ATTENTION_DENSE, &config, 4, 4, 8);
    config.offload_activations = true;
    Prediction offloaded = of_ranks_under(ATTENTION_DENSE, &config, 4, 4, 8);
    assert_true(kept.parts[PART_HOST] == 0 && offloaded.total == kept.total);
    // An input is 2 D bytes a row, a block that hardly computes less than that.
    config.model.n_heads = config.model.n_kv_heads = 4;
    config.model.ffn_dim = 8;
    config.context = 16384;
    Prediction waits = of_ranks_under(ATTENTION_DENSE, &config, 1, 1, 8);
    double copies = 31.0 * 16384 * 4096 * 2 / 50e9;
    assert_true(waits.parts[PART_HOST] > 0.1 * copies && waits.parts[PART_HOST] < 2 * copies);
    config.micro_steps = 3;
    Prediction thrice = of_ranks_under(ATTENTION_DENSE, &config, 1, 1, 8);
    assert_true(fabs(thrice.parts[PART_HOST] / waits.parts[PART_HOST] - 3) < 1e-9);
    config.offload_activations = false;
    assert_true(of_ranks_under(ATTENTION_DENSE, &config, 1, 1, 8).parts[PART_HOST] == 0);
}

// Weights and moments take their way beside the update, which takes far less; each rank's share that of its
// own.
static void test_offloaded_update(void **state) {
    (void)state;
    EngineConfig config = configure("8b", 1);
    Prediction kept = of_ranks(&config, 1, 1, 1);
    config.offload_optimizer = true;
    Prediction offloaded = of_ranks(&config, 1, 1, 1);
    double way = 12.0 * 8030261248 / 50e9, updates = kept.parts[PART_OPTIMIZER];
    assert_true(fabs(offloaded.parts[PART_HOST] + updates - way) < 1e-6);
    assert_true(fabs(offloaded.total - kept.total - offloaded.parts[PART_HOST]) < 1e-6);
    config.micro_steps = 3; // an update nevertheless
    assert_true(fabs(of_ranks(&config, 1, 1, 1).parts[PART_HOST] / offloaded.parts[PART_HOST] - 1) < 1e-9);
    assert_true(fabs(of_ranks(&config, 4, 1, 4).parts[PART_HOST] * 4 / offloaded.parts[PART_HOST] - 1) <
                1e-9);
}

static void test_dry_run(void **state) {
    (void)state;
    static const char *const parts[] = {"predicted   for NVIDIA H200 GPUs, 8 a host",
                                        "  lighthouse  0.",
                                        "  dense       5",
                                        " K tokens/s",
                                        "Lighthouse attention ",
                                        "waiting for other ranks "};
    char *text = program_output("train --dry-run --preset 530m --seq-len 1048576 --levels 4 --topk 4096 "
                                "--dense-layers none --global-batch 4 --ranks 32 --cp 8");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!strstr(text, parts[i])) fail_msg("no '%s' in: %s", parts[i], text);
    }
    free(text);
    text = program_output(
        "train --dry-run --preset small --recompute block --offload activations --batch 1 --global-batch 2");
    assert_non_null(strstr(text, "offload     369.10 MB an update from each GPU to host memory, and back"));
    assert_null(strstr(text, "weights and moments an update"));
    free(text);
    text = program_output("train --dry-run --preset small --offload optimizer --batch 1 --global-batch 2");
    assert_non_null(strstr(text,
                           "offload     324.95 MB of weights and moments an update from host memory to each "
                           "GPU, and back\n"));
    assert_non_null(strstr(text, "waiting for host memory "));
    assert_null(strstr(text, "an update from each GPU"));
    free(text);
    text = program_output("train --dry-run --preset tiny --device cpu");
    assert_null(strstr(text, "predicted"));
    free(text);
    program_expect(2, "--ranks-per-host goes with --dry-run and --ranks",
                   "train --dry-run --preset tiny --ranks-per-host 4");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured_steps),   cmocka_unit_test(test_measured_layers),
        cmocka_unit_test(test_measured_growth),  cmocka_unit_test(test_measured_runs),
        cmocka_unit_test(test_measured_ranks),   cmocka_unit_test(test_more_ranks),
        cmocka_unit_test(test_copied_heads),     cmocka_unit_test(test_shares),
        cmocka_unit_test(test_recompute),        cmocka_unit_test(test_offload),
        cmocka_unit_test(test_offloaded_update), cmocka_unit_test(test_dry_run),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: test_predict dev/results\n");
        return 2;
    }
    results = argv[1];
    program_find();
    return cmocka_run_group_tests_name("predict", tests, NULL, NULL) ? 1 : 0;
}
