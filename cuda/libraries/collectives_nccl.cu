// Collectives over device memory by NCCL; see collectives_nccl.cuh.
#include "cuda/libraries/collectives_nccl.cuh"
#include "cuda/device/common.cuh"

#include <assert.h>
#include <nccl.h>
#include <string.h>

typedef struct {
    Collectives base;
    ncclComm_t comm; // NULL for a group of one
    cudaStream_t caller, stream;
    cudaEvent_t begun, done, marked;
} NcclQueue;

static NcclQueue *queue_of(Collectives *queue) {
    return (NcclQueue *)queue;
}

static ncclDataType_t nccl_type(Element type) {
    return type == ELEMENT_F64 ? ncclFloat64 : type == ELEMENT_F32 ? ncclFloat32 : ncclBfloat16;
}

// ---- Trouble

// Takes the job down where a call of CUDA fails.
#define QUEUE_CHECK(q, call)                                                              \
    do {                                                                                  \
        cudaError_t queue_status_ = (call);                                               \
        if (queue_status_ != cudaSuccess) {                                               \
            Error queue_error_;                                                           \
            cuda_error_set(&queue_error_, queue_status_, #call, __FILE__, __LINE__);      \
            if (queue_error_.status != STATUS_MEMORY) queue_error_.status = STATUS_RANKS; \
            ranks_fail((q)->base.ranks, &queue_error_);                                   \
        }                                                                                 \
    } while (0)

static void __attribute__((noreturn)) fail(const NcclQueue *q, ncclResult_t result, const char *what) {
    Error error;
    const char *last = ncclGetLastError(q->comm);
    error_set(&error, STATUS_RANKS, "%s failed in NCCL: %s%s%.300s; NCCL_DEBUG=WARN says more", what,
              ncclGetErrorString(result), last && last[0] ? ": " : "", last ? last : "");
    ranks_fail(q->base.ranks, &error);
}

// How NCCL's own threads and the network are doing.
static ncclResult_t state_of(const NcclQueue *q) {
    ncclResult_t state = ncclSuccess, asked = ncclCommGetAsyncError(q->comm, &state);
    return asked == ncclSuccess ? state : asked;
}

// Until what a call has begun is through on the host: communicators do not block, so that a rank that waits
// for others in a call does so here.
static void settle(const NcclQueue *q, ncclResult_t result, const char *what) {
    RanksWait wait = ranks_wait_begin(what);
    while (result == ncclInProgress) {
        result = state_of(q);
        if (result == ncclInProgress) ranks_wait_tick(q->base.ranks, &wait);
    }
    if (result != ncclSuccess) fail(q, result, what);
}

static void nccl_progress(Collectives *queue) {
    const NcclQueue *q = queue_of(queue);
    ncclResult_t state = q->comm ? state_of(q) : ncclSuccess;
    if (state != ncclSuccess && state != ncclInProgress) fail(q, state, "an exchange of tensors");
}

// ---- The queue

// What comes now waits for all that the caller's stream holds.
static void follow_caller(const NcclQueue *q) {
    QUEUE_CHECK(q, cudaEventRecord(q->begun, q->caller));
    QUEUE_CHECK(q, cudaStreamWaitEvent(q->stream, q->begun, 0));
}

static void nccl_mark(Collectives *queue) {
    const NcclQueue *q = queue_of(queue);
    QUEUE_CHECK(q, cudaEventRecord(q->marked, q->stream));
}

// For nothing where nothing was recorded.
static void nccl_wait_marked(Collectives *queue, const char *what) {
    const NcclQueue *q = queue_of(queue);
    (void)what;
    QUEUE_CHECK(q, cudaStreamWaitEvent(q->caller, q->marked, 0));
}

static void nccl_wait(Collectives *queue, const char *what) {
    const NcclQueue *q = queue_of(queue);
    (void)what; // the host waits elsewhere
    QUEUE_CHECK(q, cudaEventRecord(q->done, q->stream));
    QUEUE_CHECK(q, cudaStreamWaitEvent(q->caller, q->done, 0));
}

// ---- Sums

static void nccl_all_reduce(Collectives *queue, void *data, int64_t count, Element type) {
    const NcclQueue *q = queue_of(queue);
    if (!q->comm) return;
    follow_caller(q);
    settle(q, ncclAllReduce(data, data, (size_t)count, nccl_type(type), ncclSum, q->comm, q->stream),
           "all-reduce");
}

static void nccl_reduce_scatter(Collectives *queue, void *data, int64_t count, Element type) {
    const NcclQueue *q = queue_of(queue);
    if (!q->comm) return;
    void *own = (char *)data + q->base.rank * count * element_size(type);
    follow_caller(q);
    settle(q, ncclReduceScatter(data, own, (size_t)count, nccl_type(type), ncclSum, q->comm, q->stream),
           "reduce-scatter");
}

template <typename Real> static __global__ void add_kernel(Real *sum, const Real *terms, int64_t count) {
    const int64_t stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < count; i += stride) {
        sum[i] += terms[i];
    }
}

