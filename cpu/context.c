// Trading sequence for heads between ranks; see context.h.
#include "cpu/context.h"

// Both ways move, for every pair of ranks, n rows of heads / P heads: block r of `packed` is what goes to
// rank r, or came from it.   packed: (P, n, heads / P, D)
static void copy_blocks(const ContextSplit *split, Rows slice, bool pack, int64_t b, int64_t n, int64_t heads,
                        int64_t D) {
    int64_t own = heads / split->size;
#pragma omp parallel for
    for (int64_t row = 0; row < split->size * n; row++) {
        for (int64_t h = 0; h < own; h++) {
            real *packed = split->packed + (row * own + h) * D;
            real *x = cpu_rows_at(slice, b, (row / n * own + h) * slice.share, row % n);
            memcpy(pack ? packed : x, pack ? x : packed, (size_t)D * sizeof *x);
        }
    }
}

void cpu_context_wait(const ContextSplit *split, const char *what) {
    Part part = part_switch(split->clock, PART_RANKS);
    collectives_wait(split->queue, what);
    part_switch(split->clock, part);
}

void cpu_context_all_to_all(const ContextSplit *split, real *whole, Rows slice, int64_t B, int64_t n,
                            int64_t heads, int64_t D) {
    int64_t block = n * (heads / split->size) * D;
    for (int64_t b = 0; b < B; b++) {
        copy_blocks(split, slice, true, b, n, heads, D);
        collectives_all_to_all(split->queue, whole + b * split->size * block, split->packed, block,
                               ELEMENT_REAL);
        cpu_context_wait(split, "the all-to-all from sequence to heads");
    }
}

void cpu_context_return(const ContextSplit *split, Rows slice, const real *whole, int64_t B, int64_t n,
                        int64_t heads, int64_t D) {
    int64_t block = n * (heads / split->size) * D;
    for (int64_t b = 0; b < B; b++) {
        collectives_all_to_all(split->queue, split->packed, whole + b * split->size * block, block,
                               ELEMENT_REAL);
        cpu_context_wait(split, "the all-to-all from heads to sequence");
        copy_blocks(split, slice, false, b, n, heads, D);
    }
}
