// The kernels; see swiglu.cuh.
#include "cuda/kernels/swiglu.cuh"

#include <assert.h>

static inline __device__ float sigmoid(float x) {
    return 1 / (1 + __expf(-x));
}

// One thread block a row, a thread takes 8 neighbouring columns at a time.

static __global__ void swiglu_forward_kernel(bf16 *out,           // (rows, F)
                                             const bf16 *gate_up, // (rows, 2F)
                                             int F) {
    int64_t row = blockIdx.x;
    const Bf16x8 *gates = (const Bf16x8 *)(gate_up + row * 2 * F), *ups = gates + F / 8;
    for (int i = threadIdx.x; i < F / 8; i += blockDim.x) {
        float gate[8], up[8];
        Bf16x8 gate_vector = gates[i], up_vector = ups[i];
        unpack(gate, gate_vector);
        unpack(up, up_vector);
#pragma unroll
        for (int j = 0; j < 8; j++) gate[j] = gate[j] * sigmoid(gate[j]) * up[j];
        ((Bf16x8 *)(out + row * F))[i] = pack(gate);
    }
}

// In place: the gradient of the output gives way to the output itself, gate and up to their gradients.
static __global__ void swiglu_backward_kernel(bf16 *dout_out, // (rows, F)
                                              bf16 *gate_up,  // (rows, 2F)
                                              int F) {
    int64_t row = blockIdx.x;
    Bf16x8 *gates = (Bf16x8 *)(gate_up + row * 2 * F), *ups = gates + F / 8;
    Bf16x8 *outs = (Bf16x8 *)(dout_out + row * F);
    for (int i = threadIdx.x; i < F / 8; i += blockDim.x) {
        float gate[8], up[8], d[8];
        Bf16x8 gate_vector = gates[i], up_vector = ups[i], d_vector = outs[i];
        unpack(gate, gate_vector);
        unpack(up, up_vector);
        unpack(d, d_vector);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            float s = sigmoid(gate[j]), silu = gate[j] * s, d_out = d[j];
            d[j] = silu * up[j];
            gate[j] = d_out * up[j] * (s + silu * (1 - s));
            up[j] = d_out * silu;
        }
        outs[i] = pack(d);
        gates[i] = pack(gate);
        ups[i] = pack(up);
    }
}

// ---- Launchers.

static inline unsigned swiglu_threads(int64_t rows, int64_t F) {
    assert(F % 8 == 0 && F < (1 << 24) && rows > 0 && rows < (1ll << 31));
    (void)rows;
    return (unsigned)(F >= 2048 ? 256 : ceil_div(F, 256) * 32);
}

void cuda_swiglu_forward(bf16 *out, const bf16 *gate_up, int64_t rows, int64_t F, cudaStream_t stream) {
    swiglu_forward_kernel<<<(unsigned)rows, swiglu_threads(rows, F), 0, stream>>>(out, gate_up, (int)F);
    CUDA_CHECK(cudaGetLastError());
}

void cuda_swiglu_backward(bf16 *dout_out, bf16 *gate_up, int64_t rows, int64_t F, cudaStream_t stream) {
    swiglu_backward_kernel<<<(unsigned)rows, swiglu_threads(rows, F), 0, stream>>>(dout_out, gate_up, (int)F);
    CUDA_CHECK(cudaGetLastError());
}
