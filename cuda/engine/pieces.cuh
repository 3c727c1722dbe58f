// Weights and moments that lie in host memory, piece by piece on their way through the GPU
// (core/engine/update_pieces.h). Pieces arrive and leave on a stream each, beside the computing: events tell
// when a place holds a piece, when that is updated, and when it has left.
#ifndef CUDA_PIECES_CUH
#define CUDA_PIECES_CUH

#include "core/engine/update_pieces.h"
#include "cuda/device/common.cuh"

// Weights, first moments, second moments: of what a rank keeps, or of a piece.
typedef struct {
    float *arrays[PIECE_ARRAYS];
} Masters;

static inline Masters masters_from(const Masters *masters, int64_t start) {
    Masters from;
    for (int i = 0; i < PIECE_ARRAYS; i++) from.arrays[i] = masters->arrays[i] + start;
    return from;
}

typedef struct {
    int64_t room;          // elements of a piece at most; 0: nothing lies in host memory
    float *places;         // (PIECE_PLACES, PIECE_ARRAYS, room)
    cudaStream_t computes; // of what updates
    cudaStream_t arrives, leaves;
    cudaEvent_t arrived[PIECE_PLACES], updated[PIECE_PLACES], left[PIECE_PLACES];
} CudaPieces;

// Opens the streams where there is room for pieces, and sets `count` elements of each array of `host` to zero
// when `computes` comes to it; the places are zero.
void pieces_open(CudaPieces *pieces, cudaStream_t computes, const Masters *host, int64_t count);
// Waits for the copies under way.
void pieces_close(CudaPieces *pieces);

// Where a piece lies on the GPU.
Masters pieces_place(const CudaPieces *pieces, const UpdatePiece *piece);

// Each piece arrives from `host`, where its arrays begin, when its place is free; the computing waits for it,
// updates it, and lets it leave.
void pieces_fetch(CudaPieces *pieces, const UpdatePiece *piece, const Masters *host);
void pieces_await(const CudaPieces *pieces, const UpdatePiece *piece);
void pieces_store(CudaPieces *pieces, const UpdatePiece *piece, const Masters *host);

// The computing waits until all have left.
void pieces_finish(const CudaPieces *pieces);

#endif
