// pack: text or ready ids to training and validation shards; see pack.h.
#include "pack.h"

#include "clock.h"
#include "json_lines.h"
#include "pack_ids.h"
#include "pack_input.h"
#include "pack_output.h"
#include "pack_passkey.h"
#include "pack_progress.h"
#include "text_source.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NAMED_LINES  5    // malformed lines that are named in warnings
#define HOPELESS     1000 // malformed lines at the start, without one good line, that end the work at once
#define QUEUE_BLOCKS 4    // blocks in flight for every thread

// ---- A block: what travels from reader to parser to writer

typedef struct {
    int64_t line;
    char reason[200];
} MalformedLine;

typedef struct {
    TextBlock source;
    ByteBuffer text;  // the documents' texts, one behind the other
    ByteBuffer sizes; // of each, size_t
    int64_t n_lines;  // of JSON
    int64_t n_malformed;
    MalformedLine malformed[NAMED_LINES]; // the first of them
    PackIdsFault ids_fault;               // of ready ids, the first
    bool parsed;
} Block;

static void block_free(Block *block) {
    bytes_free(&block->source.text);
    bytes_free(&block->text);
    bytes_free(&block->sizes);
}

static bool is_blank(const char *line, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') return false;
    }
    return true;
}

static void parse_line(Block *block, int64_t number, const char *line, size_t size) {
    if (is_blank(line, size)) return;
    block->n_lines++;
    size_t before = block->text.size;
    char reason[sizeof block->malformed[0].reason];
    if (json_line_text(line, size, &block->text, reason, sizeof reason)) {
        size_t document = block->text.size - before;
        bytes_append(&block->sizes, &document, sizeof document);
        return;
    }
    if (block->n_malformed < NAMED_LINES) {
        block->malformed[block->n_malformed].line = number;
        memcpy(block->malformed[block->n_malformed].reason, reason, sizeof reason);
    }
    block->n_malformed++;
}

// Fills in the block's documents.
static void parse_block(const PackConfig *config, Block *block) {
    ByteBuffer *source = &block->source.text;
    if (config->id_bytes > 0) {
        block->text = *source;
        memset(source, 0, sizeof *source);
        pack_ids_split(config, &block->text, &block->sizes, &block->ids_fault);
        return;
    }
    if (!block->source.input->json_lines) {
        // The whole file is the document; binary files are none.
        block->text = *source;
        memset(source, 0, sizeof *source);
        size_t document = block->text.size;
        if (!block->source.binary) bytes_append(&block->sizes, &document, sizeof document);
        return;
    }
    const char *at = source->data, *end = at + source->size;
    bool byte_order_mark =
        block->source.first_line == 1 && source->size >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0;
    if (byte_order_mark) at += 3;
    for (int64_t number = block->source.first_line; at < end; number++) {
        const char *newline = (const char *)memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end;
        parse_line(block, number, at, (size_t)(line_end - at));
        at = line_end + 1;
    }
    bytes_free(source);
}

// ---- The pipeline: blocks in a ring; each is read, parsed and written, in this order, and released in order

typedef struct {
    const PackConfig *config;
    TextReader reader;
    Block *ring;
    int64_t capacity;
    pthread_mutex_t lock; // over all that follows, and over Block.parsed
    pthread_cond_t room, work, ready;
    int64_t n_read, n_claimed, n_written; // blocks; n_written <= n_claimed <= n_read <= n_written + capacity
    bool ended;                           // nothing more will be read
    bool failed;                          // ... because of read_error
    Error read_error;
    bool cancelled; // the writer gave up
} Pipeline;

static void *read_blocks(void *argument) {
    Pipeline *pipeline = (Pipeline *)argument;
    bool end = false, ok = true;
    while (ok && !end) {
        pthread_mutex_lock(&pipeline->lock);
        while (pipeline->n_read - pipeline->n_written == pipeline->capacity && !pipeline->cancelled) {
            pthread_cond_wait(&pipeline->room, &pipeline->lock);
        }
        bool cancelled = pipeline->cancelled;
        Block *block = &pipeline->ring[pipeline->n_read % pipeline->capacity];
        pthread_mutex_unlock(&pipeline->lock);
        if (cancelled) break;
        memset(block, 0, sizeof *block); // nobody looks at it before n_read counts it
        ok = text_reader_next(&pipeline->reader, &block->source, &end, &pipeline->read_error);
        pthread_mutex_lock(&pipeline->lock);
        if (ok && !end) pipeline->n_read++;
        pthread_cond_signal(&pipeline->work);
        pthread_mutex_unlock(&pipeline->lock);
    }
    pthread_mutex_lock(&pipeline->lock);
    pipeline->ended = true;
    pipeline->failed = !ok;
    pthread_cond_broadcast(&pipeline->work);
    pthread_cond_signal(&pipeline->ready);
    pthread_mutex_unlock(&pipeline->lock);
    return NULL;
}

