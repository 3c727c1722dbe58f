// The seeds of dev/fuzz/corpus: what our own writers make, and files that lie, made by hand.
// dev/fuzz/make_corpus FOLDER; `make fuzz-corpus` calls it.
#include "harness.h"

#include "core/base/bytes.h"
#include "core/base/files.h"
#include "core/model/hf_config.h"
#include "core/train/log.h"
#include "core/commands/niah.h"
#include "core/options/options.h"
#include "core/model/safetensors.h"
#include "core/data/shard.h"
#include "core/model/tokenizer.h"
#include "core/checkpoint/trainer_state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

static void must(bool ok, const Error *error) {
    if (!ok) error_exit(error);
}

// ---- Writing seeds

static void seed_bytes(const char *folder, const char *harness, const char *name, const void *data,
                       size_t size) {
    char path[64];
    snprintf(path, sizeof path, "%s/%s", harness, name);
    fuzz_write(folder, path, data, size);
}

static void seed_text(const char *folder, const char *harness, const char *name, const char *text) {
    seed_bytes(folder, harness, name, text, strlen(text));
}

// A file becomes a seed, or the next part of one of several files.
static void append_file(ByteBuffer *seed, const char *part, const char *path) {
    Error error;
    size_t size;
    char *bytes = file_read(path, SIZE_MAX, &size, &error);
    must(bytes != NULL, &error);
    if (part) {
        const char *newline = seed->size ? "\n" : "";
        bytes_append(seed, newline, strlen(newline));
        bytes_append(seed, "@@ ", 3);
        bytes_append(seed, part, strlen(part));
        bytes_append(seed, "\n", 1);
    }
    bytes_append(seed, bytes, size);
    free(bytes);
}

static void append_text(ByteBuffer *seed, const char *text) {
    bytes_append(seed, text, strlen(text));
}

static void seed_buffer(const char *folder, const char *harness, const char *name, ByteBuffer *seed) {
    seed_bytes(folder, harness, name, seed->data, seed->size);
    bytes_free(seed);
}

static void seed_file(const char *folder, const char *harness, const char *name, const char *path) {
    ByteBuffer seed = {NULL, 0, 0};
    append_file(&seed, NULL, path);
    seed_buffer(folder, harness, name, &seed);
}

static void seed_gzip(const char *folder, const char *harness, const char *name, const void *data,
                      size_t size) {
    Error error;
    char *path = path_join(folder, "seed.gz");
    gzFile file = gzopen(path, "wb9");
    must(file && gzwrite(file, data, (unsigned)size) == (int)size && gzclose(file) == Z_OK, &error);
    seed_file(folder, harness, name, path);
    must(tree_remove(path, &error), &error);
    free(path);
}

static void seed_zstd(const char *folder, const char *harness, const char *name, const void *data,
                      size_t size) {
    size_t room = ZSTD_compressBound(size);
    char *frame = (char *)alloc_or_exit(room, 1);
    seed_bytes(folder, harness, name, frame, ZSTD_compress(frame, room, data, size, 3));
    free(frame);
}

// ---- Shards

static void make_shard(const char *folder, const char *name, int bytes, int content, int64_t count) {
    Error error;
    ShardWriter writer;
    char *path = path_join(folder, "seed.bin");
    must(shard_writer_open(&writer, path, bytes, &error), &error);
    writer.header.content = content;
    for (int64_t i = 0; i < count; i++) {
        int32_t token = 'a' + (int32_t)(i % 20);
        if (i % 20 == 0) token = TOKEN_BOS;
        if (i % 20 == 19) token = TOKEN_EOS;
        writer.header.n_documents += token == TOKEN_BOS;
        must(shard_writer_append(&writer, &token, 1, &error), &error);
    }
    must(shard_writer_close(&writer, &error), &error);
    seed_file(folder, "shard", name, path);
    must(tree_remove(path, &error), &error);
    free(path);
}

