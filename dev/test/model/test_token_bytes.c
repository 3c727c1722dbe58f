// Bytes of text by id, of tokenizers written by hand; dev/compare/awkward.py holds them to the library's.
#include "core/base/files.h"
#include "core/model/token_bytes.h"
#include "dev/test/support/temporary_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ADDED                                                                                          \
    "'added_tokens': [{'id': 0, 'content': '<s>', 'special': true}, {'id': 9, 'content': '\u00e9  ', " \
    "'special': false}]"
#define BYTE_LEVEL                                                                                          \
    "{" ADDED ", 'decoder': {'type': 'ByteLevel'}, 'model': {'vocab': {'<s>': 0, 'beyond': 16777216, 'a': " \
    "1, '\u0120the': 2, '\u00c3': 3,"                                                                       \
    "'\u00c3\u00a9': 4, '\u010a\u010a': 5, '\u4e16': 6}}}"
#define PIECES(decoder)                                                                                      \
    "{" ADDED ", 'decoder': " decoder ", 'model': {'vocab': {'<s>': 0, 'a': 1, '\u2581the': 2, '<0xC3>': 3," \
    "'\u00e9': 4, '\u2581': 5, '\u2581\u2581x': 6, '<0xAg>': 7}}}"
#define STEPS                                                                                          \
    "{'type': 'Replace', 'pattern': {'String': '\u2581'}, 'content': ' '}, {'type': 'ByteFallback'}, " \
    "{'type': 'Fuse'}"
#define STRIP   ", {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}"
#define LLAMA   "{'type': 'Sequence', 'decoders': [" STEPS STRIP "]}"
#define GEMMA   "{'type': 'Sequence', 'decoders': [" STEPS "]}"
#define MISTRAL "{'type': 'Metaspace', 'replacement': '\u2581', 'prepend_scheme': 'first'}"
#define NEVER   "{'type': 'Metaspace', 'replacement': '\u2581', 'prepend_scheme': 'never'}"
#define OLDER   "{'type': 'Metaspace', 'replacement': '\u2581', 'add_prefix_space': false}"

static void write_tokenizer(const char *text) {
    char quoted[1024];
    Error error;
    assert_true(strlen(text) < sizeof quoted);
    for (size_t i = 0; i <= strlen(text); i++) quoted[i] = text[i] == '\'' ? '"' : text[i];
    assert_true(file_write("tokenizer.json", quoted, strlen(quoted), &error));
}

// Bytes behind another token, and behind a mark, of ids 1 to 7, and of 9.
static void expect_bytes(const char *text, const int64_t (*want)[2]) {
    static const int64_t ids[] = {1, 2, 3, 4, 5, 6, 7, 9};
    TokenBytes t;
    write_tokenizer(text);
    token_bytes_read(&t, ".", 10);
    assert_null(t.why);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        assert_int_equal(token_bytes_of(&t, 1, ids[i]), want[i][0]);
        assert_int_equal(token_bytes_of(&t, 0, ids[i]), want[i][1]);
    }
    assert_int_equal(token_bytes_of(&t, 1, 0), 0);
    assert_int_equal(token_bytes_of(&t, 1, 8), TOKEN_UNKNOWN);
    assert_int_equal(token_bytes_of(&t, 1, 10), TOKEN_UNKNOWN);
    assert_int_equal(token_bytes_of(&t, 1, -1), TOKEN_UNKNOWN);
    token_bytes_free(&t);
}

static void test_byte_level(void **state) {
    (void)state;
    static const int64_t want[][2] = {{1, 1}, {4, 4}, {1, 1}, {2, 2}, {2, 2}, {3, 3}, {-2, -2}, {4, 4}};
    expect_bytes(BYTE_LEVEL, want);
}

static void test_pieces(void **state) {
    (void)state;
    // The space before a text is there for the tokenizer alone, or is text.
    static const int64_t stripped[][2] = {{1, 1}, {4, 3}, {1, 1}, {2, 2}, {1, 0}, {3, 2}, {6, 6}, {4, 4}};
    static const int64_t kept[][2] = {{1, 1}, {4, 4}, {1, 1}, {2, 2}, {1, 1}, {3, 3}, {6, 6}, {4, 4}};
    static const int64_t no_bytes[][2] = {{1, 1}, {4, 3}, {6, 6}, {2, 2}, {1, 0}, {3, 2}, {6, 6}, {4, 4}};
    static const int64_t neither[][2] = {{1, 1}, {4, 4}, {6, 6}, {2, 2}, {1, 1}, {3, 3}, {6, 6}, {4, 4}};
    expect_bytes(PIECES(LLAMA), stripped);
    expect_bytes(PIECES(GEMMA), kept);
    expect_bytes(PIECES(MISTRAL), no_bytes);
    expect_bytes(PIECES(NEVER), neither);
    expect_bytes(PIECES(OLDER), neither);
}

static void test_not_known(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"{'model': {'vocab': {'a': 0}}, 'decoder': null}", "neither byte-level nor"},
        {"{'model': {'vocab': {'a': 0}}, 'decoder': {'type': 'WordPiece'}}", "neither byte-level nor"},
        {"{'model': {'vocab': {'a': 0}}, 'decoder': {'type': 'Sequence', 'decoders': [{'type': 'ByteLevel'}, "
         "{'type': "
         "'CTC'}]}}",
         "neither byte-level nor"},
        {"{'model': {'vocab': {'a': 0}}, 'decoder': {'type': 'Metaspace', 'replacement': '_'}}",
         "neither byte-level nor"},
        {"{'model': {'vocab': [['a', 0]]}, 'decoder': {'type': 'ByteLevel'}}", "neither byte-level nor"},
        {"{'model': {'vocab': {'a': 0, 'b': -1}}, 'decoder': {'type': 'ByteLevel'}}",
         "ids that are no numbers"},
        {"{'model': {'vocab': {'a': 0, 'b': 'c'}}, 'decoder': {'type': 'ByteLevel'}}",
         "ids that are no numbers"},
        {"{'model': {'vocab': {'a': 0}}, 'decoder': {'type': 'ByteLevel'}, 'added_tokens': [{'id': '1'}]}",
         "ids that are no numbers"},
        {"{'model': ", "tokenizer.json:1: not valid JSON"},
    };
    TokenBytes t;
    token_bytes_read(&t, ".", 10); // there is none
    assert_true(t.count == 0 && !t.why);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        write_tokenizer(rows[i].text);
        token_bytes_read(&t, ".", 10);
        assert_non_null(t.why);
        assert_non_null(strstr(t.why, rows[i].why));
        assert_int_equal(token_bytes_of(&t, 0, 0), TOKEN_UNKNOWN);
        token_bytes_free(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {IN_FOLDER(test_byte_level), IN_FOLDER(test_pieces),
                                       IN_FOLDER(test_not_known)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
