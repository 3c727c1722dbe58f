// The command line of the built program: what it refuses, with which words, and the values it offers instead;
// help.
#include "core/base/files.h"
#include "core/options/options.h"
#include "core/options/help.h"
#include "core/options/options_table.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

// Every test runs in a folder with data and a run of two steps, made once.
static int set_up(void **state) {
    if (tiny_enter(state)) return 1;
    program_expect(0, NULL, TINY_TRAIN "--out run --steps 2 --checkpoint-every 1");
    return 0;
}

typedef struct {
    const char *line, *part;
} Refusal;

static void expect_refused(int status, const Refusal *refusals, size_t count) {
    for (size_t i = 0; i < count; i++) program_expect(status, refusals[i].part, "%s", refusals[i].line);
}

#define REFUSED(status, refusals) expect_refused(status, refusals, sizeof(refusals) / sizeof *(refusals))

// ---- Words

static void test_words(void **state) {
    (void)state;
    static const Refusal refusals[] = {
        {"", "no command; there are pack, train, eval, generate, "},
        {"trian", "unknown command 'trian'; did you mean train? there are pack, train, eval, generate, "},
        {"trail --steps 1", "unknown command 'trail'; did you mean train?"},
        {"help-me-please", "unknown command 'help-me-please'; there are pack"},
        {"--verbose", "unknown command '--verbose'"},
        {"train --learning-rate 1", "unknown option --learning-rate; train --help"},
        {"train --learning-rate=1", "unknown option --learning-rate; train --help"},
        {"train --global-bach 4", "unknown option --global-bach; did you mean --global-batch? train --help"},
        {"train --seq_len=4", "unknown option --seq_len; did you mean --seq-len? train --help"},
        {"train --batch-size 4", "unknown option --batch-size; did you mean --batch? train --help"},
        {"train --val-evrey 4",
         "unknown option --val-evrey; did you mean --val-every? train --help"}, // no --val
        {"eval --modle run", "unknown option --modle; did you mean --model? eval --help"},
        {"pack --val-frac 0.1", "unknown option --val-frac; did you mean --val-fraction? pack --help"},
        {"pack --topj 1", "unknown option --topj; pack --help"}, // --topk is none of pack's
        {"train --a-name-longer-than-any-option-has 1", "-option-has; train --help"},
        {"train --temperature 1", "--temperature is no option of train but of: generate; see train --help"},
        {"pack --data x", "--data is no option of pack but of: train eval niah;"},
        {"eval --lr 1", "--lr is no option of eval but of: train;"},
        {"generate --attention dense", "--attention is no option of generate but of: train eval bench;"},
        {"info --seed 1", "--seed is no option of info but of: pack train generate"},
        {"train -lr 1", "unknown option -lr; options begin with two dashes"},
        {"train --lr", "--lr needs a value"},
        {"train --data x --out", "--out needs a value"},
        {"train --data x --out --steps 3", "--out needs a value, and --steps is an option; --out=--steps if"},
        {"pack text --out --strict", "--out needs a value, and --strict is an option"},
        {"generate --prompt --seed=5", "--prompt needs a value, and --seed=5 is an option"},
        {"train run", "'run' is one word too many for train"},
        {"bench -- --run -x", "'-x' is one word too many for bench"},
        {"report -- --out x.svg", "--out is missing: must name the file"},
        {"bench step step", "'step' is one word too many for bench"},
        {"train --data a.bin b.bin c.bin --out run",
         "'b.bin' is one word too many: the shell has expanded the "
         "pattern of --data; put it in quotes, as --data '"},
        {"eval --model run --data a.bin b.bin", "expanded the pattern of --data; put it in quotes"},
        {"train --val a.bin b.bin", "expanded the pattern of --val; put it in quotes"},
        {"train --data a.bin:60% b.bin:40% --out run",
         "'b.bin:40%' is one word too many: --data of train takes several sources where a number stands"},
        {"eval --model run --data a.bin:1 b.bin:1",
         "'b.bin:1' is one word too many: --data of eval takes a single source, without a weight"},
        {"train --val a.bin:1 b.bin:1", "--val of train takes a single source"},
        {"train --out run b.bin", "'b.bin' is one word too many for train"},
        {"pack ids --tokens uint16 --vocab 320 --out x --max-bad 0.1", "--max-bad is for lines of text"},
        {"train --lr 1 --steps 3 --lr 1", "--lr is given twice"},
        {"train --deterministic --deterministic", "--deterministic is given twice"},
        {"pack", "pack needs files or folders of text"},
        {"pack text", "--out is missing: the folder for the shards"},
        {"eval", "--data is missing"},
        {"eval --data val_*.bin", "--model is missing"},
        {"generate", "--model is missing"},
    };
    REFUSED(2, refusals);
}

