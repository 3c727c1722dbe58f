// Pieces of weights and moments through the GPU; see pieces.cuh.
#include "cuda/engine/pieces.cuh"

static void zero_host(const CudaPieces *pieces, float *host, int64_t count) {
    int64_t zeros = PIECE_PLACES * PIECE_ARRAYS * pieces->room;
    for (int64_t done = 0; done < count; done += zeros) {
        int64_t size = count - done < zeros ? count - done : zeros;
        CUDA_CHECK(cudaMemcpyAsync(host + done, pieces->places, (size_t)size * sizeof *host,
                                   cudaMemcpyDeviceToHost, pieces->computes));
    }
}

void pieces_open(CudaPieces *pieces, cudaStream_t computes, const Masters *host, int64_t count) {
    if (pieces->room == 0) return;
    pieces->computes = computes;
    CUDA_CHECK(cudaStreamCreateWithFlags(&pieces->arrives, cudaStreamNonBlocking));
    CUDA_CHECK(cudaStreamCreateWithFlags(&pieces->leaves, cudaStreamNonBlocking));
    for (int i = 0; i < PIECE_PLACES; i++) {
        CUDA_CHECK(cudaEventCreateWithFlags(&pieces->arrived[i], cudaEventDisableTiming));
        CUDA_CHECK(cudaEventCreateWithFlags(&pieces->updated[i], cudaEventDisableTiming));
        CUDA_CHECK(cudaEventCreateWithFlags(&pieces->left[i], cudaEventDisableTiming));
    }
    for (int i = 0; i < PIECE_ARRAYS; i++) zero_host(pieces, host->arrays[i], count);
    for (int i = 0; i < PIECE_PLACES; i++) CUDA_CHECK(cudaEventRecord(pieces->left[i], computes));
}

void pieces_close(CudaPieces *pieces) {
    if (!pieces->leaves) return;
    CUDA_CHECK(cudaStreamSynchronize(pieces->arrives));
    CUDA_CHECK(cudaStreamSynchronize(pieces->leaves));
    for (int i = 0; i < PIECE_PLACES; i++) {
        CUDA_CHECK(cudaEventDestroy(pieces->arrived[i]));
        CUDA_CHECK(cudaEventDestroy(pieces->updated[i]));
        CUDA_CHECK(cudaEventDestroy(pieces->left[i]));
    }
    CUDA_CHECK(cudaStreamDestroy(pieces->arrives));
    CUDA_CHECK(cudaStreamDestroy(pieces->leaves));
}

Masters pieces_place(const CudaPieces *pieces, const UpdatePiece *piece) {
    Masters place;
    for (int i = 0; i < PIECE_ARRAYS; i++)
        place.arrays[i] = pieces->places + (piece->place * PIECE_ARRAYS + i) * pieces->room;
    return place;
}

static void copy(const Masters *to, const Masters *from, int64_t count, cudaMemcpyKind kind,
                 cudaStream_t stream) {
    for (int i = 0; i < PIECE_ARRAYS; i++)
        CUDA_CHECK(
            cudaMemcpyAsync(to->arrays[i], from->arrays[i], (size_t)count * sizeof(float), kind, stream));
}

void pieces_fetch(CudaPieces *pieces, const UpdatePiece *piece, const Masters *host) {
    Masters place = pieces_place(pieces, piece);
    CUDA_CHECK(cudaStreamWaitEvent(pieces->arrives, pieces->left[piece->place], 0));
    copy(&place, host, piece->count, cudaMemcpyHostToDevice, pieces->arrives);
    CUDA_CHECK(cudaEventRecord(pieces->arrived[piece->place], pieces->arrives));
}

void pieces_await(const CudaPieces *pieces, const UpdatePiece *piece) {
    CUDA_CHECK(cudaStreamWaitEvent(pieces->computes, pieces->arrived[piece->place], 0));
}

void pieces_store(CudaPieces *pieces, const UpdatePiece *piece, const Masters *host) {
    Masters place = pieces_place(pieces, piece);
    CUDA_CHECK(cudaEventRecord(pieces->updated[piece->place], pieces->computes));
    CUDA_CHECK(cudaStreamWaitEvent(pieces->leaves, pieces->updated[piece->place], 0));
    copy(host, &place, piece->count, cudaMemcpyDeviceToHost, pieces->leaves);
    CUDA_CHECK(cudaEventRecord(pieces->left[piece->place], pieces->leaves));
}

void pieces_finish(const CudaPieces *pieces) {
    for (int i = 0; i < PIECE_PLACES; i++)
        CUDA_CHECK(cudaStreamWaitEvent(pieces->computes, pieces->left[i], 0));
}
