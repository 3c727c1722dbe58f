// Losses by position; see position_bands.h.
#include "core/commands/position_bands.h"

#include "core/base/json_file.h"

#include <string.h>

static void add_band(PositionBands *bands, int64_t from, int64_t to) {
    PositionBand band = {from, to, 0, 0};
    bands->bands[bands->count++] = band;
}

void position_bands_create(PositionBands *bands, int64_t N) {
    memset(bands, 0, sizeof *bands);
    int64_t from = 0, to = POSITION_FIRST_BAND;
    for (; to < N; from = to, to *= 2) add_band(bands, from, to);
    add_band(bands, from, N);
    add_band(bands, N - (N + 9) / 10, N);
}

static void add_to_band(PositionBand *band, int64_t first, int64_t count, const double *nats) {
    int64_t from = band->from > first ? band->from : first;
    int64_t to = band->to < first + count ? band->to : first + count;
    for (int64_t i = from; i < to; i++) band->nats += nats[i - first];
    if (to > from) band->targets += (double)(to - from);
}

void position_bands_add(PositionBands *bands, int64_t first, int64_t count, const double *nats) {
    for (int i = 0; i < bands->count; i++) add_to_band(&bands->bands[i], first, count, nats);
}

void position_bands_sum(PositionBands *bands, Ranks *ranks) {
    double nats[POSITION_MAX_BANDS], targets[POSITION_MAX_BANDS];
    for (int i = 0; i < bands->count; i++) {
        nats[i] = bands->bands[i].nats;
        targets[i] = bands->bands[i].targets;
    }
    ranks_sum(ranks, nats, bands->count);
    ranks_sum(ranks, targets, bands->count);
    for (int i = 0; i < bands->count; i++) {
        bands->bands[i].nats = nats[i];
        bands->bands[i].targets = targets[i];
    }
}

static json_t *band_json(const PositionBand *band) {
    return json_pack("{s:I, s:I, s:f, s:I, s:o}", "from", (json_int_t)band->from, "to", (json_int_t)band->to,
                     "nats", band->nats, "targets", (json_int_t)band->targets, "nats_per_target",
                     json_number(band->nats / band->targets));
}

void position_bands_json(const PositionBands *bands, json_t *object) {
    json_t *list = json_array();
    for (int i = 0; i + 1 < bands->count; i++) json_array_append_new(list, band_json(&bands->bands[i]));
    json_object_set_new(object, "bands", list);
    json_object_set_new(object, "last_tenth", band_json(&bands->bands[bands->count - 1]));
}
