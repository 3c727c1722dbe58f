// Causal attention through cuDNN's graph interface; see sdpa.cuh. A translation unit of its own, and the only
// one that sees cuDNN: its frontend's headers take long to compile.
#include "sdpa.cuh"
#include "cuda/device/common.cuh"

#include <cudnn_frontend.h>

#include <assert.h>
#include <math.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace fe = cudnn_frontend;
typedef std::shared_ptr<fe::graph::Graph> Graph;
typedef std::shared_ptr<fe::graph::Tensor_attributes> Tensor;
typedef std::unordered_map<int64_t, void *> Pointers; // tensor id -> device address

// Our tensors' ids. The frontend numbers its own scalars (the scale, for one) from 1 upwards, and an id in
// Pointers that is not the graph's own silently takes the place of one: so they start high, and a call hands
// over exactly those of its graph.
enum { ID_Q = 1000, ID_K, ID_V, ID_OUT, ID_STATS, ID_DOUT, ID_DQ, ID_DK, ID_DV };

// Oldest cuDNN that the tests have run with.
static const size_t MIN_CUDNN = 91400;

typedef struct {
    SdpaProblem problem;
    SdpaPass pass;
    SdpaProblem
        part; // what one run of the graph covers: all of the problem, or one key/value head of one sequence
    Graph graph;
    size_t workspace_bytes;
} Plan;

struct Sdpa {
    cudnnHandle_t handle;
    bool deterministic;
    int capability;
    std::vector<Plan> plans;
};

// ---------------------------------------------------------------------------------------------------------------
// Graphs: what is computed, on which shapes and strides.

static fe::graph::Tensor_attributes describe(const char *name, int64_t id, const SdpaProblem *p,
                                             int64_t heads, SdpaStrides strides) {
    return fe::graph::Tensor_attributes()
        .set_name(name)
        .set_uid(id)
        .set_dim({p->batch, heads, p->rows, p->head_dim})
        .set_stride({strides.batch, strides.head, strides.row, 1});
}

static fe::graph::Tensor_attributes describe_stats(const SdpaProblem *p) {
    return fe::graph::Tensor_attributes()
        .set_name("stats")
        .set_uid(ID_STATS)
        .set_dim({p->batch, p->n_heads, p->rows, 1})
        .set_stride({p->n_heads * p->rows, p->rows, 1, 1})
        .set_data_type(fe::DataType_t::FLOAT);
}

// Makes `tensor`, which a graph has just computed, the output that `attributes` describe.
static void set_output(Tensor tensor, const fe::graph::Tensor_attributes &attributes) {
    tensor->set_output(true)
        .set_uid(attributes.get_uid())
        .set_dim(attributes.get_dim())
        .set_stride(attributes.get_stride());
}

static Graph graph_create(void) {
    Graph graph = std::make_shared<fe::graph::Graph>();
    graph->set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    return graph;
}

static float scale(const SdpaProblem *p) {
    return 1.0f / sqrtf((float)p->head_dim);
}

static Graph forward_graph(const SdpaProblem *p, bool stats) {
    Graph graph = graph_create();
    Tensor q = graph->tensor(describe("q", ID_Q, p, p->n_heads, p->q));
    Tensor k = graph->tensor(describe("k", ID_K, p, p->n_kv_heads, p->k));
    Tensor v = graph->tensor(describe("v", ID_V, p, p->n_kv_heads, p->v));
    auto options = fe::graph::SDPA_attributes()
                       .set_name("sdpa")
                       .set_generate_stats(stats)
                       .set_attn_scale(scale(p))
                       .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                       .set_diagonal_band_right_bound(0);
    auto [out, log_sum_exp] = graph->sdpa(q, k, v, options);
    set_output(out, describe("out", ID_OUT, p, p->n_heads, p->out));
    if (stats) {
        set_output(log_sum_exp, describe_stats(p));
        log_sum_exp->set_data_type(fe::DataType_t::FLOAT);
    }
    return graph;
}

