// What a trial of `niah` says; see niah_task.h.
#include "core/commands/niah_task.h"

#include "core/base/json_file.h"
#include "core/checkpoint/open_engine.h"
#include "core/data/passkey.h"
#include "core/model/model_tokenizer.h"
#include "core/model/tokenizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- The needle of bytes

static NiahTokens tokens_of(const char *text) {
    NiahTokens tokens = {NULL, (int64_t)strlen(text)};
    tokens.ids = (int32_t *)alloc_or_exit((size_t)tokens.count + 1, sizeof *tokens.ids);
    for (int64_t i = 0; i < tokens.count; i++) tokens.ids[i] = (unsigned char)text[i];
    return tokens;
}

static void take_bytes(NiahTask *task, int64_t V) {
    char needle[] = PASSKEY_PHRASE "D" PASSKEY_END;
    task->text = copy_or_exit(needle);
    task->begin = tokens_of("");
    task->begin.count = tokenizer_encode("", 0, task->begin.ids);
    task->question = tokens_of(PASSKEY_PHRASE);
    for (int digit = 0; digit < NIAH_ANSWERS; digit++) {
        needle[sizeof PASSKEY_PHRASE - 1] = (char)('0' + digit);
        task->needles[digit] = tokens_of(needle);
    }
    for (int64_t token = TOKEN_BOS; token < V; token++) task->marks[token] = true;
}

// ---- Needles of ids, from a file

static bool refuse(const char *path, const char *what, Error *error) {
    return error_set(error, STATUS_DATA,
                     "--needle %s: %s; 'scripts/tokenize.py MODEL --needle FILE' makes it of the model's "
                     "tokenizer",
                     path, what);
}

// A list of ids below V.
static bool take_ids(const json_t *list, int64_t V, NiahTokens *tokens) {
    if (!json_is_array(list)) return false;
    tokens->ids = (int32_t *)alloc_or_exit(json_array_size(list) + 1, sizeof *tokens->ids);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *id = json_array_get(list, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= V) return false;
        tokens->ids[tokens->count++] = (int32_t)json_integer_value(id);
    }
    return true;
}

static bool take_marks(const json_t *list, int64_t V, bool *marks) {
    NiahTokens tokens = {NULL, 0};
    bool ok = take_ids(list, V, &tokens);
    for (int64_t i = 0; ok && i < tokens.count; i++) marks[tokens.ids[i]] = true;
    free(tokens.ids);
    return ok;
}

static bool take_needles(NiahTask *task, const json_t *file, int64_t V) {
    const json_t *needles = json_object_get(file, "needles"), *text = json_object_get(file, "text");
    bool ok = json_array_size(needles) == NIAH_ANSWERS && json_is_string(text) &&
              take_ids(json_object_get(file, "begin"), V, &task->begin) &&
              take_ids(json_object_get(file, "question"), V, &task->question) &&
              take_marks(json_object_get(file, "marks"), V, task->marks);
    for (int digit = 0; ok && digit < NIAH_ANSWERS; digit++)
        ok = take_ids(json_array_get(needles, (size_t)digit), V, &task->needles[digit]);
    if (ok) task->text = copy_or_exit(json_string_value(text));
    return ok;
}

// Whether each needle goes on behind the question, and each in another way.
static bool needles_differ(const NiahTask *task) {
    const NiahTokens *question = &task->question;
    for (int digit = 0; digit < NIAH_ANSWERS; digit++) {
        const NiahTokens *needle = &task->needles[digit];
        if (needle->count <= question->count) return false;
        if (memcmp(needle->ids, question->ids, (size_t)question->count * sizeof *needle->ids) != 0)
            return false;
        for (int other = 0; other < digit; other++)
            if (niah_task_answer(task, other) == niah_task_answer(task, digit)) return false;
    }
    return true;
}

// Without filler.
static int64_t shortest(const NiahTask *task, int digit) {
    return task->begin.count + task->needles[digit].count + task->question.count;
}

static bool check_needles(const NiahTask *task, const char *path, Error *error) {
    if (!needles_differ(task))
        return refuse(path, "its needles are not the question and ten different answers", error);
    for (int digit = 0; digit < NIAH_ANSWERS; digit++) {
        if (shortest(task, digit) <= NIAH_MIN_LENGTH) continue;
        return error_set(error, STATUS_DATA,
                         "--needle %s: needle and question take %lld tokens, more than %d", path,
                         (long long)shortest(task, digit), NIAH_MIN_LENGTH);
    }
    return true;
}

static bool read_needles(NiahTask *task, const char *path, int64_t V, Error *error) {
    json_t *file = json_file_read(path, error);
    if (!file) return error_prefix(error, "--needle");
    bool ok = take_needles(task, file, V) ||
              refuse(path, "is no file of needles in ids below the model's vocabulary", error);
    json_decref(file);
    return ok && check_needles(task, path, error);
}

// ---- Filler

