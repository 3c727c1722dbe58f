// Places of whole gradients on their way into shares; see gradient_room.h.
#include "core/engine/gradient_room.h"

static int64_t bucket_size(const ParamTable *table, int bucket) {
    return table->buckets[bucket].share * table->ranks;
}

bool gradient_room_stays(const ParamTable *table, int bucket) {
    return bucket == 0 && param_table_tied(table);
}

// What two neighbours take, of those that come and go.
static int64_t two_buckets(const ParamTable *table) {
    int64_t most = 0;
    for (int b = param_table_tied(table) ? 1 : 0; b + 1 < table->n_buckets; b++) {
        int64_t both = bucket_size(table, b) + bucket_size(table, b + 1);
        if (both > most) most = both;
    }
    return most;
}

int64_t gradient_room_size(const ParamTable *table) {
    return two_buckets(table) + (param_table_tied(table) ? bucket_size(table, 0) : 0);
}

int64_t gradient_room_place(const ParamTable *table, int bucket) {
    if (gradient_room_stays(table, bucket)) return two_buckets(table);
    return bucket % 2 ? two_buckets(table) - bucket_size(table, bucket) : 0;
}

int64_t gradient_room_param(const ParamTable *table, const Param *param) {
    return gradient_room_place(table, param->bucket) + (param->offset - table->buckets[param->bucket].offset);
}

int64_t gradients_kept(const ParamTable *table, bool shares) {
    return shares ? table->trained_size / table->ranks : table->trained_size;
}

int64_t gradients_share(const ParamTable *table, bool shares, int bucket, int rank) {
    return shares ? param_share_offset(table, bucket) : param_share_begin(table, bucket, rank);
}
