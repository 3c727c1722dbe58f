// `info --links`: what crosses between ranks in a training step, timed by itself; see bench.h.
#include "core/bench/bench.h"
#include "core/bench/bench_rows.h"
#include "core/base/clock.h"
#include "core/cost/links.h"
#include "core/options/rank_match.h"
#include "core/ranks/network.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

// Bytes of what a rank has of a tensor: a halo, a small layer's gradients, those of a layer of 530m or rows
// of its Lighthouse layers, rows of its dense layers. The largest is last.
static const int64_t SIZES[] = {64 << 10, 1 << 20, 32 << 20, 128 << 20};
#define SIZE_COUNT ((int)(sizeof SIZES / sizeof *SIZES))

#define SERIES         3    // of which the median counts
#define SERIES_SECONDS 0.1  // of each, about
#define PAUSE_SECONDS  4e-3 // before a call apart: about what a layer of 530m computes between two
#define MOST_APART     5
#define MOST_CALLS     50
#define LONG_CALL      0.2 // seconds: larger sizes would tell nothing more

#define SLOW 0.5 // of the rate assumed: a warning

typedef struct {
    const Options *options;
    const EngineApi *api;
    Ranks *ranks;
    int hosts, ranks_per_host; // of the largest host
    char device[128];
    BenchLink *link;
} LinkBench;

// ---- Timing

// Queues a sum as an update makes it, or an all-to-all; `count` elements for each rank of the group.
static void queue_call(const LinkBench *b, LinkOperation operation, int64_t count) {
    Collectives *queue = b->link->queue;
    const char *what = "an exchange of tensors";
    if (queue->size == 1) return;
    if (operation == LINK_EXCHANGE) {
        collectives_all_to_all(queue, b->link->out, b->link->in, count, ELEMENT_F32);
    } else {
        collectives_reduce_scatter(queue, b->link->in, count, ELEMENT_F32);
        collectives_wait(queue, what);
        collectives_all_gather(queue, b->link->in, count, ELEMENT_F32);
    }
    collectives_wait(queue, what);
}

// So many calls behind each other, from when all ranks begin to when this one has all; adds the seconds.
static bool run_calls(LinkBench *b, LinkOperation operation, int64_t count, int64_t n, double *seconds,
                      Error *error) {
    if (!ranks_agree(b->ranks, true, error)) return false;
    double start = now();
    for (int64_t i = 0; i < n; i++) queue_call(b, operation, count);
    bool ok = b->api->bench->link->settle(b->link, error);
    *seconds += now() - start;
    return ranks_agree_worked(b->ranks, ok, error);
}

// Seconds of a call: of so many behind each other, or of as many that each find the link idle, as exchanges
// of a step do, which computes between them.
static bool calls(LinkBench *b, LinkOperation operation, int64_t count, int64_t n, bool apart,
                  double *seconds, Error *error) {
    const struct timespec pause = {0, (long)(PAUSE_SECONDS * 1e9)};
    bool ok = true;
    *seconds = 0;
    for (int64_t i = 0; ok && i < (apart ? n : 1); i++) {
        if (apart) nanosleep(&pause, NULL);
        ok = run_calls(b, operation, count, apart ? 1 : n, seconds, error);
    }
    *seconds /= (double)n;
    return ok;
}

// Some series of calls, sorted.
static bool time_series(LinkBench *b, LinkOperation operation, int64_t count, int64_t n, bool apart,
                        double *seconds, Error *error) {
    for (int i = 0; i < SERIES; i++)
        if (!calls(b, operation, count, n, apart, &seconds[i], error)) return false;
    bench_median(seconds, SERIES);
    return true;
}

// What a rank tells the first of its times.
typedef struct {
    double seconds, bytes; // that it sends
    double least, most;    // seconds of its series
    double apart;          // seconds of a call that finds the link idle
    int size;              // of its group; 1: it has nothing to tell
    int local;             // its number on its host
} RankTime;

// Gives the rank that sends slowest, and its time.
static int slowest(const LinkBench *b, const RankTime *mine, RankTime *time) {
    RankTime *all = (RankTime *)alloc_or_exit((size_t)b->ranks->size, sizeof *all);
    ranks_gather(b->ranks, mine, sizeof *mine, all);
    int found = 0;
    for (int r = 0; r < b->ranks->size; r++) {
        double first = all[found].bytes / all[found].seconds;
        if (all[found].size == 1 || (all[r].size > 1 && all[r].bytes / all[r].seconds < first)) found = r;
    }
    *time = all[found];
    free(all);
    return found;
}

