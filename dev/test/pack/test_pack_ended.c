// pack that is ended, by a signal, a kill or a full disk: nothing half done stays, or it is named and the
// next pack removes it; and nothing is removed or overwritten that is not from pack.
#include "core/base/files.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/faults.h"
#include "dev/test/support/held.h"
#include "dev/test/support/packing.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/temporary_folder.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

// ---- Signals

// The program stands still before it has written to a file of its working folder.
static Program *start_held_pack(const char *name, const char *file, const char *words) {
    char path[64];
    snprintf(path, sizeof path, "/out/.packing/%s", file);
    Program *program = held_before(name, 0, path, HELD_TILL_TOLD,
                                   "pack in --shard-tokens 2000 --threads 3 --out out %s", words);
    assert_true(scratch_count("out/.packing") > 0);
    return program;
}

static void test_signals(void **state) {
    (void)state;
    put_text("in/a.jsonl", "");
    put_lines("in/a.jsonl", 3000);
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 6; i++) {
        bool mine = i % 2; // the folder is ours, with something in it
        char name[32];
        snprintf(name, sizeof name, "start_%d", i);
        if (mine) put_text("out/notes.txt", "mine");
        Program *program = start_held_pack(name, i < 3 ? "" : "train_00002.bin", i < 3 ? "" : "--no-shuffle");
        program_signal(program, signals[i / 2]);
        Outcome outcome = program_wait(program);
        assert_int_equal(outcome.status, 128 + signals[i / 2]);
        expect_part(outcome.err, "no shard is made, and what was begun is removed");
        outcome_free(&outcome);
        assert_false(folder_exists("out/.packing"));
        assert_int_equal(folder_exists("out"), mine);
        if (mine) assert_int_equal(scratch_count("out"), 1);
        if (mine) packing_remove("out");
    }
}

// A program whose SIGHUP is ignored, as under nohup, goes on.
static void test_ignored_signal(void **state) {
    (void)state;
    put_text("in/a.jsonl", "");
    put_lines("in/a.jsonl", 500);
    program_hangup(true);
    Program *program = start_held_pack("start", "", "");
    program_hangup(false);
    program_signal(program, SIGHUP);
    held_go("start");
    Outcome outcome = program_wait(program);
    assert_int_equal(outcome.status, 0);
    outcome_free(&outcome);
    assert_false(folder_exists("out/.packing"));
}

// ---- What a kill leaves

static void test_killed(void **state) {
    (void)state;
    put_text("in/a.jsonl", "");
    put_lines("in/a.jsonl", 3000);
    Program *program = start_held_pack("start", "", "");
    char *said = program_output("info out");
    expect_part(said, "out/.packing: ");
    expect_part(said, "a `pack` is at work");
    free(said);
    program_signal(program, SIGKILL);
    Outcome outcome = program_wait(program);
    assert_int_equal(outcome.status, 128 + SIGKILL);
    outcome_free(&outcome);
    said = program_output("info out");
    expect_part(said, "left by a `pack` that was ended; the next one removes it");
    free(said);
    program_expect(0, "that an ended `pack` had left in out/.packing are removed", "pack in --out out");
    assert_false(folder_exists("out/.packing"));
}

// A folder that only has the name is somebody's own.
static void test_foreign_folder(void **state) {
    (void)state;
    put_text("a.txt", "some text\nand more\n");
    put_text("out/.packing/photos/beach.jpg", "precious");
    program_expect(2, "out/.packing holds photos, which is not from `pack`", "pack a.txt --out out");
    assert_true(file_exists("out/.packing/photos/beach.jpg"));
    put_text("shards/.packing/train_00000.bin/beach.jpg", "precious"); // a folder of such a name is none
    program_expect(2, "shards/.packing holds train_00000.bin, which is not from `pack`",
                   "pack a.txt --out shards");
    assert_true(file_exists("shards/.packing/train_00000.bin/beach.jpg"));
    put_text("notes/val_notes.bin", "precious");
    program_expect(2, "notes holds val_notes.bin, which is no shard and would be taken for one by its name",
                   "pack a.txt --out notes");
    assert_int_equal(symlink("elsewhere", "link"), 0);
    put_text("elsewhere/train_00001.bin", "precious");
    assert_int_equal(mkdir("linked", 0777), 0);
    assert_int_equal(symlink("../elsewhere", "linked/.packing"), 0);
    program_expect(3, "cannot open the folder linked/.packing", "pack a.txt --out linked");
    assert_true(file_exists("elsewhere/train_00001.bin"));
}

// Files of somebody else stay beside the shards; shards of an earlier pack are never mixed with new ones.
static void test_earlier_shards(void **state) {
    (void)state;
    put_lines("large.jsonl", 2000);
    put_text("small.txt", "some text\nand more\n");
    put_text("out/notes.txt", "mine");
    free(program_output("pack large.jsonl --out out --shard-tokens 20000"));
    int count = scratch_count("out");
    program_expect(2, "out already holds shards (train_00000.bin): choose another --out or delete them",
                   "pack small.txt --out out");
    assert_int_equal(scratch_count("out"), count);
    assert_int_equal(unlink("out/train_00000.bin"), 0);
    program_expect(2, "out already holds shards (train_00001.bin)", "pack small.txt --out out");
    assert_true(file_exists("out/notes.txt"));
}

// A refusal leaves no folder that was not there.
static void test_refused(void **state) {
    (void)state;
    put_text("a.jsonl", "{\"text\": \"x\"}\noops\n");
    program_expect(3, "malformed", "pack a.jsonl --out out");
    assert_false(folder_exists("out"));
}

// ---- Room

// A sparse file that is far larger than any disk has room for.
static void test_room(void **state) {
    (void)state;
    int file = open("huge.txt", O_WRONLY | O_CREAT, 0666);
    assert_true(file >= 0);
    for (int i = 0; i < 10000; i++) assert_int_equal(write(file, "a line.\n", 8), 8);
    if (ftruncate(file, INT64_C(1) << 43) != 0) skip(); // a file system without files of 8 TiB
    assert_int_equal(close(file), 0);
    program_expect(3, "no room on the disk of out: about 17592186.0 MB are needed for the shards, and ",
                   "pack huge.txt --out out");
    assert_false(folder_exists("out"));
}

// A document is held in memory, which must have room for it: here for what has 64 MB and grows on.
static void test_memory(void **state) {
    (void)state;
    enum { LINES = 1300000 };
    static const Fault scarce = {"memory", "main", 48};
    FILE *file = fopen("book.txt", "w");
    assert_non_null(file);
    for (int i = 0; i < LINES; i++) assert_true(fprintf(file, "%054d\n", i) == 55);
    assert_int_equal(fclose(file), 0);
    faults_begin(scarce, "out", "trace");
    program_expect(4, "no memory for a document in book.txt of more than ", "pack book.txt --out out");
    assert_false(folder_exists("out"));
    program_expect(0, NULL, "pack book.txt --separator 0000\\n --val-fraction 0 --out parted");
    faults_end();
    program_expect(0, NULL, "pack book.txt --val-fraction 0 --out out");
}

int main(void) {
    program_find();
    faults_find();
    held_find();
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_signals),        IN_FOLDER(test_ignored_signal), IN_FOLDER(test_killed),
        IN_FOLDER(test_foreign_folder), IN_FOLDER(test_earlier_shards), IN_FOLDER(test_refused),
        IN_FOLDER(test_room),           IN_FOLDER(test_memory),
    };
    return cmocka_run_group_tests_name("pack ended", tests, NULL, NULL);
}
