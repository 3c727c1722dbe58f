// Linear layers through cuBLASLt; see matmul.cuh.
#include "cuda/libraries/matmul.cuh"
#include "core/base/choice.h"

#include <string.h>

#include <vector>

#define PRODUCTS(X)                                      \
    X(PRODUCT_FORWARD, "forward")                        \
    X(PRODUCT_FORWARD_RESIDUAL, "forward with residual") \
    X(PRODUCT_FORWARD_FLOAT32, "forward to float32")     \
    X(PRODUCT_BACKWARD_INPUT, "backward of the input")   \
    X(PRODUCT_BACKWARD_WEIGHT, "backward of the weight")
typedef enum { PRODUCTS(CHOICE_VALUE) } Product;

typedef struct {
    Product product;
    int64_t rows, n_in, n_out;
} MatmulShape;

// cuBLASLt is column-major: what lies as a row-major (r, c) is to it a (c, r). Each product is therefore
// asked for as its transpose, d (m, n) = op(a) (m, k) b (k, n) + beta c:
//   forward           out^T     (n_out, rows) = weight^T^T in^T       a = weight, transposed
//   backward, input   din^T     (n_in, rows)  = weight^T dout^T
//   backward, weight  dweight^T (n_in, n_out) = in^T dout^T^T         b = dout, transposed
typedef struct {
    MatmulShape shape;
    float beta;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
} MatmulPlan;

struct Matmul {
    cublasLtHandle_t cublas;
    int capability;
    cudaStream_t stream;
    void *workspace;
    std::vector<MatmulPlan> plans; // in the order in which they were asked for
};

Matmul *matmul_create(const CudaContext *context, void *workspace) {
    Matmul *matmul = new Matmul();
    matmul->cublas = context->cublas;
    matmul->capability = context->capability;
    matmul->stream = context->stream;
    matmul->workspace = workspace;
    return matmul;
}

static void plan_free(MatmulPlan *plan) {
    CUBLAS_CHECK(cublasLtMatmulDescDestroy(plan->operation));
    CUBLAS_CHECK(cublasLtMatrixLayoutDestroy(plan->a));
    CUBLAS_CHECK(cublasLtMatrixLayoutDestroy(plan->b));
    CUBLAS_CHECK(cublasLtMatrixLayoutDestroy(plan->c));
}

void matmul_destroy(Matmul *matmul) {
    if (!matmul) return;
    for (MatmulPlan &plan : matmul->plans) plan_free(&plan);
    delete matmul;
}

// A row-major (rows, cols) as cuBLASLt sees it.
static cublasLtMatrixLayout_t layout(cudaDataType_t type, int64_t rows, int64_t cols) {
    cublasLtMatrixLayout_t made;
    CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&made, type, (uint64_t)cols, (uint64_t)rows, cols));
    return made;
}

static MatmulPlan plan_describe(const MatmulShape *shape) {
    MatmulPlan plan;
    memset(&plan, 0, sizeof plan);
    plan.shape = *shape;
    Product product = shape->product;
    bool backward = product == PRODUCT_BACKWARD_INPUT || product == PRODUCT_BACKWARD_WEIGHT;
    bool adds = product == PRODUCT_FORWARD_RESIDUAL || product == PRODUCT_BACKWARD_WEIGHT;
    cublasLtMatrixLayout_t weight_like =
        layout(product == PRODUCT_BACKWARD_WEIGHT ? CUDA_R_32F : CUDA_R_16BF, shape->n_out, shape->n_in);
    cublasLtMatrixLayout_t in_like = layout(CUDA_R_16BF, shape->rows, shape->n_in);
    cublasLtMatrixLayout_t out_like =
        layout(product == PRODUCT_FORWARD_FLOAT32 ? CUDA_R_32F : CUDA_R_16BF, shape->rows, shape->n_out);
    cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
    if (!backward) {
        plan.a = weight_like, plan.b = in_like, plan.c = out_like;
        transpose_a = CUBLAS_OP_T;
    } else if (product == PRODUCT_BACKWARD_INPUT) {
        plan.a = weight_like, plan.b = out_like, plan.c = in_like;
    } else {
        plan.a = in_like, plan.b = out_like, plan.c = weight_like;
        transpose_b = CUBLAS_OP_T;
    }
    plan.beta = adds ? 1.0f : 0.0f;
    CUBLAS_CHECK(cublasLtMatmulDescCreate(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, &transpose_a,
                                                sizeof transpose_a));
    CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, &transpose_b,
                                                sizeof transpose_b));
    return plan;
}

