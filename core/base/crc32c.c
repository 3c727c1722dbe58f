// CRC-32C bit by bit; see crc32c.h. The records it is for are short.
#include "core/base/crc32c.h"

#define POLYNOMIAL 0x82f63b78u // 0x1edc6f41, its bits reversed

uint32_t crc32c(const void *data, size_t size) {
    const unsigned char *bytes = (const unsigned char *)data;
    uint32_t crc = ~(uint32_t)0;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
    }
    return ~crc;
}
