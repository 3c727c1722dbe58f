// safetensors: what is written can be read, and files that lie are refused.
#include "core/model/safetensors.h"
#include "dev/test/support/expect.h"
#include "dev/test/support/scratch.h"
#include "core/base/files.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <cmocka.h>

typedef struct {
    char *folder, *path;
} Fixture;

static int set_up(void **data) {
    Fixture *f = (Fixture *)alloc_or_exit(1, sizeof *f);
    f->folder = scratch_create();
    f->path = path_join(f->folder, "x.safetensors");
    *data = f;
    return 0;
}

static int tear_down(void **data) {
    Fixture *f = (Fixture *)*data;
    scratch_remove(f->folder);
    free(f->path);
    free(f);
    return 0;
}

// Writes a file of this header and `n_data` bytes 0, 1, 2, ... behind it. `length` is the header's length as
// the file tells it; -1 for the true one.
static void write_raw(Fixture *f, const char *header, size_t n_header, int64_t length, size_t n_data) {
    unsigned char *bytes = (unsigned char *)alloc_or_exit(8 + n_header + n_data, 1);
    uint64_t told = length < 0 ? n_header : (uint64_t)length;
    memcpy(bytes, &told, 8);
    memcpy(bytes + 8, header, n_header);
    for (size_t i = 0; i < n_data; i++) bytes[8 + n_header + i] = (unsigned char)i;
    scratch_write(f->folder, "x.safetensors", bytes, (int64_t)(8 + n_header + n_data));
    free(bytes);
}

static void write_header(Fixture *f, const char *header, size_t n_data) {
    write_raw(f, header, strlen(header), -1, n_data);
}

static void expect_refused(Fixture *f, const char *part) {
    SafetensorsFile file;
    Error error;
    expect_failed(safetensors_open(f->path, &file, &error), &error, STATUS_DATA, part);
    expect_part(error.message, "x.safetensors");
}

static void must_open(Fixture *f, SafetensorsFile *file) {
    Error error;
    expect_ok(safetensors_open(f->path, file, &error), &error);
}

// ---- Sound files

static void test_round_trip(void **data) {
    Fixture *f = (Fixture *)*data;
    const SafetensorsSpec specs[] = {{"zeta", 2, {2, 3}}, {"alpha", 1, {4, 0}}};
    const float zeta[] = {1, 2, 3, 4, 5, 6}, alpha[] = {-1, -2, -3, -4};
    Error error;
    Digest digest;
    SafetensorsWriter *writer = safetensors_create(f->path, specs, 2, SAFETENSORS_F32, &error);
    assert_non_null(writer);
    assert_true(safetensors_append(writer, zeta, 4, &error)); // pieces need not be tensors
    assert_true(safetensors_append(writer, zeta + 4, 2, &error));
    assert_true(safetensors_append(writer, alpha, 4, &error));
    assert_true(safetensors_finish(writer, &digest, &error));

    size_t size;
    char *bytes = scratch_read(f->folder, "x.safetensors", &size);
    assert_int_equal(digest.size, size);
    assert_true(digest.xxh3 == XXH3_64bits(bytes, size));
    uint64_t length;
    memcpy(&length, bytes, 8);
    assert_int_equal(length % 8, 0);
    assert_non_null(
        strstr(bytes + 8, "{\"__metadata__\":{\"format\":\"pt\"},\"zeta\":{\"dtype\":\"F32\",\"shape\":[2,3],"
                          "\"data_offsets\":[0,24]}"));
    free(bytes);
    Digest again;
    assert_true(digest_file(f->path, &again, &error));
    assert_true(again.size == digest.size && again.xxh3 == digest.xxh3);

    SafetensorsFile file;
    must_open(f, &file);
    assert_int_equal(file.count, 2);
    assert_int_equal(safetensors_find(&file, "beta"), -1);
    int index = safetensors_find(&file, "zeta");
    assert_int_equal(file.tensors[index].n_dims, 2);
    assert_int_equal(file.tensors[index].dims[0], 2);
    assert_int_equal(file.tensors[index].dims[1], 3);
    float part[3];
    assert_true(safetensors_read(&file, index, 2, 3, part, &error));
    assert_memory_equal(part, zeta + 2, sizeof part);
    assert_true(safetensors_read(&file, safetensors_find(&file, "alpha"), 1, 3, part, &error));
    assert_memory_equal(part, alpha + 1, sizeof part);
    safetensors_close(&file);

    assert_null(safetensors_create(f->path, specs, 2, SAFETENSORS_F32, &error)); // never over another file
    assert_int_equal(error.status, STATUS_DATA);
}

