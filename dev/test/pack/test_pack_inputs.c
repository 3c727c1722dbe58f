// pack: what is found under a name, in a folder, by a pattern or through a link, and what is not: all of it
// is said.
#include "core/pack/text_file.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/packing.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

// The inputs give so many documents, and this is left out.
static void expect_left(const char **inputs, int n_inputs, int64_t documents, const char *left) {
    PackConfig config = packing_config(inputs, n_inputs, "out", 2);
    PackReport report = packing_run(&config);
    assert_string_equal(report.left_out, left);
    assert_int_equal(report.train.documents, documents);
    packing_remove("out");
}

static void refused(const char *input, const char *part) {
    PackConfig config = packing_config(&input, 1, "out", 2);
    packing_fails(&config, STATUS_DATA, part);
}

// ---- Folders

static void test_names_left_out(void **state) {
    (void)state;
    const char *input = "in";
    put_text("in/a.txt", "a");
    put_text("in/b.jsonl~", "no");
    put_text("in/b.bak", "no");
    put_text("in/#b#", "no");
    put_text("in/c.jsonl.gz.part", "no");
    put_text("in/d.crdownload", "no");
    put_text("in/e.incomplete", "no");
    put_text("in/f.tmp", "no");
    put_text("in/.a.txt.swp", "no");
    put_text("in/.cache/x/y.txt", "no");
    expect_left(
        &input, 1, 1,
        "3 backups (in/#b#, in/b.bak, in/b.jsonl~), 2 hidden files (in/.a.txt.swp, in/.cache), 4 partial "
        "downloads (in/c.jsonl.gz.part, in/d.crdownload and 2 more)");
    input = "in/b.bak"; // whoever names it wants it
    expect_left(&input, 1, 1, "");
}

static void test_links_and_pipes(void **state) {
    (void)state;
    const char *input = "in";
    put_text("in/a.txt", "a");
    put_text("elsewhere/b.txt", "b");
    assert_int_equal(symlink("nowhere", "in/dangling"), 0);
    assert_int_equal(symlink("self", "in/self"), 0);
    assert_int_equal(symlink("..", "in/up"), 0);
    assert_int_equal(symlink("../elsewhere", "in/folder"), 0);
    assert_int_equal(mkfifo("in/pipe", 0666), 0);
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, "in/socket");
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    // `up` leads to the folder that holds `in`: it is walked, and what it has is there already.
    assert_int_equal(unlink("in/up"), 0);
    assert_int_equal(symlink(".", "in/up"), 0);
    expect_left(
        &input, 1, 2,
        "1 dangling link (in/dangling), 2 loops of links (in/self, in/up), 1 pipe (in/pipe), 1 socket "
        "(in/socket)");
    close(listener);
    refused("in/dangling", "input in/dangling is a link to something that is not there");
    refused("in/self", "input in/self is a link that leads round to itself");
    refused("in/socket", "input in/socket is a socket, no regular file");
    refused("/dev/zero", "input /dev/zero is a device, no regular file or pipe");
}

// Only where there is someone who cannot read everything.
static void test_unreadable(void **state) {
    (void)state;
    const char *input = "in";
    put_text("in/a.txt", "a");
    put_text("in/secret.txt", "b");
    put_text("in/closed/c.txt", "c");
    assert_int_equal(chmod("in/secret.txt", 0), 0);
    assert_int_equal(chmod("in/closed", 0), 0);
    uid_t user = geteuid();
    if (user == 0 && (chmod(".", 0777) != 0 || seteuid(65534) != 0)) skip();
    expect_left(&input, 1, 1, "1 unreadable file (in/secret.txt), 1 unreadable folder (in/closed)");
    refused("in/secret.txt", "input in/secret.txt cannot be opened: Permission denied");
    assert_int_equal(seteuid(user), 0);
    assert_int_equal(chmod("in/closed", 0777), 0);
}

