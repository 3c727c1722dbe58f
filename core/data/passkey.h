// Passkey texts: one digit, told once in random alphanumeric filler, and asked for at the end.
//
// The one place for their phrasing: `niah` asks such texts of a model, `pack` can mix them into training
// data. A text of n bytes, where the answer would follow, is
//
//     filler  "\nThe passkey is 7.\n"  filler  "\nThe passkey is "
//
// Filler is bytes drawn evenly from A-Z, a-z and 0-9. At depth d the first part has the share d of it.
#ifndef CORE_DATA_PASSKEY_H
#define CORE_DATA_PASSKEY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PASSKEY_PHRASE    "\nThe passkey is "
#define PASSKEY_END       ".\n" // of the needle, behind its digit
#define PASSKEY_MIN_BYTES ((int64_t)(2 * (sizeof PASSKEY_PHRASE - 1) + 1 + 2)) // a text without filler

// Writes the text of number `number` of a seed, `size` bytes (at least PASSKEY_MIN_BYTES), no NUL added;
// gives the digit, 0 ... 9. Equal arguments give equal texts on any machine. depth: in [0, 1]
int passkey_text(uint64_t seed, uint64_t number, double depth, int64_t size, char *text);

// For whoever draws more from core/base/random.h by the same seed and stream `number`: the text uses the
// indices below this one.
#define PASSKEY_FREE_INDEX (UINT64_C(1) << 62)

#ifdef __cplusplus
}
#endif
#endif
