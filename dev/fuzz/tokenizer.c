// tokenizer.json of a model folder: read for the bytes of each id.
#include "harness.h"

#include "core/model/token_bytes.h"

#define VOCABULARY 40

void fuzz_tokenizer(const char *folder, const uint8_t *data, size_t size) {
    TokenBytes known;
    fuzz_write(folder, "tokenizer.json", data, size);
    token_bytes_read(&known, folder, VOCABULARY);
    fuzz_must(known.count == (known.why ? 0 : VOCABULARY), "neither read nor refused");
    for (int64_t before = -1; before <= VOCABULARY; before++) {
        for (int64_t token = -1; token <= VOCABULARY; token++) {
            int64_t bytes = token_bytes_of(&known, before, token);
            fuzz_must(bytes == TOKEN_UNKNOWN || (bytes >= 0 && bytes <= (int64_t)size),
                      "bytes that no text has");
        }
    }
    token_bytes_free(&known);
}
