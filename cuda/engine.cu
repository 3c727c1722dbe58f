// The CUDA engine: the whole decoder in one allocation on one GPU, behind the interface of core/engine.h; its
// twin is cpu/engine.c. All computing goes to one stream, what crosses between ranks to queues beside it; the
// host waits only where a result goes back to it.
#include "cuda/engine.cuh"
#include "cuda/cross_entropy.cuh"
#include "cuda/device.cuh"
#include "cuda/rmsnorm.cuh"
#include "cuda/rope.cuh"

#include <assert.h>
#include <string.h>

// Goes up with the error when a call fails.
#define TRY(call)                  \
    do {                           \
        if (!(call)) return false; \
    } while (0)

// ---- making and freeing

static CudaEngine *engine_new(const EngineConfig *config) {
    CudaEngine *e = (CudaEngine *)alloc_or_exit(1, sizeof *e);
    e->base.api = engine_cuda();
    e->base.config = *config;
    e->base.table =
        param_table_create(&config->model, config->use_lighthouse && config->lighthouse.scorer == SCORER_GLA);
    param_table_shard(&e->base.table, ranks_count(config->ranks));
    e->optimizer.table = &e->base.table;
    e->optimizer.ranks = config->ranks;
    return e;
}

// The card's context and cuDNN: what exact plans need.
static bool engine_start(CudaEngine *e, Error *error) {
    int device;
    CUDA_TRY(cudaGetDevice(&device), error);
    TRY(cuda_context_create(&e->context, device, error));
    e->tools.context = &e->context;
    e->optimizer.stream = e->context.stream;
    e->optimizer.clock = &e->clock;
    // Each layer is passed three times at most before the host waits.
    card_watch_open(&e->watch, e->base.config.ranks, e->context.stream,
                    3 * (int)e->base.config.model.n_layers);
    e->clock.stream = e->context.stream;
    e->tools.clock = &e->clock;
    e->tools.sdpa = sdpa_create(e->context.stream, e->base.config.deterministic, error);
    return e->tools.sdpa != NULL;
}

// One queue for what the passes wait for, another for the sums that go on beside them.
static void engine_connect(CudaEngine *e) {
    Ranks *ranks = e->base.config.ranks;
    if (!ranks_many(ranks)) return;
    if (e->base.config.training) e->optimizer.queue = collectives_nccl(ranks, RANKS_ALL, e->context.stream);
    if (ranks->context_size > 1) e->split.queue = collectives_nccl(ranks, RANKS_CONTEXT, e->context.stream);
    e->split.index = ranks->context_rank;
    e->split.clock = &e->clock;
    e->watch.queues[0] = e->optimizer.queue;
    e->watch.queues[1] = e->split.queue;
}

// Ends the program, and with it the job, where the card fails.
static void wait_or_exit(CudaEngine *e, const char *what) {
    Error error;
    if (card_wait(&e->watch, what, &error)) return;
    if (ranks_many(e->watch.ranks)) ranks_fail(e->watch.ranks, &error);
    error.status = EXIT_FAILURE;
    error_exit(&error);
}

static void cuda_destroy(Engine *engine) {
    CudaEngine *e = (CudaEngine *)engine;
    if (e->context.stream) wait_or_exit(e, "the end of the work");
    collectives_destroy(e->split.queue);
    collectives_destroy(e->optimizer.queue);
    card_watch_close(&e->watch);
    for (int32_t *entries : e->imposed) {
        if (entries) CUDA_CHECK(cudaFree(entries));
    }
    cuda_parts_free(&e->clock);
    matmul_destroy(e->tools.matmul);
    sdpa_destroy(e->tools.sdpa);
    if (e->host.arena) CUDA_CHECK(cudaFreeHost(e->host.arena));
    if (e->arena) CUDA_CHECK(cudaFree(e->arena));
    if (e->context.stream) cuda_context_destroy(&e->context);
    param_table_free(&e->base.table);
    free(e);
}

