// Shards that are missing from a set; see shard_gaps.h.
#include "core/data/shard_gaps.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PACK_DIGITS 5       // at least, of the numbers that `pack` gives
#define LONGEST_GAP 1000000 // numbers looked for

// A path whose name ends with a number, extensions aside: "data/train_00012.bin".
typedef struct {
    const char *path;
    int before, digits; // bytes before the number, and of it
    int64_t number;
} NumberedPath;

// The last number of the path's name.
static bool number_parse(const char *path, NumberedPath *numbered) {
    const char *name = path_name(path), *end = name + strlen(name);
    while (end > name && !isdigit((unsigned char)end[-1])) end--;
    const char *start = end;
    while (start > name && isdigit((unsigned char)start[-1])) start--;
    numbered->path = path;
    numbered->before = (int)(start - path);
    numbered->digits = (int)(end - start);
    if (numbered->digits == 0 || numbered->digits > 15) return false;
    numbered->number = strtoll(start, NULL, 10);
    return true;
}

// Of all but the number.
static int compare_sets(const NumberedPath *a, const NumberedPath *b) {
    int shorter = a->before < b->before ? a->before : b->before;
    int order = memcmp(a->path, b->path, (size_t)shorter);
    if (order == 0) order = (a->before > b->before) - (a->before < b->before);
    return order ? order : strcmp(a->path + a->before + a->digits, b->path + b->before + b->digits);
}

static int compare_numbers(const void *a, const void *b) {
    const NumberedPath *x = (const NumberedPath *)a, *y = (const NumberedPath *)b;
    int order = compare_sets(x, y);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

// The path of another number of the set; release with free().
static char *path_of(const NumberedPath *one, int64_t number) {
    size_t size = strlen(one->path) + 32;
    char *path = (char *)alloc_or_exit(size, 1);
    snprintf(path, size, "%.*s%0*lld%s", one->before, one->path, one->digits, (long long)number,
             one->path + one->before + one->digits);
    return path;
}

// Adds the numbers of [from, to) whose files are not there; keeps the first one's path.
static void look_for(const NumberedPath *one, int64_t from, int64_t to, int64_t *missing, char **first) {
    for (int64_t number = from; number < to; number++) {
        char *path = path_of(one, number);
        bool lacks = !file_exists(path);
        *missing += lacks;
        if (lacks && !*first) {
            *first = path;
        } else {
            free(path);
        }
    }
}

// One set, by rising number.
static void set_warn(const char *pattern, const NumberedPath *set, int64_t count) {
    bool packed = set[0].digits >= PACK_DIGITS;
    int64_t begin = packed ? 0 : set[0].number, end = set[count - 1].number + 1, gaps = end - begin - count;
    if (gaps <= 0 || gaps > LONGEST_GAP || (!packed && gaps >= count)) return;
    int64_t missing = 0, next = begin;
    char *first = NULL;
    for (int64_t i = 0; i < count; i++) {
        look_for(&set[i], next, set[i].number, &missing, &first);
        next = set[i].number + 1;
    }
    char more[48] = "";
    if (missing > 1) snprintf(more, sizeof more, " and %lld more like it are", (long long)missing - 1);
    if (missing > 0) {
        warn("%s: shard %s%s missing, where %lld others are, up to %s; was the set copied whole?", pattern,
             first, missing > 1 ? more : " is", (long long)count, path_name(set[count - 1].path));
    }
    free(first);
}

void shard_gaps_warn(const char *pattern, const PathList *paths) {
    NumberedPath *list = (NumberedPath *)alloc_or_exit((size_t)paths->count, sizeof *list);
    int64_t count = 0;
    for (int64_t i = 0; i < paths->count; i++) count += number_parse(paths->paths[i], &list[count]);
    qsort(list, (size_t)count, sizeof *list, compare_numbers);
    for (int64_t first = 0, next; first < count; first = next) {
        next = first + 1;
        while (next < count && compare_sets(&list[first], &list[next]) == 0) next++;
        set_warn(pattern, &list[first], next - first);
    }
    free(list);
}
