// Dense causal attention on the GPU, forward and backward: the one face of cuDNN.
//
//     out = softmax(q k^T / sqrt(D), keys up to the query's own row) v
//
// bf16 tensors, float32 arithmetic inside. Queries, keys, values, outputs and their gradients are read and
// written where they lie, so that no transpose is ever needed: [H, N, D], [N, H, D] and slices of a packed
// [N, H + 2 KV, D] differ only in their strides. Grouped-query heads: query head h reads key/value head
// h / (H / KV).
//
// cuDNN compiles a plan for each problem when it is first asked for, on the host (a second for the first,
// some 40 ms for those after it); then a call only puts kernels on the stream, in 10 to 20 microseconds: no
// allocation, no waiting. Making a plan and asking for its workspace need a cuDNN handle, and so a GPU.
//
// Workspace: none forward; backward what sdpa_backward_bytes (cuda/device/sdpa_problem.h) says, of the order
// of a float32 dq, or, deterministic, of 2 bytes for each pair of rows.
#ifndef SDPA_CUH
#define SDPA_CUH

#include "core/base/error.h"
#include "cuda/device/sdpa_problem.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <stddef.h>
#include <stdint.h>

typedef __nv_bfloat16 bf16;

typedef struct Sdpa Sdpa;

// For the current device; all work goes to `stream`. `deterministic`: the backward gives the same bits every
// run, at 1.2 times the time where the workspace is large; above 6 GiB of it (else above 5) one key/value
// head after the other, which is slower for problems too small to fill the GPU by one head. NULL on error.
Sdpa *sdpa_create(cudaStream_t stream, bool deterministic, Error *error);
void sdpa_destroy(Sdpa *sdpa);

// The version of the cuDNN in use, 91900 for 9.19.0.
size_t sdpa_cudnn_version(void);

// Makes the plan unless it is there, and gives the size of the workspace that the pass needs. Status 2 where
// cuDNN has no kernel for the problem, or where the rows of one head of out (deterministic: or k) span more
// than 2^31 elements.
bool sdpa_workspace_bytes(Sdpa *sdpa, const SdpaProblem *problem, SdpaPass pass, size_t *bytes, Error *error);

// Tensor pointers are aligned to 16 bytes, the workspace (uninitialised, not kept between calls) to 256.
bool cuda_sdpa_forward(
    Sdpa *sdpa, const SdpaProblem *problem,
    const bf16 *q, // (B, H, N, D)
    const bf16 *k, // (B, KV, N, D)
    const bf16 *v, // (B, KV, N, D)
    bf16 *out,     // (B, H, N, D)
    float *stats,  // (B, H, N) logarithm of the sum of each row's exponentials, contiguous; or NULL
    void *workspace, size_t workspace_bytes, Error *error);

bool cuda_sdpa_backward(Sdpa *sdpa, const SdpaProblem *problem,
                        const bf16 *q,      // (B, H, N, D)
                        const bf16 *k,      // (B, KV, N, D)
                        const bf16 *v,      // (B, KV, N, D)
                        const bf16 *out,    // (B, H, N, D) of the forward
                        const bf16 *dout,   // (B, H, N, D) strides of out
                        const float *stats, // (B, H, N) of the forward
                        bf16 *dq,           // (B, H, N, D) strides of q; overwritten, like dk and dv
                        bf16 *dk,           // (B, KV, N, D) strides of k
                        bf16 *dv,           // (B, KV, N, D) strides of v
                        void *workspace, size_t workspace_bytes, Error *error);

#endif
