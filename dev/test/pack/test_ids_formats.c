// pack --tokens: files of ids as other programs write them are read for what they are, or refused by name;
// and ids of another width or byte order than --tokens says are not taken for ids.
#include "core/base/files.h"
#include "core/data/shard.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/packing.h"
#include "dev/test/support/program.h"
#include "dev/test/support/scratch.h"
#include "dev/test/support/shards.h"
#include "dev/test/support/temporary_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define COUNT 5000
#define END   99
#define IDS   " --tokens uint16 --vocab 50000 --out out --val-fraction 0 --no-shuffle "
#define WIDE  " --tokens uint32 --vocab 50000 --out out --val-fraction 0 --no-shuffle "

// Ids below 50000; every hundredth is END.
static int32_t id_at(int64_t place) {
    return place % 100 == 99 ? END : (int32_t)((place * 7919 + 12345) % 49000 + 100);
}

// ---- Files

// `header`, then ids of `width` bytes, big-endian or little-endian.
static void put_ids(const char *path, const void *header, size_t header_size, int width, bool big) {
    size_t size = header_size + (size_t)(COUNT * width);
    unsigned char *bytes = (unsigned char *)alloc_or_exit(size, 1);
    if (header_size > 0) memcpy(bytes, header, header_size);
    for (int64_t i = 0; i < COUNT; i++) {
        unsigned char *at = bytes + header_size + i * width;
        shard_put(at, width, (uint64_t)id_at(i));
        for (int j = 0; big && j < width / 2; j++) {
            unsigned char byte = at[j];
            at[j] = at[width - 1 - j];
            at[width - 1 - j] = byte;
        }
    }
    scratch_write(".", path, bytes, (int64_t)size);
    free(bytes);
}

static void put_plain(const char *path, int width) {
    put_ids(path, NULL, 0, width, false);
}

// A .npy of this type and shape; ids of `width` bytes behind its header.
static void put_npy(const char *path, int version, const char *type, const char *order, const char *shape,
                    int width) {
    unsigned char header[256];
    memset(header, ' ', sizeof header);
    size_t begins = version == 1 ? 10 : 12, size = 128;
    memcpy(header, "\x93NUMPY", 6);
    header[6] = (unsigned char)version;
    header[7] = 0;
    shard_put(header + 8, version == 1 ? 2 : 4, size - begins);
    int used = snprintf((char *)header + begins, size - begins,
                        "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", type, order, shape);
    header[begins + (size_t)used] = ' ';
    header[size - 1] = '\n';
    put_ids(path, header, size, width, type[0] == '>');
}

static void put_llmc(const char *path, uint32_t magic, uint32_t version, uint32_t count, int width) {
    unsigned char header[1024] = {0};
    shard_put(header, 4, magic);
    shard_put(header + 4, 4, version);
    shard_put(header + 8, 4, count);
    put_ids(path, header, sizeof header, width, false);
}

static void expect_ids(void) {
    int64_t count;
    int32_t *tokens = shards_load("out/train_*.bin", &count);
    assert_int_equal(count, COUNT);
    for (int64_t i = 0; i < COUNT; i++) assert_int_equal(tokens[i], id_at(i));
    free(tokens);
    packing_remove("out");
}

static void expect_read(const char *name, const char *options) {
    program_expect(0, NULL, "pack %s%s", name, options);
    expect_ids();
}

static void expect_refused(const char *name, const char *options, const char *part) {
    program_expect(3, part, "pack %s%s", name, options);
    assert_false(folder_exists("out"));
}

// ---- NumPy

