// pack --tokens: token ids come out as they went in, cut into documents as asked, and what cannot be is said.
#include "core/base/files.h"
#include "core/base/json_file.h"
#include "core/data/shard.h"
#include "dev/test/support/folders.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"
#include "dev/test/support/tiny_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#define END 7 // the id that ends a document

// ---- Files of ids

// Ids below `vocab`, documents of 1 ... 90 of them that end with END; none of END but there.
static int32_t *new_ids(int64_t count, int64_t vocab) {
    int32_t *ids = (int32_t *)alloc_or_exit((size_t)count, sizeof *ids);
    uint64_t bits = 1;
    for (int64_t i = 0; i < count; i++) {
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int32_t)((int64_t)(bits >> 33) % vocab);
        if (ids[i] == END) ids[i] = END + 1;
        if (bits >> 20 & 1 && i % 45 == 44) ids[i] = END;
    }
    return ids;
}

static unsigned char *bytes_of(const int32_t *ids, int64_t count, int width) {
    unsigned char *bytes = (unsigned char *)alloc_or_exit((size_t)(count * width) + 1, 1);
    for (int64_t i = 0; i < count; i++) shard_put(bytes + i * width, width, (uint32_t)ids[i]);
    return bytes;
}

static void put_ids(const char *path, const int32_t *ids, int64_t count, int width) {
    unsigned char *bytes = bytes_of(ids, count, width);
    scratch_write(".", path, bytes, count * width);
    free(bytes);
}

static void assert_ids(const char *pattern, const int32_t *ids, int64_t count) {
    int64_t found;
    int32_t *tokens = shards_load(pattern, &found);
    assert_int_equal(found, count);
    assert_memory_equal(tokens, ids, (size_t)count * sizeof *ids);
    free(tokens);
}

static ShardHeader header_of(const char *path) {
    Shard shard;
    Error error;
    if (!shard_open(&shard, path, &error)) fail_msg("%s", error.message);
    ShardHeader header = shard.header;
    shard_close(&shard);
    return header;
}

// ---- There and back

// Several blocks of ids, in order.
static void test_in_order(void **state) {
    (void)state;
    enum { COUNT = 1500000 };
    static const struct {
        int width, shard_width;
        int64_t vocab;
        const char *name;
    } rows[] = {
        {2, 2, 60000, "uint16"}, {4, 2, 65536, "uint32"}, {4, 4, 65537, "uint32"}, {4, 4, 1 << 24, "uint32"}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        int32_t *ids = new_ids(COUNT, rows[r].vocab);
        int64_t documents = 1;
        for (int64_t i = 0; i < COUNT - 1; i++) documents += ids[i] == END;
        ids[5] = (int32_t)rows[r].vocab - 1;
        ids[6] = 0;
        put_ids("ids.bin", ids, COUNT, rows[r].width);
        char out[32], path[64];
        snprintf(out, sizeof out, "order_%d", (int)r);
        free(program_output("pack ids.bin --tokens %s --vocab %lld --document-end %d --no-shuffle "
                            "--val-fraction 0 --out %s --threads 2",
                            rows[r].name, (long long)rows[r].vocab, END, out));
        snprintf(path, sizeof path, "%s/train_00000.bin", out);
        assert_ids(path, ids, COUNT);
        ShardHeader header = header_of(path);
        assert_int_equal(header.content, SHARD_IDS);
        assert_int_equal(header.token_bytes, rows[r].shard_width);
        assert_int_equal(header.n_documents, documents);
        free(ids);
    }
}

