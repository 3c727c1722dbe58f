// pack: records that other programs write a line each are JSON lines, or refused by name with a command that
// makes them so; blanks are no document, and settings of lines need lines.
#include "core/base/files.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/packing.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"

#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// ---- Helpers

#define RECORDS 20

// Runs a command as a user would who copies it from a message.
static bool shell(char *command) {
    char name[] = "sh", option[] = "-c", *words[] = {name, option, command, NULL};
    pid_t process;
    int status = 1;
    assert_int_equal(posix_spawnp(&process, name, NULL, NULL, words, environ), 0);
    assert_int_equal(waitpid(process, &status, 0), process);
    return status == 0;
}

// Records that differ in their number alone.
static void put_records(const char *path, const char *head, const char *pattern) {
    char line[256];
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(head, file);
    for (int i = 0; i < RECORDS; i++) {
        snprintf(line, sizeof line, "%s\n", pattern);
        char *number = strchr(line, '#');
        if (number) *number = (char)('a' + i);
        fputs(line, file);
    }
    assert_int_equal(fclose(file), 0);
}

// A file is refused by this name, also where it is piped in; the command in the message makes a file that
// gives all records. A folder leaves it out.
static void expect_mended(const char *name, const char *what) {
    char copy[200], left[400];
    Outcome outcome = program_run("pack %s --out out", name);
    assert_int_equal(outcome.status, 3);
    expect_part(outcome.err, what);
    char *command = strchr(outcome.err, '`');
    assert_non_null(command);
    char *end = strchr(++command, '`');
    assert_non_null(end);
    *end = 0;
    snprintf(copy, sizeof copy, "%s.jsonl", name);
    if (!shell(command)) fail_msg("%s", command);
    const char *input = copy;
    PackConfig config = packing_config(&input, 1, "out", 2);
    PackReport report = packing_run(&config);
    assert_int_equal(report.train.documents, RECORDS);
    assert_string_equal(report.left_out, "");
    packing_remove("out");
    snprintf(copy, sizeof copy, "in/%s", name);
    size_t size;
    char *bytes = scratch_read(".", name, &size);
    scratch_write(".", copy, bytes, (int64_t)size);
    free(bytes);
    put_text("in/text.txt", "A text.");
    input = "in";
    report = packing_run(&config);
    assert_int_equal(report.train.documents, 1);
    snprintf(left, sizeof left, "1 %s (%s)", what, copy);
    assert_string_equal(report.left_out, left);
    packing_remove("out");
    packing_remove("in");
    outcome_free(&outcome);
}

static int64_t documents_of(const char *input) {
    PackConfig config = packing_config(&input, 1, "out", 2);
    PackReport report = packing_run(&config);
    assert_string_equal(report.left_out, "");
    packing_remove("out");
    return report.train.documents;
}

// ---- Records

static bool has_tool(const char *name) {
    char command[100];
    snprintf(command, sizeof command, "command -v %s >/dev/null", name);
    return shell(command);
}

static void test_tables(void **state) {
    (void)state;
    if (!has_tool("python3")) skip();
    put_records("a.csv", "id,text\n", "#,\"one, \"\"two\"\"\n and three\"");
    expect_mended("a.csv", "table");
    put_records("a.TSV", "id\ttext\n", "#\tone, two");
    expect_mended("a.TSV", "table");
    put_records("a.csv.1", "id;text\n", "#;one, two");
    expect_mended("a.csv.1", "table");
    // Beside a name that says so, it may be meant.
    put_records("table.txt", "id,text\n", "#,one");
    char *said = program_output("pack table.txt --out out");
    expect_part(said, "with columns, as tables have, and packed as one document each: 1 file (table.txt)\n");
    free(said);
    packing_remove("out");
    said = program_output("pack table.txt --out out --separator \\n");
    assert_null(strstr(said, "with columns"));
    free(said);
    packing_remove("out");
    put_records("prose.txt", "A line, and\n", "a line with one # and no comma");
    said = program_output("pack prose.txt --out out");
    assert_null(strstr(said, "with columns"));
    free(said);
}

