// Ready token ids as inputs of `pack`; see pack_ids.h.
#include "pack_ids.h"

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
    if (config->document_end >= config->vocab) {
        return error_set(error, STATUS_USAGE, "--document-end %lld is no id below --vocab %lld",
                         (long long)config->document_end, (long long)config->vocab);
    }
    if (config->passkey_fraction > 0) {
        return error_set(error, STATUS_USAGE, "--passkey-fraction mixes in bytes, and --tokens has none");
    }
    return true;
}

void pack_ids_split(const PackConfig *config, const TextBlock *block, ByteBuffer *documents,
                    PackIdsFault *fault) {
    const ByteBuffer *ids = &block->text;
    size_t width = (size_t)config->id_bytes, start = 0;
    fault->kind = ids->size % width == 0 ? PACK_IDS_RIGHT : PACK_IDS_CUT;
    for (size_t at = 0; at + width <= ids->size; at += width) {
        int64_t id = text_id(ids->data + at, config->id_bytes);
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

bool pack_ids_check(const PackConfig *config, const TextBlock *block, const PackIdsFault *fault,
                    Error *error) {
    switch (fault->kind) {
    case PACK_IDS_RIGHT: return true;
    case PACK_IDS_CUT:
        return error_set(error, STATUS_DATA, "input %s ends within an id of %d bytes: see --tokens",
                         block->input->path, config->id_bytes);
    case PACK_IDS_TOO_LARGE: break;
    }
    return error_set(error, STATUS_DATA,
                     "input %s: id %lld (from 0) is %lld, and --vocab %lld allows 0 to %lld; is it the "
                     "vocabulary of these ids, and the width of --tokens theirs?",
                     block->input->path, (long long)(block->first_line + fault->place), (long long)fault->id,
                     (long long)config->vocab, (long long)config->vocab - 1);
}