static void test_nothing_to_read(void **state) {
    (void)state;
    put_text("in/.hidden", "x");
    refused("in", "no text file in in; left out: 1 hidden file (in/.hidden)");
    assert_int_equal(mkdir("empty", 0777), 0);
    refused("empty", "no text file in empty");
    put_text("empty.txt", "");
    refused("empty.txt", "the inputs hold no document; left out: 1 empty document (empty.txt)");
    put_text("chat.jsonl", "{\"messages\": []}\n");
    refused("chat.jsonl", "has no field \"text\", and no other with a text: write it with jq");
    put_text("strange\n\x1b[2J.parquet", "<html>");
    refused("strange\n\x1b[2J.parquet", "input strange??[2J.parquet is named .parquet");
}

// ---- The same file twice

static void test_twice(void **state) {
    (void)state;
    put_text("in/a.txt", "a");
    put_text("in/b.txt", "b");
    assert_int_equal(symlink("a.txt", "in/link.txt"), 0);
    assert_int_equal(link("in/b.txt", "in/hard.txt"), 0);
    const char *inputs[] = {"in/b.txt", "in", "./in/a.txt"};
    expect_left(inputs, 1, 1, "");
    expect_left(inputs + 1, 1, 2, "2 files given twice (in/hard.txt, in/link.txt)");
    expect_left(inputs, 3, 2, "4 files given twice (./in/a.txt, in/b.txt and 2 more)");
    inputs[1] = "in/b.txt";
    expect_left(inputs, 2, 1, "1 file given twice (in/b.txt)");
}

// What was unpacked beside its archive, and what was fetched twice, by content.
static void test_copies(void **state) {
    (void)state;
    const char *input = "in";
    put_lines("in/a.jsonl", 30);
    put_lines("in/b (1).jsonl", 20);
    put_lines("in/b.jsonl", 20);
    put_lines("in/c.jsonl", 40);
    gzip_append("in/c.jsonl.gz", "{\"text\": \"newer\"}\n");
    put_text("in/d.txt", "one");
    gzip_append("in/d.txt.gz", "one");
    put_text("in/e.txt", "one"); // a short text is a document like any other
    expect_left(&input, 1, 93, "2 files with the content of another (in/b.jsonl, in/d.txt.gz)");
    Outcome outcome = program_run("pack in --out out --strict");
    assert_int_equal(outcome.status, 3);
    expect_part(outcome.err, "in/d.txt.gz is left out: it has the content of in/d.txt\n");
    outcome_free(&outcome);
    const char *lines = "{\"text\": \"one\"}\n{\"text\": \"two\"}\n";
    put_text("three/x.jsonl", lines);
    gzip_append("three/x.jsonl.gz", lines);
    gzip_append("three/x.jsonl.zst.gz", lines);
    assert_int_equal(rename("three/x.jsonl.zst.gz", "three/x.jsonl.zst"), 0);
    input = "three";
    expect_left(&input, 1, 2, "2 files with the content of another (three/x.jsonl.gz, three/x.jsonl.zst)");
    put_text("cut/x.txt", "the beginning");
    gzip_append("cut/x.txt.gz", "the beginning and the end");
    program_expect(0, "cut/x.txt and cut/x.txt.gz begin alike and are not the same", "pack cut --out out");
}

// The sets of a whole data set, which are not all for training.
static void test_names_of_sets(void **state) {
    (void)state;
    put_lines("c4/c4-train.00000-of-00002.json", 30);
    put_lines("c4/c4-validation.00000-of-00001.json", 20);
    put_lines("set/train/a.jsonl", 30);
    put_lines("set/test/b.jsonl", 20);
    put_lines("set/latest/contrail.jsonl", 10);
    char *text = program_output("pack c4 --out out1");
    expect_part(text, "\nfor validation or tests by their names, and packed with the rest: 1 file "
                      "(c4/c4-validation.00000-of-00001.json)\n");
    free(text);
    text = program_output("pack set --out out2");
    expect_part(text, "by their names, and packed with the rest: 1 file (set/test/b.jsonl)\n");
    free(text);
    text = program_output("pack set/test set/latest --out out3"); // of programs' texts, or by themselves
    assert_null(strstr(text, "by their names"));
    free(text);
}

