// What a training run will take; see train_plan.h.
#include "core/train/train_plan.h"

#include "core/engine/fit.h"
#include "core/engine/fp8_rule.h"
#include "core/engine/offload.h"
#include "core/cost/flops.h"
#include "core/cost/predict.h"
#include "core/engine/snapshot.h"
#include "core/cost/traffic.h"
#include "core/checkpoint/trainer_state.h"

#include <stdio.h>
#include <stdlib.h>

static void print_model(const Options *o, const EngineConfig *config) {
    ParamTable table = param_table_create(&config->model, false);
    printf("model       %lld parameters: %lld layers, dim %lld, %lld/%lld heads of %lld, ffn %lld, "
           "vocabulary %lld\n",
           (long long)table.n_trained, (long long)o->layers, (long long)o->dim, (long long)o->heads,
           (long long)o->kv_heads, (long long)o->head_dim, (long long)o->ffn, (long long)o->vocab);
    printf("update      %lld sequences of %lld tokens in %lld micro-steps of %lld: %.0f tokens\n",
           (long long)o->global_batch, (long long)o->seq_len, (long long)config->micro_steps,
           (long long)(o->batch * config->ranks->data_size), (double)(o->global_batch * o->seq_len));
    param_table_free(&table);
}

static void print_flops(const Options *o, const EngineConfig *config) {
    double sequences = (double)o->global_batch;
    Hierarchy hierarchy;
    Error error;
    if (config->use_lighthouse && hierarchy_create(&config->lighthouse, o->seq_len, &hierarchy, &error)) {
        printf("lighthouse  %.3e FLOPs an update; S = %lld of %lld rows in %lld chunks\n",
               flops_sequence(config, o->seq_len, ATTENTION_LIGHTHOUSE) * sequences,
               (long long)hierarchy.n_selected, (long long)hierarchy.n, (long long)hierarchy.n_chunks);
    }
    printf("dense       %.3e FLOPs an update\n",
           flops_sequence(config, o->seq_len, ATTENTION_DENSE) * sequences);
}

// What moves between the ranks in an update of one stage.
static void print_traffic(const Options *o, const EngineConfig *config, const EngineApi *api,
                          Attention attention) {
    Traffic moved = traffic_update(config, attention, o->global_batch / config->ranks->data_size,
                                   api == engine_cpu() ? &TRANSPORT_CPU : &TRANSPORT_CUDA);
    char sums[48] = "";
    if (traffic_sums(config) > 1)
        snprintf(sums, sizeof sums, " in %lld sums", (long long)traffic_sums(config));
    printf("  %-10s  %s sent a rank: gradients %s%s, weights %s, attention %s, halos %s\n",
           attention_name(attention), plan_size_text(traffic_total(&moved)).text,
           plan_size_text(moved.gradients).text, sums, plan_size_text(moved.weights).text,
           plan_size_text(moved.attention).text, plan_size_text(moved.halos).text);
}

static void print_ranks(const Options *o, const EngineConfig *config, const EngineApi *api) {
    const Ranks *ranks = config->ranks;
    if (!ranks_many(ranks)) {
        printf("ranks       1: nothing moves between ranks\n");
        return;
    }
    printf("ranks       %d: %d a sequence, %d with sequences of their own; an update moves\n", ranks->size,
           ranks->context_size, ranks->data_size);
    if (config->use_lighthouse) print_traffic(o, config, api, ATTENTION_LIGHTHOUSE);
    print_traffic(o, config, api, ATTENTION_DENSE);
}

static const char *origin_of(const Link *link) {
    return link->measured ? "measured" : "assumed";
}

// Which of a block's products have FP8 operands.
static void print_matmul(const EngineConfig *config) {
    if (!config->fp8) return;
    Fp8Names others = fp8_names(&config->model, false);
    printf("matmul      FP8: %s; bf16: %s%sthe head\n", fp8_names(&config->model, true).text, others.text,
           others.text[0] ? ", " : "");
}