// Float32 bits and the bf16 that they round to.
static void test_bf16_rounding(void **data) {
    Fixture *f = (Fixture *)*data;
    static const struct {
        uint32_t bits;
        uint16_t half;
    } rows[] = {
        {0x3F800000, 0x3F80}, // 1
        {0x3F807FFF, 0x3F80}, // just below the middle
        {0x3F808000, 0x3F80}, // a tie, down to even
        {0x3F808001, 0x3F81}, // just above
        {0x3F818000, 0x3F82}, // a tie, up to even
        {0xBF818000, 0xBF82}, // of a negative number
        {0x3FFFFFFF, 0x4000}, // up into the next power
        {0x7F7FFFFF, 0x7F80}, // up to infinity
        {0x7F800000, 0x7F80}, {0xFF800000, 0xFF80}, {0x00000000, 0x0000},
        {0x80000000, 0x8000}, {0x00018000, 0x0002}, // a subnormal tie
        {0x7F800001, 0x7FC0}, {0xFFFFFFFF, 0xFFFF}, // no numbers stay none
    };
    enum { COUNT = sizeof rows / sizeof *rows };
    const SafetensorsSpec spec = {"x", 1, {COUNT, 0}};
    float values[COUNT];
    Error error;
    Digest digest;
    for (int i = 0; i < COUNT; i++) memcpy(&values[i], &rows[i].bits, sizeof values[i]);
    SafetensorsWriter *writer = safetensors_create(f->path, &spec, 1, SAFETENSORS_BF16, &error);
    assert_non_null(writer);
    assert_true(safetensors_append(writer, values, 5, &error));
    assert_true(safetensors_append(writer, values + 5, COUNT - 5, &error));
    assert_true(safetensors_finish(writer, &digest, &error));

    SafetensorsFile file;
    must_open(f, &file);
    assert_int_equal(file.tensors[0].type, SAFETENSORS_BF16);
    assert_int_equal(file.tensors[0].count, COUNT);
    assert_true(safetensors_read(&file, 0, 0, COUNT, values, &error));
    for (int i = 0; i < COUNT; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        if (bits != (uint32_t)rows[i].half << 16) fail_msg("%08X became %08X", rows[i].bits, bits);
    }
    safetensors_close(&file);
}

// The value of a number of this many exponent and fraction bits, by its definition.
static double value_of(unsigned bits, int exponent_bits, int fraction_bits) {
    int exponent = (int)(bits >> fraction_bits) & ((1 << exponent_bits) - 1),
        bias = (1 << (exponent_bits - 1)) - 1;
    double fraction = (double)(bits & ((1u << fraction_bits) - 1)), one = ldexp(1, fraction_bits);
    double sign = bits >> (exponent_bits + fraction_bits) ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1) return fraction > 0 ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp(one + fraction, exponent - bias - fraction_bits);
}

// Every 16-bit pattern, read in pieces.
static void check_halves(Fixture *f, const char *dtype, int exponent_bits, int fraction_bits) {
    char header[200];
    int n = snprintf(header, sizeof header,
                     "{\"t\":{\"dtype\":\"%s\",\"shape\":[65536],\"data_offsets\":[0,131072]}}", dtype);
    unsigned char *bytes = (unsigned char *)alloc_or_exit(8 + (size_t)n + 131072, 1);
    uint64_t length = (uint64_t)n;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, (size_t)n);
    for (int i = 0; i < 65536; i++) {
        bytes[8 + n + 2 * i] = (unsigned char)i;
        bytes[8 + n + 2 * i + 1] = (unsigned char)(i >> 8);
    }
    scratch_write(f->folder, "x.safetensors", bytes, 8 + n + 131072);
    free(bytes);

    SafetensorsFile file;
    must_open(f, &file);
    for (int start = 0, count; start < 65536; start += count) {
        float values[1000];
        count = start + 1000 < 65536 ? start % 999 + 1 : 65536 - start;
        Error error;
        assert_true(safetensors_read(&file, 0, start, count, values, &error));
        for (int i = 0; i < count; i++) {
            double wanted = value_of((unsigned)(start + i), exponent_bits, fraction_bits);
            if (isnan(wanted)) {
                assert_true(isnan(values[i]));
            } else {
                assert_true((double)values[i] == wanted && !signbit(values[i]) == !signbit(wanted));
            }
        }
    }
    safetensors_close(&file);
}

