// The command `bench`: what is asked for, checked; see bench.h.
#include "bench.h"

#include "bench_kinds.h"

#include <string.h>

bool bench_run(Options *options, const EngineApi *api, Ranks *ranks, Error *error) {
    const char *kind = options->n_inputs > 0 ? options->inputs[0] : "";
    bool step = strcmp(kind, "step") == 0;
    if (!step && strcmp(kind, "attention") != 0) {
        return error_set(error, STATUS_USAGE, "bench%s%s: say what to time, bench attention or bench step",
                         kind[0] ? " " : "", kind);
    }
    if (ranks_many(ranks) && !step) {
        ranks->agreed = true;
        return error_set(error, STATUS_USAGE,
                         "bench attention times one GPU: start it without mpirun or srun");
    }
    if (!options_apply_preset(options, error)) return false;
    ModelConfig model = options_model(options);
    if (!model_config_check(&model, error) || !options_check_sizes(options, error)) return false;
    if (options->bench_attention != BENCH_DENSE) {
        LighthouseConfig config = options_lighthouse(options);
        Hierarchy hierarchy;
        if (!hierarchy_create(&config, options->seq_len, &hierarchy, error)) return false;
        hierarchy_warn(&hierarchy);
    }
    return step ? bench_step(options, api, ranks, error) : bench_attention(options, api, error);
}
