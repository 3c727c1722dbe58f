// Model folders of other programs: which are taken, what is loaded from them, and which are refused by name.
#include "core/base/files.h"
#include "core/model/hf_config.h"
#include "core/model/hf_members.h"
#include "core/base/json_file.h"
#include "core/checkpoint/model_folder.h"
#include "core/checkpoint/tensor_set.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/fake_engine.h"
#include "dev/test/support/folders.h"
#include "dev/test/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const ModelConfig small_model = {2, 64, 2, 1, 64, 72, 320, 50000, 1e-5};

typedef struct {
    char *folder;
    Engine *source, *target; // the model in the folder, and one to load it into
} Fixture;

static int set_up(void **data) {
    Fixture *f = (Fixture *)alloc_or_exit(1, sizeof *f);
    f->folder = scratch_create();
    f->source = fake_engine_create(&small_model, false);
    f->target = fake_engine_create(&small_model, true);
    fake_engine_fill(f->source, 1);
    *data = f;
    return 0;
}

static int tear_down(void **data) {
    Fixture *f = (Fixture *)*data;
    engine_destroy(f->source);
    engine_destroy(f->target);
    scratch_remove(f->folder);
    free(f);
    return 0;
}

// ---- Writing folders

// config.json of the model, with the members of `changes` (JSON text) put over it; null removes one.
static void write_config(Fixture *f, const char *changes) {
    config_put(f->folder, hf_config_json(&small_model, 4096), changes);
}

// Some of the source's weights as a file: those from `first` to before `last` in the table.
static void write_part(Fixture *f, const char *name, int first, int last) {
    TensorSet set = tensor_set_weights(&f->source->table), part = set;
    part.places += first;
    part.count = last - first;
    char *path = path_join(f->folder, name);
    Digest digest;
    Error error;
    expect_ok(fake_engine_save(f->source, &part, path, &digest, &error), &error);
    free(path);
    tensor_set_free(&set);
}

static void write_whole(Fixture *f) {
    write_part(f, "model.safetensors", 0, f->source->table.count);
}

// The source's weights as a file of 16-bit numbers whose bits are the upper half of the float32, whatever
// type they are said to be of.
static void write_halves(Fixture *f, const char *dtype) {
    json_t *header = json_object();
    const ParamTable *table = &f->source->table;
    int64_t offset = 0;
    for (int i = 0; i < table->count; i++) {
        const Param *param = &table->params[i];
        int64_t end = offset + 2 * param_size(param);
        json_t *shape = param->n_dims == 1
                            ? json_pack("[I]", (json_int_t)param->cols)
                            : json_pack("[I, I]", (json_int_t)param->rows, (json_int_t)param->cols);
        json_object_set_new(header, param->name,
                            json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", shape, "data_offsets",
                                      (json_int_t)offset, (json_int_t)end));
        offset = end;
    }
    char *text = json_dumps(header, JSON_COMPACT);
    uint64_t length = strlen(text);
    char *bytes = (char *)alloc_or_exit(8 + length + (size_t)offset, 1), *at = bytes + 8 + length;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, text, length);
    for (int i = 0; i < table->count; i++) {
        for (int64_t e = 0; e < param_size(&table->params[i]); e++, at += 2) {
            float value;
            engine_read(f->source, TENSOR_WEIGHT, i, e, 1, &value);
            memcpy(at, (char *)&value + 2, 2);
        }
    }
    scratch_write(f->folder, "model.safetensors", bytes, at - bytes);
    free(bytes);
    free(text);
    json_decref(header);
}

static void must_load(Fixture *f) {
    Error error;
    expect_ok(model_folder_load(f->target, f->folder, &error), &error);
}

// Refused with this text, and nothing was loaded.
static void expect_refused(Fixture *f, const char *part) {
    Engine *before = fake_engine_create(&f->target->config.model, true);
    fake_engine_fill(before, 9);
    fake_engine_fill(f->target, 9);
    Error error;
    expect_failed(model_folder_load(f->target, f->folder, &error), &error, STATUS_DATA, part);
    assert_true(fake_engine_same_weights(f->target, before, true));
    engine_destroy(before);
}

