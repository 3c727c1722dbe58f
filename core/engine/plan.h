// The memory plan: every buffer by name and purpose before anything is allocated, then one allocation for
// all.
#ifndef CORE_ENGINE_PLAN_H
#define CORE_ENGINE_PLAN_H

#include "core/base/error.h"

#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PLAN_MAX_ROWS  512
#define PLAN_ALIGNMENT 512 // bytes between the starts of buffers

typedef struct {
    const char *purpose; // "weights", "optimizer", "gradients", "activations", "lighthouse", "workspace", ...
    char name[48];
    size_t bytes;
    size_t offset;  // in the one allocation
    void **pointer; // set by plan_bind; may be NULL
} PlanRow;

typedef struct {
    PlanRow rows[PLAN_MAX_ROWS];
    int count;
    size_t total;
    size_t host; // bytes of host memory beside, where a device's engine takes some
} MemoryPlan;

// Adds a buffer of count elements of `size` bytes. `pointer`, where given, receives its address in plan_bind.
// A count of zero adds nothing and leaves the pointer NULL.
void plan_add(MemoryPlan *plan, void **pointer, const char *purpose, const char *name, int64_t count,
              size_t size);

// Points every row's pointer into `base`, an allocation of plan->total bytes.
void plan_bind(MemoryPlan *plan, void *base);

size_t plan_purpose_bytes(const MemoryPlan *plan, const char *purpose);

// As text: "1.25 GB", below a gigabyte in MB.
typedef struct {
    char text[32];
} SizeText;
SizeText plan_size_text(double bytes);

// One line a purpose, its largest buffers named, and the total. `indent` stands before every line.
void plan_print(const MemoryPlan *plan, FILE *out, const char *indent);

#ifdef __cplusplus
}
#endif
#endif