// A whole header of these figures before 40 bytes of tokens.
static void lying_shard(const char *folder, const char *name, ShardHeader header) {
    unsigned char bytes[SHARD_HEADER_SIZE + 40] = {0};
    shard_header_encode(&header, bytes);
    seed_bytes(folder, "shard", name, bytes, sizeof bytes);
}

static void make_shards(const char *folder) {
    make_shard(folder, "bytes", 2, SHARD_BYTES, 60);
    make_shard(folder, "wide", 4, SHARD_BYTES, 45);
    make_shard(folder, "ids", 4, SHARD_IDS, 30);
    make_shard(folder, "one_token", 2, SHARD_BYTES, 1);
    make_shard(folder, "empty", 2, SHARD_BYTES, 0);
    const ShardHeader too_many = {2, SHARD_BYTES, INT64_MAX, 2, 0};
    const ShardHeader negative = {2, SHARD_BYTES, -1, 2, 0};
    const ShardHeader wraps = {4, SHARD_BYTES, (int64_t)1 << 62, 2, 0};
    const ShardHeader documents = {2, SHARD_BYTES, 20, -7, 0};
    const ShardHeader no_width = {0, SHARD_BYTES, 20, 2, 0};
    lying_shard(folder, "too_many_tokens", too_many);
    lying_shard(folder, "minus_one_token", negative);
    lying_shard(folder, "product_wraps", wraps);
    lying_shard(folder, "minus_seven_documents", documents);
    lying_shard(folder, "tokens_of_no_bytes", no_width);
    seed_text(folder, "shard", "cut_short", SHARD_MAGIC "\x01");
}

// ---- safetensors

// A header as it stands before `n_data` zeros; `length` -1 for the true one.
static void lying_safetensors(const char *folder, const char *name, const char *header, int64_t length,
                              size_t n_data) {
    ByteBuffer seed = {NULL, 0, 0};
    static const char zeros[64] = {0};
    uint64_t told = length < 0 ? strlen(header) : (uint64_t)length;
    bytes_append(&seed, &told, sizeof told);
    append_text(&seed, header);
    bytes_append(&seed, zeros, n_data);
    seed_buffer(folder, "safetensors", name, &seed);
}

static void make_safetensors(const char *folder) {
    Error error;
    Digest digest;
    char *path = path_join(folder, "seed.safetensors");
    const SafetensorsSpec specs[] = {{"zeta", 2, {2, 3}}, {"alpha", 1, {4, 0}}};
    const float values[10] = {1, -2, 3, 0.5f};
    const SafetensorsType types[] = {SAFETENSORS_F32, SAFETENSORS_BF16};
    for (int i = 0; i < 2; i++) {
        SafetensorsWriter *writer = safetensors_create(path, specs, 2, types[i], &error);
        must(writer && safetensors_append(writer, values, 10, &error) &&
                 safetensors_finish(writer, &digest, &error),
             &error);
        seed_file(folder, "safetensors", i ? "bf16" : "f32", path);
        must(tree_remove(path, &error), &error);
    }
    free(path);
    lying_safetensors(
        folder, "f16_i64_scalar",
        "{\"a\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[0,6]},\"b\":{\"dtype\":\"I64\","
        "\"shape\":[],\"data_offsets\":[6,14]},\"__metadata__\":{\"format\":\"pt\"}}",
        -1, 14);
    lying_safetensors(
        folder, "overlap",
        "{\"a\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[0,6]},\"b\":{\"dtype\":\"F16\","
        "\"shape\":[3],\"data_offsets\":[4,10]}}",
        -1, 10);
    lying_safetensors(folder, "behind_the_end",
                      "{\"a\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807],\"data_offsets\":[0,"
                      "9223372036854775807]}}",
                      -1, 8);
    lying_safetensors(folder, "shape_of_an_exabyte",
                      "{\"a\":{\"dtype\":\"F32\",\"shape\":[288230376151711744],\"data_offsets\":[0,8]}}", -1,
                      8);
    lying_safetensors(folder, "product_wraps",
                      "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
                      -1, 0);
    lying_safetensors(folder, "minus_offsets",
                      "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[4,-4]}}", -1, 8);
    lying_safetensors(folder, "header_of_an_exabyte", "{}", (int64_t)1 << 60, 0);
    lying_safetensors(
        folder, "two_of_a_name",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"a\":{\"dtype\":\"U8\","
        "\"shape\":[1],\"data_offsets\":[1,2]}}",
        -1, 2);
    lying_safetensors(folder, "strange_name",
                      "{\"\\u001b[2J\\n\":{\"dtype\":\"U9\",\"shape\":[1],\"data_offsets\":[0,1]}}", -1, 1);
}