static void test_npy(void **state) {
    (void)state;
    for (int version = 1; version <= 3; version++) {
        put_npy("a.npy", version, "<u2", "False", "(5000,)", 2);
        expect_read("a.npy", IDS);
        put_npy("a.npy", version, "<i4", "False", "(50, 100)", 4);
        expect_read("a.npy", WIDE);
    }
    put_npy("a.npy", 1, "<u2", "True", "(5000,)", 2); // of one dimension there is one order
    expect_read("a.npy", IDS);
    put_npy("a.npy", 1, "<u4", "False", "(5000,)", 4);
    expect_refused("a.npy", IDS, "a.npy is a NumPy array of uint32: give --tokens uint32");
    put_npy("a.npy", 1, "<u2", "False", "(5000,)", 2);
    expect_refused("a.npy", WIDE, "a.npy is a NumPy array of uint16: give --tokens uint16");
    static const char *const types[] = {"<i8", "<u8", ">u2", "<f4", "<i2", "|O", "|u1"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char part[80];
        snprintf(part, sizeof part, "a.npy is a NumPy array of type '%s', and --tokens uint16 wants",
                 types[i]);
        put_npy("a.npy", 1, types[i], "False", "(5000,)", 2);
        expect_refused("a.npy", IDS, part);
        expect_refused("a.npy", IDS,
                       "numpy.load(sys.argv[1]).astype('<u2').tofile(sys.argv[1] + '.bin')\" a.npy");
    }
    put_npy("a.npy", 1, "<u2", "True", "(50, 100)", 2);
    expect_refused("a.npy", IDS, "in Fortran's order");
    put_npy("a.npy", 1, "<u2", "False", "(5001,)", 2);
    expect_refused("a.npy", IDS, "states 5001 ids in its header, and 5000 are there");
    put_npy("a.npy", 1, "<u2", "False", "(4999,)", 2);
    expect_refused("a.npy", IDS, "states 4999 ids in its header, and 5000 are there");
    put_npy("a.npy", 9, "<u2", "False", "(5000,)", 2);
    expect_refused("a.npy", IDS, "a header that cannot be read");
}

// ---- llm.c

static void test_llmc(void **state) {
    (void)state;
    put_llmc("fineweb_train_000001.bin", 20240520, 1, COUNT, 2);
    expect_read("fineweb_train_000001.bin", IDS);
    expect_refused("fineweb_train_000001.bin", WIDE, "is a shard of llm.c of uint16: give --tokens uint16");
    put_llmc("a.bin", 20240801, 7, COUNT, 4);
    expect_read("a.bin", WIDE);
    expect_refused("a.bin", IDS, "is a shard of llm.c of uint32: give --tokens uint32");
    put_llmc("a.bin", 20240520, 2, COUNT, 2);
    expect_refused("a.bin", IDS, "is a shard of llm.c of version 2, and 1 is known");
    put_llmc("a.bin", 20240520, 1, COUNT + 7, 2);
    expect_refused("a.bin", IDS, "states 5007 ids in its header, and 5000 are there");
    put_llmc("a.bin", 0x88D83401, 0x01000000, COUNT, 2);
    expect_refused("a.bin", IDS, "is a big-endian shard of llm.c");
    // train does not read them itself, and says what does.
    put_llmc("a.bin", 20240520, 1, COUNT, 2);
    program_expect(3, "a.bin is a shard of llm.c, another format: `pack --tokens` makes shards of it",
                   "train --preset tiny --data a.bin --out run");
    put_llmc("a.bin", 20240801, 7, COUNT, 4);
    program_expect(3, "a.bin is a shard of llm.c", "train --preset tiny --data a.bin --out run");
}

// ---- lit-gpt and TinyLlama

static void put_lit(const char *path, uint64_t version, int type, int width) {
    unsigned char header[24] = "LITPKDS";
    shard_put(header + 7, 8, version);
    header[15] = (unsigned char)type;
    shard_put(header + 16, 8, COUNT);
    put_ids(path, header, sizeof header, width, false);
}

static void test_lit(void **state) {
    (void)state;
    put_lit("train_slim_0.bin", 1, 8, 2);
    expect_read("train_slim_0.bin", IDS);
    expect_refused("train_slim_0.bin", WIDE, "is a shard of lit-gpt of uint16: give --tokens uint16");
    put_lit("a.bin", 1, 4, 4);
    expect_read("a.bin", WIDE);
    put_lit("a.bin", 1, 5, 8);
    expect_refused("a.bin", IDS, "is a shard of lit-gpt of type <i8");
    expect_refused("a.bin", IDS, "numpy.fromfile(sys.argv[1], '<i8', offset=24)");
    put_lit("a.bin", 2, 8, 2);
    expect_refused("a.bin", IDS, "of a version or type that is not known");
    size_t size;
    put_lit("a.bin", 1, 8, 2);
    char *bytes = scratch_read(".", "a.bin", &size);
    scratch_write(".", "a.bin", bytes, (int64_t)size - 1);
    free(bytes);
    expect_refused("a.bin", IDS, "has 9999 bytes, no multiple of the 2 of an id");
}

