// Whether the losses of runs compare; see report_compare.h.
#include "core/report/report_compare.h"

#include "core/base/files.h"
#include "core/checkpoint/checkpoint.h"
#include "core/model/model_tokenizer.h"

#include <stdlib.h>
#include <string.h>

// What a run's losses are of.
typedef struct {
    const char *run; // NULL where nothing is known
    bool bytes;
    uint64_t val; // fingerprint of its validation shards; 0 for none
    int64_t val_batches, seq_len;
} Measure;

static int64_t setting(const TrainerState *state, const char *name) {
    return json_integer_value(json_object_get(state->settings, name));
}

static Measure measure_of(const char *run) {
    Measure measure = {NULL, false, 0, 0, 0};
    int64_t newest = folder_exists(run) ? checkpoint_newest(run) : -1;
    if (newest < 0) return measure;
    char *folder = checkpoint_path(run, newest);
    TokenKind kind;
    TrainerState state;
    Error ignored;
    memset(&state, 0, sizeof state);
    if (model_token_kind(folder, &kind, &ignored) && checkpoint_read_state(folder, &state, &ignored)) {
        measure.run = run;
        measure.bytes = kind == TOKENS_BYTES;
        measure.val = state.val.hash;
        measure.val_batches = setting(&state, "val-batches");
        measure.seq_len = setting(&state, "seq-len");
    }
    json_decref(state.settings);
    free(folder);
    return measure;
}

static bool same_validation(const Measure *a, const Measure *b) {
    return a->val == b->val && a->val_batches == b->val_batches && a->seq_len == b->seq_len;
}

static void warn_units(const Measure *a, const Measure *b) {
    const Measure *bytes = a->bytes ? a : b, *ids = a->bytes ? b : a;
    warn("losses of %s are nats a byte, those of %s nats a token: they do not compare", bytes->run, ids->run);
}

static void warn_validation(const Measure *a, const Measure *b) {
    warn("%s was validated on %lld sequences of %lld tokens, %s on %lld of %lld%s: their validation losses "
         "are "
         "of other text",
         a->run, (long long)a->val_batches, (long long)a->seq_len, b->run, (long long)b->val_batches,
         (long long)b->seq_len, a->val == b->val ? "" : ", from other shards");
}

// Of each kind the first is told.
void report_compare(const char *const *runs, int count) {
    Measure first = {NULL, false, 0, 0, 0}, validated = first;
    bool units = false, validations = false;
    for (int i = 0; i < count; i++) {
        Measure next = measure_of(runs[i]);
        if (!next.run) continue;
        if (first.run && !units && next.bytes != first.bytes) {
            units = true;
            warn_units(&first, &next);
        }
        if (validated.run && next.val && !validations && !units && !same_validation(&validated, &next)) {
            validations = true;
            warn_validation(&validated, &next);
        }
        if (!first.run) first = next;
        if (!validated.run && next.val) validated = next;
    }
}
