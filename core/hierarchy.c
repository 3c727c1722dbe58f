// Sizes of the Lighthouse hierarchy and the requirements on them; see hierarchy.h.
#include "hierarchy.h"

#include <string.h>

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
    return true;
}

bool hierarchy_create(const LighthouseConfig *config, int64_t n, Hierarchy *h, Error *error) {
    if (!config_check(config, error)) return false;
    memset(h, 0, sizeof *h);
    h->n = n;
    h->levels = (int)config->levels;
    h->pool = config->pool;
    h->n_chunks = config->topk / LIGHTHOUSE_CHUNK_TOPK;

    int64_t span = 1, unit = 1; // unit: what N must be a multiple of
    for (int l = 0; l < h->levels; l++) {
        if (span > n) break;
        h->level_span[l] = span;
        h->level_count[l] = n / span;
        h->level_offset[l] = h->n_entries;
        h->n_entries += h->level_count[l];
        unit = span;
        span *= config->pool;
    }
    h->level_offset[h->levels] = h->n_entries;
    if (h->level_span[h->levels - 1] == 0) {
        return error_set(
            error, STATUS_USAGE,
            "--levels %lld with --pool %lld: one coarse entry would span more than the %lld tokens of "
            "--seq-len; use fewer levels or a longer context",
            (long long)config->levels, (long long)config->pool, (long long)n);
    }
    if (config->scorer != SCORER_NORM) { // the subsequences of a dilated score must have equal lengths
        if (config->dilation < 1) return error_set(error, STATUS_USAGE, "--dilation must be at least 1");
        while (unit % config->dilation != 0) unit += h->level_span[h->levels - 1];
    }
    if (n % unit != 0) {
        int64_t below = n / unit * unit;
        return error_set(
            error, STATUS_USAGE,
            "--seq-len %lld: with --pool %lld --levels %lld%s it must be a multiple of %lld; nearest: "
            "%lld or %lld",
            (long long)n, (long long)config->pool, (long long)config->levels,
            config->scorer == SCORER_NORM ? "" : " and --dilation", (long long)unit,
            (long long)(below ? below : unit), (long long)(below + unit));
    }
    h->n_coarse = h->level_count[h->levels - 1];
    if (h->n_coarse < config->topk) {
        int64_t largest = h->n_coarse / LIGHTHOUSE_CHUNK_TOPK * LIGHTHOUSE_CHUNK_TOPK;
        if (largest == 0) {
            return error_set(
                error, STATUS_USAGE,
                "--seq-len %lld has %lld coarse entries (N / p^(L-1)), too few for any --topk; it takes "
                "at least --seq-len %lld, or a smaller --pool or --levels",
                (long long)n, (long long)h->n_coarse,
                (long long)(LIGHTHOUSE_CHUNK_TOPK * h->level_span[h->levels - 1]));
        }
        return error_set(
            error, STATUS_USAGE,
            "--topk %lld is more than the %lld coarse entries (N / p^(L-1)) of --seq-len %lld; the "
            "largest --topk here is %lld",
            (long long)config->topk, (long long)h->n_coarse, (long long)n, (long long)largest);
    }
    h->n_selected = h->n_coarse + (h->levels - 1) * config->pool * config->topk;
    return true;
}
