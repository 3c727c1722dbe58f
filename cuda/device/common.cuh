// What every file of the CUDA engine shares: error checks, the device context, a few device helpers.
//
// Two kinds of failure: what the machine or the settings cannot do (no memory, no GPU) goes up as an Error
// through CUDA_TRY; what cannot happen in a right program on a sound GPU (a fault in a kernel) ends it
// through CUDA_CHECK, for functions that have no Error to fill. Both say where, what, why and how to go on.
#ifndef CUDA_COMMON_CUH
#define CUDA_COMMON_CUH

#include "core/base/error.h"
#include "core/model/model.h"

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <stdint.h>
#include <stdlib.h>

typedef __nv_bfloat16 bf16;

static inline const char *cuda_hint(cudaError_t status) {
    switch (status) {
    case cudaErrorMemoryAllocation:
        return "use a smaller --batch or --seq-len, or --recompute block, or free the GPU of other programs";
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
        return "nvidia-smi and CUDA_VISIBLE_DEVICES say which GPUs can be seen; --device cpu needs none";
    case cudaErrorInsufficientDriver:
        return "no NVIDIA driver, or one older than this build's CUDA: install or update it; --device cpu "
               "needs none";
    case cudaErrorNoKernelImageForDevice:
        return "this program was built for other GPUs: make clean, then make CUDA_ARCHS=<compute "
               "capability>";
    case cudaErrorDevicesUnavailable: return "another program holds the GPU: see nvidia-smi";
    case cudaErrorECCUncorrectable:
    case cudaErrorHardwareStackError:
        return "the GPU has a fault: see nvidia-smi and the system's log, then resume from the last "
               "checkpoint";
    default: return "CUDA_LAUNCH_BLOCKING=1 or compute-sanitizer names the call it comes from";
    }
}

static inline bool cuda_error_set(Error *error, cudaError_t status, const char *call, const char *file,
                                  int line) {
    return error_set(error, status == cudaErrorMemoryAllocation ? STATUS_MEMORY : STATUS_USAGE,
                     "%s:%d: %s: %s (%s); %s", file, line, call, cudaGetErrorString(status),
                     cudaGetErrorName(status), cuda_hint(status));
}

static inline bool cublas_error_set(Error *error, cublasStatus_t status, const char *call, const char *file,
                                    int line) {
    return error_set(error, status == CUBLAS_STATUS_ALLOC_FAILED ? STATUS_MEMORY : STATUS_USAGE,
                     "%s:%d: %s: cuBLASLt %zu: %s; CUBLASLT_LOG_LEVEL=2 says more", file, line, call,
                     cublasLtGetVersion(), cublasLtGetStatusString(status));
}

// Goes up with the error when a call fails.
#define TRY(call)                  \
    do {                           \
        if (!(call)) return false; \
    } while (0)