template <typename Real>
static void add_block(const NcclQueue *q, void *share, const void *data, int64_t count) {
    const Real *own = (const Real *)data + q->base.rank * count;
    add_kernel<<<1024, 256, 0, q->stream>>>((Real *)share, own, count);
    QUEUE_CHECK(q, cudaGetLastError());
}

static void nccl_add_share(Collectives *queue, void *share, void *data, int64_t count, Element type) {
    const NcclQueue *q = queue_of(queue);
    assert(type == ELEMENT_F32 || type == ELEMENT_F64);
    if (!q->comm) follow_caller(q);
    nccl_reduce_scatter(queue, data, count, type);
    if (type == ELEMENT_F64) {
        add_block<double>(q, share, data, count);
    } else {
        add_block<float>(q, share, data, count);
    }
}

// ---- Copies

static void nccl_all_gather(Collectives *queue, void *data, int64_t count, Element type) {
    const NcclQueue *q = queue_of(queue);
    if (!q->comm) return;
    const void *own = (const char *)data + q->base.rank * count * element_size(type);
    follow_caller(q);
    settle(q, ncclAllGather(own, data, (size_t)count, nccl_type(type), q->comm, q->stream), "all-gather");
}

// ---- From one rank to another

// What ranks send to and receive from each other goes on together from `begin_messages` to `end_messages`.
static void begin_messages(const NcclQueue *q) {
    follow_caller(q);
    ncclResult_t result = ncclGroupStart();
    if (result != ncclSuccess) fail(q, result, "a message");
}
static void end_messages(const NcclQueue *q, const char *what) {
    settle(q, ncclGroupEnd(), what);
}

static void add_send(const NcclQueue *q, int to, const void *data, int64_t count, Element type) {
    ncclResult_t result = ncclSend(data, (size_t)count, nccl_type(type), to, q->comm, q->stream);
    if (result != ncclSuccess && result != ncclInProgress) fail(q, result, "sending");
}
static void add_receive(const NcclQueue *q, int from, void *data, int64_t count, Element type) {
    ncclResult_t result = ncclRecv(data, (size_t)count, nccl_type(type), from, q->comm, q->stream);
    if (result != ncclSuccess && result != ncclInProgress) fail(q, result, "receiving");
}

static void nccl_all_to_all(Collectives *queue, void *out, const void *in, int64_t count, Element type) {
    const NcclQueue *q = queue_of(queue);
    int size = q->base.size, own = q->base.rank;
    int64_t block = count * element_size(type);
    if (q->comm) {
        begin_messages(q);
        for (int i = 1; i < size; i++) { // each rank begins with another partner
            int to = (own + i) % size, from = (own - i + size) % size;
            add_receive(q, from, (char *)out + from * block, count, type);
            add_send(q, to, (const char *)in + to * block, count, type);
        }
        end_messages(q, "all-to-all");
    }
    // Beside the messages, on the caller's stream.
    QUEUE_CHECK(q, cudaMemcpyAsync((char *)out + own * block, (const char *)in + own * block, (size_t)block,
                                   cudaMemcpyDeviceToDevice, q->caller));
}

static void nccl_shift(Collectives *queue, int by, void *out, const void *in, int64_t count, Element type) {
    const NcclQueue *q = queue_of(queue);
    int size = q->base.size, own = q->base.rank;
    bool receives = own - by >= 0 && own - by < size, sends = own + by >= 0 && own + by < size;
    assert(by != 0);
    if (!receives && !sends) return;
    begin_messages(q);
    if (receives) add_receive(q, own - by, out, count, type);
    if (sends) add_send(q, own + by, in, count, type);
    end_messages(q, "a shift");
}