// From `position` on, over the end of the data to their beginning; marks are left out.
static bool read_filler(NiahTask *task, int64_t position, int64_t count, int32_t *out, Error *error) {
    DataLoader *data = &task->data;
    for (int64_t taken = 0, marks = 0; taken < count;) {
        int64_t piece = count - taken, left = data->n_tokens - position;
        if (piece > left) piece = left;
        if (!dataloader_copy(data, position, piece, out + taken, error)) return error_prefix(error, "--data");
        position = (position + piece) % data->n_tokens;
        int64_t end = taken + piece, before = taken;
        for (int64_t i = taken; i < end; i++)
            if (!task->marks[out[i]]) out[taken++] = out[i];
        marks = taken > before ? 0 : marks + piece;
        if (marks > 2 * data->n_tokens)
            return error_set(error, STATUS_DATA, "--data: the shards hold marks of documents alone");
    }
    return true;
}

// Later it would be in the midst of trials that a shard is found damaged.
static bool check_shards(DataLoader *data, Error *error) {
    for (int64_t i = 0; i < data->n_shards; i++) {
        Shard *shard = &data->shards[i];
        int32_t first;
        if (shard->header.n_tokens > 0 && !shard_read(shard, 0, 1, data->vocab_size, &first, error))
            return error_prefix(error, "--data");
    }
    return true;
}

static bool open_shards(NiahTask *task, const char *pattern, const char *folder, int64_t V, Error *error) {
    if (!dataloader_open(&task->data, pattern, 1, V, error)) return error_prefix(error, "--data");
    task->reads = true;
    return model_tokenizer_check_data(folder, pattern, task->data.bytes, false, error) &&
           check_shards(&task->data, error);
}

// ---- The whole

static bool check_options(const NiahTask *task, const Options *options, const char *folder,
                          const ModelConfig *model, Error *error) {
    if (task->bytes && options->needle)
        return error_set(error, STATUS_USAGE,
                         "--needle: %s is a model of bytes, which has its own; leave it out", folder);
    if (task->bytes) return model_check_bytes(model, folder, error);
    if (options->needle && options->niah_data) return true;
    return error_set(
        error, STATUS_USAGE,
        "%s is no model of bytes: it needs --needle, which 'scripts/tokenize.py %s --needle FILE' "
        "makes, and shards of its ids as filler, as --data 'data/val_*.bin'",
        folder, folder);
}

bool niah_task_open(NiahTask *task, const Options *options, const char *folder, const ModelConfig *model,
                    Error *error) {
    TokenKind kind;
    int64_t V = model->vocab_size;
    memset(task, 0, sizeof *task);
    if (!model_token_kind(folder, &kind, error)) return false;
    task->bytes = kind == TOKENS_BYTES;
    if (!check_options(task, options, folder, model, error)) return false;
    task->marks = (bool *)alloc_or_exit((size_t)V, sizeof *task->marks);
    memset(task->marks, 0, (size_t)V * sizeof *task->marks);
    if (task->bytes) take_bytes(task, V);
    return (task->bytes || read_needles(task, options->needle, V, error)) &&
           (!options->niah_data || open_shards(task, options->niah_data, folder, V, error));
}

void niah_task_close(NiahTask *task) {
    dataloader_close(&task->data);
    free(task->begin.ids);
    free(task->question.ids);
    for (int digit = 0; digit < NIAH_ANSWERS; digit++) free(task->needles[digit].ids);
    free(task->text);
    free(task->marks);
}

int32_t niah_task_answer(const NiahTask *task, int digit) {
    return task->needles[digit].ids[task->question.count];
}

static int32_t *put(int32_t *at, const NiahTokens *tokens) {
    memcpy(at, tokens->ids, (size_t)tokens->count * sizeof *at);
    return at + tokens->count;
}

static int draw_bytes(uint64_t seed, uint64_t number, double depth, int64_t length, int32_t *tokens) {
    char *text = (char *)alloc_or_exit((size_t)length, 1);
    int digit = passkey_text(seed, number, depth, length - 1, text);
    tokenizer_encode(text, length - 1, tokens);
    free(text);
    return digit;
}

// The filler is one piece of the data, in which the needle stands.
bool niah_task_trial(NiahTask *task, uint64_t seed, uint64_t number, double depth, int64_t length,
                     int32_t *tokens, int *digit, Error *error) {
    if (!task->reads) {
        *digit = draw_bytes(seed, number, depth, length, tokens);
        return true;
    }
    *digit = (int)(random_bits(seed, number, 0) % NIAH_ANSWERS);
    const NiahTokens *needle = &task->needles[*digit];
    int64_t count = length - shortest(task, *digit), before = llround(depth * (double)count);
    int64_t position = (int64_t)(random_bits(seed, number, 1) % (uint64_t)task->data.n_tokens);
    int32_t *filler = put(tokens, &task->begin);
    if (!read_filler(task, position, count, filler, error)) return false;
    memmove(filler + before + needle->count, filler + before, (size_t)(count - before) * sizeof *filler);
    put(filler + before, needle);
    put(filler + count + needle->count, &task->question);
    return true;
}
