// pack: text or ready ids to training and validation shards; see pack.h.
#include "pack.h"

#include "clock.h"
#include "json_lines.h"
#include "pack_block.h"
#include "pack_input.h"
#include "pack_lanes.h"
#include "pack_output.h"
#include "pack_passkey.h"
#include "pack_progress.h"

#include <pthread.h>
#include <string.h>

#define HOPELESS 100 // malformed lines in the first block of many, and no good one, that end the work at once

typedef struct {
    const PackConfig *config;
    PackInputs inputs;
    PackLanes lanes;
    PackOutput output;
    PackReport *report;
    PackProgress progress;
    const PackInput *first_json; // of the inputs; NULL where there is none
    int64_t bytes_read;
} Pack;

// ---- Blocks: each thread reads one, parses it and hands its documents on

static bool judge_lines(const PackBlock *block, const PackReport *so_far, const PackInput *first_json,
                        Error *error) {
    const TextBlock *source = &block->source;
    int64_t named = so_far->malformed_lines;
    for (int64_t i = 0; i < block->n_malformed && named < PACK_NAMED_LINES; i++, named++) {
        warn("%s line %lld is left out: %s", source->input->path, (long long)block->malformed[i].line,
             block->malformed[i].reason);
    }
    bool first = source->input == first_json && source->first_line == 1 && !source->last;
    if (!first || block->n_lines < HOPELESS || block->n_malformed < block->n_lines) return true;
    return error_set(error, STATUS_DATA,
                     "the first %lld lines of %s are all malformed: one JSON object a line with a field "
                     "\"text\" is expected; rename plain text to .txt",
                     (long long)block->n_lines, source->input->path);
}

// Counts a block in the report; false where it shows the input to be something else.
static bool judge_block(Pack *pack, Workers *workers, const PackBlock *block, Error *error) {
    PackReport *report = pack->report;
    pthread_mutex_lock(&workers->lock);
    bool ok = judge_lines(block, report, pack->first_json, error);
    report->lines += block->n_lines;
    report->malformed_lines += block->n_malformed;
    report->empty_documents += block->n_empty;
    report->binary_files += block->source.binary;
    pthread_mutex_unlock(&workers->lock);
    return ok && pack_ids_check(pack->config, &block->source, &block->ids_fault, error);
}

static bool deliver(Pack *pack, Workers *workers, const PackBlock *block, int64_t number, Error *error) {
    bool in_order = !pack->config->shuffle;
    if (in_order && !workers_wait_for_turn(workers, number)) return true;
    const PackDocument *documents = (const PackDocument *)(const void *)block->documents.data;
    if (!judge_block(pack, workers, block, error)) return false;
    if (!pack_output_add(&pack->output, documents, block->n_documents, block->text.data, error)) return false;
    pthread_mutex_lock(&workers->lock);
    pack->bytes_read += block->source.disk_bytes;
    pack_progress_read(&pack->progress, pack->bytes_read, pack->inputs.bytes,
                       pack_output_documents(&pack->output));
    pthread_mutex_unlock(&workers->lock);
    if (in_order) workers_end_turn(workers);
    return true;
}

static bool pack_blocks(Workers *workers, void *job, Error *error) {
    Pack *pack = (Pack *)job;
    PackBlock block;
    memset(&block, 0, sizeof block);
    int64_t number = 0;
    bool ok = true, end = false;
    while (ok) {
        pack_block_clear(&block);
        ok = pack_lanes_take(&pack->lanes, workers, &block.source, &number, &end, error);
        if (!ok || end) break;
        pack_block_parse(&block, pack->config);
        ok = deliver(pack, workers, &block, number, error);
    }
    pack_block_free(&block);
    return ok;
}

// Order needs a single lane; else the more files at a time the better.
static bool pack_inputs(Pack *pack, Error *error) {
    const PackConfig *config = pack->config;
    TextIds ids = {config->id_bytes, config->document_end};
    int n_lanes = !config->shuffle                       ? 1
                  : pack->inputs.count < config->threads ? (int)pack->inputs.count
                                                         : config->threads;
    for (int64_t i = pack->inputs.count - 1; i >= 0; i--) {
        if (pack->inputs.files[i].json_lines) pack->first_json = &pack->inputs.files[i];
    }
    json_lines_prepare();
    pack_lanes_open(&pack->lanes, &pack->inputs, ids, n_lanes);
    bool ok = workers_run(config->threads, pack_blocks, pack, error);
    pack_lanes_close(&pack->lanes);
    return ok;
}

