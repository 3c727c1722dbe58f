// pack: text or token ids to training and validation shards; see pack.h.
#include "core/pack/pack.h"

#include "core/base/clock.h"
#include "core/pack/json_lines.h"
#include "core/pack/pack_block.h"
#include "core/pack/pack_copies.h"
#include "core/pack/pack_estimate.h"
#include "core/pack/pack_input.h"
#include "core/pack/pack_lanes.h"
#include "core/pack/pack_look.h"
#include "core/pack/pack_names.h"
#include "core/pack/pack_output.h"
#include "core/pack/pack_passkey.h"
#include "core/pack/pack_progress.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const PackConfig *config;
    PackInputs inputs;
    PackLanes lanes;
    PackOutput output;
    PackReport *report;
    PackProgress progress;
    LeftOut not_utf8;    // texts taken byte for byte
    LeftOut replaced;    // texts with what is no character in their encoding
    LeftOut marked;      // texts with marks of documents
    IdsSeen *ids_seen;   // by input
    int64_t *separators; // by input
    int64_t bytes_read;
} Pack;

// ---- Blocks: each thread reads one, parses it and hands its documents on

static void name_lines(const PackBlock *block, int64_t named) {
    for (int64_t i = 0; i < block->n_malformed && named < PACK_NAMED_LINES; i++, named++) {
        warn("%s line %lld is left out: %s", block->source.input->path, (long long)block->malformed[i].line,
             block->malformed[i].reason);
    }
}

// A zero byte behind what was looked at first.
static bool judge_binary(const TextBlock *source, LeftOut *left, Error *error) {
    if (!source->binary) return true;
    PackRefusal refusal;
    pack_refuse_binary(source->input, true, &refusal);
    left_out_add(left, refusal.what, source->input->path, 1);
    return source->input->from_folder ||
           error_set(error, STATUS_DATA, "input %s %s", source->input->path, refusal.why);
}

// Counts a block in the report; false where it shows the input to be something else.
static bool judge_block(Pack *pack, Workers *workers, const PackBlock *block, Error *error) {
    PackReport *report = pack->report;
    LeftOut *left = &pack->inputs.left;
    const char *path = block->source.input->path;
    pthread_mutex_lock(&workers->lock);
    name_lines(block, report->malformed_lines);
    report->lines += block->n_lines;
    report->malformed_lines += block->n_malformed;
    report->empty_documents += block->n_empty;
    left_out_add(left, "line", path, block->n_malformed);
    left_out_add(left, "empty document", path, block->n_empty);
    left_out_add(left, "document* with a zero byte", path, block->n_zeros);
    pack->separators[block->source.input->index] += block->n_separators;
    ids_seen_add(&pack->ids_seen[block->source.input->index], &block->ids_seen);
    left_out_add(&pack->not_utf8, "text", path, block->not_utf8);
    left_out_add(&pack->replaced, "text", path, block->source.replaced);
    left_out_add(&pack->marked, "text", path, block->has_marks);
    bool ok = judge_binary(&block->source, left, error);
    pthread_mutex_unlock(&workers->lock);
    return ok && pack_ids_check(pack->config, &block->source, &block->ids_fault, &block->text, error);
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
    TextCuts cuts = {config->id_bytes, config->document_end, &config->separator};
    int n_lanes = !config->shuffle                       ? 1
                  : pack->inputs.count < config->threads ? (int)pack->inputs.count
                                                         : config->threads;
    pack_lanes_open(&pack->lanes, &pack->inputs, cuts, n_lanes);
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
    if (!json_field_is_path(config->field)) {
        return error_set(error, STATUS_USAGE,
                         "--field '%s' is no field: give its name, or names with a dot between two, as a.b",
                         config->field);
    }
    if (config->threads < 1)
        return error_set(error, STATUS_USAGE, "--threads %d must be at least 1", config->threads);
    return pack_ids_check_config(config, error);
}

static bool check_left(Pack *pack, Error *error) {
    PackReport *report = pack->report;
    report->left = left_out_count(&pack->inputs.left);
    left_out_text(&pack->inputs.left, report->left_out, sizeof report->left_out);
    left_out_text(&pack->not_utf8, report->kept, sizeof report->kept);
    left_out_text(&pack->replaced, report->replaced, sizeof report->replaced);
    left_out_text(&pack->marked, report->marked, sizeof report->marked);
    if (!pack->config->strict || report->left == 0) return true;
    return error_set(error, STATUS_DATA, "--strict allows nothing to be left out, and here is: %s",
                     report->left_out);
}

