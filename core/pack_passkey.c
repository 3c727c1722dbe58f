// Passkey documents that `pack` can mix into training data; see pack_passkey.h.
#include "pack_passkey.h"

#include "passkey.h"
#include "random.h"

#define MARKS  2 // BOS and EOS
#define ANSWER 3 // bytes behind the question

static int64_t draw_length(const PackConfig *config, uint64_t number) {
    int64_t doublings = 1;
    while (config->passkey_min << doublings <= config->passkey_max) doublings++;
    uint64_t bits = random_bits(config->seed, number, PASSKEY_FREE_INDEX);
    int64_t least = config->passkey_min << (bits % (uint64_t)doublings);
    int64_t most = 2 * least - 1 < config->passkey_max ? 2 * least - 1 : config->passkey_max;
    return least + (int64_t)(random_bits(config->seed, number, PASSKEY_FREE_INDEX + 1) %
                             (uint64_t)(most - least + 1));
}

size_t pack_passkey(const PackConfig *config, int64_t number, char *text) {
    uint64_t own = (uint64_t)number | UINT64_C(1) << 63; // none of the trials of niah has such a number
    int64_t size = draw_length(config, own) - MARKS;
    double depth = random_uniform(config->seed, own, PASSKEY_FREE_INDEX + 2);
    int digit = passkey_text(config->seed, own, depth, size - ANSWER, text);
    text[size - 3] = (char)('0' + digit);
    text[size - 2] = '.';
    text[size - 1] = '\n';
    return (size_t)size;
}