// ---- Values

static void test_values(void **state) {
    (void)state;
    static const Refusal refusals[] = {
        {"train --lr fast", "--lr fast: not a number"},
        {"train --lr nan", "--lr nan: not a number"},
        {"train --lr inf", "--lr inf: not a number"},
        {"train --lr=", "--lr : not a number"},
        {"train --lr 1e-3x", "--lr 1e-3x: not a number"},
        {"train --lr 1e-999", "not a number"},
        {"train --lr 10.5", "--lr 10.5: must be from 0 to 10"},
        {"train --lr -1", "--lr -1: must be from 0 to 10"},
        {"train --beta2 1", "--beta2 1: must be from 0 to 0.999999"},
        {"train --steps 1.5", "--steps 1.5: must be a whole number"},
        {"train --steps 0", "--steps 0: must be from 1 to"},
        {"train --seed 1e16", "--seed 1e16: must be from 0 to"},
        {"train --attention sparse", "--attention sparse: must be one of lighthouse|dense"},
        {"train --attention light", "--attention light: must be one of"},
        {"train --scorer max", "must be one of norm|dilated|gla"},
        {"train --schedule step", "must be one of constant|linear|cosine|wsd"},
        {"train --recompute all", "must be one of none|block"},
        {"train --offload both", "must be one of none|activations|optimizer|all"},
        {"train --zero 3", "must be one of 1|2"},
        {"train --deterministic=yes", "--deterministic yes: must be true or false"},
        {"train --data \xff.bin", "--data: must be UTF-8"},
        {"eval --data val_*.bin --model \xff", "--model: must be UTF-8"},
        {"train --config tiny.json --out=", "--out: must not be empty"},
        {"train --preset tiny --data= --out new", "--data: must not be empty"},
        {"generate --model=", "--model: must not be empty"},
        {"generate --model run --top-p 0", "--top-p 0: must be from"},
        {"generate --model run --max-bytes 0", "--max-bytes 0: must be from 1"},
        {"pack tiny.json --out new --val-fraction 0.9", "--val-fraction 0.9: must be from 0 to 0.5"},
        {"pack tiny.json --out .", "already holds shards"},
        {"eval --model run --data val_*.bin --levels 1", "--levels 1: must be from 2 to 12"},
    };
    REFUSED(2, refusals);
}

// ---- Settings that do not fit

#define PLAN TINY_TRAIN "--dry-run "

// A model whose every layer is among those that stay dense has no Lighthouse attention, which is told.
static void test_all_layers_dense(void **state) {
    (void)state;
    static const char told[] = "--dense-layers 0,1,-2,-1 are all 2 layers: Lighthouse attention is used in "
                               "none of them";
    program_expect(0, told, PLAN "--dense-layers 0,1,-2,-1");
    program_expect(0, told,
                   "bench step --device cpu --layers 2 --dim 64 --heads 2 --kv-heads 1 --head-dim 64 "
                   "--ffn 64 --vocab 264 --seq-len 512 --levels 2 --topk 128 --repeats 1");
    static const char *const quiet[] = {"--dense-layers all", "--dense-layers 0", "--attention dense"};
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++) {
        bool dense = strstr(quiet[i], "attention") != NULL;
        Outcome outcome = dense ? program_run("train --preset tiny --dry-run %s", quiet[i])
                                : program_run(PLAN "%s", quiet[i]);
        assert_int_equal(outcome.status, 0);
        assert_null(strstr(outcome.err, "used in none"));
        outcome_free(&outcome);
    }
}