// ---- Folders that are taken

static void test_single_file(void **data) {
    Fixture *f = (Fixture *)*data;
    write_config(f, "{}");
    write_whole(f);
    ModelConfig found;
    int64_t context;
    Error error;
    assert_true(model_folder_config(f->folder, &found, &context, &error));
    assert_true(hf_config_same(&found, &small_model, f->folder, &error));
    assert_int_equal(context, 4096);
    must_load(f);
    assert_true(fake_engine_same_weights(f->source, f->target, false));
}

#define INDEX(a, b)                                                                            \
    "{\"metadata\":{},\"weight_map\":{\"model.norm.weight\":\"" a "\",\"lm_head.weight\":\"" b \
    "\",\"model.embed_tokens.weight\":\"" a "\"}}"

static void test_shards(void **data) {
    Fixture *f = (Fixture *)*data;
    write_config(f, "{}");
    write_part(f, "model-00001-of-00002.safetensors", 0, 7);
    write_part(f, "model-00002-of-00002.safetensors", 7, f->source->table.count);
    scratch_write(f->folder, "model.safetensors.index.json",
                  INDEX("model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"), -1);
    must_load(f);
    assert_true(fake_engine_same_weights(f->source, f->target, false));

    scratch_write(f->folder, "model.safetensors.index.json",
                  INDEX("model-00001-of-00002.safetensors", "model-00001-of-00002.safetensors"), -1);
    expect_refused(f, "is missing");
    write_part(f, "again.safetensors", 3, f->source->table.count);
    scratch_write(f->folder, "model.safetensors.index.json",
                  INDEX("model-00001-of-00002.safetensors", "again.safetensors"), -1);
    expect_refused(f, "lies both in ");
}

static void test_index_stays_in_its_folder(void **data) {
    Fixture *f = (Fixture *)*data;
    write_config(f, "{}");
    scratch_write(f->folder, "sub/note", "x", -1);
    write_part(f, "sub/model.safetensors", 0, f->source->table.count);
    const char *const indices[] = {
        INDEX("../model.safetensors", "x"),
        INDEX("sub/model.safetensors", "sub/model.safetensors"),
        INDEX("/etc/passwd", "x"),
        INDEX("..", ".."),
        INDEX("", ""),
        "{\"weight_map\":{\"lm_head.weight\":7}}",
    };
    for (size_t i = 0; i < sizeof indices / sizeof indices[0]; i++) {
        scratch_write(f->folder, "model.safetensors.index.json", indices[i], -1);
        expect_refused(f, "is not mapped to a file of this folder");
    }
    scratch_write(f->folder, "model.safetensors.index.json", "{\"weight_map\":{}}", -1);
    expect_refused(f, "weight_map is missing or empty");
    scratch_write(f->folder, "model.safetensors.index.json", "{\"weight_map\":[1]}", -1);
    expect_refused(f, "weight_map is missing or empty");
    scratch_write(f->folder, "model.safetensors.index.json", "{", -1);
    expect_refused(f, "index.json:1: not valid JSON");
}

static void test_half_precision(void **data) {
    Fixture *f = (Fixture *)*data;
    write_config(f, "{\"dtype\": \"bfloat16\"}");
    write_halves(f, "BF16");
    must_load(f);
    for (int i = 0; i < f->source->table.count; i++) {
        float source[8], target[8];
        engine_read(f->source, TENSOR_WEIGHT, i, 3, 8, source);
        engine_read(f->target, TENSOR_WEIGHT, i, 3, 8, target);
        for (int e = 0; e < 8; e++) { // cut off, not rounded
            uint32_t bits;
            memcpy(&bits, &source[e], 4);
            bits &= 0xFFFF0000u;
            assert_memory_equal(&target[e], &bits, 4);
        }
    }

    write_halves(f, "F16");
    must_load(f);
    float source, target;
    engine_read(f->source, TENSOR_WEIGHT, 4, 10, 1, &source);
    engine_read(f->target, TENSOR_WEIGHT, 4, 10, 1, &target);
    uint32_t bits;
    memcpy(&bits, &source, 4);
    float wanted = (1 + (float)(bits >> 16 & 0x3FF) / 1024) * (float)(1 << (bits >> 26 & 31)) / 32768;
    assert_true(target == (bits >> 31 ? -wanted : wanted));

    write_halves(f, "I16");
    expect_refused(f, "is not of float32, bfloat16 or float16");
}

