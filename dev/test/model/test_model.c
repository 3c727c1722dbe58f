// The parameter table: sizes of the presets, names and shapes, places, and initial values down to the
// generator.
#include "core/model/model.h"
#include "core/options/options.h"
#include "core/options/options_table.h"
#include "core/base/random.h"

#include "dev/test/support/expect.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const ModelConfig SMALL = {2, 72, 4, 2, 64, 88, 264, 10000, 1e-5};

// ---- presets

static void preset(Options *options, const char *name) {
    char program[] = "train_gpt_lighthouse", command[] = "train", option[] = "--preset", value[16];
    char *argv[] = {program, command, option, value};
    bool done;
    Error error;
    snprintf(value, sizeof value, "%s", name);
    if (!options_parse(options, 4, argv, &done, &error)) fail_msg("%s", error.message);
    if (!options_apply_preset(options, &error)) fail_msg("%s", error.message);
}

static void test_presets(void **state) {
    (void)state;
    const struct {
        const char *name;
        int64_t context, topk, pool, levels, parameters;
    } rows[] = {
        {"530m", 98304, 1536, 4, 3, 530117632}, {"270m", 98304, 1536, 4, 3, 268104704},
        {"small", 16384, 256, 4, 3, 27079168},  {"tiny", 2048, 256, 2, 3, 1066624},
        {"2b", 98304, 1536, 4, 3, 2136049664},  {"8b", 98304, 1536, 4, 3, 8030261248},
    };
    enum { COUNT = sizeof rows / sizeof *rows };
    assert_int_equal(COUNT, PRESET_COUNT);
    for (int i = 0; i < COUNT; i++) {
        Options options;
        Hierarchy hierarchy;
        Error error;
        preset(&options, rows[i].name);
        ModelConfig model = options_model(&options);
        LighthouseConfig lighthouse = options_lighthouse(&options);
        ParamTable table = param_table_create(&model, false);
        assert_true(model_config_check(&model, &error));
        assert_true(hierarchy_create(&lighthouse, options.seq_len, &hierarchy, &error));
        assert_true(hierarchy.n_selected < options.seq_len);
        assert_int_equal(options.seq_len, rows[i].context);
        assert_int_equal(options.topk, rows[i].topk);
        assert_int_equal(options.pool, rows[i].pool);
        assert_int_equal(options.levels, rows[i].levels);
        assert_int_equal(table.n_trained, rows[i].parameters);
        assert_true(table.trained_size >= table.n_trained);
        param_table_free(&table);
        options_free(&options);
    }
}