static void test_settings(void **state) {
    (void)state;
    static const Refusal refusals[] = {
        {"train", "no model is given: name one with --preset"},
        {"train --steps 3 --out new --data train_*.bin", "no model is given"},
        {"train --preset tiny --out new", "--data is missing"},
        {"train --preset tiny --data train_*.bin", "--out is missing"},
        {"train --preset big --dry-run", "--preset big: there are 530m, 270m, small, tiny, 2b, 8b"},
        {PLAN "--heads 3 --kv-heads 2", "--kv-heads 2 does not divide --heads 3"},
        {PLAN "--heads 2 --kv-heads 4", "--kv-heads 4 does not divide --heads 2"},
        {PLAN "--head-dim 80", "--head-dim 80: attention is built for 64, 96 or 128"},
        {PLAN "--head-dim 32", "--head-dim 32: must be from 64 to 128"},
        {PLAN "--dim 60", "--dim 60"},
        {PLAN "--batch 3", "--global-batch 2 is no multiple of --batch 3; nearest: 3 or 6"},
        {PLAN "--batch 2 --global-batch 7", "nearest: 6 or 8"},
        {PLAN "--dense-layers some", "--dense-layers some: must be numbers with commas between"},
        {PLAN "--dense-layers 0,,1", "must be numbers with commas between"},
        {PLAN "--dense-layers 0,", "must be numbers with commas between"},
        {PLAN "--dense-layers=", "must be numbers with commas between"},
        {PLAN "--dense-layers 0,2", "there is no layer 2; layers go from -2 to 1"},
        {PLAN "--dense-layers -3", "there is no layer -3; layers go from -2 to 1"},
        {PLAN "--dense-layers 18446744073709551616", "there is no layer"},
        {PLAN "--attention dense --topk 256", "--topk has no meaning under dense attention"},
        {PLAN "--attention dense --scorer gla", "--scorer has no meaning under dense attention"},
        {PLAN "--attention dense --dense-layers all", "--dense-layers has no meaning under dense attention"},
        {PLAN "--attention dense --switch-at 5", "--switch-at 5 has no meaning with --attention dense"},
        {PLAN "--dilation 2", "--dilation has no meaning with --scorer norm"},
        {"bench attention --preset tiny --dilation 2", "--dilation has no meaning with --scorer norm"},
        {"bench attention --preset tiny --recompute block", "--recompute has no meaning for bench attention"},
        {"bench attention --preset tiny --offload none", "--offload has no meaning for bench attention"},
        {"bench step --preset tiny --offload activations",
         "--offload activations goes with --recompute block"},
        {"bench step --device cpu --preset tiny --recompute block --offload activations",
         "--offload activations is for GPUs"},
        {PLAN "--offload activations", "--offload activations goes with --recompute block"},
        {PLAN "--offload all",
         "--offload all goes with --recompute block, which keeps each block's input alone; "
         "give that too, or --offload optimizer"},
        {PLAN "--device cpu --offload optimizer", "--offload optimizer is for GPUs"},
        {"bench step --device cpu --preset tiny --offload optimizer", "--offload optimizer is for GPUs"},
        {PLAN "--device cpu --recompute block --offload activations", "--offload activations is for GPUs"},
        {TINY_TRAIN "--device cpu --out new --recompute block --offload activations", "is for GPUs"},
        {"bench attention --preset tiny --matmul fp8", "--matmul has no meaning for bench attention"},
        {PLAN "--matmul fp8", "--matmul fp8 has not been run on a GPU yet"},
        {PLAN "--device cpu --matmul fp8", "--matmul fp8: no product takes it"},
        {"train --preset tiny --dry-run --device cpu --matmul fp8 --seq-len 1040 --topk 128",
         "--seq-len 1040 must be a multiple of 128"},
        {"bench attention --preset tiny --zero 2", "--zero has no meaning for bench attention"},
        {"bench attention --preset tiny --dense-layers 1",
         "--dense-layers has no meaning for bench attention"},
        {"bench attention --attention dense --topk 256", "--topk has no meaning under dense attention"},
        {"bench step --preset tiny --attention dense --scorer gla", "--scorer has no meaning under dense"},
        {PLAN "--schedule wsd", "--schedule wsd needs --decay-steps"},
        {PLAN "--schedule wsd --steps 5 --decay-steps 6", "--decay-steps from 1 to --steps 5"},
        {PLAN "--decay-steps 6", "--decay-steps is only for --schedule wsd; leave it out"},
        {PLAN "--schedule cosine --min-lr 0.1", "--min-lr 0.1 is above --lr 0.01"},
        {PLAN "--steps 5 --stop-at 6", "--stop-at 6 is beyond --steps 5"},
        {"train --preset tiny --dry-run --val-every 5", "--val-every and --val-batches need --val"},
        {"train --preset tiny --dry-run --val-batches 5", "--val-every and --val-batches need --val"},
        {TINY_TRAIN "--out other --steps 1", "--out other is not empty and holds no run"},
        {"train --resume run/step_00000002 --out other", "--out other is not empty and holds no run"},
        {PLAN "--min-lr 1e-3", "--min-lr has no meaning with --schedule constant; leave it out"},
        {PLAN "--decay matrices --weight-decay 0", "--decay has no meaning with --weight-decay 0"},
        {TINY_TRAIN "--out run", "--out run already holds a run; continue it with --resume auto"},
        {TINY_TRAIN "--resume auto", "--resume auto needs --out"},
        {"train --resume run --steps 1", "--steps 1: the run to resume has done 2 already"},
        {"train --resume run --layers 3", "--layers 3: the run to resume has 2"},
        {"train --resume run --seed 3", "--seed 3: the run to resume has 1"},
        {TINY_TRAIN "--out new --device cuda", "--device cuda: "},
        {TINY_TRAIN "--out new --device cuda", "or use --device cpu"}, // no test sees a GPU
    };
    scratch_write("other", "notes", "x", -1);
    REFUSED(2, refusals);
    assert_false(file_exists("new") || folder_exists("new"));                // nothing was written
    program_expect(0, "dense attention would cost less", PLAN "--topk 256"); // S = N: allowed, with a warning
    program_expect(0, "--switch-at 5: no update is dense", PLAN "--steps 5 --switch-at 5");
    program_expect(0, NULL, "train --preset tiny --dry-run --val-every 0");
    program_expect(0, NULL, TINY_TRAIN "--out other --steps 1 --resume auto");
    scratch_write("hidden", ".notes", "x", -1);
    program_expect(0, NULL, TINY_TRAIN "--out hidden --steps 1");
}

