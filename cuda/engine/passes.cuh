// Passes over all layers: tokens to the GPU, forward, head and loss, backward, and what comes back to the
// host. The engine's interface is made of them; each goes to the engine's stream.
#ifndef CUDA_PASSES_CUH
#define CUDA_PASSES_CUH

#include "cuda/engine/engine_parts.cuh"

// Puts `count` tokens of each of the pass's sequences into the GPU's buffer; the vocabulary has all of them,
// or the error says which it lacks.   tokens: `stride` from one sequence to the next
bool pass_upload(CudaEngine *e, const Pass *pass, const int32_t *tokens, int64_t stride, int64_t count,
                 Error *error);

// Embedding and all layers.   token of row (b, n): the uploaded tokens[b * stride + n]   nonfinite: NULL, or,
// in device memory, lowered to the first layer whose output is not finite
bool pass_forward(CudaEngine *e, const Pass *pass, int64_t stride, int *nonfinite, Error *error);

// Rows [first, first + count) of the final norm's output, of the last pass, in scratch.normed: a tile of them
// at most.
void pass_final_norm(CudaEngine *e, int64_t first, int64_t count);

// Final norm and losses, a chunk of rows at a time, so that the logits never exist at once. For a backward
// also the gradients of head and norm, and in dx that of the last layer's output; all times `scale`.
bool pass_head(CudaEngine *e, const Pass *pass, double scale, Error *error);

// From the gradient of the last layer's output, in dx, to all the others. `last`: no other pass adds to them
// before the update.
bool pass_backward(CudaEngine *e, const Pass *pass, bool last, Error *error);

// The buffers of one layer among those planned for all.
CudaBlockActivations pass_activations(const CudaEngine *e, int layer);

// Waits for all work, and for the loss that it ends with.
bool pass_fetch_nats(CudaEngine *e, double *nats, Error *error);

// Logits of one row of the pass behind `forward`, of the last of the ranks that share sequences; they are
// there when the stream is done.   logits: (V)
bool pass_fetch_logits(CudaEngine *e, int64_t row, float *logits, Error *error);

#endif
