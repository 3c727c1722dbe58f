// Matrix products through cuBLASLt, against their CPU twins, and their timings.
#include "cpu/cpu.h"
#include "cuda/libraries/matmul.cuh"
#include "dev/test/cuda/gpu_kernels/checks.cuh"
#include "dev/test/cuda/gpu_kernels/microseconds.cuh"

typedef struct {
    CudaContext context;
    Matmul *matmul;
    void *workspace;
} Products;

static void must(bool ok, const Error *error) {
    if (!ok) error_exit(error);
}

static void products_open(Products *products) {
    Error error;
    must(cuda_context_create(&products->context, 0, &error), &error);
    CUDA_CHECK(cudaMalloc(&products->workspace, MATMUL_WORKSPACE_BYTES));
    products->matmul = matmul_create(&products->context, products->workspace);
}

static void products_close(Products *products) {
    matmul_destroy(products->matmul);
    CUDA_CHECK(cudaFree(products->workspace));
    cuda_context_destroy(&products->context);
}

static void check_matmul(GpuChecks *checks, Matmul *matmul, int64_t rows, int64_t n_in, int64_t n_out) {
    Error error;
    Floats in = numbers(1, rows * n_in), weight = numbers(2, n_out * n_in),
           residual = numbers(3, rows * n_out);
    Floats dout = numbers(4, rows * n_out), dweight = numbers(5, n_out * n_in);
    Floats out((size_t)(rows * n_out)), din((size_t)(rows * n_in));
    bf16 *in_gpu = up_bf16(in), *weight_gpu = up_bf16(weight), *residual_gpu = up_bf16(residual);
    bf16 *dout_gpu = up_bf16(dout), *out_gpu = room<bf16>(rows * n_out), *din_gpu = room<bf16>(rows * n_in);
    float *dweight_gpu = up(dweight), *exact = room<float>(rows * n_out);

    Places places = {1, rows, 0};
    cpu_matmul_forward(out.data(), in.data(), weight.data(), places, n_in, n_out);
    must(cuda_matmul_forward(matmul, out_gpu, in_gpu, weight_gpu, NULL, rows, n_in, n_out, &error), &error);
    gpu_check(checks, error_of(down(out_gpu, rows * n_out), out), BOUND_BF16,
              "matmul forward %lld x %lld -> %lld", (long long)rows, (long long)n_in, (long long)n_out);
    must(matmul_forward_float32(matmul, exact, in_gpu, weight_gpu, rows, n_in, n_out, &error), &error);
    gpu_check(checks, error_of(down_as(exact, rows * n_out), out), BOUND_FLOAT32,
              "matmul forward to float32");
    for (size_t i = 0; i < out.size(); i++) out[i] += residual[i];
    gpu_poison(out_gpu, (size_t)(rows * n_out) * sizeof(bf16));
    must(cuda_matmul_forward(matmul, out_gpu, in_gpu, weight_gpu, residual_gpu, rows, n_in, n_out, &error),
         &error);
    gpu_check(checks, error_of(down(out_gpu, rows * n_out), out), BOUND_BF16, "matmul forward with residual");
    cpu_matmul_backward_input(din.data(), dout.data(), weight.data(), rows, n_in, n_out, false);
    must(cuda_matmul_backward_input(matmul, din_gpu, dout_gpu, weight_gpu, rows, n_in, n_out, &error),
         &error);
    gpu_check(checks, error_of(down(din_gpu, rows * n_in), din), BOUND_BF16, "matmul backward, input");
    cpu_matmul_backward_weight(dweight.data(), dout.data(), in.data(), rows, n_in, n_out);
    must(cuda_matmul_backward_weight(matmul, dweight_gpu, dout_gpu, in_gpu, rows, n_in, n_out, &error),
         &error);
    gpu_check(checks, error_of(down_as(dweight_gpu, n_out * n_in), dweight), BOUND_FLOAT32,
              "matmul backward, weight");
    release({in_gpu, weight_gpu, residual_gpu, dout_gpu, out_gpu, din_gpu, dweight_gpu, exact});
}

void check_products(GpuChecks *checks) {
    Products products;
    products_open(&products);
    // The last three have tiles for more than two waves forward, backward to the input, and to the weight.
    const int64_t shapes[][3] = {{1, 64, 8},        {1, 1024, 320},    {7, 72, 40},       {513, 320, 200},
                                 {1000, 1024, 328}, {4104, 264, 2056}, {4104, 2056, 264}, {264, 4104, 2056}};
    for (const int64_t *shape : shapes) check_matmul(checks, products.matmul, shape[0], shape[1], shape[2]);
    products_close(&products);
}

void time_products(void) {
    const int64_t rows = 98304, widest = 3072;
    const int64_t shapes[][3] = {
        {rows, 1024, 3072}, {rows, 1024, 1024}, {rows, 1536, 1024}, {4096, 1024, 128256}, {rows, 1024, 320}};
    Error error;
    Products products;
    products_open(&products);
    bf16 *in = filled(rows * widest, 1), *out = filled(4096 * 128256, 2), *weight = filled(128256 * 1024, 3);
    bf16 *residual = filled(rows * 1024, 4);
    float *dweight = room<float>(128256 * 1024);
    for (const int64_t *s : shapes) {
        double flops = 2.0 * (double)s[0] * (double)s[1] * (double)s[2];
        bool ok = true, adds = s[2] == 1024; // the projections back to the residual stream
        double us[3] = {microseconds(
                            [&] {
                                ok = ok &&
                                     cuda_matmul_forward(products.matmul, out, in, weight,
                                                         adds ? residual : NULL, s[0], s[1], s[2], &error);
                            },
                            products.context.stream),
                        microseconds(
                            [&] {
                                ok = ok && cuda_matmul_backward_input(products.matmul, in, out, weight, s[0],
                                                                      s[1], s[2], &error);
                            },
                            products.context.stream),
                        microseconds(
                            [&] {
                                ok = ok && cuda_matmul_backward_weight(products.matmul, dweight, out, in,
                                                                       s[0], s[1], s[2], &error);
                            },
                            products.context.stream)};
        must(ok, &error);
        printf("product %6lld x %4lld -> %6lld: forward %8.1f us %4.0f TFLOP/s, input %8.1f us %4.0f, weight "
               "%8.1f us %4.0f\n",
               (long long)s[0], (long long)s[1], (long long)s[2], us[0], flops / us[0] / 1e6, us[1],
               flops / us[1] / 1e6, us[2], flops / us[2] / 1e6);
    }
    release({in, out, weight, residual, dweight});
    products_close(&products);
}
