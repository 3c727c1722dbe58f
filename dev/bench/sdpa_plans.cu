// Every plan that cuDNN offers for causal attention, timed: forward with log-sum-exp and backward, rows of
// all heads side by side as the engine has them, and head by head.   sdpa_plans ROWS HEADS [REPEATS]
//
// Each plan runs in a process of its own, because some that cuDNN offers fail and take their process's GPU
// with them. The engine takes the first plan of heuristic A, which is number 0 here; a plan that is faster by
// more than the times move from run to run would be a reason to choose otherwise.
#include "cuda/device/common.cuh"

#include <cudnn_frontend.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace fe = cudnn_frontend;

static const int64_t D = 128;
static const int64_t MAX_WORKSPACE = INT64_C(8) << 30;
enum { NO_SUCH_PLAN = 3, NO_GRAPH = 4 }; // exit statuses of a trial

typedef struct {
    int64_t rows, heads;
    int repeats;
    bool side_by_side, backward;
    int64_t plan;
} Trial;

// High, as in cuda/libraries/sdpa.cu: the frontend gives its own scalars the free ids from 1 upwards.
enum { ID_Q = 1000, ID_K, ID_V, ID_OUT, ID_STATS, ID_DOUT, ID_DQ, ID_DK, ID_DV };

typedef std::shared_ptr<fe::graph::Graph> Graph;
typedef std::unordered_map<int64_t, void *> Pointers;

// ---- The graph

// (1, heads, rows, D); side by side, `arrays` arrays of heads share each row.
static fe::graph::Tensor_attributes describe(const Trial *t, const char *name, int64_t id, int64_t arrays) {
    int64_t row = t->side_by_side ? arrays * t->heads * D : D, head = t->side_by_side ? D : t->rows * D;
    return fe::graph::Tensor_attributes()
        .set_name(name)
        .set_uid(id)
        .set_dim({1, t->heads, t->rows, D})
        .set_stride({arrays * t->heads * t->rows * D, head, row, 1});
}

static fe::graph::Tensor_attributes describe_stats(const Trial *t) {
    return fe::graph::Tensor_attributes()
        .set_name("stats")
        .set_uid(ID_STATS)
        .set_dim({1, t->heads, t->rows, 1})
        .set_stride({t->heads * t->rows, t->rows, 1, 1})
        .set_data_type(fe::DataType_t::FLOAT);
}

static void set_output(std::shared_ptr<fe::graph::Tensor_attributes> tensor,
                       const fe::graph::Tensor_attributes &as) {
    tensor->set_output(true).set_uid(as.get_uid()).set_dim(as.get_dim()).set_stride(as.get_stride());
}

static Graph make_graph(const Trial *t) {
    Graph graph = std::make_shared<fe::graph::Graph>();
    graph->set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    float scale = 1 / sqrtf((float)D);
    auto q = graph->tensor(describe(t, "q", ID_Q, 3)), k = graph->tensor(describe(t, "k", ID_K, 3)),
         v = graph->tensor(describe(t, "v", ID_V, 3));
    if (!t->backward) {
        auto options = fe::graph::SDPA_attributes()
                           .set_generate_stats(true)
                           .set_attn_scale(scale)
                           .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                           .set_diagonal_band_right_bound(0);
        auto [out, stats] = graph->sdpa(q, k, v, options);
        set_output(out, describe(t, "out", ID_OUT, 1));
        set_output(stats, describe_stats(t));
        stats->set_data_type(fe::DataType_t::FLOAT);
        return graph;
    }
    auto options = fe::graph::SDPA_backward_attributes()
                       .set_attn_scale(scale)
                       .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                       .set_diagonal_band_right_bound(0);
    auto out = graph->tensor(describe(t, "out", ID_OUT, 1)),
         dout = graph->tensor(describe(t, "dout", ID_DOUT, 1)), stats = graph->tensor(describe_stats(t));
    auto [dq, dk, dv] = graph->sdpa_backward(q, k, v, out, dout, stats, options);
    set_output(dq, describe(t, "dq", ID_DQ, 3));
    set_output(dk, describe(t, "dk", ID_DK, 3));
    set_output(dv, describe(t, "dv", ID_DV, 3));
    return graph;
}

// ---- One trial

static void *take(size_t bytes) {
    void *memory;
    CUDA_CHECK(cudaMalloc(&memory, bytes));
    CUDA_CHECK(cudaMemset(memory, 0, bytes));
    return memory;
}

// bf16 numbers below 2 in both directions: the GPU's clocks, and so its speed, depend on what it computes
// with.
static char *take_random(size_t bytes) {
    std::vector<uint16_t> values(bytes / 2);
    uint64_t state = 1;
    for (uint16_t &value : values) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        float number = (float)(int32_t)(state >> 32) * 0x1p-31f * 1.7f;
        uint32_t bits;
        memcpy(&bits, &number, 4);
        value = (uint16_t)(bits >> 16);
    }
    void *memory = take(bytes);
    CUDA_CHECK(cudaMemcpy(memory, values.data(), bytes, cudaMemcpyHostToDevice));
    return (char *)memory;
}

