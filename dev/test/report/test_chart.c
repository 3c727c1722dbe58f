// Pictures: what the SVG writer makes of words and curves, and the ticks of axes.
#include "core/report/chart.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *text_of(ByteBuffer *buffer) {
    bytes_append(buffer, "", 1);
    return buffer->data;
}

static void test_words(void **state) {
    (void)state;
    const struct {
        const char *text, *xml;
    } cases[] = {
        {"a<b>&\"c\"", "a&lt;b&gt;&amp;&quot;c&quot;"},
        {"caf\xc3\xa9 \xe2\x80\x93 \xf0\x9f\x8c\x8a", "caf\xc3\xa9 \xe2\x80\x93 \xf0\x9f\x8c\x8a"},
        {"tab\there", "tab\xef\xbf\xbdhere"},
        {"\xff|", "\xef\xbf\xbd|"},
        {"cut \xe2\x80", "cut \xef\xbf\xbd\xef\xbf\xbd"}, // in the middle of a character
        {"\xc0\xaf\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, // no UTF-8
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ByteBuffer out = {NULL, 0, 0};
        xml_append(&out, cases[i].text);
        assert_string_equal(text_of(&out), cases[i].xml);
        bytes_free(&out);
    }
    assert_true(svg_text_width("wide words", 12) > svg_text_width("ill", 12));
    assert_true(svg_text_width("\xe2\x80\x93", 12) == svg_text_width("n", 12));
}

static void test_document(void **state) {
    (void)state;
    Svg svg;
    double points[] = {0, 1, 2, 3, NAN, 5, 6, 7, 8, INFINITY, 9, 9.25};
    svg_begin(&svg, 100, 50, "a & b");
    svg_curve(&svg, points, 6, "stroke=\"red\"");
    svg_group(&svg, "class=\"x\"", "tip <1>");
    svg_text(&svg, 1, 2, SVG_END, 11, "class=\"soft\"", "1 < 2");
    svg_group_end(&svg);
    svg_end(&svg);
    const char *text = text_of(&svg.text);
    assert_non_null(strstr(text, "<title>a &amp; b</title>"));
    assert_non_null(strstr(text, "d=\"M0.0 1.0L2.0 3.0M6.0 7.0M9.0 9.2\""));
    assert_non_null(strstr(text, "<title>tip &lt;1&gt;</title>"));
    assert_non_null(strstr(text, "text-anchor=\"end\" class=\"soft\">1 &lt; 2</text>"));
    assert_non_null(strstr(text, "prefers-color-scheme:dark"));
    svg_free(&svg);
}

static void test_ticks(void **state) {
    (void)state;
    const struct {
        Range range;
        int most;
        Ticks ticks;
    } cases[] = {
        {{0, 10}, 6, {0, 2, 6, 0}},          {{0, 1}, 5, {0, 0.25, 5, 2}},
        {{0.69, 1.53}, 5, {0.8, 0.2, 4, 1}}, {{-20, 40}, 7, {-20, 10, 7, 0}},
        {{0, 0.003}, 4, {0, 0.001, 4, 3}},   {{98304, 98310}, 3, {98305, 2.5, 3, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Ticks ticks = ticks_nice(cases[i].range, cases[i].most), wanted = cases[i].ticks;
        assert_true(fabs(ticks.first - wanted.first) < 1e-9 * fabs(wanted.step));
        assert_true(fabs(ticks.step - wanted.step) < 1e-9 * wanted.step);
        assert_int_equal(ticks.count, wanted.count);
        assert_int_equal(ticks.decimals, wanted.decimals);
    }
    for (int i = 0; i < 132; i++) { // never more than wanted, never beyond the range
        double width = 1e-6 * pow(1.37, i);
        for (int most = 2; most < 12; most++) {
            Range range = {-width / 3, width};
            Ticks ticks = ticks_nice(range, most);
            assert_in_range(ticks.count, 1, most);
            assert_true(ticks.first >= range.least - 1e-6 * width);
            assert_true(ticks.first + (ticks.count - 1) * ticks.step <= range.most + 1e-6 * width);
        }
    }
}

static void test_panel(void **state) {
    (void)state;
    Svg svg;
    Panel panel;
    memset(&panel, 0, sizeof panel);
    panel.x = 10;
    panel.y = 20;
    panel.width = 100;
    panel.height = 200;
    panel.across.unit = panel.up.unit = 1000;
    panel.across.range.most = 5000;
    panel.up.range = range_empty(); // shown as 0 to 1
    svg_begin(&svg, 200, 300, "");
    panel_begin(&svg, &panel, "heading");
    double points[] = {0, 0, 2500, 0.5, 5000, 1e30};
    panel_curve(&svg, &panel, points, 3, "");
    panel_end(&svg);
    svg_end(&svg);
    assert_true(panel_x(&panel, 5000) == 110 && panel_y(&panel, 0) == 220 && panel_y(&panel, 1) == 20);
    const char *text = text_of(&svg.text);
    assert_non_null(strstr(text, "M10.0 220.0L60.0 120.0L110.0 -180.0\"")); // far above: kept near the frame
    assert_non_null(strstr(text, ">5</text>"));                             // 5000 in thousands
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    svg_free(&svg);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_ticks),
        cmocka_unit_test(test_panel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
