// Scores of the gla scorer on the GPU: a gated linear recurrence (Yang et al., "Gated Linear Attention",
// 2023), one scalar gate a head; its twin is cpu/gla.c. In every dilated subsequence
//
//     S_t = e^(g_t) S_(t-1) + k_t v_t^T,   o_t = q_t^T S_t / sqrt(D),   score_t = |o_t|,
//
// and once more with q and k exchanged. A chunk of C tokens is done at once: with G_t the sum of g from the
// chunk's first token to t and S the state before the chunk,
//
//     o_t sqrt(D) = e^(G_t) q_t^T S + sum over i <= t of e^(G_t - G_i) (q_t . k_i) v_i
//     next S      = e^(G_last) S + sum over i of e^(G_last - G_i) k_i v_i^T
//
// Long subsequences are cut into segments: a first pass finds what each adds to a state of zero, a scan
// over the segments the state each begins with, and a second pass the scores, all segments at once. Where
// ranks share a sequence, the scan begins with the state that the rank before hands on: ranks wait for each
// other's scans, not for their passes.
//
// The products run on the tensor cores, yet in float32: q, k and v are bf16 as they are, and a float32 factor
// is the exact sum of three bf16 numbers (24 bits of 8, 8 and 8), each multiplied for itself.
#include "cuda/kernels/gla.cuh"

#include <cuda_pipeline.h>

#define GLA_CHUNK 128 // tokens; a warp has 16 of them
#define GLA_WARPS (GLA_CHUNK / 16)
#define GLA_PARTS 3 // bf16 numbers that make a float32

// ---- The gate.

#define GATE_ROWS  4
#define GATE_HEADS 8
#define GATE_WARPS 4 // in a block

// A warp makes the gates of GATE_ROWS rows, GATE_HEADS heads at a time.
static __global__ void __launch_bounds__(GATE_WARPS * 32, 3) gla_gate_kernel(float *gate,         // (rows, H)
                                                                             const bf16 *x,       // (rows, C)
                                                                             const float *weight, // (H, C)
                                                                             const float *bias,   // (H)
                                                                             int64_t rows, int C, int H) {
    int64_t row = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / 32 * GATE_ROWS;
    int lane = threadIdx.x % 32;
    if (row >= rows) return;
    for (int head = 0; head < H; head += GATE_HEADS) {
        float sum[GATE_ROWS][GATE_HEADS] = {};
        for (int c = lane * 8; c < C; c += 32 * 8) {
            float element[GATE_ROWS][8];
#pragma unroll
            for (int r = 0; r < GATE_ROWS; r++)
                unpack(element[r], *(const Bf16x8 *)(x + min(row + r, rows - 1) * C + c));
#pragma unroll
            for (int h = 0; h < GATE_HEADS; h++) {
                const float4 *w = (const float4 *)(weight + (int64_t)min(head + h, H - 1) * C + c);
                float4 low = w[0], high = w[1];
#pragma unroll
                for (int r = 0; r < GATE_ROWS; r++) {
                    const float *e = element[r];
                    sum[r][h] += e[0] * low.x + e[1] * low.y + e[2] * low.z + e[3] * low.w + e[4] * high.x +
                                 e[5] * high.y + e[6] * high.z + e[7] * high.w;
                }
            }
        }
        double z = 0; // of the row and head that are this lane's
#pragma unroll
        for (int r = 0; r < GATE_ROWS; r++)
#pragma unroll
            for (int h = 0; h < GATE_HEADS; h++) {
                float total = warp_sum(sum[r][h]);
                if (lane == r * GATE_HEADS + h) z = total;
            }
        int64_t own_row = row + lane / GATE_HEADS;
        int own_head = head + lane % GATE_HEADS;
        if (own_row >= rows || own_head >= H) continue;
        z += bias[own_head];
        gate[own_row * H + own_head] = (float)((z < 0 ? z - log1p(exp(z)) : -log1p(exp(-z))) / 16);
    }
}

void cuda_gla_gate(CudaContext *context, float *gate, const bf16 *x, const float *weight, const float *bias,
                   int64_t rows, int64_t C, int64_t H) {
    assert(C % 8 == 0 && GATE_ROWS * GATE_HEADS == 32);
    gla_gate_kernel<<<(unsigned)ceil_div(rows, GATE_WARPS * GATE_ROWS), GATE_WARPS * 32, 0,
                      context->stream>>>(gate, x, weight, bias, rows, (int)C, (int)H);
    CUDA_CHECK(cudaGetLastError());
}