static void *parse_blocks(void *argument) {
    Pipeline *pipeline = (Pipeline *)argument;
    pthread_mutex_lock(&pipeline->lock);
    for (;;) {
        while (pipeline->n_claimed == pipeline->n_read && !pipeline->ended) {
            pthread_cond_wait(&pipeline->work, &pipeline->lock);
        }
        if (pipeline->n_claimed == pipeline->n_read) break;
        Block *block = &pipeline->ring[pipeline->n_claimed++ % pipeline->capacity];
        pthread_mutex_unlock(&pipeline->lock);
        parse_block(pipeline->config, block);
        pthread_mutex_lock(&pipeline->lock);
        block->parsed = true;
        pthread_cond_signal(&pipeline->ready);
    }
    pthread_mutex_unlock(&pipeline->lock);
    return NULL;
}

// The next block in order, parsed; NULL behind the last.
static Block *pipeline_take(Pipeline *pipeline) {
    pthread_mutex_lock(&pipeline->lock);
    Block *block = &pipeline->ring[pipeline->n_written % pipeline->capacity];
    while (!(pipeline->n_written < pipeline->n_read && block->parsed) &&
           !(pipeline->ended && pipeline->n_written == pipeline->n_read)) {
        pthread_cond_wait(&pipeline->ready, &pipeline->lock);
    }
    if (pipeline->n_written == pipeline->n_read) block = NULL;
    pthread_mutex_unlock(&pipeline->lock);
    return block;
}

static void pipeline_release(Pipeline *pipeline, Block *block) {
    block_free(block);
    pthread_mutex_lock(&pipeline->lock);
    pipeline->n_written++;
    pthread_cond_signal(&pipeline->room);
    pthread_mutex_unlock(&pipeline->lock);
}

// ---- The writer's side

typedef struct {
    const PackConfig *config;
    PackInputs inputs;
    PackOutput output;
    PackReport *report;
    PackProgress progress;
} Pack;

static bool count_malformed(Pack *pack, const Block *block, Error *error) {
    PackReport *report = pack->report;
    const char *path = block->source.input->path;
    for (int64_t i = 0;
         i < block->n_malformed && i < NAMED_LINES && report->malformed_lines + i < NAMED_LINES; i++) {
        warn("%s line %lld is left out: %s", path, (long long)block->malformed[i].line,
             block->malformed[i].reason);
    }
    report->lines += block->n_lines;
    report->malformed_lines += block->n_malformed;
    if (report->malformed_lines < HOPELESS || report->malformed_lines < report->lines) return true;
    return error_set(
        error, STATUS_DATA,
        "the first %lld lines of the JSON inputs (up to %s) are all malformed: one JSON object a line with "
        "a field \"text\" is expected; rename plain text to .txt",
        (long long)report->lines, path);
}

static bool write_block(Pack *pack, const Block *block, Error *error) {
    if (!count_malformed(pack, block, error)) return false;
    if (!pack_ids_check(pack->config, &block->source, &block->ids_fault, error)) return false;
    pack->report->binary_files += block->source.binary;
    const char *text = block->text.data;
    const size_t *sizes = (const size_t *)(const void *)block->sizes.data;
    for (size_t i = 0; i < block->sizes.size / sizeof *sizes; i++) {
        if (sizes[i] == 0) {
            pack->report->empty_documents++;
            continue;
        }
        if (!pack_output_add(&pack->output, text, sizes[i], error)) return false;
        text += sizes[i];
    }
    pack_progress_read(&pack->progress, block->source.disk_bytes, pack->inputs.bytes,
                       pack->output.n_documents);
    return true;
}

// Takes blocks until the last or an error, which may be the reader's.
static bool write_blocks(Pack *pack, Pipeline *pipeline, Error *error) {
    Block *block;
    while ((block = pipeline_take(pipeline)) != NULL) {
        bool ok = write_block(pack, block, error);
        pipeline_release(pipeline, block);
        if (!ok) return false;
    }
    if (pipeline->failed) *error = pipeline->read_error;
    return !pipeline->failed;
}

