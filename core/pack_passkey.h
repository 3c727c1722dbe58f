// Passkey documents that `pack` can mix into training data, so that a small model learns what `niah` asks.
//
// Such a document is a passkey text (passkey.h) and behind its question the answer: the digit, ".\n". The
// needle lies at any depth with equal chance. Lengths are drawn evenly from the doublings between passkey_min
// and passkey_max (256 to 511, 512 to 1,023, ...), and evenly within one.
#ifndef CORE_PACK_PASSKEY_H
#define CORE_PACK_PASSKEY_H

#include "pack.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PACK_PASSKEY_MIN 64 // tokens: the least that passkey_min may be

// Writes document `number` of the seed; gives its bytes. text: room for passkey_max
size_t pack_passkey(const PackConfig *config, int64_t number, char *text);

#ifdef __cplusplus
}
#endif
#endif