// Shuffled, every document comes out once and whole; the number of threads changes nothing.
static void test_shuffled(void **state) {
    (void)state;
    enum { COUNT = 40000 };
    int32_t *ids = new_ids(COUNT, 50000);
    ids[COUNT - 1] = END;
    put_ids("ids.bin", ids, COUNT, 2);
    free(program_output("pack ids.bin --tokens uint16 --vocab 50000 --document-end 7 --val-fraction 0.2 "
                        "--out shuffled --threads 1"));
    free(program_output("pack ids.bin --tokens uint16 --vocab 50000 --document-end 7 --val-fraction 0.2 "
                        "--out again --threads 3"));
    assert_true(files_equal("shuffled/train_00000.bin", "again/train_00000.bin"));
    assert_true(files_equal("shuffled/val_00000.bin", "again/val_00000.bin"));

    int64_t n_train, n_val;
    int32_t *train = shards_load("shuffled/train_*.bin", &n_train);
    int32_t *val = shards_load("shuffled/val_*.bin", &n_val);
    assert_int_equal(n_train + n_val, COUNT);
    assert_true(n_val > COUNT / 10 && n_val < COUNT * 3 / 10);
    assert_memory_not_equal(train, ids, 1000);
    char *used = (char *)alloc_or_exit(COUNT, 1); // by document's start in the input
    for (int64_t start = 0, end; start < n_train; start = end) {
        for (end = start + 1; train[end - 1] != END; end++) {
        }
        int64_t place = -1;
        for (int64_t i = 0; i < COUNT && place < 0; i++) {
            bool begins = i == 0 || ids[i - 1] == END;
            bool same = begins && i + end - start <= COUNT && !used[i] &&
                        memcmp(ids + i, train + start, (size_t)(end - start) * sizeof *ids) == 0;
            if (same) place = i;
        }
        if (place < 0) fail_msg("the document at %d is none of the input", (int)start);
        used[place] = 1;
    }
    free(used);
    free(train);
    free(val);
    free(ids);
}

// Without --document-end a file is a document. What ids look like as bytes tells nothing: gzip, text, binary.
static void test_files_are_documents(void **state) {
    (void)state;
    const int32_t like_gzip[] = {0x8b1f, 8, 0, 0}, zeros[] = {0, 0, 0}, text[] = {0x2020, 0x2020};
    put_ids("in/a.bin", like_gzip, 4, 2);
    put_ids("in/b.tok", text, 2, 2);
    put_ids("in/c", zeros, 3, 2);
    put_ids("in/.hidden", zeros, 3, 2);
    gzFile file = gzopen("in/d.bin.gz", "wb");
    assert_int_equal(gzwrite(file, "\x01\x02\x03\x04", 4), 4);
    assert_int_equal(gzclose(file), Z_OK);
    free(program_output("pack in --tokens uint16 --vocab 65536 --no-shuffle --val-fraction 0 --out files"));
    const int32_t all[] = {0x8b1f, 8, 0, 0, 0x2020, 0x2020, 0, 0, 0, 0x0201, 0x0403};
    assert_ids("files/train_00000.bin", all, 11);
    assert_int_equal(header_of("files/train_00000.bin").n_documents, 4);
}

// ---- Use

// A model on ids of its own: bits a byte mean nothing and are left out.
static void test_train_and_eval(void **state) {
    (void)state;
    int32_t *ids = new_ids(6000, 264);
    put_ids("ids.bin", ids, 6000, 4);
    free(ids);
    free(program_output(
        "pack ids.bin --tokens uint32 --vocab 264 --document-end 7 --val-fraction 0.3 --out ids"));
    char *text = program_output(
        TINY_TRAIN
        "--data ids/train_*.bin --val ids/val_*.bin --val-every 1 --val-batches 1 --out run --steps 1");
    assert_non_null(strstr(text, "nats a token"));
    free(text);
    text = program_output("eval --model run --data ids/val_*.bin");
    assert_non_null(strstr(text, "nats_per_target"));
    assert_null(strstr(text, "byte"));
    free(text);
    program_expect(2, "--data val_*.bin holds bytes, and run/step_00000001 is a model of a tokenizer's ids",
                   "eval --model run --data val_*.bin");
    program_expect(0, NULL, TINY_TRAIN "--out other --steps 1");
    program_expect(2, "--data ids/val_*.bin holds token ids, and other/step_00000001 is a model of bytes",
                   "eval --model other --data ids/val_*.bin");
    text = program_output("info ids");
    assert_non_null(strstr(text, "(2 bytes each, token ids)"));
    free(text);
    file_copy("ids/val_00000.bin", "mixed/a.bin");
    file_copy("val_0.bin", "mixed/b.bin");
    program_expect(3, "mixed/b.bin holds bytes, shard mixed/a.bin does not",
                   "eval --model run --data mixed/*.bin");
}

