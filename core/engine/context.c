// What can be sliced over ranks; see context.h.
#include "core/engine/context.h"

#include <stdio.h>
#include <string.h>

static bool multiple_or_refuse(int64_t value, int64_t unit, const char *option, int64_t context_size,
                               const char *why, Error *error) {
    if (value % unit == 0) return true;
    char below[32] = "";
    if (value > unit) snprintf(below, sizeof below, "%lld or ", (long long)(value / unit * unit));
    return error_set(error, STATUS_USAGE,
                     "--cp %lld: %s %lld must be a multiple of %lld (%s); nearest: %s %s%lld",
                     (long long)context_size, option, (long long)value, (long long)unit, why, option, below,
                     (long long)((value / unit + 1) * unit));
}

// Whether each of P ranks has as many query heads, and the key/value heads that these read, whole or one of
// them.
static bool heads_fit(const ModelConfig *m, int64_t P) {
    return m->n_heads % P == 0 && (m->n_kv_heads % P == 0 || P % m->n_kv_heads == 0);
}

static bool heads_or_refuse(const ModelConfig *m, int64_t context_size, Error *error) {
    if (heads_fit(m, context_size)) return true;
    char valid[128] = "", why[64];
    for (int64_t p = 1; p <= m->n_heads && strlen(valid) < sizeof valid - 24; p++) {
        if (heads_fit(m, p))
            snprintf(valid + strlen(valid), 24, "%s%lld", valid[0] ? ", " : "", (long long)p);
    }
    if (m->n_heads % context_size != 0) {
        snprintf(why, sizeof why, "does not divide --heads %lld", (long long)m->n_heads);
    } else {
        snprintf(why, sizeof why, "neither divides --kv-heads %lld nor is a multiple of it",
                 (long long)m->n_kv_heads);
    }
    return error_set(error, STATUS_USAGE, "--cp %lld %s; valid: --cp %s", (long long)context_size, why,
                     valid);
}

bool context_hierarchy(const LighthouseConfig *config, int64_t n, int64_t context_size, Hierarchy *hierarchy,
                       Error *error) {
    if (!hierarchy_create(config, n, hierarchy, error)) return false;
    if (context_size == 1) return true;
    const char *rows = lighthouse_scorer(config)->dilated
                           ? "whole coarsest entries, and all --dilation subsequences alike, on each rank"
                           : "whole coarsest entries, P^(L-1) tokens of --pool P, on each rank";
    if (!multiple_or_refuse(config->topk, LIGHTHOUSE_CHUNK_TOPK * context_size, "--topk", context_size,
                            "whole chunks of 128 on each rank", error) ||
        !multiple_or_refuse(n, context_size * hierarchy_unit(config), "--seq-len", context_size, rows,
                            error)) {
        return false;
    }
    LighthouseConfig slice = *config;
    slice.topk /= context_size;
    return hierarchy_create(&slice, n / context_size, hierarchy, error);
}

bool context_lighthouse(const EngineConfig *config, int64_t B, int64_t N, int64_t context_size,
                        LighthouseShape *shape, Error *error) {
    const ModelConfig *m = &config->model;
    shape->config = config->lighthouse;
    shape->B = B;
    shape->H = m->n_heads;
    shape->D = m->head_dim;
    shape->share = m->n_heads / m->n_kv_heads;
    return context_hierarchy(&config->lighthouse, N, context_size, &shape->hierarchy, error);
}

bool context_check(const EngineConfig *config, int64_t context_size, Error *error) {
    if (context_size == 1) return true;
    if (!heads_or_refuse(&config->model, context_size, error) ||
        !multiple_or_refuse(config->context, context_size, "--seq-len", context_size,
                            "slices of equal length", error)) {
        return false;
    }
    Hierarchy hierarchy;
    return !config->use_lighthouse ||
           context_hierarchy(&config->lighthouse, config->context, context_size, &hierarchy, error);
}