// Files of settings.
static void test_config_files(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
        int status;
    } files[] = {
        {"{\"settings\": {\"learning-rate\": 1}}", "bad.json: unknown setting \"learning-rate\"; remove it",
         2},
        {"{\"settings\": {\"out\": \"x\"}}", "unknown setting \"out\"", 2},
        {"{\"settings\": {\"lr\": \"fast\"}}", "bad.json: --lr fast: not a number", 2},
        {"{\"settings\": {\"lr\": [1]}}", "\"lr\" must be a number, a string, true or false", 2},
        {"{\"settings\": {\"lr\": {}}}", "\"lr\" must be a number, a string, true or false", 2},
        {"{\"settings\": {\"steps\": true}}", "bad.json: --steps true: not a number", 2},
        {"{\"settings\": {\"steps\": 2.5}}", "--steps 2.5: must be a whole number", 2},
        {"{\"settings\": {\"deterministic\": 1}}", "--deterministic 1: must be true or false", 2},
        {"{\"settings\": {\"attention\": \"no\"}}", "must be one of lighthouse|dense", 2},
        {"{\"settings\": {\"preset\": \"no\"}}", "--preset no: there are", 2},
        {"{\"settings\": []}", "has no object \"settings\"", 2},
        {"{\"lr\": 1}", "has no object \"settings\"", 2},
        {"{\"settings\": {\"lr\": 1, \"lr\": 2}}", "not valid JSON", 3},
        {"{\"settings\": ", "bad.json:1: not valid JSON", 3},
        {"", "not valid JSON", 3},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        scratch_write(".", "bad.json", files[i].text, -1);
        program_expect(files[i].status, files[i].part, "train --config bad.json --dry-run");
    }
    program_expect(0, "--preset small has --layers 12, but --config run/run.json another, which is taken",
                   "train --config run/run.json --preset small --dry-run");
    program_expect(3, "no.json", "train --config no.json --dry-run");
    program_expect(3, "is a folder", "train --config run --dry-run");
}

