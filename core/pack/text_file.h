// One input file of `pack` as its text: compression undone, other encodings made UTF-8.
#ifndef CORE_PACK_TEXT_FILE_H
#define CORE_PACK_TEXT_FILE_H

#include "core/base/file_kind.h"
#include "core/pack/pack_file.h"
#include "core/pack/text_decoder.h"

#include <zlib.h>
#include <zstd.h>

#ifdef __cplusplus
extern "C" {
#endif

// Fuzzers, whose files are small, want smaller pieces.
#ifndef TEXT_BLOCK
#define TEXT_BLOCK ((size_t)1 << 20) // bytes of whole lines that travel together
#define TEXT_READ  ((size_t)1 << 18) // bytes read at a time
#endif
#ifndef TEXT_ZSTD_WINDOW
#define TEXT_ZSTD_WINDOW 31 // the longest window of zstd that is read, 2^31: that of `zstd --long=31`
#endif

typedef struct {
    const PackInput *input;
    int file;
    unsigned char *raw; // bytes as they lie on disk
    int64_t raw_read;   // of them, so far
    bool raw_ended;
    const unsigned char *next; // of them, those not used up
    size_t available;
    z_stream inflater;
    ZSTD_DStream *unpacker;
    bool in_member, any_member; // a gzip member, or zstd frame, has begun and not ended; one has ended
    bool decoding;              // behind the first bytes
    TextDecoder decoder;
    ByteBuffer undecoded, decoded;
    size_t decoded_used;
} TextFile;

bool text_file_open(TextFile *file, const PackInput *input, Error *error);
void text_file_close(TextFile *file);

// Up to `capacity` bytes of text; *got is 0 only at the end. A compressed file may hold several members, one
// behind the other, and zeros or a line's end behind them; one that is cut short or damaged is an error (3).
bool text_file_read(TextFile *file, char *out, size_t capacity, size_t *got, Error *error);

// The same as they are: only compression undone.
bool text_file_read_bytes(TextFile *file, char *out, size_t capacity, size_t *got, Error *error);

// Bytes on disk used up so far.
int64_t text_file_position(const TextFile *file);

#ifdef __cplusplus
}
#endif
#endif