// A Llama with a tokenizer of its own keeps it through runs and resumes; one without has none, not that of
// bytes.
static void test_tokenizer_stays(void **state) {
    (void)state;
    int32_t *ids = new_ids(6000, 264);
    put_ids("own.bin", ids, 6000, 2);
    free(ids);
    free(program_output("pack own.bin --tokens uint16 --vocab 264 --document-end 7 --out own"));
    program_expect(0, NULL, TINY_TRAIN "--out bytes --steps 1");

    json_t *config = config_of("bytes/step_00000001");
    json_object_set_new(config, "bos_token_id", json_integer(100));
    json_object_set_new(config, "eos_token_id", json_pack("[i, i]", 7, 8));
    char *text = json_dumps(config, 0);
    json_decref(config);
    scratch_write("llama", "config.json", text, -1);
    free(text);
    file_copy("bytes/step_00000001/model.safetensors", "llama/model.safetensors");
    scratch_write("llama", "tokenizer.json", "{\"its\": \"own\"}", -1);
    scratch_write("llama", "tokenizer_config.json", "{}", -1);

    program_expect(0, NULL, TINY_TRAIN "--data own/train_*.bin --init llama --out kept --steps 1");
    assert_int_equal(rename("llama", "moved"), 0); // the checkpoint has it now
    program_expect(0, NULL, "train --resume kept --steps 2");
    assert_int_equal(rename("moved", "llama"), 0);
    for (int step = 1; step <= 2; step++) {
        char folder[64], file[128];
        snprintf(folder, sizeof folder, "kept/step_%08d", step);
        expect_member(folder, "bos_token_id", "100");
        expect_member(folder, "eos_token_id", "[7,8]");
        snprintf(file, sizeof file, "%s/tokenizer.json", folder);
        assert_true(files_equal(file, "llama/tokenizer.json"));
        snprintf(file, sizeof file, "%s/tokenizer_config.json", folder);
        assert_true(files_equal(file, "llama/tokenizer_config.json"));
    }
    free(program_output("info kept --verify"));
    program_expect(2, "is no model of bytes: bos_token_id in its config.json is 100, theirs is 256",
                   "generate --model kept");
    program_expect(2, "is no model of bytes", "niah --model kept --lengths 100");

    program_expect(0, NULL, TINY_TRAIN "--data own/train_*.bin --out none --steps 1");
    program_expect(0, NULL, "train --resume none --steps 2");
    assert_false(file_exists("none/step_00000002/tokenizer.json"));
    assert_false(file_exists("none/step_00000002/tokenizer_config.json"));
    expect_member("none/step_00000002", "bos_token_id", "null");
    free(program_output("info none --verify"));
    program_expect(2, "is no model of bytes", "generate --model none");

    // A run stays with tokens of its kind.
    program_expect(2, "kept/step_00000002 is a model of a tokenizer's ids",
                   "train --resume kept --steps 3 --data train_*.bin");
    program_expect(2, "none/step_00000002 is a model of a tokenizer's ids",
                   "train --resume none --steps 3 --data train_*.bin");
    program_expect(2, "holds token ids, and bytes/step_00000001 is a model of bytes",
                   "train --resume bytes --steps 2 --data own/train_*.bin");

    // So does one that begins from a model whose tokens are known.
    program_expect(2, "--data train_*.bin holds bytes, and llama is a model of a tokenizer's ids",
                   TINY_TRAIN "--init llama --out afresh --steps 1");
    program_expect(2, "holds token ids, and bytes/step_00000001 is a model of bytes",
                   TINY_TRAIN "--init bytes/step_00000001 --data own/train_*.bin --out afresh --steps 1");
    assert_false(folder_exists("afresh"));
    program_expect(2, "none/step_00000002 is a model of a tokenizer's ids",
                   TINY_TRAIN "--init none/step_00000002 --out afresh --steps 1");
    assert_false(folder_exists("afresh"));
    DONE("export --model none --out open"); // which tells no more what it was trained on
    program_expect(0, "open has neither a tokenizer nor marks of a document: it becomes a model of bytes",
                   TINY_TRAIN "--init open --out afresh --steps 1");
    expect_member("afresh/step_00000001", "bos_token_id", "256");
    free(program_output("generate --model afresh --max-bytes 1"));
}

// A mark before each document, as llm.c writes it, is no end of one.
static void test_marks_before_documents(void **state) {
    (void)state;
    static const int32_t ids[] = {END, 1, 2, 3, END, 4, 5, 6, END, 8, 9, 10};
    put_ids("before.bin", ids, 12, 2);
    put_ids("behind.bin", ids + 1, 8, 2);
    program_expect(
        0, "1 of 2 files begin with --document-end 7, before.bin the first",
        "pack before.bin behind.bin --tokens uint16 --vocab 100 --document-end 7 --val-fraction 0 --out b");
    Outcome outcome =
        program_run("pack behind.bin --tokens uint16 --vocab 100 --document-end 7 --val-fraction 0 --out c");
    assert_int_equal(outcome.status, 0);
    assert_null(strstr(outcome.err, "begin with"));
    outcome_free(&outcome);
}