static bool cuda_plan(const EngineConfig *config, MemoryPlan *plan, Error *error) {
    CudaEngine *e = engine_new(config);
    bool ok = (!cuda_device_present() || engine_start(e, error)) && cuda_plan_engine(e, plan, error);
    for (int i = 0; ok && i < plan->count; i++) plan->rows[i].pointer = NULL; // they pointed into e
    cuda_destroy(&e->base);
    return ok;
}

// What CUDA's libraries take for their kernels when these are first used.
static const size_t LIBRARY_BYTES = (size_t)512 << 20;

// What NCCL takes for a queue, 1,374 MB between two H200s (dev/results/ranks); of that, at most what it takes
// when the queue is first used.
static const size_t QUEUE_BYTES = (size_t)1400 << 20, QUEUE_USE_BYTES = (size_t)512 << 20;

static size_t left_over(size_t bytes, size_t taken) {
    return bytes > taken ? bytes - taken : 0;
}

static size_t cuda_memory_available(const Ranks *ranks) {
    size_t available = 0, total = 0, queues = !ranks_many(ranks) ? 0 : ranks_context(ranks) > 1 ? 2 : 1;
    if (cuda_device_present()) CUDA_CHECK(cudaMemGetInfo(&available, &total));
    return left_over(available, LIBRARY_BYTES + queues * QUEUE_BYTES);
}

// Takes the memory of both plans, on the card zeroed.
static bool engine_allocate(CudaEngine *e, MemoryPlan *plan, Error *error) {
    TRY(cuda_plan_engine(e, plan, error));
    size_t available = cuda_memory_available(NULL); // the queues are there already
    for (const Collectives *queue : e->watch.queues) {
        if (queue) available = left_over(available, QUEUE_USE_BYTES);
    }
    if (plan->total > available) {
        return error_set(
            error, STATUS_MEMORY,
            "%.2f GB are needed, the card has %.2f GB to spare: use a smaller --batch or --seq-len, or "
            "--recompute block",
            plan->total / 1e9, available / 1e9);
    }
    CUDA_TRY(cudaMalloc(&e->arena, plan->total), error);
    plan_bind(plan, e->arena);
    CUDA_TRY(cudaMemsetAsync(e->arena, 0, plan->total, e->context.stream), error);
    cuda_plan_host(e, plan);
    CUDA_TRY(cudaMallocHost(&e->host.arena, plan->total), error);
    plan_bind(plan, e->host.arena);
    return true;
}

static Engine *cuda_create(const EngineConfig *config, Error *error) {
    CudaEngine *e = engine_new(config);
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    bool ok = ranks_agree(config->ranks, engine_start(e, error), error);
    if (ok) engine_connect(e);
    ok = ok && ranks_agree(config->ranks, engine_allocate(e, plan, error), error);
    free(plan);
    if (!ok) {
        cuda_destroy(&e->base);
        return NULL;
    }
    e->scratch.lighthouse.sdpa = e->scratch.sdpa;
    e->scratch.lighthouse.sdpa_bytes = e->scratch.sdpa_bytes;
    e->tools.matmul = matmul_create(&e->context, e->matmul_workspace);
    rope_table(e->scratch.cosines, e->scratch.sines,
               config->context > config->cache ? config->context : config->cache, config->model.head_dim,
               config->model.rope_theta, e->context.stream);
    return &e->base;
}

// ---- layers

// Where a parameter lies in a flat array: of trained ones, or of frozen ones.
static int64_t offset_of(const CudaEngine *e, ParamRole role, int layer) {
    int index = param_find(&e->base.table, role, layer);
    assert(index >= 0);
    return e->base.table.params[index].offset;
}

static BlockWeights block_weights(const CudaEngine *e, int layer) {
    BlockWeights w;
    memset(&w, 0, sizeof w);
    w.attention_norm = cuda_optimizer_norm(&e->optimizer, PARAM_ATTENTION_NORM, layer);
    w.qkv = e->optimizer.copies + offset_of(e, PARAM_Q, layer);
    w.o = e->optimizer.copies + offset_of(e, PARAM_O, layer);
    w.ffn_norm = cuda_optimizer_norm(&e->optimizer, PARAM_FFN_NORM, layer);
    w.gate_up = e->optimizer.copies + offset_of(e, PARAM_GATE, layer);
    w.down = e->optimizer.copies + offset_of(e, PARAM_DOWN, layer);
    if (e->frozen) {
        w.gla_weight = e->frozen + offset_of(e, PARAM_GLA_WEIGHT, layer);
        w.gla_bias = e->frozen + offset_of(e, PARAM_GLA_BIAS, layer);
    }
    return w;
}

