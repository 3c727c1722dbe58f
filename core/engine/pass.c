// What a pass is to all layers and to one; see pass.h.
#include "core/engine/pass.h"

#include "core/engine/context.h"

#include <assert.h>
#include <string.h>

bool pass_make(Pass *pass, const EngineConfig *config, LighthouseShape *shape, int64_t B, int64_t N,
               Attention attention, Error *error) {
    memset(pass, 0, sizeof *pass);
    pass->model = &config->model;
    pass->ranks = ranks_context(config->ranks);
    pass->B = B;
    pass->N = N / pass->ranks;
    pass->position = pass->ranks > 1 ? config->ranks->context_rank * pass->N : 0;
    assert(N % pass->ranks == 0);
    if (attention == ATTENTION_LIGHTHOUSE) {
        assert(config->use_lighthouse);
        if (!context_lighthouse(config, B, N, pass->ranks, shape, error)) return false;
        pass->lighthouse = shape;
    }
    return true;
}

Pass pass_of_layer(const Pass *pass, const EngineConfig *config, int layer, const int32_t *forced) {
    Pass own = *pass;
    if (config->dense_layer[layer]) own.lighthouse = NULL;
    own.forced = forced;
    own.no_rope = config->model.no_rope.has[layer];
    own.cache_skip = layer * config->cache * config->model.n_kv_heads * config->model.head_dim;
    return own;
}