// ---- Model folders

static void make_models(const char *folder) {
    Error error;
    char *work = path_join(folder, "work");
    json_t *json = hf_config_json(&fuzz_small_model, 32);
    char *text = json_dumps(json, JSON_INDENT(2));
    fuzz_write(work, "config.json", text, strlen(text));
    fuzz_write_weights(work, "model.safetensors");
    free(text);
    json_decref(json);
    char *config = path_join(work, "config.json"), *weights = path_join(work, "model.safetensors");
    seed_file(folder, "config", "written", config);
    ByteBuffer seed = {NULL, 0, 0};
    append_file(&seed, "config.json", config);
    seed_buffer(folder, "model", "config_alone", &seed);
    append_file(&seed, "config.json", config);
    append_file(&seed, "model.safetensors", weights);
    append_text(&seed, "\n@@ tokenizer.json\n{}");
    seed_buffer(folder, "model", "one_file", &seed);

    static const char *const indices[][2] = {
        {"sharded", "{\"weight_map\": {\"a\": \"a.safetensors\"}}"},
        {"twice", "{\"weight_map\": {\"a\": \"a.safetensors\", \"b\": \"b.safetensors\"}}"},
        {"outside", "{\"weight_map\": {\"a\": \"../a.safetensors\"}}"},
        {"absolute", "{\"weight_map\": {\"a\": \"/etc/passwd\"}}"},
        {"no_names", "{\"weight_map\": {\"a\": 7, \"b\": \"\", \"c\": \"..\"}}"},
        {"no_map", "{\"weight_map\": []}"},
    };
    for (size_t i = 0; i < sizeof indices / sizeof *indices; i++) {
        append_file(&seed, "config.json", config);
        append_text(&seed, "\n@@ model.safetensors.index.json\n");
        append_text(&seed, indices[i][1]);
        if (i == 1) append_file(&seed, "b.safetensors", weights);
        seed_buffer(folder, "model", indices[i][0], &seed);
    }
    must(tree_remove(work, &error), &error);
    free(config);
    free(weights);
    free(work);
}

#define LLAMA "{\"model_type\": \"llama\", "

#define SHAPE                                                                                               \
    "\"num_hidden_layers\": 2, \"hidden_size\": 128, \"num_attention_heads\": 2, \"num_key_value_heads\": " \
    "1, "                                                                                                   \
    "\"intermediate_size\": 8, \"vocab_size\": 8, \"rms_norm_eps\": 1e-6, \"rope_theta\": 1e6, "

