// JSON lines: whatever writers of JSON produce in other fields is no reason to lose a text, and a text comes
// out as it was meant.
#include "core/pack/json_lines.h"
#include "core/base/utf8.h"
#include "dev/test/support/expect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// The line gives this text from the field.
static void expect_line(const char *line, const char *field, const char *text, size_t size) {
    ByteBuffer out = {NULL, 0, 0};
    char reason[200] = "";
    bytes_append(&out, "before", 6);
    if (json_line_text(line, strlen(line), field, &out, reason, sizeof reason) != JSON_LINE_TEXT) {
        fail_msg("%s: %s", line, reason);
    }
    assert_int_equal(out.size, 6 + size);
    assert_memory_equal(out.data, "before", 6);
    assert_memory_equal(out.data + 6, text, size);
    bytes_free(&out);
}

// It gives none, and says why.
static void expect_none(const char *line, const char *field, JsonLine kind, const char *part) {
    ByteBuffer out = {NULL, 0, 0};
    char reason[200] = "";
    JsonLine found = json_line_text(line, strlen(line), field, &out, reason, sizeof reason);
    if (found != kind) fail_msg("%s: %d, not %d (%s)", line, found, kind, reason);
    expect_part(reason, part);
    assert_int_equal(out.size, 0);
    bytes_free(&out);
}

#define TEXT(line, text)            expect_line(line, "text", text, sizeof(text) - 1)
#define FIELD(field, line, text)    expect_line(line, field, text, sizeof(text) - 1)
#define MALFORMED(line, part)       expect_none(line, "text", JSON_LINE_MALFORMED, part)
#define NO_FIELD(field, line, part) expect_none(line, field, JSON_LINE_NO_FIELD, part)

static void test_other_fields(void **state) {
    (void)state;
    TEXT("{\"text\": \"x\", \"n\": NaN}", "x");
    TEXT("{\"n\": Infinity, \"m\": [-Infinity, NaN], \"text\": \"x\"}", "x");
    TEXT("{\"n\": 1e999, \"text\": \"x\"}", "x");
    TEXT("{\"n\": 123456789012345678901234567890, \"text\": \"x\"}", "x");
    TEXT("{\"n\": -12345678901234567890123456789012345678901234567890e-9999, \"text\": \"x\"}", "x");
    TEXT("{\"t\": \"\\ud800 \\udc00\", \"text\": \"x\"}", "x");
    TEXT("{\"\\ud800\": \"\\\"\", \"text\": \"x\"}", "x");
    TEXT("{\"t\": \"\xff\xfe \xc3\", \"text\": \"x\"}", "x");
    TEXT("{\"t\": \"tab\tand \x01\", \"text\": \"x\"}", "x");
    TEXT("{\"a\": {\"text\": \"no\", \"b\": [{\"text\": \"no\"}]}, \"text\": \"x\"}", "x");
    TEXT(" { \"a\" : [ ] , \"b\" : { } , \"c\" : [ 1 , true , false , null ] , \"text\" : \"x\" } \r", "x");
}

static void test_text(void **state) {
    (void)state;
    TEXT("{\"text\": \"\"}", "");
    TEXT("{\"text\": null}", "");
    TEXT("{\"text\": \"a\\u0000b\"}", "a\0b");
    TEXT("{\"text\": \"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t");
    TEXT("{\"text\": \"\\u00e9 \\u20AC \\ud83d\\ude00 \xc3\xa9\"}",
         "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xc3\xa9");
    TEXT("{\"text\": \"a\tb\"}", "a\tb");
    TEXT("{\"te\\u0078t\": \"x\"}", "x");
    // A surrogate alone, the first or the second of a pair, at the end or before something else.
    TEXT("{\"text\": \"a \\ud800 b\"}", "a \xef\xbf\xbd b");
    TEXT("{\"text\": \"\\udc00\\ud800\"}", "\xef\xbf\xbd\xef\xbf\xbd");
    TEXT("{\"text\": \"\\ud83d\\ud83d\\ude00\"}", "\xef\xbf\xbd\xf0\x9f\x98\x80");
    TEXT("{\"text\": \"\\ud83d\\n\"}", "\xef\xbf\xbd\n");
    TEXT("\xef\xbb\xbf{\"text\": \"x\"}", "x"); // of files put one behind the other
    // Of a field that is there twice the last counts.
    TEXT("{\"text\": \"first\", \"text\": \"last\"}", "last");
    TEXT("{\"text\": 5, \"text\": \"last\"}", "last");
    NO_FIELD("text", "{\"text\": \"first\", \"text\": 5}", "no text in field \"text\"");
}

