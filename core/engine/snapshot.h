// A snapshot: what a save writes of an engine's tensors, copied to host memory so that training can go on
// while it is written. With several ranks each has its share.
#ifndef CORE_ENGINE_SNAPSHOT_H
#define CORE_ENGINE_SNAPSHOT_H

#include "core/engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Snapshot Snapshot;

// Host memory that the copy takes on this rank, in bytes. ranks: NULL for one
size_t snapshot_bytes(const ParamTable *table, const Ranks *ranks);

// `copies`: takes the memory, once for all saves of a run; NULL where there is none. Without, the tensors are
// read from the engine as they are asked for, which must not be updated meanwhile.
Snapshot *snapshot_create(Engine *engine, bool copies);
void snapshot_free(Snapshot *snapshot);

// Copies weights, gates and moments as they are now; nothing where the snapshot has no copies.
void snapshot_take(Snapshot *snapshot);

// The engine that it is of: its configuration and table, which no update changes.
const Engine *snapshot_engine(const Snapshot *snapshot);

// The elements [*start, *start + *count) of a parameter that this rank saves; of a frozen one, which all
// ranks hold whole, the first rank all.
void snapshot_share(const Snapshot *snapshot, const Param *param, int64_t *start, int64_t *count);

// Elements of a tensor from `start` on, within the share. On return *count is how many of them are given, at
// least one; they are there until the next call.
const float *snapshot_read(Snapshot *snapshot, TensorKind kind, int param, int64_t start, int64_t *count);

#ifdef __cplusplus
}
#endif
#endif
