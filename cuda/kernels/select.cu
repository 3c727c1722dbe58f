// Which entries Lighthouse gathers, and in which order: one launch for all chunks of all heads.
//
// A block takes one chunk. From the coarsest level down to level 1 it finds the entries to expand: per level
// two cuts, each a value and an index such that exactly the wanted number of candidates lies above. A cut is
// found bit by bit, by counting; nothing is sorted, and any number of candidates will do. Then every gathered
// entry finds its own row: in post-order, entries come by the end of their span, and at the same end the
// finer first, so the row is a sum over the levels of how many entries end before; within a level these are
// ranks among the expanded parents.
#include "cuda/kernels/select.cuh"

#define SELECT_THREADS 512
#define SELECT_KEYS    4096 // candidates whose keys are held in shared memory; those of the rest are read again

typedef struct {
    unsigned keys_q[SELECT_KEYS], keys_k[SELECT_KEYS];
    int chosen[LIGHTHOUSE_MAX_LEVELS][LIGHTHOUSE_CHUNK_TOPK]; // expanded entries of each level, rising
    int counts[2][SELECT_THREADS / 32];
} SelectShared;

// Scores are norms, and bits of numbers above zero order as they do. Whatever is not above zero, as after an
// overflow a NaN, counts as zero: the key of no score has its highest bit set, and the CPU engine has the
// same order. Key zero is left for what is taken already.
static inline __device__ unsigned score_key(float score) {
    return __float_as_uint(score > 0 ? score : 0.0f) + 1;
}

// Sum over the block, for every thread. Two sets of counts take turns, so that one barrier a sum is enough.
static inline __device__ int count_block(int count, SelectShared *shared, int *turn) {
    int *counts = shared->counts[*turn], lane = threadIdx.x % 32;
    *turn ^= 1;
    count = __reduce_add_sync(0xffffffffu, count);
    if (lane == 0) counts[threadIdx.x / 32] = count;
    __syncthreads();
    return __reduce_add_sync(0xffffffffu, lane < SELECT_THREADS / 32 ? counts[lane] : 0);
}

// The candidates above a cut: those with a higher key, and of those with an equal one all up to index `last`.
typedef struct {
    unsigned key;
    int last;
} Cut;

static inline __device__ bool above(Cut cut, unsigned key, int candidate) {
    return key > cut.key || (key == cut.key && candidate <= cut.last);
}

// The cut with `wanted` of the n candidates above it, n >= wanted; key(c) gives candidate c's.
template <typename Key>
static inline __device__ Cut find_cut(Key key, int n, int wanted, SelectShared *shared, int *turn) {
    Cut cut = {0, n - 1};
    for (int bit = 30; bit >= 0; bit--) { // the highest key that `wanted` candidates reach
        unsigned trial = cut.key | 1u << bit;
        int count = 0;
        for (int c = threadIdx.x; c < n; c += SELECT_THREADS) count += key(c) >= trial;
        count = count_block(count, shared, turn);
        if (count >= wanted) cut.key = trial;
        if (count == wanted) return cut; // no tie across the cut
    }
    int higher = 0;
    for (int c = threadIdx.x; c < n; c += SELECT_THREADS) higher += key(c) > cut.key;
    int ties = wanted - count_block(higher, shared, turn);
    cut.last = 0;
    for (int bit = 30; bit >= 0; bit--) { // the most candidates that hold fewer ties than still wanted
        int trial = cut.last | 1 << bit, count = 0;
        if (trial >= n) continue;
        for (int c = threadIdx.x; c < trial; c += SELECT_THREADS) count += key(c) == cut.key;
        if (count_block(count, shared, turn) < ties) cut.last = trial;
    }
    return cut;
}

// One level of one chunk: index(c) is the level's entry that candidate c stands for, score_q and score_k are
// the level's. Fills `chosen` with the entries to expand, in rising order.
template <typename Index>
static inline __device__ void expand_level(int *chosen, Index index, int n, const float *score_q,
                                           const float *score_k, SelectShared *shared, int *turn) {
    const int half = LIGHTHOUSE_CHUNK_TOPK / 2;
    for (int c = threadIdx.x; c < min(n, SELECT_KEYS); c += SELECT_THREADS) {
        shared->keys_q[c] = score_key(score_q[index(c)]);
        shared->keys_k[c] = score_key(score_k[index(c)]);
    }
    __syncthreads();
    auto key_q = [&](int c) { return c < SELECT_KEYS ? shared->keys_q[c] : score_key(score_q[index(c)]); };
    Cut cut_q = find_cut(key_q, n, half, shared, turn);
    auto key_k = [&](int c) {
        if (above(cut_q, key_q(c), c)) return 0u;
        return c < SELECT_KEYS ? shared->keys_k[c] : score_key(score_k[index(c)]);
    };
    Cut cut_k = find_cut(key_k, n, half, shared, turn);

    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, before = 0; // `before`: chosen in earlier rounds
    for (int start = 0; start < n; start += SELECT_THREADS) {
        int c = start + threadIdx.x;
        bool take = c < n && (above(cut_q, key_q(c), c) || above(cut_k, key_k(c), c));
        unsigned takers = __ballot_sync(0xffffffffu, take);
        int *counts = shared->counts[*turn];
        *turn ^= 1;
        if (lane == 0) counts[warp] = __popc(takers);
        __syncthreads();
        int count = lane < SELECT_THREADS / 32 ? counts[lane] : 0;
        int rank = before + __reduce_add_sync(0xffffffffu, lane < warp ? count : 0);
        if (take) chosen[rank + __popc(takers & ((1u << lane) - 1))] = index(c);
        before += __reduce_add_sync(0xffffffffu, count);
    }
    __syncthreads();
}

