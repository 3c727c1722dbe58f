// Where the whole gradients of buckets lie while each rank keeps its share alone (config.share_gradients).
//
// The backward makes one bucket while that before it is summed. So buckets lie in turn at either end of one
// room, which holds any two neighbours. That of a tied embedding, to which the head adds first and the
// embedding last, has a place of its own behind them.
#ifndef CORE_ENGINE_GRADIENT_ROOM_H
#define CORE_ENGINE_GRADIENT_ROOM_H

#include "core/model/model.h"

#ifdef __cplusplus
extern "C" {
#endif

// Elements of it all.
int64_t gradient_room_size(const ParamTable *table);

// Where a bucket begins in it.
int64_t gradient_room_place(const ParamTable *table, int bucket);

// Where the gradient of a parameter begins in it.
int64_t gradient_room_param(const ParamTable *table, const Param *param);

// Whether a bucket has a place of its own: it is open from the first gradient of a backward to the last.
bool gradient_room_stays(const ParamTable *table, int bucket);

// Elements of gradients that a rank keeps from pass to pass: of all, or with `shares` of its own share.
int64_t gradients_kept(const ParamTable *table, bool shares);

// Where the share of a rank begins in them.
int64_t gradients_share(const ParamTable *table, bool shares, int bucket, int rank);

#ifdef __cplusplus
}
#endif
#endif