// Each family with the members that its models have.
static void make_families(const char *folder) {
    seed_text(folder, "config", "mistral",
              "{\"model_type\": \"mistral\", " SHAPE "\"head_dim\": 128, \"sliding_window\": null, "
              "\"attention_dropout\": 0.0, \"architectures\": [\"MistralForCausalLM\"]}");
    seed_text(
        folder, "config", "qwen2",
        "{\"model_type\": \"qwen2\", " SHAPE "\"use_sliding_window\": false, \"sliding_window\": 131072, "
        "\"max_window_layers\": 28, \"tie_word_embeddings\": true, \"layer_types\": [\"full_attention\", "
        "\"full_attention\"]}");
    seed_text(folder, "config", "qwen3",
              "{\"model_type\": \"qwen3\", " SHAPE "\"head_dim\": 96, \"attention_bias\": false, "
              "\"use_sliding_window\": false, \"sliding_window\": null, \"tie_word_embeddings\": true}");
    seed_text(folder, "config", "smollm3",
              "{\"model_type\": \"smollm3\", " SHAPE
              "\"no_rope_layers\": [1, 0], \"no_rope_layer_interval\": 2, "
              "\"use_sliding_window\": false, \"layer_types\": [\"full_attention\", \"full_attention\"], "
              "\"pad_token_id\": 5, \"tie_word_embeddings\": true}");
    seed_text(
        folder, "config", "longrope",
        "{\"model_type\": \"phi3\", " SHAPE "\"head_dim\": 96, \"partial_rotary_factor\": 0.75, "
        "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1], \"long_factor\": [1, 2]}}");
}

#define ADDED_TOKENS                                                                                         \
    "\"added_tokens\": [{\"id\": 0, \"content\": \"<s>\", \"special\": true}, {\"id\": 9, \"content\": \"  " \
    "\"}]"
#define PIECES \
    "\"model\": {\"vocab\": {\"<s>\": 0, \"a\": 1, \"\u2581b\": 2, \"<0x0A>\": 3, \"\u0120\u00c3\": 4}}}"

static void make_tokenizers(const char *folder) {
    seed_text(folder, "tokenizer", "byte_level",
              "{" ADDED_TOKENS ", \"decoder\": {\"type\": \"ByteLevel\"}, " PIECES);
    seed_text(folder, "tokenizer", "metaspace",
              "{" ADDED_TOKENS ", \"decoder\": {\"type\": \"Metaspace\", \"replacement\": \"\u2581\", "
              "\"prepend_scheme\": \"first\"}, " PIECES);
    seed_text(folder, "tokenizer", "pieces",
              "{" ADDED_TOKENS
              ", \"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
              "\"pattern\": {\"String\": \"\u2581\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, "
              "{\"type\": "
              "\"Fuse\"}, {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}, " PIECES);
    seed_text(folder, "tokenizer", "unigram", "{\"model\": {\"vocab\": [[\"a\", 0]]}, \"decoder\": null}");
}

