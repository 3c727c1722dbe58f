// The memory plan; see plan.h.
#include "core/engine/plan.h"

#include <assert.h>
#include <string.h>

void plan_add(MemoryPlan *plan, void **pointer, const char *purpose, const char *name, int64_t count,
              size_t size) {
    if (pointer) *pointer = NULL;
    if (count == 0) return;
    assert(plan->count < PLAN_MAX_ROWS);
    PlanRow *row = &plan->rows[plan->count++];
    row->purpose = purpose;
    snprintf(row->name, sizeof row->name, "%s", name);
    row->bytes = (size_t)count * size;
    row->offset = plan->total;
    row->pointer = pointer;
    plan->total += (row->bytes + PLAN_ALIGNMENT - 1) / PLAN_ALIGNMENT * PLAN_ALIGNMENT;
}

void plan_bind(MemoryPlan *plan, void *base) {
    for (int i = 0; i < plan->count; i++) {
        if (plan->rows[i].pointer) *plan->rows[i].pointer = (char *)base + plan->rows[i].offset;
    }
}

size_t plan_purpose_bytes(const MemoryPlan *plan, const char *purpose) {
    size_t bytes = 0;
    for (int i = 0; i < plan->count; i++) {
        if (strcmp(plan->rows[i].purpose, purpose) == 0) bytes += plan->rows[i].bytes;
    }
    return bytes;
}

SizeText plan_size_text(double bytes) {
    SizeText text;
    bool large = bytes >= 1e9;
    snprintf(text.text, sizeof text.text, "%.2f %s", bytes / (large ? 1e9 : 1e6), large ? "GB" : "MB");
    return text;
}

void plan_print(const MemoryPlan *plan, FILE *out, const char *indent) {
    for (int first = 0; first < plan->count; first++) {
        const char *purpose = plan->rows[first].purpose;
        bool seen = false;
        for (int i = 0; i < first; i++) seen = seen || strcmp(plan->rows[i].purpose, purpose) == 0;
        if (seen) continue;
        fprintf(out, "%s%-12s%11s  ", indent, purpose,
                plan_size_text((double)plan_purpose_bytes(plan, purpose)).text);
        for (int i = first; i < plan->count; i++) {
            if (strcmp(plan->rows[i].purpose, purpose) != 0) continue;
            fprintf(out, "%s%s", i == first ? "" : ", ", plan->rows[i].name);
        }
        fprintf(out, "\n");
    }
    fprintf(out, "%s%-12s%11s\n", indent, "total", plan_size_text((double)plan->total).text);
}