// ---- Matrix products of a warp: 16 x 16 times 16 x 8, bf16 to float32. With g = lane / 4 and t = lane % 4,
// a lane holds of the product elements (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).

static inline __device__ void mma(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 blocks from shared memory, as they lie or each transposed; lanes 8j ... 8j + 7 point at the rows
// of block j.
static inline __device__ void load_blocks(unsigned (&x)[4], const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row)));
}
static inline __device__ void load_blocks_transposed(unsigned (&x)[4], const bf16 *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"((unsigned)__cvta_generic_to_shared(row)));
}

// Two float32 as GLA_PARTS pairs of bf16 that add up to them.
static inline __device__ void split(unsigned (&parts)[GLA_PARTS], float x, float y) {
#pragma unroll
    for (int part = 0; part < GLA_PARTS; part++) {
        __nv_bfloat162 rounded = __floats2bfloat162_rn(x, y);
        x -= __low2float(rounded);
        y -= __high2float(rounded);
        memcpy(&parts[part], &rounded, sizeof rounded);
    }
}

// ---- The recurrence.

// Rows are padded so that eight of them, 16 bytes each, lie in different banks.
template <int D> struct GlaShared {
    bf16 q[GLA_CHUNK][D + 8], k[GLA_CHUNK][D + 8], v[GLA_CHUNK][D + 8];
    bf16 state[GLA_PARTS][D][D + 8]; // before the chunk
    double sum[GLA_CHUNK];           // G
};

// How the state (D, D) is spread over the first WARPS warps: 16 of its rows each, and all columns or half of
// them.
template <int D> struct GlaState {
    static const int ROW_TILES = D / 16, PARTS = GLA_WARPS / ROW_TILES, COLUMN_TILES = D / 8 / PARTS;
    static const int WARPS = ROW_TILES * PARTS;
};

typedef struct {
    CudaRows q, k, v;
    const float *gate; // (B, N, H)
    int H, n, dilation, entries, segments;
    float *states; // (2, B, H, dilation, segments, D, D): what a segment adds; after the scan, what it begins
                   // with
    double *decays;      // (2, B, H, dilation, segments): sum of g over a segment
    float *score[2];     // (B, H, E)
    int summed;          // segments whose sums are needed: all but the last, which too if `after` is
    const float *before; // (2, B, H, dilation, D, D) state before the first token; NULL: zero
    float *after;        // likewise that behind the last, to write; or NULL
} GlaProblem;

// Copies one chunk's rows of a subsequence; rows past its end are zero.   first: the chunk's first token
// there
template <int D>
static inline __device__ void load_chunk(bf16 (*to)[D + 8], const CudaRows &from, const GlaProblem &p,
                                         int64_t b, int h, int r, int first) {
    const int LANES = row_lanes(D / 8);
    int lane = threadIdx.x % LANES;
    if (lane >= D / 8) return;
    for (int i = threadIdx.x / LANES; i < GLA_CHUNK; i += GLA_WARPS * 32 / LANES) {
        int64_t t = (int64_t)(first + i) * p.dilation + r;
        bool there = t < p.n;
        __pipeline_memcpy_async(&to[i][lane * 8], cuda_rows_at(from, b, h, there ? t : 0, lane), 16,
                                there ? 0 : 16);
    }
}

// Sums of the gate from the chunk's first token on, by one warp.
static inline __device__ void sum_gates(double *sum, const GlaProblem &p, int64_t b, int h, int r,
                                        int first) {
    const int OWN = GLA_CHUNK / 32;
    int lane = threadIdx.x % 32;
    double own[OWN], total = 0;
    for (int i = 0; i < OWN; i++) {
        int64_t t = (int64_t)(first + lane * OWN + i) * p.dilation + r;
        total += t < p.n ? p.gate[(b * p.n + t) * p.H + h] : 0;
        own[i] = total;
    }
    double before = total;
    for (int step = 1; step < 32; step *= 2) {
        double other = __shfl_up_sync(0xffffffffu, before, step);
        if (lane >= step) before += other;
    }
    for (int i = 0; i < OWN; i++) sum[lane * OWN + i] = before - total + own[i];
}

static inline __device__ float decay(double sum) {
    return expf((float)sum);
}