// What a tool has said before its first line does not make a text of all lines.
static void test_noise(void **state) {
    (void)state;
    const char *input = "noise";
    put_text("noise",
             "Downloading 3 files\n{\"text\": \"one\"}\n{\"text\": \"two\"}\n{\"text\": \"three\"}\n");
    PackConfig config = packing_config(&input, 1, "out", 2);
    config.max_bad_fraction = 0.5;
    PackReport report = packing_run(&config);
    assert_string_equal(report.left_out, "1 line (noise)");
    assert_int_equal(report.train.documents, 3);
    packing_remove("out");
    put_text("noise", "int main(void)\n{\n}\n");
    expect_left(&input, 1, 1, "");
    put_text("noise", "a text with one line like\n{\"text\": \"one\"}\nand others\n");
    expect_left(&input, 1, 1, "");
}

// A file that somebody still writes is not packed as far as it has come.
static void test_growing(void **state) {
    (void)state;
    put_text("a.txt", "a text");
    PackInput input;
    TextFile file;
    Error error = {0, ""};
    char text[16];
    size_t got = 1;
    memset(&input, 0, sizeof input);
    input.path = copy_or_exit("a.txt");
    input.packing = FILE_OTHER;
    input.size = 4;
    assert_true(text_file_open(&file, &input, &error));
    bool ok = true;
    while (ok && got > 0) ok = text_file_read(&file, text, sizeof text, &got, &error);
    expect_failed(ok, &error, STATUS_DATA,
                  "input a.txt had 4 bytes when it was first looked at, and has 6 now");
    text_file_close(&file);
    free(input.path);
}

// A cache of a model hub: the files, and the versions that link to them.
static void test_hub_cache(void **state) {
    (void)state;
    const char *input = "datasets--x";
    put_text("datasets--x/blobs/0123", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    put_text("datasets--x/blobs/4567.incomplete", "{\"text\": \"thr");
    put_text("datasets--x/refs/main", "0a1b2c");
    put_text("datasets--x/snapshots/0a1b2c/README.md", "read me");
    assert_int_equal(symlink("../../blobs/0123", "datasets--x/snapshots/0a1b2c/data.jsonl"), 0);
    expect_left(&input, 1, 3,
                "1 file given twice (datasets--x/snapshots/0a1b2c/data.jsonl), 1 hidden file "
                "(datasets--x/refs), 1 partial download (datasets--x/blobs/4567.incomplete)");
}

// ---- Patterns

static void test_patterns(void **state) {
    (void)state;
    put_text("in/a.txt", "a");
    put_text("in/b.txt", "b");
    put_text("in/[c].txt", "c");
    put_text("in/d.md", "d");
    const char *input = "in/?.txt";
    expect_left(&input, 1, 2, "");
    input = "in/[c].txt"; // a file of that name goes before
    expect_left(&input, 1, 1, "");
    input = "i*";
    expect_left(&input, 1, 4, "");
    refused("in/*.jsonl", "no file matches the input in/*.jsonl");
}

// ---- Pipes

// Writes a text into a pipe from another process, and gives its other end.
static int piped(const char *text, pid_t *writer) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    *writer = fork();
    if (*writer == 0) {
        close(ends[0]);
        for (size_t at = 0, size = strlen(text); at < size;) {
            ssize_t written = write(ends[1], text + at, size - at);
            if (written <= 0) _exit(1);
            at += (size_t)written;
        }
        _exit(0);
    }
    close(ends[1]);
    return ends[0];
}

static void end_pipe(int end, pid_t writer) {
    int status;
    close(end);
    assert_int_equal(waitpid(writer, &status, 0), writer);
}

