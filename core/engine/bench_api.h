// What the engines time for the command `bench` (core/bench/bench.h): an attention layer by itself and its
// parts, and the two rates that floors are made of. And for `info --links`: what crosses between ranks.
#ifndef CORE_ENGINE_BENCH_API_H
#define CORE_ENGINE_BENCH_API_H

#include "core/base/error.h"
#include "core/model/hierarchy.h"
#include "core/ranks/collectives.h"

#ifdef __cplusplus
extern "C" {
#endif

// What can be timed. The parts of the Lighthouse layer come first, in their order.
typedef enum {
    BENCH_SCORE,
    BENCH_SELECT, // and order
    BENCH_GATHER,
    BENCH_ATTEND, // attention of the gathered rows
    BENCH_SCATTER,
    BENCH_SCATTER_BACKWARD,
    BENCH_ATTEND_BACKWARD,
    BENCH_GATHER_BACKWARD,
    BENCH_LAYER_PARTS,
    BENCH_LIGHTHOUSE_FORWARD = BENCH_LAYER_PARTS,
    BENCH_LIGHTHOUSE_BOTH, // forward and backward
    BENCH_DENSE_FORWARD,
    BENCH_DENSE_BOTH,
    BENCH_COPY,    // of BenchApi.copy_bytes, within the device's memory
    BENCH_PRODUCT, // of two square matrices with edge BenchApi.product_edge
} BenchCall;

typedef struct {
    LighthouseShape shape;  // for dense attention alone only B, H, D, share and hierarchy.n are filled
    bool lighthouse, dense; // which calls will be asked for
    bool deterministic;
    int64_t copies; // of all tensors wanted; calls take them in turn, so that none finds its input in a cache
} BenchLayer;

typedef struct BenchApi BenchApi;

// Buffers with random contents: of a layer, or for BENCH_COPY and BENCH_PRODUCT. First member of every
// engine's own structure.
typedef struct {
    const BenchApi *api;
    int64_t copies; // that fit
} Bench;

// A queue of the ranks that were grouped last, and two buffers of device memory.
typedef struct {
    Collectives *queue;
    void *in, *out;
} BenchLink;

typedef struct {
    // Buffers of so many bytes. Opened and closed by all ranks of the job together; NULL on error (status 4),
    // on all.
    BenchLink *(*open)(Ranks *ranks, size_t bytes, Error *error);
    // Waits until all that was queued is done.
    bool (*settle)(BenchLink *link, Error *error);
    void (*close)(BenchLink *link);
} BenchLinkApi;

struct BenchApi {
    const BenchLinkApi *link;
    size_t element_bytes; // of an activation
    size_t copy_bytes;
    int64_t product_edge;
    size_t (*cache_bytes)(void); // of the last cache before the memory; 0 where caches need no care
    // `layer` NULL: for BENCH_COPY and BENCH_PRODUCT. NULL on error (status 4 where it does not fit).
    Bench *(*create)(const BenchLayer *layer, Error *error);
    // Makes a call `warmup` times, then `repeats` times and gives the seconds of each of these.
    bool (*time)(Bench *bench, BenchCall call, int64_t warmup, int64_t repeats, double *seconds,
                 Error *error);
    void (*destroy)(Bench *bench);
};

// The tables of an engine: functions are called `prefix`_bench_ and the field's name.
#define BENCH_LINK_API(prefix)                                                  \
    {                                                                           \
        .open = prefix##_bench_link_open, .settle = prefix##_bench_link_settle, \
        .close = prefix##_bench_link_close,                                     \
    }
#define BENCH_API(prefix, element, copied, edge)                                                            \
    {                                                                                                       \
        .link = &prefix##_bench_link, .element_bytes = sizeof(element), .copy_bytes = (copied),             \
        .product_edge = (edge), .cache_bytes = prefix##_bench_cache_bytes, .create = prefix##_bench_create, \
        .time = prefix##_bench_time, .destroy = prefix##_bench_destroy,                                     \
    }

extern const BenchLinkApi cpu_bench_link;
extern const BenchApi cpu_bench;
#ifdef WITH_CUDA
extern const BenchLinkApi cuda_bench_link;
extern const BenchApi cuda_bench;
#endif

#ifdef __cplusplus
}
#endif
#endif
