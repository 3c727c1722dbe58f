// Passes over all layers, and the buffers that each layer sees; see passes.cuh.
#include "cuda/engine/passes.cuh"
#include "cuda/kernels/cross_entropy.cuh"
#include "cuda/kernels/rmsnorm.cuh"

#include <assert.h>
#include <string.h>

// ---- layers

// Where a parameter lies in a flat array: of trained ones, or of frozen ones.
static int64_t offset_of(const CudaEngine *e, ParamRole role, int layer) {
    int index = param_find(&e->base.table, role, layer);
    assert(index >= 0);
    return e->base.table.params[index].offset;
}

static CudaBlockWeights block_weights(const CudaEngine *e, int layer) {
    CudaBlockWeights w;
    memset(&w, 0, sizeof w);
    w.attention_norm = cuda_optimizer_vector(&e->optimizer, PARAM_ATTENTION_NORM, layer);
    w.qkv = e->optimizer.copies + offset_of(e, PARAM_Q, layer);
    w.qkv_bias = cuda_optimizer_vector(&e->optimizer, PARAM_Q_BIAS, layer);
    w.qk_norm = cuda_optimizer_vector(&e->optimizer, PARAM_Q_NORM, layer);
    w.o = e->optimizer.copies + offset_of(e, PARAM_O, layer);
    w.ffn_norm = cuda_optimizer_vector(&e->optimizer, PARAM_FFN_NORM, layer);
    w.gate_up = e->optimizer.copies + offset_of(e, PARAM_GATE, layer);
    w.down = e->optimizer.copies + offset_of(e, PARAM_DOWN, layer);
    if (e->frozen) {
        w.gla_weight = e->frozen + offset_of(e, PARAM_GLA_WEIGHT, layer);
        w.gla_bias = e->frozen + offset_of(e, PARAM_GLA_BIAS, layer);
    }
    return w;
}

// Where a pass adds up the gradient of a parameter; NULL where the model has none.
static float *gradient_of(const CudaEngine *e, ParamRole role, int layer) {
    int index = param_find(&e->base.table, role, layer);
    return index < 0 ? NULL : cuda_optimizer_whole_gradient(&e->optimizer, &e->base.table.params[index]);
}

static BlockGradients block_gradients(const CudaEngine *e, int layer) {
    BlockGradients g;
    g.attention_norm = gradient_of(e, PARAM_ATTENTION_NORM, layer);
    g.qkv = gradient_of(e, PARAM_Q, layer);
    g.qkv_bias = gradient_of(e, PARAM_Q_BIAS, layer);
    g.qk_norm = gradient_of(e, PARAM_Q_NORM, layer);
    g.o = gradient_of(e, PARAM_O, layer);
    g.ffn_norm = gradient_of(e, PARAM_FFN_NORM, layer);
    g.gate_up = gradient_of(e, PARAM_GATE, layer);
    g.down = gradient_of(e, PARAM_DOWN, layer);
    return g;
}

// Of attention's output and statistics there are attention_slots: where layers under Lighthouse keep none,
// the dense layers' own come first and the last one all others share, without statistics.
CudaBlockActivations pass_activations(const CudaEngine *e, int layer) {
    const EngineConfig *config = &e->base.config;
    const ModelConfig *m = &config->model;
    int64_t rows = context_rows(config), slot = layer % e->kept_layers, dense = 0;
    for (int i = 0; i < layer; i++) dense += config->dense_layer[i];
    bool shares = e->attention_slots < e->kept_layers && !config->dense_layer[layer];
    int64_t attention_slot = slot;
    if (e->attention_slots < e->kept_layers) attention_slot = shares ? e->attention_slots - 1 : dense;
    CudaBlockActivations a = e->acts;
    a.attention_shared = shares;
    a.qkv += slot * rows * (m->n_heads + 2 * context_heads(m->n_kv_heads, e->cp.size)) * m->head_dim;
    if (a.qk) a.qk += slot * rows * (m->n_heads + m->n_kv_heads) * m->head_dim;
    a.attention += attention_slot * rows * m->n_heads * m->head_dim;
    a.lse = a.lse && !shares ? a.lse + attention_slot * rows * m->n_heads : NULL;
    if (a.exchanged_out) a.exchanged_out += attention_slot * rows * m->n_heads * m->head_dim;
    a.mid += slot * rows * m->dim;
    a.gate_up += slot * rows * 2 * m->ffn_dim;
    if (config->use_lighthouse) {
        int64_t heads = (e->kept_layers > 1 ? layer - dense : 0) * e->lighthouse.B * e->lighthouse.H;
        int64_t selected = heads * e->lighthouse.hierarchy.n_selected;
        a.lighthouse.entries += selected;
        a.lighthouse.positions += heads * e->lighthouse.hierarchy.n_entries;
        a.lighthouse.q += selected * e->lighthouse.D * (cuda_cp_of(e) ? 3 : 1);
        if (a.lighthouse.k) a.lighthouse.k += selected * e->lighthouse.D;
        if (a.lighthouse.v) a.lighthouse.v += selected * e->lighthouse.D;
        a.lighthouse.out += selected * e->lighthouse.D;
        a.lighthouse.lse += selected;
    }
    return a;
}