static void test_impossible_shapes(void **state) {
    (void)state;
    const struct {
        ModelConfig config;
        const char *message;
    } rows[] = {
        {{0, 64, 4, 2, 64, 88, 264, 1e4, 1e-5}, "--layers 0: must be 1 to 512"},
        {{513, 64, 4, 2, 64, 88, 264, 1e4, 1e-5}, "--layers 513: must be 1 to 512"},
        {{2, 64, 4, 2, 80, 88, 264, 1e4, 1e-5}, "--head-dim 80: attention is built for 64, 96 or 128"},
        {{2, 64, 12, 5, 64, 88, 264, 1e4, 1e-5},
         "--kv-heads 5 does not divide --heads 12; the nearest that does is 4"},
        {{2, 64, 4, 8, 64, 88, 264, 1e4, 1e-5},
         "--kv-heads 8 does not divide --heads 4; the nearest that does is 4"},
        {{2, 65, 4, 2, 64, 88, 264, 1e4, 1e-5},
         "--dim 65: must be a multiple of 8 (rows of 16 bytes); nearest: 64 or 72"},
        {{2, 64, 4, 2, 64, 90, 264, 1e4, 1e-5},
         "--ffn 90: must be a multiple of 8 (rows of 16 bytes); nearest: 88 or 96"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Error error;
        assert_false(model_config_check(&rows[i].config, &error));
        assert_int_equal(error.status, STATUS_USAGE);
        if (!strstr(error.message, rows[i].message)) fail_msg("%s: not %s", error.message, rows[i].message);
    }
}

// ---- names, shapes, places

// A vocabulary of any size; engines may compute with as many rows as their kernels take, whose rest is gap.
static void test_odd_vocabulary(void **state) {
    (void)state;
    ModelConfig odd = {2, 72, 4, 2, 64, 88, 259, 1e4, 1e-5}, even = odd;
    Error error;
    even.vocab_size = 264;
    expect_ok(model_config_check(&odd, &error), &error);
    assert_int_equal(model_padded_vocab(259), 264);
    assert_int_equal(model_padded_vocab(264), 264);
    ParamTable table = param_table_create(&odd, false), wide = param_table_create(&even, false);
    for (int ranks = 1; ranks <= 4; ranks++) {
        param_table_shard(&table, ranks);
        param_table_shard(&wide, ranks);
        assert_int_equal(table.trained_size, wide.trained_size);
        for (int i = 0; i < table.count; i++) assert_int_equal(table.params[i].offset, wide.params[i].offset);
    }
    assert_int_equal(table.n_trained, wide.n_trained - 2 * 5 * 72);
    assert_int_equal(table.params[param_find(&table, PARAM_HEAD, -1)].rows, 259);
    param_table_free(&table);
    param_table_free(&wide);
}

static int find_name(const ParamTable *table, const char *name) {
    for (int i = 0; i < table->count; i++) {
        if (strcmp(table->params[i].name, name) == 0) return i;
    }
    return -1;
}

static void test_names_and_shapes(void **state) {
    (void)state;
    const struct {
        const char *name;
        int n_dims;
        int64_t rows, cols;
    } layer[] =
        {
            {"input_layernorm.weight", 1, 1, 72},    {"self_attn.q_proj.weight", 2, 256, 72},
            {"self_attn.k_proj.weight", 2, 128, 72}, {"self_attn.v_proj.weight", 2, 128, 72},
            {"self_attn.o_proj.weight", 2, 72, 256}, {"post_attention_layernorm.weight", 1, 1, 72},
            {"mlp.gate_proj.weight", 2, 88, 72},     {"mlp.up_proj.weight", 2, 88, 72},
            {"mlp.down_proj.weight", 2, 72, 88},
        },
      outside[] = {
          {"model.embed_tokens.weight", 2, 264, 72},
          {"model.norm.weight", 1, 1, 72},
          {"lm_head.weight", 2, 264, 72},
      };
    ParamTable table = param_table_create(&SMALL, false);
    assert_int_equal(table.count, 2 * 9 + 3);
    for (int i = 0; i < 2 * 9 + 3; i++) {
        char name[96];
        if (i < 18) snprintf(name, sizeof name, "model.layers.%d.%s", i / 9, layer[i % 9].name);
        int p = find_name(&table, i < 18 ? name : outside[i - 18].name);
        assert_true(p >= 0);
        const Param *param = &table.params[p];
        assert_int_equal(param->n_dims, i < 18 ? layer[i % 9].n_dims : outside[i - 18].n_dims);
        assert_int_equal(param->rows, i < 18 ? layer[i % 9].rows : outside[i - 18].rows);
        assert_int_equal(param->cols, i < 18 ? layer[i % 9].cols : outside[i - 18].cols);
        assert_int_equal(param->layer, i < 18 ? i / 9 : -1);
        assert_int_equal(param_find(&table, param->role, param->layer), p);
        assert_true(param->trained);
    }
    assert_int_equal(find_name(&table, "model.layers.2.mlp.up_proj.weight"), -1);
    assert_int_equal(param_find(&table, PARAM_GLA_WEIGHT, 0), -1);
    param_table_free(&table);
}

// Biases, and norms of heads, of the families that have them; engines may read those of q, k, v as one.
static void test_families(void **state) {
    (void)state;
    const struct {
        Family family;
        const char *name;
        ParamRole role;
        int64_t cols;
        ParamDecay decay;
        float first;
    } rows[] = {{FAMILY_QWEN2, "model.layers.1.self_attn.q_proj.bias", PARAM_Q_BIAS, 256, DECAY_NEVER, 0},
                {FAMILY_QWEN2, "model.layers.1.self_attn.k_proj.bias", PARAM_K_BIAS, 128, DECAY_NEVER, 0},
                {FAMILY_QWEN2, "model.layers.1.self_attn.v_proj.bias", PARAM_V_BIAS, 128, DECAY_NEVER, 0},
                {FAMILY_QWEN3, "model.layers.1.self_attn.q_norm.weight", PARAM_Q_NORM, 64, DECAY_ALL, 1},
                {FAMILY_QWEN3, "model.layers.1.self_attn.k_norm.weight", PARAM_K_NORM, 64, DECAY_ALL, 1}};
    const Param *before = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ModelConfig config = SMALL;
        config.family = rows[i].family;
        ParamTable table = param_table_create(&config, true);
        const Param *param = &table.params[param_find(&table, rows[i].role, 1)];
        float first;
        assert_string_equal(param->name, rows[i].name);
        assert_true(param->n_dims == 1 && param->rows == 1 && param->cols == rows[i].cols && param->trained);
        assert_int_equal(param->decay, rows[i].decay);
        param_init(param, 1, 3, 1, &first);
        assert_true(first == rows[i].first);
        before = param - 1;
        if (rows[i].role == PARAM_Q_BIAS || rows[i].role == PARAM_Q_NORM) before = NULL;
        if (before) assert_int_equal(before->offset + before->cols, param->offset);
        if (before) assert_int_equal(before->vector + before->cols, param->vector);
        assert_int_equal(table.count, (int)(2 * (9 + (rows[i].family == FAMILY_QWEN2 ? 3 : 2) + 2) + 3));
        param_table_free(&table);
    }
}