// How many of the chosen lie before `entry`, and whether it is one of them itself.
static inline __device__ int rank_in(const int *chosen, int entry, bool *present) {
    int rank = 0;
#pragma unroll
    for (int step = LIGHTHOUSE_CHUNK_TOPK / 2; step > 0; step /= 2)
        if (chosen[rank + step - 1] < entry) rank += step;
    if (chosen[rank] < entry) rank++;
    *present = rank < LIGHTHOUSE_CHUNK_TOPK && chosen[rank] == entry;
    return rank;
}

// Gathered entries of the chunk on `level` with an index below `end`.
static inline __device__ int entries_below(const SelectShared *shared, const Levels &levels, int first,
                                           int level, int end) {
    if (level == levels.levels - 1) return end - first;
    bool partly;
    int rank = rank_in(shared->chosen[level + 1], end >> levels.log_pool, &partly);
    return (rank << levels.log_pool) + (partly ? end & ((1 << levels.log_pool) - 1) : 0);
}

// The row of entry i of `level` among those of its chunk.
static inline __device__ int row_in_chunk(const SelectShared *shared, const Levels &levels, int first,
                                          int level, int i) {
    int end = (i + 1) << levels.log_pool * level,
        row = -1; // of the entry's span; the entry itself is counted too
    for (int l = 0; l < levels.levels; l++) {
        int shift = levels.log_pool * l;
        row += entries_below(shared, levels, first, l, l <= level ? end >> shift : (end - 1) >> shift);
    }
    return row;
}

static __global__ void __launch_bounds__(SELECT_THREADS, 2)
    select_kernel(int32_t *entries,   // (B, H, S)
                  int32_t *positions, // (B, H, E), -1 on entry
                  LighthouseScores scores, const __grid_constant__ Levels levels) {
    __shared__ SelectShared shared;
    int chunk = blockIdx.x % levels.chunks, turn = 0, pool = 1 << levels.log_pool,
        coarsest = levels.levels - 1;
    int64_t head = blockIdx.x / levels.chunks;
    int first = (int)((int64_t)chunk * levels.coarse / levels.chunks);
    int n = (int)((int64_t)(chunk + 1) * levels.coarse / levels.chunks) - first;
    const float *score_q = scores.q + head * levels.entries, *score_k = scores.k + head * levels.entries;

    expand_level(
        shared.chosen[coarsest], [=](int c) { return first + c; }, n, score_q + levels.offset[coarsest],
        score_k + levels.offset[coarsest], &shared, &turn);
    const int finer = LIGHTHOUSE_CHUNK_TOPK << levels.log_pool; // entries of the chunk on a finer level
    for (int l = coarsest - 1; l >= 1; l--) {
        const int *parents = shared.chosen[l + 1];
        auto index = [&](int c) {
            return (parents[c >> levels.log_pool] << levels.log_pool) | (c & (pool - 1));
        };
        expand_level(shared.chosen[l], index, finer, score_q + levels.offset[l], score_k + levels.offset[l],
                     &shared, &turn);
    }

    // Earlier chunks gather their own coarse entries and as many finer ones each.
    int64_t chunk_row = first + (int64_t)chunk * coarsest * finer;
    for (int j = threadIdx.x; j < n + coarsest * finer; j += SELECT_THREADS) {
        int level = coarsest, i = first + j;
        if (j >= n) {
            level = (j - n) / finer;
            int c = (j - n) % finer;
            i = (shared.chosen[level + 1][c >> levels.log_pool] << levels.log_pool) | (c & (pool - 1));
        }
        int64_t row = chunk_row + row_in_chunk(&shared, levels, first, level, i);
        int entry = levels.offset[level] + i;
        entries[head * levels.selected + row] = entry;
        positions[head * levels.entries + entry] = (int)row;
    }
}

// The inverse map of entries that are given.
static __global__ void invert_kernel(int32_t *positions,     // (B, H, E), -1 on entry
                                     const int32_t *entries, // (B, H, S)
                                     const __grid_constant__ Levels levels, int64_t heads) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= heads * levels.selected) return;
    positions[i / levels.selected * levels.entries + entries[i]] = (int)(i % levels.selected);
}

void select_entries(CudaContext *context, int32_t *entries, int32_t *positions, LighthouseScores scores,
                    const LighthouseShape *shape) {
    Levels levels = levels_of(&shape->hierarchy);
    int64_t heads = shape->B * shape->H;
    CUDA_CHECK(cudaMemsetAsync(positions, 0xff, (size_t)(heads * levels.entries) * sizeof *positions,
                               context->stream));
    select_kernel<<<(unsigned)(heads * levels.chunks), SELECT_THREADS, 0, context->stream>>>(
        entries, positions, scores, levels);
    CUDA_CHECK(cudaGetLastError());
}

void force_entries(CudaContext *context, int32_t *entries, int32_t *positions, const int32_t *forced,
                   const LighthouseShape *shape) {
    Levels levels = levels_of(&shape->hierarchy);
    int64_t heads = shape->B * shape->H, rows = heads * levels.selected;
    CUDA_CHECK(cudaMemcpyAsync(entries, forced, (size_t)rows * sizeof *entries, cudaMemcpyDeviceToDevice,
                               context->stream));
    CUDA_CHECK(cudaMemsetAsync(positions, 0xff, (size_t)(heads * levels.entries) * sizeof *positions,
                               context->stream));
    invert_kernel<<<(unsigned)ceil_div(rows, 256), 256, 0, context->stream>>>(positions, entries, levels,
                                                                              heads);
    CUDA_CHECK(cudaGetLastError());
}
