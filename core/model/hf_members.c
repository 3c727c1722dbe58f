// Members of config.json that a model must not have, or that nobody knows; see hf_members.h.
#include "core/model/hf_members.h"

#include "core/base/choice.h"
#include "core/model/model_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const json_t *hf_member(const json_t *config, const char *key) {
    const json_t *value = json_object_get(config, key);
    return json_is_null(value) ? NULL : value;
}

bool hf_refuse(const char *path, const char *key, const json_t *value, const char *wanted, Error *error) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(10));
    error_set(error, STATUS_DATA, "%s: %s is %.100s; only a model where it is %s can be used", path, key,
              text ? text : "missing", wanted);
    free(text);
    return false;
}

// ---- What would make it another model than ours, were it ignored

#define MUSTS(X)                      \
    X(MUST_BE_OFF, "false or absent") \
    X(MUST_BE_ON, "true or absent")   \
    X(MUST_BE_ONE, "1 or absent")     \
    X(MUST_BE_ZERO, "0 or absent")
typedef enum { MUSTS(CHOICE_VALUE) } Must;

static const char *const wanted_words[] = {MUSTS(CHOICE_NAME)};

// Members of Llama configurations, of models made from them, and of libraries that read those.
static const struct {
    const char *key;
    Must must;
} musts[] = {
    // biases and norms
    {"attention_bias", MUST_BE_OFF},
    {"qkv_bias", MUST_BE_OFF},
    {"add_qkv_bias", MUST_BE_OFF},
    {"use_qkv_bias", MUST_BE_OFF},
    {"attention_out_bias", MUST_BE_OFF},
    {"mlp_bias", MUST_BE_OFF},
    {"use_bias", MUST_BE_OFF},
    {"lm_head_bias", MUST_BE_OFF},
    {"use_qk_norm", MUST_BE_OFF},
    {"use_qk_layernorm", MUST_BE_OFF},
    {"qk_layernorm", MUST_BE_OFF},
    {"qk_norm", MUST_BE_OFF},
    {"use_post_norm", MUST_BE_OFF},
    {"post_norm", MUST_BE_OFF},
    {"sandwich_norm", MUST_BE_OFF},
    {"norm_after", MUST_BE_OFF},
    {"apply_layernorm_1p", MUST_BE_OFF},
    {"add_unit_offset", MUST_BE_OFF},
    // weights of another kind
    {"quantization_config", MUST_BE_OFF},
    {"compression_config", MUST_BE_OFF},
    {"quantization", MUST_BE_OFF}, // MLX's
    // the shape of a block
    {"is_encoder_decoder", MUST_BE_OFF},
    {"add_cross_attention", MUST_BE_OFF},
    {"parallel_attn", MUST_BE_OFF},
    {"parallel_residual", MUST_BE_OFF},
    {"use_parallel_residual", MUST_BE_OFF},
    {"use_parallel_block", MUST_BE_OFF},
    {"gated_mlp", MUST_BE_ON},
    {"use_gated_mlp", MUST_BE_ON},
    {"pruned_heads", MUST_BE_OFF},
    {"num_local_experts", MUST_BE_OFF},
    {"num_experts", MUST_BE_OFF},
    {"moe_num_experts", MUST_BE_OFF},
    {"n_routed_experts", MUST_BE_OFF},
    {"n_shared_experts", MUST_BE_OFF},
    // what attends to what
    {"is_causal", MUST_BE_ON},
    {"causal", MUST_BE_ON},
    {"use_bidirectional_attention", MUST_BE_OFF},
    {"bidirectional", MUST_BE_OFF},
    {"attention_chunk_size", MUST_BE_OFF},
    {"attention_window_size", MUST_BE_OFF},
    {"sliding_window_size", MUST_BE_OFF},
    {"attention_sinks", MUST_BE_OFF},
    {"use_attention_sinks", MUST_BE_OFF},
    {"attn_output_gate", MUST_BE_OFF},
    {"attention_k_eq_v", MUST_BE_OFF},
    {"num_kv_shared_layers", MUST_BE_OFF},
    {"use_cla", MUST_BE_OFF},
    {"kv_lora_rank", MUST_BE_OFF},
    {"q_lora_rank", MUST_BE_OFF},
    {"clip_qkv", MUST_BE_OFF},
    // positions
    {"alibi", MUST_BE_OFF},
    {"rope_interleaved", MUST_BE_OFF},
    {"use_rope", MUST_BE_ON},
    {"use_mrope", MUST_BE_OFF},
    {"mrope_section", MUST_BE_OFF},
    {"use_dynamic_ntk", MUST_BE_OFF},
    {"use_logn_attn", MUST_BE_OFF},
    {"rope_local_base_freq", MUST_BE_OFF},
    {"no_rope_layer_interval", MUST_BE_OFF},
    {"nope_layer_interval", MUST_BE_OFF},
    {"partial_rotary_factor", MUST_BE_ONE},
    {"rotary_pct", MUST_BE_ONE},
    {"rope_pct", MUST_BE_ONE},
    {"rope_percent", MUST_BE_ONE},
    {"rotary_emb_fraction", MUST_BE_ONE},
    {"rope_ratio", MUST_BE_ONE},
    {"rope_scaling_factor", MUST_BE_ONE},
    // scales and caps
    {"attn_logit_softcapping", MUST_BE_OFF},
    {"attn_logit_softcap", MUST_BE_OFF},
    {"final_logit_softcapping", MUST_BE_OFF},
    {"final_logit_softcap", MUST_BE_OFF},
    {"logits_soft_cap", MUST_BE_OFF},
    {"attn_temperature_tuning", MUST_BE_OFF},
    {"scale_attn_by_inverse_layer_idx", MUST_BE_OFF},
    {"scale_attn_weights", MUST_BE_ON},
    {"scale_embeddings", MUST_BE_OFF},
    {"mlp_multipliers", MUST_BE_OFF},
    {"logit_scale", MUST_BE_ONE},
    {"logit_scaling", MUST_BE_ONE},
    {"logits_scaling", MUST_BE_ONE},
    {"lm_head_multiplier", MUST_BE_ONE},
    {"output_multiplier", MUST_BE_ONE},
    {"output_multiplier_scale", MUST_BE_ONE},
    {"embedding_multiplier", MUST_BE_ONE},
    {"embedding_multiplier_scale", MUST_BE_ONE},
    {"embedding_scale", MUST_BE_ONE},
    {"scale_emb", MUST_BE_ONE},
    {"residual_multiplier", MUST_BE_ONE},
    {"residual_scale", MUST_BE_ONE},
    {"key_multiplier", MUST_BE_ONE},
    {"attention_in_multiplier", MUST_BE_ONE},
    {"attention_out_multiplier", MUST_BE_ONE},
    {"attn_output_multiplier", MUST_BE_ONE},
    // dropout
    {"attention_dropout", MUST_BE_ZERO},
    {"hidden_dropout", MUST_BE_ZERO},
    {"resid_pdrop", MUST_BE_ZERO},
    {"attn_pdrop", MUST_BE_ZERO},
    {"embd_pdrop", MUST_BE_ZERO},
};

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

