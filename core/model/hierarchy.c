// Sizes of the Lighthouse hierarchy and the requirements on them; see hierarchy.h.
#include "core/model/hierarchy.h"

#include <stdio.h>
#include <string.h>

#define MAX_SPAN INT64_C(1000000000) // tokens; no sequence is longer

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
    if (lighthouse_scorer(config)->dilated && config->dilation < 1) {
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

// Whole coarsest entries, and for a dilated score subsequences of equal length.
int64_t hierarchy_unit(const LighthouseConfig *config) {
    int64_t span = coarse_span(config), unit = span;
    while (span > 0 && lighthouse_scorer(config)->dilated && unit % config->dilation != 0) unit += span;
    return unit;
}

// At least k coarsest entries.
int64_t hierarchy_shortest(const LighthouseConfig *config) {
    int64_t unit = hierarchy_unit(config);
    return unit > 0 ? (config->topk * coarse_span(config) + unit - 1) / unit * unit : 0;
}

static bool fits(const LighthouseConfig *config, int64_t n) {
    int64_t span = coarse_span(config);
    return span > 0 && n % hierarchy_unit(config) == 0 && n / span >= config->topk;
}

// Appends "--name value" to a list with ", or " between.
static void offer(char *list, size_t size, const char *name, int64_t value) {
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s--%s %lld", used ? ", or " : "", name, (long long)value);
}

// The error for settings that do not fit each other, with the nearest value of each that would.
static bool refuse(const LighthouseConfig *config, int64_t n, Error *error) {
    char nearest[256] = "", multiple[64] = "", dilation[48] = "";
    int64_t span = coarse_span(config), unit = hierarchy_unit(config);
    if (span > 0) {
        int64_t least = hierarchy_shortest(config), below = n / unit * unit;
        int64_t above = below >= least ? below + unit : least;
        if (below >= least) offer(nearest, sizeof nearest, "seq-len", below);
        if (above <= MAX_SPAN) offer(nearest, sizeof nearest, "seq-len", above);
        snprintf(multiple, sizeof multiple, " a multiple of %lld and", (long long)unit);
    }
    LighthouseConfig other = *config;
    other.topk = span > 0 ? n / span / LIGHTHOUSE_CHUNK_TOPK * LIGHTHOUSE_CHUNK_TOPK : 0;
    if (other.topk > 0 && fits(&other, n)) offer(nearest, sizeof nearest, "topk", other.topk);
    other = *config;
    while (other.levels > 1 && !fits(&other, n)) other.levels--;
    if (other.levels > 1) offer(nearest, sizeof nearest, "levels", other.levels);
    other = *config;
    while (other.pool > 1 && !fits(&other, n)) other.pool /= 2;
    if (other.pool > 1) offer(nearest, sizeof nearest, "pool", other.pool);

    if (lighthouse_scorer(config)->dilated) {
        snprintf(dilation, sizeof dilation, " --dilation %lld", (long long)config->dilation);
    }
    return error_set(error, STATUS_USAGE,
                     "--seq-len %lld does not go with --pool %lld --levels %lld --topk %lld%s: it must be%s "
                     "at least --topk coarse entries of P^(L-1) tokens long; %s%s",
                     (long long)n, (long long)config->pool, (long long)config->levels,
                     (long long)config->topk, dilation, multiple,
                     nearest[0] ? "nearest: " : "make several of them smaller", nearest);
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

void hierarchy_warn(const Hierarchy *hierarchy) {
    if (hierarchy->n_selected < hierarchy->n) return;
    warn("Lighthouse gathers S = %lld rows of N = %lld tokens: dense attention would cost less (lower "
         "--topk, or a "
         "longer --seq-len)",
         (long long)hierarchy->n_selected, (long long)hierarchy->n);
}