static void test_python(void **state) {
    (void)state;
    if (!has_tool("python3")) skip();
    put_records("a.txt", "", "{'id': 1, 'text': \"it's #\", 'more': None}");
    expect_mended("a.txt", "file of Python dictionaries");
    put_records("a.jsonl", "", "{'text': 'it is #'}");
    expect_mended("a.jsonl", "file of Python dictionaries");
    put_records("b.txt", "", "{'a set' # of words}");
    assert_int_equal(documents_of("b.txt"), 1);
}

static void test_strings(void **state) {
    (void)state;
    if (!has_tool("jq")) skip();
    put_records("a.txt", "", "\"one \\\"#\\\"\\n\"");
    expect_mended("a.txt", "file of JSON strings");
    put_records("a.jsonl", "", "\"one #\"");
    expect_mended("a.jsonl", "file of JSON strings");
    put_records("array", "[", "\"one #\",");
    FILE *file = fopen("array", "a");
    assert_non_null(file);
    fputs("\"\"]\n", file);
    assert_int_equal(fclose(file), 0);
    program_expect(3, "is a JSON array, where one JSON object a line is wanted: `jq -c '.[] | {text: .}'",
                   "pack array --out out");
    // Quotes in a text, and brackets.
    put_records("quotes.txt", "\"Who is there?\"\n", "\"It is #,\" he said.");
    assert_int_equal(documents_of("quotes.txt"), 1);
    put_text("brackets.txt", "[\"quoted\"] is in brackets here.\n");
    assert_int_equal(documents_of("brackets.txt"), 1);
}

// Objects, but none alone on its line; raw JSON is no text under any name.
static void test_objects(void **state) {
    (void)state;
    if (!has_tool("jq") || !has_tool("iconv") || !has_tool("sed")) skip();
    static const char *const names[] = {"a.txt", "a.jsonl"};
    for (int i = 0; i < 2; i++) {
        put_records(names[i], "", "{\"text\": \"one #\"},");
        expect_mended(names[i], "file of JSON objects in a row");
        put_records(names[i], "", "key\t{\"text\": \"one #\"}");
        expect_mended(names[i], "file of JSON behind something else");
        put_records(names[i], "", "{\"text\": \"caf\xe9 #\"}");
        expect_mended(names[i], "JSON file not in UTF-8");
    }
    put_records("a.txt", "", "{\"text\": \"one #\"}");
    size_t size;
    char *bytes = scratch_read(".", "a.txt", &size);
    for (size_t i = 0; i < size; i++)
        if (bytes[i] == '\n') bytes[i] = '\r'; // as of an old Macintosh
    scratch_write(".", "b.txt", bytes, (int64_t)size);
    free(bytes);
    expect_mended("b.txt", "file of JSON objects in a row");
    put_text("text.txt", "A line.\nThe set {a, b}\nand {c}\nand {}.\n");
    assert_int_equal(documents_of("text.txt"), 1);
    put_text("code.txt", "{}\n{\n  return;\n}\n");
    assert_int_equal(documents_of("code.txt"), 1);
}

// RFC 7464: a mark before every value.
static void test_sequence(void **state) {
    (void)state;
    put_records("a.json-seq", "", "\x1e{\"text\": \"one #\"}");
    assert_int_equal(documents_of("a.json-seq"), RECORDS);
    put_records("a", "", "\x1e{\"text\": \"one #\"}");
    assert_int_equal(documents_of("a"), RECORDS);
    put_text("pretty", "\x1e{\n  \"text\": \"one\"\n}\n\x1e{\n  \"text\": \"two\"\n}\n");
    program_expect(3, "`jq --seq -c . pretty > pretty.jsonl` makes it so", "pack pretty --out out");
}

// The advice for a shard that was compressed leads somewhere.
static void test_packed_shard(void **state) {
    (void)state;
    if (!has_tool("gzip")) skip();
    char command[] = "gzip out/train_00000.bin";
    put_text("a.txt", "A text.\nAnd more of it.\n");
    DONE("pack a.txt --out out");
    assert_true(shell(command));
    program_expect(
        3, "is a shard already within gzip: train reads it with --data, once `gzip -d` has decompressed it",
        "pack out/train_00000.bin.gz --out new");
}