static void test_halves(void **data) {
    check_halves((Fixture *)*data, "F16", 5, 10);
    check_halves((Fixture *)*data, "BF16", 8, 7);
}

static void test_empty_and_scalar(void **data) {
    Fixture *f = (Fixture *)*data;
    SafetensorsFile file;
    write_header(f, "{}", 0);
    must_open(f, &file);
    assert_int_equal(file.count, 0);
    safetensors_close(&file);
    write_header(f,
                 "{\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                 "\"e\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[4,4]}}  ",
                 4);
    must_open(f, &file);
    assert_int_equal(file.tensors[safetensors_find(&file, "s")].count, 1);
    assert_int_equal(file.tensors[safetensors_find(&file, "e")].count, 0);
    assert_int_equal(file.tensors[safetensors_find(&file, "e")].type, SAFETENSORS_OTHER);
    safetensors_close(&file);
}

// ---- Files that lie

#define TENSOR(name, dtype, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void test_lengths(void **data) {
    Fixture *f = (Fixture *)*data;
    const char *header = "{" TENSOR("t", "F32", "[2]", "[0,8]") "}";
    size_t n = strlen(header);
    const int64_t told[] = {(int64_t)n + 9, 1000000, INT64_MAX, INT64_MIN, -8};
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        write_raw(f, header, n, told[i], 8);
        if (told[i] < 0) { // as unsigned, the greatest there are
            uint64_t huge = (uint64_t)told[i];
            char *bytes = scratch_read(f->folder, "x.safetensors", NULL);
            memcpy(bytes, &huge, 8);
            scratch_write(f->folder, "x.safetensors", bytes, (int64_t)(8 + n + 8));
            free(bytes);
        }
        expect_refused(f, "a header of ");
    }
    scratch_write(f->folder, "x.safetensors", "1234567", 7);
    expect_refused(f, "only 7 bytes");
    write_header(f, header, 7);
    expect_refused(f, "lies outside the file");
    write_header(f, header, 9);
    expect_refused(f, "bytes where its header tells of");
    write_raw(f, header, n, (int64_t)n - 1, 8);
    expect_refused(f, "not a JSON object");
}