// ---- The whole

static bool check_config(const PackConfig *config, Error *error) {
    if (config->n_inputs < 1)
        return error_set(error, STATUS_USAGE, "pack needs at least one input file or folder");
    if (config->shard_tokens < 1) {
        return error_set(error, STATUS_USAGE, "--shard-tokens %lld must be at least 1",
                         (long long)config->shard_tokens);
    }
    if (!(config->val_fraction >= 0 && config->val_fraction < 1)) {
        return error_set(error, STATUS_USAGE, "--val-fraction %g must be at least 0 and below 1",
                         config->val_fraction);
    }
    if (!(config->passkey_fraction >= 0 && config->passkey_fraction < 1)) {
        return error_set(error, STATUS_USAGE, "--passkey-fraction %g must be at least 0 and below 1",
                         config->passkey_fraction);
    }
    if (config->passkey_fraction > 0 &&
        (config->passkey_min < PACK_PASSKEY_MIN || config->passkey_max < config->passkey_min)) {
        return error_set(error, STATUS_USAGE,
                         "--passkey-min %lld must be at least %d, and --passkey-max %lld no less than that",
                         (long long)config->passkey_min, PACK_PASSKEY_MIN, (long long)config->passkey_max);
    }
    if (config->threads < 1)
        return error_set(error, STATUS_USAGE, "--threads %d must be at least 1", config->threads);
    return pack_ids_check_config(config, error);
}

// Judges the inputs as a whole, when all are read.
static bool check_result(Pack *pack, Error *error) {
    const PackReport *report = pack->report;
    PackOutput *output = &pack->output;
    pack_progress_clear(&pack->progress);
    double bad = report->lines > 0 ? (double)report->malformed_lines / (double)report->lines : 0;
    if (bad > pack->config->max_bad_fraction) {
        return error_set(error, STATUS_DATA,
                         "%lld of %lld lines are malformed (%.3g %%, allowed are %.3g %%): mend them or "
                         "allow more with --max-bad",
                         (long long)report->malformed_lines, (long long)report->lines, 100 * bad,
                         100 * pack->config->max_bad_fraction);
    }
    int64_t n_documents = pack_output_documents(output);
    if (n_documents == 0) {
        return error_set(error, STATUS_DATA,
                         "the inputs hold no document: %lld empty, %lld binary files left out",
                         (long long)report->empty_documents, (long long)report->binary_files);
    }
    if (pack->config->val_fraction > 0 && output->val.counts.documents == 0) {
        warn("none of the %lld documents fell into validation: use a larger --val-fraction or another --seed",
             (long long)n_documents);
    }
    if (output->train.counts.documents == 0) {
        return error_set(
            error, STATUS_DATA,
            "all %lld documents fell into validation, none is left to train on: pack more of them "
            "(a text file is one), or give --val-fraction 0 or another --seed",
            (long long)n_documents);
    }
    return true;
}

static bool pack_into_output(Pack *pack, Error *error) {
    PackOutput *output = &pack->output;
    bool ok = pack_inputs(pack, error) && check_result(pack, error) &&
              pack_output_shuffle(output, &pack->progress, error) && pack_output_finish(output, error);
    if (!ok) return false;
    pack->report->train = output->train.counts;
    pack->report->val = output->val.counts;
    pack->report->passkeys = output->passkeys;
    return true;
}

bool pack_run(const PackConfig *config, PackReport *report, Error *error) {
    Pack pack;
    memset(&pack, 0, sizeof pack);
    memset(report, 0, sizeof *report);
    pack.config = config;
    pack.report = report;
    double start = now();
    if (!check_config(config, error) ||
        !pack_inputs_list(config->inputs, config->n_inputs, config->id_bytes, &pack.inputs, error)) {
        return false;
    }
    report->files = pack.inputs.count;
    report->binary_files = pack.inputs.binary_files;
    int64_t estimate = 0;
    bool ok = !config->shuffle || pack_inputs_estimate(&pack.inputs, config->id_bytes, &estimate, error);
    if (ok && pack_output_open(&pack.output, config, estimate, error)) {
        pack_progress_start(&pack.progress, config->progress);
        ok = pack_into_output(&pack, error);
        pack_progress_clear(&pack.progress);
        pack_output_close(&pack.output);
    } else {
        ok = false;
    }
    pack_inputs_free(&pack.inputs);
    report->seconds = now() - start;
    return ok;
}