static void make_configs(const char *folder) {
    seed_text(folder, "config", "least",
              LLAMA "\"num_hidden_layers\": 1, \"hidden_size\": 128, \"num_attention_heads\": 2, "
                    "\"intermediate_size\": 8, \"vocab_size\": 264, \"bos_token_id\": 256}");
    seed_text(folder, "config", "huge",
              LLAMA
              "\"num_hidden_layers\": 512, \"hidden_size\": 16777216, \"num_attention_heads\": 16777216, "
              "\"head_dim\": 128, \"intermediate_size\": 16777216, \"vocab_size\": 16777216, "
              "\"max_position_embeddings\": 16777216}");
    seed_text(folder, "config", "negative",
              LLAMA "\"num_hidden_layers\": 1, \"hidden_size\": -128, \"num_attention_heads\": 0}");
    seed_text(folder, "config", "scaled",
              LLAMA "\"num_hidden_layers\": 1, \"hidden_size\": 64, \"num_attention_heads\": 1, "
                    "\"intermediate_size\": 8, \"vocab_size\": 8, \"architectures\": [\"LlamaForCausalLM\"], "
                    "\"hidden_act\": \"silu\", \"rope_scaling\": {\"rope_type\": \"llama3\", \"rope_theta\": "
                    "5e5, \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0}}");
    seed_text(folder, "config", "yarn",
              LLAMA "\"num_hidden_layers\": 1, \"hidden_size\": 64, \"num_attention_heads\": 1, "
                    "\"intermediate_size\": 8, \"vocab_size\": 8, \"rope_parameters\": {\"type\": \"yarn\", "
                    "\"factor\": 4, \"original_max_position_embeddings\": 64, \"truncate\": false, "
                    "\"mscale\": 1, \"mscale_all_dim\": 0.5, \"beta_fast\": 8, \"beta_slow\": 2}}");
    seed_text(folder, "config", "no_rope",
              "{\"model_type\": \"smollm3\", \"num_hidden_layers\": 2, \"hidden_size\": 64, "
              "\"num_attention_heads\": 1, \"intermediate_size\": 8, \"vocab_size\": 8, \"no_rope_layers\": "
              "[1, 0], \"no_rope_layer_interval\": 2, \"tie_word_embeddings\": false}");
    seed_text(folder, "config", "dynamic",
              "{\"model_type\": \"mistral\", \"num_hidden_layers\": 1, \"hidden_size\": 64, "
              "\"num_attention_heads\": 1, \"intermediate_size\": 8, \"vocab_size\": 8, \"sliding_window\": "
              "4096, \"max_position_embeddings\": 64, \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": "
              "4}}");
    make_families(folder);
    seed_text(folder, "config", "other", "{\"model_type\": \"mistral\\u001b[31m\\n\"}");
    seed_text(folder, "config", "array", "[1, 2, 3]");
    seed_text(folder, "config", "torn", LLAMA "\"num_hidden_layers\": ");
}

// ---- State, settings, log

static void make_state(const char *folder) {
    Error error;
    char program[] = "train_gpt_lighthouse", command[] = "train", preset[] = "--preset", tiny[] = "tiny";
    char *words[] = {program, command, preset, tiny, NULL};
    Options options;
    bool done;
    must(options_parse(&options, 4, words, &done, &error) && options_apply_preset(&options, &error), &error);
    TrainerState state;
    memset(&state, 0, sizeof state);
    state.step = 7;
    state.cursor = 700;
    state.epoch = 1;
    state.tokens = 1400;
    state.attention = ATTENTION_DENSE;
    state.settings = options_settings(&options);
    Manifest manifest;
    manifest_begin(&manifest);
    manifest.present[FILE_CONFIG] = manifest.present[FILE_MODEL] = manifest.present[FILE_OPTIMIZER] = true;
    manifest.digest[FILE_MODEL].size = INT64_MAX;
    char *work = path_join(folder, "work"), *trainer = path_join(work, "trainer");
    must(folders_make(trainer, &error) && trainer_state_write(work, &state, &manifest, &error), &error);
    char *path = path_join(work, STATE_FILE_NAME);
    seed_file(folder, "state", "written", path);
    for (int i = 0; i < 3; i++) spikes_made(&state.spikes, 1.5 + i, 0.25);
    state.spikes.skipped = 2;
    must(trainer_state_write(work, &state, &manifest, &error), &error);
    seed_file(folder, "state", "spikes", path);
    for (state.n_sources = 0; state.n_sources < 2; state.n_sources++) {
        SourceState source = {3 - state.n_sources, {700, 1}, 1400, {1, 1, 5000}};
        state.sources[state.n_sources] = source;
    }
    must(trainer_state_write(work, &state, &manifest, &error), &error);
    seed_file(folder, "state", "mixture", path);
    state.n_sources = 0;
    state.tokens = state.epoch = state.cursor = INT64_MAX;
    must(trainer_state_write(work, &state, &manifest, &error), &error);
    seed_file(folder, "state", "at_the_end", path);

    char *text = json_dumps(state.settings, JSON_INDENT(1));
    ByteBuffer seed = {NULL, 0, 0};
    append_text(&seed, "{\"settings\": ");
    append_text(&seed, text);
    append_text(&seed, "}\n");
    seed_buffer(folder, "settings", "tiny", &seed);
    free(text);
    free(path);
    must(tree_remove(work, &error), &error);
    free(trainer);
    free(work);
    json_decref(state.settings);
    options_free(&options);
}