// Calls of a series, by what one took of the rank that sends slowest.
static int64_t repeats_of(const LinkBench *b, const RankTime *mine) {
    RankTime trial;
    slowest(b, mine, &trial);
    double wanted = SERIES_SECONDS / trial.seconds;
    return wanted > MOST_CALLS ? MOST_CALLS : wanted < 1 ? 1 : (int64_t)wanted;
}

// The median of some series of calls, as many as take some time; first one to connect and one to count by.
static bool time_operation(LinkBench *b, LinkOperation operation, int64_t size, RankTime *mine,
                           Error *error) {
    int64_t n = b->link->queue->size, count = size / 4 / n, times = operation == LINK_SUM ? 2 : 1;
    double seconds[SERIES];
    mine->size = (int)n;
    mine->local = b->ranks->local_rank;
    mine->bytes = (double)(times * (n - 1) * count * 4);
    for (int i = 0; i < 2; i++)
        if (!calls(b, operation, count, 1, false, &mine->seconds, error)) return false;
    int64_t repeats = repeats_of(b, mine), apart = repeats < MOST_APART ? repeats : MOST_APART;
    if (!time_series(b, operation, count, apart, true, seconds, error)) return false;
    mine->apart = seconds[SERIES / 2];
    if (!time_series(b, operation, count, repeats, false, seconds, error)) return false;
    mine->least = seconds[0];
    mine->seconds = seconds[SERIES / 2];
    mine->most = seconds[SERIES - 1];
    return true;
}

// ---- Printing

static void print_row(const LinkBench *b, LinkGroup group, LinkOperation operation, const RankTime *time,
                      double assumed) {
    double rate = time->bytes / time->seconds;
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "links",
                  b->link->queue->api->name, "name", LINK_OPERATION_NAMES[operation], "among",
                  LINK_GROUP_NAMES[group], "device", b->device, "hosts", b->hosts, "ranks_per_host",
                  b->ranks_per_host, "ranks", time->size, "bytes", (json_int_t)time->bytes, "ms",
                  time->seconds * 1e3, "least_ms", time->least * 1e3, "most_ms", time->most * 1e3, "apart_ms",
                  time->apart * 1e3, "gb_per_s", rate * 1e-9, "assumed_gb_per_s", assumed * 1e-9);
    json_dumpf(row, stdout, JSON_REAL_PRECISION(7));
    json_decref(row);
    printf("\n");
    fflush(stdout);
    fprintf(stderr, "%-22s %-11s %5d %11.3f %11.3f %11.3f %11.3f %11.3f %11.3f %11.3f\n",
            LINK_GROUP_NAMES[group], LINK_OPERATION_NAMES[operation], time->size, time->bytes * 1e-6,
            time->seconds * 1e3, time->least * 1e3, time->most * 1e3, time->apart * 1e3, rate * 1e-9,
            assumed * 1e-9);
}

// A rank of the CPU engine shares memory with the others of its host, and no rate of a GPU is its measure.
static bool is_slow(const LinkBench *b, LinkGroup group, double rate, double assumed) {
    return rate < SLOW * assumed && group != LINKS_ALL && (group == LINKS_HOSTS || b->api != engine_cpu());
}

static void warn_of_slow(const LinkBench *b, LinkGroup group, LinkOperation operation, int rank,
                         const RankTime *time, double assumed) {
    double rate = time->bytes / time->seconds;
    char where[128];
    if (!is_slow(b, group, rate, assumed)) return;
    if (group == LINKS_HOST)
        snprintf(where, sizeof where, "within a host is slow, slowest on %s", ranks_host(b->ranks, rank));
    else
        snprintf(where, sizeof where, "between hosts is slow, slowest for rank %d of each host", time->local);
    warn("the link %s: %s at %.3g GB/s, and train --dry-run assumes %.3g; docs/multi-gpu.md tells what to "
         "look "
         "for, and --links there predicts with what is measured here",
         where, LINK_OPERATION_NAMES[operation], rate * 1e-9, assumed * 1e-9);
}

// ---- Groups