// One tensor under both roles: in no bucket twice, counted once, drawn as a head.
static void test_tied(void **state) {
    (void)state;
    ModelConfig config = SMALL;
    config.tied = true;
    ParamTable plain = param_table_create(&SMALL, false), table = param_table_create(&config, false);
    int embedding = param_find(&table, PARAM_EMBEDDING, -1);
    assert_int_equal(table.count, plain.count - 1);
    assert_int_equal(table.n_trained, plain.n_trained - 264 * 72);
    assert_int_equal(param_find(&table, PARAM_HEAD, -1), embedding);
    assert_int_equal(param_find(&table, PARAM_HEAD, 0), -1);
    assert_int_equal(find_name(&table, "lm_head.weight"), -1);
    assert_true(param_table_tied(&table) && !param_table_tied(&plain));
    assert_int_equal(table.params[embedding].bucket, 0);
    float drawn[2], head[2];
    Param named = plain.params[param_find(&plain, PARAM_HEAD, -1)];
    snprintf(named.name, sizeof named.name, "%s", table.params[embedding].name);
    param_init(&table.params[embedding], 3, 5, 2, drawn);
    param_init(&named, 3, 5, 2, head);
    assert_memory_equal(drawn, head, sizeof drawn);
    param_table_free(&plain);
    param_table_free(&table);
}

