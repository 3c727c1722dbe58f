// Golden cases; see golden.h.
#include "dev/test/support/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t mix(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

double golden_uniform(uint32_t seed, uint32_t stream, uint32_t index) {
    return (double)(mix(mix(seed * 0x9E3779B9u + stream) + index) >> 8) * 0x1p-24;
}

double golden_z(uint32_t seed, uint32_t stream, uint32_t row, uint32_t col, uint32_t cols) {
    double sum = 0;
    for (uint32_t j = 0; j < 4; j++) sum += golden_uniform(seed, 16 * stream + j, row * cols + col);
    return (sum - 2) * sqrt(3.0);
}

float golden_bf16(double x) {
    float single = (float)x;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    bits = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
    memcpy(&single, &bits, sizeof single);
    return single;
}

// Rows of a layer's input, scaled or not.
static float *make_input(const GoldenLayer *layer, uint32_t stream, bool scaled) {
    int64_t rows = layer->N * layer->H, D = layer->D;
    float *x = (float *)alloc_or_exit((size_t)(rows * D), sizeof *x);
    for (int64_t r = 0; r < rows; r++) {
        double u = golden_uniform(layer->seed, 16 * stream + 4, (uint32_t)r);
        double scale = scaled ? 0.25 + 2 * u * u * u : 1;
        for (int64_t c = 0; c < D; c++) {
            double z = golden_z(layer->seed, stream, (uint32_t)r, (uint32_t)c, (uint32_t)D);
            x[r * D + c] = golden_bf16(z * scale);
        }
    }
    return x;
}

static float *make_gate(const GoldenLayer *layer) {
    int64_t rows = layer->N * layer->H;
    float *gate = (float *)alloc_or_exit((size_t)rows, sizeof *gate);
    for (int64_t r = 0; r < rows; r++) {
        double z = 4 * golden_uniform(layer->seed, 64, (uint32_t)r) - 2;
        gate[r] = (float)(-log1p(exp(-z)) / 16);
    }
    return gate;
}

// A whole file of known size.
static void *read_array(const char *folder, const char *name, int64_t count, size_t size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    void *data = alloc_or_exit((size_t)count, size);
    FILE *file = fopen(path, "rb");
    if (!file || fread(data, size, (size_t)count, file) != (size_t)count || fgetc(file) != EOF) {
        fprintf(stderr, "%s: cannot be read as %lld values of %zu bytes\n", path, (long long)count, size);
        exit(1);
    }
    fclose(file);
    return data;
}

static bool read_meta(GoldenLayer *layer, const char *folder) {
    char path[4096], name[32], value[32];
    snprintf(path, sizeof path, "%s/meta", folder);
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "%s: no such golden case\n", path);
        return false;
    }
    static const char *const scorers[] = {"norm", "dilated", "gla"};
    while (fscanf(file, "%31s %31s", name, value) == 2) {
        int64_t number = atoll(value);
        if (strcmp(name, "scorer") == 0) {
            for (int i = 0; i < 3; i++) {
                if (strcmp(value, scorers[i]) == 0) layer->config.scorer = (Scorer)i;
            }
        }
        if (strcmp(name, "seed") == 0) layer->seed = (uint32_t)number;
        if (strcmp(name, "N") == 0) layer->N = number;
        if (strcmp(name, "H") == 0) layer->H = number;
        if (strcmp(name, "D") == 0) layer->D = number;
        if (strcmp(name, "S") == 0) layer->S = number;
        if (strcmp(name, "levels") == 0) layer->config.levels = number;
        if (strcmp(name, "pool") == 0) layer->config.pool = number;
        if (strcmp(name, "topk") == 0) layer->config.topk = number;
        if (strcmp(name, "dilation") == 0) layer->config.dilation = number;
    }
    fclose(file);
    return true;
}

bool golden_layer_open(GoldenLayer *layer, const char *folder) {
    memset(layer, 0, sizeof *layer);
    if (!read_meta(layer, folder)) return false;
    Error error;
    if (!hierarchy_create(&layer->config, layer->N, &layer->hierarchy, &error)) {
        fprintf(stderr, "%s: %s\n", folder, error.message);
        return false;
    }
    layer->q = make_input(layer, 0, true);
    layer->k = make_input(layer, 1, true);
    layer->v = make_input(layer, 2, true);
    layer->dout = make_input(layer, 3, false);
    layer->gate = make_gate(layer);

    int64_t E = layer->hierarchy.n_entries, HD = layer->H * layer->D;
    layer->n_rows = (layer->N - 3 + 6) / 7;
    layer->score_q = (float *)read_array(folder, "score_q.f32", layer->H * E, sizeof(float));
    layer->score_k = (float *)read_array(folder, "score_k.f32", layer->H * E, sizeof(float));
    layer->entries = (int32_t *)read_array(folder, "idx.i32", layer->H * layer->S, sizeof(int32_t));
    layer->out = (float *)read_array(folder, "out.rows.f32", layer->n_rows * HD, sizeof(float));
    layer->dq = (float *)read_array(folder, "dq.rows.f32", layer->n_rows * HD, sizeof(float));
    layer->dk = (float *)read_array(folder, "dk.rows.f32", layer->n_rows * HD, sizeof(float));
    layer->dv = (float *)read_array(folder, "dv.rows.f32", layer->n_rows * HD, sizeof(float));
    layer->out_sum = (double *)read_array(folder, "out.sum.f64", HD, sizeof(double));
    layer->dq_sum = (double *)read_array(folder, "dq.sum.f64", HD, sizeof(double));
    layer->dv_sum = (double *)read_array(folder, "dv.sum.f64", HD, sizeof(double));
    return true;
}

void golden_layer_close(GoldenLayer *layer) {
    void *arrays[] = {layer->q,       layer->k,       layer->v,       layer->dout,   layer->gate,
                      layer->score_q, layer->score_k, layer->entries, layer->out,    layer->dq,
                      layer->dk,      layer->dv,      layer->out_sum, layer->dq_sum, layer->dv_sum};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
}

double relative_error(const float *a, const float *b, int64_t count) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(difference / norm);
}

double golden_rows_error(const GoldenLayer *layer, const float *x, const float *rows) {
    int64_t HD = layer->H * layer->D;
    double difference = 0, norm = 0;
    for (int64_t r = 0; r < layer->n_rows; r++) {
        for (int64_t i = 0; i < HD; i++) {
            double expected = rows[r * HD + i], d = x[(3 + 7 * r) * HD + i] - expected;
            difference += d * d;
            norm += expected * expected;
        }
    }
    return sqrt(difference / norm);
}

double golden_sum_error(const GoldenLayer *layer, const float *x, const double *sum) {
    int64_t HD = layer->H * layer->D;
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < HD; i++) {
        double total = 0;
        for (int64_t n = 0; n < layer->N; n++) total += x[n * HD + i];
        difference += (total - sum[i]) * (total - sum[i]);
        norm += sum[i] * sum[i];
    }
    return sqrt(difference / norm);
}