// Hands the warp's part of the state, rows `row` on and columns `column` on, to all warps.
template <int D>
static inline __device__ void share_state(GlaShared<D> &shared,
                                          const float (&state)[GlaState<D>::COLUMN_TILES][4], int row,
                                          int column, int lane) {
#pragma unroll
    for (int n = 0; n < GlaState<D>::COLUMN_TILES; n++)
#pragma unroll
        for (int low = 0; low < 2; low++) {
            unsigned parts[GLA_PARTS];
            split(parts, state[n][2 * low], state[n][2 * low + 1]);
#pragma unroll
            for (int part = 0; part < GLA_PARTS; part++)
                *(unsigned *)&shared.state[part][row + lane / 4 + low * 8][column + n * 8 + lane % 4 * 2] =
                    parts[part];
        }
}

// out = e^G q S for the warp's 16 rows.
template <int D>
static inline __device__ void read_state(float (&out)[D / 8][4], const GlaShared<D> &shared, int row,
                                         int lane) {
#pragma unroll 1
    for (int k = 0; k < D; k += 16) {
        unsigned q[4];
        load_blocks(q, &shared.q[row + lane % 16][k + lane / 16 * 8]);
#pragma unroll
        for (int n = 0; n < D / 16; n++)
#pragma unroll
            for (int part = 0; part < GLA_PARTS; part++) {
                unsigned s[4];
                load_blocks_transposed(s, &shared.state[part][k + lane % 16][n * 16 + lane / 16 * 8]);
                mma(out[2 * n], q, s[0], s[1]);
                mma(out[2 * n + 1], q, s[2], s[3]);
            }
    }
    float low = decay(shared.sum[row + lane / 4]), high = decay(shared.sum[row + lane / 4 + 8]);
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        out[n][0] *= low, out[n][1] *= low;
        out[n][2] *= high, out[n][3] *= high;
    }
}

// out += the part of the chunk's own tokens, 16 keys at a time up to the rows' own.
template <int D>
static inline __device__ void read_chunk(float (&out)[D / 8][4], const GlaShared<D> &shared, int row,
                                         int lane) {
    double sum[2] = {shared.sum[row + lane / 4], shared.sum[row + lane / 4 + 8]};
#pragma unroll 1
    for (int key = 0; key <= row; key += 16) {
        float product[2][4] = {};
#pragma unroll
        for (int k = 0; k < D; k += 16) {
            unsigned q[4], keys[4];
            load_blocks(q, &shared.q[row + lane % 16][k + lane / 16 * 8]);
            load_blocks(keys, &shared.k[key + lane % 8 + lane / 16 * 8][k + lane / 8 % 2 * 8]);
            mma(product[0], q, keys[0], keys[1]);
            mma(product[1], q, keys[2], keys[3]);
        }
        unsigned a[4][GLA_PARTS]; // a product's elements lie as a factor's do
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int low = 0; low < 2; low++) {
                float weighted[2];
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    int i = key + half * 8 + lane % 4 * 2 + e, t = row + lane / 4 + low * 8;
                    weighted[e] = i <= t ? product[half][low * 2 + e] * decay(sum[low] - shared.sum[i]) : 0;
                }
                split(a[half * 2 + low], weighted[0], weighted[1]);
            }
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            unsigned v[4];
            load_blocks_transposed(v, &shared.v[key + lane % 16][n * 16 + lane / 16 * 8]);
#pragma unroll
            for (int part = 0; part < GLA_PARTS; part++) {
                unsigned factor[4] = {a[0][part], a[1][part], a[2][part], a[3][part]};
                mma(out[2 * n], factor, v[0], v[1]);
                mma(out[2 * n + 1], factor, v[2], v[3]);
            }
        }
    }
}

// The warp's part of the state, rows `row` on and columns `column` on, from before the chunk to behind it.
template <int D>
static inline __device__ void update_state(float (&state)[GlaState<D>::COLUMN_TILES][4],
                                           const GlaShared<D> &shared, int row, int column, int lane) {
    const int COLUMN_TILES = GlaState<D>::COLUMN_TILES;
    double last = shared.sum[GLA_CHUNK - 1];
    float whole = decay(last);
#pragma unroll
    for (int n = 0; n < COLUMN_TILES; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) state[n][e] *= whole;
#pragma unroll 1
    for (int token = 0; token < GLA_CHUNK; token += 16) {
        unsigned k[4], a[4][GLA_PARTS];
        load_blocks_transposed(k, &shared.k[token + lane % 8 + lane / 16 * 8][row + lane / 8 % 2 * 8]);
#pragma unroll
        for (int block = 0; block < 4; block++) {
            __nv_bfloat162 pair;
            memcpy(&pair, &k[block], sizeof pair);
            int i = token + block / 2 * 8 + lane % 4 * 2;
            split(a[block], __low2float(pair) * decay(last - shared.sum[i]),
                  __high2float(pair) * decay(last - shared.sum[i + 1]));
        }
#pragma unroll
        for (int n = 0; n < COLUMN_TILES / 2; n++) {
            unsigned v[4];
            load_blocks_transposed(v, &shared.v[token + lane % 16][column + n * 16 + lane / 16 * 8]);
#pragma unroll
            for (int part = 0; part < GLA_PARTS; part++) {
                unsigned factor[4] = {a[0][part], a[1][part], a[2][part], a[3][part]};
                mma(state[2 * n], factor, v[0], v[1]);
                mma(state[2 * n + 1], factor, v[2], v[3]);
            }
        }
    }
}