static void nccl_send(Collectives *queue, int to, const void *data, int64_t count, Element type) {
    const NcclQueue *q = queue_of(queue);
    begin_messages(q);
    add_send(q, to, data, count, type);
    end_messages(q, "sending");
}

static void nccl_receive(Collectives *queue, int from, void *data, int64_t count, Element type) {
    const NcclQueue *q = queue_of(queue);
    begin_messages(q);
    add_receive(q, from, data, count, type);
    end_messages(q, "receiving");
}

// ---- Opening and closing

// What ranks tell each other to meet.
typedef struct {
    ncclUniqueId group; // the one that this rank's group meets by, where it is its first rank
    cudaUUID_t device;
} Meeting;

// Every rank sees the same, so that one message is enough.
static void expect_own_devices(const NcclQueue *q, const Meeting *all) {
    Ranks *ranks = q->base.ranks;
    for (int r = 0; r < ranks->size; r++)
        for (int other = 0; other < r; other++) {
            if (memcmp(&all[r].device, &all[other].device, sizeof all[r].device) != 0) continue;
            Error error;
            error_set(
                &error, STATUS_USAGE,
                "ranks %d and %d on %s have the same GPU; start no more ranks on a host than it has GPUs",
                other, r, ranks_host(ranks, r));
            ranks->agreed = true;
            ranks_exit(ranks, &error);
        }
}

// The group's ranks meet.
static void open_group(NcclQueue *q, RankGroup group) {
    Ranks *ranks = q->base.ranks;
    int device;
    const char *what = "meeting the other ranks";
    Meeting mine, *all = (Meeting *)alloc_or_exit((size_t)ranks->size, sizeof *all);
    cudaDeviceProp properties;
    memset(&mine, 0, sizeof mine);
    QUEUE_CHECK(q, cudaGetDevice(&device));
    QUEUE_CHECK(q, cudaGetDeviceProperties(&properties, device));
    mine.device = properties.uuid;
    ncclResult_t result = q->base.rank == 0 ? ncclGetUniqueId(&mine.group) : ncclSuccess;
    if (result != ncclSuccess) fail(q, result, what);
    ranks_gather(ranks, &mine, sizeof mine, all);
    expect_own_devices(q, all);

    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    int first = group == RANKS_ALL ? 0 : ranks->context_first;
    if (q->base.size > 1)
        result = ncclCommInitRankConfig(&q->comm, q->base.size, all[first].group, q->base.rank, &config);
    free(all);
    settle(q, result, what);
}

static void nccl_destroy(Collectives *queue) {
    NcclQueue *q = queue_of(queue);
    RanksWait wait = ranks_wait_begin("the end of a queue");
    cudaError_t status;
    while ((status = cudaStreamQuery(q->stream)) == cudaErrorNotReady) {
        nccl_progress(queue);
        ranks_wait_tick(queue->ranks, &wait);
    }
    QUEUE_CHECK(q, status);
    if (q->comm) {
        settle(q, ncclCommFinalize(q->comm), wait.what);
        ncclCommDestroy(q->comm);
    }
    QUEUE_CHECK(q, cudaEventDestroy(q->begun));
    QUEUE_CHECK(q, cudaEventDestroy(q->done));
    QUEUE_CHECK(q, cudaEventDestroy(q->marked));
    QUEUE_CHECK(q, cudaStreamDestroy(q->stream));
    free(q);
}

Collectives *collectives_nccl(Ranks *ranks, RankGroup group, cudaStream_t stream) {
    static const CollectivesApi api = COLLECTIVES_API("nccl", nccl);
    NcclQueue *q = (NcclQueue *)alloc_or_exit(1, sizeof *q);
    int least, greatest;
    collectives_join(&q->base, &api, ranks, group);
    q->caller = stream;
    QUEUE_CHECK(q, cudaDeviceGetStreamPriorityRange(&least, &greatest));
    QUEUE_CHECK(q, cudaStreamCreateWithPriority(&q->stream, cudaStreamNonBlocking, greatest));
    QUEUE_CHECK(q, cudaEventCreateWithFlags(&q->begun, cudaEventDisableTiming));
    QUEUE_CHECK(q, cudaEventCreateWithFlags(&q->done, cudaEventDisableTiming));
    QUEUE_CHECK(q, cudaEventCreateWithFlags(&q->marked, cudaEventDisableTiming));
    if (ranks->size > 1) open_group(q, group); // those whose group is larger need to hear of this rank
    return &q->base;
}
