// The byte tokenizer, in C and as the JSON files that Hugging Face libraries read; see tokenizer.h.
#include "core/model/tokenizer.h"

#include <stdio.h>

#define BOS_TEXT "<|begin_of_text|>"
#define EOS_TEXT "<|end_of_text|>"
#define PAD_TEXT "<|pad|>"

int64_t tokenizer_encode(const void *text, int64_t n_bytes, int32_t *tokens) {
    const unsigned char *bytes = (const unsigned char *)text;
    tokens[0] = TOKEN_BOS;
    for (int64_t i = 0; i < n_bytes; i++) tokens[i + 1] = bytes[i];
    return n_bytes + 1;
}

// The vocabulary of a "ByteLevel" tokenizer names every byte by a printable character: itself where it is a
// printable one of Latin-1, otherwise the next free code point from 256 on.
static bool printable(int byte) {
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

static void byte_name(int byte, char name[3]) {
    int code = byte;
    if (!printable(byte)) {
        code = 256;
        for (int before = 0; before < byte; before++) code += !printable(before);
    }
    if (code < 0x80) {
        snprintf(name, 3, "%c", code);
    } else { // two bytes of UTF-8
        snprintf(name, 3, "%c%c", 0xC0 | code >> 6, 0x80 | (code & 0x3F));
    }
}

static json_t *byte_level(void) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 0,
                     "use_regex", 0);
}

// Pieces of a post-processor's template.
static json_t *template_bos(int type_id) {
    return json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", BOS_TEXT, "type_id", type_id);
}
static json_t *template_text(const char *id, int type_id) {
    return json_pack("{s:{s:s, s:i}}", "Sequence", "id", id, "type_id", type_id);
}

static json_t *bos_first(void) {
    return json_pack("{s:s, s:[o, o], s:[o, o, o, o], s:{s:{s:s, s:[i], s:[s]}}}", "type",
                     "TemplateProcessing", "single", template_bos(0), template_text("A", 0), //
                     "pair", template_bos(0), template_text("A", 0), template_bos(1),
                     template_text("B", 1), //
                     "special_tokens", BOS_TEXT, "id", BOS_TEXT, "ids", TOKEN_BOS, "tokens", BOS_TEXT);
}

json_t *tokenizer_json(bool pad) {
    json_t *vocabulary = json_object();
    for (int byte = 0; byte < 256; byte++) {
        char name[3];
        byte_name(byte, name);
        json_object_set_new(vocabulary, name, json_integer(byte));
    }
    json_object_set_new(vocabulary, BOS_TEXT, json_integer(TOKEN_BOS));
    json_object_set_new(vocabulary, EOS_TEXT, json_integer(TOKEN_EOS));
    if (pad) json_object_set_new(vocabulary, PAD_TEXT, json_integer(TOKEN_PAD));

    // No added_tokens: those are what a library would search a text for. The special tokens lie in the
    // vocabulary, out of reach of text as there are no merges; tokenizer_config.json declares them to
    // transformers.
    return json_pack("{s:s, s:n, s:n, s:[], s:n, s:o, s:o, s:o, "
                     "s:{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:[]}}",
                     "version", "1.0", "truncation", "padding", "added_tokens", "normalizer", //
                     "pre_tokenizer", byte_level(), "post_processor", bos_first(), "decoder", byte_level(),
                     "model", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix",
                     "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", 0, //
                     "vocab", vocabulary, "merges");
}

static json_t *special_token(const char *text) {
    return json_pack("{s:s, s:b, s:b, s:b, s:b, s:b}", "content", text, "lstrip", 0, "normalized", 0,
                     "rstrip", 0, "single_word", 0, "special", 1);
}

json_t *tokenizer_config_json(bool pad, int64_t context) {
    // split_special_tokens makes transformers split what looks like a special token into bytes as any other
    // text.
    json_t *config =
        json_pack("{s:{s:o, s:o}, s:b, s:b, s:s, s:s, s:b, s:[s, s], s:I, s:b, s:s}", //
                  "added_tokens_decoder", "256", special_token(BOS_TEXT), "257", special_token(EOS_TEXT),
                  "add_bos_token", 1, "add_eos_token", 0, "bos_token", BOS_TEXT, "eos_token", EOS_TEXT,
                  "clean_up_tokenization_spaces", 0, //
                  "model_input_names", "input_ids", "attention_mask", "model_max_length", (json_int_t)context,
                  "split_special_tokens", 1, "tokenizer_class", "PreTrainedTokenizerFast");
    if (!pad) return config;
    json_object_set_new(json_object_get(config, "added_tokens_decoder"), "258", special_token(PAD_TEXT));
    json_object_set_new(config, "pad_token", json_string(PAD_TEXT));
    return config;
}
