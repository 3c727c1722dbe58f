// The command `pack`; see pack_command.h.
#include "core/pack/pack_command.h"

#include "core/pack/pack.h"
#include "core/pack/pack_block.h"

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
    if (o->tokens > 0 && o->source[OPTION_field] == SOURCE_COMMAND_LINE) {
        return error_set(error, STATUS_USAGE, "--field is for lines of text, and --tokens has none");
    }
    if (o->tokens > 0 && o->separator) {
        return error_set(error, STATUS_USAGE, "--separator is for text; --document-end parts --tokens");
    }
    return true;
}

static void print_counts(const char *out, const PackCounts *train, const PackCounts *val) {
    print_line(
        stdout,
        "packed into %s: training %lld documents, %lld tokens, %lld shard%s; validation %lld documents, "
        "%lld tokens, %lld shard%s",
        out, (long long)train->documents, (long long)train->tokens, (long long)train->shards,
        train->shards == 1 ? "" : "s", (long long)val->documents, (long long)val->tokens,
        (long long)val->shards, val->shards == 1 ? "" : "s");
}

static void print_long(const PackReport *report) {
    int64_t count = report->train.long_documents + report->val.long_documents;
    int64_t train = report->train.longest, val = report->val.longest;
    if (count == 0) return;
    printf("%lld document%s longer than --shard-tokens, up to %lld tokens: a shard is no smaller than what "
           "it holds\n",
           (long long)count, count == 1 ? " is" : "s are", (long long)(train > val ? train : val));
}

static PackConfig pack_config(const Options *options) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    PackConfig config = {0};
    config.inputs = (const char **)options->inputs;
    config.n_inputs = options->n_inputs;
    config.out = options->out;
    config.shard_tokens = options->shard_tokens;
    config.val_fraction = options->val_fraction;
    config.seed = (uint64_t)options->seed;
    config.shuffle = !options->no_shuffle;
    config.threads = options->threads > 0 ? (int)options->threads : (int)cores;
    config.max_bad_given = options->source[OPTION_max_bad] == SOURCE_COMMAND_LINE;
    config.max_bad_fraction = options->max_bad;
    config.field = options->field;
    config.strict = options->strict;
    config.progress = true;
    config.passkey_fraction = options->passkey_fraction;
    config.passkey_min = options->passkey_min;
    config.passkey_max = options->passkey_max;
    config.id_bytes = options->tokens == TOKENS_UINT16 ? 2 : options->tokens == TOKENS_UINT32 ? 4 : 0;
    config.vocab = options->pack_vocab;
    config.document_end = options->document_end;
    return config;
}

bool pack_command(const Options *options, Error *error) {
    if (!check(options, error)) return false;
    PackConfig config = pack_config(options);
    if (options->separator && !separator_read(&config.separator, options->separator, error)) return false;
    PackReport report;
    if (!pack_run(&config, &report, error)) return false;
    print_counts(options->out, &report.train, &report.val);
    print_long(&report);
    if (report.tail[0]) printf("%s\n", report.tail);
    if (report.share[0]) printf("%s\n", report.share);
    if (report.beside[0]) printf("plain text beside JSON lines: %s\n", report.beside);
    if (report.other_sets[0]) {
        printf("for validation or tests by their names, and packed with the rest: %s\n", report.other_sets);
    }
    if (report.marked[0]) {
        printf("with " PACK_DOCUMENT_MARK " in it, and packed as one document each (see --separator): %s\n",
               report.marked);
    }
    if (report.unparted[0]) {
        printf("without the --separator, and packed as one document each: %s\n", report.unparted);
    }
    if (report.pages[0]) printf("web pages by other names, packed as texts: %s\n", report.pages);
    if (report.tables[0]) {
        printf("with columns, as tables have, and packed as one document each: %s\n", report.tables);
    }
    if (report.lists[0]) {
        printf("lists of files or addresses, packed as texts, not what they name: %s\n", report.lists);
    }
    if (report.kept[0]) printf("not UTF-8, kept byte for byte: %s\n", report.kept);
    if (report.replaced[0]) {
        printf("no characters of UTF-16 or UTF-32, read as U+FFFD, in: %s\n", report.replaced);
    }
    if (report.left > 0) printf("left out: %s\n", report.left_out);
    if (report.passkeys.documents > 0) {
        printf("of the training documents %lld are passkeys, %lld tokens, a share of %.3g\n",
               (long long)report.passkeys.documents, (long long)report.passkeys.tokens,
               (double)report.passkeys.tokens / (double)report.train.tokens);
    }
    return true;
}