static void test_headers(void **data) {
    Fixture *f = (Fixture *)*data;
    const struct {
        const char *header, *part;
    } cases[] = {
        {"", "not a JSON object"},
        {"[1]", "not a JSON object"},
        {"{\"t\":", "not a JSON object"},
        {"{} {}", "not a JSON object"},
        {"{\"t\":3}", "'t' has no dtype"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2]}}", "'t' has no dtype or data_offsets"},
        {"{" TENSOR("t", "F32", "[2]", "[0,8]") "," TENSOR("t", "F32", "[2]", "[0,8]") "}",
         "not a JSON object"},
        {"{" TENSOR("t", "F31", "[2]", "[0,8]") "}",
         "tensor 't' is of dtype F31, which is not read; save it in"},
        {"{" TENSOR("t", "F32", "2", "[0,8]") "}", "impossible shape"},
        {"{" TENSOR("t", "F32", "[-2]", "[0,8]") "}", "impossible shape"},
        {"{" TENSOR("t", "F32", "[-1,-2]", "[0,8]") "}", "impossible shape"},
        {"{" TENSOR("t", "F32", "[2.0]", "[0,8]") "}", "impossible shape"},
        {"{" TENSOR("t", "F32", "[4294967296,4294967296]", "[0,8]") "}", "impossible shape"},
        {"{" TENSOR("t", "F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}", "impossible shape"},
        {"{" TENSOR("t", "F32", "[4611686018427387906]", "[0,8]") "}",
         "does not fit its bytes"}, // 4 x wraps to 8
        {"{" TENSOR("t", "F32", "[3]", "[0,8]") "}", "does not fit its bytes"},
        {"{" TENSOR("t", "F16", "[2]", "[0,8]") "}", "does not fit its bytes"},
        {"{" TENSOR("t", "F32", "[2]", "[-8,0]") "}", "outside the file"},
        {"{" TENSOR("t", "F32", "[2]", "[8,0]") "}", "outside the file"},
        {"{" TENSOR("t", "F32", "[2]", "[8,16]") "}", "outside the file"},
        {"{" TENSOR("t", "F32", "[2]", "[9223372036854775800,9223372036854775807]") "}", "outside the file"},
        {"{" TENSOR("t", "F32", "[2]", "[0,99999999999999999999]") "}", "not a JSON object"},
        {"{" TENSOR("t", "F32", "[1]", "[0,4]") "," TENSOR("u", "F32", "[1]", "[0,4]") "}",
         "'u' overlaps another"},
        {"{" TENSOR("t", "F32", "[2]", "[0,8]") "," TENSOR("u", "F32", "[1]", "[4,8]") "}",
         "'u' overlaps another"},
        {"{" TENSOR("t", "F32", "[1]", "[4,8]") "}", "'t' has a gap before it"},
        {"{" TENSOR("t", "F32", "[1]", "[0,4]") "}", "bytes where its header tells of"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_header(f, cases[i].header, 8);
        expect_refused(f, cases[i].part);
    }
    static const char with_zero[] = "{\"t\0\":1}";
    write_raw(f, with_zero, sizeof with_zero - 1, -1, 8);
    expect_refused(f, "not a JSON object");
}

static void test_deep_nesting(void **data) {
    Fixture *f = (Fixture *)*data;
    char *header = (char *)alloc_or_exit(1 << 20, 1);
    memset(header, '[', 1 << 20);
    write_raw(f, header, 1 << 20, -1, 8);
    free(header);
    expect_refused(f, "not a JSON object");
}

static void test_every_cut_is_refused(void **data) {
    Fixture *f = (Fixture *)*data;
    write_header(f, "{" TENSOR("t", "F32", "[1]", "[0,4]") "," TENSOR("u", "BF16", "[2]", "[4,8]") "}", 8);
    size_t size;
    char *bytes = scratch_read(f->folder, "x.safetensors", &size);
    for (size_t cut = 0; cut < size; cut++) {
        scratch_write(f->folder, "x.safetensors", bytes, (int64_t)cut);
        expect_refused(f, "x.safetensors");
    }
    free(bytes);
}

static void test_no_file(void **data) {
    Fixture *f = (Fixture *)*data;
    expect_refused(f, "No such file");
    scratch_write(f->folder, "x.safetensors/inner", "x", -1);
    expect_refused(f, "not a regular file");
}

// A file that shrinks while it is open is an error, not the end of the program.
static void test_shrinks_while_open(void **data) {
    Fixture *f = (Fixture *)*data;
    write_header(f, "{" TENSOR("t", "F32", "[2]", "[0,8]") "}", 8);
    SafetensorsFile file;
    must_open(f, &file);
    scratch_write(f->folder, "x.safetensors", "short", -1);
    float values[2];
    Error error;
    assert_false(safetensors_read(&file, 0, 0, 2, values, &error));
    assert_int_equal(error.status, STATUS_DATA);
    assert_non_null(strstr(error.message, "ends at byte"));
    safetensors_close(&file);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(test_round_trip),   WITH_FOLDER(test_bf16_rounding),
        WITH_FOLDER(test_halves),       WITH_FOLDER(test_empty_and_scalar),
        WITH_FOLDER(test_lengths),      WITH_FOLDER(test_headers),
        WITH_FOLDER(test_deep_nesting), WITH_FOLDER(test_every_cut_is_refused),
        WITH_FOLDER(test_no_file),      WITH_FOLDER(test_shrinks_while_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
