// The model: its shape, and the one table that describes every parameter.
//
// Memory layout, initialisation, optimizer, checkpoint and export all read this table. Names, shapes and
// meaning are those of Hugging Face LlamaForCausalLM: a Linear weight is (out_features, in_features),
// row-major.
#ifndef CORE_MODEL_MODEL_H
#define CORE_MODEL_MODEL_H

#include "core/base/error.h"
#include "core/model/family.h"
#include "core/model/layer_set.h"
#include "core/model/rope_scaling.h"

#include <assert.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Far beyond any model, and small enough that no size computed of them overflows 64 bits.
#define MODEL_MAX_HEADS  4096
#define MODEL_MAX_WIDTH  (1 << 20) // of the residual stream and of SwiGLU
#define MODEL_MAX_VOCAB  (1 << 24)
#define MODEL_MAX_WINDOW 1000000000 // as of --seq-len

// Widths of a head that both engines' attention is built for.
#define HEAD_WIDTHS      "64, 96 or 128"
#define HEAD_WIDTH_LEAST 64
#define HEAD_WIDTH_MOST  128
static inline bool head_width_known(int64_t width) {
    return width == HEAD_WIDTH_LEAST || width == 96 || width == HEAD_WIDTH_MOST;
}

#define FIELD_INT     int64_t
#define FIELD_REAL    double
#define FIELD_FLAG    bool
#define FIELD_THETA   double
#define FIELD_FAMILY  Family
#define FIELD_WINDOW  int64_t
#define FIELD_SCALING RopeScaling
#define FIELD_LAYERS  LayerSet
typedef struct {
#define FIELD(type, place, ...) FIELD_##type place;
#include "core/model/model_fields.def"
#undef FIELD
} ModelConfig;

typedef enum {
#define PARAM(ROLE, ...) PARAM_##ROLE,
#include "core/model/params.def"
#undef PARAM
    PARAM_ROLES
} ParamRole;

// Which settings of --decay leave a parameter to weight decay: any, `all` alone, none.
typedef enum { DECAY_MATRIX, DECAY_ALL, DECAY_NEVER } ParamDecay;

typedef struct {
    char name[64];
    ParamRole role;
    int layer;          // -1 outside the layers
    int n_dims;         // 1 or 2
    int64_t rows, cols; // a vector is one row
    int64_t offset; // of the first element in the flat array of all trained parameters, or of all frozen ones
    bool trained;   // frozen parameters have no gradient, no moments
    ParamDecay decay;
    int64_t vector; // offset among all trained vectors, which kernels may read apart; -1 for others
    int bucket; // sharding: which bucket of the table it belongs to; -1 for frozen ones, whole on every rank
    double init_mean;
    double init_std; // 0: constant init_mean
    double init_cut; // |value - mean| <= init_cut
} Param;

// Every tensor starts at a multiple of this many elements in the flat arrays; the gaps stay zero. It divides
// every width of a head: there is no gap between q, k and v, which engines read as one.
#define PARAM_ALIGNMENT 32

// Rows that an engine may compute with for a vocabulary of any size, a multiple of 8. In embedding and head
// those behind it are part of a gap: zero, without gradient, and in no file.
static inline int64_t model_padded_vocab(int64_t vocab_size) {
    return (vocab_size + 7) / 8 * 8;
}

// Neighbours in the flat array whose gradients are summed over the ranks together, as soon as the backward
// has them: the embedding, each layer, final norm and head. Rank r keeps and updates elements [offset + r
// share, offset + (r + 1) share): their master weights and their moments.
typedef struct {
    int64_t offset;
    int64_t share; // elements a rank, a multiple of PARAM_ALIGNMENT
} ParamBucket;

typedef struct {
    Param *params; // embedding, layers in order, final norm, head unless tied, then the frozen ones
    int count, room;
    ParamBucket *buckets; // in the order of the flat array; the backward ends them from the last to the first
    int n_buckets;
    int ranks;            // that share the buckets
    int64_t trained_size; // elements of the flat array of trained parameters, gaps included; ranks divides it
    int64_t frozen_size;  // likewise of frozen ones
    int64_t vectors_size; // likewise of trained vectors: norms and biases
    int64_t n_trained;    // trained parameters, gaps not counted: the model's size
} ParamTable;

// Says why a shape is impossible (status 2), with the nearest valid values.
bool model_config_check(const ModelConfig *config, Error *error);
// Refuses (status 2) more tokens than a sliding window holds: the engines attend to all that is before.
bool model_window_check(const ModelConfig *config, int64_t tokens, Error *error);

// Its RoPE's, for sequences of this many positions.
RopeFrequencies model_frequencies(const ModelConfig *config, int64_t positions);

// The table for a checked shape. `gla_gates` adds the gate of the gla scorer to every layer.
ParamTable param_table_create(const ModelConfig *config, bool gla_gates);
void param_table_free(ParamTable *table);

// Lays the flat array out for this many ranks (the table is created for one).
void param_table_shard(ParamTable *table, int ranks);

// Place of a bucket's share in a flat array of what one rank keeps (trained_size / ranks elements).
static inline int64_t param_share_offset(const ParamTable *table, int bucket) {
    return table->buckets[bucket].offset / table->ranks;
}

// Where a rank's share of a bucket begins in the flat array.
static inline int64_t param_share_begin(const ParamTable *table, int bucket, int rank) {
    return table->buckets[bucket].offset + rank * table->buckets[bucket].share;
}

// Place of element `start` of a parameter, which the rank keeps, in a flat array of what it keeps.
static inline int64_t param_share_place(const ParamTable *table, const Param *param, int rank,
                                        int64_t start) {
    int64_t within = param->offset + start - param_share_begin(table, param->bucket, rank);
    assert(within >= 0 && within <= table->buckets[param->bucket].share);
    return param_share_offset(table, param->bucket) + within;
}

// Elements [at, end) of the flat array of trained parameters fall into runs of neighbours that weight decay
// takes alike: gives the end of the first, and whether it decays. `matrices`: --decay matrices.
int64_t param_decay_run(const ParamTable *table, int64_t at, int64_t end, bool matrices, bool *decay);

// The elements [*start, *start + *count) of a parameter that a rank keeps; count may be 0. Of a frozen one:
// all.
void param_share(const ParamTable *table, const Param *param, int rank, int64_t *start, int64_t *count);

// Index of the parameter with this role in this layer (-1 outside layers); -1 when the table has none. The
// head of a tied model is its embedding: one tensor, to which both uses add their gradients.
int param_find(const ParamTable *table, ParamRole role, int layer);

// Whether the head is the embedding.
bool param_table_tied(const ParamTable *table);

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
