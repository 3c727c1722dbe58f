// How long a tile is; see tiles.h.
#include "core/engine/tiles.h"

static int64_t ceil_of(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

int64_t tile_rows(const EngineConfig *config) {
    const int64_t element = 2; // bytes
    int64_t rows = context_rows(config), most = config->tile;
    if (most == 0) {
        most = TILE_BYTES / (3 * config->model.ffn_dim * element);
        if (most < TILE_LEAST) most = TILE_LEAST;
    }
    if (rows <= most) return rows;
    if (config->tile > 0) return most;
    return ceil_of(ceil_of(rows, ceil_of(rows, most)), TILE_UNIT) * TILE_UNIT;
}