static Graph backward_graph(const SdpaProblem *p, bool deterministic) {
    Graph graph = graph_create();
    Tensor q = graph->tensor(describe("q", ID_Q, p, p->n_heads, p->q));
    Tensor k = graph->tensor(describe("k", ID_K, p, p->n_kv_heads, p->k));
    Tensor v = graph->tensor(describe("v", ID_V, p, p->n_kv_heads, p->v));
    Tensor out = graph->tensor(describe("out", ID_OUT, p, p->n_heads, p->out));
    Tensor dout = graph->tensor(describe("dout", ID_DOUT, p, p->n_heads, p->out));
    Tensor stats = graph->tensor(describe_stats(p));
    auto options = fe::graph::SDPA_backward_attributes()
                       .set_name("sdpa_backward")
                       .set_attn_scale(scale(p))
                       .set_deterministic_algorithm(deterministic)
                       .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                       .set_diagonal_band_right_bound(0);
    auto [dq, dk, dv] = graph->sdpa_backward(q, k, v, out, dout, stats, options);
    set_output(dq, describe("dq", ID_DQ, p, p->n_heads, p->q));
    set_output(dk, describe("dk", ID_DK, p, p->n_kv_heads, p->k));
    set_output(dv, describe("dv", ID_DV, p, p->n_kv_heads, p->v));
    return graph;
}

// ---------------------------------------------------------------------------------------------------------------
// Plans: graphs made ready to run.

static bool frontend_error_set(Error *error, const Sdpa *sdpa, const SdpaProblem *p, const char *what,
                               fe::error_t status) {
    std::string message = status.get_message();
    for (char &c : message)
        if (c == '\n') c = ' ';
    size_t version = cudnnGetVersion();
    return error_set(
        error, STATUS_USAGE,
        "cuDNN %zu.%zu.%zu on compute capability %d.%d cannot %s causal attention of %lld x %lld heads "
        "(%lld of keys), %lld rows, head dimension %lld: %s; CUDNN_FRONTEND_LOG_INFO=1 "
        "CUDNN_FRONTEND_LOG_FILE=stderr says more, a later cuDNN may do it",
        version / 10000, version / 100 % 100, version % 100, sdpa->capability / 10, sdpa->capability % 10,
        what, (long long)p->batch, (long long)p->n_heads, (long long)p->n_kv_heads, (long long)p->rows,
        (long long)p->head_dim, message.c_str());
}

// Builds plan->graph for plan->part, with no kernel that wants more than max_workspace.
static fe::error_t plan_build(Sdpa *sdpa, Plan *plan, int64_t max_workspace) {
    plan->graph = plan->pass == SDPA_BACKWARD ? backward_graph(&plan->part, sdpa->deterministic)
                                              : forward_graph(&plan->part, plan->pass == SDPA_FORWARD_STATS);
    plan->graph->deselect_workspace_greater_than(max_workspace);
    fe::error_t status = plan->graph->build(sdpa->handle, {fe::HeurMode_t::A});
    if (status.is_bad()) return status;
    int64_t bytes = 0;
    status = plan->graph->get_workspace_size(bytes);
    plan->workspace_bytes = (size_t)bytes;
    return status;
}

static void assert_strides(SdpaStrides strides) {
    assert(strides.batch % 8 == 0 && strides.head % 8 == 0 && strides.row % 8 == 0);
    (void)strides;
}

static bool problem_check(const SdpaProblem *p, Error *error) {
    assert(p->batch > 0 && p->n_heads > 0 && p->n_kv_heads > 0 && p->rows > 0);
    assert_strides(p->q), assert_strides(p->k), assert_strides(p->v), assert_strides(p->out);
    if (!head_width_known(p->head_dim))
        return error_set(error, STATUS_USAGE,
                         "a head dimension of %lld: attention on the GPU takes " HEAD_WIDTHS
                         "; change the model's heads or "
                         "use --device cpu",
                         (long long)p->head_dim);
    if (p->n_heads % p->n_kv_heads)
        return error_set(error, STATUS_USAGE, "%lld key/value heads do not divide %lld query heads",
                         (long long)p->n_kv_heads, (long long)p->n_heads);
    return true;
}

