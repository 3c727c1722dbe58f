// pack: content decides what an input is, the same for a file that is named and one of a folder.
#include "core/pack/text_pickle.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/packing.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include <cmocka.h>

// ---- Helpers

static void put_bytes(const char *path, const char *bytes, size_t size) {
    scratch_write(".", path, bytes, (int64_t)size);
}
#define PUT(path, literal) put_bytes(path, literal, sizeof(literal) - 1)

// A frame of zstd, with a checksum.
static size_t zstd_frame(const char *text, size_t size, char *frame, size_t room) {
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    size_t used = ZSTD_compress2(context, frame, room, text, size);
    assert_false(ZSTD_isError(used));
    ZSTD_freeCCtx(context);
    return used;
}

static void put_zstd(const char *path, const char *text) {
    size_t size = strlen(text), room = ZSTD_compressBound(size);
    char *frame = (char *)alloc_or_exit(room, 1);
    put_bytes(path, frame, zstd_frame(text, size, frame, room));
    free(frame);
}

// The input gives these documents, and nothing is left out.
static void expect_texts(const char *input, const char *const *texts, int64_t count) {
    PackConfig config = packing_config(&input, 1, "out", 2);
    PackReport report = packing_run(&config);
    assert_string_equal(report.left_out, "");
    Documents documents = documents_load("out/train_*.bin");
    assert_int_equal(documents.count, count);
    for (int64_t i = 0; i < count; i++) expect_document(&documents, i, texts[i], strlen(texts[i]));
    documents_free(&documents);
    packing_remove("out");
}

static void expect_text(const char *input, const char *text) {
    expect_texts(input, &text, 1);
}

// The file is refused where it is named, with a part of the message; beside others in a folder it is left
// out, and counted as this.
static void expect_refused(const char *name, const char *part, const char *what) {
    char folder[200], path[256], left[400];
    snprintf(folder, sizeof folder, "in_%s", name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    size_t size;
    char *bytes = scratch_read(".", name, &size);
    put_bytes(path, bytes, size);
    free(bytes);
    snprintf(path, sizeof path, "%s/text.txt", folder);
    put_text(path, "A text.");
    const char *input = name;
    PackConfig config = packing_config(&input, 1, "out", 2);
    packing_fails(&config, STATUS_DATA, part);
    input = folder;
    PackReport report = packing_run(&config);
    snprintf(left, sizeof left, "1 %s (%s/%s)", what, folder, name);
    assert_string_equal(report.left_out, left);
    assert_int_equal(report.train.documents, 1);
    packing_remove("out");
    config.strict = true;
    packing_fails(&config, STATUS_DATA, "--strict allows nothing to be left out, and here is: 1 ");
}

// ---- zstd

static const char lines[] = "{\"text\": \"one\"}\n{\"text\": \"two\"}\n";
static const char *const one_two[] = {"one", "two"};

static void test_zstd(void **state) {
    (void)state;
    put_zstd("a.jsonl.zst", lines);
    expect_texts("a.jsonl.zst", one_two, 2);
    put_zstd("in/a.jsonl.zst", lines);
    expect_texts("in", one_two, 2);
    put_zstd("a.txt.zst", "Some text.\n");
    expect_text("a.txt.zst", "Some text.\n");
    put_zstd("a", lines);
    expect_texts("a", one_two, 2);
}

// Frames one behind the other, cut anywhere, frames of metadata between them, and padding behind.
static void test_zstd_frames(void **state) {
    (void)state;
    static const char skippable[] = "\x50\x2a\x4d\x18\x05\0\0\0hello";
    char bytes[1000];
    size_t used = 0, cut = 20;
    for (int twice = 0; twice < 2; twice++) {
        memcpy(bytes + used, skippable, 13);
        used += 13;
        used += zstd_frame(twice ? lines + cut : lines, twice ? strlen(lines) - cut : cut, bytes + used, 500);
    }
    put_bytes("a.zst", bytes, used);
    expect_texts("a.zst", one_two, 2);
    memcpy(bytes + used, "\0\0\n", 3);
    put_bytes("a.zst", bytes, used + 3);
    expect_texts("a.zst", one_two, 2);
    const char *input = "a.zst";
    PackConfig config = packing_config(&input, 1, "out", 2);
    put_bytes("a.zst", bytes, used - 1);
    packing_fails(&config, STATUS_DATA, "input a.zst is zstd cut short after ");
    put_bytes("a.zst", bytes, 13 + 13);
    packing_fails(&config, STATUS_DATA, "input a.zst is zstd cut short after 26 bytes: fetch it again");
    bytes[used - 1] ^= 1;
    put_bytes("a.zst", bytes, used);
    packing_fails(&config, STATUS_DATA, "input a.zst is damaged zstd at byte ");
    bytes[used - 1] ^= 1;
    memcpy(bytes + used, "more", 4);
    put_bytes("a.zst", bytes, used + 4);
    packing_fails(&config, STATUS_DATA, "(something else follows its end)");
}

// A window that most readers refuse, as `zstd --long=31` writes it.
static void test_zstd_long_window(void **state) {
    (void)state;
    size_t size = 4000000, room = ZSTD_compressBound(size);
    char *text = (char *)alloc_or_exit(size, 1), *bytes = (char *)alloc_or_exit(room, 1);
    memset(text, 'x', size);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 28);
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 1);
    ZSTD_inBuffer in = {text, size, 0};
    ZSTD_outBuffer out = {bytes, room, 0};
    size_t left = 1; // in pieces, so that the size is not known and the window stays as it is
    for (size_t end = size / 2; left > 0; end = size) {
        in.size = end;
        left = ZSTD_compressStream2(context, &out, &in, end == size ? ZSTD_e_end : ZSTD_e_continue);
        if (end < size) left = 1;
    }
    put_bytes("a.txt.zst", bytes, out.pos);
    ZSTD_freeCCtx(context);
    const char *input = "a.txt.zst";
    PackConfig config = packing_config(&input, 1, "out", 2);
    assert_int_equal(packing_run(&config).train.bytes, size);
    free(text);
    free(bytes);
}

