// Bytes that cross between ranks; see traffic.h.
#include "traffic.h"

#include "context.h"

// Sequences through one layer: so many times forward, and once backward.
static void add_layer(Traffic *traffic, const EngineConfig *config, bool lighthouse, double forwards,
                      double sequences, double bytes) {
    const ModelConfig *m = &config->model;
    Hierarchy h;
    Error error;
    int P = ranks_context(config->ranks);
    double D = (double)m->head_dim, H = (double)m->n_heads, KV = (double)m->n_kv_heads;
    double n = (double)context_tokens(config), leaves = (double)(P - 1) / P;
    if (!lighthouse) { // q, k, v there and out back; dout there and dq, dk, dv back
        traffic->attention += sequences * (forwards + 1) * leaves * n * (2 * H + 2 * KV) * D * bytes;
        return;
    }
    if (!context_hierarchy(&config->lighthouse, config->context, P, &h, &error)) return;
    double border = H * (double)(h.levels - 1) * D * bytes;
    traffic->attention += sequences * (forwards + 1) * leaves * (double)h.n_selected * 4 * H * D * bytes;
    traffic->borders += sequences * (forwards + 1) * border;
    if (config->lighthouse.scorer == SCORER_DILATED) { // q, k, v there, norms back; for queries and for keys
        traffic->attention += sequences * forwards * leaves * n * 2 * ((H + 2 * KV) * D + H) * bytes;
    } else if (config->lighthouse.scorer == SCORER_GLA) {
        traffic->borders +=
            sequences * forwards * 2 * H * (double)config->lighthouse.dilation * D * D * sizeof(double);
    }
}

Traffic traffic_update(const EngineConfig *config, Attention attention, int64_t sequences,
                       ElementBytes bytes) {
    Traffic traffic = {0, 0, 0, 0};
    int W = ranks_count(config->ranks);
    ParamTable table = param_table_create(&config->model, false);
    param_table_shard(&table, W);
    double leaves = (double)table.trained_size * (W - 1) / W;
    traffic.gradients = leaves * bytes.gradient;
    traffic.weights = leaves * bytes.weight;
    param_table_free(&table);
    if (ranks_context(config->ranks) == 1) return traffic;
    for (int layer = 0; layer < config->model.n_layers; layer++) {
        bool lighthouse = attention == ATTENTION_LIGHTHOUSE && !config->dense_layer[layer];
        bool again = config->recompute && layer < config->model.n_layers - 1;
        add_layer(&traffic, config, lighthouse, again ? 2 : 1, (double)sequences, bytes.activation);
    }
    return traffic;
}