// States that no checkpoint of ours has, under a hash that is right.
static void make_lying_states(const char *folder) {
    static const char *const states[][2] = {
        {"outside",
         "{\"step\": 7, \"cursor\": 0, \"epoch\": 0, \"tokens\": 0, \"attention\": \"dense\", "
         "\"settings\": {}, \"files\": {\"config.json\": {\"size\": 1, \"xxh3\": "
         "\"0123456789abcdef\"}, \"../../outside\": {\"size\": 1, \"xxh3\": \"0123456789abcdef\"}}}"},
        {"negative", "{\"step\": 7, \"cursor\": -1, \"epoch\": 0, \"tokens\": 0, \"attention\": \"dense\", "
                     "\"settings\": {\"lr\": []}, \"files\": {}}"},
        {"no_object", "[7"},
    };
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        uint8_t bytes[1024];
        size_t size = strlen(states[i][1]);
        memcpy(bytes, states[i][1], size);
        size = fuzz_state_mend(bytes, size, sizeof bytes, 0);
        seed_bytes(folder, "state", states[i][0], bytes, size);
    }
}

static void make_settings(const char *folder) {
    seed_text(folder, "settings", "preset", "{\"settings\": {\"preset\": \"530m\", \"switch-at\": 12000}}");
    seed_text(folder, "settings", "deep",
              "{\"settings\": {\"attention\": \"dense\", \"levels\": 12, \"pool\": 1024, \"dilation\": 4096, "
              "\"seq-len\": 1000000000, \"batch\": 8, \"global-batch\": 8}}");
    seed_text(folder, "settings", "gla",
              "{\"settings\": {\"preset\": \"tiny\", \"scorer\": \"gla\", \"dense-layers\": \"none\", "
              "\"recompute\": \"block\", \"schedule\": \"wsd\", \"decay-steps\": 40, \"min-lr\": 1e-4}}");
    seed_text(folder, "settings", "wrong_types",
              "{\"settings\": {\"lr\": {}, \"steps\": true, \"batch\": \"8\", \"data\": 7}}");
    seed_text(folder, "settings", "unknown", "{\"settings\": {\"\\u0007\\n\": 1}}");
    seed_text(folder, "settings", "no_settings", "{\"settings\": []}");
}

static void make_log(const char *folder) {
    Error error;
    char *run = path_join(folder, "work"), *path = path_join(run, "log.jsonl");
    Log *log = log_open(run, &error);
    must(log != NULL, &error);
    for (int64_t step = 1; step <= 8; step++) {
        LogStep line = {
            step, step * 100, 5.0 / (double)step, 1, 1e-3, ATTENTION_LIGHTHOUSE, 1e4, NAN, 0.5, 0.1, 0, NULL};
        must(log_step(log, &line, &error), &error);
        if (step == 5)
            must(log_event(log, "switch", step, json_pack("{s:s}", "to", "dense"), &error), &error);
    }
    log_close(log);
    seed_file(folder, "log", "written", path);
    ByteBuffer seed = {NULL, 0, 0};
    append_file(&seed, "log.jsonl", path);
    append_text(&seed, "@@ run.json\n{\"ranks\": 4}");
    seed_buffer(folder, "report", "run", &seed);
    append_file(&seed, "../parent/log.jsonl", path);
    append_file(&seed, "log.jsonl", path);
    append_text(&seed, "@@ run.json\n{\"parent\": \"../parent/step_00000004\"}");
    seed_buffer(folder, "report", "branch", &seed);
    append_file(&seed, "log.jsonl", path);
    append_text(&seed, "@@ run.json\n{\"parent\": \"run/step_00000004\"}");
    seed_buffer(folder, "report", "own_parent", &seed);
    must(tree_remove(run, &error), &error);
    free(path);
    free(run);
    seed_text(folder, "log", "torn",
              "{\"step\": 1}\n{\"event\": \"switch\", \"step\": 9223372036854775807}\n{\"st");
    seed_text(
        folder, "report", "far",
        "@@ log.jsonl\n{\"step\": 9223372036854775807, \"tokens\": 9223372036854775807, \"loss\": 1e308, "
        "\"seconds\": 1e308, \"attention\": \"dense\"}\n{\"event\": \"validation\", \"step\": 3, \"loss\": "
        "-1e308, \"attention\": \"lighthouse\"}\n");
    seed_text(
        folder, "report", "flat",
        "@@ log.jsonl\n{\"step\": 0, \"tokens\": 0, \"loss\": 0, \"attention\": \"dense\"}\n{\"event\": "
        "\"resume\", \"step\": 0}\n");
    seed_text(folder, "log", "no_log", "\n\n[]\n{\"step\": -1}\n{\"step\": 1.5}\n\x1f\x8b\n");
}

