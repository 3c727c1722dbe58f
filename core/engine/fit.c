// Whether a plan fits; see fit.h.
#include "core/engine/fit.h"

#include "core/base/host_memory.h"
#include "core/engine/fp8_rule.h"
#include "core/engine/offload.h"

#include <stdio.h>
#include <stdlib.h>

static int sharing_host(const Ranks *ranks) {
    return ranks && ranks->local_size > 1 ? ranks->local_size : 1;
}

// Whether the host has what is offloaded there.
static bool fits_host(const EngineConfig *config, const MemoryPlan *plan) {
    if (offload_of(config) == OFFLOAD_NONE) return true;
    return plan->host <= host_memory_available() / (size_t)sharing_host(config->ranks);
}

// Whether a changed configuration is possible and fits.
static bool fits(const EngineApi *api, const EngineConfig *config, size_t available) {
    MemoryPlan *plan = (MemoryPlan *)alloc_or_exit(1, sizeof *plan);
    Error ignored;
    bool ok = api->plan(config, plan, &ignored) && plan->total <= available && fits_host(config, plan);
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

// Tokens that a rank's slice must be a multiple of.
static int64_t slice_unit(const EngineConfig *config) {
    int64_t unit = config->use_lighthouse ? hierarchy_unit(&config->lighthouse) : 1, both = unit;
    while (config->fp8 && both % FP8_BLOCK != 0) both += unit;
    return both;
}

// The largest context below that of `config` with which it fits, to a part in 64 at least; 0 when none does.
// As plans may take long to make, it is looked for in coarse steps first, then between two of them.
static int64_t largest_context(const EngineApi *api, EngineConfig *config, size_t available) {
    const LighthouseConfig *lighthouse = config->use_lighthouse ? &config->lighthouse : NULL;
    int64_t ranks = ranks_context(config->ranks), best = 0;
    int64_t fine = ranks * slice_unit(config);
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

// Options that take less memory: each takes effect, or gives false where it has none.
static bool take_recompute(const EngineApi *api, EngineConfig *config) {
    bool changes = !config->recompute;
    (void)api;
    config->recompute = true;
    return changes;
}
static bool take_activations(const EngineApi *api, EngineConfig *config) {
    bool changes = api != engine_cpu() && config->recompute && !config->offload_activations;
    if (changes) config->offload_activations = true;
    return changes;
}

static bool take_optimizer(const EngineApi *api, EngineConfig *config) {
    bool changes = api != engine_cpu() && !config->offload_optimizer;
    if (changes) config->offload_optimizer = true;
    return changes;
}

static bool take_zero(const EngineApi *api, EngineConfig *config) {
    bool changes = ranks_many(config->ranks) && !config->share_gradients;
    (void)api;
    if (changes) config->share_gradients = true;
    return changes;
}

static bool (*const SAVERS[])(const EngineApi *api, EngineConfig *config) = {
    take_zero, take_recompute, take_activations, take_optimizer}; // cheapest first
#define SAVER_COUNT ((int)(sizeof SAVERS / sizeof *SAVERS))

typedef struct {
    char words[128]; // of the options that changed something, a blank before each
} SaverText;

// The options that make `other` of `config`.
static SaverText saver_text(const EngineConfig *config, const EngineConfig *other) {
    SaverText text;
    bool offloads = offload_of(other) != offload_of(config);
    snprintf(text.words, sizeof text.words, "%s%s%s%s",
             other->share_gradients != config->share_gradients ? " --zero 2" : "",
             other->recompute != config->recompute ? " --recompute block" : "", offloads ? " --offload " : "",
             offloads ? choice_name(OFFLOAD_CHOICES, offload_of(other)) : "");
    return text;
}

// Whether each of the options in the set `chosen`, a bit a row, changes something.
static bool take_savers(const EngineApi *api, unsigned chosen, EngineConfig *config) {
    bool all = true;
    for (int i = 0; i < SAVER_COUNT; i++)
        if (chosen >> i & 1) all = SAVERS[i](api, config) && all;
    return all;
}

// The largest batch that divides the sequences of an update on this rank; 0 when none fits.
static int64_t largest_batch(const EngineApi *api, EngineConfig *config, size_t available) {
    int64_t update = config->batch * config->micro_steps;
    int64_t batch = largest(api, config, &config->batch, 1, 1, available);
    while (batch > 1 && update % batch != 0) batch--;
    return batch;
}

// The largest batch that would fit with the options in the set `chosen`, else the largest context; false
// where none does.
static bool advise_smaller(const EngineApi *api, const EngineConfig *config, unsigned chosen,
                           size_t available, char *advice, size_t size) {
    EngineConfig other = *config;
    take_savers(api, chosen, &other);
    SaverText text = saver_text(config, &other);
    int64_t batch = largest_batch(api, &other, available);
    if (batch > 0) {
        snprintf(advice, size, "the largest batch that would fit is --batch %lld%s", (long long)batch,
                 text.words);
        return true;
    }
    other.batch = 1;
    int64_t context = largest_context(api, &other, available);
    snprintf(advice, size, "the largest context that would fit is --seq-len %lld --batch 1%s",
             (long long)context, text.words);
    return context > 0;
}

// What would fit, for a run of `train`. The host may lack what the last options need of it.
static void advise_training(const EngineApi *api, const EngineConfig *config, size_t available, char *advice,
                            size_t size) {
    const unsigned all = (1u << SAVER_COUNT) - 1;
    for (unsigned chosen = 1; chosen <= all; chosen++) {
        EngineConfig other = *config;
        if (!take_savers(api, chosen, &other) || !fits(api, &other, available)) continue;
        snprintf(advice, size, "%s would fit", saver_text(config, &other).words + 1);
        return;
    }
    for (unsigned chosen = all; chosen > 0; chosen >>= 1)
        if (advise_smaller(api, config, chosen, available, advice, size)) return;
    EngineConfig least = *config;
    take_savers(api, all, &least);
    snprintf(advice, size, "no --seq-len fits: %s", name_obstacle(api, &least, available));
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

// Whether less of what is offloaded would fit: none, or one of two. Gives the word for it; NULL where not.
static const char *less_offloaded(const EngineApi *api, const EngineConfig *config, size_t available) {
    for (int offload = OFFLOAD_NONE; offload < offload_of(config); offload++) {
        EngineConfig less = *config;
        offload_set(&less, offload & offload_of(config));
        if (fits(api, &less, available)) return choice_name(OFFLOAD_CHOICES, offload_of(&less));
    }
    return NULL;
}

// Where the host lacks what waits there, the device may hold more of it.
static bool refuse_host(const EngineApi *api, const EngineConfig *config, const MemoryPlan *plan,
                        size_t available, Error *error) {
    int sharing = sharing_host(config->ranks);
    char advice[256], shared[48] = "";
    const char *less = less_offloaded(api, config, available);
    if (less) {
        snprintf(advice, sizeof advice, "--offload %s would fit", less);
    } else {
        advise_training(api, config, available, advice, sizeof advice);
    }
    if (sharing > 1) snprintf(shared, sizeof shared, ", a share of %d ranks,", sharing);
    return error_set(error, STATUS_MEMORY, "the plan takes %.2f GB of host memory and %.2f GB%s are free; %s",
                     (double)plan->host / 1e9, (double)host_memory_available() / sharing / 1e9, shared,
                     advice);
}

bool fit_check(const EngineApi *api, const EngineConfig *config, const MemoryPlan *plan, Error *error) {
    size_t available = memory_for_rank(api, config);
    if (plan->total <= available)
        return fits_host(config, plan) || refuse_host(api, config, plan, available, error);

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
    size_t available = host_memory_available() / (size_t)sharing_host(config->ranks);
    size_t taken = plan->host + (api == engine_cpu() ? plan->total : 0);
    return available > taken ? available - taken : 0;
}
