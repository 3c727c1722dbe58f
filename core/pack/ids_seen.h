// What is seen of a file's ids while they are read, and what it shows: an array of another width or byte
// order, or nothing in it, passes for ids and would train a model on noise.
#ifndef CORE_PACK_IDS_SEEN_H
#define CORE_PACK_IDS_SEEN_H

#include "core/pack/pack_config.h"
#include "core/pack/pack_file.h"

#ifdef __cplusplus
extern "C" {
#endif

// Of a block or of a file; all zero before the first id.
typedef struct {
    int64_t count, zeros, ends; // ends: ids that end a document
    int64_t least, most[4];     // most: by place modulo 4
    bool begins;                // the first id of the file is the one that ends a document
    int64_t halves;             // ids whose bits are a whole number as float16
    int64_t row, long_rows;     // zeros in a row up to here; rows of IDS_ROW and more that are seen whole
    int64_t first_row;          // place of the first of those
} IdsSeen;

#define IDS_ROW 1024 // zeros in a row that no text makes

// Whether 16 bits are zero or a positive whole number as float16. Ids below 0x3c00, the frequent ones of most
// vocabularies, are none: as float16 they are less than 1.
static inline bool id_is_half(int64_t id) {
    int64_t exponent = id >> 10;
    if (exponent < 15 || exponent > 30) return id == 0;
    return exponent >= 25 || (id & ((INT64_C(1) << (25 - exponent)) - 1)) == 0;
}

// Takes an id at its place in the file.
static inline void ids_see(IdsSeen *seen, int64_t place, int64_t id, int64_t document_end) {
    if (seen->count++ == 0 || id < seen->least) seen->least = id;
    if (id > seen->most[place & 3]) seen->most[place & 3] = id;
    seen->zeros += id == 0;
    seen->row = id == 0 ? seen->row + 1 : 0;
    if (seen->row == IDS_ROW && seen->long_rows++ == 0) seen->first_row = place - IDS_ROW + 1;
    seen->halves += id_is_half(id);
    seen->ends += id == document_end;
    seen->begins = seen->begins || (place == 0 && id == document_end);
}

void ids_seen_add(IdsSeen *total, const IdsSeen *seen);

// Status 3 where the ids of one of the files cannot be what --tokens says, or none ends a document.
bool ids_seen_check(const PackConfig *config, const PackInputs *inputs, const IdsSeen *seen, Error *error);

#ifdef __cplusplus
}
#endif
#endif
