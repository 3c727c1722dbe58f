// What others call of the Lighthouse layer on the GPU: its parts, in the order of the definition, and the
// whole, forward and backward. lighthouse.cuh has the kernels and what launches them;
// cuda/engine/lighthouse.cu compiles it, once. Tokens q, k, v lie after RoPE as their strides say.
#ifndef CUDA_LIGHTHOUSE_LAYER_CUH
#define CUDA_LIGHTHOUSE_LAYER_CUH

#include "cuda/kernels/lighthouse_rows.cuh"
#include "sdpa.cuh"

// What attention is asked for over the gathered rows.   cp: where ranks share the sequences, else NULL
SdpaProblem cuda_lighthouse_attention_problem(const LighthouseShape *shape, const CudaCp *cp);

// Bytes of scratch->sdpa for q, k, v that lie so (only strides are looked at).
bool cuda_lighthouse_sdpa_bytes(Sdpa *sdpa, CudaRows q, CudaRows k, CudaRows v, const LighthouseShape *shape,
                                bool training, size_t *bytes, Error *error);

// scores (B, H, E). gate (B, N, H): of scorers that have one. `scored`: the base scores are there already.
bool cuda_lighthouse_score(CudaContext *context, Sdpa *sdpa, CudaLighthouseScratch *scratch, CudaRows q,
                           CudaRows k, CudaRows v, const float *gate, bool scored,
                           const LighthouseShape *shape, Error *error);

// Gathered rows of q, k and v; where ranks share the sequences, packed for the all-to-all.
void cuda_lighthouse_gather(CudaContext *context, const CudaLighthouseRows *rows,
                            const CudaLighthouseScratch *scratch, CudaRows q, CudaRows k, CudaRows v,
                            const LighthouseShape *shape);

// out = the sum of the gathered rows that reach each position; zero where none does.
void cuda_lighthouse_scatter(CudaContext *context, CudaRows out, const CudaLighthouseRows *rows,
                             const CudaLighthouseScratch *scratch, const LighthouseShape *shape);

// Gradient of the gathered out, scratch->dout (B, H, S, D), or packed for the all-to-all, from that of out.
void cuda_lighthouse_scatter_backward(CudaContext *context, CudaRows dout, const CudaLighthouseRows *rows,
                                      const CudaLighthouseScratch *scratch, const LighthouseShape *shape);

// dq, dk, dv = (not +=) from the gradients of the gathered rows in the scratch, or packed; summed over the
// query heads of a group.
void cuda_lighthouse_gather_backward(CudaContext *context, CudaRows dq, CudaRows dk, CudaRows dv,
                                     const CudaLighthouseRows *rows, const CudaLighthouseScratch *scratch,
                                     const LighthouseShape *shape);

// The gathered rows' attention: rows->out from rows->q, k, v, or from packed ones.
bool cuda_lighthouse_attend(Sdpa *sdpa, const CudaLighthouseRows *rows, CudaLighthouseScratch *scratch,
                            const LighthouseShape *shape, Error *error);

bool cuda_lighthouse_attend_backward(Sdpa *sdpa, const CudaLighthouseRows *rows,
                                     CudaLighthouseScratch *scratch, const LighthouseShape *shape,
                                     Error *error);

// out (b, h, n) = the Lighthouse layer of q, k, v. Where `forced` (B, H, S), on the GPU, is given, these
// entries are gathered and nothing is scored.
bool cuda_lighthouse_forward(CudaContext *context, Sdpa *sdpa, CudaRows out, CudaLighthouseRows *rows,
                             CudaLighthouseScratch *scratch, CudaRows q, CudaRows k, CudaRows v,
                             const float *gate, bool scored, const int32_t *forced,
                             const LighthouseShape *shape, Error *error);

// dq, dk, dv = (not +=)
bool cuda_lighthouse_backward(CudaContext *context, Sdpa *sdpa, CudaRows dq, CudaRows dk, CudaRows dv,
                              CudaRows dout, const CudaLighthouseRows *rows, CudaLighthouseScratch *scratch,
                              const LighthouseShape *shape, Error *error);

#endif
