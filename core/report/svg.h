// Pictures as SVG text: lines, shapes and words, readable on light and dark pages.
//
// Lengths are in user units (pixels at 100 %), x to the right and y downwards. `attributes` is XML as it
// stands, such as "class=\"axis\"" or "fill=\"#2a78d6\"". Classes for what must suit the page's colours:
// "paper" (background), "grid" and "axis" (lines), "soft" (words of less weight); words have the page's ink.
#ifndef CORE_REPORT_SVG_H
#define CORE_REPORT_SVG_H

#include "core/base/bytes.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    ByteBuffer text; // a whole SVG document after svg_end, without a zero byte behind it
    int clips;       // of the clips begun so far: their ids
} Svg;

typedef enum { SVG_START, SVG_MIDDLE, SVG_END } SvgAnchor;

// `title` is what a reader of the page's structure is told. Begins with all of the paper in its colour.
void svg_begin(Svg *svg, double width, double height, const char *title);
void svg_end(Svg *svg);
void svg_free(Svg *svg);

void svg_line(Svg *svg, double x1, double y1, double x2, double y2, const char *attributes);
void svg_circle(Svg *svg, double x, double y, double radius, const char *attributes);
// `points` are count pairs x, y; one that is not finite leaves a gap.
void svg_curve(Svg *svg, const double *points, int64_t count, const char *attributes);
// A line of words on the base line y. `text` is UTF-8; what XML cannot hold is replaced.
void svg_text(Svg *svg, double x, double y, SvgAnchor anchor, double size, const char *attributes,
              const char *text);
// The same from the bottom up, around x.
void svg_text_upwards(Svg *svg, double x, double y, SvgAnchor anchor, double size, const char *attributes,
                      const char *text);

// What follows up to svg_group_end belongs together; `tip`, where given, shows under the pointer.
void svg_group(Svg *svg, const char *attributes, const char *tip);
// The same, and nothing of it shows outside the rectangle.
void svg_group_clipped(Svg *svg, double x, double y, double width, double height);
void svg_group_end(Svg *svg);

// About the width of words in the picture's typeface.
double svg_text_width(const char *text, double size);

// Appends UTF-8 text so that XML and HTML show it as it is.
void xml_append(ByteBuffer *out, const char *text);

#ifdef __cplusplus
}
#endif
#endif