static bf16 *block_input(const CudaEngine *e, int64_t layer) {
    const EngineConfig *config = &e->base.config;
    return e->x + layer % e->kept_inputs * context_rows(config) * config->model.dim;
}

// A range that a profiler shows, from here to the end of the block, whatever way that is left.
struct Range {
    explicit Range(const char *name) { nvtxRangePushA(name); }
    Range(const char *name, int layer) {
        char text[32];
        snprintf(text, sizeof text, "%s %d", name, layer);
        nvtxRangePushA(text);
    }
    ~Range() { nvtxRangePop(); }
    Range(const Range &) = delete;
    Range &operator=(const Range &) = delete;
};

static bool layer_forward(CudaEngine *e, bf16 *x_out, const Pass *pass, int layer, Error *error) {
    CudaBlockWeights weights = block_weights(e, layer);
    CudaBlockActivations acts = pass_activations(e, layer);
    Pass own = pass_of_layer(pass, &e->base.config, layer, e->forced[layer]);
    Range range("layer", layer);
    cudaEvent_t before = pass->keep ? offload_before(&e->offload, layer + 1) : NULL;
    bool ok = cuda_block_forward(x_out, before, block_input(e, layer), &weights, &acts, &e->scratch, &own,
                                 &e->tools, error);
    gpu_mark(&e->watch);
    return ok;
}

static bool layer_backward(CudaEngine *e, const Pass *pass, int layer, Error *error) {
    cuda_optimizer_open(&e->optimizer, layer + 1);
    CudaBlockWeights weights = block_weights(e, layer);
    BlockGradients gradients = block_gradients(e, layer);
    CudaBlockActivations acts = pass_activations(e, layer);
    Pass own = pass_of_layer(pass, &e->base.config, layer, e->forced[layer]);
    Range range("layer backward", layer);
    bool ok = cuda_block_backward(e->dx, block_input(e, layer), &weights, &gradients, &acts, &e->scratch,
                                  &own, &e->tools, error);
    gpu_mark(&e->watch);
    return ok;
}

// ---- passes over all layers

bool pass_upload(CudaEngine *e, const Pass *pass, const int32_t *tokens, int64_t stride, int64_t count,
                 Error *error) {
    int64_t V = e->base.config.model.vocab_size, all = pass->B * count;
    TRY(gpu_wait(&e->watch, "the last pass", error)); // the buffer may still be read from
    for (int64_t b = 0; b < pass->B; b++) {
        for (int64_t i = 0; i < count; i++) {
            int32_t token = tokens[b * stride + i];
            if (token < 0 || token >= V) {
                return error_set(error, STATUS_DATA,
                                 "token %lld is %d, the vocabulary has 0 to %lld: data and model differ",
                                 (long long)(b * stride + i), token, (long long)V - 1);
            }
            e->host.tokens[b * count + i] = token;
        }
    }
    CUDA_TRY(cudaMemcpyAsync(e->tokens, e->host.tokens, (size_t)all * sizeof *tokens, cudaMemcpyHostToDevice,
                             e->context.stream),
             error);
    return true;
}

// A bf16 is not finite where all bits of its exponent are set.
static __global__ void find_nonfinite_kernel(int *first, const uint16_t *x, int64_t count, int layer) {
    bool found = false;
    const int64_t stride = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < count; i += stride) {
        found = found || (x[i] & 0x7f80) == 0x7f80;
    }
    if (found) atomicMin(first, layer);
}

// Notes the output of layer `layer` where it is the first that is not finite.   nonfinite: in device memory
static void look_at_output(const CudaEngine *e, const Pass *pass, int layer, int *nonfinite) {
    find_nonfinite_kernel<<<1024, 256, 0, e->context.stream>>>(
        nonfinite, (const uint16_t *)block_input(e, layer + 1), pass->B * pass->N * pass->model->dim, layer);
    CUDA_CHECK(cudaGetLastError());
}

