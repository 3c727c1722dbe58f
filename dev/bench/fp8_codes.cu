// Rounding to FP8 against CUDA's own conversions, which run on the host too: all float32 there are. Needs the
// headers of CUDA, no GPU, and some minutes; dev/results/fp8.md has the command.
#include "cpu/fp8.h"

#include <cuda_fp8.h>

#include <cmath>
#include <cstdio>
#include <cstring>

static float by_cuda(float x, Fp8Format format) {
    __nv_fp8_interpretation_t kind = format == FP8_E4M3 ? __NV_E4M3 : __NV_E5M2;
    __half_raw half = __nv_cvt_fp8_to_halfraw(__nv_cvt_float_to_fp8(x, __NV_SATFINITE, kind), kind);
    return __half2float(__half(half));
}

int main() {
    long differ = 0;
    for (int format = FP8_E4M3; format <= FP8_E5M2; format++) {
        for (uint64_t i = 0; i < (uint64_t)1 << 32; i++) {
            uint32_t bits = (uint32_t)i;
            float x;
            memcpy(&x, &bits, sizeof x);
            float want = by_cuda(x, (Fp8Format)format), got = fp8_round((Fp8Format)format, x);
            if (std::isnan(want) && std::isnan(got)) continue;
            differ += memcmp(&want, &got, sizeof got) != 0;
        }
    }
    printf("%ld of 2^33 roundings differ\n", differ);
    return differ > 0;
}