// ---- Texts and ids

static const char lines[] = "{\"text\": \"The first document.\", \"url\": \"https://example.org\"}\n"
                            "\n"
                            "{\"text\": \"caf\\u00e9 \\ud83d\\ude00 \\u0000 <|endoftext|>\"}\n"
                            "{\"text\": \"\"}\r\n"
                            "{\"text\": 7}\n"
                            "{\"id\": 123456789012345678901234567890}\n"
                            "no JSON\n"
                            "{\"text\": \"the last, without an end of line\"}";

static void make_documents(const char *folder) {
    seed_text(folder, "documents", "lines", lines);
    seed_text(folder, "documents", "text", "Some text.\nMore of it.\n");
    seed_bytes(folder, "documents", "binary", "GIF89a\0\0\x01\xff", 10);
    seed_text(folder, "documents", "byte_order_mark", "\xef\xbb\xbf{\"text\": \"x\"}\n");
    seed_text(folder, "documents", "bad_utf8", "{\"text\": \"\xc3\x28 \xff\"}\n{\"text\": \"\\ud800\"}\n");
    seed_gzip(folder, "documents", "gzip", lines, strlen(lines));
    seed_bytes(folder, "documents", "utf16", "\xff\xfe{\0\"\0t\0e\0x\0t\0\"\0:\0\"\0\x3d\xd8\"\0}\0", 26);
    seed_bytes(folder, "documents", "utf32", "\0\0\xfe\xff\0\0\0x\0\1\xf6\0\0\0\xd8\0\0", 17);
    seed_text(folder, "documents", "array", "[\n{\"text\": \"x\"}\n]\n");
    seed_text(
        folder, "documents", "other_fields",
        "{\"n\": [NaN, -Infinity, 1e999], \"a\": {\"b\": \"\\ud800\"}, \"text\": \"\\u00e9\\ud83d\"}\n");
    seed_zstd(folder, "documents", "zstd", lines, strlen(lines));
    ByteBuffer seed = {NULL, 0, 0};
    char *path = path_join(folder, "documents/gzip");
    append_file(&seed, NULL, path);
    append_file(&seed, NULL, path);
    bytes_append(&seed, "\0\0\0", 3);
    seed_buffer(folder, "documents", "gzip_twice", &seed);
    append_file(&seed, NULL, path);
    seed.size /= 2;
    seed_buffer(folder, "documents", "gzip_cut", &seed);
    free(path);
}