bool pass_forward(CudaEngine *e, const Pass *pass, int64_t stride, int *nonfinite, Error *error) {
    const ModelConfig *m = &e->base.config.model;
    Range range("forward");
    cuda_part_begin(&e->clock, PART_EMBEDDING);
    cuda_embedding_forward(block_input(e, 0), e->tokens, stride,
                           e->optimizer.copies + offset_of(e, PARAM_EMBEDDING, -1), pass->B, pass->N, m->dim,
                           e->context.stream);
    if (nonfinite) look_at_output(e, pass, -1, nonfinite);
    bool ok = true;
    for (int layer = 0; ok && layer < m->n_layers; layer++) {
        if (pass->keep) offload_store(&e->offload, layer, block_input(e, layer));
        ok = layer_forward(e, block_input(e, layer + 1), pass, layer, error);
        if (ok && nonfinite) look_at_output(e, pass, layer, nonfinite);
    }
    return ok;
}

void pass_final_norm(CudaEngine *e, int64_t first, int64_t count) {
    const ModelConfig *m = &e->base.config.model;
    assert(count <= e->scratch.tile);
    cuda_rmsnorm_forward(e->scratch.normed, block_input(e, m->n_layers) + first * m->dim,
                         cuda_optimizer_vector(&e->optimizer, PARAM_FINAL_NORM, -1), count, m->dim,
                         m->norm_eps, e->context.stream);
}

// Losses of the rows of a tile, whose norm is in scratch.normed; for a backward that becomes its gradient.
static bool tile_head(CudaEngine *e, const Pass *pass, int64_t tile, int64_t rows, double scale,
                      Error *error) {
    const ModelConfig *m = &e->base.config.model;
    int64_t C = m->dim, offset = offset_of(e, PARAM_HEAD, -1);
    int64_t width = model_padded_vocab(m->vocab_size);
    int64_t chunk = cross_entropy_chunk(context_rows(&e->base.config), width);
    Matmul *matmul = e->tools.matmul;
    cuda_part_begin(&e->clock, PART_HEAD);
    for (int64_t first = 0; first < rows; first += chunk) {
        int64_t count = rows - first < chunk ? rows - first : chunk;
        bf16 *x = e->scratch.normed + first * C;
        TRY(cuda_matmul_forward(matmul, e->logits, x, e->optimizer.copies + offset, NULL, count, C, width,
                                error));
        cuda_cross_entropy(e->logits, e->nats, e->tokens + 1, pass->N + 1, pass->N, tile + first, count,
                           m->vocab_size, scale, pass->keep, e->context.stream);
        if (!pass->keep) continue;
        TRY(cuda_matmul_backward_weight(matmul, gradient_of(e, PARAM_HEAD, -1), e->logits, x, count, C, width,
                                        error));
        TRY(cuda_matmul_backward_input(matmul, x, e->logits, e->optimizer.copies + offset, count, C, width,
                                       error));
    }
    return true;
}

// From the gradient of a tile's norm, in scratch.normed, to that of what it read.
static void final_norm_backward(CudaEngine *e, int64_t first, int64_t count) {
    const ModelConfig *m = &e->base.config.model;
    cuda_rmsnorm_backward(e->dx + first * m->dim, gradient_of(e, PARAM_FINAL_NORM, -1), e->scratch.normed,
                          e->scratch.partial_sums, e->scratch.normed,
                          block_input(e, m->n_layers) + first * m->dim,
                          cuda_optimizer_vector(&e->optimizer, PARAM_FINAL_NORM, -1), count, m->dim,
                          m->norm_eps, e->context.stream);
}

bool pass_head(CudaEngine *e, const Pass *pass, double scale, Error *error) {
    int64_t rows = pass->B * pass->N, tile = e->scratch.tile, C = e->base.config.model.dim;
    cuda_part_begin(&e->clock, PART_ELEMENTWISE);
    if (pass->keep)
        CUDA_TRY(cudaMemsetAsync(e->dx, 0, (size_t)(rows * C) * sizeof *e->dx, e->context.stream), error);
    for (int64_t first = 0; first < rows; first += tile) {
        int64_t count = rows - first < tile ? rows - first : tile;
        cuda_part_begin(&e->clock, PART_ELEMENTWISE);
        pass_final_norm(e, first, count);
        TRY(tile_head(e, pass, first, count, scale, error));
        cuda_part_begin(&e->clock, PART_ELEMENTWISE);
        if (pass->keep) final_norm_backward(e, first, count);
    }
    cuda_part_begin(&e->clock, PART_HEAD);
    sum_ordered(e->total_nats, e->nats, rows, e->context.stream);
    return true;
}