static bool has_texts(const PackInputs *inputs) {
    for (int64_t i = 0; i < inputs->count; i++)
        if (!inputs->files[i].json_lines) return true;
    return false;
}

// Among files of JSON lines a readme is easily taken for text that is wanted, and a table is for a text.
static void name_texts(Pack *pack) {
    LeftOut texts = {NULL, 0}, tables = {NULL, 0}, pages = {NULL, 0}, lists = {NULL, 0};
    bool json = false;
    for (int64_t i = 0; i < pack->inputs.count; i++) {
        const PackInput *file = &pack->inputs.files[i];
        json = json || file->json_lines;
        left_out_add(&texts, "file", file->path, !file->json_lines);
        left_out_add(&tables, "file", file->path, file->table);
        left_out_add(&pages, "file", file->path, file->page);
        left_out_add(&lists, "file", file->path, file->list);
    }
    left_out_text(&pages, pack->report->pages, sizeof pack->report->pages);
    left_out_text(&tables, pack->report->tables, sizeof pack->report->tables);
    left_out_text(&lists, pack->report->lists, sizeof pack->report->lists);
    if (json) left_out_text(&texts, pack->report->beside, sizeof pack->report->beside);
    left_out_free(&texts);
    left_out_free(&tables);
    left_out_free(&pages);
    left_out_free(&lists);
}

static void name_validation(Pack *pack) {
    LeftOut files = {NULL, 0};
    pack_names_of_validation(&pack->inputs, &files);
    left_out_text(&files, pack->report->other_sets, sizeof pack->report->other_sets);
    left_out_free(&files);
}

// Settings of JSON lines have no effect where there are none.
static bool check_lines(const Pack *pack, Error *error) {
    const PackConfig *config = pack->config;
    bool field = strcmp(config->field, JSON_LINES_FIELD) != 0, bad = config->max_bad_given;
    if (config->id_bytes > 0 || (!field && !bad)) return true;
    for (int64_t i = 0; i < pack->inputs.count; i++)
        if (pack->inputs.files[i].json_lines) return true;
    return error_set(error, STATUS_USAGE, "--%s%s is for JSON lines, and no input has any",
                     field ? "field " : "max-bad", field ? config->field : "");
}

// Lists the inputs, and judges what can be judged before they are read.
static bool list_inputs(Pack *pack, Error *error) {
    const PackConfig *config = pack->config;
    if (!pack_inputs_list(config, &pack->inputs, error) ||
        !pack_copies_leave_out(&pack->inputs, config, error))
        return false;
    pack->report->files = pack->inputs.count;
    pack->ids_seen = (IdsSeen *)alloc_or_exit((size_t)pack->inputs.count + 1, sizeof *pack->ids_seen);
    pack->separators = (int64_t *)alloc_or_exit((size_t)pack->inputs.count + 1, sizeof *pack->separators);
    if (config->separator.size > 0 && !has_texts(&pack->inputs)) {
        return error_set(error, STATUS_USAGE, "--separator parts text files, and all inputs are JSON lines");
    }
    name_texts(pack);
    name_validation(pack);
    return check_lines(pack, error) && check_left(pack, error);
}

// Texts that nothing has parted: some may have one document, or another separator. False where all are so.
static bool name_unparted(Pack *pack) {
    LeftOut unparted = {NULL, 0};
    bool any = false;
    for (int64_t i = 0; i < pack->inputs.count; i++) {
        const PackInput *file = &pack->inputs.files[i];
        any = any || pack->separators[i] > 0;
        left_out_add(&unparted, "text", file->path, !file->json_lines && pack->separators[i] == 0);
    }
    left_out_text(&unparted, pack->report->unparted, sizeof pack->report->unparted);
    left_out_free(&unparted);
    return any;
}