// ---- Nearest values

// Runs a line that is refused, and then once with each of the values it offers in place of its own.
static void expect_offers(const char *options, const char *changed) {
    Outcome refused = program_run(PLAN "%s %s", options, changed);
    const char *offers = strstr(refused.err, "nearest: ");
    if (refused.status != 2 || !offers) {
        fail_msg("%s %s: status %d, %s", options, changed, refused.status, refused.err);
    }
    const char *separators = " ,\n";
    char *rest = NULL, name[64];
    int count = 0;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(changed, " "), changed);
    for (char *word = strtok_r((char *)offers + 9, separators, &rest); word;
         word = strtok_r(NULL, separators, &rest)) {
        if (strcmp(word, "or") == 0) continue;
        const char *value = strncmp(word, "--", 2) == 0 ? strtok_r(NULL, separators, &rest) : word;
        const char *option = value == word ? name : word;
        // An option other than the refused one stands beside it.
        const char *beside = strcmp(option, name) == 0 ? "" : changed;
        program_expect(0, NULL, PLAN "%s %s %s %s", options, beside, option, value);
        count++;
    }
    if (count == 0) fail_msg("%s %s: offers nothing: %s", options, changed, refused.err);
    outcome_free(&refused);
}

static void test_nearest(void **state) {
    (void)state;
    expect_offers("", "--seq-len 767");
    expect_offers("", "--seq-len 255");
    expect_offers("", "--seq-len 1");
    expect_offers("--levels 3", "--seq-len 1027");
    expect_offers("--scorer dilated --dilation 6", "--seq-len 1000");
    expect_offers("--scorer gla", "--dilation 7");
    expect_offers("", "--topk 200");
    expect_offers("", "--topk 512");
    expect_offers("", "--pool 3");
    expect_offers("", "--pool 8");
    expect_offers("", "--pool 512");
    expect_offers("", "--levels 4");
    expect_offers("", "--levels 10");
    expect_offers("--batch 2", "--global-batch 7");
    expect_offers("--batch 2", "--global-batch 1");
}

// A file of settings that GPUs take serves the CPU engine too, whose plan says nothing of it.
static void test_offload_of_a_file(void **state) {
    (void)state;
    scratch_write(".", "offload.json", "{\"settings\": {\"offload\": \"optimizer\"}}", -1);
    char *cpu = program_output("train --dry-run --preset tiny --config offload.json --device cpu"),
         *any = program_output("train --dry-run --preset tiny --config offload.json");
    assert_null(strstr(cpu, "offload "));
    assert_non_null(strstr(any, "of weights and moments an update from host memory"));
    free(cpu);
    free(any);
}