static void test_fields(void **state) {
    (void)state;
    FIELD("content", "{\"text\": \"no\", \"content\": \"x\"}", "x");
    FIELD("a.b", "{\"a\": {\"c\": \"no\", \"b\": \"x\"}, \"b\": \"no\"}", "x");
    FIELD("a.b.c", "{\"a\": {\"b\": {\"c\": \"x\"}}}", "x");
    FIELD("a.b", "{\"a.b\": \"x\"}", "x");
    FIELD("a.b.c", "{\"a.b\": {\"c\": \"x\"}}", "x");
    NO_FIELD("text", "{\"url\": \"u\", \"n\": 1, \"meta\": {\"body\": \"b\", \"l\": [{\"t\": \"x\"}]}}",
             "no field \"text\"; texts are in \"url\", \"meta.body\"");
    NO_FIELD("text", "{\"n\": 1}", "no field \"text\", and no other with a text");
    // Two fields of one name, neither of which is meant more than the other.
    NO_FIELD("a.b", "{\"a.b\": \"one\", \"a\": {\"b\": \"two\"}}", "two fields that \"a.b\" names");
    NO_FIELD("a.b", "{\"a\": {\"b\": \"two\"}, \"a.b\": null}", "two fields that \"a.b\" names");
    NO_FIELD("a.b.c", "{\"a\": {\"b.c\": \"one\"}, \"a.b\": {\"c\": \"two\"}}", "two fields that");
    FIELD("a.b", "{\"a.b\": \"one\", \"a\": {\"c\": 1}}", "one");
    FIELD("a.b", "{\"a\": {\"b\": \"one\"}, \"a\": {\"b\": \"two\"}}", "two");
    NO_FIELD("a.b", "{\"a\": {\"b\": \"one\"}, \"a\": {\"c\": 1}}", "no field \"a.b\"");
    NO_FIELD("a.b", "{\"a\": {\"b\": \"one\"}, \"a\": 5}", "no field \"a.b\"");
    FIELD("a.b.c", "{\"a\": {\"b\": {\"c\": \"x\"}, \"d\": {\"b\": 1}}}", "x");
    NO_FIELD("a.b", "{\"a\": \"x\"}", "no field \"a.b\"; texts are in \"a\"");
    NO_FIELD("text", "{\"text\": [\"x\"]}", "no text in field \"text\"");
    NO_FIELD("text", "{\"text\": {\"\": \"x\", \"text\": \"y\"}}", "texts are in \"text.\", \"text.text\"");
    NO_FIELD("text", "{\"texts\": \"x\", \"tex\": \"y\"}", "texts are in \"texts\", \"tex\"");
}