static void make_ids(const char *folder) {
    unsigned char bytes[80];
    for (size_t i = 0; i < 40; i++) shard_put(bytes + 2 * i, 2, i % 9 == 8 ? 7 : 100 + i);
    seed_bytes(folder, "ids", "two_bytes", bytes, sizeof bytes);
    seed_bytes(folder, "ids", "cut", bytes, 79);
    seed_gzip(folder, "ids", "gzip", bytes, sizeof bytes);
    for (size_t i = 0; i < 20; i++) shard_put(bytes + 4 * i, 4, i % 9 == 8 ? 7 : 100 + i);
    seed_bytes(folder, "ids", "four_bytes", bytes, sizeof bytes);
    shard_put(bytes + 36, 4, 999); // the largest that the harness allows
    seed_bytes(folder, "ids", "at_the_bound", bytes, sizeof bytes);
    shard_put(bytes + 36, 4, 1000);
    seed_bytes(folder, "ids", "one_too_large", bytes, sizeof bytes);
    shard_put(bytes + 40, 4, UINT32_MAX);
    seed_bytes(folder, "ids", "too_large", bytes, sizeof bytes);
    seed_bytes(folder, "ids", "shard", SHARD_MAGIC, 8);
    seed_text(folder, "ids", "empty", "");
}

// ---- Command lines

// This many lengths and depths.
static void make_lists(const char *folder, const char *name, int count) {
    ByteBuffer seed = {NULL, 0, 0};
    append_text(&seed, "niah");
    for (int list = 0; list < 2; list++) {
        append_text(&seed, list ? "\n--depths\n" : "\n--lengths\n");
        for (int i = 0; i < count; i++) {
            char number[16];
            snprintf(number, sizeof number, "%s%d", i ? "," : "", list ? i : i + 64);
            append_text(&seed, number);
        }
    }
    seed_buffer(folder, "words", name, &seed);
}

static void make_words(const char *folder) {
    make_lists(folder, "niah_full", NIAH_MAX_STEPS);
    make_lists(folder, "niah_too_full", NIAH_MAX_STEPS + 1);
    seed_text(folder, "words", "help", "--help");
    seed_text(folder, "words", "help_train", "train\n--help");
    seed_text(folder, "words", "version", "--version");
    seed_text(folder, "words", "train",
              "train\n--preset\ntiny\n--dry-run\n--lr=3e-4\n--attention\nlighthouse\n--switch-at\n10\n"
              "--dense-layers\n0,-1");
    seed_text(folder, "words", "resume", "train\n--resume\nauto\n--out\nrun\n--data\n*.bin\n--preset\nsmall");
    seed_text(folder, "words", "pack", "pack\na\nb\n--out\nc\n--tokens\nuint16\n--vocab\n100\n--no-shuffle");
    seed_text(folder, "words", "niah", "niah\n--model\nx\n--lengths\n64,4K,1e5\n--depths\n0,12.5,100");
    seed_text(folder, "words", "eval",
              "eval\n--model=x\n--data=y\n--attention=lighthouse\n--levels=12\n--pool=1024");
    seed_text(folder, "words", "bench", "bench\nattention\n--seq-len\n1048576\n--topk\n4096\n--scorer\ngla");
    seed_text(folder, "words", "generate",
              "generate\n--prompt\n\n--temperature\n0\n--top-p\n1e-6\n--seed\n9e15");
    seed_text(folder, "words", "deep",
              "train\n--dry-run\n--attention=dense\n--layers=512\n--dim=1048576\n--levels=12\n--pool=1024");
    seed_text(folder, "words", "strange", "train\n--\x1b[2J\n-\n--\n--=\n--lr=nan\n\xff\xfe");
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: make_corpus FOLDER\n");
        return STATUS_USAGE;
    }
    Error error;
    must(folders_make(argv[1], &error), &error);
    make_shards(argv[1]);
    make_safetensors(argv[1]);
    make_models(argv[1]);
    make_configs(argv[1]);
    make_tokenizers(argv[1]);
    make_state(argv[1]);
    make_lying_states(argv[1]);
    make_settings(argv[1]);
    make_log(argv[1]);
    make_documents(argv[1]);
    make_ids(argv[1]);
    make_words(argv[1]);
    return STATUS_DONE;
}