static bool measure_operation(LinkBench *b, LinkGroup group, LinkOperation operation, Error *error) {
    RankTime mine, time;
    double assumed = 0;
    int rank = 0;
    bool last = false;
    for (int i = 0; !last; i++) {
        if (!time_operation(b, operation, SIZES[i], &mine, error)) return false;
        rank = slowest(b, &mine, &time);
        int per_host = group == LINKS_HOST ? time.size : group == LINKS_HOSTS ? 1 : b->ranks_per_host;
        assumed = time.bytes / links_seconds(&LINKS_ASSUMED, operation, time.bytes, time.size, per_host);
        if (ranks_first(b->ranks)) print_row(b, group, operation, &time, assumed);
        last = i == SIZE_COUNT - 1 || time.seconds > LONG_CALL;
    }
    warn_of_slow(b, group, operation, rank, &time, assumed);
    return true;
}

// In the groups of ranks of equal marks.
static bool measure(LinkBench *b, LinkGroup group, int mark, Error *error) {
    ranks_split_by(b->ranks, mark);
    ranks_group(b->ranks);
    b->link = b->api->bench->link->open(b->ranks, (size_t)SIZES[SIZE_COUNT - 1], error);
    if (!b->link) return false;
    bool ok =
        measure_operation(b, group, LINK_SUM, error) && measure_operation(b, group, LINK_EXCHANGE, error);
    b->api->bench->link->close(b->link);
    return ok;
}

static void count_hosts(LinkBench *b) {
    int own[2] = {b->ranks->host, b->ranks->local_size};
    int(*all)[2] = (int(*)[2])alloc_or_exit((size_t)b->ranks->size, sizeof *all);
    ranks_gather(b->ranks, own, sizeof own, all);
    for (int r = 0; r < b->ranks->size; r++) {
        b->hosts += all[r][0] == r;
        if (all[r][1] > b->ranks_per_host) b->ranks_per_host = all[r][1];
    }
    free(all);
}

static bool check(const Ranks *ranks, const Options *options, Error *error) {
    if (options->n_inputs > 0 || options->verify)
        return error_set(error, STATUS_USAGE,
                         "--links measures, and reads nothing: leave PATH and --verify out");
    return ranks_many(ranks) ||
           error_set(error, STATUS_USAGE,
                     "--links measures what crosses between ranks, and this is one: start several, as with "
                     "mpirun -np 2, or srun");
}

// ssh hands no variables on, and hosts that take different links do not find each other, or take slow ones.
static void compare_network(const LinkBench *b) {
    char *own = network_variables();
    uint64_t hash = XXH3_64bits(own, strlen(own));
    uint64_t *all = (uint64_t *)alloc_or_exit((size_t)b->ranks->size, sizeof *all);
    ranks_gather(b->ranks, &hash, sizeof hash, all);
    int other = 1;
    while (other < b->ranks->size && all[other] == all[0]) other++;
    if (other < b->ranks->size)
        warn("rank %d on %s has other NCCL_ or OMPI_MCA_btl_tcp_ variables than rank 0 on %s: ssh hands none "
             "on; "
             "mpirun -x NAME does",
             other, ranks_host(b->ranks, other), ranks_host(b->ranks, 0));
    if (ranks_first(b->ranks) && own[0]) print_line(stderr, "network %s", own);
    free(all);
    free(own);
}

bool bench_links(const Options *options, const EngineApi *api, Ranks *ranks, Error *error) {
    LinkBench b = {options, api, ranks, 0, 0, "", NULL};
    if (!ranks_agree(ranks, check(ranks, options, error), error)) return false;
    if (!rank_match_start(ranks, options, NULL, error)) return false;
    ranks->patience = (double)options->watchdog;
    api->describe_device(b.device, sizeof b.device);
    count_hosts(&b);
    compare_network(&b);
    if (ranks_first(ranks))
        fprintf(stderr, "%d ranks on %d host%s, %s\n%-22s %-11s %5s %11s %11s %11s %11s %11s %11s %11s\n",
                ranks->size, b.hosts, b.hosts > 1 ? "s" : "", b.device, "", "", "ranks", "MB sent", "ms",
                "least", "most", "apart", "GB/s", "assumed");
    if (b.hosts == 1) return measure(&b, LINKS_HOST, 0, error);
    return (b.ranks_per_host == 1 || measure(&b, LINKS_HOST, ranks->host, error)) &&
           measure(&b, LINKS_HOSTS, ranks->local_rank, error) && measure(&b, LINKS_ALL, 0, error);
}