// An id that ends a document every few ids is none that a tokenizer keeps for that.
static void test_short_documents(void **state) {
    (void)state;
    enum { DOCUMENTS = 1000, LENGTH = 31 };
    static int32_t ids[DOCUMENTS * (LENGTH + 1)];
    for (int i = 0; i < DOCUMENTS * LENGTH; i++) ids[i] = i % LENGTH == LENGTH - 1 ? END : 8 + i % 83;
    put_ids("short.bin", ids, DOCUMENTS * LENGTH, 2);
    program_expect(
        0,
        "--document-end 7 ends 1000 documents in short.bin, of 31 ids on average: is it an ordinary "
        "token of the tokenizer",
        "pack short.bin --tokens uint16 --vocab 100 --document-end 7 --out s");
    for (int i = 0; i < DOCUMENTS * (LENGTH + 1); i++) ids[i] = i % (LENGTH + 1) == LENGTH ? END : 8 + i % 83;
    put_ids("long.bin", ids, DOCUMENTS * (LENGTH + 1), 2);
    Outcome outcome = program_run("pack long.bin --tokens uint16 --vocab 100 --document-end 7 --out l");
    assert_int_equal(outcome.status, 0);
    assert_null(strstr(outcome.err, "ordinary"));
    outcome_free(&outcome);
}

// ---- Refusals

#define PACK "pack ids.bin --out no --tokens uint16 "

static void test_refusals(void **state) {
    (void)state;
    int32_t *ids = new_ids(900000, 1000);
    ids[800000] = 1000;
    put_ids("ids.bin", ids, 900000, 2);
    program_expect(3, "id 800000 (from 0) is 1000, and --vocab 1000 allows 0 to 999", PACK "--vocab 1000");
    program_expect(3, "id 800000 (from 0) is 1000", PACK "--vocab 1000 --document-end 7");
    program_expect(2, "--tokens needs --vocab", PACK);
    program_expect(2, "--document-end 1000 is no id below --vocab 1000",
                   PACK "--vocab 1000 --document-end 1000");
    program_expect(2, "--passkey-fraction mixes in bytes", PACK "--vocab 1001 --passkey-fraction 0.1");
    program_expect(2, "--vocab is only for --tokens", "pack ids.bin --out no --vocab 1000");
    program_expect(2, "--document-end is only for --tokens", "pack ids.bin --out no --document-end 0");
    program_expect(2, "--tokens int8: must be one of no|uint16|uint32",
                   "pack ids.bin --out no --tokens int8");

    unsigned char *bytes = bytes_of(ids, 100, 2);
    scratch_write(".", "odd.bin", bytes, 199);
    program_expect(3, "odd.bin has 199 bytes, no multiple of the 2 of an id",
                   "pack odd.bin --out no --tokens uint16 --vocab 1000");
    gzFile file = gzopen("odd.bin.gz", "wb");
    assert_int_equal(gzwrite(file, bytes, 199), 199);
    assert_int_equal(gzclose(file), Z_OK);
    program_expect(3, "odd.bin.gz ends within an id of 2 bytes",
                   "pack odd.bin.gz --out no --tokens uint16 --vocab 1000");
    free(bytes);
    free(ids);
    scratch_write(".", "array.npy", "\x93NUMPY\x01\x00rest", 12);
    program_expect(3, "array.npy is a NumPy array", "pack array.npy --out no --tokens uint16 --vocab 1000");
    program_expect(3, "train_0.bin is a shard already",
                   "pack train_0.bin --out no --tokens uint16 --vocab 1000");
    program_expect(3, "train_0.bin is a shard already", "pack train_0.bin --out no");
    assert_false(folder_exists("no"));
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_shuffled),
        cmocka_unit_test(test_files_are_documents),
        cmocka_unit_test(test_train_and_eval),
        cmocka_unit_test(test_tokenizer_stays),
        cmocka_unit_test(test_marks_before_documents),
        cmocka_unit_test(test_short_documents),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("pack tokens", tests, tiny_enter, temporary_folder_leave) ? 1 : 0;
}