// Tiles of up to 176 x 128 results: a multiprocessor has room for two of them.
static bool is_small_tile(uint32_t tile) {
    switch (tile) {
    case CUBLASLT_MATMUL_TILE_128x128:
    case CUBLASLT_MATMUL_TILE_128x136:
    case CUBLASLT_MATMUL_TILE_128x144:
    case CUBLASLT_MATMUL_TILE_128x152:
    case CUBLASLT_MATMUL_TILE_128x160:
    case CUBLASLT_MATMUL_TILE_128x168:
    case CUBLASLT_MATMUL_TILE_128x176:
    case CUBLASLT_MATMUL_TILE_136x128:
    case CUBLASLT_MATMUL_TILE_144x128:
    case CUBLASLT_MATMUL_TILE_152x128:
    case CUBLASLT_MATMUL_TILE_160x128:
    case CUBLASLT_MATMUL_TILE_168x128:
    case CUBLASLT_MATMUL_TILE_176x128: return true;
    default: return false;
    }
}

static int64_t terms_of_sum(const MatmulShape *shape) {
    switch (shape->product) {
    case PRODUCT_BACKWARD_INPUT: return shape->n_out;
    case PRODUCT_BACKWARD_WEIGHT: return shape->rows;
    default: return shape->n_in;
    }
}

// Which of the heuristics' results to take. They list large tiles first, which read the operands least often.
// But a tile that is being stored multiplies nothing, and with sums as short as a model's width that is a
// good part of its time; of small tiles one is multiplied while another is stored. On an H200, products of
// 98,304 rows with sums of 1,024 and 1,536 terms take 2 to 13 % less time so, those of the language-model
// head in chunks of 2,048 to 8,192 rows 5 to 18 % less; with sums of 98,304 terms nothing is gained.
static int choose_result(const MatmulShape *shape, int capability,
                         const cublasLtMatmulHeuristicResult_t *results, int found) {
    const int64_t SHORT_SUM = 8192; // up to which this was measured to gain
    const float MIN_WAVES = 2;      // of tiles, one for each multiprocessor: with less there is no other tile
    if (capability != 90 || terms_of_sum(shape) > SHORT_SUM) return 0;
    for (int i = 0; i < found; i++) {
        uint32_t tile = CUBLASLT_MATMUL_TILE_UNDEFINED;
        int32_t slices = 0;
        if (cublasLtMatmulAlgoConfigGetAttribute(&results[i].algo, CUBLASLT_ALGO_CONFIG_TILE_ID, &tile,
                                                 sizeof tile, NULL) == CUBLAS_STATUS_SUCCESS &&
            cublasLtMatmulAlgoConfigGetAttribute(&results[i].algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &slices,
                                                 sizeof slices, NULL) == CUBLAS_STATUS_SUCCESS &&
            results[i].state == CUBLAS_STATUS_SUCCESS && results[i].wavesCount >= MIN_WAVES && slices <= 1 &&
            is_small_tile(tile))
            return i;
    }
    return 0;
}

static cublasStatus_t plan_choose(const Matmul *matmul, MatmulPlan *plan) {
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t results[16];
    size_t bytes = MATMUL_WORKSPACE_BYTES;
    uint32_t alignment = 16;
    const cublasLtMatmulPreferenceAttributes_t aligned[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    int found = 0;
    CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
    CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                      &bytes, sizeof bytes));
    for (cublasLtMatmulPreferenceAttributes_t attribute : aligned) {
        CUBLAS_CHECK(
            cublasLtMatmulPreferenceSetAttribute(preference, attribute, &alignment, sizeof alignment));
    }
    cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(matmul->cublas, plan->operation, plan->a, plan->b, plan->c, plan->c,
                                       preference, (int)(sizeof results / sizeof *results), results, &found);
    CUBLAS_CHECK(cublasLtMatmulPreferenceDestroy(preference));
    if (status == CUBLAS_STATUS_SUCCESS && found == 0) status = CUBLAS_STATUS_NOT_SUPPORTED;
    if (status == CUBLAS_STATUS_SUCCESS) {
        plan->algorithm = results[choose_result(&plan->shape, matmul->capability, results, found)].algo;
    }
    return status;
}

