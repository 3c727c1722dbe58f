// Which products have FP8 operands; see fp8_rule.h.
#include "core/engine/fp8_rule.h"

#include "core/engine/context.h"

#include <stdio.h>
#include <string.h>

// "q_proj" of "model.layers.0.self_attn.q_proj.weight".
static void add_name(Fp8Names *names, const char *tensor) {
    const char *end = strrchr(tensor, '.'), *start = end;
    while (start && start > tensor && start[-1] != '.') start--;
    size_t used = strlen(names->text);
    snprintf(names->text + used, sizeof names->text - used, "%s%.*s", used ? ", " : "", (int)(end - start),
             start);
}

Fp8Names fp8_names(const ModelConfig *model, bool takes) {
    Fp8Names names = {""};
    ParamTable table = param_table_create(model, false);
    for (int i = 0; i < table.count; i++) {
        const Param *param = &table.params[i];
        if (param->layer != 0 || param->n_dims != 2 || !param->trained) continue;
        if (fp8_takes(param->cols, param->rows) == takes) add_name(&names, param->name);
    }
    param_table_free(&table);
    return names;
}

bool fp8_check(const EngineConfig *config, Error *error) {
    int64_t ranks = ranks_context(config->ranks), unit = FP8_BLOCK * ranks;
    if (!config->fp8) return true;
    if (!fp8_names(&config->model, true).text[0])
        return error_set(
            error, STATUS_USAGE,
            "--matmul fp8: no product takes it, for --dim, --ffn or heads times --head-dim are no "
            "multiples of %d; take --matmul bf16",
            FP8_BLOCK);
    if (config->context % unit == 0) return true;
    int64_t below = config->context / unit * unit;
    return error_set(
        error, STATUS_USAGE,
        "--matmul fp8: --seq-len %lld must be a multiple of %lld, %d tokens of a scale on each rank "
        "of --cp; take %lld, or --matmul bf16",
        (long long)config->context, (long long)unit, FP8_BLOCK, (long long)(below ? below : unit));
}
