// The command `pack`; see pack_command.h.
#include "pack_command.h"

#include "pack.h"

#include <stdio.h>
#include <unistd.h>

// Nothing is given that would have no effect.
static bool check(const Options *o, Error *error) {
    if (o->n_inputs == 0) {
        return error_set(error, STATUS_USAGE, "pack needs files or folders of text; see pack --help");
    }
    if (!o->out) return error_set(error, STATUS_USAGE, "--out is missing: the folder for the shards");
    bool bounds = o->source[OPTION_passkey_min] == SOURCE_COMMAND_LINE ||
                  o->source[OPTION_passkey_max] == SOURCE_COMMAND_LINE;
    if (bounds && o->passkey_fraction == 0) {
        return error_set(error, STATUS_USAGE,
                         "--passkey-min and --passkey-max need --passkey-fraction, the share of passkeys");
    }
    if (o->tokens > 0 && o->source[OPTION_max_bad] == SOURCE_COMMAND_LINE) {
        return error_set(error, STATUS_USAGE, "--max-bad is for lines of text, and --tokens has none");
    }
    return true;
}

static void print_counts(const char *what, const PackCounts *counts) {
    printf(" %s %lld documents, %lld tokens, %lld shard%s", what, (long long)counts->documents,
           (long long)counts->tokens, (long long)counts->shards, counts->shards == 1 ? "" : "s");
}

bool pack_command(const Options *options, Error *error) {
    if (!check(options, error)) return false;
    static const int id_bytes[] = {0, 2, 4}; // by --tokens
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    PackConfig config = {(const char **)options->inputs,
                         options->n_inputs,
                         options->out,
                         options->shard_tokens,
                         options->val_fraction,
                         (uint64_t)options->pack_seed,
                         !options->no_shuffle,
                         options->threads > 0 ? (int)options->threads : (int)cores,
                         options->max_bad,
                         true,
                         options->passkey_fraction,
                         options->passkey_min,
                         options->passkey_max,
                         id_bytes[options->tokens],
                         options->pack_vocab,
                         options->document_end};
    PackReport report;
    if (!pack_run(&config, &report, error)) return false;
    printf("packed into %s:", options->out);
    print_counts("training", &report.train);
    printf(";");
    print_counts("validation", &report.val);
    printf("\n");
    if (report.passkeys.documents > 0) {
        printf("of the training documents %lld are passkeys, %lld tokens, a share of %.3g\n",
               (long long)report.passkeys.documents, (long long)report.passkeys.tokens,
               (double)report.passkeys.tokens / (double)report.train.tokens);
    }
    return true;
}