// ---- gzip

static void test_behind_gzip(void **state) {
    (void)state;
    gzip_append("a.gz", "text");
    FILE *file = fopen("a.gz", "ab");
    assert_non_null(file);
    fputs("\n", file);
    fclose(file);
    expect_text("a.gz", "text");
    gzip_append("a.gz", " and more");
    expect_text("a.gz", "text and more");
    file = fopen("a.gz", "ab");
    assert_non_null(file);
    fputs("\r\n<html>", file);
    fclose(file);
    const char *input = "a.gz";
    PackConfig config = packing_config(&input, 1, "out", 2);
    packing_fails(&config, STATUS_DATA, "(something else follows its end): fetch it again");
}

// ---- Names say nothing

static void test_names_of_lines(void **state) {
    (void)state;
    static const char *const names[] = {
        "a.jsonl.txt",           "a",     "a.jsonl~",  "a.md", "a.ndjson", "a.JSON",
        "a.jsonl?download=true", "a.txt", "a.jsonl.gz"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        put_text(names[i], lines);
        expect_texts(names[i], one_two, 2);
    }
    static const char *const packed[] = {"b.json.gz?download=true", "b.json.gz.1", "b", "b.txt", "b.zst.gz"};
    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++) {
        gzip_append(packed[i], lines);
        expect_texts(packed[i], one_two, 2);
    }
    put_zstd("c.gz", lines);
    expect_texts("c.gz", one_two, 2);
}

// What begins as JSON does, and is none, is text; unless its name says otherwise.
static void test_text_in_brackets(void **state) {
    (void)state;
    static const char *const texts[] = {"[1] A note.\n[2] Another.\n",
                                        "{ int x; }\n",
                                        "[Verse 1]\nLa la\n",
                                        "{\n",
                                        "{}\n{x}\n{y}\n",
                                        "[1]\nA note.\n",
                                        "\"quoted\"\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put_text("a.txt", texts[i]);
        expect_text("a.txt", texts[i]);
        put_text("a.json", texts[i]);
        const char *input = "a.json";
        PackConfig config = packing_config(&input, 1, "out", 2);
        packing_fails(&config, STATUS_DATA, "input a.json ");
    }
}

// ---- JSON of other shapes

