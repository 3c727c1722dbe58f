// The engine: what the program needs of whatever computes. Two stand behind it, cpu/ and cuda/.
//
// An engine owns weights (master copies), gradients, moments and activations of one model, and nothing else:
// data, schedule, checkpoints and logs are the program's. All tensors cross this interface as float32 host
// memory.
//
// With several ranks (config.ranks) every rank has an engine, and creates it, updates and destroys it
// together with the others. All hold the weights; of the master weights and moments, and of gradients once
// they are summed, a rank keeps its share (param_share). Where P ranks share each sequence, they are given
// the same tokens, call forward_backward, evaluate and predict together, and each works on its slice.
#ifndef CORE_ENGINE_ENGINE_H
#define CORE_ENGINE_ENGINE_H

#include "core/engine/bench_api.h"
#include "core/base/choice.h"
#include "core/base/error.h"
#include "core/model/hierarchy.h"
#include "core/model/model.h"
#include "core/engine/parts.h"
#include "core/engine/plan.h"
#include "core/ranks/ranks.h"

#ifdef __cplusplus
extern "C" {
#endif

// The stages of a run, and the words for them.
#define ATTENTIONS(X)                     \
    X(ATTENTION_LIGHTHOUSE, "lighthouse") \
    X(ATTENTION_DENSE, "dense")
typedef enum { ATTENTIONS(CHOICE_VALUE) } Attention;
extern const Choice ATTENTION_CHOICES[];
const char *attention_name(Attention attention);
bool attention_parse(const char *name, Attention *attention);

typedef enum { TENSOR_WEIGHT, TENSOR_GRADIENT, TENSOR_MOMENT1, TENSOR_MOMENT2 } TensorKind;

typedef struct {
    ModelConfig model;
    LighthouseConfig lighthouse;
    bool dense_layer[MODEL_MAX_LAYERS]; // these stay dense under ATTENTION_LIGHTHOUSE
    bool use_lighthouse; // ATTENTION_LIGHTHOUSE may be asked for (else nothing is planned for it)
    bool training;       // gradients and moments are held
    bool one_stage;      // with use_lighthouse: no backward under ATTENTION_DENSE will be asked for, so that
                         // less may be kept
    bool recompute;      // keep only each block's input, run its forward again in the backward
    bool deterministic;  // the same bits every run
    bool fp8;            // a block's products have FP8 operands (core/engine/fp8_rule.h); CPU engine alone
    int64_t batch;       // B, sequences a call at most
    int64_t context;     // N, tokens a sequence at most
    int64_t cache;       // tokens of key/value cache for engine_decode; 0 for none
    int64_t tile;        // for tests: rows of a tile (core/engine/tiles.h); 0: the plan chooses
    Ranks *ranks;        // in their groups (ranks_group); NULL: alone
    int64_t micro_steps; // calls of forward_backward an update: in the last one's backward the gradients' sum
                         // over the ranks begins; 0: not known, it begins with the update
    // With recompute, on a GPU: what is kept of a block, its input, waits in host memory for the backward.
    bool offload_activations;
    // On a GPU: float32 weights and moments lie in host memory, and go through the GPU at an update.
    bool offload_optimizer;
    int64_t piece; // for tests: elements of these that go at once (core/engine/update_pieces.h); 0: the plan
                   // chooses
    // Several ranks sum their gradients in every backward, and each keeps its share alone (ZeRO stage 2).
    bool share_gradients;
} EngineConfig;

// The length that RoPE of type `dynamic` is stretched for: of a text to decode with its prompt, or of a
// sequence.
static inline int64_t engine_rope_length(const EngineConfig *config) {
    return config->cache > 0 ? config->cache : config->context;
}

// Positions that an engine has angles for.
static inline int64_t engine_positions(const EngineConfig *config) {
    return config->context > config->cache ? config->context : config->cache;
}

// Layers that ATTENTION_LIGHTHOUSE makes Lighthouse's.
static inline int64_t lighthouse_layers(const EngineConfig *config) {
    int64_t count = 0;
    for (int64_t i = 0; i < config->model.n_layers; i++) count += !config->dense_layer[i];
    return count;
}

#define ADAMW_EPS 1e-8 // of torch.optim.AdamW too

// One AdamW update as torch.optim.AdamW does it (decay first), behind clipping to a global norm.
typedef struct {
    int64_t step; // 1 for the first update
    double lr, beta1, beta2, eps, weight_decay;
    double clip;      // factor min(1, clip / (norm + 1e-6)); 0 for none
    double most_norm; // an update whose norm is above is skipped; 0 for none, negative for any
    bool matrices;    // decay of matrices alone (param_decay_run)
} AdamW;

static inline bool adamw_skips(const AdamW *adamw, double norm) {
    return adamw->most_norm != 0 && norm > adamw->most_norm;
}

typedef struct Engine Engine;

typedef struct {
    const char *name; // "cpu", "cuda"

    // Whether this machine has what the engine runs on.
    bool (*present)(void);
    // Writes the device's name; gives its dense bf16 peak in FLOPs a second, 0 where that is not known.
    double (*describe_device)(char *name, size_t size);
    // Lists every buffer create() would take; allocates nothing.
    bool (*plan)(const EngineConfig *config, MemoryPlan *plan, Error *error);
    // Memory that a plan may take on this machine, in bytes, less what these ranks will take to connect.
    size_t (*memory_available)(const Ranks *ranks);
    Engine *(*create)(const EngineConfig *config, Error *error); // NULL on error
    void (*destroy)(Engine *engine);

    bool (*forward_backward)(Engine *engine, const int32_t *tokens, Attention attention,
                             int64_t total_targets, double *nats, Error *error);
    bool (*evaluate)(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context,
                     Attention attention, double *nats, Error *error);
    void (*read_evaluated)(Engine *engine, int64_t start, int64_t count, double *nats, float *outputs);
    bool (*update)(Engine *engine, const AdamW *adamw, double *grad_norm, Error *error);
    // Of as many tokens as there are rows of activations, at most; NULL logits: more follow.
    bool (*decode)(Engine *engine, const int32_t *tokens, int64_t count, int64_t position, float *logits,
                   Error *error);
    bool (*predict)(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context, float *logits,
                    Error *error);
    bool (*find_nonfinite)(Engine *engine, const int32_t *tokens, Attention attention, int *layer,
                           Error *error);
    void (*read)(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count, float *out);
    void (*write)(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count, const float *in);
    void (*read_selection)(Engine *engine, int layer, int32_t *entries);
    void (*force_selection)(Engine *engine, int layer, const int32_t *entries);
    void (*time_parts)(Engine *engine, double *seconds);
    const BenchApi *bench;

    // Makes host memory fast to read tensors into, until unpin; false where that cannot be had. Both NULL
    // where there is no need.
    bool (*pin)(void *memory, size_t size);
    void (*unpin)(void *memory);
} EngineApi;

// All of a table: functions are called `prefix`_ and the field's name.
#define ENGINE_API(name_, prefix, pin_, unpin_)                                                              \
    {                                                                                                        \
        .name = (name_), .present = prefix##_present, .describe_device = prefix##_describe_device,           \
        .plan = prefix##_plan, .memory_available = prefix##_memory_available, .create = prefix##_create,     \
        .destroy = prefix##_destroy, .forward_backward = prefix##_forward_backward,                          \
        .evaluate = prefix##_evaluate, .read_evaluated = prefix##_read_evaluated, .update = prefix##_update, \
        .decode = prefix##_decode, .predict = prefix##_predict, .find_nonfinite = prefix##_find_nonfinite,   \
        .read = prefix##_read, .write = prefix##_write, .read_selection = prefix##_read_selection,           \
        .force_selection = prefix##_force_selection, .time_parts = prefix##_time_parts,                      \
        .bench = &prefix##_bench, .pin = (pin_), .unpin = (unpin_),                                          \
    }

// Whether there are gates of a scorer: a run keeps them through its dense stage too.
static inline bool engine_has_gates(const EngineConfig *config) {
    return lighthouse_scorer(&config->lighthouse)->gates && (config->use_lighthouse || config->training);
}

// First member of every engine's own structure.
struct Engine {
    const EngineApi *api;
    EngineConfig config;
    ParamTable table;
};

// Fills in what every engine begins with.
void engine_begin(Engine *engine, const EngineApi *api, const EngineConfig *config);

const EngineApi *engine_cpu(void);
#ifdef WITH_CUDA
const EngineApi *engine_cuda(void);

// Takes this rank's GPU among those that the program sees, before anything else is done with one. Error
// (status 2) where the host has more ranks than GPUs.
bool engine_cuda_device(const Ranks *ranks, Error *error);
#endif

static inline void engine_destroy(Engine *engine) {
    if (engine) engine->api->destroy(engine);
}

// Adds the gradient of (sum of nats over the batch) / total_targets to the gradients, and gives the sum of
// nats, with several ranks that over this rank's slices. tokens: (B, N+1), B and N those of the
// configuration; the last of each row is only a target.
static inline bool engine_forward_backward(Engine *engine, const int32_t *tokens, Attention attention,
                                           int64_t total_targets, double *nats, Error *error) {
    return engine->api->forward_backward(engine, tokens, attention, total_targets, nats, error);
}

// Sum of nats over batch x context targets (this rank's slices of them), any size up to the configuration's.
// tokens: (batch, context+1)
bool engine_evaluate(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context,
                     Attention attention, double *nats, Error *error);

// Of rows [start, start + count) of the last evaluation, one sequence behind the other (this rank's slices of
// them): the loss of each target in nats, and what the head got. Either may be NULL.
// nats: (count)   outputs: (count, C)
void engine_read_evaluated(Engine *engine, int64_t start, int64_t count, double *nats, float *outputs);

// Clips, updates the weights, zeroes the gradients; gives the norm before clipping. Nothing but the gradients
// changes where the update is skipped (adamw_skips of that norm), and where the norm is not finite, which is
// an error (status 5). Norm and error are the same on all ranks.
static inline bool engine_update(Engine *engine, const AdamW *adamw, double *grad_norm, Error *error) {
    return engine->api->update(engine, adamw, grad_norm, error);
}

// Feeds `count` tokens of one sequence at positions position, position+1, ... (dense attention over those and
// the cached ones before) and gives the logits after the last. logits: (V)
bool engine_decode(Engine *engine, const int32_t *tokens, int64_t count, int64_t position, float *logits,
                   Error *error);

// The logits after the last token of each sequence, under dense attention, in one pass without a cache. Any
// batch and context whose product is within the configuration's, and the context too. With several ranks all
// that share sequences get them.
// tokens: (batch, context)   logits: (batch, V)
bool engine_predict(Engine *engine, const int32_t *tokens, int64_t batch, int64_t context, float *logits,
                    Error *error);

// For the message about a loss that is not finite: the first whose output is not in a forward pass over a
// micro-step, of this rank's slices of its sequences. layer: -1 the embedding, 0 ... n_layers-1 a block,
// n_layers the head; n_layers+1 where all are finite. tokens: as of engine_forward_backward
static inline bool engine_find_nonfinite(Engine *engine, const int32_t *tokens, Attention attention,
                                         int *layer, Error *error) {
    return engine->api->find_nonfinite(engine, tokens, attention, layer, error);
}

// Elements [start, start + count) of a parameter, its gradient or a moment. With several ranks, those read,
// and moments and gradients written, lie within this rank's share; weights are written whole on every rank.
static inline void engine_read(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count,
                               float *out) {
    engine->api->read(engine, kind, param, start, count, out);
}
static inline void engine_write(Engine *engine, TensorKind kind, int param, int64_t start, int64_t count,
                                const float *in) {
    engine->api->write(engine, kind, param, start, count, in);
}

// Draws the initial weights of a seed, the embedding of this standard deviation (1 in the published recipe).
// `frozen`: only those that no checkpoint need hold.
void engine_draw_weights(Engine *engine, uint64_t seed, double embedding_std, bool frozen);

// For tests: the entries a layer gathered in the last forward pass, in order, and the means to force them on
// later passes (NULL sets the layer free again). entries: (B, H, S), absolute entry indices; S and entries of
// the slice's hierarchy where ranks share sequences
static inline void engine_read_selection(Engine *engine, int layer, int32_t *entries) {
    engine->api->read_selection(engine, layer, entries);
}
static inline void engine_force_selection(Engine *engine, int layer, const int32_t *entries) {
    engine->api->force_selection(engine, layer, entries);
}

// For benchmarks: from here on every forward_backward and every update adds to seconds (PART_COUNT) what each
// part of it took, and takes a little longer itself. NULL ends that.
static inline void engine_time_parts(Engine *engine, double *seconds) {
    engine->api->time_parts(engine, seconds);
}

#ifdef __cplusplus
}
#endif
#endif
