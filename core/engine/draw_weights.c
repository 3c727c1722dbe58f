// Initial weights; see engine.h.
#include "core/engine/engine.h"

#include <stdlib.h>

void engine_draw_weights(Engine *engine, uint64_t seed, double embedding_std, bool frozen) {
    const int64_t piece = 1 << 22;
    float *values = (float *)alloc_or_exit((size_t)piece, sizeof *values);
    for (int p = 0; p < engine->table.count; p++) {
        const Param *param = &engine->table.params[p];
        if (frozen && param->trained) continue;
        for (int64_t start = 0; start < param_size(param); start += piece) {
            int64_t count = param_size(param) - start < piece ? param_size(param) - start : piece;
            param_init(param, seed, start, count, values);
            for (int64_t i = 0; param->role == PARAM_EMBEDDING && i < count; i++)
                values[i] *= (float)embedding_std;
            engine_write(engine, TENSOR_WEIGHT, p, start, count, values);
        }
    }
    free(values);
}
