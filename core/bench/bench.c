// The command `bench`: what is asked for, checked; see bench.h.
#include "core/bench/bench.h"

#include "core/bench/bench_kinds.h"
#include "core/options/options_table.h"
#include "core/options/rank_match.h"

#include <string.h>

// One layer has no model around it.
static bool check_layer(const Options *options, Error *error) {
    static const int rows[] = {OPTION_layers,     OPTION_dim,      OPTION_ffn,       OPTION_vocab,
                               OPTION_rope_theta, OPTION_norm_eps, OPTION_recompute, OPTION_dense_layers,
                               OPTION_offload,    OPTION_zero,     OPTION_matmul};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (options->source[rows[i]] != SOURCE_COMMAND_LINE) continue;
        return error_set(
            error, STATUS_USAGE,
            "--%s has no meaning for bench attention, which times one layer by its heads; leave it out",
            OPTION_TABLE[rows[i]].name);
    }
    return true;
}

// Whether what is asked for can be timed.
static bool check(Options *options, const EngineApi *api, Ranks *ranks, bool *step, Error *error) {
    const char *kind = options->n_inputs > 0 ? options->inputs[0] : "";
    *step = strcmp(kind, "step") == 0;
    if (!*step && strcmp(kind, "attention") != 0) {
        return error_set(error, STATUS_USAGE, "bench%s%s: say what to time, bench attention or bench step",
                         kind[0] ? " " : "", kind);
    }
    if (ranks_many(ranks) && !*step) {
        return error_set(error, STATUS_USAGE,
                         "bench attention times one rank; start it without mpirun or srun");
    }
    if (!*step && options->eval_cp > 1) {
        return error_set(error, STATUS_USAGE,
                         "--cp has no meaning for bench attention, which times one rank");
    }
    if (!ranks_split(ranks, options->eval_cp, error) || !options_apply_preset(options, error)) return false;
    ModelConfig model = options_model(options);
    if (!model_config_check(&model, error) || !model_window_check(&model, options->seq_len, error) ||
        !options_check_sizes(options, error))
        return false;
    if (!*step && !check_layer(options, error)) return false;
    if (!options_check_offload(options, error)) return false;
    if (!(api == engine_cpu() ? options_check_cpu : options_check_gpu)(options, error)) return false;
    if (!options_check_lighthouse(options, options->bench_attention != BENCH_DENSE, NULL, error))
        return false;
    if (*step) options_warn_zero(options, ranks->size);
    if (options->bench_attention != BENCH_DENSE) {
        LighthouseConfig config = options_lighthouse(options);
        Hierarchy hierarchy;
        if (!hierarchy_create(&config, options->seq_len, &hierarchy, error)) return false;
        hierarchy_warn(&hierarchy);
    }
    return true;
}

bool bench_run(Options *options, const EngineApi *api, Ranks *ranks, Error *error) {
    bool step;
    if (!ranks_agree(ranks, check(options, api, ranks, &step, error), error)) return false;
    if (!rank_match_start(ranks, options, NULL, error)) return false;
    ranks_group(ranks);
    return step ? bench_step(options, api, ranks, error) : bench_attention(options, api, error);
}
