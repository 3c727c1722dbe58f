// CRC-32C (Castagnoli), the checksum of TFRecord files; zlib has another polynomial.
#ifndef CORE_BASE_CRC32C_H
#define CORE_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

uint32_t crc32c(const void *data, size_t size);

#ifdef __cplusplus
}
#endif
#endif
