// A shard that is in a set twice; see shard_twice.h.
#include "core/data/shard_twice.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct {
    uint64_t hash;
    int64_t index;
} Content;

static int compare_contents(const void *a, const void *b) {
    const Content *x = (const Content *)a, *y = (const Content *)b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

void shard_twice_warn(const char *pattern, const Shard *shards, int64_t count) {
    Content *contents = (Content *)alloc_or_exit((size_t)count, sizeof *contents);
    const Shard *first = NULL, *again = NULL;
    int64_t copies = 0;
    for (int64_t i = 0; i < count; i++) {
        contents[i].hash = shards[i].header.payload_hash;
        contents[i].index = i;
    }
    qsort(contents, (size_t)count, sizeof *contents, compare_contents);
    for (int64_t i = 1; i < count; i++) {
        const Shard *one = &shards[contents[i - 1].index], *other = &shards[contents[i].index];
        if (!shard_same_tokens(one, other) || copies++ > 0) continue;
        first = one;
        again = other;
    }
    char more[48] = "";
    if (copies > 1) snprintf(more, sizeof more, " (and %lld more like it)", (long long)copies - 1);
    if (first) {
        warn("%s: %s holds the same tokens as %s%s; they count twice", pattern, again->path, first->path,
             more);
    }
    free(contents);
}
