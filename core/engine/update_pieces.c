// How an update is cut; see update_pieces.h.
#include "core/engine/update_pieces.h"

int64_t piece_room(const ParamTable *table, int64_t most) {
    int64_t room = 0, limit = most > 0 ? (most + PARAM_ALIGNMENT - 1) / PARAM_ALIGNMENT * PARAM_ALIGNMENT
                                       : PIECE_ELEMENTS;
    for (int b = 0; b < table->n_buckets; b++)
        if (table->buckets[b].share > room) room = table->buckets[b].share;
    return room < limit ? room : limit;
}

static UpdatePiece piece_at(const ParamTable *table, int64_t room, int bucket, int64_t within, int place) {
    UpdatePiece piece = {bucket, within, 0, place};
    if (bucket == table->n_buckets) return piece;
    int64_t left = table->buckets[bucket].share - within;
    piece.count = left < room ? left : room;
    return piece;
}

UpdatePiece piece_first(const ParamTable *table, int64_t room) {
    return piece_at(table, room, 0, 0, 0);
}

UpdatePiece piece_behind(const ParamTable *table, int64_t room, const UpdatePiece *piece) {
    int place = (piece->place + 1) % PIECE_PLACES;
    if (piece_ends_bucket(table, piece)) return piece_at(table, room, piece->bucket + 1, 0, place);
    return piece_at(table, room, piece->bucket, piece->within + piece->count, place);
}