// Those of the graph and no others: one whose id is a scalar's of the frontend would take that one's place.
static Pointers take_tensors(const Trial *t) {
    size_t array = (size_t)(t->rows * t->heads * D) * 2;
    size_t step = t->side_by_side ? (size_t)(t->heads * D) * 2 : array; // from q to k to v
    char *qkv = take_random(3 * array);
    Pointers at;
    for (int i = 0; i < 3; i++) at[ID_Q + i] = qkv + (size_t)i * step;
    at[ID_OUT] = take(array);
    at[ID_STATS] = take((size_t)(t->rows * t->heads) * 4);
    if (!t->backward) return at;
    char *dqkv = (char *)take(3 * array);
    for (int i = 0; i < 3; i++) at[ID_DQ + i] = dqkv + (size_t)i * step;
    at[ID_DOUT] = take_random(array);
    return at;
}

// The median of `repeats` runs in milliseconds; negative where the plan fails.
static float time_plan(const Trial *t, Graph graph, cudnnHandle_t handle, void *workspace) {
    Pointers at = take_tensors(t);
    std::vector<float> times;
    cudaEvent_t begun, done;
    CUDA_CHECK(cudaEventCreate(&begun));
    CUDA_CHECK(cudaEventCreate(&done));
    for (int i = 0; i < t->repeats + 2; i++) {
        float ms;
        CUDA_CHECK(cudaEventRecord(begun));
        if (graph->execute_plan_at_index(handle, at, workspace, t->plan).is_bad()) return -1;
        CUDA_CHECK(cudaEventRecord(done));
        if (cudaEventSynchronize(done) != cudaSuccess || cudaGetLastError() != cudaSuccess) return -1;
        CUDA_CHECK(cudaEventElapsedTime(&ms, begun, done));
        if (i >= 2) times.push_back(ms);
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

// The exit status: NO_SUCH_PLAN behind the last, NO_GRAPH where cuDNN does not come so far.
static int run_trial(const Trial *t) {
    cudnnHandle_t handle;
    if (cudnnCreate(&handle) != CUDNN_STATUS_SUCCESS) return NO_GRAPH;
    Graph graph = make_graph(t);
    if (graph->validate().is_bad() || graph->build_operation_graph(handle).is_bad()) return NO_GRAPH;
    fe::error_t offered =
        graph->create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::B, fe::HeurMode_t::FALLBACK});
    if (offered.is_bad() || t->plan >= graph->get_execution_plan_count()) return NO_SUCH_PLAN;
    std::string name;
    if (graph->get_plan_name_at_index(t->plan, name).is_bad()) name = "?";
    printf("%-13s %-8s %2lld  %-16s ", t->side_by_side ? "side by side" : "head by head",
           t->backward ? "backward" : "forward", (long long)t->plan, name.c_str());
    fflush(stdout);
    if (graph->build_plan_at_index(handle, t->plan).is_bad()) return printf("is not built\n"), 0;
    int64_t workspace = graph->get_workspace_size_plan_at_index(t->plan);
    if (workspace > MAX_WORKSPACE) return printf("takes %.1f GB\n", (double)workspace / 1e9), 0;
    float ms = time_plan(t, graph, handle, workspace > 0 ? take((size_t)workspace) : NULL);
    if (ms < 0) return printf("fails\n"), 0;
    // Matrix products of half a square: 2 of them forward, 5 backward.
    double flops = (t->backward ? 5.0 : 2.0) * (double)t->rows * (double)t->rows * (double)(t->heads * D);
    printf("%9.3f ms  %4.0f TFLOP/s  %5.2f GB\n", ms, flops / ms * 1e-9, (double)workspace / 1e9);
    return 0;
}

// In a process of its own; gives its exit status.
static int try_plan(const Trial *t) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int status = run_trial(t);
        fflush(stdout);
        _exit(status);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) < 0) return NO_GRAPH;
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) < NO_SUCH_PLAN))
        return printf("ends its process\n"), 0;
    return WEXITSTATUS(status);
}

int main(int argc, char **argv) {
    Trial t = {argc > 1 ? atoll(argv[1]) : 0,
               argc > 2 ? atoll(argv[2]) : 0,
               argc > 3 ? atoi(argv[3]) : 7,
               false,
               false,
               0};
    if (t.rows < 1 || t.heads < 1 || t.repeats < 1) {
        fprintf(stderr, "usage: sdpa_plans ROWS HEADS [REPEATS]\n");
        return 2;
    }
    printf("cuDNN %zu, %lld rows, %lld heads of %lld\n", (size_t)cudnnGetVersion(), (long long)t.rows,
           (long long)t.heads, (long long)D);
    for (int layout = 1; layout >= 0; layout--)
        for (int backward = 0; backward <= 1; backward++) {
            t.side_by_side = layout, t.backward = backward, t.plan = 0;
            int status;
            while ((status = try_plan(&t)) == 0) t.plan++;
            if (status == NO_GRAPH) {
                fprintf(stderr, "cuDNN makes no graph of this here: is there a GPU with room for it?\n");
                return 1;
            }
        }
    return 0;
}
