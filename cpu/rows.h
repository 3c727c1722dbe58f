// How the rows of a tensor lie, so that one kernel reads tokens by head and heads by token.
#ifndef CPU_ROWS_H
#define CPU_ROWS_H

#include "cpu/real.h"

#ifdef __cplusplus
extern "C" {
#endif

// How the rows of a tensor (b, h, n) lie: strides in elements; `share` query heads read one key/value head.
typedef struct {
    real *data;
    int64_t batch, head, row, share;
} Rows;

static inline Rows rows_make(real *data, int64_t batch, int64_t head, int64_t row, int64_t share) {
    Rows rows;
    rows.data = data;
    rows.batch = batch;
    rows.head = head;
    rows.row = row;
    rows.share = share;
    return rows;
}
// (B, N, heads, D), each head shared by `share` query heads
static inline Rows rows_token_major(real *data, int64_t N, int64_t heads, int64_t D, int64_t share) {
    return rows_make(data, N * heads * D, D, heads * D, share);
}
// (B, H, S, D)
static inline Rows rows_head_major(real *data, int64_t H, int64_t S, int64_t D) {
    return rows_make(data, H * S * D, S * D, D, 1);
}
// h is always a query head.
static inline real *cpu_rows_at(Rows rows, int64_t b, int64_t h, int64_t n) {
    return rows.data + b * rows.batch + h / rows.share * rows.head + n * rows.row;
}

#ifdef __cplusplus
}
#endif
#endif
