// The links between GPUs; see links.h.
#include "core/cost/links.h"

#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const LINK_GROUP_NAMES[] = {LINK_GROUPS(CHOICE_NAME)};
const char *const LINK_OPERATION_NAMES[] = {LINK_OPERATIONS(CHOICE_NAME)};

// Within a host NCCL's all-to-all and all-reduce between two H200s over NVLink run at 190 to 310 GB/s from
// 64 MiB up; the least of that is taken. All else is assumed: a network adapter of 400 Gb/s for each GPU, 80
// % of which is reached, and the latencies.
#define NVLINK_RATE       190e9
#define NETWORK_RATE      (0.8 * 50e9)
#define EXCHANGE_LATENCY  20e-6 // of an operation among the ranks of a sequence
#define RING_STEP_LATENCY 5e-6  // of each of the W - 1 steps of a sum or gathering over all ranks

static_assert(LINK_OPERATION_COUNT == 2 && LINK_SUM == 0, "a row for each operation, in their order");
const Links LINKS_ASSUMED = {
    .inside = {{.rate = NVLINK_RATE, .latency = RING_STEP_LATENCY},
               {.rate = NVLINK_RATE, .latency = EXCHANGE_LATENCY}},
    .between = {{.rate = NETWORK_RATE, .latency = RING_STEP_LATENCY},
                {.rate = NETWORK_RATE, .latency = EXCHANGE_LATENCY}},
};

// ---- What an operation takes

Link links_ring(const Links *links, int ranks, int ranks_per_host) {
    Link inside = links->inside[LINK_SUM], ring = links->between[LINK_SUM];
    if (ranks <= ranks_per_host) return inside;
    ring.rate = fmin(ring.rate * ranks_per_host, inside.rate);
    return ring;
}

double links_exchange_seconds(const Links *links, double bytes, double exchanges, int ranks,
                              int ranks_per_host) {
    if (ranks == 1) return 0;
    Link near = links->inside[LINK_EXCHANGE], far = links->between[LINK_EXCHANGE];
    int beyond = ranks > ranks_per_host ? ranks - ranks_per_host : 0;
    double outside = bytes * beyond / (ranks - 1), inside = bytes - outside;
    return fmax(inside / near.rate, outside / far.rate) + exchanges * (beyond ? far : near).latency;
}

double links_seconds(const Links *links, LinkOperation operation, double bytes, int ranks,
                     int ranks_per_host) {
    if (operation == LINK_EXCHANGE) return links_exchange_seconds(links, bytes, 1, ranks, ranks_per_host);
    Link ring = links_ring(links, ranks, ranks_per_host);
    return bytes / ring.rate + 2 * (ranks - 1) * ring.latency;
}

// ---- What was measured

typedef struct {
    double bytes, seconds;
    int ranks, ranks_per_host;
    int times; // measured: `seconds` is their mean
} Row;

typedef struct {
    Row least, most; // the smallest and the largest operation; bytes 0: none
} Span;

// Where several measurements stand in one file, each counts.
static void keep_mean(Row *kept, const Row *row) {
    kept->seconds += (row->seconds - kept->seconds) / ++kept->times;
}

static void keep_in_span(Span *span, const Row *row) {
    Row *least = &span->least, *most = &span->most;
    if (row->bytes == least->bytes) keep_mean(least, row);
    if (row->bytes == most->bytes) keep_mean(most, row);
    if (least->bytes == 0 || row->bytes < least->bytes) *least = *row;
    if (row->bytes > most->bytes) *most = *row;
}

static bool keep_row(const json_t *json, Span spans[LINK_GROUP_COUNT][LINK_OPERATION_COUNT]) {
    const char *name, *among;
    Row row;
    int group = 0, operation = 0;
    if (json_unpack((json_t *)json, "{s:s, s:s, s:F, s:F, s:i, s:i}", "name", &name, "among", &among, "bytes",
                    &row.bytes, "ms", &row.seconds, "ranks", &row.ranks, "ranks_per_host",
                    &row.ranks_per_host) != 0)
        return false;
    while (group < LINK_GROUP_COUNT && strcmp(among, LINK_GROUP_NAMES[group]) != 0) group++;
    while (operation < LINK_OPERATION_COUNT && strcmp(name, LINK_OPERATION_NAMES[operation]) != 0)
        operation++;
    bool right = group < LINK_GROUP_COUNT && operation < LINK_OPERATION_COUNT && row.bytes > 0 &&
                 row.seconds > 0 && row.ranks > 1 && row.ranks_per_host > 0;
    if (!right) return false;
    row.seconds *= 1e-3;
    row.times = 1;
    keep_in_span(&spans[group][operation], &row);
    return true;
}

// The straight line through the times of the smallest and the largest operation.
static void fit(const Span *span, int steps, double share, Link *link) {
    const Row *least = &span->least, *most = &span->most;
    if (most->bytes == 0) return;
    double bytes = most->bytes - least->bytes, seconds = most->seconds - least->seconds;
    double rate = bytes > 0 && seconds > 0 ? bytes / seconds : most->bytes / most->seconds;
    link->latency = fmax(0, least->seconds - least->bytes / rate) / steps;
    link->rate = rate * share;
    link->measured = true;
}

static int ring_steps(const Span *span) {
    return 2 * (span->most.ranks - 1);
}

static void take(Span spans[LINK_GROUP_COUNT][LINK_OPERATION_COUNT], Links *links) {
    const Span *host = spans[LINKS_HOST], *hosts = spans[LINKS_HOSTS], *all = spans[LINKS_ALL];
    fit(&host[LINK_SUM], ring_steps(&host[LINK_SUM]), 1, &links->inside[LINK_SUM]);
    fit(&host[LINK_EXCHANGE], 1, 1, &links->inside[LINK_EXCHANGE]);
    fit(&hosts[LINK_EXCHANGE], 1, 1, &links->between[LINK_EXCHANGE]);
    // The ring through all ranks is what an update takes; a host's adapters carry it together.
    double share = all[LINK_SUM].most.bytes > 0 ? 1.0 / all[LINK_SUM].most.ranks_per_host : 1;
    fit(&all[LINK_SUM], ring_steps(&all[LINK_SUM]), share, &links->between[LINK_SUM]);
}

bool links_read(const char *path, Links *links, Error *error) {
    Span spans[LINK_GROUP_COUNT][LINK_OPERATION_COUNT];
    char *line = NULL;
    size_t room = 0;
    int64_t number = 0, rows = 0;
    FILE *file = fopen(path, "re");
    if (!file) return error_set_errno(error, STATUS_DATA, "--links %s: cannot be read", path);
    memset(spans, 0, sizeof spans);
    *links = LINKS_ASSUMED;
    bool ok = true;
    while (ok && getline(&line, &room, file) > 0) {
        json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        number++;
        ok = keep_row(json, spans);
        rows += ok;
        json_decref(json);
    }
    free(line);
    fclose(file);
    if (!ok || rows == 0)
        return error_set(error, STATUS_DATA,
                         "--links %s:%lld: no row that `info --links` prints; write its standard output "
                         "into a file and give that",
                         path, (long long)number);
    take(spans, links);
    return true;
}
