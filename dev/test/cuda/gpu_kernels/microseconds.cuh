// How long work on the GPU takes.
#ifndef TEST_GPU_KERNELS_MICROSECONDS_CUH
#define TEST_GPU_KERNELS_MICROSECONDS_CUH

#include "cuda/device/common.cuh"

#include <algorithm>
#include <vector>

// Median of 20 runs in microseconds.
template <typename Run> static inline double microseconds(Run run, cudaStream_t stream = 0) {
    std::vector<float> times;
    cudaEvent_t begin, end;
    CUDA_CHECK(cudaEventCreate(&begin));
    CUDA_CHECK(cudaEventCreate(&end));
    for (int i = 0; i < 23; i++) {
        float ms;
        CUDA_CHECK(cudaEventRecord(begin, stream));
        run();
        CUDA_CHECK(cudaEventRecord(end, stream));
        CUDA_CHECK(cudaEventSynchronize(end));
        CUDA_CHECK(cudaEventElapsedTime(&ms, begin, end));
        if (i >= 3) times.push_back(ms);
    }
    std::sort(times.begin(), times.end());
    return 1e3 * times[times.size() / 2];
}

#endif