// Norms of the warp's 16 outputs.
template <int D>
static inline __device__ void write_scores(float *score, const float (&out)[D / 8][4], const GlaProblem &p,
                                           int r, int first, int lane) {
    double squares[2] = {0, 0};
#pragma unroll
    for (int n = 0; n < D / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) squares[e / 2] += (double)out[n][e] * out[n][e];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        squares[half] += __shfl_xor_sync(0xffffffffu, squares[half], 1);
        squares[half] += __shfl_xor_sync(0xffffffffu, squares[half], 2);
        int64_t t = (int64_t)(first + lane / 4 + half * 8) * p.dilation + r;
        if (lane % 4 == 0 && t < p.n) score[t] = (float)sqrt(squares[half] / D);
    }
}

// A block takes one segment of one subsequence; blockIdx.y 1 exchanges q and k. SCORES: the second pass; else
// the first, over the segments whose sums are needed.
template <int D, bool SCORES>
static __global__ void __launch_bounds__(GLA_WARPS * 32, 1) gla_kernel(const __grid_constant__ GlaProblem p) {
    const int COLUMN_TILES = GlaState<D>::COLUMN_TILES;
    extern __shared__ __align__(16) unsigned char memory[];
    GlaShared<D> &shared = *(GlaShared<D> *)memory;
    int segments = SCORES ? p.segments : p.summed, segment = (int)(blockIdx.x % segments);
    int64_t sequence = blockIdx.x / segments, b = sequence / p.dilation / p.H;
    int r = (int)(sequence % p.dilation), h = (int)(sequence / p.dilation % p.H);
    int64_t slot = ((int64_t)blockIdx.y * (gridDim.x / segments) + sequence) * p.segments + segment;
    const CudaRows &q = blockIdx.y == 0 ? p.q : p.k, &k = blockIdx.y == 0 ? p.k : p.q;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    bool holds = warp < GlaState<D>::WARPS; // a part of the state
    int state_row = warp % GlaState<D>::ROW_TILES * 16,
        state_column = warp / GlaState<D>::ROW_TILES * COLUMN_TILES * 8;

    float *stored = p.states + slot * D * D + (state_row + lane / 4) * D + state_column + lane % 4 * 2;
    float state[COLUMN_TILES][4] = {};
    if (SCORES && holds && (segment > 0 || p.before)) {
#pragma unroll
        for (int n = 0; n < COLUMN_TILES; n++) {
            float2 low = *(float2 *)(stored + n * 8), high = *(float2 *)(stored + 8 * D + n * 8);
            state[n][0] = low.x, state[n][1] = low.y, state[n][2] = high.x, state[n][3] = high.y;
        }
    }
    double total = 0;
    int length = p.n / p.dilation, end = min((segment + 1) * GLA_SEGMENT, length);
    for (int first = segment * GLA_SEGMENT; first < end; first += GLA_CHUNK) {
        load_chunk<D>(shared.k, k, p, b, h, r, first);
        load_chunk<D>(shared.v, p.v, p, b, h, r, first);
        if (SCORES) {
            load_chunk<D>(shared.q, q, p, b, h, r, first);
            if (holds) share_state<D>(shared, state, state_row, state_column, lane);
        }
        if (warp == 0) sum_gates(shared.sum, p, b, h, r, first);
        __pipeline_commit();
        __pipeline_wait_prior(0);
        __syncthreads();
        if (SCORES) {
            float out[D / 8][4] = {};
            read_state<D>(out, shared, warp * 16, lane);
            read_chunk<D>(out, shared, warp * 16, lane);
            write_scores<D>(p.score[blockIdx.y] + (b * p.H + h) * p.entries, out, p, r, first + warp * 16,
                            lane);
        }
        if (holds) update_state<D>(state, shared, state_row, state_column, lane);
        total += shared.sum[GLA_CHUNK - 1];
        __syncthreads();
    }
    if (!SCORES && holds) {
#pragma unroll
        for (int n = 0; n < COLUMN_TILES; n++) {
            *(float2 *)(stored + n * 8) = make_float2(state[n][0], state[n][1]);
            *(float2 *)(stored + 8 * D + n * 8) = make_float2(state[n][2], state[n][3]);
        }
        if (threadIdx.x == 0) p.decays[slot] = total;
    }
}