static bool plan_build_forward(Sdpa *sdpa, Plan *plan, Error *error) {
    fe::error_t status = plan_build(sdpa, plan, INT64_MAX);
    if (status.is_bad()) return frontend_error_set(error, sdpa, &plan->problem, "plan", status);
    return true;
}

// For the whole problem at once where that is right and not too large, else for one key/value head at a time.
static bool plan_build_backward(Sdpa *sdpa, Plan *plan, Error *error) {
    const SdpaProblem *p = &plan->problem;
    const char *what = "plan the backward of";
    if (sdpa_reach(p, sdpa->deterministic) <= SDPA_MAX_REACH) {
        int64_t most = sdpa_max_workspace(sdpa->deterministic);
        fe::error_t status = plan_build(sdpa, plan, sdpa->deterministic ? most : INT64_MAX);
        if (status.is_bad() && !sdpa->deterministic) return frontend_error_set(error, sdpa, p, what, status);
        if (status.is_good() && (int64_t)plan->workspace_bytes <= most) return true;
    }
    plan->part = sdpa_single_head(p);
    if (sdpa_reach(&plan->part, sdpa->deterministic) > SDPA_MAX_REACH)
        return error_set(
            error, STATUS_USAGE,
            "%lld rows of attention, %lld elements from one to the next, are further apart than cuDNN's "
            "backward can reach (2^31 elements): use a smaller --seq-len or a larger --cp",
            (long long)p->rows, (long long)std::max(p->out.row, p->k.row));
    fe::error_t status = plan_build(sdpa, plan, INT64_MAX);
    if (status.is_bad()) return frontend_error_set(error, sdpa, p, what, status);
    return true;
}

// Finds the plan for a problem or makes it; NULL on error.
static const Plan *plan_get(Sdpa *sdpa, const SdpaProblem *problem, SdpaPass pass, Error *error) {
    for (const Plan &plan : sdpa->plans)
        if (plan.pass == pass && !memcmp(&plan.problem, problem, sizeof *problem)) return &plan;
    if (!problem_check(problem, error)) return NULL;
    Plan plan = {*problem, pass, *problem, NULL, 0};
    bool built = pass == SDPA_BACKWARD ? plan_build_backward(sdpa, &plan, error)
                                       : plan_build_forward(sdpa, &plan, error);
    if (!built) return NULL;
    sdpa->plans.push_back(plan);
    return &sdpa->plans.back();
}

static bool plan_run(Sdpa *sdpa, const Plan *plan, Pointers *pointers, void *workspace, Error *error) {
    fe::error_t status = plan->graph->execute(sdpa->handle, *pointers, workspace);
    if (status.is_bad()) return frontend_error_set(error, sdpa, &plan->problem, "run", status);
    return true;
}

// Address of head `head` of sequence `batch`.
static void *address(const bf16 *tensor, SdpaStrides strides, int64_t batch, int64_t head) {
    return (void *)(tensor + batch * strides.batch + head * strides.head);
}

// ---------------------------------------------------------------------------------------------------------------

size_t sdpa_cudnn_version(void) {
    return cudnnGetVersion();
}

Sdpa *sdpa_create(cudaStream_t stream, bool deterministic, Error *error) {
    size_t version = cudnnGetVersion();
    if (version < MIN_CUDNN) {
        error_set(
            error, STATUS_USAGE,
            "cuDNN %zu.%zu.%zu was loaded; 9.14 or later is needed: update it, or put a later one first "
            "in LD_LIBRARY_PATH",
            version / 10000, version / 100 % 100, version % 100);
        return NULL;
    }
    Sdpa *sdpa = new Sdpa();
    sdpa->deterministic = deterministic;
    cudnnStatus_t status = cudnnCreate(&sdpa->handle);
    if (status == CUDNN_STATUS_SUCCESS) status = cudnnSetStream(sdpa->handle, stream);
    if (status != CUDNN_STATUS_SUCCESS) {
        error_set(
            error, STATUS_USAGE,
            "%s:%d: cuDNN does not start: %s; its libraries (libcudnn*.so.9) must all be of one version "
            "and fit the driver's CUDA",
            __FILE__, __LINE__, cudnnGetErrorString(status));
        delete sdpa;
        return NULL;
    }
    int device, major, minor;
    CUDA_CHECK(cudaGetDevice(&device));
    CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    sdpa->capability = 10 * major + minor;
    return sdpa;
}

