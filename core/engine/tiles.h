// Tiles along the sequence: rows that a block's norms, products and SwiGLU treat at once. What is as wide as
// the FFN need then be no longer than a tile, however long the sequence is.
#ifndef CORE_ENGINE_TILES_H
#define CORE_ENGINE_TILES_H

#include "core/engine/context.h"

#ifdef __cplusplus
extern "C" {
#endif

// A tile's gate, up and SwiGLU take about so much at most, in bf16 ...
#define TILE_BYTES ((int64_t)1 << 31)
// ... but it has no fewer rows than products need to be as fast as with all, and begins where a GPU's tiles
// do.
#define TILE_LEAST INT64_C(16384)
#define TILE_UNIT  INT64_C(256)

// Rows of a tile: all rows of the configuration where these are few, else tiles of about equal length.
int64_t tile_rows(const EngineConfig *config);

#ifdef __cplusplus
}
#endif
#endif