// Turns what every segment adds into what it begins with; a thread has one element of the states of a
// subsequence. These lie along x, for y ends at 65,535.
static __global__ void gla_scan_kernel(const __grid_constant__ GlaProblem p, int size /* D D */) {
    int64_t sequence = blockIdx.x, slot = sequence * p.segments;
    int element = blockIdx.y * blockDim.x + threadIdx.x;
    float before = p.before ? p.before[sequence * size + element] : 0;
    for (int segment = 0; segment < p.segments; segment++, slot++) {
        float *state = p.states + slot * size + element;
        float begins = before;
        if (segment < p.summed) before = decay(p.decays[slot]) * before + *state;
        *state = begins;
    }
    if (p.after) p.after[sequence * size + element] = before;
}

template <int D, bool SCORES>
static inline bool gla_pass(CudaContext *context, const GlaProblem *p, int64_t blocks, Error *error) {
    int limit;
    CUDA_TRY(cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, context->device), error);
    if ((size_t)limit < sizeof(GlaShared<D>))
        return error_set(
            error, STATUS_USAGE,
            "--scorer gla with heads of width %d needs %zu bytes of shared memory a thread block, this "
            "GPU has %d: use --scorer norm, or a GPU of compute capability 9.0",
            D, sizeof(GlaShared<D>), limit);
    CUDA_TRY(cudaFuncSetAttribute(gla_kernel<D, SCORES>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  (int)sizeof(GlaShared<D>)),
             error);
    gla_kernel<D, SCORES>
        <<<dim3((unsigned)blocks, 2), GLA_WARPS * 32, sizeof(GlaShared<D>), context->stream>>>(*p);
    CUDA_CHECK(cudaGetLastError());
    return true;
}

template <int D>
static inline bool gla_passes(CudaContext *context, GlaProblem *p, int64_t sequences, const GlaHanded *handed,
                              Error *error) {
    const CudaCp *cp = handed->cp;
    int64_t states = 2 * sequences * D * D;
    if (cp && cp->index > 0) p->before = handed->before;
    if (cp && cp->index + 1 < cp->size) p->after = handed->after;
    p->summed = p->after ? p->segments : p->segments - 1;
    if (p->summed > 0 && !gla_pass<D, false>(context, p, sequences * p->summed, error)) return false;
    if (p->before) {
        collectives_receive(cp->queue, (int)cp->index - 1, handed->before, states, ELEMENT_F32);
        cuda_context_wait(cp, "the state of the gla scorer");
    }
    if (p->summed > 0 || p->before) {
        gla_scan_kernel<<<dim3((unsigned)(2 * sequences), D * D / 256), 256, 0, context->stream>>>(*p, D * D);
        CUDA_CHECK(cudaGetLastError());
    }
    if (p->after) collectives_send(cp->queue, (int)cp->index + 1, p->after, states, ELEMENT_F32);
    bool ok = gla_pass<D, true>(context, p, sequences * p->segments, error);
    if (p->after) cuda_context_wait(cp, "the state of the gla scorer"); // it went while scores were made
    return ok;
}

bool gla_scores(CudaContext *context, LighthouseScores scores, CudaRows q, CudaRows k, CudaRows v,
                const float *gate, float *states, double *decays, const GlaHanded *handed,
                const LighthouseShape *shape, Error *error) {
    int64_t N = shape->hierarchy.n, dilation = shape->config.dilation;
    GlaProblem p = {q,
                    k,
                    v,
                    gate,
                    (int)shape->H,
                    (int)N,
                    (int)dilation,
                    (int)shape->hierarchy.n_entries,
                    (int)gla_segments(N, dilation),
                    states,
                    decays,
                    {scores.q, scores.k},
                    0,
                    NULL,
                    NULL};
    int64_t sequences = shape->B * shape->H * dilation;
    assert(head_width_known(shape->D));
    auto passes = FOR_HEAD_WIDTH(shape->D, gla_passes);
    return passes(context, &p, sequences, handed, error);
}
