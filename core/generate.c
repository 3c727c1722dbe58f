// `generate`: bytes sampled from a model; see generate.h.
#include "generate.h"

#include "model_folder.h"
#include "open_engine.h"
#include "sampler.h"
#include "tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool logits_finite(const float *logits, Error *error) {
    for (int token = 0; token < TOKEN_COUNT; token++) {
        if (isfinite(logits[token])) continue;
        return error_set(error, STATUS_NONFINITE,
                         "the logit of token %d is %f: the model's weights are of no use", token,
                         (double)logits[token]);
    }
    return true;
}

// Writes prompt and sampled bytes to standard output, until --max-bytes or the end of a document.
static bool sample(Engine *engine, const Options *options, Error *error) {
    int64_t n_prompt = (int64_t)strlen(options->prompt), position = 0;
    Sampler sampler = {options->temperature, options->top_p, (uint64_t)options->sample_seed};
    int32_t *tokens = (int32_t *)alloc_or_exit((size_t)n_prompt + 1, sizeof *tokens);
    float *logits = (float *)alloc_or_exit((size_t)engine->config.model.vocab_size, sizeof *logits);
    int64_t count = tokenizer_encode(options->prompt, n_prompt, tokens);
    bool ok = true;
    fputs(options->prompt, stdout);
    for (int64_t i = 0; ok && i < options->max_bytes; i++) {
        ok = engine_decode(engine, tokens, count, position, logits, error);
        if (!ok) break;
        ok = logits_finite(logits, error);
        if (!ok) break;
        position += count;
        count = 1;
        tokens[0] = sampler_draw(&sampler, logits, TOKEN_COUNT, (uint64_t)i);
        if (tokens[0] >= TOKEN_BOS) break;
        putchar(tokens[0]);
        fflush(stdout);
    }
    putchar('\n');
    free(logits);
    free(tokens);
    return ok;
}

bool generate_text(const EngineApi *api, const Options *options, Error *error) {
    EngineConfig config;
    memset(&config, 0, sizeof config);
    char *folder = model_find(options, error);
    bool ok = folder && model_folder_config(folder, &config.model, &config.context, error);
    ok = ok && model_check_bytes(&config.model, folder, error);
    int64_t needed = (int64_t)strlen(options->prompt) + 1 + options->max_bytes;
    if (ok && needed > config.context) {
        warn("prompt and --max-bytes reach %lld tokens; the model was trained on %lld", (long long)needed,
             (long long)config.context);
    }
    config.batch = 1;
    config.context = 256; // rows of activations: a prompt goes through in pieces of these
    config.cache = needed;
    Engine *engine = ok ? engine_open_model(api, &config, folder, 0, error) : NULL;
    ok = engine && sample(engine, options, error);
    engine_destroy(engine);
    free(folder);
    return ok;
}