static BlockGradients block_gradients(const CudaEngine *e, int layer) {
    BlockGradients g;
    g.attention_norm = e->optimizer.gradients + offset_of(e, PARAM_ATTENTION_NORM, layer);
    g.qkv = e->optimizer.gradients + offset_of(e, PARAM_Q, layer);
    g.o = e->optimizer.gradients + offset_of(e, PARAM_O, layer);
    g.ffn_norm = e->optimizer.gradients + offset_of(e, PARAM_FFN_NORM, layer);
    g.gate_up = e->optimizer.gradients + offset_of(e, PARAM_GATE, layer);
    g.down = e->optimizer.gradients + offset_of(e, PARAM_DOWN, layer);
    return g;
}

// The buffers of one layer among those planned for all. Of attention's output and statistics there are
// attention_slots: where layers under Lighthouse keep none, the dense layers' own come first and the last one
// all others share, without statistics.
static BlockActivations block_activations(const CudaEngine *e, int layer) {
    const EngineConfig *config = &e->base.config;
    const ModelConfig *m = &config->model;
    int64_t rows = local_rows(config), slot = layer % e->kept_layers, dense = 0;
    for (int i = 0; i < layer; i++) dense += config->dense_layer[i];
    bool shares = e->attention_slots < e->kept_layers && !config->dense_layer[layer];
    int64_t attention_slot = slot;
    if (e->attention_slots < e->kept_layers) attention_slot = shares ? e->attention_slots - 1 : dense;
    BlockActivations a = e->acts;
    a.qkv += slot * rows * (m->n_heads + 2 * m->n_kv_heads) * m->head_dim;
    a.attention += attention_slot * rows * m->n_heads * m->head_dim;
    a.lse = a.lse && !shares ? a.lse + attention_slot * rows * m->n_heads : NULL;
    if (a.traded_out) a.traded_out += attention_slot * rows * m->n_heads * m->head_dim;
    a.mid += slot * rows * m->dim;
    a.gate_up += slot * rows * 2 * m->ffn_dim;
    if (config->use_lighthouse) {
        int64_t heads = (e->kept_layers > 1 ? layer - dense : 0) * e->lighthouse.B * e->lighthouse.H;
        int64_t selected = heads * e->lighthouse.hierarchy.n_selected;
        a.lighthouse.entries += selected;
        a.lighthouse.positions += heads * e->lighthouse.hierarchy.n_entries;
        a.lighthouse.q += selected * e->lighthouse.D * (split_of(e) ? 3 : 1);
        if (a.lighthouse.k) a.lighthouse.k += selected * e->lighthouse.D;
        if (a.lighthouse.v) a.lighthouse.v += selected * e->lighthouse.D;
        a.lighthouse.out += selected * e->lighthouse.D;
        a.lighthouse.lse += selected;
    }
    return a;
}

static bf16 *block_input(const CudaEngine *e, int64_t layer) {
    const EngineConfig *config = &e->base.config;
    return e->x + layer % e->kept_inputs * local_rows(config) * config->model.dim;
}

// The pass as layer `layer` sees it: dense, Lighthouse, or over the cache.
static BlockPass layer_pass(const CudaEngine *e, const BlockPass *pass, int layer) {
    const EngineConfig *config = &e->base.config;
    BlockPass own = *pass;
    if (config->dense_layer[layer]) own.lighthouse = NULL;
    own.scatter_again = own.lighthouse && e->attention_slots < e->kept_layers;
    own.imposed = e->imposed[layer];
    if (pass->cache_k) {
        int64_t skip = layer * config->cache * config->model.n_kv_heads * config->model.head_dim;
        own.cache_k += skip;
        own.cache_v += skip;
    }
    return own;
}

