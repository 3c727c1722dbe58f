// What a GPU leaves in host memory; see offload.h.
#include "core/engine/offload.h"

const Choice OFFLOAD_CHOICES[] = {OFFLOADS(CHOICE_ROW) CHOICE_END};

double offload_update_bytes(const EngineConfig *config) {
    if (!offload_masters(config)) return 0;
    ParamTable table = param_table_create(&config->model, false);
    param_table_shard(&table, ranks_count(config->ranks));
    int64_t elements = table.trained_size / table.ranks; // of a rank
    param_table_free(&table);
    return 3 * sizeof(float) * (double)elements; // a weight and its two moments
}
