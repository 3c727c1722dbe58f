// Checks of the GPU tests: one line a check with its error and bound, a count at the end, and the exit
// status. Also what every such test needs of memory: rows of bf16 up and down, and outputs poisoned before a
// run.
#ifndef TEST_GPU_CHECK_CUH
#define TEST_GPU_CHECK_CUH

#include "cuda/device/common.cuh"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    int passed, failed;
    bool quiet; // print only what fails
} GpuChecks;

// One line, "PASS name  error 1.2e-07  bound 1.0e-06". A NaN fails.
static inline void gpu_check(GpuChecks *checks, double error, double bound, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static inline void gpu_check(GpuChecks *checks, double error, double bound, const char *format, ...) {
    char name[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    bool pass = error <= bound;
    if (pass)
        checks->passed++;
    else
        checks->failed++;
    if (!pass || !checks->quiet)
        printf("%s  %-64s  error %.2e  bound %.2e\n", pass ? "PASS" : "FAIL", name, error, bound);
    fflush(stdout);
}

// Prints the count; the program's exit status.
static inline int gpu_checks_finish(const GpuChecks *checks) {
    printf("%d passed, %d failed\n", checks->passed, checks->failed);
    return checks->failed || !checks->passed ? 1 : 0;
}

// ||a - b|| / ||b|| (||a|| where b is zero); NaN when either holds one.
template <typename A, typename B> static inline double gpu_error(const A *a, const B *b, int64_t count) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        double d = (double)a[i] - (double)b[i];
        difference += d * d;
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(norm > 0 ? difference / norm : difference);
}

// How many bytes-wise different elements two arrays have: an error whose bound is 0.
template <typename T> static inline double gpu_differences(const T *a, const T *b, int64_t count) {
    int64_t different = 0;
    for (int64_t i = 0; i < count; i++) different += memcmp(a + i, b + i, sizeof *a) != 0;
    return (double)different;
}

template <typename T> static inline T *gpu_alloc(int64_t count) {
    T *data;
    CUDA_CHECK(cudaMalloc(&data, (size_t)(count > 0 ? count : 1) * sizeof(T)));
    return data;
}

// Huge as bf16 and as float32, impossible as an index: what nothing wrote is found.
static inline void gpu_poison(void *data, size_t bytes) {
    CUDA_CHECK(cudaMemset(data, 0xFE, bytes));
    CUDA_CHECK(cudaDeviceSynchronize());
}

template <typename T> static inline void gpu_upload(T *device, const T *host, int64_t count) {
    CUDA_CHECK(cudaMemcpy(device, host, (size_t)count * sizeof(T), cudaMemcpyHostToDevice));
    CUDA_CHECK(cudaDeviceSynchronize()); // it may return before pageable memory has arrived
}

// After all work of the device. Release with free().
template <typename T> static inline T *gpu_download(const T *device, int64_t count) {
    T *host = (T *)alloc_or_exit((size_t)count, sizeof(T));
    CUDA_CHECK(cudaDeviceSynchronize());
    CUDA_CHECK(cudaMemcpy(host, device, (size_t)count * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
}

// Host float32 (rounded to nearest) to device bf16 and back.
static inline void gpu_upload_bf16(bf16 *device, const float *host, int64_t count) {
    bf16 *rounded = (bf16 *)alloc_or_exit((size_t)count, sizeof *rounded);
    for (int64_t i = 0; i < count; i++) rounded[i] = __float2bfloat16(host[i]);
    gpu_upload(device, rounded, count);
    free(rounded);
}
static inline float *gpu_download_bf16(const bf16 *device, int64_t count) {
    bf16 *rounded = gpu_download(device, count);
    float *host = (float *)alloc_or_exit((size_t)count, sizeof *host);
    for (int64_t i = 0; i < count; i++) host[i] = __bfloat162float(rounded[i]);
    free(rounded);
    return host;
}

#endif
