// The next sequences of a rank; see next_rows.h.
#include "core/train/next_rows.h"

#include "core/base/clock.h"

bool next_rows(Ranks *ranks, DataLoader *data, int64_t rows, int32_t *tokens, Error *error) {
    RanksWait wait = ranks_wait_begin("its shards to be read");
    int64_t before = file_bytes_read();
    double came = now();
    while (ranks_many(ranks) && !dataloader_ready(data, rows)) {
        int64_t read = file_bytes_read();
        if (read != before) came = now();
        before = read;
        if (now() - came < ranks->patience / 2) ranks_wait_renew(&wait);
        ranks_wait_tick(ranks, &wait);
    }
    return dataloader_next(data, rows, tokens, error);
}