// null, false, 0, and what is empty.
static bool is_off(const json_t *value) {
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_number(value) && json_number_value(value) == 0) ||
           ((json_is_object(value) || json_is_array(value)) &&
            json_object_size(value) + json_array_size(value) == 0);
}

static bool as_it_must_be(const json_t *value, Must must) {
    if (!value) return true;
    if (must == MUST_BE_ON) return json_is_true(value) || (json_is_number(value) && !is_off(value));
    if (must == MUST_BE_ONE) return json_is_number(value) && json_number_value(value) == 1;
    return is_off(value);
}

// Members that are read, of a family that has them.
static bool is_of_family(const char *key, Family family) {
    return family_has(family, FAMILY_NO_ROPE) && strcmp(key, "no_rope_layer_interval") == 0;
}

static bool musts_check(const json_t *config, const char *path, Family family, Error *error) {
    for (size_t i = 0; i < COUNT_OF(musts); i++) {
        if (is_of_family(musts[i].key, family)) continue;
        const json_t *value = hf_member(config, musts[i].key);
        if (!as_it_must_be(value, musts[i].must))
            return hf_refuse(path, musts[i].key, value, wanted_words[musts[i].must], error);
    }
    return true;
}

// ---- Members that are without effect at a value which the shape tells

static double number_of(const json_t *config, const char *key) {
    return json_number_value(json_object_get(config, key));
}