static void test_malformed(void **state) {
    (void)state;
    MALFORMED("[\"text\"]", "no JSON object at byte 1");
    MALFORMED("\"text\"", "no JSON object at byte 1");
    MALFORMED("{\"text\": \"x\"", "neither a comma nor an end at byte 13");
    MALFORMED("{\"text\": \"x", "a string without an end");
    MALFORMED("{\"text\": \"x\\", "a string without an end");
    MALFORMED("{\"text\": \"x\\u12", "wrong digits");
    MALFORMED("{\"text\": \"x\\u12g4\"}", "wrong digits");
    MALFORMED("{\"text\": \"x\\q\"}", "a wrong escape");
    MALFORMED("{\"text\": \"x\"}{\"text\": \"y\"}", "more behind the JSON object at byte 14");
    MALFORMED("{\"text\": \"x\"},", "more behind the JSON object");
    MALFORMED("{\"text\" \"x\"}", "no colon");
    MALFORMED("{\"text\": \"x\",}", "no key");
    MALFORMED("{text: \"x\"}", "no key");
    MALFORMED("{'text': 'x'}", "no key");
    MALFORMED("{\"text\": \"x\", \"n\": }", "no value");
    MALFORMED("{\"text\": \"x\", \"n\": nope}", "no value");
    MALFORMED("{\"text\": \"x\", \"n\": -}", "no value");
    MALFORMED("{\"text\": \"x\", \"n\": [1,]}", "no value");
    MALFORMED("{\"text\": \"bad \xff\"}", "text that is not UTF-8 at byte 15");
    MALFORMED("{\"text\": \"\xed\xa0\x80\"}", "text that is not UTF-8");
    MALFORMED("{\"text\": \"a\x01\"}", "a control character in the text");
}

static void test_depth(void **state) {
    (void)state;
    enum { FITS = 998, DEEP = 200000 };
    for (int deep = 0; deep < 2; deep++) {
        size_t depth = deep ? DEEP : FITS;
        char *line = (char *)alloc_or_exit(2 * depth + 100, 1);
        int used = snprintf(line, 100, "{\"text\": \"x\", \"a\": ");
        memset(line + used, '[', depth);
        memset(line + used + depth, ']', depth);
        line[(size_t)used + 2 * depth] = '}';
        if (deep)
            MALFORMED(line, "values nested too deeply");
        else
            TEXT(line, "x");
        free(line);
    }
}

// ---- The beginning of a file

static void expect_shape(const char *text, JsonState state, char first, bool in_lines) {
    JsonShape shape = json_shape(text, strlen(text));
    if (shape.state != state || shape.first != first || shape.in_lines != in_lines) {
        fail_msg("%s: state %d, first %c, in lines %d", text, shape.state, shape.first, shape.in_lines);
    }
}

static void test_shapes(void **state) {
    (void)state;
    expect_shape("{\"text\": 5}\n", JSON_WHOLE, '{', false);
    expect_shape("\n {\"text\": 5}\n{", JSON_WHOLE, '{', false);
    expect_shape("{\n \"text\": 5}", JSON_WHOLE, '{', true);
    expect_shape("[{\"text\": 5},\n", JSON_CUT, '[', true);
    expect_shape("{\"text\": \"a long on", JSON_CUT, '{', false);
    expect_shape("{\"text\": \"\\u00", JSON_CUT, '{', false);
    expect_shape("{\"text\": tru", JSON_CUT, '{', false);
    expect_shape("{", JSON_CUT, '{', false);
    expect_shape("{ int x; }", JSON_BROKEN, '{', false);
    expect_shape("[1] A note", JSON_WHOLE, '[', false);
    expect_shape("[Verse]", JSON_BROKEN, '[', false);
    expect_shape("{\"text\": \"cut\n{\"text\": \"next\"}", JSON_BROKEN, '{', false);
    expect_shape("", JSON_CUT, 0, false);
}

// ---- UTF-8

static void test_utf8(void **state) {
    (void)state;
    static const char *const good[] = {
        "", "abc", "\xc2\x80", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf", "a long text of ASCII \xc3\xa9 and more"};
    static const char *const bad[] = {"\x80",
                                      "\xc1\xbf",
                                      "\xc3",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "eight by\xff",
                                      "\xe2\x82z",
                                      "\xff"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(utf8_is_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(utf8_is_valid(bad[i], strlen(bad[i])));
    for (uint32_t code = 1; code <= 0x10ffff; code += 7) {
        char text[4];
        size_t size = utf8_put(text, code);
        assert_int_equal(utf8_length(text, text + size), size);
        assert_int_equal(utf8_length(text, text + size - 1), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_other_fields), cmocka_unit_test(test_text),  cmocka_unit_test(test_fields),
        cmocka_unit_test(test_malformed),    cmocka_unit_test(test_depth), cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_utf8),
    };
    return cmocka_run_group_tests_name("JSON lines", tests, NULL, NULL);
}