// What a failed download leaves.
static void test_page(void **state) {
    (void)state;
    put_text("in/a.txt", "<!DOCTYPE html>\n<html><body>404 not found</body></html>\n");
    put_text("in/b.html", "<!DOCTYPE html>\n<html><body>A page.</body></html>\n");
    put_text("in/c.txt", "A text.\n");
    char *said = program_output("pack in --out out");
    expect_part(said, "web pages by other names, packed as texts: 1 file (in/a.txt)\n");
    free(said);
}

// Encodings that are ASCII byte for byte.
static void test_escapes(void **state) {
    (void)state;
    put_text("jis.txt", "A line\n\x1b$B$3$l$O\x1b(B and more\n");
    program_expect(3, "is ISO-2022-JP, not UTF-8: `iconv -f ISO-2022-JP -t UTF-8 jis.txt > jis.txt.txt`",
                   "pack jis.txt --out out");
    put_text("seven.txt", "Caf+AOk- and +MFMwbA-, +- and +2D3eAA-.\n");
    program_expect(3, "is UTF-7, not UTF-8", "pack seven.txt --out out");
    static const char *const texts[] = {
        "Caf+AOk- and +MFMwbA-.\n",                   // few
        "Caf+AOk- and +MFMwbA-, 1+1 and +2D3eAA-.\n", // another plus
        "i+foo-1, j+bar-2, k+baz-3, l+AOk=4\n",       // code
        "\x1b[1mbold\x1b(B\x1b[m of a terminal\n",
        "Caf\xc3\xa9+AOk- +AOk- +AOk-\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put_text("plain.txt", texts[i]);
        DONE("pack plain.txt --val-fraction 0 --out plain%zu", i);
    }
}

static void test_unmarked(void **state) {
    (void)state;
    char bytes[400];
    for (int i = 0; i < 200; i++) {
        bytes[2 * i] = (char)(i % 40 == 39 ? '\n' : 'a' + i % 26);
        bytes[2 * i + 1] = 0;
    }
    scratch_write(".", "a.txt", bytes, sizeof bytes);
    program_expect(3, "is UTF-16 without its mark: `iconv -f UTF-16LE -t UTF-8 a.txt > a.txt.txt`",
                   "pack a.txt --out out");
    scratch_write(".", "b.txt", bytes + 1, sizeof bytes - 2);
    program_expect(3, "`iconv -f UTF-16BE -t UTF-8 b.txt > b.txt.txt` makes it readable",
                   "pack b.txt --out out");
    char wide[400];
    for (int i = 0; i < 100; i++) {
        const char character[4] = {(char)(i % 40 == 39 ? '\n' : 'a' + i % 26), (char)(i % 9 == 8), 0, 0};
        memcpy(wide + 4 * i, character, 4);
    }
    scratch_write(".", "d.txt", wide, sizeof wide);
    program_expect(3, "is UTF-32 without its mark: `iconv -f UTF-32LE -t UTF-8 d.txt > d.txt.txt` makes it",
                   "pack d.txt --out out");
    for (int i = 0; i < 100; i++) {
        char *at = wide + 4 * i, big[4] = {at[3], at[2], at[1], at[0]};
        memcpy(at, big, 4);
    }
    scratch_write(".", "d.txt", wide, sizeof wide);
    program_expect(3, "`iconv -f UTF-32BE -t UTF-8 d.txt > d.txt.txt`", "pack d.txt --out out");
    for (int i = 0; i < 200; i++) bytes[2 * i] = (char)(i % 60); // ids, most likely
    scratch_write(".", "c.txt", bytes, sizeof bytes);
    program_expect(3, "holds a zero byte: it is binary", "pack c.txt --out out");
}

// ---- Lists of files