// Adds up the embedding's gradient; the host sorts the tokens while the GPU is busy with the layers.
static bool embedding_gradient(CudaEngine *e, const Pass *pass, Error *error) {
    const ModelConfig *m = &e->base.config.model;
    const EmbeddingOrder *order = &e->host.order;
    cudaStream_t stream = e->context.stream;
    int64_t rows = pass->B * pass->N;
    cuda_part_begin(&e->clock, PART_EMBEDDING);
    e->order.n_pieces = order->n_pieces;
    e->order.n_long = order->n_long;
    CUDA_TRY(cudaMemcpyAsync(e->order.rows, order->rows, (size_t)rows * sizeof *order->rows,
                             cudaMemcpyHostToDevice, stream),
             error);
    CUDA_TRY(cudaMemcpyAsync(e->order.pieces, order->pieces, (size_t)order->n_pieces * sizeof *order->pieces,
                             cudaMemcpyHostToDevice, stream),
             error);
    CUDA_TRY(cudaMemcpyAsync(e->order.long_tokens, order->long_tokens,
                             (size_t)order->n_long * sizeof *order->long_tokens, cudaMemcpyHostToDevice,
                             stream),
             error);
    cuda_embedding_backward(gradient_of(e, PARAM_EMBEDDING, -1), e->embedding_partial, e->dx, &e->order,
                            m->dim, stream);
    return true;
}

// A bucket's gradients are complete: their sum over the ranks begins.
static void bucket_done(CudaEngine *e, bool last, int bucket) {
    if (last || e->optimizer.shares) cuda_optimizer_begin_sum(&e->optimizer, bucket);
}

// The input of a layer before its backward, and its outputs once more.
static bool layer_again(CudaEngine *e, const Pass *pass, int layer, Error *error) {
    if (offload_has(&e->offload, layer)) {
        cuda_part_begin(&e->clock, PART_HOST);
        offload_await(&e->offload, layer);
    }
    bool again = e->base.config.recompute && layer < e->base.config.model.n_layers - 1;
    return !again || layer_forward(e, NULL, pass, layer, error);
}

// The input of a layer is not read any more: that of the layer whose turn it is comes into its place.
static void input_done(CudaEngine *e, int64_t layer) {
    int64_t next = layer - OFFLOAD_ON_GPU;
    if (offload_has(&e->offload, next)) offload_fetch(&e->offload, next, block_input(e, next));
}

bool pass_backward(CudaEngine *e, const Pass *pass, bool last, Error *error) {
    const EngineConfig *config = &e->base.config;
    const ModelConfig *m = &config->model;
    bool ok = true;
    Range range("backward");
    bucket_done(e, last, (int)m->n_layers + 1);
    input_done(e, m->n_layers);
    for (int layer = (int)m->n_layers - 1; ok && layer >= 0; layer--) {
        ok = layer_again(e, pass, layer, error) && layer_backward(e, pass, layer, error);
        if (ok) input_done(e, layer);
        if (ok) bucket_done(e, last, layer + 1);
    }
    if (ok) cuda_optimizer_open(&e->optimizer, 0);
    ok = ok && embedding_gradient(e, pass, error);
    if (ok) bucket_done(e, last, 0);
    return ok;
}

// ---- what a pass ends with

bool pass_fetch_nats(CudaEngine *e, double *nats, Error *error) {
    cuda_part_end(&e->clock);
    CUDA_TRY(
        cudaMemcpyAsync(e->host.nats, e->total_nats, sizeof *nats, cudaMemcpyDeviceToHost, e->context.stream),
        error);
    TRY(gpu_wait(&e->watch, "the loss of a pass", error));
    cuda_parts_collect(&e->clock);
    *nats = *e->host.nats;
    return true;
}

bool pass_fetch_logits(CudaEngine *e, int64_t row, float *logits, Error *error) {
    const ModelConfig *m = &e->base.config.model;
    const CudaCp *cp = cuda_cp_of(e);
    if (!cp || cp->index == cp->size - 1) {
        cuda_part_begin(&e->clock, PART_ELEMENTWISE);
        pass_final_norm(e, row, 1);
        TRY(matmul_forward_float32(e->tools.matmul, e->last_logits, e->scratch.normed,
                                   e->optimizer.copies + offset_of(e, PARAM_HEAD, -1), 1, m->dim,
                                   model_padded_vocab(m->vocab_size), error));
    } else {
        CUDA_TRY(cudaMemsetAsync(e->last_logits, 0, (size_t)m->vocab_size * sizeof *e->last_logits,
                                 e->context.stream),
                 error);
    }
    if (cp) { // all of them but one are zero
        collectives_all_reduce(cp->queue, e->last_logits, m->vocab_size, ELEMENT_F32);
        cuda_context_wait(cp, "the logits of the last slice");
    }
    // The copy to the caller's memory may wait for all that is before it, which other ranks can hold up.
    if (ranks_many(e->base.config.ranks)) TRY(gpu_wait(&e->watch, "the logits", error));
    CUDA_TRY(cudaMemcpyAsync(logits, e->last_logits, (size_t)m->vocab_size * sizeof *logits,
                             cudaMemcpyDeviceToHost, e->context.stream),
             error);
    return true;
}
