// Context parallelism on the GPU: rows of a sequence that lie on P ranks, exchanged for heads; see
// core/engine/context.h. The twin is cpu/context.h.
//
// What ranks exchange is packed in blocks, one a rank, each with its rows behind one another: so the blocks
// that a rank receives, one from each slice, are the whole sequence's rows of this rank's heads, and
// attention reads them as they come. Nothing here waits on the host.
#ifndef CUDA_CONTEXT_CUH
#define CUDA_CONTEXT_CUH

#include "core/engine/context.h"
#include "core/ranks/collectives.h"
#include "cuda/device/parts.cuh"

// This rank's place among those that share its sequences.
typedef struct {
    Collectives *queue;
    CudaPartClock *clock;
    int64_t size, index; // P, and which slice lies here
    bf16 *packed; // what is to go to the ranks, or has come back from them: the largest of all exchanges
    bool borrows; // packed has no memory of its own: a block lets it lie where it needs nothing at the time
} CudaCp;

// cp->packed (B, P, n, (heads + 2 attended) / P, D) = tokens (B, n, heads + 2 kv_heads, D): for each rank
// its part of the first `heads` heads, of the `kv_heads` behind them, and of the last; attended =
// context_heads(kv_heads, P), or no such heads at all.
void cuda_context_pack(CudaContext *context, const CudaCp *cp, bf16 *tokens, int64_t B, int64_t n,
                       int64_t heads, int64_t kv_heads, int64_t D);
// The way back: of heads that several ranks have, the sum.
void cuda_context_unpack(CudaContext *context, const CudaCp *cp, bf16 *tokens, int64_t B, int64_t n,
                         int64_t heads, int64_t kv_heads, int64_t D);

// Until all that is queued has come; the clock tells what the stream waits.
void cuda_context_wait(const CudaCp *cp, const char *what);

// whole (B, n P, width) = cp->packed (B, P, n, width) of all ranks, each one's block for this rank: rows
// of all slices.   width: elements of a row of one rank's heads
void cuda_context_all_to_all(const CudaCp *cp, bf16 *whole, int64_t B, int64_t n, int64_t width);
// The way back: the slice's rows of all heads, in cp->packed.
void cuda_context_return(const CudaCp *cp, const bf16 *whole, int64_t B, int64_t n, int64_t width);

#endif
