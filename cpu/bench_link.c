// What `info --links` times on the CPU engine: MPI's collectives over host memory; see
// core/engine/bench_api.h. Its twin is cuda/engine/bench_link.cu.
#include "core/base/host_memory.h"
#include "core/engine/bench_api.h"

#include <stdlib.h>
#include <string.h>

static void cpu_bench_link_close(BenchLink *link) {
    collectives_destroy(link->queue);
    free(link->in);
    free(link->out);
    free(link);
}

static bool take_memory(const Ranks *ranks, BenchLink *link, size_t bytes, Error *error) {
    size_t needed = 2 * bytes * (size_t)ranks->local_size;
    if (needed <= host_memory_available()) {
        link->in = malloc(bytes);
        link->out = malloc(bytes);
    }
    if (!link->in || !link->out)
        return error_set(error, STATUS_MEMORY, "the ranks of this host need %.2f GB: start fewer of them",
                         (double)needed / 1e9);
    memset(link->in, 0, bytes); // so that no page is new when time is taken
    memset(link->out, 0, bytes);
    return true;
}

static BenchLink *cpu_bench_link_open(Ranks *ranks, size_t bytes, Error *error) {
    BenchLink *link = (BenchLink *)alloc_or_exit(1, sizeof *link);
    if (ranks_agree(ranks, take_memory(ranks, link, bytes, error), error)) {
        link->queue = collectives_mpi(ranks, RANKS_CONTEXT);
        return link;
    }
    cpu_bench_link_close(link);
    return NULL;
}

static bool cpu_bench_link_settle(BenchLink *link, Error *error) {
    (void)link, (void)error; // collectives_wait has waited
    return true;
}

const BenchLinkApi cpu_bench_link = BENCH_LINK_API(cpu);