static void test_lists(void **state) {
    (void)state;
    scratch_write("in", "a.txt", "one text\n", -1);
    scratch_write("in", "b.txt", "another text\n", -1);
    static const struct {
        const char *text;
        bool list;
    } texts[] = {
        {"in/a.txt\nin/b.txt\n", true},
        {"a.txt\r\nb.txt\r\n", true},
        {"https://example.org/c4/0.json.gz\ns3://bucket/x\n", true},
        {"in/a.txt\n", false},
        {"in/a.txt\nis the first of them\n", false},
        {"https://example.org has it\nhttps://example.org has it\n", false},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        scratch_write("in", "list.txt", texts[i].text, -1);
        char *said = program_output("pack in/list.txt --val-fraction 0 --out out%zu", i);
        bool found = strstr(said, "lists of files or addresses, packed as texts, not what they name: 1 file "
                                  "(in/list.txt)");
        if (found != texts[i].list) fail_msg("%s: %s", texts[i].text, said);
        free(said);
    }
    scratch_write(".", "a.ps", "%!PS-Adobe-3.0\n", -1);
    program_expect(3, "`ps2ascii a.ps a.ps.txt` makes it readable", "pack a.ps --out out");
}

// ---- Blanks

static void test_blanks(void **state) {
    (void)state;
    const char *inputs[] = {"blank.txt", "text.txt", "lines.jsonl"};
    put_text("blank.txt", " \n\t\r\n\f\n");
    put_text("text.txt", "A text.\n");
    put_text("lines.jsonl",
             "{\"text\": \" \\n\"}\n{\"text\": \"one\"}\n{\"text\": \"\"}\n{\"text\": \" two\"}\n");
    PackConfig config = packing_config(inputs, 1, "out", 2);
    packing_fails(&config, STATUS_DATA,
                  "the inputs hold no document; left out: 1 empty document (blank.txt)");
    config.n_inputs = 3;
    PackReport report = packing_run(&config);
    assert_string_equal(report.left_out, "3 empty documents (2 of them in lines.jsonl)");
    Documents documents = documents_load("out/train_*.bin");
    assert_int_equal(documents.count, 3);
    expect_document(&documents, 0, "A text.\n", 8);
    expect_document(&documents, 1, "one", 3);
    expect_document(&documents, 2, " two", 4);
    documents_free(&documents);
}

// ---- Settings of lines

static void test_settings(void **state) {
    (void)state;
    put_text("a.txt", "A text.\n");
    put_lines("a.jsonl", 20);
    program_expect(2, "--max-bad is for JSON lines, and no input has any",
                   "pack a.txt --max-bad 0.5 --out out");
    DONE("pack a.txt a.jsonl --max-bad 0.5 --out out");
    static const char *const fields[] = {"text.", ".text", "a..b", "."};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        program_expect(2, "is no field: give its name", "pack a.jsonl --field %s --out new", fields[i]);
}

// A name may hold what would begin a line of its own.
static void test_one_line(void **state) {
    (void)state;
    put_text("a.txt", "A text.\nAnd more of it.\n");
    const char *const words[] = {"pack", "a.txt", "--val-fraction", "0", "--out", "two\nlines", NULL};
    Outcome outcome = program_run_words(words);
    assert_int_equal(outcome.status, 0);
    expect_part(outcome.out, "packed into two?lines: training 1 documents");
    outcome_free(&outcome);
    const char *const info[] = {"info", "two\nlines", NULL};
    outcome = program_run_words(info);
    assert_int_equal(outcome.status, 0);
    expect_part(outcome.out, "two?lines/train_00000.bin: shard of ");
    outcome_free(&outcome);
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_tables),       IN_FOLDER(test_python),   IN_FOLDER(test_strings),
        IN_FOLDER(test_objects),      IN_FOLDER(test_sequence), IN_FOLDER(test_page),
        IN_FOLDER(test_packed_shard), IN_FOLDER(test_unmarked), IN_FOLDER(test_escapes),
        IN_FOLDER(test_lists),        IN_FOLDER(test_blanks),   IN_FOLDER(test_settings),
        IN_FOLDER(test_one_line),
    };
    return cmocka_run_group_tests_name("pack records", tests, NULL, NULL);
}