static void range_push(const char *name, int layer) {
    char text[32];
    snprintf(text, sizeof text, "%s %d", name, layer);
    nvtxRangePushA(text);
}

static bool layer_forward(CudaEngine *e, bf16 *x_out, const BlockPass *pass, int layer, Error *error) {
    BlockWeights weights = block_weights(e, layer);
    BlockActivations acts = block_activations(e, layer);
    BlockPass own = layer_pass(e, pass, layer);
    range_push("layer", layer);
    bool ok =
        block_forward(x_out, block_input(e, layer), &weights, &acts, &e->scratch, &own, &e->tools, error);
    card_mark(&e->watch);
    nvtxRangePop();
    return ok;
}

static bool layer_backward(CudaEngine *e, const BlockPass *pass, int layer, Error *error) {
    BlockWeights weights = block_weights(e, layer);
    BlockGradients gradients = block_gradients(e, layer);
    BlockActivations acts = block_activations(e, layer);
    BlockPass own = layer_pass(e, pass, layer);
    range_push("layer backward", layer);
    bool ok = block_backward(e->dx, block_input(e, layer), &weights, &gradients, &acts, &e->scratch, &own,
                             &e->tools, error);
    card_mark(&e->watch);
    nvtxRangePop();
    return ok;
}

// ---- passes over all layers

