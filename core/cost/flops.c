// Model FLOPs; see flops.h.
#include "core/cost/flops.h"

// Causal attention of n rows: two products of n^2/2 scores by D forward, four backward.
static double causal(double n, double width) {
    return 6 * n * n * width;
}

double flops_attention(const EngineConfig *config, int64_t N, bool lighthouse) {
    double width = (double)(config->model.n_heads * config->model.head_dim);
    if (!lighthouse) return causal((double)N, width);
    Hierarchy hierarchy;
    Error error;
    if (!hierarchy_create(&config->lighthouse, N, &hierarchy, &error)) return 0;
    return causal((double)hierarchy.n_selected, width) +
           lighthouse_scorer(&config->lighthouse)
               ->operations((double)N, width, (double)config->model.head_dim,
                            (double)config->lighthouse.dilation);
}

double flops_sequence(const EngineConfig *config, int64_t N, Attention attention) {
    const ModelConfig *model = &config->model;
    ParamTable table = param_table_create(model, false);
    int64_t looked_up = model->tied ? 0 : model->vocab_size * model->dim; // an embedding that is no head
    double flops = 6.0 * (double)(table.n_trained - looked_up) * (double)N;
    param_table_free(&table);
    for (int layer = 0; layer < model->n_layers; layer++) {
        bool lighthouse = attention == ATTENTION_LIGHTHOUSE && !config->dense_layer[layer];
        flops += flops_attention(config, N, lighthouse);
    }
    return flops;
}
