// Exchanging sequence for heads between ranks; see context.h.
#include "cpu/context.h"

#include "core/engine/context.h"

// Both ways move, for every pair of ranks, n rows of `own` heads: block r of `packed` is what goes to rank r,
// or came from it.   packed: (P, n, own, D)
static int64_t own_heads(const CpuCp *cp, int64_t heads) {
    return context_heads(heads, cp->size) / cp->size;
}

static void pack_blocks(const CpuCp *cp, Rows slice, int64_t b, int64_t n, int64_t heads, int64_t D) {
    int64_t own = own_heads(cp, heads), copies = own * cp->size / heads;
#pragma omp parallel for
    for (int64_t row = 0; row < cp->size * n; row++) {
        for (int64_t h = 0; h < own; h++) {
            const real *x = cpu_rows_at(slice, b, (row / n * own + h) / copies * slice.share, row % n);
            memcpy(cp->packed + (row * own + h) * D, x, (size_t)D * sizeof *x);
        }
    }
}

// One thread writes a row of the slice, and adds its copies from the first rank on: the same bits every time.
static void unpack_blocks(const CpuCp *cp, Rows slice, int64_t b, int64_t n, int64_t heads, int64_t D) {
    int64_t own = own_heads(cp, heads), copies = own * cp->size / heads;
#pragma omp parallel for
    for (int64_t row = 0; row < heads * n; row++) {
        int64_t head = row / n, first = head * copies;
        real *x = cpu_rows_at(slice, b, head * slice.share, row % n);
        const real *packed = cp->packed + ((first / own * n + row % n) * own + first % own) * D;
        memcpy(x, packed, (size_t)D * sizeof *x);
        for (int64_t copy = 1; copy < copies; copy++) { // then a rank has one head
            for (int64_t d = 0; d < D; d++) x[d] += packed[copy * n * D + d];
        }
    }
}

void cpu_context_wait(const CpuCp *cp, const char *what) {
    Part part = part_switch(cp->clock, PART_RANKS);
    collectives_wait(cp->queue, what);
    part_switch(cp->clock, part);
}

void cpu_context_all_to_all(const CpuCp *cp, real *whole, Rows slice, int64_t B, int64_t n, int64_t heads,
                            int64_t D) {
    int64_t block = n * own_heads(cp, heads) * D;
    for (int64_t b = 0; b < B; b++) {
        pack_blocks(cp, slice, b, n, heads, D);
        collectives_all_to_all(cp->queue, whole + b * cp->size * block, cp->packed, block, ELEMENT_REAL);
        cpu_context_wait(cp, "the all-to-all from sequence to heads");
    }
}

void cpu_context_return(const CpuCp *cp, Rows slice, const real *whole, int64_t B, int64_t n, int64_t heads,
                        int64_t D) {
    int64_t block = n * own_heads(cp, heads) * D;
    for (int64_t b = 0; b < B; b++) {
        collectives_all_to_all(cp->queue, cp->packed, whole + b * cp->size * block, block, ELEMENT_REAL);
        cpu_context_wait(cp, "the all-to-all from heads to sequence");
        unpack_blocks(cp, slice, b, n, heads, D);
    }
}