// ---- Memory

// The context that is named where this one is too long for any machine: one that the settings allow.
static void expect_context(const char *options, const char *too_long, int64_t unit) {
    static const char words[] = "would fit is --seq-len ";
    Outcome outcome = program_run(PLAN "%s --seq-len %s", options, too_long);
    const char *advice = strstr(outcome.err, words);
    if (outcome.status != 4 || !advice) fail_msg("status %d: %s", outcome.status, outcome.err);
    int64_t context = strtoll(advice + strlen(words), NULL, 10);
    assert_true(context > 4096 && context % unit == 0);
    outcome_free(&outcome);
    // Half of it, as another program may have taken memory meanwhile.
    program_expect(0, NULL, PLAN "%s --recompute block --seq-len %lld", options,
                   (long long)(context / 2 / unit * unit));
}

// What fits is found from far above too, below the first of the coarse steps in which it is looked for.
static void test_memory_of_contexts(void **state) {
    (void)state;
    expect_context("", "999999488", 2);
    expect_context("--scorer dilated --dilation 6", "999999486", 6);
    expect_context("--attention dense", "999999489", 1);
    expect_context("--device cpu --attention dense --matmul fp8 --dim 128 --ffn 128", "999999488", 128);
    program_expect(4, "no --seq-len fits: a smaller --topk allows shorter ones",
                   PLAN "--seq-len 999999488 --topk 499999744");
    program_expect(4, "no --seq-len fits: the model itself is too large",
                   PLAN "--layers 400 --dim 65536 --ffn 262144");
}

static void test_memory(void **state) {
    (void)state;
    // The plan is refused before anything of it is taken, and before the run's folder is made.
    program_expect(4, "GB are free", TINY_TRAIN "--out new --layers 400 --dim 65536 --ffn 262144");
    static const char words[] = "would fit is --batch ";
    Outcome outcome = program_run(TINY_TRAIN "--out new --batch 1000000 --global-batch 1000000");
    const char *advice = strstr(outcome.err, words);
    if (outcome.status != 4 || !advice) fail_msg("status %d: %s", outcome.status, outcome.err);
    long batch = strtol(advice + strlen(words), NULL, 10);
    assert_true(batch > 1 && 1000000 % batch == 0); // what it names can be given
    outcome_free(&outcome);
    program_expect(4, "GB are free", PLAN "--preset 8b --layers 500 --dim 16384 --seq-len 1000000");
    program_expect(4, "fit no machine",
                   PLAN "--batch 1000000 --global-batch 1000000 --seq-len 999999488 --layers 512");
    program_expect(4, "prompt and --max-bytes together may be",
                   "generate --model run --max-bytes 1000000000");
    assert_false(folder_exists("new"));
}

// ---- Help

// Help of at most 80 columns, with a single blank between words; its lines begin as they did.
static char *wrapped_help(const char *command) {
    char *text = program_output("%s --help", command), *to = text;
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
        if (strcspn(line, "\n") > 80) fail_msg("%s --help goes beyond 80 columns: %.200s", command, line);
    }
    for (const char *from = text; *from; from++) {
        bool wraps = from[0] == '\n' && strncmp(from + 1, "                    ", 20) == 0;
        if (wraps) from += strspn(from + 1, " ");
        *to++ = wraps ? ' ' : *from;
    }
    *to = 0;
    return text;
}

