// Bytes that cross between ranks; see traffic.h.
#include "core/cost/traffic.h"

#include "core/engine/context.h"

const Transport TRANSPORT_CPU = {
    .gradient = 4, .weight = 4, .activation = 4, .halo_gradient = 4, .score = 4, .state = 8};
const Transport TRANSPORT_CUDA = {.gradient = 4,
                                  .weight = 2, // bf16, as activations
                                  .activation = 2,
                                  .halo_gradient = 4,
                                  .score = 4,
                                  .state = 4,
                                  .scores_together = true,
                                  .scatters_again = true};

// Sequences through one layer: so many times forward, and once backward.
static void add_layer(Traffic *traffic, const EngineConfig *config, bool lighthouse, double forwards,
                      double sequences, const Transport *by) {
    const ModelConfig *m = &config->model;
    Hierarchy h;
    Error error;
    int P = ranks_context(config->ranks);
    double D = (double)m->head_dim, H = (double)m->n_heads, KV = (double)context_heads(m->n_kv_heads, P);
    double n = (double)context_tokens(config), sent = sequences * (P - 1) / P;
    if (!lighthouse) { // q, k, v there and out back; dout there and dq, dk, dv back
        traffic->attention += sent * (forwards + 1) * n * (2 * H + 2 * KV) * D * by->activation;
        return;
    }
    if (!context_hierarchy(&config->lighthouse, config->context, P, &h, &error)) return;
    double row = H * D * (double)h.n_selected * by->activation, halo = H * (double)(h.levels - 1) * D;
    bool again =
        by->scatters_again && config->one_stage && !config->recompute && lighthouse_layers(config) > 1;
    double returns = again ? forwards + 1 : forwards;
    traffic->attention += sent * (3 * forwards + returns + 4) * row;
    traffic->halos += sequences * halo * (returns * by->activation + by->halo_gradient);
    const ScorerRow *scorer = lighthouse_scorer(&config->lighthouse);
    if (scorer->attends) { // q, k, v there, norms back; for queries and for keys
        double exchanges = by->scores_together ? 1 : 2;
        traffic->attention +=
            sent * forwards * n * (exchanges * (H + 2 * KV) * D * by->activation + 2 * H * by->score);
    }
    if (scorer->recurs) {
        double dilation = (double)config->lighthouse.dilation;
        traffic->halos += sequences * forwards * 2 * H * dilation * D * D * by->state;
    }
}

Traffic traffic_update(const EngineConfig *config, Attention attention, int64_t sequences,
                       const Transport *by) {
    Traffic traffic = {0, 0, 0, 0};
    int W = ranks_count(config->ranks);
    ParamTable table = param_table_create(&config->model, false);
    param_table_shard(&table, W);
    double leaves = (double)table.trained_size * (W - 1) / W;
    traffic.gradients = leaves * by->gradient * (double)traffic_sums(config);
    traffic.weights = leaves * by->weight;
    param_table_free(&table);
    if (ranks_context(config->ranks) == 1) return traffic;
    for (int layer = 0; layer < config->model.n_layers; layer++) {
        bool lighthouse = attention == ATTENTION_LIGHTHOUSE && !config->dense_layer[layer];
        bool again = config->recompute && layer < config->model.n_layers - 1;
        add_layer(&traffic, config, lighthouse, again ? 2 : 1, (double)sequences, by);
    }
    return traffic;
}
