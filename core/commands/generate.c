// `generate`: bytes sampled from a model; see generate.h.
#include "core/commands/generate.h"

#include "core/checkpoint/model_folder.h"
#include "core/checkpoint/open_engine.h"
#include "core/commands/prompt.h"
#include "core/commands/sampler.h"
#include "core/model/model_tokenizer.h"
#include "core/model/tokenizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What goes in, and what comes out.
typedef struct {
    bool ids;      // the tokens are ids of any model, written as numbers; else bytes
    int64_t count; // of the prompt
    int32_t *tokens;
    int32_t n_tokens; // that may be drawn: those before are the model's
    json_t *ends;     // marks that end a document of ids
} Prompt;

static bool logits_finite(const float *logits, int32_t count, Error *error) {
    for (int32_t token = 0; token < count; token++) {
        if (isfinite(logits[token])) continue;
        return error_set(error, STATUS_NONFINITE,
                         "the logit of token %d is %f: the model's weights are of no use", token,
                         (double)logits[token]);
    }
    return true;
}

static void write_prompt(const Prompt *prompt) {
    for (int64_t i = 0; i < prompt->count; i++) {
        if (prompt->ids) printf("%s%d", i ? " " : "", prompt->tokens[i]);
        if (!prompt->ids && prompt->tokens[i] < TOKEN_BOS) putchar(prompt->tokens[i]);
    }
}

// False at the end of a document.
static bool write_token(const Prompt *prompt, int32_t token) {
    if (prompt->ids) {
        printf(" %d", token);
    } else if (token < TOKEN_BOS) {
        putchar(token);
    }
    fflush(stdout);
    return prompt->ids ? !model_is_end(prompt->ends, token) : token < TOKEN_BOS;
}

// Writes prompt and sampled tokens to standard output, until --max-bytes or the end of a document.
static bool sample(Engine *engine, const Options *options, const Prompt *prompt, Error *error) {
    int64_t count = prompt->count, position = 0;
    Sampler sampler = {options->temperature, options->top_p, (uint64_t)options->seed};
    float *logits = (float *)alloc_or_exit((size_t)engine->config.model.vocab_size, sizeof *logits);
    const int32_t *tokens = prompt->tokens;
    int32_t drawn;
    bool ok = true;
    write_prompt(prompt);
    for (int64_t i = 0; i < options->max_bytes; i++) {
        ok = engine_decode(engine, tokens, count, position, logits, error) &&
             logits_finite(logits, prompt->n_tokens, error);
        if (!ok) break;
        position += count;
        count = 1;
        drawn = sampler_draw(&sampler, logits, prompt->n_tokens, (uint64_t)i);
        tokens = &drawn;
        if (!write_token(prompt, drawn)) break;
    }
    putchar('\n');
    free(logits);
    return ok;
}

// The likeliest byte is no draw.
static bool check_sampling(const Options *options, Error *error) {
    static const int draws[] = {OPTION_top_p, OPTION_seed};
    static const char *const names[] = {"--top-p", "--seed"};
    for (int i = 0; options->temperature == 0 && i < 2; i++) {
        if (options->source[draws[i]] != SOURCE_COMMAND_LINE) continue;
        return error_set(
            error, STATUS_USAGE,
            "%s has no meaning with --temperature 0, which takes the likeliest byte; leave one of "
            "them out",
            names[i]);
    }
    return true;
}

// Bytes as tokens, behind the mark of a document.
static bool read_bytes(const Options *options, Prompt *prompt, Error *error) {
    ByteBuffer bytes;
    bool ok = prompt_read(options, &bytes, error);
    if (ok) {
        prompt->tokens = (int32_t *)alloc_or_exit(bytes.size + 1, sizeof *prompt->tokens);
        prompt->count = tokenizer_encode(bytes.data, (int64_t)bytes.size, prompt->tokens);
        prompt->n_tokens = TOKEN_COUNT;
    }
    free(bytes.data);
    return ok;
}

static bool read_ids(const Options *options, const ModelConfig *model, const char *folder, Prompt *prompt,
                     Error *error) {
    ByteBuffer ids;
    if (!prompt_read_ids(options, model->vocab_size, &ids, error)) return false;
    prompt->ids = true;
    prompt->tokens = (int32_t *)ids.data;
    prompt->count = (int64_t)(ids.size / sizeof *prompt->tokens);
    prompt->n_tokens = (int32_t)model->vocab_size;
    return model_end_marks(folder, &prompt->ends, error);
}

// transformers stretches it anew with each token.
static void warn_of_stretching(const RopeScaling *scaling, int64_t needed) {
    if (scaling->type != ROPE_DYNAMIC || (double)needed <= scaling->original) return;
    warn("RoPE of type dynamic is stretched for prompt and --max-bytes, %lld tokens, from the first token "
         "on; other "
         "programs stretch it as the text grows beyond %.0f",
         (long long)needed, scaling->original);
}

// The prompt, and what it and the options ask of an engine.
static bool prepare(const Options *options, const char *folder, EngineConfig *config, Prompt *prompt,
                    Error *error) {
    memset(config, 0, sizeof *config);
    if (!model_folder_config(folder, &config->model, &config->context, error)) return false;
    bool ok = options->prompt_ids
                  ? read_ids(options, &config->model, folder, prompt, error)
                  : model_check_bytes(&config->model, folder, error) && read_bytes(options, prompt, error);
    if (!ok) return false;
    int64_t needed = prompt->count + options->max_bytes;
    if (needed > config->context) {
        warn("prompt and --max-bytes reach %lld tokens; the model was trained on %lld", (long long)needed,
             (long long)config->context);
    }
    rope_scaling_warn(&config->model.rope_scaling, needed, false);
    warn_of_stretching(&config->model.rope_scaling, needed);
    config->batch = 1;
    config->context = 256; // rows of activations: a prompt goes through in pieces of these
    config->cache = needed;
    return true;
}

bool generate_text(const EngineApi *api, const Options *options, Error *error) {
    EngineConfig config;
    Prompt prompt;
    memset(&prompt, 0, sizeof prompt);
    if (!check_sampling(options, error)) return false;
    char *folder = model_find(options, error);
    bool ok = folder && prepare(options, folder, &config, &prompt, error);
    Engine *engine = ok ? engine_open_model(api, &config, folder, 0, error) : NULL;
    ok = engine && sample(engine, options, &prompt, error);
    engine_destroy(engine);
    json_decref(prompt.ends);
    free(prompt.tokens);
    free(folder);
    return ok;
}
