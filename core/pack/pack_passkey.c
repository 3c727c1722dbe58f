// Passkey documents that `pack` can mix into training data; see pack_passkey.h.
#include "core/pack/pack_passkey.h"

#include "core/data/passkey.h"
#include "core/base/random.h"

#define MARKS  2 // BOS and EOS
#define ANSWER 3 // bytes behind the question

// Of D doublings the first has the weight 2^(D-1), the last 1.
static int64_t draw_length(const PackConfig *config, uint64_t number) {
    int doublings = 1, chosen = 0;
    while (config->passkey_min << doublings <= config->passkey_max) doublings++;
    uint64_t total = (UINT64_C(1) << doublings) - 1;
    uint64_t place = random_bits(config->seed, number, PASSKEY_FREE_INDEX) % total;
    for (uint64_t weight = (total + 1) / 2; place >= weight; weight /= 2) {
        place -= weight;
        chosen++;
    }
    int64_t least = config->passkey_min << chosen;
    int64_t most = 2 * least - 1 < config->passkey_max ? 2 * least - 1 : config->passkey_max;
    uint64_t bits = random_bits(config->seed, number, PASSKEY_FREE_INDEX + 1);
    return least + (int64_t)(bits % (uint64_t)(most - least + 1));
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