static double head_width(const json_t *config) {
    double width = number_of(config, "head_dim"), heads = number_of(config, "num_attention_heads");
    return width > 0 ? width : heads > 0 ? number_of(config, "hidden_size") / heads : 0;
}

static double scores_scale(const json_t *config) {
    return 1 / sqrt(head_width(config));
}

static double hidden_size(const json_t *config) {
    return number_of(config, "hidden_size");
}

static double root_of_layers(const json_t *config) {
    return sqrt(number_of(config, "num_hidden_layers"));
}

static const struct {
    const char *key;
    double (*plain)(const json_t *config);
} shaped[] = {
    {"attention_multiplier", scores_scale}, // what scores are multiplied by
    {"query_pre_attn_scalar", head_width},  // 1 / the square of that
    {"rotary_dim", head_width},
    {"dim_model_base", hidden_size}, // the logits are divided by hidden_size / this,
    {"scale_depth", root_of_layers}, // and what a block adds is multiplied by this / root of the layers
};

static bool shaped_check(const json_t *config, const char *path, Error *error) {
    for (size_t i = 0; i < COUNT_OF(shaped); i++) {
        const json_t *value = hf_member(config, shaped[i].key);
        double plain = shaped[i].plain(config);
        if (!value || !(isfinite(plain) && plain > 0)) continue; // such sizes are refused later
        if (json_is_number(value) && fabs(json_number_value(value) - plain) <= 1e-6 * plain) continue;
        char wanted[64];
        snprintf(wanted, sizeof wanted, "%.7g or absent", plain);
        return hf_refuse(path, shaped[i].key, value, wanted, error);
    }
    return true;
}

// ---- Lists with a value for each layer, and code

// A list of values that all do, or nothing.
static bool layers_check(const json_t *config, const char *path, const char *key,
                         bool (*plain)(const json_t *layer), const char *wanted, Error *error) {
    const json_t *layers = hf_member(config, key);
    bool ok = is_off(layers) || json_is_array(layers);
    for (size_t i = 0; i < json_array_size(layers); i++) ok = ok && plain(json_array_get(layers, i));
    return ok || hf_refuse(path, key, layers, wanted, error);
}

static bool attends_to_all(const json_t *layer) {
    return json_is_string(layer) && strcmp(json_string_value(layer), "full_attention") == 0;
}

static bool is_on(const json_t *layer) {
    return !is_off(layer);
}

// Windows that are turned on: of the length that is said, or of one that transformers knows where none is. A
// list of layer_types, which is checked besides, stands above it.
static bool windows_on(const json_t *config, Family family) {
    bool listed = json_array_size(json_object_get(config, "layer_types")) > 0;
    return family_has(family, FAMILY_SWITCH) && is_on(json_object_get(config, "use_sliding_window")) &&
           !listed && !json_is_null(json_object_get(config, "sliding_window"));
}