static void test_help(void **state) {
    (void)state;
    for (int c = 0; c < COMMAND_COUNT; c++) {
        char *text = wrapped_help(COMMANDS[c].name), option[64];
        char *other = program_output("help %s", COMMANDS[c].name),
             *same = program_output("%s --help", COMMANDS[c].name);
        assert_string_equal(other, same);
        free(other);
        free(same);
        for (int i = 0; i < OPTION_COUNT; i++) {
            const OptionRow *row = &OPTION_TABLE[i];
            if (!(row->commands & COMMANDS[c].command)) continue;
            snprintf(option, sizeof option, "\n  --%s ", row->name);
            const char *place = strstr(text, option);
            if (!place) fail_msg("%s --help leaves out --%s", COMMANDS[c].name, row->name);
            if (!strstr(text, row->help)) fail_msg("%s --help does not say: %s", COMMANDS[c].name, row->help);
        }
        free(text);
    }
    char *text = wrapped_help("");
    for (int c = 0; c < COMMAND_COUNT; c++) assert_non_null(strstr(text, COMMANDS[c].summary));
    assert_non_null(strstr(text, "6   a rank of the job is gone or hangs"));
    free(text);
    text = program_output("train --lr 1 --help");
    for (int i = 0; i < PRESET_COUNT; i++) assert_non_null(strstr(text, PRESETS[i].summary));
    free(text);
    text = program_output("--version");
    assert_true(strncmp(text, "train_gpt_lighthouse ", 21) == 0);
    free(text);
}

static void test_dry_run(void **state) {
    (void)state;
    char *text = program_output("train --preset tiny --dry-run --device cpu --matmul fp8");
    assert_non_null(strstr(text, "matmul      FP8: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, "
                                 "down_proj; bf16: the head\n"));
    assert_non_null(strstr(text, "left FP8 operand"));
    free(text);
    text = program_output("train --preset tiny --dry-run");
    assert_non_null(strstr(text, "parameters: 6 layers, dim 128"));
    assert_non_null(strstr(text, "FLOPs an update"));
    assert_non_null(strstr(text, "optimizer"));
    assert_non_null(strstr(text, "total"));
    free(text);
    text = program_output(PLAN "--out new");
    assert_non_null(strstr(text, "S = 640 of 768 rows in 1 chunks"));
    free(text);
    text =
        program_output("train --preset tiny --dry-run --ranks 2 --global-batch 2"); // 4 bytes of half of all
    assert_non_null(
        strstr(text, "4.27 MB sent a rank: gradients 2.13 MB, weights 2.13 MB, attention 0.00 MB,"));
    free(text);
    text = program_output("train --preset tiny --dry-run --ranks 2 --global-batch 8 --zero 2");
    assert_non_null(strstr(text, "sent a rank: gradients 8.53 MB in 4 sums, weights 2.13 MB,"));
    assert_non_null(strstr(text, "gradients, two buckets of a backward"));
    free(text);
    text = program_output(PLAN "--attention dense");
    assert_null(strstr(text, "lighthouse"));
    free(text);
    free(program_output("train --resume run --dry-run"));
    assert_false(folder_exists("new"));
}

// A stack that is too small for the libraries is told, where it would end the program in their midst.
static void test_small_stack(void **state) {
    (void)state;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_STACK, &before), 0);
    small = before;
    small.rlim_cur = 128 << 10;
    assert_int_equal(setrlimit(RLIMIT_STACK, &small), 0);
    Outcome generate = program_run("generate --model run --prompt a --max-bytes 2"),
            help = program_run("--help");
    assert_int_equal(setrlimit(RLIMIT_STACK, &before), 0);
    assert_int_equal(generate.status, 4);
    assert_non_null(strstr(generate.err,
                           "the stack may have 128 KB, and 512 are needed; raise the limit with ulimit -s"));
    assert_int_equal(help.status, 0);
    outcome_free(&generate);
    outcome_free(&help);
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_offload_of_a_file),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_config_files),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_small_stack),
        cmocka_unit_test(test_memory_of_contexts),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_dry_run),
        cmocka_unit_test(test_all_layers_dense),
    };
    return cmocka_run_group_tests_name("command line", tests, set_up, temporary_folder_leave) ? 1 : 0;
}