// The whole array in runs, each of parameters that decay alike.
static void test_decay_runs(void **state) {
    (void)state;
    ParamTable table = param_table_create(&SMALL, true);
    bool decays;
    assert_int_equal(param_decay_run(&table, 0, table.trained_size, false, &decays), table.trained_size);
    assert_true(decays);
    const struct {
        ParamRole role;
        int layer;
        bool decays;
    } runs[] = {{PARAM_EMBEDDING, -1, false}, // and the first norm
                {PARAM_Q, 0, true},           {PARAM_FFN_NORM, 0, false},
                {PARAM_GATE, 0, true},        {PARAM_ATTENTION_NORM, 1, false},
                {PARAM_Q, 1, true},           {PARAM_FFN_NORM, 1, false},
                {PARAM_GATE, 1, true},        {PARAM_FINAL_NORM, -1, false},
                {PARAM_HEAD, -1, true}};
    int64_t at = 0;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        assert_int_equal(at, table.params[param_find(&table, runs[i].role, runs[i].layer)].offset);
        int64_t middle = param_decay_run(&table, at + 8, table.trained_size, true, &decays);
        assert_int_equal(decays, runs[i].decays);
        assert_int_equal(param_decay_run(&table, at, at + 40, true, &decays), at + 40);
        at = param_decay_run(&table, at, table.trained_size, true, &decays);
        assert_int_equal(decays, runs[i].decays);
        assert_int_equal(middle, at);
    }
    assert_int_equal(at, table.trained_size);
    param_table_free(&table);
}

static void test_gates_are_frozen(void **state) {
    (void)state;
    ParamTable plain = param_table_create(&SMALL, false), table = param_table_create(&SMALL, true);
    assert_int_equal(table.count, plain.count + 4);
    assert_int_equal(table.n_trained, plain.n_trained);
    assert_int_equal(table.trained_size, plain.trained_size);
    assert_int_equal(plain.frozen_size, 0);
    for (int i = 0; i < 2; i++) {
        const Param *weight = &table.params[param_find(&table, PARAM_GLA_WEIGHT, i)];
        const Param *bias = &table.params[param_find(&table, PARAM_GLA_BIAS, i)];
        assert_true(!weight->trained && !bias->trained);
        assert_true(weight->rows == 4 && weight->cols == 72 && bias->rows == 1 && bias->cols == 4);
    }
    param_table_free(&plain);
    param_table_free(&table);
}

// Trained and frozen ones apart, each in its own flat array.
static void test_places_do_not_overlap(void **state) {
    (void)state;
    ParamTable table = param_table_create(&SMALL, true);
    int64_t elements = 0;
    for (int i = 0; i < table.count; i++) {
        const Param *a = &table.params[i];
        assert_int_equal(a->offset % PARAM_ALIGNMENT, 0);
        assert_true(a->offset >= 0);
        assert_true(a->offset + param_size(a) <= (a->trained ? table.trained_size : table.frozen_size));
        elements += a->trained ? param_size(a) : 0;
        for (int j = 0; j < i; j++) {
            const Param *b = &table.params[j];
            bool apart = a->offset >= b->offset + param_size(b) || b->offset >= a->offset + param_size(a);
            assert_true(apart || a->trained != b->trained);
            assert_true(strcmp(a->name, b->name) != 0);
        }
    }
    assert_int_equal(elements, table.n_trained);
    param_table_free(&table);
}

// What engines read as one lies side by side, for every width of a head.
static void check_neighbours(const ParamTable *table, ParamRole first, ParamRole last) {
    for (int role = first; role < (int)last; role++) {
        const Param *a = &table->params[param_find(table, (ParamRole)role, 1)];
        const Param *b = &table->params[param_find(table, (ParamRole)(role + 1), 1)];
        assert_int_equal(b->offset, a->offset + param_size(a));
        assert_true(a->n_dims > 1 || b->vector == a->vector + param_size(a));
    }
}

static void test_neighbours(void **state) {
    (void)state;
    for (int64_t width = 64; width <= 128; width += 32) {
        ModelConfig model = SMALL;
        model.n_heads = model.n_kv_heads = 1;
        model.dim = 40;
        model.head_dim = width;
        model.family = FAMILY_QWEN2;
        ParamTable biases = param_table_create(&model, false);
        check_neighbours(&biases, PARAM_Q, PARAM_V);
        check_neighbours(&biases, PARAM_Q_BIAS, PARAM_V_BIAS);
        check_neighbours(&biases, PARAM_GATE, PARAM_UP);
        param_table_free(&biases);
        model.family = FAMILY_QWEN3;
        ParamTable norms = param_table_create(&model, false);
        check_neighbours(&norms, PARAM_Q_NORM, PARAM_K_NORM);
        param_table_free(&norms);
    }
}