static void expect_tied(Fixture *f) {
    must_load(f);
    int embedding = param_find(&f->target->table, PARAM_EMBEDDING, -1);
    float source[100], target[100];
    engine_read(f->source, TENSOR_WEIGHT, embedding, 777, 100, source);
    engine_read(f->target, TENSOR_WEIGHT, embedding, 777, 100, target);
    assert_memory_equal(source, target, sizeof source);
}

static void set_head_to_embedding(Fixture *f) {
    int embedding = param_find(&f->source->table, PARAM_EMBEDDING, -1);
    int head = param_find(&f->source->table, PARAM_HEAD, -1);
    for (int64_t i = 0; i < param_size(&f->source->table.params[head]); i++) {
        float weight;
        engine_read(f->source, TENSOR_WEIGHT, embedding, i, 1, &weight);
        engine_write(f->source, TENSOR_WEIGHT, head, i, 1, &weight);
    }
}

static void test_tied_embedding(void **data) {
    Fixture *f = (Fixture *)*data;
    int head = param_find(&f->source->table, PARAM_HEAD, -1);
    assert_int_equal(head, f->source->table.count - 1);
    write_part(f, "model.safetensors", 0, head);
    write_config(f, "{}");
    expect_refused(f, "tensor 'lm_head.weight' is missing");
    write_config(f, "{\"tie_word_embeddings\": true}");
    expect_refused(f, "tie_word_embeddings is true, this run has false");
    ModelConfig tied = small_model;
    tied.tied = true;
    engine_destroy(f->target);
    f->target = fake_engine_create(&tied, true);
    assert_int_equal(f->target->table.count, head + 2 * 2); // no head; gates of two layers
    expect_tied(f);

    char *path = path_join(f->folder, "model.safetensors");
    remove(path);
    write_whole(f); // with a head of its own
    expect_refused(f, "lm_head.weight is not model.embed_tokens.weight, but tie_word_embeddings in ");
    set_head_to_embedding(f);
    remove(path);
    free(path);
    write_whole(f); // some store the head all the same
    expect_tied(f);
}

static void test_extra_tensors(void **data) {
    Fixture *f = (Fixture *)*data;
    write_config(f, "{}");
    const char *const names[] = {"model.layers.0.self_attn.rotary_emb.inv_freq",
                                 "model.layers.0.self_attn.q_proj.bias"};
    for (int i = 0; i < 2; i++) {
        TensorSet set = tensor_set_weights(&f->source->table), more = set;
        more.places = (TensorPlace *)alloc_or_exit((size_t)set.count + 1, sizeof *more.places);
        memcpy(more.places, set.places, (size_t)set.count * sizeof *more.places);
        more.places[more.count] = set.places[1]; // the values of a norm
        snprintf(more.places[more.count++].name, sizeof set.places[0].name, "%s", names[i]);
        char *path = path_join(f->folder, "model.safetensors");
        Digest digest;
        Error error;
        remove(path);
        assert_true(fake_engine_save(f->source, &more, path, &digest, &error));
        free(path);
        tensor_set_free(&set);
        tensor_set_free(&more);
        if (i == 0) must_load(f);
    }
    expect_refused(f, "tensor 'model.layers.0.self_attn.q_proj.bias' is not one of the model's");
}