// ---- Compressed

static void compress_gzip(const char *path, const char *to) {
    size_t size;
    char *bytes = scratch_read(".", path, &size);
    gzFile file = gzopen(to, "wb");
    assert_int_equal(gzwrite(file, bytes, (unsigned)size), size);
    assert_int_equal(gzclose(file), Z_OK);
    free(bytes);
}

static void compress_zstd(const char *path, const char *to) {
    size_t size;
    char *bytes = scratch_read(".", path, &size);
    size_t room = ZSTD_compressBound(size);
    char *out = (char *)alloc_or_exit(room, 1);
    size_t got = ZSTD_compress(out, room, bytes, size, 3);
    assert_false(ZSTD_isError(got));
    scratch_write(".", to, out, (int64_t)got);
    free(out);
    free(bytes);
}

static void test_compressed(void **state) {
    (void)state;
    put_plain("a.bin", 2);
    compress_gzip("a.bin", "a.bin.gz");
    expect_read("a.bin.gz", IDS);
    compress_zstd("a.bin", "a.bin.zst");
    expect_read("a.bin.zst", IDS);
    put_npy("a.npy", 1, "<u2", "False", "(5000,)", 2);
    compress_gzip("a.npy", "a.npy.gz");
    expect_read("a.npy.gz", IDS);
    compress_zstd("a.npy", "a.npy.zst");
    expect_refused("a.npy.zst", WIDE, "is a NumPy array of uint16");
    put_llmc("c.bin", 20240520, 1, COUNT + 1, 2);
    compress_gzip("c.bin", "c.bin.gz");
    expect_refused("c.bin.gz", IDS, "states 5001 ids in its header, and 5000 are there");
    compress_gzip("a.bin", "named_otherwise.bin");
    expect_read("named_otherwise.bin", IDS);
}

// ---- Another width or byte order

static void test_other_width(void **state) {
    (void)state;
    put_plain("a.bin", 4);
    expect_refused("a.bin", IDS, "a.bin: every second id is 0, so these are int32 ids and not uint16");
    put_plain("a.bin", 8);
    expect_refused("a.bin", IDS, "a.bin: every second id is 0, so these are int64 ids and not uint16");
    expect_refused("a.bin", WIDE, "a.bin: every second id is 0, so these are int64 ids and not uint32");
    put_ids("a.bin", NULL, 0, 2, true);
    expect_refused("a.bin", IDS, "with their bytes in the other order all ids fit: are they big-endian?");
    put_ids("a.bin", NULL, 0, 4, true);
    expect_refused("a.bin", WIDE, "are they big-endian?");
    put_plain("a.bin", 2);
    expect_refused("a.bin", WIDE, "and the width of --tokens theirs?");
    // Ids beyond 65,535 as halves: the upper ones are small.
    unsigned char ids[4 * 1000];
    for (int i = 0; i < 1000; i++) shard_put(ids + 4 * i, 4, (uint32_t)(i * 127));
    scratch_write(".", "a.bin", ids, sizeof ids);
    program_expect(3, "every second id is next to 0, so these are int32 ids",
                   "pack a.bin --tokens uint16 --vocab 65536 --out out");
    program_expect(2, "--vocab 128256 is more than ids of uint16 can be: give --tokens uint32",
                   "pack a.bin --tokens uint16 --vocab 128256 --out out");
}

// Values that fit all the same.
static void test_other_types(void **state) {
    (void)state;
    unsigned char bytes[2 * COUNT];
    for (int i = 0; i < 2 * COUNT; i++) bytes[i] = (unsigned char)(id_at(i) % 61 * id_at(2 * i) % 61);
    scratch_write(".", "bytes.bin", bytes, sizeof bytes);
    expect_refused("bytes.bin", IDS, "is an array of single bytes (uint8) by the look of it");
    for (int i = 0; i < COUNT; i++) { // whole numbers from 1 to 2,047: 1.m times 2^e
        unsigned exponent = (unsigned)id_at(i) % 11, fraction = (unsigned)id_at(i) % (1U << exponent);
        shard_put(bytes + 2 * i, 2, (15 + exponent) << 10 | fraction << (10 - exponent));
    }
    scratch_write(".", "halves.bin", bytes, sizeof bytes);
    expect_refused("halves.bin", IDS, "every id is a whole number as float16");
}