// ---- initial values

typedef struct {
    double mean, std, largest;
} Moments;

static Moments moments_of(const float *x, int64_t count) {
    Moments m = {0, 0, 0};
    for (int64_t i = 0; i < count; i++) {
        m.mean += x[i] / (double)count;
        m.largest = fabs(x[i]) > m.largest ? fabs(x[i]) : m.largest;
    }
    for (int64_t i = 0; i < count; i++) m.std += (x[i] - m.mean) * (x[i] - m.mean) / (double)count;
    m.std = sqrt(m.std);
    return m;
}

// What section 2 of the specification asks: a normal of this std. Cut at 3 of them, its std is 0.98658 as
// large.
static void expected_init(const Param *param, int64_t dim, double *std, double *cut) {
    *cut = HUGE_VAL;
    switch (param->role) {
    case PARAM_EMBEDDING: *std = 1; break;
    case PARAM_HEAD:
        *std = 0.98658 / sqrt((double)dim);
        *cut = 3 / sqrt((double)dim);
        break;
    case PARAM_O:
    case PARAM_UP:
    case PARAM_DOWN: *std = 0.02 / sqrt(2.0 * (param->layer + 1)); break;
    default: *std = 0.02;
    }
}

static void test_initial_distributions(void **state) {
    (void)state;
    const ModelConfig config = {9, 256, 4, 2, 64, 256, 512, 10000, 1e-5};
    ParamTable table = param_table_create(&config, true);
    float *x = (float *)alloc_or_exit(512 * 256, sizeof *x);
    for (int p = 0; p < table.count; p++) {
        const Param *param = &table.params[p];
        int64_t count = param_size(param);
        double std, cut, n = sqrt((double)count);
        param_init(param, 1, 0, count, x);
        Moments m = moments_of(x, count);
        if (param->n_dims == 1) {
            float constant = param->role == PARAM_GLA_BIAS ? 0 : 1;
            for (int64_t i = 0; i < count; i++) assert_true(x[i] == constant);
            continue;
        }
        expected_init(param, config.dim, &std, &cut);
        bool right = fabs(m.mean) < 4.5 * std / n && fabs(m.std / std - 1) < 4.5 / sqrt(2.0) / n;
        right = right && (param->role == PARAM_HEAD ? m.largest <= cut && m.largest > 0.99 * cut
                                                    : m.largest > 2.5 * std && m.largest < 6 * std);
        if (!right) fail_msg("%s: mean %g, std %g, largest %g", param->name, m.mean, m.std, m.largest);
    }
    free(x);
    param_table_free(&table);
}

static void test_any_split_gives_the_same_values(void **state) {
    (void)state;
    ParamTable table = param_table_create(&SMALL, false);
    const Param *head = &table.params[param_find(&table, PARAM_HEAD, -1)];
    float whole[500], pieces[500];
    param_init(head, 3, 100, 500, whole);
    const int64_t cuts[] = {0, 1, 2, 64, 65, 333, 500};
    for (int i = 0; i < 6; i++) param_init(head, 3, 100 + cuts[i], cuts[i + 1] - cuts[i], pieces + cuts[i]);
    assert_memory_equal(whole, pieces, sizeof whole);
    param_init(head, 4, 100, 500, pieces);
    for (int i = 0; i < 500; i++) assert_true(whole[i] != pieces[i]); // another seed
    param_init(&table.params[param_find(&table, PARAM_UP, 0)], 3, 100, 500, whole);
    param_init(&table.params[param_find(&table, PARAM_DOWN, 0)], 3, 100, 500, pieces);
    for (int i = 0; i < 500; i++) assert_true(whole[i] != pieces[i]); // another name
    param_table_free(&table);
}

