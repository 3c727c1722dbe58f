// The host's waits for the GPU. One that is alone simply waits. With other ranks the GPU may be held up by
// one that is gone or hangs: then the host looks after them while it waits. Patience with them begins anew
// whenever the GPU has come further, as marks on its stream tell; a pass over a long context may take
// longer.
#ifndef CUDA_WATCH_CUH
#define CUDA_WATCH_CUH

#include "core/ranks/collectives.h"
#include "cuda/device/common.cuh"

typedef struct {
    Ranks *ranks;           // NULL or one: alone
    Collectives *queues[2]; // that may be in trouble; NULL: none
    cudaStream_t stream;
    cudaEvent_t *marks; // on the stream, in order
    int room;           // further marks are left out
    int set, passed;    // since the last wait's end
} GpuWatch;

// A watch over `stream` with room for so many marks between two waits.
static inline void gpu_watch_open(GpuWatch *watch, Ranks *ranks, cudaStream_t stream, int room) {
    watch->ranks = ranks;
    watch->stream = stream;
    if (!ranks_many(ranks)) return;
    watch->marks = (cudaEvent_t *)alloc_or_exit((size_t)room, sizeof *watch->marks);
    for (; watch->room < room; watch->room++)
        CUDA_CHECK(cudaEventCreateWithFlags(&watch->marks[watch->room], cudaEventDisableTiming));
}

static inline void gpu_watch_close(GpuWatch *watch) {
    for (int i = 0; i < watch->room; i++) CUDA_CHECK(cudaEventDestroy(watch->marks[i]));
    free(watch->marks);
}

// A piece of work ends here.
static inline void gpu_mark(GpuWatch *watch) {
    if (watch->set < watch->room) CUDA_CHECK(cudaEventRecord(watch->marks[watch->set++], watch->stream));
}

// Whether the GPU has come to another mark since this was asked last.
static inline bool gpu_progress(GpuWatch *watch) {
    int before = watch->passed;
    while (watch->passed < watch->set && cudaEventQuery(watch->marks[watch->passed]) == cudaSuccess)
        watch->passed++;
    return watch->passed > before;
}

// Until the stream has done all its work. `what` is for the message when another rank does not come.
static inline bool gpu_wait(GpuWatch *watch, const char *what, Error *error) {
    if (!ranks_many(watch->ranks)) {
        CUDA_TRY(cudaStreamSynchronize(watch->stream), error);
        return true;
    }
    RanksWait wait = ranks_wait_begin(what);
    cudaError_t status;
    while ((status = cudaStreamQuery(watch->stream)) == cudaErrorNotReady) {
        for (Collectives *queue : watch->queues) {
            if (queue) collectives_progress(queue);
        }
        if (gpu_progress(watch)) ranks_wait_renew(&wait);
        ranks_wait_tick(watch->ranks, &wait);
    }
    watch->set = watch->passed = 0;
    CUDA_TRY(status, error);
    return true;
}

#endif
