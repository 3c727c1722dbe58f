// Token ids as inputs of `pack`; see pack_ids.h.
#include "core/pack/pack_ids.h"

#include "core/pack/ids_format.h"

bool pack_ids_check_config(const PackConfig *config, Error *error) {
    if (config->id_bytes == 0) {
        if (config->vocab == 0 && config->document_end < 0) return true;
        return error_set(error, STATUS_USAGE, "%s is only for --tokens",
                         config->vocab > 0 ? "--vocab" : "--document-end");
    }
    if (config->vocab < 1) {
        return error_set(error, STATUS_USAGE,
                         "--tokens needs --vocab, the vocab_size of the model that the ids are for");
    }
    if (config->id_bytes == 2 && config->vocab > 1 << 16) {
        return error_set(error, STATUS_USAGE,
                         "--vocab %lld is more than ids of uint16 can be: give --tokens uint32",
                         (long long)config->vocab);
    }
    if (config->document_end >= config->vocab) {
        return error_set(error, STATUS_USAGE, "--document-end %lld is no id below --vocab %lld",
                         (long long)config->document_end, (long long)config->vocab);
    }
    if (config->passkey_fraction > 0) {
        return error_set(error, STATUS_USAGE, "--passkey-fraction mixes in bytes, and --tokens has none");
    }
    return true;
}

bool pack_ids_judge(const PackConfig *config, PackInput *file, PackRefusal *refusal, Error *error) {
    TextFile text;
    char first[IDS_FORMAT_BYTES];
    size_t used = 0, got = 1;
    if (!text_file_open(&text, file, error)) return false;
    bool ok = true;
    while (ok && got > 0 && used < sizeof first) {
        ok = text_file_read_bytes(&text, first + used, sizeof first - used, &got, error);
        used += ok ? got : 0;
    }
    text_file_close(&text);
    if (ok) ids_format_judge(config, file, first, used, refusal);
    return ok;
}

void pack_ids_split(const PackConfig *config, const TextBlock *block, ByteBuffer *documents, IdsSeen *seen,
                    PackIdsFault *fault) {
    const ByteBuffer *ids = &block->text;
    size_t width = (size_t)config->id_bytes, start = 0;
    fault->kind = ids->size % width == 0 ? PACK_IDS_RIGHT : PACK_IDS_CUT;
    for (size_t at = 0; at + width <= ids->size; at += width) {
        int64_t id = text_id(ids->data + at, config->id_bytes);
        ids_see(seen, block->first_line + (int64_t)(at / width), id, config->document_end);
        if (id >= config->vocab) {
            fault->kind = PACK_IDS_TOO_LARGE;
            fault->place = (int64_t)(at / width);
            fault->id = id;
            return;
        }
        if (id != config->document_end && at + width < ids->size) continue;
        PackDocument document = {block->input->index, block->first_line + (int64_t)(start / width),
                                 at + width - start};
        bytes_append(documents, &document, sizeof document);
        start = at + width;
    }
}

// The id with its bytes in the other order.
static int64_t turned(int64_t id, int bytes) {
    int64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | (id >> (8 * i) & 0xff);
    return value;
}

// Whether all ids of a block are in the vocabulary in the other order, as they would hardly be by chance.
static bool is_turned(const PackConfig *config, const ByteBuffer *ids) {
    size_t width = (size_t)config->id_bytes;
    for (size_t at = 0; at + width <= ids->size; at += width)
        if (turned(text_id(ids->data + at, config->id_bytes), config->id_bytes) >= config->vocab)
            return false;
    return true;
}

static bool refuse_large(const PackConfig *config, const TextBlock *block, const PackIdsFault *fault,
                         const ByteBuffer *ids, Error *error) {
    const char *hint = is_turned(config, ids)
                           ? "with their bytes in the other order all ids fit: are they big-endian?"
                           : "is it the vocabulary of these ids, and the width of --tokens theirs?";
    return error_set(error, STATUS_DATA,
                     "input %s: id %lld (from 0) is %lld, and --vocab %lld allows 0 to %lld; %s",
                     block->input->path, (long long)(block->first_line + fault->place), (long long)fault->id,
                     (long long)config->vocab, (long long)config->vocab - 1, hint);
}

bool pack_ids_check(const PackConfig *config, const TextBlock *block, const PackIdsFault *fault,
                    const ByteBuffer *ids, Error *error) {
    switch (fault->kind) {
    case PACK_IDS_RIGHT: return true;
    case PACK_IDS_CUT:
        return error_set(error, STATUS_DATA, "input %s ends within an id of %d bytes: see --tokens",
                         block->input->path, config->id_bytes);
    case PACK_IDS_TOO_LARGE: break;
    }
    return refuse_large(config, block, fault, ids, error);
}
