// The model: its shape, and the one table that describes every parameter.
//
// Memory layout, initialisation, optimizer, checkpoint and export all read this table. Names, shapes and
// meaning are those of Hugging Face LlamaForCausalLM: a Linear weight is (out_features, in_features),
// row-major.
#ifndef CORE_MODEL_H
#define CORE_MODEL_H

#include "error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Far beyond any model, and small enough that no size computed of them overflows 64 bits.
#define MODEL_MAX_LAYERS 512
#define MODEL_MAX_HEADS  4096
#define MODEL_MAX_WIDTH  (1 << 20) // of the residual stream and of SwiGLU
#define MODEL_MAX_VOCAB  (1 << 24)

typedef struct {
    int64_t n_layers;
    int64_t dim;        // C, width of the residual stream
    int64_t n_heads;    // H, query heads
    int64_t n_kv_heads; // KV, divides H
    int64_t head_dim;   // D
    int64_t ffn_dim;    // F, width of SwiGLU
    int64_t vocab_size; // V
    double rope_theta;
    double norm_eps;
} ModelConfig;

typedef enum {
    PARAM_EMBEDDING,      // (V, C)
    PARAM_ATTENTION_NORM, // (C)
    PARAM_Q,              // (H*D, C)
    PARAM_K,              // (KV*D, C)
    PARAM_V,              // (KV*D, C)
    PARAM_O,              // (C, H*D)
    PARAM_FFN_NORM,       // (C)
    PARAM_GATE,           // (F, C)
    PARAM_UP,             // (F, C)
    PARAM_DOWN,           // (C, F)
    PARAM_FINAL_NORM,     // (C)
    PARAM_HEAD,           // (V, C)
    PARAM_GLA_WEIGHT,     // (H, C)  gate of the gla scorer: stays as drawn
    PARAM_GLA_BIAS,       // (H)     likewise
    PARAM_ROLES
} ParamRole;

typedef struct {
    char name[64];
    ParamRole role;
    int layer;          // -1 outside the layers
    int n_dims;         // 1 or 2
    int64_t rows, cols; // a vector is one row
    int64_t offset; // of the first element in the flat array of all trained parameters, or of all frozen ones
    bool trained;   // frozen parameters have no gradient, no moments, no decay
    int bucket; // sharding: which bucket of the table it belongs to; -1 for frozen ones, whole on every rank
    double init_mean;
    double init_std; // 0: constant init_mean
    double init_cut; // |value - mean| <= init_cut
} Param;

// Every tensor starts at a multiple of this many elements in the flat arrays; the gaps stay zero.
#define PARAM_ALIGNMENT 64

// Neighbours in the flat array whose gradients are summed over the ranks together, as soon as the backward
// has them: the embedding, each layer, final norm and head. Rank r keeps and updates elements [offset + r
// share, offset + (r + 1) share): their master weights and their moments.
typedef struct {
    int64_t offset;
    int64_t share; // elements a rank, a multiple of PARAM_ALIGNMENT
} ParamBucket;

typedef struct {
    Param *params; // embedding, layers in order, final norm, head, then the frozen ones
    int count;
    ParamBucket *buckets; // in the order of the flat array; the backward ends them from the last to the first
    int n_buckets;
    int ranks;            // that share the buckets
    int64_t trained_size; // elements of the flat array of trained parameters, gaps included; ranks divides it
    int64_t frozen_size;  // likewise of frozen ones
    int64_t n_trained;    // trained parameters, gaps not counted: the model's size
} ParamTable;

// Says why a shape is impossible (status 2), with the nearest valid values.
bool model_config_check(const ModelConfig *config, Error *error);

// The table for a checked shape. `gla_gates` adds the gate of the gla scorer to every layer.
ParamTable param_table_create(const ModelConfig *config, bool gla_gates);
void param_table_free(ParamTable *table);

// Lays the flat array out for this many ranks (the table is created for one).
void param_table_shard(ParamTable *table, int ranks);

// Place of a bucket's share in a flat array of what one rank keeps (trained_size / ranks elements).
static inline int64_t param_share_offset(const ParamTable *table, int bucket) {
    return table->buckets[bucket].offset / table->ranks;
}

// The elements [*start, *start + *count) of a parameter that a rank keeps; count may be 0. Of a frozen one:
// all.
void param_share(const ParamTable *table, const Param *param, int rank, int64_t *start, int64_t *count);

// Index of the parameter with this role in this layer (-1 outside layers); -1 when the table has none.
int param_find(const ParamTable *table, ParamRole role, int layer);
int param_find_name(const ParamTable *table, const char *name);

static inline int64_t param_size(const Param *param) {
    return param->rows * param->cols;
}

// Initial values of elements [start, start + count) of a parameter: the same for a seed on every machine and
// for any number of ranks.
void param_init(const Param *param, uint64_t seed, int64_t start, int64_t count, float *out);

#ifdef __cplusplus
}
#endif
#endif
