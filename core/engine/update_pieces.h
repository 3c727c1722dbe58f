// The pieces of an update whose weights and moments lie in host memory. Piece by piece they go through places
// on the GPU, in turn: one piece arrives, one is updated, one leaves. AdamW looks at an element alone, so the
// bits are those of an update in one piece.
#ifndef CORE_ENGINE_UPDATE_PIECES_H
#define CORE_ENGINE_UPDATE_PIECES_H

#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PIECE_PLACES 3
#define PIECE_ARRAYS 3 // weights, first moments, second moments
// Elements of a piece at most: its arrays take 2 ms over PCIe 5.0 each way, far more than it takes to begin a
// copy.
#define PIECE_ELEMENTS (INT64_C(8) << 20)

// Neighbours within a rank's share of a bucket.
typedef struct {
    int bucket;
    int64_t within; // of the share: the first element
    int64_t count;  // 0: behind the last piece
    int place;      // on the GPU
} UpdatePiece;

// Elements of the largest piece: what a place has room for. `most`: 0, or for tests a limit
int64_t piece_room(const ParamTable *table, int64_t most);

// The first piece of an update, none larger than `room`, and that behind another: bucket by bucket.
UpdatePiece piece_first(const ParamTable *table, int64_t room);
UpdatePiece piece_behind(const ParamTable *table, int64_t room, const UpdatePiece *piece);

static inline bool piece_ends_bucket(const ParamTable *table, const UpdatePiece *piece) {
    return piece->within + piece->count == table->buckets[piece->bucket].share;
}

// Where a piece begins among the elements that a rank keeps, and among those of all.
static inline int64_t piece_kept(const ParamTable *table, const UpdatePiece *piece) {
    return param_share_offset(table, piece->bucket) + piece->within;
}
static inline int64_t piece_flat(const ParamTable *table, const UpdatePiece *piece, int rank) {
    return param_share_begin(table, piece->bucket, rank) + piece->within;
}

#ifdef __cplusplus
}
#endif
#endif