// Puts `count` tokens of each of the pass's sequences into the card's buffer; the vocabulary has all of them,
// or the error says which it lacks.   tokens: `stride` from one sequence to the next
static bool upload_tokens(CudaEngine *e, const BlockPass *pass, const int32_t *tokens, int64_t stride,
                          int64_t count, Error *error) {
    int64_t V = e->base.config.model.vocab_size, all = pass->B * count;
    TRY(card_wait(&e->watch, "the last pass", error)); // the buffer may still be read from
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
static void look_at_output(const CudaEngine *e, const BlockPass *pass, int layer, int *nonfinite) {
    find_nonfinite_kernel<<<1024, 256, 0, e->context.stream>>>(
        nonfinite, (const uint16_t *)block_input(e, layer + 1), pass->B * pass->N * pass->model->dim, layer);
    CUDA_CHECK(cudaGetLastError());
}

// Embedding, all layers, final norm; its output is left in scratch.normed.   token of row (b, n): the
// uploaded tokens[b * stride + n]   nonfinite: NULL, or, in device memory, lowered to the first layer whose
// output is not finite
static bool forward(CudaEngine *e, const BlockPass *pass, int64_t stride, int *nonfinite, Error *error) {
    const ModelConfig *m = &e->base.config.model;
    nvtxRangePushA("forward");
    cuda_part_begin(&e->clock, PART_EMBEDDING);
    embedding_forward(block_input(e, 0), e->tokens, stride,
                      e->optimizer.copies + offset_of(e, PARAM_EMBEDDING, -1), pass->B, pass->N, m->dim,
                      e->context.stream);
    if (nonfinite) look_at_output(e, pass, -1, nonfinite);
    bool ok = true;
    for (int layer = 0; ok && layer < m->n_layers; layer++) {
        ok = layer_forward(e, block_input(e, layer + 1), pass, layer, error);
        if (ok && nonfinite) look_at_output(e, pass, layer, nonfinite);
    }
    cuda_part_begin(&e->clock, PART_ELEMENTWISE);
    rmsnorm_forward(e->scratch.normed, block_input(e, m->n_layers),
                    cuda_optimizer_norm(&e->optimizer, PARAM_FINAL_NORM, -1), pass->B * pass->N, m->dim,
                    m->norm_eps, e->context.stream);
    nvtxRangePop();
    return ok;
}

// Losses of the rows in scratch.normed, a chunk of them at a time, so that the logits never exist at once.
// For a backward also the head's gradient, and scratch.normed becomes its own gradient; both times `scale`.
static bool head(CudaEngine *e, const BlockPass *pass, double scale, Error *error) {
    const ModelConfig *m = &e->base.config.model;
    int64_t rows = pass->B * pass->N, V = m->vocab_size, C = m->dim, offset = offset_of(e, PARAM_HEAD, -1);
    int64_t chunk = cross_entropy_chunk(local_rows(&e->base.config), V);
    Matmul *matmul = e->tools.matmul;
    cuda_part_begin(&e->clock, PART_HEAD);
    for (int64_t first = 0; first < rows; first += chunk) {
        int64_t count = rows - first < chunk ? rows - first : chunk;
        bf16 *x = e->scratch.normed + first * C;
        TRY(matmul_forward(matmul, e->logits, x, e->optimizer.copies + offset, NULL, count, C, V, error));
        cross_entropy(e->logits, e->nats, e->tokens + 1, pass->N + 1, pass->N, first, count, V, scale,
                      pass->keep, e->context.stream);
        if (!pass->keep) continue;
        TRY(matmul_backward_weight(matmul, e->optimizer.gradients + offset, e->logits, x, count, C, V,
                                   error));
        TRY(matmul_backward_input(matmul, x, e->logits, e->optimizer.copies + offset, count, C, V, error));
    }
    sum_ordered(e->total_nats, e->nats, rows, e->context.stream);
    return true;
}

// Adds up the embedding's gradient; the host sorts the tokens while the card is busy with the layers.
static bool embedding_gradient(CudaEngine *e, const BlockPass *pass, Error *error) {
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
    embedding_backward(e->optimizer.gradients + offset_of(e, PARAM_EMBEDDING, -1), e->embedding_partial,
                       e->dx, &e->order, m->dim, stream);
    return true;
}

// A bucket's gradients are complete: their sum over the ranks begins.
static void bucket_done(CudaEngine *e, bool last, int bucket) {
    if (last) cuda_optimizer_begin_sum(&e->optimizer, bucket);
}

// From the gradient of the final norm's output, in scratch.normed, to all the others. `last`: no other pass
// adds to them before the update.
static bool backward(CudaEngine *e, const BlockPass *pass, bool last, Error *error) {
    const EngineConfig *config = &e->base.config;
    const ModelConfig *m = &config->model;
    int64_t rows = pass->B * pass->N, norm = offset_of(e, PARAM_FINAL_NORM, -1);
    bool ok = true;
    nvtxRangePushA("backward");
    cuda_part_begin(&e->clock, PART_ELEMENTWISE);
    CUDA_TRY(cudaMemsetAsync(e->dx, 0, (size_t)(rows * m->dim) * sizeof *e->dx, e->context.stream), error);
    rmsnorm_backward(e->dx, e->optimizer.gradients + norm, e->scratch.normed, e->scratch.norm_partial,
                     e->scratch.normed, block_input(e, m->n_layers),
                     cuda_optimizer_norm(&e->optimizer, PARAM_FINAL_NORM, -1), rows, m->dim, m->norm_eps,
                     e->context.stream);
    bucket_done(e, last, (int)m->n_layers + 1);
    for (int layer = (int)m->n_layers - 1; ok && layer >= 0; layer--) {
        bool again = config->recompute && layer < m->n_layers - 1;
        ok = (!again || layer_forward(e, NULL, pass, layer, error)) && layer_backward(e, pass, layer, error);
        if (ok) bucket_done(e, last, layer + 1);
    }
    ok = ok && embedding_gradient(e, pass, error);
    if (ok) bucket_done(e, last, 0);
    nvtxRangePop();
    return ok;
}

// ---- the interface

// Describes a pass over B sequences of N tokens; `shape` is filled and used where the attention is
// Lighthouse.
static bool make_pass(CudaEngine *e, BlockPass *pass, LighthouseShape *shape, int64_t B, int64_t N,
                      Attention attention, Error *error) {
    memset(pass, 0, sizeof *pass);
    pass->model = &e->base.config.model;
    pass->B = B;
    pass->N = N / e->split.size;
    pass->split = split_of(e);
    pass->position = e->split.index * pass->N;
    assert(N % e->split.size == 0);
    if (attention == ATTENTION_LIGHTHOUSE) {
        assert(e->base.config.use_lighthouse);
        TRY(context_lighthouse(&e->base.config, B, N, e->split.size, shape, error));
        pass->lighthouse = shape;
    }
    return true;
}

// Waits for all work, and for the loss that it ends with.
static bool fetch_nats(CudaEngine *e, double *nats, Error *error) {
    cuda_part_end(&e->clock);
    CUDA_TRY(
        cudaMemcpyAsync(e->host.nats, e->total_nats, sizeof *nats, cudaMemcpyDeviceToHost, e->context.stream),
        error);
    TRY(card_wait(&e->watch, "the loss of a pass", error));
    cuda_parts_collect(&e->clock);
    *nats = *e->host.nats;
    return true;
}

static bool cuda_forward_backward(Engine *engine, const int32_t *tokens, Attention attention,
                                  int64_t total_targets, double *nats, Error *error) {
    CudaEngine *e = (CudaEngine *)engine;
    int64_t B = engine->config.batch, N = engine->config.context;
    BlockPass pass;
    LighthouseShape shape;
    assert(engine->config.training && e->optimizer.sums_begun == 0);
    TRY(make_pass(e, &pass, &shape, B, N, attention, error));
    pass.keep = true;
    TRY(upload_tokens(e, &pass, tokens + pass.position, N + 1, pass.N + 1, error));
    TRY(forward(e, &pass, pass.N + 1, NULL, error));
    embedding_order(&e->host.order, e->host.starts, e->host.tokens, pass.N + 1, B, pass.N,
                    engine->config.model.vocab_size);
    TRY(head(e, &pass, 1.0 / (double)total_targets, error));
    TRY(backward(e, &pass, ++e->calls == engine->config.micro_steps, error));
    return fetch_nats(e, nats, error);
}

static bool cuda_evaluate(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context,
                          Attention attention, double *nats, Error *error) {
    CudaEngine *e = (CudaEngine *)engine;
    BlockPass pass;
    LighthouseShape shape;
    assert(batch * context <= engine->config.batch * engine->config.context &&
           batch <= engine->config.batch && context <= engine->config.context);
    TRY(make_pass(e, &pass, &shape, batch, context, attention, error));
    TRY(upload_tokens(e, &pass, tokens + pass.position, context + 1, pass.N + 1, error));
    TRY(forward(e, &pass, pass.N + 1, NULL, error));
    TRY(head(e, &pass, 0, error));
    return fetch_nats(e, nats, error);
}

// Logits of one row of the pass behind `forward`, of the last of the ranks that share sequences; they are
// there when the stream is done.   logits: (V)
static bool fetch_logits(CudaEngine *e, int64_t row, float *logits, Error *error) {
    const ModelConfig *m = &e->base.config.model;
    const CudaSplit *split = split_of(e);
    if (!split || split->index == split->size - 1) {
        TRY(matmul_forward_float32(e->tools.matmul, e->last_logits, e->scratch.normed + row * m->dim,
                                   e->optimizer.copies + offset_of(e, PARAM_HEAD, -1), 1, m->dim,
                                   m->vocab_size, error));
    } else {
        CUDA_TRY(cudaMemsetAsync(e->last_logits, 0, (size_t)m->vocab_size * sizeof *e->last_logits,
                                 e->context.stream),
                 error);
    }
    if (split) { // all of them but one are zero
        collectives_all_reduce(split->queue, e->last_logits, m->vocab_size, ELEMENT_F32);
        context_wait(split, "the logits of the last slice");
    }
    // The copy to the caller's memory may wait for all that is before it, which other ranks can hold up.
    if (ranks_many(e->base.config.ranks)) TRY(card_wait(&e->watch, "the logits", error));
    CUDA_TRY(cudaMemcpyAsync(logits, e->last_logits, (size_t)m->vocab_size * sizeof *logits,
                             cudaMemcpyDeviceToHost, e->context.stream),
             error);
    return true;
}

static bool cuda_decode(Engine *engine, const int32_t *tokens, int64_t count, int64_t position, float *logits,
                        Error *error) {
    CudaEngine *e = (CudaEngine *)engine;
    if (position + count > engine->config.cache) {
        return error_set(error, STATUS_USAGE, "%lld tokens do not fit the cache of %lld tokens",
                         (long long)(position + count), (long long)engine->config.cache);
    }
    int64_t room = engine->config.batch * engine->config.context; // rows of activations
    BlockPass pass;
    pass.N = 0;
    assert(count > 0 && !split_of(e));
    for (int64_t done = 0; done < count; done += pass.N) {
        TRY(make_pass(e, &pass, NULL, 1, count - done < room ? count - done : room, ATTENTION_DENSE, error));
        pass.position = position + done;
        pass.cache_k = e->cache_k;
        pass.cache_v = e->cache_v;
        TRY(upload_tokens(e, &pass, tokens + done, 0, pass.N, error));
        TRY(forward(e, &pass, 0, NULL, error));
    }
    TRY(fetch_logits(e, pass.N - 1, logits, error));
    cuda_part_end(&e->clock);
    TRY(card_wait(&e->watch, "the logits", error));
    return true;
}

static bool cuda_predict(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context, float *logits,
                         Error *error) {
    CudaEngine *e = (CudaEngine *)engine;
    BlockPass pass;
    assert(batch * context <= engine->config.batch * engine->config.context &&
           context <= engine->config.context);
    TRY(make_pass(e, &pass, NULL, batch, context, ATTENTION_DENSE, error));
    TRY(upload_tokens(e, &pass, tokens + pass.position, context, pass.N, error));
    TRY(forward(e, &pass, pass.N, NULL, error));
    for (int64_t b = 0; b < batch; b++) {
        TRY(fetch_logits(e, (b + 1) * pass.N - 1, logits + b * engine->config.model.vocab_size, error));
    }
    cuda_part_end(&e->clock);
    TRY(card_wait(&e->watch, "the logits", error));
    return true;
}

// `first`: in device memory; holds n_layers + 1.
static bool pass_nonfinite(CudaEngine *e, const int32_t *tokens, Attention attention, int *first,
                           double *nats, Error *error) {
    int64_t B = e->base.config.batch, N = e->base.config.context;
    BlockPass pass;
    LighthouseShape shape;
    TRY(make_pass(e, &pass, &shape, B, N, attention, error));
    TRY(upload_tokens(e, &pass, tokens + pass.position, N + 1, pass.N + 1, error));
    TRY(forward(e, &pass, pass.N + 1, first, error));
    TRY(head(e, &pass, 0, error));
    return fetch_nats(e, nats, error);
}

static bool cuda_find_nonfinite(Engine *engine, const int32_t *tokens, Attention attention, int *layer,
                                Error *error) {
    int head = (int)engine->config.model.n_layers, all = head + 1, *first;
    double nats;
    CUDA_TRY(cudaMalloc(&first, sizeof *first), error);
    CUDA_CHECK(cudaMemcpy(first, &all, sizeof all, cudaMemcpyHostToDevice));
    bool ok = pass_nonfinite((CudaEngine *)engine, tokens, attention, first, &nats, error);
    if (ok) CUDA_CHECK(cudaMemcpy(layer, first, sizeof *first, cudaMemcpyDeviceToHost));
    if (ok && *layer > head && !isfinite(nats)) *layer = head;
    CUDA_CHECK(cudaFree(first));
    return ok;
}

static bool cuda_update(Engine *engine, const AdamW *adamw, double *grad_norm, Error *error) {
    CudaEngine *e = (CudaEngine *)engine;
    e->calls = 0;
    cuda_part_begin(&e->clock, PART_OPTIMIZER);
    cuda_optimizer_update(&e->optimizer, adamw);
    cuda_part_end(&e->clock);
    CUDA_TRY(cudaMemcpyAsync(e->host.norm, e->optimizer.norm, sizeof *e->host.norm, cudaMemcpyDeviceToHost,
                             e->context.stream),
             error);
    TRY(card_wait(&e->watch, "the sum of the gradients and the updated weights", error));
    cuda_parts_collect(&e->clock);
    *grad_norm = e->host.norm->norm;
    return isfinite(*grad_norm) ||
           error_set(error, STATUS_NONFINITE, "the gradient's norm is %f", *grad_norm);
}

// ---- tensors in and out

// Where element `start` of a tensor lies on this rank.
static float *place(CudaEngine *e, TensorKind kind, int param, int64_t start) {
    const Param *p = &e->base.table.params[param];
    assert(p->trained || kind == TENSOR_WEIGHT);
    if (!p->trained) return e->frozen + p->offset + start;
    return cuda_optimizer_tensor(&e->optimizer, kind, p, start);
}

static void cuda_read(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count, float *out) {
    CudaEngine *e = (CudaEngine *)engine;
    const float *values = place(e, kind, param, start);
    wait_or_exit(e, "the sum of the gradients");
    CUDA_CHECK(cudaMemcpy(out, values, (size_t)count * sizeof *out, cudaMemcpyDeviceToHost));
}

static void cuda_write(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count,
                       const float *in) {
    CudaEngine *e = (CudaEngine *)engine;
    const Param *p = &engine->table.params[param];
    if (kind == TENSOR_WEIGHT && p->trained) {
        cuda_optimizer_write(&e->optimizer, p, start, count, in);
    } else {
        CUDA_CHECK(cudaMemcpyAsync(place(e, kind, param, start), in, (size_t)count * sizeof *in,
                                   cudaMemcpyHostToDevice, e->context.stream));
    }
    wait_or_exit(e, "the sum of the gradients"); // `in` is the caller's again
}

static int64_t selection_size(const CudaEngine *e) {
    return e->lighthouse.B * e->lighthouse.H * e->lighthouse.hierarchy.n_selected;
}

static void cuda_read_selection(Engine *engine, int layer, int32_t *entries) {
    CudaEngine *e = (CudaEngine *)engine;
    assert(e->kept_layers == engine->config.model.n_layers); // else another layer's may be there
    wait_or_exit(e, "a selection");
    CUDA_CHECK(cudaMemcpy(entries, block_activations(e, layer).lighthouse.entries,
                          (size_t)selection_size(e) * sizeof *entries, cudaMemcpyDeviceToHost));
}

static void cuda_impose_selection(Engine *engine, int layer, const int32_t *entries) {
    CudaEngine *e = (CudaEngine *)engine;
    size_t bytes = (size_t)selection_size(e) * sizeof *entries;
    wait_or_exit(e, "a selection");
    CUDA_CHECK(cudaFree(e->imposed[layer]));
    e->imposed[layer] = NULL;
    if (!entries) return;
    CUDA_CHECK(cudaMalloc(&e->imposed[layer], bytes));
    CUDA_CHECK(cudaMemcpyAsync(e->imposed[layer], entries, bytes, cudaMemcpyHostToDevice, e->context.stream));
    wait_or_exit(e, "a selection"); // `entries` is the caller's again
}

static void cuda_time_parts(Engine *engine, double *seconds) {
    CudaPartClock *clock = &((CudaEngine *)engine)->clock;
    clock->seconds = seconds;
    clock->count = 0;
}

// Pinned, the card writes it at its full rate.
static bool cuda_pin(void *memory, size_t size) {
    if (cudaHostRegister(memory, size, cudaHostRegisterDefault) == cudaSuccess) return true;
    cudaGetLastError(); // a container may not allow it: then it is only slower
    return false;
}

static void cuda_unpin(void *memory) {
    CUDA_CHECK(cudaHostUnregister(memory));
}

const EngineApi *engine_cuda(void) {
    static const EngineApi api = {"cuda",
                                  cuda_device_present,
                                  cuda_describe_device,
                                  cuda_plan,
                                  cuda_memory_available,
                                  cuda_create,
                                  cuda_destroy,
                                  cuda_forward_backward,
                                  cuda_evaluate,
                                  cuda_update,
                                  cuda_decode,
                                  cuda_predict,
                                  cuda_find_nonfinite,
                                  cuda_read,
                                  cuda_write,
                                  cuda_read_selection,
                                  cuda_impose_selection,
                                  cuda_time_parts,
                                  &cuda_bench,
                                  cuda_pin,
                                  cuda_unpin};
    return &api;
}