static void test_json_shapes(void **state) {
    (void)state;
    put_text("array.json", "[{\"text\": \"a\"}, {\"text\": \"b\"}]\n");
    expect_refused("array.json",
                   "input array.json is a JSON array, where one JSON object a line is wanted: "
                   "`jq -c '.[]' array.json > array.json.jsonl` makes it so",
                   "JSON array");
    put_text("array.txt", "\n[\n  {\"text\": \"a\"},\n  {\"text\": \"b\"}\n]\n");
    expect_refused("array.txt", "is a JSON array", "JSON array");
    gzip_append("array.json.gz", "[{\"text\": \"a\"}]");
    expect_refused("array.json.gz", "`gzip -dc array.json.gz | jq -c '.[]' > array.json.gz.jsonl`",
                   "JSON array");
    put_text("pretty.json", "{\n  \"text\": \"a\"\n}\n{\n  \"text\": \"b\"\n}\n");
    expect_refused("pretty.json", "`jq -c . pretty.json > pretty.json.jsonl` makes it so",
                   "pretty-printed JSON file");
    put_text("pretty", "\xef\xbb\xbf{\n  \"text\": \"a\"\n}\n");
    expect_refused("pretty", "is a pretty-printed JSON file", "pretty-printed JSON file");
    put_text("fields.jsonl", "{\"content\": \"a\", \"n\": 1}\n{\"content\": \"b\"}\n");
    expect_refused("fields.jsonl",
                   "has no field \"text\"; texts are in \"content\": name another with --field",
                   "JSON file without the field");
    put_text("page.json", "<!doctype html>\n<p>Not found\n");
    expect_refused("page.json", "input page.json is no JSON, one object a line (no JSON object at byte 1)",
                   "broken JSON file");
    put_text("blank.json", " \n\n");
    expect_refused("blank.json", "input blank.json holds nothing but blanks", "blank file");
}

// An array or an object that is longer than what is looked at.
static void test_long_json(void **state) {
    (void)state;
    enum { SIZE = 3000000 };
    char *text = (char *)alloc_or_exit(SIZE + 100, 1);
    memset(text, 'x', SIZE);
    memcpy(text, "[{\"text\": \"", 11);
    scratch_write(".", "array", text, SIZE);
    expect_refused("array", "is a JSON array", "JSON array");
    memcpy(text, "{\n\"text\": \"", 11);
    scratch_write(".", "pretty", text, SIZE);
    expect_refused("pretty", "is a pretty-printed JSON file", "pretty-printed JSON file");
    // A book on one line, in a folder as by itself, under any name.
    memcpy(text, "{\"text\" : \"", 11);
    memcpy(text + SIZE, "\"}\n{\"text\": \"y\"}\n", 18);
    static const char *const names[] = {"book.jsonl", "in/book.json", "in2/book"};
    static const char *const inputs[] = {"book.jsonl", "in", "in2"};
    for (int i = 0; i < 3; i++) {
        scratch_write(".", names[i], text, -1);
        PackConfig config = packing_config((const char **)&inputs[i], 1, "out", 2);
        PackReport report = packing_run(&config);
        assert_int_equal(report.lines, 2);
        assert_int_equal(report.train.bytes, SIZE - 11 + 1);
        packing_remove("out");
    }
    free(text);
}

static void test_field(void **state) {
    (void)state;
    put_text("a.jsonl",
             "{\"text\": \"no\", \"meta\": {\"body\": \"one\"}}\n{\"meta\": {\"body\": \"two\"}}\n");
    const char *input = "a.jsonl";
    PackConfig config = packing_config(&input, 1, "out", 2);
    config.field = "meta.body";
    packing_run(&config);
    Documents documents = documents_load("out/train_*.bin");
    assert_int_equal(documents.count, 2);
    expect_document(&documents, 0, "one", 3);
    expect_document(&documents, 1, "two", 3);
    documents_free(&documents);
    packing_remove("out");
    config.field = "body";
    packing_fails(&config, STATUS_DATA, "has no field \"body\"; texts are in \"text\", \"meta.body\"");
    input = "a.txt";
    put_text("a.txt", "A text.");
    packing_fails(&config, STATUS_USAGE, "--field body is for JSON lines, and no input has any");
}