// What is piped in is read as a file is, more of it than a pipe holds, and gives the same shards.
static void test_pipes(void **state) {
    (void)state;
    put_lines("a.jsonl", 5000);
    char *text = scratch_read(".", "a.jsonl", NULL);
    const char *input = "a.jsonl";
    PackConfig config = packing_config(&input, 1, "file", 2);
    config.shuffle = true;
    config.val_fraction = 0.1;
    packing_run(&config);
    config.out = "out";
    for (int kind = 0; kind < 2; kind++) {
        pid_t writer;
        char name[32];
        int end = piped(text, &writer), saved = dup(STDIN_FILENO);
        snprintf(name, sizeof name, "/dev/fd/%d", end);
        input = kind ? name : "-";
        if (!kind) assert_int_equal(dup2(end, STDIN_FILENO), STDIN_FILENO);
        packing_run(&config);
        dup2(saved, STDIN_FILENO);
        close(saved);
        end_pipe(end, writer);
        expect_same_files("file", "out");
        packing_remove("out");
    }
    free(text);
}

static void test_refused_pipes(void **state) {
    (void)state;
    static const char *const texts[][2] = {
        {"[{\"text\": \"a\"}]", "input standard input is a JSON array, where one JSON object a line is "
                                "wanted: `jq -c '.[]'` makes it so"},
        {"PAR1....", "input standard input is no text but a Parquet file"},
        {"", "the inputs hold no document; left out: 1 empty document (standard input)"},
    };
    int saved = dup(STDIN_FILENO);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        pid_t writer;
        int end = piped(texts[i][0], &writer);
        assert_int_equal(dup2(end, STDIN_FILENO), STDIN_FILENO);
        refused("-", texts[i][1]);
        end_pipe(end, writer);
    }
    dup2(saved, STDIN_FILENO);
    close(saved);
}

// ---- The command

static void test_command(void **state) {
    (void)state;
    put_text("in/a.jsonl", "{\"text\": \"one\"}\n{\"body\": \"x\"}\noops\n{\"text\": \"\"}\n");
    put_text("in/b.txt", "caf\xe9");
    scratch_write(".", "in/image", "x\0y", 3);
    char *text = program_output("pack in --out out --max-bad 0.6 --val-fraction 0");
    expect_part(text,
                "\nnot UTF-8, kept byte for byte: 1 text (in/b.txt)\n"
                "left out: 2 lines (in/a.jsonl), 1 empty document (in/a.jsonl), 1 binary file (in/image)\n");
    free(text);
    program_expect(3, "--strict allows nothing to be left out, and here is: 1 binary file (in/image)",
                   "pack in --out strict --max-bad 0.6 --val-fraction 0 --strict");
    program_expect(3, "--strict allows nothing to be left out, and here is: 2 lines (in/a.jsonl), 1 empty",
                   "pack in/a.jsonl --out strict --max-bad 0.6 --val-fraction 0 --strict");
    text = program_output("pack in/a.jsonl --field body --out body --max-bad 1 --val-fraction 0");
    expect_part(text, "training 1 documents, 3 tokens");
    assert_null(strstr(text, "beside"));
    free(text);
    put_text("b.txt~", "text");
    program_expect(0, "warning: b.txt~ looks like a backup: it is packed, as it is named",
                   "pack b.txt~ --out backup --val-fraction 0");
    program_expect(2, "--field is for lines of text, and --tokens has none",
                   "pack in --out ids --tokens uint16 --vocab 300 --field body");
    program_expect(2, "out already holds shards", "pack missing.txt --out out");
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_names_left_out),  IN_FOLDER(test_links_and_pipes), IN_FOLDER(test_unreadable),
        IN_FOLDER(test_nothing_to_read), IN_FOLDER(test_twice),           IN_FOLDER(test_copies),
        IN_FOLDER(test_growing),         IN_FOLDER(test_noise),           IN_FOLDER(test_names_of_sets),
        IN_FOLDER(test_hub_cache),       IN_FOLDER(test_patterns),        IN_FOLDER(test_pipes),
        IN_FOLDER(test_refused_pipes),   IN_FOLDER(test_command),
    };
    return cmocka_run_group_tests_name("pack inputs", tests, NULL, NULL);
}