// Every layer attends to all that is before it.
static bool full_attention_check(const json_t *config, const char *path, int64_t context, Family family,
                                 Error *error) {
    const json_t *window = hf_member(config, "sliding_window"),
                 *used = hf_member(config, "use_sliding_window");
    bool narrow = window && !(json_is_number(window) && json_number_value(window) >= (double)context);
    narrow = narrow && !family_has(family, FAMILY_WINDOW); // of which it is read
    if (narrow && !is_off(window) && !json_is_false(used))
        return hf_refuse(path, "sliding_window", window, "absent, or as long as max_position_embeddings",
                         error);
    if (windows_on(config, family))
        return hf_refuse(path, "use_sliding_window", used,
                         "false, which is right for sequences within sliding_window,", error);
    const json_t *types = hf_member(config, "layer_types");
    double n_types = (double)json_array_size(types);
    if (n_types > 0 && n_types != number_of(config, "num_hidden_layers"))
        return hf_refuse(path, "layer_types", types, "a list of num_hidden_layers entries, or absent", error);
    return layers_check(config, path, "layer_types", attends_to_all, "full_attention throughout", error) &&
           (family_has(family, FAMILY_NO_ROPE) ||
            layers_check(config, path, "no_rope_layers", is_on, "absent", error));
}

// Code that comes with a model says what the model is; that of its tokenizer is no matter.
static bool own_code_check(const json_t *config, const char *path, Error *error) {
    const json_t *map = hf_member(config, "auto_map");
    bool own = !is_off(map) && !json_is_object(map);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)map, key, value) own = own || strcmp(key, "AutoTokenizer") != 0;
    return !own || hf_refuse(path, "auto_map", map, "absent: a model has no code of its own", error);
}

bool hf_members_check(const json_t *config, const char *path, int64_t context, Family family, Error *error) {
    return musts_check(config, path, family, error) && shaped_check(config, path, error) &&
           full_attention_check(config, path, context, family, error) && own_code_check(config, path, error);
}

// ---- Members that nobody knows

// Beside the fields of a model: what transformers writes for a Llama, now or in older versions, and what
// common tools add without a meaning for what the model computes.
static const char *const known[] = {
    // Llama's
    "architectures",
    "hidden_act",
    "hidden_activation",
    "initializer_range",
    "layer_types",
    "max_position_embeddings",
    "pretraining_tp",
    "rope_parameters",
    "use_cache",
    "use_sliding_window",
    "max_window_layers",
    // every model's
    "auto_map",
    "bos_token_id",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "dtype",
    "eos_token_id",
    "finetuning_task",
    "id2label",
    "is_decoder",
    "keys_to_ignore_at_inference",
    "label2id",
    "num_labels",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "prefix",
    "problem_type",
    "return_dict",
    "sep_token_id",
    "task_specific_params",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "unk_token_id",
    "use_bfloat16",
    // settings of generation, from before they had a file of their own
    "bad_words_ids",
    "begin_suppress_tokens",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "suppress_tokens",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    // tools'
    "attn_implementation",
    "bos_token",
    "eos_token",
    "is_llama_config",
    "max_seq_len",
    "max_sequence_length",
    "model_max_length",
    "name_or_path",
    "neftune_noise_alpha",
    "pad_token",
    "transformers.js_config",
    "unsloth_fixed",
    "unsloth_version",
};

static bool is_known(const char *key) {
    bool is = key[0] == '_'; // _name_or_path, _attn_implementation_autoset, _commit_hash
    for (int i = 0; i < MODEL_FIELD_COUNT; i++) is = is || strcmp(key, MODEL_FIELD_TABLE[i].key) == 0;
    for (size_t i = 0; i < COUNT_OF(known); i++) is = is || strcmp(key, known[i]) == 0;
    for (size_t i = 0; i < COUNT_OF(musts); i++) is = is || strcmp(key, musts[i].key) == 0;
    for (size_t i = 0; i < COUNT_OF(shaped); i++) is = is || strcmp(key, shaped[i].key) == 0;
    return is;
}

void hf_members_unknown(const json_t *config, ByteBuffer *names) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)config, key, value) {
        if (!is_known(key) && !is_off(value)) bytes_printf(names, "%s%s", names->size ? ", " : "", key);
    }
}
