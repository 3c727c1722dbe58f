// The CUDA engine: the whole decoder in one allocation on one GPU, behind the interface of
// core/engine/engine.h; its twin is cpu/engine.c. All computing goes to one stream, what crosses between
// ranks to queues beside it; the host waits only where a result goes back to it.
#include "cuda/engine/engine_parts.cuh"
#include "cuda/device/device.cuh"
#include "cuda/engine/passes.cuh"
#include "cuda/kernels/rope.cuh"

#include <assert.h>
#include <string.h>

// ---- making and freeing

static CudaEngine *engine_new(const EngineConfig *config) {
    CudaEngine *e = (CudaEngine *)alloc_or_exit(1, sizeof *e);
    engine_begin(&e->base, engine_cuda(), config);
    e->optimizer.table = &e->base.table;
    e->optimizer.ranks = config->ranks;
    return e;
}

// The GPU's context and cuDNN: what exact plans need.
static bool engine_start(CudaEngine *e, Error *error) {
    int device;
    CUDA_TRY(cudaGetDevice(&device), error);
    TRY(cuda_context_create(&e->context, device, error));
    e->tools.context = &e->context;
    e->optimizer.stream = e->context.stream;
    e->optimizer.clock = &e->clock;
    // Each layer is passed three times at most before the host waits.
    gpu_watch_open(&e->watch, e->base.config.ranks, e->context.stream,
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
    if (ranks->context_size > 1) e->cp.queue = collectives_nccl(ranks, RANKS_CONTEXT, e->context.stream);
    e->cp.index = ranks->context_rank;
    e->cp.clock = &e->clock;
    if (ranks->context_size > 1) e->tools.cp = &e->cp; // whose size comes with the plan, which is made later
    e->watch.queues[0] = e->optimizer.queue;
    e->watch.queues[1] = e->cp.queue;
}

// Ends the program, and with it the job, where the GPU fails.
static void wait_or_exit(CudaEngine *e, const char *what) {
    Error error;
    if (gpu_wait(&e->watch, what, &error)) return;
    if (ranks_many(e->watch.ranks)) ranks_fail(e->watch.ranks, &error);
    error.status = EXIT_FAILURE;
    error_exit(&error);
}

static void cuda_destroy(Engine *engine) {
    CudaEngine *e = (CudaEngine *)engine;
    if (e->context.stream) wait_or_exit(e, "the end of the work");
    collectives_destroy(e->cp.queue);
    collectives_destroy(e->optimizer.queue);
    gpu_watch_close(&e->watch);
    for (int32_t *entries : e->forced) {
        if (entries) CUDA_CHECK(cudaFree(entries));
    }
    cuda_parts_free(&e->clock);
    offload_close(&e->offload);
    cuda_optimizer_stop(&e->optimizer);
    matmul_destroy(e->tools.matmul);
    sdpa_destroy(e->tools.sdpa);
    if (e->host.arena) CUDA_CHECK(cudaFreeHost(e->host.arena));
    if (e->arena) CUDA_CHECK(cudaFree(e->arena));
    cuda_context_destroy(&e->context);
    param_table_free(&e->base.table);
    free(e);
}

static size_t host_bytes(CudaEngine *e) {
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    cuda_plan_host(e, plan);
    size_t bytes = plan->total;
    free(plan);
    return bytes;
}

static bool cuda_plan(const EngineConfig *config, MemoryPlan *plan, Error *error) {
    CudaEngine *e = engine_new(config);
    bool ok = (!cuda_present() || engine_start(e, error)) && cuda_plan_engine(e, plan, error);
    for (int i = 0; ok && i < plan->count; i++) plan->rows[i].pointer = NULL; // they pointed into e
    if (ok) plan->host = host_bytes(e);
    cuda_destroy(&e->base);
    return ok;
}

// What CUDA's libraries take for their kernels when these are first used.
static const size_t LIBRARY_BYTES = (size_t)512 << 20;

// What NCCL takes for a queue: 1,372 MB between two H200s, 2,177 MB among four (dev/results/ranks), so 350
// MiB a rank beyond 700, as far as they share a host; of that, at most QUEUE_USE_BYTES a rank when it is
// first used.
static const size_t QUEUE_BYTES = (size_t)700 << 20, QUEUE_RANK_BYTES = (size_t)350 << 20;
static const size_t QUEUE_USE_BYTES = (size_t)256 << 20;

static size_t queue_neighbours(const Ranks *ranks, int queue_size) {
    return (size_t)(queue_size < ranks->local_size ? queue_size : ranks->local_size);
}

static size_t queue_bytes(const Ranks *ranks, int queue_size) {
    return queue_size > 1 ? QUEUE_BYTES + queue_neighbours(ranks, queue_size) * QUEUE_RANK_BYTES : 0;
}

static size_t left_over(size_t bytes, size_t taken) {
    return bytes > taken ? bytes - taken : 0;
}

static size_t cuda_memory_available(const Ranks *ranks) {
    size_t available = 0, total = 0, queues = 0;
    if (cuda_present()) CUDA_CHECK(cudaMemGetInfo(&available, &total));
    if (ranks_many(ranks)) queues = queue_bytes(ranks, ranks->size) + queue_bytes(ranks, ranks->context_size);
    return left_over(available, LIBRARY_BYTES + queues);
}

// Takes the memory of both plans, on the GPU zeroed.
static bool engine_allocate(CudaEngine *e, MemoryPlan *plan, Error *error) {
    TRY(cuda_plan_engine(e, plan, error));
    size_t available = cuda_memory_available(NULL); // the queues are there already
    for (const Collectives *queue : e->watch.queues) {
        if (!queue) continue;
        available = left_over(available, queue_neighbours(e->watch.ranks, queue->size) * QUEUE_USE_BYTES);
    }
    if (plan->total > available) {
        return error_set(
            error, STATUS_MEMORY,
            "%.2f GB are needed, the GPU has %.2f GB to spare: use a smaller --batch or --seq-len, or "
            "--recompute block",
            plan->total / 1e9, available / 1e9);
    }
    CUDA_TRY(cudaMalloc(&e->arena, plan->total), error);
    plan_bind(plan, e->arena);
    CUDA_TRY(cudaMemsetAsync(e->arena, 0, plan->total, e->context.stream), error);
    cuda_plan_host(e, plan);
    if (cudaMallocHost(&e->host.arena, plan->total) != cudaSuccess) {
        cudaGetLastError();
        e->host.arena = NULL;
        return error_set(
            error, STATUS_MEMORY,
            "%.2f GB of host memory cannot be pinned: use a smaller --seq-len, or less of --offload, "
            "or raise what this container may lock (ulimit -l)",
            plan->total / 1e9);
    }
    plan_bind(plan, e->host.arena);
    offload_open(&e->offload, e->context.stream);
    cuda_optimizer_start(&e->optimizer);
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
    cuda_rope_table(e->scratch.cosines, e->scratch.sines, engine_positions(config), config->model.head_dim,
                    model_frequencies(&config->model, engine_rope_length(config)), e->context.stream);
    return &e->base;
}

// ---- the interface

static bool cuda_forward_backward(Engine *engine, const int32_t *tokens, Attention attention,
                                  int64_t total_targets, double *nats, Error *error) {
    CudaEngine *e = (CudaEngine *)engine;
    int64_t B = engine->config.batch, N = engine->config.context;
    Pass pass;
    LighthouseShape shape;
    assert(engine->config.training);
    TRY(pass_make(&pass, &e->base.config, &shape, B, N, attention, error));
    pass.keep = true;
    TRY(pass_upload(e, &pass, tokens + pass.position, N + 1, pass.N + 1, error));
    TRY(pass_forward(e, &pass, pass.N + 1, NULL, error));
    embedding_order(&e->host.order, e->host.starts, e->host.tokens, pass.N + 1, B, pass.N,
                    engine->config.model.vocab_size);
    cuda_optimizer_begin_pass(&e->optimizer);
    TRY(pass_head(e, &pass, 1.0 / (double)total_targets, error));
    TRY(pass_backward(e, &pass, ++e->calls == engine->config.micro_steps, error));
    return pass_fetch_nats(e, nats, error);
}

static bool cuda_evaluate(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context,
                          Attention attention, double *nats, Error *error) {
    CudaEngine *e = (CudaEngine *)engine;
    Pass pass;
    LighthouseShape shape;
    TRY(pass_make(&pass, &engine->config, &shape, batch, context, attention, error));
    TRY(pass_upload(e, &pass, tokens + pass.position, context + 1, pass.N + 1, error));
    TRY(pass_forward(e, &pass, pass.N + 1, NULL, error));
    TRY(pass_head(e, &pass, 0, error));
    return pass_fetch_nats(e, nats, error);
}

// What the head got of these rows, a tile of them at most, as float32.
static void read_outputs(CudaEngine *e, int64_t start, int64_t count, float *outputs) {
    int64_t size = count * e->base.config.model.dim;
    bf16 *rows = (bf16 *)alloc_or_exit((size_t)size, sizeof *rows);
    pass_final_norm(e, start, count);
    wait_or_exit(e, "outputs of the last pass");
    CUDA_CHECK(cudaMemcpy(rows, e->scratch.normed, (size_t)size * sizeof *rows, cudaMemcpyDeviceToHost));
    for (int64_t i = 0; i < size; i++) outputs[i] = __bfloat162float(rows[i]);
    free(rows);
}

// The stream is done: the evaluation has ended with its loss.
static void cuda_read_evaluated(Engine *engine, int64_t start, int64_t count, double *nats, float *outputs) {
    CudaEngine *e = (CudaEngine *)engine;
    int64_t C = engine->config.model.dim, tile = e->scratch.tile;
    if (nats) {
        CUDA_CHECK(cudaMemcpy(nats, e->nats + start, (size_t)count * sizeof *nats, cudaMemcpyDeviceToHost));
    }
    for (int64_t first = 0; outputs && first < count; first += tile) {
        read_outputs(e, start + first, count - first < tile ? count - first : tile, outputs + first * C);
    }
}

static bool cuda_decode(Engine *engine, const int32_t *tokens, int64_t count, int64_t position, float *logits,
                        Error *error) {
    CudaEngine *e = (CudaEngine *)engine;
    Pass pass;
    assert(!cuda_cp_of(e));
    TRY(pass_make(&pass, &engine->config, NULL, 1, count, ATTENTION_DENSE, error));
    pass.position = position;
    pass.cached = true;
    TRY(pass_upload(e, &pass, tokens, 0, count, error));
    TRY(pass_forward(e, &pass, 0, NULL, error));
    if (!logits) return true;
    TRY(pass_fetch_logits(e, count - 1, logits, error));
    cuda_part_end(&e->clock);
    TRY(gpu_wait(&e->watch, "the logits", error));
    return true;
}

static bool cuda_predict(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context, float *logits,
                         Error *error) {
    CudaEngine *e = (CudaEngine *)engine;
    Pass pass;
    TRY(pass_make(&pass, &engine->config, NULL, batch, context, ATTENTION_DENSE, error));
    TRY(pass_upload(e, &pass, tokens + pass.position, context, pass.N, error));
    TRY(pass_forward(e, &pass, pass.N, NULL, error));
    for (int64_t b = 0; b < batch; b++) {
        TRY(pass_fetch_logits(e, (b + 1) * pass.N - 1, logits + b * engine->config.model.vocab_size, error));
    }
    cuda_part_end(&e->clock);
    TRY(gpu_wait(&e->watch, "the logits", error));
    return true;
}

// Lowers e->nonfinite, which holds n_layers + 1 when the stream comes to it.
static bool pass_nonfinite(CudaEngine *e, const int32_t *tokens, Attention attention, double *nats,
                           Error *error) {
    int64_t B = e->base.config.batch, N = e->base.config.context;
    Pass pass;
    LighthouseShape shape;
    TRY(pass_make(&pass, &e->base.config, &shape, B, N, attention, error));
    TRY(pass_upload(e, &pass, tokens + pass.position, N + 1, pass.N + 1, error));
    TRY(pass_forward(e, &pass, pass.N + 1, e->nonfinite, error));
    TRY(pass_head(e, &pass, 0, error));
    return pass_fetch_nats(e, nats, error);
}

static bool cuda_find_nonfinite(Engine *engine, const int32_t *tokens, Attention attention, int *layer,
                                Error *error) {
    CudaEngine *e = (CudaEngine *)engine;
    int head = (int)engine->config.model.n_layers, all = head + 1;
    double nats;
    // On the engine's stream, which waits for no other.
    CUDA_CHECK(cudaMemcpyAsync(e->nonfinite, &all, sizeof all, cudaMemcpyHostToDevice, e->context.stream));
    TRY(pass_nonfinite(e, tokens, attention, &nats, error));
    CUDA_CHECK(cudaMemcpy(layer, e->nonfinite, sizeof *layer, cudaMemcpyDeviceToHost));
    if (*layer > head && !isfinite(nats)) *layer = head;
    return true;
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
    TRY(gpu_wait(&e->watch, "the sum of the gradients and the updated weights", error));
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

// By all cores: a save copies weights and moments that lie in host memory while training waits.
static void copy_on_host(float *to, const float *from, int64_t count) {
    const int64_t piece = 1 << 20;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i += piece)
        memcpy(to + i, from + i, (size_t)(count - i < piece ? count - i : piece) * sizeof *to);
}

static void cuda_read(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count, float *out) {
    CudaEngine *e = (CudaEngine *)engine;
    const float *values = place(e, kind, param, start);
    wait_or_exit(e, "the sum of the gradients");
    if (cuda_optimizer_on_host(&e->optimizer, kind, &engine->table.params[param])) {
        copy_on_host(out, values, count);
    } else {
        CUDA_CHECK(cudaMemcpy(out, values, (size_t)count * sizeof *out, cudaMemcpyDeviceToHost));
    }
}

static void cuda_write(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count,
                       const float *in) {
    CudaEngine *e = (CudaEngine *)engine;
    const Param *p = &engine->table.params[param];
    if (kind == TENSOR_WEIGHT && p->trained) {
        cuda_optimizer_write(&e->optimizer, p, start, count, in);
    } else {
        CUDA_CHECK(cudaMemcpyAsync(place(e, kind, param, start), in, (size_t)count * sizeof *in,
                                   cudaMemcpyDefault, e->context.stream));
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
    CUDA_CHECK(cudaMemcpy(entries, pass_activations(e, layer).lighthouse.entries,
                          (size_t)selection_size(e) * sizeof *entries, cudaMemcpyDeviceToHost));
}

static void cuda_force_selection(Engine *engine, int layer, const int32_t *entries) {
    CudaEngine *e = (CudaEngine *)engine;
    size_t bytes = (size_t)selection_size(e) * sizeof *entries;
    wait_or_exit(e, "a selection");
    CUDA_CHECK(cudaFree(e->forced[layer]));
    e->forced[layer] = NULL;
    if (!entries) return;
    CUDA_CHECK(cudaMalloc(&e->forced[layer], bytes));
    CUDA_CHECK(cudaMemcpyAsync(e->forced[layer], entries, bytes, cudaMemcpyHostToDevice, e->context.stream));
    wait_or_exit(e, "a selection"); // `entries` is the caller's again
}

static void cuda_time_parts(Engine *engine, double *seconds) {
    CudaPartClock *clock = &((CudaEngine *)engine)->clock;
    clock->seconds = seconds;
    clock->count = 0;
}

// Pinned, the GPU writes it at its full rate.
static bool cuda_pin(void *memory, size_t size) {
    if (cudaHostRegister(memory, size, cudaHostRegisterDefault) == cudaSuccess) return true;
    cudaGetLastError(); // a container may not allow it: then it is only slower
    return false;
}

static void cuda_unpin(void *memory) {
    CUDA_CHECK(cudaHostUnregister(memory));
}

const EngineApi *engine_cuda(void) {
    static const EngineApi api = ENGINE_API("cuda", cuda, cuda_pin, cuda_unpin);
    return &api;
}