// Rows as they should be, columns not.
static void test_wrong_columns(void **data) {
    Fixture *f = (Fixture *)*data;
    write_config(f, "{}");
    TensorSet set = tensor_set_weights(&f->source->table);
    set.places[param_find(set.table, PARAM_DOWN, 1)].param = param_find(set.table, PARAM_O, 1);
    char *path = path_join(f->folder, "model.safetensors");
    Digest digest;
    Error error;
    assert_true(fake_engine_save(f->source, &set, path, &digest, &error));
    free(path);
    tensor_set_free(&set);
    expect_refused(f, "'model.layers.1.mlp.down_proj.weight' has shape (64, 128), the model's is (64, 72)");
}

// ---- Configurations

static void test_config_forms(void **data) {
    Fixture *f = (Fixture *)*data;
    const struct {
        const char *changes;
        double theta;
    } cases[] = {
        {"{}", 50000},
        {"{\"rope_theta\": null}", 50000},
        {"{\"rope_parameters\": null}", 50000},
        {"{\"rope_theta\": null, \"rope_parameters\": null}", 10000},
        {"{\"rope_parameters\": null, \"rope_theta\": 500000}", 500000},
        {"{\"rope_scaling\": {\"type\": \"default\"}}", 50000},
        {"{\"sliding_window\": 4096, \"auto_map\": {\"AutoTokenizer\": [\"a\", null]}}", 50000},
        {"{\"sliding_window\": 7, \"use_sliding_window\": false, \"layer_types\": [\"full_attention\", "
         "\"full_attention\"]}",
         50000},
        {"{\"attention_multiplier\": 0.125, \"query_pre_attn_scalar\": 64, \"is_causal\": true}", 50000},
        {"{\"scale_depth\": 1.4142135623730951, \"dim_model_base\": 64, \"scale_emb\": 1}", 50000},
        {"{\"quantization_config\": {}, \"logit_scale\": 1, \"pretraining_tp\": 2}", 50000},
        {"{\"partial_rotary_factor\": 1.0, \"architectures\": null, \"hidden_act\": null}", 50000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_config(f, cases[i].changes);
        ModelConfig found;
        int64_t context;
        Error error;
        expect_ok(model_folder_config(f->folder, &found, &context, &error), &error);
        assert_true(found.rope_theta == cases[i].theta);
    }

    write_config(f, "{\"num_key_value_heads\": null, \"head_dim\": null, \"hidden_size\": 128,"
                    " \"max_position_embeddings\": null, \"rms_norm_eps\": null}");
    ModelConfig found;
    int64_t context;
    Error error;
    assert_true(model_folder_config(f->folder, &found, &context, &error));
    assert_int_equal(found.n_kv_heads, 2);
    assert_int_equal(found.head_dim, 64);
    assert_int_equal(context, 2048);
    assert_true(found.norm_eps == 1e-6);
}

static void write_null(Fixture *f, const char *changes, const char *key) {
    write_config(f, changes);
    char *path = path_join(f->folder, "config.json");
    json_t *config = json_load_file(path, 0, NULL);
    json_object_set_new(config, key, json_null());
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    free(path);
}

// A member that is null is not one that is missing, where transformers makes a difference.
static void test_nulls(void **data) {
    Fixture *f = (Fixture *)*data;
    static const char *const refused[] = {"hidden_act", "rms_norm_eps", "max_position_embeddings",
                                          "tie_word_embeddings"};
    static const char *const taken[] = {"num_key_value_heads", "head_dim", "rope_scaling", "architectures"};
    ModelConfig found;
    int64_t context;
    Error error;
    for (size_t i = 0; i < 4; i++) {
        write_null(f, "{}", refused[i]);
        expect_refused(f, refused[i]);
        expect_refused(f, "is null, which transformers does not take for its default");
        write_null(f, "{\"num_key_value_heads\": 2, \"hidden_size\": 128}", taken[i]);
        expect_ok(model_folder_config(f->folder, &found, &context, &error), &error);
    }
    write_null(f, "{\"model_type\": \"qwen3\", \"architectures\": null}", "head_dim");
    expect_refused(f, "head_dim is null");
    write_null(f, "{}", "rope_theta");
    expect_ok(model_folder_config(f->folder, &found, &context, &error), &error); // rope_parameters has it
    write_null(f, "{\"rope_parameters\": null}", "rope_theta");
    expect_refused(f, "rope_theta is null, and nothing else says the base");
}

// What of a configuration is refused, and what the error says. ' stands for ".
static const struct {
    const char *changes, *part;
} refused_configs[] = {
    {"{'model_type': 'mistral'}", "where it is ['MistralForCausalLM'] can be used"},
    {"{'model_type': 'gemma', 'gain': 2}", "model_type is 'gemma', and there are llama|"},
    {"{'model_type': 'gemma', 'gain': 2}", "not known, nor its members gain"},
    {"{'model_type': 'gemma2', 'final_logit_softcapping': 30}", "final_logit_softcapping is 30;"},
    {"{'model_type': 'gemma2', 'final_logit_softcapping': 30}", "model_type 'gemma2' is none of"},
    {"{'model_type': 'mistral', 'architectures': null, 'sliding_window': 0.5}",
     "sliding_window must be a whole number from 1"},
    {"{'model_type': null}", "model_type is missing"},
    {"{'architectures': ['LlamaForSequenceClassification']}", "architectures is "},
    {"{'hidden_act': 'gelu'}", "hidden_act is 'gelu'"},
    {"{'attention_bias': true}", "attention_bias is true"},
    {"{'mlp_bias': true}", "mlp_bias is true"},
    {"{'quantization_config': {'bits': 4}}", "quantization_config is {'bits':4}"},
    {"{'rope_scaling': {'rope_type': 'llama3', 'factor': 8}}", "llama3 needs low_freq_factor"},
    {"{'rope_scaling': {'type': 'linear'}}", "rope_scaling: linear needs factor"},
    {"{'rope_scaling': {'type': 'longrope'}}",
     "type is 'longrope'; only a model where it is default, linear, dynamic, llama3, yarn can be used"},
    {"{'rope_scaling': {'type': 'linear', 'factor': 4}}",
     "rope_scaling says linear:factor=4, but rope_parameters says none"},
    {"{'rope_scaling': {'type': 'linear', 'factor': 0.5}}", "factor must be 1 or more, and is 0.5"},
    {"{'rope_scaling': {'type': 'linear', 'factor': 4, 'finetuned': true}}",
     "finetuned is true; only a model where it is absent from rope_scaling of type linear"},
    {"{'rope_scaling': {'type': 'linear', 'factor': 4, 'beta_fast': 32}}",
     "beta_fast is 32; only a model where it is absent from rope_scaling of type linear"},
    {"{'rope_scaling': {'type': 'linear', 'factor': '4'}}", "factor is '4'"},
    {"{'rope_scaling': {'type': 'yarn', 'factor': 4, 'truncate': 1}}", "truncate is 1"},
    {"{'rope_scaling': {'type': 'yarn', 'factor': 4, 'attention_factor': 0}}",
     "attention_factor is 0; only a model where it is a number above 0"},
    {"{'rope_scaling': {'type': 'yarn', 'factor': 4, 'beta_fast': 0.5}}",
     "beta_fast 0.5 must be above beta_slow 1"},
    {"{'rope_scaling': {'type': 'yarn', 'factor': 4, 'original_max_position_embeddings': 10.5}}",
     "original must be a whole number"},
    {"{'rope_scaling': {'type': 'dynamic', 'factor': 4, 'original_max_position_embeddings': 1024}}",
     "transformers reads 4096, max_position_embeddings, for type dynamic"},
    {"{'rope_scaling': {'type': 'yarn', 'factor': 4}, 'original_max_position_embeddings': 1024}",
     "original_max_position_embeddings is 1024; only a model where it is said in rope_scaling"},
    {"{'rope_scaling': {'rope_type': 'llama3', 'factor': 8, 'low_freq_factor': 4, 'high_freq_factor': 4}}",
     "high_freq_factor 4 must be above low_freq_factor 4"},
    {"{'rope_parameters': {'rope_type': 'yarn', 'rope_theta': 50000}}", "rope_parameters: yarn needs factor"},
    {"{'rope_parameters': [1]}", "rope_parameters is [1]"},
    {"{'rope_parameters': {'rope_type': 'default', 'rope_theta': 'x'}}",
     "rope_theta must be a number above 0"},
    {"{'rope_interleaved': true}", "rope_interleaved is true"},
    {"{'partial_rotary_factor': 0.5}", "partial_rotary_factor is 0.5"},
    {"{'rope_theta': -1}", "rope_theta must be a number above 0"},
    {"{'rope_theta': 500000}", "rope_theta is 500000, but rope_parameters says 50000"},
    {"{'rope_theta': null, 'rope_scaling': {'type': 'default', 'rope_theta': 10000}}",
     "rope_theta is 10000, but rope_parameters says 50000"},
    {"{'rope_scaling': {'factor': 8}}", "rope_scaling has no rope_type"},
    {"{'rope_scaling': {}}", "rope_scaling has no rope_type"},
    {"{'rope_parameters': {'rope_theta': 50000}}", "rope_parameters has no rope_type"},
    {"{'rope_parameters': {'full_attention': {'rope_type': 'default'}}}", "rope_parameters has no rope_type"},
    {"{'rope_scaling': {'type': 'default', 'rope_type': 'yarn'}}",
     "type is 'default'; only a model where it is the same as rope_type"},
    {"{'rope_scaling': {'type': 'default', 'factor': 4}}", "factor is 4"},
    {"{'rope_scaling': {'rope_type': 5}}", "rope_type is 5"},
    {"{'rope_scaling': 'linear'}", "rope_scaling is 'linear'"},
    {"{'attention_bias': 1}", "attention_bias is 1"},
    {"{'tie_word_embeddings': 'true'}", "tie_word_embeddings is 'true'"},
    {"{'architectures': ['LlamaForCausalLM', 'Other']}", "architectures is "},
    {"{'sliding_window': 1024}", "sliding_window is 1024"},
    {"{'layer_types': ['full_attention', 'sliding_attention']}", "layer_types is "},
    {"{'no_rope_layers': [1, 0]}", "no_rope_layers is "},
    {"{'auto_map': {'AutoModelForCausalLM': 'own.Model'}}", "auto_map is "},
    {"{'logits_scaling': 8}", "logits_scaling is 8"},
    {"{'attention_dropout': 0.1}", "attention_dropout is 0.1"},
    {"{'num_local_experts': 8}", "num_local_experts is 8"},
    {"{'final_logit_softcapping': 30.0}", "final_logit_softcapping is 30"},
    {"{'attention_multiplier': 0.0078125}",
     "attention_multiplier is 0.0078125; only a model where it is 0.125 or absent can be used"},
    {"{'query_pre_attn_scalar': 256}", "where it is 64 or absent"},
    {"{'dim_model_base': 256}", "dim_model_base is 256"},
    {"{'scale_depth': 1.4}", "scale_depth is 1.4"},
    {"{'scale_emb': 12}", "scale_emb is 12"},
    {"{'attention_multiplier': '0.125'}", "attention_multiplier is '0.125'"},
    {"{'lm_head_multiplier': 0.04}", "lm_head_multiplier is 0.04"},
    {"{'is_causal': false}", "is_causal is false"},
    {"{'attention_chunk_size': 8192}", "attention_chunk_size is 8192"},
    {"{'rope_local_base_freq': 10000}", "rope_local_base_freq is 10000"},
    {"{'quantization': {'bits': 4}}", "quantization is {'bits':4}"},
    {"{'layer_types': ['full_attention']}", "where it is a list of num_hidden_layers entries"},
    {"{'layer_types': 'sliding_attention'}", "layer_types is 'sliding_attention'"},
    {"{'auto_map': 'own.Model'}", "auto_map is 'own.Model'"},
    {"{'rope_scaling': {'type': 'default', 'mrope_section': [16, 24, 24]}}", "mrope_section is [16,24,24]"},
    {"{'compression_config': {'format': 'fp8'}}", "compression_config is "},
    {"{'head_dim': null, 'hidden_size': 136, 'num_attention_heads': 3}",
     "num_attention_heads 3 does not divide hidden_size 136"},
    {"{'rms_norm_eps': 0}", "rms_norm_eps must be a number above 0"},
    {"{'hidden_size': null}", "hidden_size must be a whole number"},
    {"{'hidden_size': 64.5}", "hidden_size must be a whole number"},
    {"{'num_attention_heads': 0}", "num_attention_heads must be a whole number"},
    {"{'num_hidden_layers': -3}", "num_hidden_layers must be a whole number"},
    {"{'vocab_size': 9223372036854775807}", "vocab_size must be a whole number"},
    {"{'hidden_size': 64.5}", "must be a whole number from 1 to 1048576, and is 64.5"},
    {"{'head_dim': 80}", "config.json: head_dim is 80; attention is built for 64, 96 or 128"},
    {"{'intermediate_size': 65}", "config.json: intermediate_size is 65, and must be a multiple of 8"},
    {"{'num_attention_heads': 3, 'num_key_value_heads': 2}",
     "num_key_value_heads 2 does not divide num_attention_heads 3"},
    {"{'num_hidden_layers': 1000}", "config.json: "},
};

static char *with_quotes(const char *text) {
    char *quoted = copy_or_exit(text);
    for (char *at = quoted; *at; at++) *at = *at == '\'' ? '"' : *at;
    return quoted;
}

static void test_config_refused(void **data) {
    Fixture *f = (Fixture *)*data;
    for (size_t i = 0; i < sizeof refused_configs / sizeof *refused_configs; i++) {
        char *changes = with_quotes(refused_configs[i].changes);
        char *part = with_quotes(refused_configs[i].part);
        write_config(f, changes);
        expect_refused(f, part);
        expect_refused(f, "config.json");
        free(changes);
        free(part);
    }
    scratch_write(f->folder, "config.json", "{\n\"a\": 1,\n]", -1);
    expect_refused(f, "config.json:3: not valid JSON");
    scratch_write(f->folder, "config.json", "[]", -1);
    expect_refused(f, "holds no JSON object");
    scratch_write(f->folder, "config.json", "{\"model_type\": \"llama\", \"model_type\": \"llama\"}", -1);
    expect_refused(f, "duplicate");
}

// Some programs write whole numbers so.
static void test_whole_reals(void **data) {
    Fixture *f = (Fixture *)*data;
    write_config(f, "{\"max_position_embeddings\": 131072.0, \"vocab_size\": 2.64e2}");
    ModelConfig found;
    int64_t context;
    Error error;
    expect_ok(model_folder_config(f->folder, &found, &context, &error), &error);
    assert_int_equal(context, 131072);
    assert_int_equal(found.vocab_size, 264);
}

// What is taken is taken again when it has been trained on a longer context.
static void test_longer_context(void **data) {
    Fixture *f = (Fixture *)*data;
    write_config(f, "{\"sliding_window\": 4096, \"rope_scaling\": {\"type\": \"default\"}}");
    Error error;
    char *path = path_join(f->folder, "config.json");
    json_t *config = json_file_read(path, &error);
    assert_non_null(config);
    config_put(f->folder, hf_config_update(config, &small_model, 131072), "{}");
    ModelConfig found;
    int64_t context;
    expect_ok(model_folder_config(f->folder, &found, &context, &error), &error);
    assert_int_equal(context, 131072);
    json_decref(config);
    free(path);
}

// Members that no family has are named, what is off or means nothing for the model is not.
static void test_unknown_members(void **data) {
    (void)data;
    json_t *config = hf_config_json(&small_model, 4096);
    ByteBuffer names = {NULL, 0, 0};
    hf_members_unknown(config, &names);
    assert_int_equal(names.size, 0);
    json_t *more =
        json_loads("{\"own_scale\": 3, \"own_switch\": false, \"own_list\": [], \"_name_or_path\": \"x\","
                   " \"unsloth_version\": \"2\", \"logit_scale\": 1, \"own_kind\": \"a\"}",
                   0, NULL);
    json_object_update(config, more);
    hf_members_unknown(config, &names);
    bytes_append(&names, "", 1);
    assert_string_equal(names.data, "own_scale, own_kind");
    bytes_free(&names);
    json_decref(more);
    json_decref(config);
}

// Tensors of one shape can mean another model: the number of heads and epsilon show in config.json alone.
static void test_config_of_another_model(void **data) {
    Fixture *f = (Fixture *)*data;
    write_whole(f);
    write_config(f, "{\"rms_norm_eps\": 1e-6}");
    expect_refused(f, "rms_norm_eps is 1e-06, this run has 1e-05");
    write_config(f, "{\"num_hidden_layers\": 3}");
    expect_refused(f, "num_hidden_layers is 3, this run has 2");
}

// What stands in the place of weights is told for what it is.
static void test_no_weights(void **data) {
    Fixture *f = (Fixture *)*data;
    const struct {
        const char *bytes, *part;
    } cases[] = {
        {"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
         "model.safetensors: is a Git LFS pointer"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "git lfs pull"},
        {"\n <!DOCTYPE html><html>", "model.safetensors: is a web page"},
        {"<HTML>", "is a web page"},
        {"PK\x03\x04 and more than this", "is a zip archive, not safetensors"},
        {"\x80\x02}q\x01.", "is a pickle, not safetensors"},
        {"GGUF\x03", "is a GGUF model, not safetensors"},
        {"Not Found", "truncated, or not safetensors"},
    };
    write_config(f, "{}");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scratch_write(f->folder, "model.safetensors", cases[i].bytes, -1);
        expect_refused(f, cases[i].part);
    }
    char *path = path_join(f->folder, "model.safetensors");
    size_t size;
    remove(path);
    write_whole(f);
    char *bytes = scratch_read(f->folder, "model.safetensors", &size);
    scratch_write(f->folder, "model.safetensors", bytes, (int64_t)size - 100);
    expect_refused(f, "seems cut short: download it again");
    remove(path);
    free(path);
    free(bytes);

    scratch_write(f->folder, "model.safetensors.index.json",
                  "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", -1);
    expect_refused(f, "index.json: is a Git LFS pointer");
    scratch_write(f->folder, "model.safetensors.index.json", INDEX("model-00001-of-00002.safetensors", "x"),
                  -1);
    expect_refused(f, "is not there, and model.safetensors.index.json names it");
}

static void test_nothing_there(void **data) {
    Fixture *f = (Fixture *)*data;
    expect_refused(f, "config.json");
    write_config(f, "{}");
    expect_refused(f, "neither model.safetensors nor model.safetensors.index.json");
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_single_file),
        WITH_FOLDER(test_shards),
        WITH_FOLDER(test_index_stays_in_its_folder),
        WITH_FOLDER(test_half_precision),
        WITH_FOLDER(test_tied_embedding),
        WITH_FOLDER(test_extra_tensors),
        WITH_FOLDER(test_wrong_columns),
        WITH_FOLDER(test_config_forms),
        WITH_FOLDER(test_nulls),
        WITH_FOLDER(test_config_refused),
        WITH_FOLDER(test_whole_reals),
        WITH_FOLDER(test_longer_context),
        cmocka_unit_test(test_unknown_members),
        WITH_FOLDER(test_config_of_another_model),
        WITH_FOLDER(test_no_weights),
        WITH_FOLDER(test_nothing_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
