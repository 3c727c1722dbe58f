// The GPU of this process; see device.cuh.
#include "cuda/device/device.cuh"
#include "core/engine/engine.h"
#include "cuda/device/common.cuh"

#include <stdio.h>
#include <string.h>

// Dense bf16 with float32 accumulation, without sparsity, as the makers' data sheets give it. A GPU is found
// by the first row whose words are all in its name.
static const struct {
    const char *word, *other;
    double tera_flops;
} PEAKS[] = {
    {"GB300", "", 2500},     {"B300", "", 2250},      {"GB200", "", 2500},  {"B200", "", 2250},
    {"GH200", "", 989},      {"H200", "NVL", 835},    {"H200", "", 989},    {"H100", "PCIe", 756},
    {"H100", "NVL", 835},    {"H100", "", 989},       {"H800", "", 989},    {"H20", "", 148},
    {"A100", "", 312},       {"A800", "", 312},       {"L40S", "", 362},    {"L40", "", 181},
    {"RTX 4090", "", 165.2}, {"RTX 5090", "", 209.5}, {"RTX 3090", "", 71}, {"A10", "", 125},
};

bool cuda_present(void) {
    int count = 0;
    bool present = cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
    cudaGetLastError(); // that there is none is no error
    return present;
}

bool engine_cuda_device(const Ranks *ranks, Error *error) {
    int count, device;
    CUDA_TRY(cudaGetDeviceCount(&count), error);
    if (!ranks_device(ranks, count, &device, error)) return false;
    CUDA_TRY(cudaSetDevice(device), error);
    return true;
}

double cuda_describe_device(char *name, size_t size) {
    int device;
    cudaDeviceProp properties;
    CUDA_CHECK(cudaGetDevice(&device));
    CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
    snprintf(name, size, "%s", properties.name);
    for (const auto &peak : PEAKS) {
        if (strstr(name, peak.word) && strstr(name, peak.other)) return peak.tera_flops * 1e12;
    }
    return 0;
}
