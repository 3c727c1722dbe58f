// What is seen of a file's ids while they are read; see ids_seen.h.
#include "core/pack/ids_seen.h"

#define FEW   16   // ids that show nothing
#define SHORT 32   // ids of a document, on average, that a text hardly has
#define MANY  1000 // documents that show it

void ids_seen_add(IdsSeen *total, const IdsSeen *seen) {
    if (seen->count == 0) return;
    if (total->count == 0 || seen->least < total->least) total->least = seen->least;
    for (int i = 0; i < 4; i++)
        if (seen->most[i] > total->most[i]) total->most[i] = seen->most[i];
    bool earlier = seen->long_rows > 0 && (total->long_rows == 0 || seen->first_row < total->first_row);
    if (earlier) total->first_row = seen->first_row;
    total->long_rows += seen->long_rows;
    total->count += seen->count;
    total->zeros += seen->zeros;
    total->halves += seen->halves;
    total->ends += seen->ends;
    total->begins = total->begins || seen->begins;
}

static int64_t most(const IdsSeen *seen) {
    int64_t value = seen->most[0];
    for (int i = 1; i < 4; i++) value = seen->most[i] > value ? seen->most[i] : value;
    return value;
}

// The wider type whose upper half every second id is; NULL where it does not look so. Upper halves of 16 bits
// are small: no vocabulary has a million ids.
static const char *wider_type(const PackConfig *config, const IdsSeen *seen) {
    const int64_t *top = seen->most;
    bool upper_zero = top[1] == 0 && top[3] == 0, lower_zero = top[0] == 0 && top[2] == 0;
    bool upper_small = config->id_bytes == 2 && top[1] < 16 && top[3] < 16 && top[0] > 255 && top[2] > 255;
    bool of_four = config->id_bytes == 2 && top[2] == 0 && top[3] == 0 && top[1] < 16;
    if (of_four || (config->id_bytes == 4 && upper_zero)) return "int64";
    if (upper_zero || upper_small) return "int32";
    return lower_zero ? "big-endian" : NULL;
}

static bool check_file(const PackConfig *config, const PackInput *input, const IdsSeen *seen, Error *error) {
    int64_t top = most(seen);
    if (input->stated_ids > 0 && seen->count != input->stated_ids) {
        return error_set(error, STATUS_DATA,
                         "input %s states %lld ids in its header, and %lld are there: fetch it again",
                         input->path, (long long)input->stated_ids, (long long)seen->count);
    }
    if (seen->count < FEW) return true;
    if (seen->least == top) {
        return error_set(error, STATUS_DATA,
                         "input %s holds nothing but the id %lld, %lld times: write it again", input->path,
                         (long long)top, (long long)seen->count);
    }
    const char *type = wider_type(config, seen);
    if (type) {
        return error_set(error, STATUS_DATA,
                         "input %s: every second id is %s, so these are %s ids and not %s: write them with "
                         "array.astype(numpy.uint%d).tofile, or give the --tokens that they are",
                         input->path, seen->zeros * 2 >= seen->count ? "0" : "next to 0", type,
                         config->id_bytes == 2 ? "uint16" : "uint32", 8 * config->id_bytes);
    }
    if (config->id_bytes == 2 && seen->halves == seen->count && seen->count - seen->zeros >= FEW) {
        return error_set(
            error, STATUS_DATA,
            "input %s: every id is a whole number as float16, and none is below 15360 but 0: write "
            "the ids with array.astype(numpy.uint16).tofile",
            input->path);
    }
    if (seen->zeros > seen->count / 2) {
        warn("%lld of the %lld ids of %s are 0: is it whole?", (long long)seen->zeros, (long long)seen->count,
             input->path);
    } else if (seen->long_rows > 0) {
        warn("%s has %d zeros and more in a row, first from id %lld on: a program that was stopped leaves "
             "such, and "
             "padding, which would be trained on",
             input->path, IDS_ROW, (long long)seen->first_row);
    }
    return true;
}

static bool check_ends(const PackConfig *config, const PackInputs *inputs, const IdsSeen *seen,
                       Error *error) {
    int64_t without = 0;
    const PackInput *first = NULL;
    for (int64_t i = 0; i < inputs->count; i++) {
        if (seen[i].ends > 0 || seen[i].count == 0) continue;
        if (without++ == 0) first = &inputs->files[i];
    }
    if (config->document_end < 0 || without == 0) return true;
    if (without == inputs->count) {
        return error_set(
            error, STATUS_DATA,
            "--document-end %lld is nowhere among the ids of %s%s: which id ends a document? Without "
            "the option each file is one",
            (long long)config->document_end, first->path, without > 1 ? " and the other inputs" : "");
    }
    warn("--document-end %lld is nowhere in %lld of %lld files, %s the first: each is one document",
         (long long)config->document_end, (long long)without, (long long)inputs->count, first->path);
    return true;
}

// llm.c and others put the mark before each document: what is drawn between marks is right, but for the ends
// of the file.
static void warn_of_beginnings(const PackConfig *config, const PackInputs *inputs, const IdsSeen *seen) {
    int64_t begin = 0;
    const PackInput *first = NULL;
    for (int64_t i = 0; i < inputs->count; i++) {
        if (!seen[i].begins) continue;
        if (begin++ == 0) first = &inputs->files[i];
    }
    if (begin == 0) return;
    warn("%lld of %lld files begin with --document-end %lld, %s the first: where it stands before each "
         "document, "
         "it is taken for the end of the one before; a file's first is then alone, and its last document has "
         "none",
         (long long)begin, (long long)inputs->count, (long long)config->document_end, first->path);
}

// An ordinary token, as a line's end or a full stop, parts texts too, and nothing else would tell.
static void warn_of_short(const PackConfig *config, const PackInputs *inputs, const IdsSeen *seen) {
    int64_t ids = 0, ends = 0;
    for (int64_t i = 0; i < inputs->count; i++) {
        ids += seen[i].count;
        ends += seen[i].ends;
    }
    if (ends < MANY || ids >= SHORT * ends) return;
    warn("--document-end %lld ends %lld documents in %s%s, of %.0f ids on average: is it an ordinary token "
         "of the "
         "tokenizer, which cuts texts?",
         (long long)config->document_end, (long long)ends, inputs->files[0].path,
         inputs->count > 1 ? " and the other inputs" : "", (double)ids / (double)ends);
}

bool ids_seen_check(const PackConfig *config, const PackInputs *inputs, const IdsSeen *seen, Error *error) {
    for (int64_t i = 0; i < inputs->count; i++)
        if (!check_file(config, &inputs->files[i], &seen[i], error)) return false;
    warn_of_beginnings(config, inputs, seen);
    warn_of_short(config, inputs, seen);
    return check_ends(config, inputs, seen, error);
}