void sdpa_destroy(Sdpa *sdpa) {
    if (!sdpa) return;
    cudnnDestroy(sdpa->handle);
    delete sdpa;
}

bool sdpa_workspace_bytes(Sdpa *sdpa, const SdpaProblem *problem, SdpaPass pass, size_t *bytes,
                          Error *error) {
    const Plan *plan = plan_get(sdpa, problem, pass, error);
    if (!plan) return false;
    *bytes = plan->workspace_bytes;
    return true;
}

bool cuda_sdpa_forward(Sdpa *sdpa, const SdpaProblem *problem,
                       const bf16 *q, // (B, H, N, D)
                       const bf16 *k, // (B, KV, N, D)
                       const bf16 *v, // (B, KV, N, D)
                       bf16 *out,     // (B, H, N, D)
                       float *stats,  // (B, H, N) or NULL
                       void *workspace, size_t workspace_bytes, Error *error) {
    const Plan *plan = plan_get(sdpa, problem, stats ? SDPA_FORWARD_STATS : SDPA_FORWARD, error);
    if (!plan) return false;
    assert(plan->workspace_bytes <= workspace_bytes);
    (void)workspace_bytes;
    Pointers pointers = {{ID_Q, (void *)q}, {ID_K, (void *)k}, {ID_V, (void *)v}, {ID_OUT, out}};
    if (stats) pointers[ID_STATS] = stats;
    return plan_run(sdpa, plan, &pointers, workspace, error);
}

bool cuda_sdpa_backward(Sdpa *sdpa, const SdpaProblem *problem,
                        const bf16 *q,      // (B, H, N, D)
                        const bf16 *k,      // (B, KV, N, D)
                        const bf16 *v,      // (B, KV, N, D)
                        const bf16 *out,    // (B, H, N, D)
                        const bf16 *dout,   // (B, H, N, D)
                        const float *stats, // (B, H, N)
                        bf16 *dq,           // (B, H, N, D)
                        bf16 *dk,           // (B, KV, N, D)
                        bf16 *dv,           // (B, KV, N, D)
                        void *workspace, size_t workspace_bytes, Error *error) {
    const Plan *plan = plan_get(sdpa, problem, SDPA_BACKWARD, error);
    if (!plan) return false;
    assert(plan->workspace_bytes <= workspace_bytes);
    (void)workspace_bytes;
    const SdpaProblem *p = problem;
    int64_t group = p->n_heads / p->n_kv_heads;
    for (int64_t b = 0; b < p->batch; b += plan->part.batch) {
        for (int64_t kv = 0; kv < p->n_kv_heads; kv += plan->part.n_kv_heads) {
            int64_t h = kv * group; // first query head of this part
            Pointers pointers = {
                {ID_Q, address(q, p->q, b, h)},
                {ID_K, address(k, p->k, b, kv)},
                {ID_V, address(v, p->v, b, kv)},
                {ID_OUT, address(out, p->out, b, h)},
                {ID_DOUT, address(dout, p->out, b, h)},
                {ID_STATS, (void *)(stats + (b * p->n_heads + h) * p->rows)},
                {ID_DQ, address(dq, p->q, b, h)},
                {ID_DK, address(dk, p->k, b, kv)},
                {ID_DV, address(dv, p->v, b, kv)},
            };
            if (!plan_run(sdpa, plan, &pointers, workspace, error)) return false;
        }
    }
    return true;
}
