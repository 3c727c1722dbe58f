// Pictures as SVG text; see svg.h.
#include "core/report/svg.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

// ---- Words

// Bytes of the UTF-8 character that `text` begins with; 0 where it begins with none that XML can hold.
static size_t character_bytes(const char *text) {
    const unsigned char *c = (const unsigned char *)text;
    if (c[0] < 0x80) return c[0] >= 0x20 && c[0] != 0x7f;
    size_t bytes = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
    unsigned code = c[0] & (0xffu >> (bytes + 1));
    if (c[0] < 0xc2 || c[0] > 0xf4) return 0;
    for (size_t i = 1; i < bytes; i++) {
        if ((c[i] & 0xc0) != 0x80) return 0; // a zero byte ends here too
        code = code << 6 | (c[i] & 0x3fu);
    }
    bool overlong = (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
    bool none = (code >= 0xd800 && code < 0xe000) || code > 0x10ffff || (code & 0xfffe) == 0xfffe;
    return overlong || none ? 0 : bytes;
}

void xml_append(ByteBuffer *out, const char *text) {
    while (*text) {
        size_t bytes = character_bytes(text);
        switch (*text) {
        case '&': bytes_printf(out, "&amp;"); break;
        case '<': bytes_printf(out, "&lt;"); break;
        case '>': bytes_printf(out, "&gt;"); break;
        case '"': bytes_printf(out, "&quot;"); break;
        default: bytes ? bytes_append(out, text, bytes) : bytes_printf(out, "\xef\xbf\xbd");
        }
        text += bytes ? bytes : 1;
    }
}

double svg_text_width(const char *text, double size) {
    double width = 0;
    for (; *text; text++) {
        if (((unsigned char)*text & 0xc0) == 0x80) continue; // further bytes of a character
        width += strchr("ijl.,:;|!' ()", *text) ? 0.31 : strchr("mwMW", *text) ? 0.86 : 0.57;
    }
    return width * size;
}

static void text_append(Svg *svg, const char *place, SvgAnchor anchor, double size, const char *attributes,
                        const char *text) {
    static const char *const anchors[] = {"start", "middle", "end"};
    bytes_printf(&svg->text, "<text %s font-size=\"%.4g\" text-anchor=\"%s\" %s>", place, size,
                 anchors[anchor], attributes);
    xml_append(&svg->text, text);
    bytes_printf(&svg->text, "</text>\n");
}

void svg_text(Svg *svg, double x, double y, SvgAnchor anchor, double size, const char *attributes,
              const char *text) {
    char place[96];
    snprintf(place, sizeof place, "x=\"%.1f\" y=\"%.1f\"", x, y);
    text_append(svg, place, anchor, size, attributes, text);
}

void svg_text_upwards(Svg *svg, double x, double y, SvgAnchor anchor, double size, const char *attributes,
                      const char *text) {
    char place[96];
    snprintf(place, sizeof place, "transform=\"translate(%.1f %.1f) rotate(-90)\"", x, y);
    text_append(svg, place, anchor, size, attributes, text);
}

// ---- Lines and shapes

void svg_line(Svg *svg, double x1, double y1, double x2, double y2, const char *attributes) {
    bytes_printf(&svg->text, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2,
                 attributes);
}

static void svg_rect(Svg *svg, double x, double y, double width, double height, const char *attributes) {
    bytes_printf(&svg->text, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" %s/>\n", x, y, width,
                 height, attributes);
}

void svg_circle(Svg *svg, double x, double y, double radius, const char *attributes) {
    bytes_printf(&svg->text, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" %s/>\n", x, y, radius, attributes);
}

void svg_curve(Svg *svg, const double *points, int64_t count, const char *attributes) {
    bool drawing = false;
    bytes_printf(&svg->text, "<path fill=\"none\" %s d=\"", attributes);
    for (int64_t i = 0; i < count; i++) {
        double x = points[2 * i], y = points[2 * i + 1];
        bool finite = isfinite(x) && isfinite(y);
        if (finite) bytes_printf(&svg->text, "%s%.1f %.1f", drawing ? "L" : "M", x, y);
        drawing = finite;
    }
    bytes_printf(&svg->text, "\"/>\n");
}

// ---- Groups

void svg_group(Svg *svg, const char *attributes, const char *tip) {
    bytes_printf(&svg->text, "<g %s>\n", attributes);
    if (!tip) return;
    bytes_printf(&svg->text, "<title>");
    xml_append(&svg->text, tip);
    bytes_printf(&svg->text, "</title>\n");
}

void svg_group_clipped(Svg *svg, double x, double y, double width, double height) {
    bytes_printf(
        &svg->text,
        "<clipPath id=\"clip%d\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/></clipPath>\n"
        "<g clip-path=\"url(#clip%d)\">\n",
        svg->clips, x, y, width, height, svg->clips);
    svg->clips++;
}

void svg_group_end(Svg *svg) {
    bytes_printf(&svg->text, "</g>\n");
}

// ---- The document

static const char STYLE[] =
    "<style>\n"
    "text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}\n"
    "text.soft{fill:#59636e} .paper{fill:#ffffff} .grid{stroke:#e3e7eb} .axis{stroke:#818b98}\n"
    "@media (prefers-color-scheme:dark){text{fill:#f0f6fc} text.soft{fill:#9da7b1} .paper{fill:#0d1117} "
    ".grid{stroke:#2a313a} .axis{stroke:#768390}}\n"
    "</style>\n";

void svg_begin(Svg *svg, double width, double height, const char *title) {
    memset(svg, 0, sizeof *svg);
    bytes_printf(&svg->text,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
                 "height=\"%.0f\" role=\"img\">\n<title>",
                 width, height, width, height);
    xml_append(&svg->text, title);
    bytes_printf(&svg->text, "</title>\n%s", STYLE);
    svg_rect(svg, 0, 0, width, height, "class=\"paper\"");
}

void svg_end(Svg *svg) {
    bytes_printf(&svg->text, "</svg>\n");
}

void svg_free(Svg *svg) {
    bytes_free(&svg->text);
}