// What goes to host memory and comes back.
static void print_offload(const EngineConfig *config) {
    double inputs = offload_bytes(config) * (double)config->micro_steps,
           masters = offload_update_bytes(config);
    if (inputs > 0)
        printf("offload     %s an update from each GPU to host memory, and back\n",
               plan_size_text(inputs).text);
    if (masters > 0)
        printf("offload     %s of weights and moments an update from host memory to each GPU, and back\n",
               plan_size_text(masters).text);
}

// What of it lies in host memory, where something does.
static void print_host(const EngineConfig *config, const MemoryPlan *memory) {
    const char *inputs = offload_inputs(config) > 0 ? "inputs of blocks, from forward to backward; " : "";
    const char *masters = offload_masters(config) ? "float32 weights and moments; " : "";
    if (memory->host == 0 || !(*inputs || *masters)) return;
    printf("  %-12s%11s  %s%spinned\n", "host", plan_size_text((double)memory->host).text, masters, inputs);
}

// On GPUs, whatever is planned here.
static bool print_prediction(const Options *o, const EngineConfig *config, Error *error) {
    Links links = LINKS_ASSUMED;
    int per_host = config->ranks->local_size;
    if (o->links_file && !links_read(o->links_file, &links, error)) return false;
    printf("predicted   for NVIDIA H200 GPUs, %d a host, from rates measured on one; links between hosts are "
           "%s",
           per_host, origin_of(&links.between[LINK_SUM]));
    if (o->links_file) printf(", those within a host %s", origin_of(&links.inside[LINK_SUM]));
    printf("\n");
    if (config->use_lighthouse) predict_print(config, ATTENTION_LIGHTHOUSE, &links, per_host, stdout);
    predict_print(config, ATTENTION_DENSE, &links, per_host, stdout);
    return true;
}

static double print_device(const EngineApi *api, const Ranks *ranks) {
    char device[128];
    if (!api->present()) {
        printf("device      none here\nmemory\n");
        return 0;
    }
    double peak_flops = api->describe_device(device, sizeof device);
    printf("device      %s\nmemory      %.2f GB free\n", device, (double)api->memory_available(ranks) / 1e9);
    return peak_flops;
}

// Whether host memory suffices to save beside training.
static bool print_saves(const Options *o, const EngineConfig *config, const EngineApi *api,
                        const MemoryPlan *plan) {
    ParamTable table = param_table_create(&config->model, false);
    param_table_shard(&table, config->ranks->size);
    size_t bytes = snapshot_bytes(&table, config->ranks), left = fit_host_left(api, config, plan);
    param_table_free(&table);
    bool elsewhere = !api->present() || o->ranks > 0; // a plan for another machine
    bool beside = bytes <= left || elsewhere;
    if (beside) {
        printf("  %-12s%11s  copy of weights and moments, which is saved while training goes on%s\n", "host",
               plan_size_text((double)bytes).text,
               elsewhere && offload_masters(config) ? ", where the host has both; else training waits" : "");
    } else {
        printf("  %-12s%11s  wanted for a copy of weights and moments, %s free: training waits while "
               "checkpoints are saved\n",
               "host", plan_size_text((double)bytes).text, plan_size_text((double)left).text);
    }
    return beside;
}

bool train_plan_print(const Options *o, const EngineConfig *config, const EngineApi *api, TrainPlan *plan,
                      Error *error) {
    MemoryPlan *memory = (MemoryPlan *)alloc_or_exit(1, sizeof *memory);
    bool ok = api->plan(config, memory, error);
    if (ok) {
        print_model(o, config);
        print_flops(o, config);
        print_ranks(o, config, api);
        print_matmul(config);
        if (o->device != DEVICE_CPU) print_offload(config);
        if (o->dry_run && o->device != DEVICE_CPU) ok = print_prediction(o, config, error);
    }
    if (ok) {
        plan->peak_flops = print_device(api, config->ranks);
        if (ranks_many(config->ranks)) printf("  of each rank\n");
        plan_print(memory, stdout, "  ");
        print_host(config, memory);
        plan->saves_beside = print_saves(o, config, api, memory);
        // A plan for GPUs that are not here is not held against this machine.
        bool elsewhere = o->ranks > 0 && o->device != DEVICE_CPU && api == engine_cpu();
        ok = elsewhere || !api->present() || fit_check(api, config, memory, error);
    }
    free(memory);
    return ok;
}
