// Random tensors for the checks of kernels, and their way to the GPU and back.
#ifndef TEST_GPU_NUMBERS_CUH
#define TEST_GPU_NUMBERS_CUH

#include "dev/test/support/gpu_check.cuh"
#include "dev/test/support/gpu_mix.cuh"

#include <initializer_list>
#include <vector>

typedef std::vector<float> Floats;

// ---------------------------------------------------------------------------------------------------------------
// Random numbers: element i of a stream is a function of the seed and i, on the host and on the GPU.

// Of mean 0 and variance 1, uniform in +-sqrt(3), rounded to bf16.
static inline __host__ __device__ bf16 number(uint64_t seed, int64_t i) {
    uint64_t bits = mix(mix(seed) + 0x9e3779b97f4a7c15ull * (uint64_t)(i + 1));
    return __float2bfloat16(((float)(bits >> 40) / 16777216.0f - 0.5f) * 3.4641016f);
}

static inline Floats numbers(uint64_t seed, int64_t count, float scale = 1) {
    Floats x((size_t)count);
    for (int64_t i = 0; i < count; i++) {
        x[(size_t)i] = __bfloat162float(__float2bfloat16(scale * __bfloat162float(number(seed, i))));
    }
    return x;
}

static __global__ void fill_kernel(bf16 *out, int64_t count, uint64_t seed) {
    int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (i < count) out[i] = number(seed, i);
}

static inline bf16 *filled(int64_t count, uint64_t seed) {
    bf16 *data = gpu_alloc<bf16>(count);
    fill_kernel<<<(unsigned)ceil_div(count, 256), 256>>>(data, count, seed);
    CUDA_CHECK(cudaGetLastError());
    CUDA_CHECK(cudaDeviceSynchronize());
    return data;
}

// Device copies of host values, as bf16 or as they are, and poisoned room for results.
static inline bf16 *up_bf16(const Floats &x) {
    bf16 *device = gpu_alloc<bf16>((int64_t)x.size());
    gpu_upload_bf16(device, x.data(), (int64_t)x.size());
    return device;
}
template <typename T> static inline T *up(const std::vector<T> &x) {
    T *device = gpu_alloc<T>((int64_t)x.size());
    gpu_upload(device, x.data(), (int64_t)x.size());
    return device;
}
template <typename T> static inline T *room(int64_t count) {
    T *device = gpu_alloc<T>(count);
    gpu_poison(device, (size_t)count * sizeof(T));
    return device;
}
static inline void release(std::initializer_list<void *> all) {
    for (void *memory : all) CUDA_CHECK(cudaFree(memory));
}

// Elements of a bf16 or float32 tensor on the GPU.
static inline Floats down(const bf16 *device, int64_t count) {
    float *host = gpu_download_bf16(device, count);
    Floats x(host, host + count);
    free(host);
    return x;
}
template <typename T> static inline std::vector<T> down_as(const T *device, int64_t count) {
    T *host = gpu_download(device, count);
    std::vector<T> x(host, host + count);
    free(host);
    return x;
}
static inline double error_of(const Floats &a, const Floats &b) {
    return a.size() == b.size() ? gpu_error(a.data(), b.data(), (int64_t)a.size()) : NAN;
}

#endif
