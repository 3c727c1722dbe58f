// Passkey documents that `pack` can mix into training data, so that a small model learns what `niah` asks.
//
// Such a document is a passkey text (passkey.h) and behind its question the answer: the digit, ".\n". The
// needle lies at any depth with equal chance. A document teaches one answer, however long it is: so each
// doubling of length from passkey_min on (64 to 127 tokens, 128 to 255, ..., up to passkey_max) gets about as
// many tokens, half as many documents as the one before it. Within a doubling lengths are even.
#ifndef CORE_PACK_PACK_PASSKEY_H
#define CORE_PACK_PACK_PASSKEY_H

#include "core/pack/pack_config.h"

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