// Returns false with *error filled when the call fails.
#define CUDA_TRY(call, error)                                                      \
    do {                                                                           \
        cudaError_t cuda_status_ = (call);                                         \
        if (cuda_status_ != cudaSuccess)                                           \
            return cuda_error_set(error, cuda_status_, #call, __FILE__, __LINE__); \
    } while (0)

#define CUBLAS_TRY(call, error)                                                        \
    do {                                                                               \
        cublasStatus_t cublas_status_ = (call);                                        \
        if (cublas_status_ != CUBLAS_STATUS_SUCCESS)                                   \
            return cublas_error_set(error, cublas_status_, #call, __FILE__, __LINE__); \
    } while (0)

// Leaves the program with a message when the call fails. After a kernel launch:
// CUDA_CHECK(cudaGetLastError()).
#define CUDA_CHECK(call)                                                                             \
    do {                                                                                             \
        cudaError_t cuda_status_ = (call);                                                           \
        if (cuda_status_ != cudaSuccess) {                                                           \
            Error cuda_error_;                                                                       \
            cuda_error_set(&cuda_error_, cuda_status_, #call, __FILE__, __LINE__);                   \
            cuda_error_.status = cuda_error_.status == STATUS_MEMORY ? STATUS_MEMORY : EXIT_FAILURE; \
            error_exit(&cuda_error_);                                                                \
        }                                                                                            \
    } while (0)

#define CUBLAS_CHECK(call)                                                             \
    do {                                                                               \
        cublasStatus_t cublas_status_ = (call);                                        \
        if (cublas_status_ != CUBLAS_STATUS_SUCCESS) {                                 \
            Error cuda_error_;                                                         \
            cublas_error_set(&cuda_error_, cublas_status_, #call, __FILE__, __LINE__); \
            cuda_error_.status = EXIT_FAILURE;                                         \
            error_exit(&cuda_error_);                                                  \
        }                                                                              \
    } while (0)

// ---------------------------------------------------------------------------------------------------------------
// The device context: one GPU, and the one stream on which all of an engine's computing runs in order.

typedef struct {
    int device;     // ordinal among the visible GPUs
    int capability; // compute capability, 90 for 9.0
    cudaStream_t stream;
    cublasLtHandle_t cublas;
} CudaContext;

// After an error cuda_context_destroy frees what there is.
static inline bool cuda_context_create(CudaContext *context, int device, Error *error) {
    int major, minor;
    context->stream = NULL;
    context->cublas = NULL;
    CUDA_TRY(cudaSetDevice(device), error);
    CUDA_TRY(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), error);
    CUDA_TRY(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), error);
    context->device = device;
    context->capability = 10 * major + minor;
    if (context->capability < 80)
        return error_set(
            error, STATUS_USAGE,
            "GPU %d has compute capability %d.%d; bf16 needs 8.0 or later (Ampere): use another GPU, or "
            "--device cpu",
            device, major, minor);
    CUDA_TRY(cudaStreamCreateWithFlags(&context->stream, cudaStreamNonBlocking), error);
    CUBLAS_TRY(cublasLtCreate(&context->cublas), error);
    return true;
}

static inline void cuda_context_destroy(CudaContext *context) {
    if (context->cublas) CUBLAS_CHECK(cublasLtDestroy(context->cublas));
    if (context->stream) CUDA_CHECK(cudaStreamDestroy(context->stream));
}

// ---------------------------------------------------------------------------------------------------------------
// Small helpers.

static inline __host__ __device__ int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// The instance of a template for heads of width D, one of HEAD_WIDTHS (core/model/model.h).
#define FOR_HEAD_WIDTH(D, kernel) ((D) == 64 ? kernel<64> : (D) == 96 ? kernel<96> : kernel<128>)

// Neighbouring lanes that take a row of `vectors` Bf16x8: a power of two, so that no row lies in two warps.
// Of heads of 96 every fourth lane holds nothing.
static inline __host__ __device__ constexpr int row_lanes(int vectors) {
    return vectors <= 1 ? 1 : 2 * row_lanes((vectors + 1) / 2);
}

// Eight neighbouring bf16 values: what a thread reads or writes at once (16 bytes). In words of two, the
// first in the low half: of 16-bit members the compiler keeps each in a register of its own.
typedef struct alignas(16) {
    uint32_t pairs[4];
} Bf16x8;

#ifdef __CUDACC__
// A bf16 is the high half of the float32 of the same value.
static inline __device__ void unpack(float (&to)[8], Bf16x8 from) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        to[2 * i] = __uint_as_float(from.pairs[i] << 16);
        to[2 * i + 1] = __uint_as_float(from.pairs[i] & 0xffff0000u);
    }
}

static inline __device__ Bf16x8 pack(const float (&from)[8]) {
    Bf16x8 to;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        __nv_bfloat162 pair = __floats2bfloat162_rn(from[2 * i], from[2 * i + 1]);
        to.pairs[i] = *(uint32_t *)&pair;
    }
    return to;
}

static inline __device__ float warp_sum(float x) {
    for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
    return x;
}

// Sums each of COUNT numbers over the thread block, in a fixed order; every thread gets the sums. Blocks of
// whole warps, one warp without any waiting.
template <int COUNT> static inline __device__ void block_sum(float (&x)[COUNT]) {
    __shared__ float sums[32][COUNT];
#pragma unroll
    for (int i = 0; i < COUNT; i++) x[i] = warp_sum(x[i]);
    if (blockDim.x == 32) return;
    __syncthreads(); // the sums of the last call have been read
    if (threadIdx.x % 32 == 0) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) sums[threadIdx.x / 32][i] = x[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < COUNT; i++) x[i] = 0;
    for (int warp = 0; warp < blockDim.x / 32; warp++) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) x[i] += sums[warp][i];
    }
}
#endif

#endif
