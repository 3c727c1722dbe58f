// The byte tokenizer: BOS and bytes there and back, and the files that other libraries read.
#include "core/model/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_bytes(void **data) {
    (void)data;
    char text[256];
    for (int i = 0; i < 256; i++) text[i] = (char)i;
    int32_t tokens[257];
    assert_int_equal(tokenizer_encode(text, 256, tokens), 257);
    assert_int_equal(tokens[0], TOKEN_BOS);
    for (int i = 0; i < 256; i++) assert_int_equal(tokens[i + 1], i);
}

static void test_special_text_stays_bytes(void **data) {
    (void)data;
    const char *text = "<|end_of_text|>";
    int32_t tokens[32];
    assert_int_equal(tokenizer_encode(text, 15, tokens), 16);
    for (int i = 0; i < 15; i++) assert_int_equal(tokens[i + 1], text[i]);
    assert_int_equal(tokenizer_encode("", 0, tokens), 1);
}

static void test_tokenizer_json(void **data) {
    (void)data;
    json_t *file = tokenizer_json(true);
    json_t *vocabulary = json_object_get(json_object_get(file, "model"), "vocab");
    assert_int_equal(json_object_size(vocabulary), TOKEN_COUNT + 1);
    // Names of the byte-level vocabulary as its inventors chose them: a printable byte is itself, the others
    // follow from U+0100 on.
    const struct {
        const char *name;
        int id;
    } entries[] = {{"A", 'A'},
                   {"!", '!'},
                   {"~", '~'},
                   {"\u00a1", 0xA1},
                   {"\u00ff", 0xFF},
                   {"\u0100", 0},
                   {"\u010a", '\n'},
                   {"\u0120", ' '},
                   {"\u0121", 127},
                   {"\u0142", 160},
                   {"\u0143", 173},
                   {"<|begin_of_text|>", TOKEN_BOS},
                   {"<|end_of_text|>", TOKEN_EOS},
                   {"<|pad|>", TOKEN_PAD}};
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        json_t *id = json_object_get(vocabulary, entries[i].name);
        assert_true(json_is_integer(id));
        assert_int_equal(json_integer_value(id), entries[i].id);
    }
    assert_int_equal(json_array_size(json_object_get(json_object_get(file, "model"), "merges")), 0);
    assert_int_equal(json_array_size(json_object_get(file, "added_tokens")), 0);
    json_decref(file);
}

static void test_tokenizer_config_json(void **data) {
    (void)data;
    json_t *file = tokenizer_config_json(true, 98304);
    assert_int_equal(json_integer_value(json_object_get(file, "model_max_length")), 98304);
    assert_true(json_is_true(json_object_get(file, "split_special_tokens")));
    assert_string_equal(json_string_value(json_object_get(file, "tokenizer_class")),
                        "PreTrainedTokenizerFast");
    json_t *bos = json_object_get(json_object_get(file, "added_tokens_decoder"), "256");
    assert_string_equal(json_string_value(json_object_get(bos, "content")),
                        json_string_value(json_object_get(file, "bos_token")));
    json_decref(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_special_text_stays_bytes),
        cmocka_unit_test(test_tokenizer_json),
        cmocka_unit_test(test_tokenizer_config_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
