// One decoder block of the CUDA engine, forward and backward, over buffers that the engine planned; the twin
// is cpu/block.h.
#ifndef CUDA_BLOCK_CUH
#define CUDA_BLOCK_CUH

#include "core/engine/pass.h"
#include "cuda/libraries/matmul.cuh"
#include "cuda/device/parts.cuh"
#include "cuda/kernels/lighthouse_layer.cuh"
#include "sdpa.cuh"

// One layer's weights. Matrices are the bf16 working copies, norms the float32 masters.
typedef struct {
    const float *attention_norm, *ffn_norm; // (C)
    const bf16 *qkv;                        // (H D + 2 KV D, C): q_proj, k_proj, v_proj one behind the other
    const float *qkv_bias;                  // (H D + 2 KV D) likewise; NULL where the family has none
    const float *qk_norm;                   // (2, D): q_norm, k_norm; NULL likewise
    const bf16 *o;                          // (C, H D)
    const bf16 *gate_up;                    // (2F, C): gate_proj, up_proj
    const bf16 *down;                       // (C, F)
    const float *gla_weight, *gla_bias;     // (H, C), (H); NULL without the gla scorer
} CudaBlockWeights;

// Their gradients, float32, of the same shapes.
typedef struct {
    float *attention_norm, *ffn_norm, *qkv, *qkv_bias, *qk_norm, *o, *gate_up, *down;
} BlockGradients;

// What one layer's forward keeps for its backward, beside its input. Outputs of norms and of SwiGLU are
// worked out again.   rows = B N, N tokens of each sequence that lie here; kept = rows, or the rows of one
// tile, where the backward makes each tile once more
// Where P ranks share the sequences, a dense layer exchanges qkv once it is made: (B, N P, own + 2 own_kv, D)
// of the heads that the rank attends with, cuda/kernels/context.cuh.
typedef struct {
    bf16 *qkv;           // (B, N, H + 2 KV, D) after RoPE
    bf16 *qk;            // (B, N, H + KV, D) before their norm; NULL without
    bf16 *attention;     // (B, N, H, D)
    float *lse;          // (B, H, N) of dense attention, exchanged (B, H / P, N P); NULL where there is none
    bf16 *exchanged_out; // (B, N P, H / P, D) dense attention of the exchanged; NULL where whole sequences
                         // are here
    bf16 *mid;           // (kept, C) after the attention's residual addition
    bf16 *gate_up;       // (kept, 2F); the backward turns it into its gradient
    bool attention_shared; // other layers have used `attention` since the forward
    CudaLighthouseRows lighthouse;
} CudaBlockActivations;

// Buffers that all layers share.
typedef struct {
    bf16 *cache_k, *cache_v; // (layers, cache, KV, D)
    float *cosines, *sines;  // (positions, D/2)
    float *gla_gate;         // (rows, H)
    int64_t tile;            // rows that norms, SwiGLU and the products around them treat at once
    bool remakes;            // of mid and gate_up there is one tile alone
    bf16 *normed;            // (tile, C) output of a norm, or the gradient of that
    bf16 *act;               // (tile, F) output of SwiGLU, or the gradient of that
    bf16 *dattention;        // (B, N, H, D), then exchanged: (B, N P, H / P, D); NULL: in acts->attention
    bf16 *dqkv;              // exchanged: (B, N P, own + 2 own_kv, D), then (B, N, H + 2 KV, D)
    float *partial_sums;     // of gradients of norms and biases
    CudaLighthouseScratch lighthouse;
    void *sdpa; // workspace of cuDNN; lighthouse.sdpa is the same
    size_t sdpa_bytes;
} CudaBlockScratch;

// What the work goes through.
typedef struct {
    CudaContext *context;
    Matmul *matmul;
    Sdpa *sdpa;
    CudaPartClock *clock;
    CudaCp *cp; // NULL: whole sequences are here
} BlockTools;

// x_out (rows, C) = the block of x (rows, C). NULL x_out: only what the backward needs is made.
// before_output: what the first write of x_out waits for; NULL: nothing
bool cuda_block_forward(bf16 *x_out, cudaEvent_t before_output, const bf16 *x,
                        const CudaBlockWeights *weights, CudaBlockActivations *acts,
                        CudaBlockScratch *scratch, const Pass *pass, const BlockTools *tools, Error *error);

// dx (rows, C) holds the gradient of the block's output on entry and that of its input x on return; gradients
// are added to. acts is used up.
bool cuda_block_backward(bf16 *dx, const bf16 *x, const CudaBlockWeights *weights,
                         const BlockGradients *gradients, CudaBlockActivations *acts,
                         CudaBlockScratch *scratch, const Pass *pass, const BlockTools *tools, Error *error);

// The dense attention of `rows` tokens in each of `batch` sequences, over packed queries, keys and values; of
// one of `ranks` ranks that have shared out the heads.
SdpaProblem block_sdpa_problem(const ModelConfig *model, int64_t batch, int64_t rows, int64_t ranks);

#endif