// A first line that is cut, as of a file split by its size, does not make a text of the others.
static void test_cut_first_line(void **state) {
    (void)state;
    static const char *const names[] = {"x.00", "x.jsonl"};
    for (int i = 0; i < 2; i++) {
        put_text(names[i], "rest of a line\"}\n{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
        const char *input = names[i];
        PackConfig config = packing_config(&input, 1, "out", 2);
        packing_fails(&config, STATUS_DATA, "1 of 3 lines are malformed");
    }
}

// ---- Encodings

static void test_byte_order_mark(void **state) {
    (void)state;
    PUT("a.txt", "\xef\xbb\xbfText.\r\n");
    expect_text("a.txt", "Text.\r\n"); // line ends stay
    PUT("a.jsonl", "\xef\xbb\xbf{\"text\": \"one\"}\r\n{\"text\": \"two\"}\r\n");
    expect_texts("a.jsonl", one_two, 2);
    gzip_append("a.txt.gz", "\xef\xbb\xbfText.");
    expect_text("a.txt.gz", "Text.");
    PUT("only", "\xef\xbb\xbf");
    const char *input = "only";
    PackConfig config = packing_config(&input, 1, "out", 2);
    packing_fails(&config, STATUS_DATA, "the inputs hold no document; left out: 1 empty document (only)");
}

static void test_wide_encodings(void **state) {
    (void)state;
    static const char text[] = "a\xc3\xa9\xf0\x9f\x98\x80";
    PUT("a.txt", "\xff\xfe"
                 "a\0\xe9\0\x3d\xd8\x00\xde");
    expect_text("a.txt", text);
    PUT("a.txt", "\xfe\xff\0a\0\xe9\xd8\x3d\xde\x00");
    expect_text("a.txt", text);
    PUT("a.txt", "\xff\xfe\0\0"
                 "a\0\0\0\xe9\0\0\0\x00\xf6\x01\0");
    expect_text("a.txt", text);
    PUT("a.txt", "\0\0\xfe\xff\0\0\0a\0\0\0\xe9\0\x01\xf6\x00");
    expect_text("a.txt", text);
    PUT("in/a.txt", "\xff\xfe"
                    "a\0\n\0");
    expect_text("in", "a\n");
    // Surrogates alone: a first one, a second one, and one at the end.
    PUT("a.txt", "\xff\xfe\x3d\xd8"
                 "a\0\x00\xde"
                 "b\0\x3d\xd8");
    expect_text("a.txt", "\xef\xbf\xbd"
                         "a\xef\xbf\xbd"
                         "b\xef\xbf\xbd");
    // Which is said, as of a damaged file; of U+FFFD that was there it is not.
    static const struct {
        const char *bytes;
        size_t size;
        bool said;
    } texts[] = {
        {"\xff\xfe\x3d\xd8"
         "a\0",
         6, true},
        {"\xff\xfe"
         "a\0\x00\xde",
         6, true},
        {"\xff\xfe"
         "a\0\x3d\xd8",
         6, true},
        {"\xff\xfe\0\0a\0\0\0\xff\xff\xff\xff", 12, true},
        {"\xff\xfe\0\0a\0\0\0\x00\xd8\0\0", 12, true},
        {"\xff\xfe"
         "a\0\xfd\xff",
         6, false},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        scratch_write(".", "a.txt", texts[i].bytes, (int64_t)texts[i].size);
        const char *one = "a.txt";
        PackConfig said = packing_config(&one, 1, "out", 2);
        PackReport report = packing_run(&said);
        assert_string_equal(report.replaced, texts[i].said ? "1 text (a.txt)" : "");
        packing_remove("out");
    }
    PUT("a.jsonl", "\xff\xfe{\0\"\0t\0e\0x\0t\0\"\0:\0\"\0o\0n\0e\0\"\0}\0\n\0");
    expect_text("a.jsonl", "one");
    PUT("odd.txt", "\xff\xfe"
                   "a\0b");
    const char *input = "odd.txt";
    PackConfig config = packing_config(&input, 1, "out", 2);
    packing_fails(&config, STATUS_DATA, "input odd.txt ends within a character of UTF-16 or UTF-32");
}

static void test_other_bytes(void **state) {
    (void)state;
    PUT("a.txt", "caf\xe9 in Latin-1\n");
    const char *input = "a.txt";
    PackConfig config = packing_config(&input, 1, "out", 2);
    PackReport report = packing_run(&config);
    assert_string_equal(report.kept, "1 text (a.txt)");
    assert_int_equal(report.left, 0);
    Documents documents = documents_load("out/train_*.bin");
    expect_document(&documents, 0, "caf\xe9 in Latin-1\n", 16);
    documents_free(&documents);
}

// ---- Other kinds

static void test_refused_kinds(void **state) {
    (void)state;
    PUT("a.txt.xz", "\xfd"
                    "7zXZ\0\0\4\xe6\xd6");
    expect_refused(
        "a.txt.xz",
        "input a.txt.xz is no text but an xz file: `xz -dc a.txt.xz > a.txt.xz.txt` makes it readable",
        "xz file");
    PUT("a.bz2", "BZh91AY&SY\x01");
    expect_refused("a.bz2", "`bzip2 -dc a.bz2 > a.bz2.txt`", "bzip2 file");
    PUT("a.zip", "PK\3\4\x14\0\0\0");
    expect_refused("a.zip", "`unzip a.zip`", "zip archive");
    PUT("data", "PAR1\x15\0");
    expect_refused("data", "pyarrow.parquet as p; ", "Parquet file");
    PUT("d.arrow", "\xff\xff\xff\xff\x30\1\0\0");
    expect_refused("d.arrow", "p.ipc.open_stream(", "Arrow stream");
    PUT("d.feather", "ARROW1\0\0");
    expect_refused("d.feather", "f.read_table(", "Arrow file");
    put_text("a.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n");
    expect_refused("a.jsonl", "`git lfs pull`", "Git LFS pointer");
    PUT("a.db", "SQLite format 3\0\x10");
    expect_refused("a.db", "is no text but a sqlite database", "sqlite database");
    PUT("a.pdf", "%PDF-1.5\n");
    expect_refused("a.pdf", "`pdftotext a.pdf a.pdf.txt`", "PDF document");
    PUT("weights.safetensors", "\x40\0\0\0\0\0\0\0{\"a\": {}}");
    expect_refused("weights.safetensors", "is no text but a safetensors file", "safetensors file");
    PUT("train_00000.bin", "LHSHARD\n\1\0");
    expect_refused("train_00000.bin", "is a shard already: train reads it with --data", "shard");
    PUT("one zero.txt", "text\0text");
    expect_refused(
        "one zero.txt",
        "input one zero.txt holds a zero byte: it is binary, or UTF-16 without its mark, or a text that "
        "`tr -d '\\000' < 'one zero.txt' > 'one zero.txt'.txt` mends",
        "binary file");
    PUT("controls", "\1\2\3 \4\5\6 \x0e\x0f");
    expect_refused("controls", "is binary: it is full of control characters", "binary file");
}

// Of protocol 0, which has no byte that a text could not have: whole, cut, behind numbers, within gzip.
static void test_pickles(void **state) {
    (void)state;
    put_text("a.pkl", "(dp0\nVtext\np1\nVA text.\np2\nsVn\np3\nI5\ns.");
    expect_refused(
        "a.pkl",
        "input a.pkl is no text but a pickle of Python: if you trust it, load it there and write its "
        "texts as JSON lines",
        "pickle");
    put_text("a.pt", "L119547037146038801333356L\n.I1001\n.(dp0\nS'weights'\np1\nF1e-05\ns.rest");
    expect_refused("a.pt", "is no text but a pickle", "pickle");
    put_text("cut", "(lp0\nVA first\np1\naVA second text");
    expect_refused("cut", "is no text but a pickle", "pickle");
    put_text("object", "ccopy_reg\n_reconstructor\np0\n(c__main__\nRow\np1\nNtp2\nRp3\n.");
    expect_refused("object", "is no text but a pickle", "pickle");
    gzip_append("a.pkl.gz", "(I1\nI2\ntp0\n.");
    expect_refused("a.pkl.gz", "is no text but a pickle of Python within gzip", "pickle");
}

// Texts that begin as a pickle does.
static void test_no_pickles(void **state) {
    (void)state;
    static const char *const texts[] = {"(a) one\n(b) two\n",
                                        "Volume 3\np12\nthe end.\n",
                                        "N.",
                                        "Virtue is bold\nVile",
                                        "I17\nI18\n",
                                        "I5\n.",
                                        "(lp0 is no list)\n(t.\n",
                                        "S is a letter\np3\n."};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (text_pickle(texts[i], strlen(texts[i]))) fail_msg("a text is a pickle: %s", texts[i]);
}

// What is within gzip is looked at too.
static void test_kinds_within(void **state) {
    (void)state;
    char tar[1024] = "name.txt";
    memcpy(tar + 257, "ustar", 6);
    gzip_append_bytes("a.gz", tar, sizeof tar);
    expect_refused("a.gz", "is no text but a tar archive within gzip: `tar -xf a.gz`", "tar archive");
    gzip_append_bytes("b.tar.gz", tar, sizeof tar);
    expect_refused("b.tar.gz", "`tar -xf b.tar.gz`", "tar archive");
    gzip_append("inner.gz", "text");
    size_t size;
    char *inner = scratch_read(".", "inner.gz", &size);
    gzip_append_bytes("x.gz.gz", inner, size);
    free(inner);
    expect_refused("x.gz.gz", "is no text but a gzip file within gzip: `gzip -dc x.gz.gz > x.gz.gz.unpacked`",
                   "gzip file");
    gzip_append("a.warc.wet.gz", "WARC/1.0\r\nWARC-Type: warcinfo\r\n");
    expect_refused("a.warc.wet.gz", "is no text but a WARC archive within gzip: `python3 -c", "WARC archive");
    gzip_append_bytes("z.gz", "text\0text", 9);
    expect_refused("z.gz", "holds a zero byte", "binary file");
}

static void test_names_that_claim(void **state) {
    (void)state;
    put_text("a.txt.gz", "<html>Too many requests");
    expect_refused("a.txt.gz", "is named .gz but is no gzip file: fetch it again or rename it",
                   "misnamed file");
    put_text("a.parquet", "<html>Not found");
    expect_refused("a.parquet", "is named .parquet but is no Parquet file", "misnamed file");
    put_text("a.br", "brotli has no magic number");
    expect_refused("a.br", "is no text but a brotli file: `brotli -dc a.br > a.br.txt`", "brotli file");
    put_text("a.jsonl.zst", "");
    expect_refused("a.jsonl.zst", "is named .zst but is no zstd file", "misnamed file");
}

// A zero byte far behind what is looked at first.
static void test_late_zero(void **state) {
    (void)state;
    char *text = (char *)alloc_or_exit(300000, 1);
    memset(text, 'x', 299999);
    scratch_write(".", "late", text, 300000);
    free(text);
    expect_refused("late", "input late holds a zero byte", "binary file");
}

// Whatever the formats, shards and what is said do not depend on the number of threads.
static void test_threads(void **state) {
    (void)state;
    enum { LINES = 4000 };
    put_lines("in/a.jsonl", LINES);
    put_text("in/b.jsonl", "{\"text\": \"one\"}\noops\n{}\n{\"text\": \"\"}\n");
    put_text("in/c.jsonl", "{\"text\": \"\\ud800\"}\noops\n");
    char *text = scratch_read("in", "a.jsonl", NULL);
    put_zstd("in/d.zst", text);
    gzip_append("in/e.gz", text);
    size_t size = strlen(text);
    char *wide = (char *)alloc_or_exit(size + 1, 2);
    memcpy(wide, "\xff\xfe", 2);
    for (size_t i = 0; i < size; i++) wide[2 + 2 * i] = text[i];
    put_bytes("in/f", wide, 2 * size + 2);
    PUT("in/g.txt", "\xff not UTF-8");
    PUT("in/h", "a\0b");
    free(text);
    free(wide);
    const char *input = "in";
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        PackReport first;
        for (int threads = 1; threads <= 8; threads *= 2) {
            PackConfig config = packing_config(&input, 1, threads == 1 ? "one" : "out", threads);
            config.shuffle = shuffle;
            config.val_fraction = 0.1;
            config.shard_tokens = 100000;
            PackReport report = packing_run(&config);
            report.seconds = 0;
            assert_string_equal(report.left_out, "3 lines (2 of them in in/b.jsonl), 1 empty document "
                                                 "(in/b.jsonl), 1 binary file (in/h)");
            assert_string_equal(report.kept, "1 text (in/g.txt)");
            assert_int_equal(report.train.documents + report.val.documents, 4 * LINES + 3);
            if (threads == 1) {
                first = report;
                continue;
            }
            assert_memory_equal(&first, &report, sizeof report);
            expect_same_files("one", "out");
            packing_remove("out");
        }
        packing_remove("one");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_zstd),
        IN_FOLDER(test_zstd_frames),
        IN_FOLDER(test_zstd_long_window),
        IN_FOLDER(test_behind_gzip),
        IN_FOLDER(test_names_of_lines),
        IN_FOLDER(test_text_in_brackets),
        IN_FOLDER(test_json_shapes),
        IN_FOLDER(test_long_json),
        IN_FOLDER(test_field),
        IN_FOLDER(test_cut_first_line),
        IN_FOLDER(test_byte_order_mark),
        IN_FOLDER(test_wide_encodings),
        IN_FOLDER(test_other_bytes),
        IN_FOLDER(test_refused_kinds),
        IN_FOLDER(test_pickles),
        cmocka_unit_test(test_no_pickles),
        IN_FOLDER(test_kinds_within),
        IN_FOLDER(test_names_that_claim),
        IN_FOLDER(test_late_zero),
        IN_FOLDER(test_threads),
    };
    return cmocka_run_group_tests_name("pack formats", tests, NULL, NULL);
}