static void pipeline_open(Pipeline *pipeline, const PackInputs *inputs, const PackConfig *config) {
    TextIds ids = {config->id_bytes, config->document_end};
    memset(pipeline, 0, sizeof *pipeline);
    pipeline->config = config;
    text_reader_open(&pipeline->reader, inputs, ids);
    pipeline->capacity = (int64_t)QUEUE_BLOCKS * config->threads;
    pipeline->ring = (Block *)alloc_or_exit((size_t)pipeline->capacity, sizeof *pipeline->ring);
    pthread_mutex_init(&pipeline->lock, NULL);
    pthread_cond_init(&pipeline->room, NULL);
    pthread_cond_init(&pipeline->work, NULL);
    pthread_cond_init(&pipeline->ready, NULL);
}

// Every thread has ended.
static void pipeline_close(Pipeline *pipeline) {
    for (int64_t i = pipeline->n_written; i < pipeline->n_read; i++) {
        block_free(&pipeline->ring[i % pipeline->capacity]);
    }
    pthread_cond_destroy(&pipeline->ready);
    pthread_cond_destroy(&pipeline->work);
    pthread_cond_destroy(&pipeline->room);
    pthread_mutex_destroy(&pipeline->lock);
    text_reader_close(&pipeline->reader);
    free(pipeline->ring);
}

static bool run_pipeline(Pack *pack, Error *error) {
    int n_threads = 1 + pack->config->threads, started = 0;
    pthread_t *threads = (pthread_t *)alloc_or_exit((size_t)n_threads, sizeof *threads);
    Pipeline pipeline;
    pipeline_open(&pipeline, &pack->inputs, pack->config);
    json_lines_prepare();
    int code = 0;
    // The parsers first: without the reader they only wait.
    while (code == 0 && started < n_threads) {
        bool is_reader = started == n_threads - 1;
        code = pthread_create(&threads[started], NULL, is_reader ? read_blocks : parse_blocks, &pipeline);
        if (code == 0) started++;
    }
    bool ok =
        code == 0 || error_set(error, STATUS_MEMORY, "cannot start %d threads: %s; use fewer with --threads",
                               n_threads, strerror(code));
    ok = ok && write_blocks(pack, &pipeline, error);
    pthread_mutex_lock(&pipeline.lock);
    pipeline.cancelled = true;
    if (started < n_threads) pipeline.ended = true; // no reader will say so
    pthread_cond_broadcast(&pipeline.room);
    pthread_cond_broadcast(&pipeline.work);
    pthread_mutex_unlock(&pipeline.lock);
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    pipeline_close(&pipeline);
    free(threads);
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
static bool check_result(const Pack *pack, Error *error) {
    const PackReport *report = pack->report;
    pack_progress_clear(&pack->progress);
    double bad = report->lines > 0 ? (double)report->malformed_lines / (double)report->lines : 0;
    if (bad > pack->config->max_bad_fraction) {
        return error_set(error, STATUS_DATA,
                         "%lld of %lld lines are malformed (%.3g %%, allowed are %.3g %%): mend them or "
                         "allow more with --max-bad",
                         (long long)report->malformed_lines, (long long)report->lines, 100 * bad,
                         100 * pack->config->max_bad_fraction);
    }
    if (pack->output.n_documents == 0) {
        return error_set(error, STATUS_DATA,
                         "the inputs hold no document: %lld empty, %lld binary files left out",
                         (long long)report->empty_documents, (long long)report->binary_files);
    }
    if (pack->config->val_fraction > 0 && pack->output.val.counts.documents == 0) {
        warn("none of the %lld documents fell into validation: use a larger --val-fraction or another --seed",
             (long long)pack->output.n_documents);
    }
    if (pack->output.train.counts.documents == 0) {
        warn("all %lld documents fell into validation: use a smaller --val-fraction or another --seed",
             (long long)pack->output.n_documents);
    }
    return true;
}

static bool pack_into_output(Pack *pack, Error *error) {
    if (!run_pipeline(pack, error) || !check_result(pack, error)) return false;
    int64_t n_spills = pack_output_spills(&pack->output);
    for (int64_t i = 0; i < n_spills; i++) {
        if (!pack_output_shuffle(&pack->output, i, error)) return false;
        pack_progress_shuffle(&pack->progress, i + 1, n_spills);
    }
    if (!pack_output_finish(&pack->output, error)) return false;
    pack->report->train = pack->output.train.counts;
    pack->report->val = pack->output.val.counts;
    pack->report->passkeys = pack->output.passkeys;
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