static bool same_shape(const MatmulShape *a, const MatmulShape *b) {
    return a->product == b->product && a->rows == b->rows && a->n_in == b->n_in && a->n_out == b->n_out;
}

static bool product_error(Error *error, const MatmulShape *shape, cublasStatus_t status) {
    static const char *const names[] = {PRODUCTS(CHOICE_NAME)};
    cublas_error_set(error, status, "cublasLtMatmul", __FILE__, __LINE__);
    return error_prefix(error, "linear layer, %s, %lld rows, %lld to %lld", names[shape->product],
                        (long long)shape->rows, (long long)shape->n_in, (long long)shape->n_out);
}

// d = op(a) b + beta c, in cuBLASLt's terms.
static bool run(Matmul *matmul, MatmulShape shape, void *d, const void *a, const void *b, const void *c,
                Error *error) {
    const MatmulPlan *plan = NULL;
    for (const MatmulPlan &known : matmul->plans) {
        if (same_shape(&known.shape, &shape)) plan = &known;
    }
    if (!plan) {
        MatmulPlan made = plan_describe(&shape);
        cublasStatus_t status = plan_choose(matmul, &made);
        if (status != CUBLAS_STATUS_SUCCESS) {
            plan_free(&made);
            return product_error(error, &shape, status);
        }
        matmul->plans.push_back(made);
        plan = &matmul->plans.back();
    }
    const float one = 1;
    cublasStatus_t status = cublasLtMatmul(matmul->cublas, plan->operation, &one, a, plan->a, b, plan->b,
                                           &plan->beta, c, plan->c, d, plan->c, &plan->algorithm,
                                           matmul->workspace, MATMUL_WORKSPACE_BYTES, matmul->stream);
    return status == CUBLAS_STATUS_SUCCESS || product_error(error, &shape, status);
}

bool cuda_matmul_forward(Matmul *matmul,
                         bf16 *out,            // (rows, n_out)
                         const bf16 *in,       // (rows, n_in)
                         const bf16 *weight,   // (n_out, n_in)
                         const bf16 *residual, // (rows, n_out) or NULL
                         int64_t rows, int64_t n_in, int64_t n_out, Error *error) {
    MatmulShape shape = {residual ? PRODUCT_FORWARD_RESIDUAL : PRODUCT_FORWARD, rows, n_in, n_out};
    return run(matmul, shape, out, weight, in, residual ? residual : out, error);
}

bool matmul_forward_float32(Matmul *matmul,
                            float *out,         // (rows, n_out)
                            const bf16 *in,     // (rows, n_in)
                            const bf16 *weight, // (n_out, n_in)
                            int64_t rows, int64_t n_in, int64_t n_out, Error *error) {
    MatmulShape shape = {PRODUCT_FORWARD_FLOAT32, rows, n_in, n_out};
    return run(matmul, shape, out, weight, in, out, error);
}

bool cuda_matmul_backward_input(Matmul *matmul,
                                bf16 *din,          // (rows, n_in)
                                const bf16 *dout,   // (rows, n_out)
                                const bf16 *weight, // (n_out, n_in)
                                int64_t rows, int64_t n_in, int64_t n_out, Error *error) {
    MatmulShape shape = {PRODUCT_BACKWARD_INPUT, rows, n_in, n_out};
    return run(matmul, shape, din, weight, dout, din, error);
}

bool cuda_matmul_backward_weight(Matmul *matmul,
                                 float *dweight,   // (n_out, n_in)
                                 const bf16 *dout, // (rows, n_out)
                                 const bf16 *in,   // (rows, n_in)
                                 int64_t rows, int64_t n_in, int64_t n_out, Error *error) {
    MatmulShape shape = {PRODUCT_BACKWARD_WEIGHT, rows, n_in, n_out};
    return run(matmul, shape, dweight, in, dout, dweight, error);
}