static void test_constant(void **state) {
    (void)state;
    unsigned char ids[2000] = {0};
    scratch_write(".", "zero.bin", ids, sizeof ids);
    expect_refused("zero.bin", IDS, "zero.bin holds nothing but the id 0, 1000 times");
    memset(ids, 7, sizeof ids);
    scratch_write(".", "seven.bin", ids, sizeof ids);
    expect_refused("seven.bin", IDS, "seven.bin holds nothing but the id 1799, 1000 times");
    for (int i = 0; i < 400; i++) shard_put(ids + 2 * i, 2, (uint32_t)(100 + i));
    memset(ids + 800, 0, sizeof ids - 800);
    scratch_write(".", "half.bin", ids, sizeof ids);
    program_expect(0, "600 of the 1000 ids of half.bin are 0: is it whole?", "pack half.bin" IDS);
}

// What an interrupted writer of a memory map has not come to, and padding.
static void test_zeros(void **state) {
    (void)state;
    static unsigned char ids[2 * (COUNT + 4000)];
    for (int i = 0; i < COUNT; i++) shard_put(ids + 2 * i, 2, (uint64_t)id_at(i));
    scratch_write(".", "tail.bin", ids, sizeof ids);
    program_expect(0, "tail.bin has 1024 zeros and more in a row, first from id 5000 on",
                   "pack tail.bin" IDS);
    scratch_write(".", "few.bin", ids, 2 * (COUNT + 1023));
    Outcome outcome = program_run("pack few.bin --tokens uint16 --vocab 50000 --out few --val-fraction 0");
    assert_true(outcome.status == 0 && !strstr(outcome.err, "in a row"));
    outcome_free(&outcome);
    for (int i = 0; i < 2000; i++) shard_put(ids + 2 * (i + 3000), 2, 0); // and ids again behind them
    for (int i = 5000; i < COUNT + 4000; i++) shard_put(ids + 2 * i, 2, (uint64_t)id_at(i));
    scratch_write(".", "middle.bin", ids, sizeof ids);
    program_expect(0, "first from id 3000 on", "pack middle.bin --tokens uint16 --vocab 50000 --out middle");
}

static void test_document_end(void **state) {
    (void)state;
    put_plain("a.bin", 2);
    expect_refused("a.bin", IDS "--document-end 98",
                   "--document-end 98 is nowhere among the ids of a.bin: which id ends a document?");
    char *said = program_output("pack a.bin" IDS "--document-end %d", END);
    expect_part(said, "training 50 documents");
    free(said);
    packing_remove("out");
    unsigned char ids[200];
    for (int i = 0; i < 100; i++) shard_put(ids + 2 * i, 2, (uint32_t)(200 + i));
    scratch_write(".", "b.bin", ids, sizeof ids);
    program_expect(0, "--document-end 99 is nowhere in 1 of 2 files, b.bin the first",
                   "pack a.bin b.bin" IDS "--document-end %d", END);
}

// ---- What lies beside

static void test_folder(void **state) {
    (void)state;
    put_plain("in/train.bin", 2);
    put_plain("both/train.bin", 2);
    put_plain("both/val.bin", 2);
    program_expect(0, "both/val.bin is a validation set by its name, and goes in with the rest",
                   "pack both" IDS);
    packing_remove("out");
    put_text("in/README.md", "# ids\nof a model\n");
    put_text("in/README", "ids of a model\n");
    put_text("in/prepare.py", "import numpy\n");
    scratch_write(".", "in/meta.pkl", "\x80\x04\x95\x08\0\0\0\0\0\0\0}q\0.", 15);
    put_text("in/train.bin.idx", "MMIDIDX");
    put_text("in/train.ds.index", "12345678");
    char *said = program_output("pack in" IDS);
    expect_part(said,
                "left out: 2 index files (in/train.bin.idx, in/train.ds.index), 1 pickle (in/meta.pkl), 1 "
                "program (in/prepare.py), 2 texts (in/README, in/README.md)");
    free(said);
    expect_ids();
    program_expect(3, "--strict", "pack in" IDS "--strict");
    expect_refused("in/README.md", IDS, "is text, no array of ids");
    expect_refused("in/prepare.py", IDS, "is text, no array of ids");
    expect_refused("in/meta.pkl", IDS, "is a pickle of Python, no array of ids");
    put_text("old.bin", "(lp0\nI17\naI300\naI5\na.");
    expect_refused("old.bin", IDS, "is a pickle of Python, no array of ids");
    expect_refused("in/train.ds.index", IDS, "is an index: name the file of ids beside it");
    scratch_write(".", "a.npz", "PK\3\4rest of it", 14);
    expect_refused("a.npz", IDS, "is a zip archive (.npz, .pt), no array of ids");
    put_plain("shard.00000.mds", 2);
    expect_refused("shard.00000.mds", IDS, "is a shard of MosaicML's streaming data");
    scratch_write(".", "a.parquet", "PAR1\0\0\0\0", 8);
}

