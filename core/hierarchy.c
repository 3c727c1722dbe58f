// Sizes of the Lighthouse hierarchy and the requirements on them; see hierarchy.h.
#include "hierarchy.h"

#include <stdio.h>
#include <string.h>

#define MAX_SPAN (INT64_C(1) << 30) // tokens; no context is as long

static bool config_check(const LighthouseConfig *config, Error *error) {
    int64_t p = config->pool, k = config->topk;
    if (config->levels < 2 || config->levels > LIGHTHOUSE_MAX_LEVELS) {
        return error_set(error, STATUS_USAGE, "--levels %lld: must be 2 to %d", (long long)config->levels,
                         LIGHTHOUSE_MAX_LEVELS);
    }
    if (p < 2 || (p & (p - 1)) != 0) {
        int64_t below = 2;
        while (2 * below <= p) below *= 2;
        return error_set(error, STATUS_USAGE,
                         "--pool %lld: must be a power of two from 2 on; nearest: %lld or %lld", (long long)p,
                         (long long)below, (long long)(2 * below));
    }
    if (k < LIGHTHOUSE_CHUNK_TOPK || k % LIGHTHOUSE_CHUNK_TOPK != 0) {
        int64_t below = k / LIGHTHOUSE_CHUNK_TOPK * LIGHTHOUSE_CHUNK_TOPK;
        if (below < LIGHTHOUSE_CHUNK_TOPK) below = LIGHTHOUSE_CHUNK_TOPK;
        return error_set(error, STATUS_USAGE, "--topk %lld: must be a multiple of %d; nearest: %lld or %lld",
                         (long long)k, LIGHTHOUSE_CHUNK_TOPK, (long long)below,
                         (long long)(below + LIGHTHOUSE_CHUNK_TOPK));
    }
    if (config->scorer != SCORER_NORM && config->dilation < 1) {
        return error_set(error, STATUS_USAGE, "--dilation %lld: must be at least 1",
                         (long long)config->dilation);
    }
    return true;
}

// p^(L-1), the tokens of a coarsest entry; 0 when no sequence is that long.
static int64_t coarse_span(const LighthouseConfig *config) {
    int64_t span = 1;
    for (int64_t l = 1; l < config->levels && span > 0; l++) {
        span = span <= MAX_SPAN / config->pool ? span * config->pool : 0;
    }
    return span;
}

// What N must be a multiple of: whole coarsest entries, and for a dilated score subsequences of equal length.
static int64_t length_unit(const LighthouseConfig *config, int64_t span) {
    int64_t unit = span;
    while (span > 0 && config->scorer != SCORER_NORM && unit % config->dilation != 0) unit += span;
    return unit;
}

static bool fits(const LighthouseConfig *config, int64_t n) {
    int64_t span = coarse_span(config);
    return span > 0 && n % length_unit(config, span) == 0 && n / span >= config->topk;
}

// The error for settings that do not fit each other, with the nearest values of each that would.
static bool refuse(const LighthouseConfig *config, int64_t n, Error *error) {
    char dilation[48] = "", nearest[256] = "";
    size_t size = sizeof nearest;
    int64_t span = coarse_span(config), unit = length_unit(config, span);
    if (config->scorer != SCORER_NORM) {
        snprintf(dilation, sizeof dilation, " --dilation %lld", (long long)config->dilation);
    }
    if (span > 0) {
        int64_t least = (config->topk * span + unit - 1) / unit * unit, below = n / unit * unit;
        if (below >= least) snprintf(nearest, size, "%lld or ", (long long)below);
        snprintf(nearest + strlen(nearest), size - strlen(nearest), "%lld",
                 (long long)(below >= least ? below + unit : least));
    }
    LighthouseConfig smaller = *config, flatter = *config;
    smaller.topk = span > 0 ? n / span / LIGHTHOUSE_CHUNK_TOPK * LIGHTHOUSE_CHUNK_TOPK : 0;
    if (smaller.topk > 0 && fits(&smaller, n)) {
        snprintf(nearest + strlen(nearest), size - strlen(nearest), ", or --topk %lld",
                 (long long)smaller.topk);
    }
    while (flatter.levels > 1 && !fits(&flatter, n)) flatter.levels--;
    if (flatter.levels > 1) {
        snprintf(nearest + strlen(nearest), size - strlen(nearest), "%s--levels %lld",
                 nearest[0] ? ", or " : "", (long long)flatter.levels);
    }
    return error_set(error, STATUS_USAGE,
                     "--seq-len %lld does not go with --pool %lld --levels %lld --topk %lld%s: it must be a "
                     "multiple of %lld with at least --topk coarse entries (of P^(L-1) tokens); nearest: %s",
                     (long long)n, (long long)config->pool, (long long)config->levels,
                     (long long)config->topk, dilation, (long long)unit,
                     nearest[0] ? nearest : "a smaller --pool");
}

bool hierarchy_create(const LighthouseConfig *config, int64_t n, Hierarchy *h, Error *error) {
    if (!config_check(config, error)) return false;
    if (!fits(config, n)) return refuse(config, n, error);
    memset(h, 0, sizeof *h);
    h->n = n;
    h->levels = (int)config->levels;
    h->pool = config->pool;
    h->n_chunks = config->topk / LIGHTHOUSE_CHUNK_TOPK;
    int64_t span = 1;
    for (int l = 0; l < h->levels; l++, span *= config->pool) {
        h->level_span[l] = span;
        h->level_count[l] = n / span;
        h->level_offset[l] = h->n_entries;
        h->n_entries += h->level_count[l];
    }
    h->level_offset[h->levels] = h->n_entries;
    h->n_coarse = h->level_count[h->levels - 1];
    h->n_selected = h->n_coarse + (h->levels - 1) * config->pool * config->topk;
    return true;
}
