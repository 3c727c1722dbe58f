// Losses by position, as `eval --by-position` prints them, for a report.
#ifndef CORE_REPORT_POSITIONS_H
#define CORE_REPORT_POSITIONS_H

#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/report/chart.h"

#include <jansson.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define POSITION_FILES 8
#define POSITION_BANDS 40 // of doubling length, so that there are never more

typedef struct {
    int64_t to; // tokens of the sequence up to the band's end
    double loss;
} PositionLoss;

typedef struct {
    char *name;
    json_t *text; // what was read, as far as the file tells
    int count;
    PositionLoss bands[POSITION_BANDS];
    double last_tenth;
} PositionCurve;

typedef struct {
    int count;
    PositionCurve curves[POSITION_FILES];
} Positions;

// Reads files parted by commas; none where `files` is NULL. Status 2 for too many, 3 for what is not such a
// file; a warning where they are of unlike text. Release with positions_free.
bool positions_read(const char *files, Positions *positions, Error *error);
void positions_free(Positions *positions);

// Draws them, the n-th in the style first + n, at the panel's place.
void panel_positions(Svg *svg, Panel panel, const Positions *positions, int first);

// As a table, a band a row; nothing where there are none.
void positions_markdown(const Positions *positions, ByteBuffer *text);

#ifdef __cplusplus
}
#endif
#endif