// Judges the inputs as a whole, when all are read.
static bool check_result(Pack *pack, Error *error) {
    const PackReport *report = pack->report;
    if (!check_left(pack, error)) return false;
    pack_progress_clear(&pack->progress);
    double bad = report->lines > 0 ? (double)report->malformed_lines / (double)report->lines : 0;
    if (bad > pack->config->max_bad_fraction) {
        return error_set(error, STATUS_DATA,
                         "%lld of %lld lines are malformed (%.3g %%, allowed are %.3g %%): mend them or "
                         "allow more with --max-bad",
                         (long long)report->malformed_lines, (long long)report->lines, 100 * bad,
                         100 * pack->config->max_bad_fraction);
    }
    if (pack->config->separator.size > 0 && !name_unparted(pack)) {
        return error_set(error, STATUS_DATA,
                         "the --separator is nowhere in the texts: see how their documents are parted, or "
                         "leave it out");
    }
    if (pack_output_documents(&pack->output) == 0) {
        return error_set(error, STATUS_DATA, "the inputs hold no document%s%s",
                         report->left > 0 ? "; left out: " : "", report->left_out);
    }
    return pack->config->id_bytes == 0 || ids_seen_check(pack->config, &pack->inputs, pack->ids_seen, error);
}

// Where too few documents were drawn, says what validation is instead.
static void say_tail(Pack *pack) {
    const PackTail *tail = &pack->output.tail;
    PackReport *report = pack->report;
    if (pack->config->val_fraction > 0 && pack->output.val.counts.documents == 0) {
        warn("there is no validation: the text is too short to be cut in two");
    }
    if (tail->cut == 0) return;
    const PackInput *input = &pack->inputs.files[tail->document.input];
    char place[64] = "";
    if (pack->config->id_bytes > 0)
        snprintf(place, sizeof place, "id %lld (from 0)",
                 (long long)tail->document.place + (long long)tail->cut / pack->config->id_bytes);
    else if (input->json_lines)
        snprintf(place, sizeof place, "byte %zu of the text of line %lld", tail->cut,
                 (long long)tail->document.place);
    else if (pack->config->separator.size > 0)
        snprintf(place, sizeof place, "byte %lld (from 0)",
                 (long long)tail->document.place + (long long)tail->cut);
    else
        snprintf(place, sizeof place, "line %lld", (long long)tail->newlines + 1);
    snprintf(report->tail, sizeof report->tail,
             "validation is the end of %s, from %s on: there are too few documents to draw it from "
             "(--val-fraction 0: none)",
             input->path, place);
    one_line(report->tail);
}

// Documents are drawn for validation, not tokens: of a few long ones it may get far more or less than its
// share.
static void say_share(Pack *pack) {
    PackReport *report = pack->report;
    double wanted = pack->config->val_fraction, val = (double)report->val.tokens;
    double all = (double)(report->train.tokens - report->passkeys.tokens) + val;
    if (wanted == 0 || val == 0 || pack->output.tail.cut > 0) return;
    if (val <= 3 * wanted * all && val >= 0.1 * wanted * all) return;
    snprintf(
        report->share, sizeof report->share,
        "validation has %.3g %% of the tokens, where --val-fraction is %.3g %%: documents are few, or of "
        "unlike lengths (another --seed draws others)",
        100 * val / all, 100 * wanted);
}

static bool pack_into_output(Pack *pack, Error *error) {
    PackOutput *output = &pack->output;
    if (!pack_inputs(pack, error) || !check_result(pack, error) || !pack_output_decide(output, error)) {
        return false;
    }
    say_tail(pack);
    if (!pack_output_shuffle(output, &pack->progress, error) || !pack_output_finish(output, error)) {
        return false;
    }
    pack->report->train = output->train.counts;
    pack->report->val = output->val.counts;
    pack->report->passkeys = output->passkeys;
    say_share(pack);
    return true;
}

bool pack_run(const PackConfig *config, PackReport *report, Error *error) {
    Pack pack;
    memset(&pack, 0, sizeof pack);
    memset(report, 0, sizeof *report);
    pack.config = config;
    pack.report = report;
    double start = now();
    if (!check_config(config, error) || !pack_folder_check(config->out, error)) return false;
    int64_t estimate = 0;
    bool ok = list_inputs(&pack, error) && pack_estimate(&pack.inputs, config, &estimate, error);
    if (ok && pack_output_open(&pack.output, config, estimate, pack.inputs.bytes, error)) {
        pack_progress_start(&pack.progress, config->progress);
        ok = pack_into_output(&pack, error);
        pack_progress_clear(&pack.progress);
        pack_output_close(&pack.output);
    } else {
        ok = false;
    }
    pack_inputs_free(&pack.inputs);
    left_out_free(&pack.not_utf8);
    left_out_free(&pack.replaced);
    left_out_free(&pack.marked);
    free(pack.ids_seen);
    free(pack.separators);
    report->seconds = now() - start;
    return ok;
}