static void put_index(const char *path, int type, uint64_t documents) {
    unsigned char header[34] = "MMIDIDX\0";
    shard_put(header + 9, 8, 1);
    header[17] = (unsigned char)type;
    shard_put(header + 18, 8, documents);
    shard_put(header + 26, 8, documents + 1);
    scratch_write(".", path, header, sizeof header);
}

static void test_megatron(void **state) {
    (void)state;
    put_plain("data.bin", 4);
    put_index("data.idx", 4, 50);
    program_expect(0, "data.idx counts 50 documents, and without --document-end data.bin is a single one",
                   "pack data.bin" WIDE);
    expect_ids();
    expect_refused("data.bin", IDS, "is Megatron's data of uint32: give --tokens uint32");
    put_index("data.idx", 5, 50);
    expect_refused("data.bin", WIDE, "is Megatron's data of type int64, and --tokens uint32 wants");
    expect_refused("data.bin", WIDE, "numpy.fromfile(sys.argv[1], 'int64').astype('<u4')");
    expect_refused("data.idx", WIDE, "is Megatron's index: name the .bin beside it");
    put_plain("text.ds", 2);
    put_text("text.ds.metadata", "gpt2|2\n5000\n5.0 KT");
    expect_read("text.ds", IDS);
    expect_refused("text.ds", WIDE, "is datatrove's data of uint16: give --tokens uint16");
}

// Ids that are fewer than their index counts, as of a download that was cut.
static void test_cut(void **state) {
    (void)state;
    unsigned char index[34 + 2 * 4] = "MMIDIDX\0";
    shard_put(index + 9, 8, 1);
    index[17] = 8;
    shard_put(index + 18, 8, 2);
    shard_put(index + 26, 8, 3);
    shard_put(index + 34, 4, COUNT - 10);
    shard_put(index + 38, 4, 10);
    scratch_write("in", "data.idx", index, sizeof index);
    put_plain("in/data.bin", 2);
    expect_read("in/data.bin", IDS);
    shard_put(index + 38, 4, 11);
    scratch_write("in", "data.idx", index, sizeof index);
    expect_refused("in/data.bin", IDS, "has 5000 ids, and in/data.idx counts 5001: fetch both again");
    put_plain("text.ds", 2);
    put_text("text.ds.metadata", "gpt2|2\n4999\n5.0 KT");
    expect_refused("text.ds", IDS, "has 5000 ids, and text.ds.metadata counts 4999: fetch both again");
    put_text("text.ds.metadata", "gpt2|2\n5000\n5.0 KT");
    put_text("text.ds.index", "12345678abcdefgh");
    program_expect(0, "text.ds.index counts 2 documents, and without --document-end text.ds is a single one",
                   "pack text.ds" IDS);
}

static void test_no_ids(void **state) {
    (void)state;
    scratch_write("words", "README.md", "how these ids were made\n", -1);
    program_expect(3, "error: no file of ids in words; left out: 1 ", "pack words" WIDE);
}

int main(void) {
    program_find();
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_npy),      IN_FOLDER(test_lit),         IN_FOLDER(test_zeros),
        IN_FOLDER(test_llmc),     IN_FOLDER(test_compressed),  IN_FOLDER(test_other_width),
        IN_FOLDER(test_constant), IN_FOLDER(test_other_types), IN_FOLDER(test_document_end),
        IN_FOLDER(test_folder),   IN_FOLDER(test_megatron),    IN_FOLDER(test_no_ids),
        IN_FOLDER(test_cut),
    };
    return cmocka_run_group_tests_name("ids formats", tests, NULL, NULL);
}
