// Where a document is cut in two when there are too few to give training and validation one each.
#ifndef CORE_PACK_PACK_CUT_H
#define CORE_PACK_PACK_CUT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// How many bytes of a text stay before the cut, when about `wanted` at its end are to be cut off: whole
// lines, no more than were wanted, or the last one where that is longer. Where there is no such line, the cut
// is behind a blank or between two characters. 0 where a text is too short to be cut.
size_t pack_cut_text(const char *text, size_t size, size_t wanted);

// The same of ids of `width` bytes.
size_t pack_cut_ids(size_t size, size_t width, size_t wanted);

#ifdef __cplusplus
}
#endif
#endif
