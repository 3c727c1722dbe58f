// Whether a plan fits; see fit.h.
#include "core/engine/fit.h"

#include "core/base/host_memory.h"

#include <stdio.h>
#include <stdlib.h>

// Whether a changed configuration is possible and fits.
static bool fits(const EngineApi *api, const EngineConfig *config, size_t available) {
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    Error ignored;
    bool ok = api->plan(config, plan, &ignored) && plan->total <= available;
    free(plan);
    return ok;
}

// The largest value of *setting with which `config` (that holds it) fits: a multiple of `unit`, below what it
// is and from `least` on; 0 when none does. Memory grows with the setting.
static int64_t largest(const EngineApi *api, const EngineConfig *config, int64_t *setting, int64_t least,
                       int64_t unit, size_t available) {
    int64_t low = (least - 1) / unit, high = *setting / unit;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        *setting = middle * unit;
        if (fits(api, config, available)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low * unit >= least ? low * unit : 0;
}

// The largest context below that of `config` with which it fits, to a part in 64 at least; 0 when none does.
// As plans may take long to make, it is looked for in coarse steps first, then between two of them.
static int64_t largest_context(const EngineApi *api, EngineConfig *config, size_t available) {
    const LighthouseConfig *lighthouse = config->use_lighthouse ? &config->lighthouse : NULL;
    int64_t ranks = ranks_context(config->ranks), best = 0;
    int64_t fine = ranks * (lighthouse ? hierarchy_unit(lighthouse) : 1);
    int64_t least = ((lighthouse ? hierarchy_shortest(lighthouse) : 1) + fine - 1) / fine * fine;
    for (int64_t above = config->context;;) {
        int64_t unit = fine;
        while (unit < (above - least) / 256) unit *= 2;
        config->context = above;
        int64_t found = largest(api, config, &config->context, least, unit, available);
        int64_t next = (found > 0 ? found : (least - 1) / unit * unit) + unit; // which does not fit
        if (found > 0) {
            best = found;
            least = found + fine;
        }
        if (unit == fine || unit <= best / 64) return best;
        if (next < above) above = next;
    }
}

// Why no context fits.
static const char *name_obstacle(const EngineApi *api, const EngineConfig *config, size_t available) {
    EngineConfig least = *config;
    least.use_lighthouse = false;
    least.batch = 1;
    least.cache = 0;
    least.context = INT64_C(128) * ranks_context(config->ranks);
    return fits(api, &least, available) ? "a smaller --topk allows shorter ones"
                                        : "the model itself is too large";
}

// What would fit, for a run of `train`.
static void advise_training(const EngineApi *api, const EngineConfig *config, size_t available, char *advice,
                            size_t size) {
    EngineConfig other = *config;
    other.recompute = true;
    if (!config->recompute && fits(api, &other, available)) {
        snprintf(advice, size, "--recompute block would fit");
        return;
    }
    int64_t batch = largest(api, &other, &other.batch, 1, 1, available);
    int64_t update = config->batch * config->micro_steps; // sequences of an update on this rank
    while (batch > 1 && update % batch != 0) batch--;
    if (batch > 0) {
        snprintf(advice, size, "the largest batch that would fit is --batch %lld --recompute block",
                 (long long)batch);
        return;
    }
    other.batch = 1;
    int64_t context = largest_context(api, &other, available);
    if (context > 0) {
        snprintf(advice, size,
                 "the largest context that would fit is --seq-len %lld --batch 1 --recompute block",
                 (long long)context);
    } else {
        snprintf(advice, size, "no --seq-len fits: %s", name_obstacle(api, &other, available));
    }
}

// What would fit, for `eval`, `niah` and `generate`: one sequence, in a context or in a cache of keys and
// values.
static void advise_inference(const EngineApi *api, const EngineConfig *config, size_t available, char *advice,
                             size_t size) {
    EngineConfig other = *config;
    int64_t tokens = config->cache > 0 ? largest(api, &other, &other.cache, 1, 1, available)
                                       : largest_context(api, &other, available);
    if (tokens == 0) {
        snprintf(advice, size, "no shorter one fits: %s", name_obstacle(api, &other, available));
    } else if (config->cache > 0) {
        snprintf(advice, size, "prompt and --max-bytes together may be %lld tokens", (long long)tokens);
    } else {
        snprintf(advice, size, "the longest sequence that would fit has %lld tokens", (long long)tokens);
    }
}

// Ranks of one host share its memory; GPUs have their own.
static size_t memory_for_rank(const EngineApi *api, const EngineConfig *config) {
    size_t available = api->memory_available(config->ranks);
    bool shared = api == engine_cpu() && config->ranks && config->ranks->local_size > 1;
    return shared ? available / (size_t)config->ranks->local_size : available;
}

bool fit_check(const EngineApi *api, const EngineConfig *config, const MemoryPlan *plan, Error *error) {
    size_t available = memory_for_rank(api, config);
    if (plan->total <= available) return true;

    char advice[256];
    if (config->training) {
        advise_training(api, config, available, advice, sizeof advice);
    } else {
        advise_inference(api, config, available, advice, sizeof advice);
    }
    return error_set(
        error, STATUS_MEMORY,
        "the plan takes %.2f GB and %.2f GB are free on the %s (activations %.2f GB, optimizer %.2f GB); %s",
        (double)plan->total / 1e9, (double)available / 1e9, api->name,
        (double)plan_purpose_bytes(plan, "activations") / 1e9,
        (double)plan_purpose_bytes(plan, "optimizer") / 1e9, advice);
}

size_t fit_host_left(const EngineApi *api, const EngineConfig *config, const MemoryPlan *plan) {
    int sharing = config->ranks && config->ranks->local_size > 1 ? config->ranks->local_size : 1;
    size_t available = host_memory_available() / (size_t)sharing;
    size_t taken = api == engine_cpu() ? plan->total : 0;
    return available > taken ? available - taken : 0;
}