// Runs started from a seed shall start the same for ever: these values may not change.
static void test_known_values(void **state) {
    (void)state;
    const struct {
        ParamRole role;
        int layer;
        uint64_t seed;
        int64_t index;
        float value;
    } rows[] = {
        {PARAM_EMBEDDING, -1, 1, 0, -0x1.298956p-1f}, {PARAM_EMBEDDING, -1, 1, 19007, -0x1.f7e48ep-2f},
        {PARAM_EMBEDDING, -1, 2, 0, -0x1.377b32p-1f}, {PARAM_Q, 0, 1, 5, 0x1.1a5138p-5f},
        {PARAM_DOWN, 1, 1, 6, -0x1.d6d03ap-11f},      {PARAM_GLA_WEIGHT, 1, 1, 7, -0x1.a0a8f6p-7f},
        {PARAM_HEAD, -1, 1, 175, -0x1.10526ep-4f},
    };
    ParamTable table = param_table_create(&SMALL, true);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float value;
        param_init(&table.params[param_find(&table, rows[i].role, rows[i].layer)], rows[i].seed,
                   rows[i].index, 1, &value);
        if (value != rows[i].value) fail_msg("row %d: %a, not %a", (int)i, value, rows[i].value);
    }
    param_table_free(&table);
}

// ---- the generator

// Known answers that Random123 is distributed with (philox4x32, 10 rounds): first two of the four words.
static void test_philox_known_answers(void **state) {
    (void)state;
    assert_true(random_bits(0, 0, 0) == 0xe169c58d6627e8d5);
    assert_true(random_bits(UINT64_MAX, UINT64_MAX, UINT64_MAX) == 0x41c83b0e408f276d);
    assert_true(random_bits(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88) ==
                0x94fdccebd16cfe09);
}

static void test_uniform(void **state) {
    (void)state;
    enum { COUNT = 100000, BINS = 20 };
    int bins[BINS] = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        double u = random_uniform(5, 6, i);
        assert_true(u >= 0 && u < 1);
        assert_true(u == (double)(random_bits(5, 6, i) >> 11) / 9007199254740992.0);
        bins[(int)(u * BINS)]++;
    }
    for (int i = 0; i < BINS; i++) assert_true(fabs(bins[i] - 5000.0) < 5 * sqrt(5000.0 * 0.95));
}

// The normal is the inverse of the distribution function at the uniform number (in the middle of its 2^-53).
static void test_normal_inverts_erf(void **state) {
    (void)state;
    double largest = 0;
    for (uint64_t i = 0; i < 300000; i++) {
        double p = random_uniform(8, 9, i) + 0x1p-54, x = random_normal(8, 9, i, HUGE_VAL);
        largest = fabs(x) > largest ? fabs(x) : largest;
        double mine = x < 0 ? p : 1 - p, tail = 0.5 * erfc(fabs(x) * M_SQRT1_2);
        if (!(fabs(tail - mine) <= 4e-15 * mine + 1.2e-16))
            fail_msg("x %.17g: %.17g, not %.17g", x, tail, mine);
    }
    assert_true(largest > 4);
}

static void test_cut_draws_again(void **state) {
    (void)state;
    int drawn_again = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        double free_draw = random_normal(1, 2, i, HUGE_VAL), cut_draw = random_normal(1, 2, i, 1.5);
        assert_true(fabs(cut_draw) <= 1.5);
        assert_true(fabs(free_draw) > 1.5 || cut_draw == free_draw);
        drawn_again += cut_draw != free_draw;
    }
    assert_true(abs(drawn_again - 2672) < 250); // 13.36 % of a normal lie beyond 1.5
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_impossible_shapes),
        cmocka_unit_test(test_odd_vocabulary),
        cmocka_unit_test(test_names_and_shapes),
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_tied),
        cmocka_unit_test(test_decay_runs),
        cmocka_unit_test(test_gates_are_frozen),
        cmocka_unit_test(test_places_do_not_overlap),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_initial_distributions),
        cmocka_unit_test(test_any_split_gives_the_same_values),
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_philox_known_answers),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_normal_inverts_erf),
        cmocka_unit_test(test_cut_draws_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
