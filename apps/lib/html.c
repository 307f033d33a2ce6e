#include "apps/lib/html.h"
#include "apps/lib/colour.h"
#include "base/mem.h"
#include "data/png.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void keep(Html *html, int error) {
    if (!html->error) html->error = error;
}

static void raw(Html *html, const char *text) {
    keep(html, out_write(html->out, text, strlen(text)));
}

static void print(Html *html, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void print(Html *html, const char *format, ...) {
    char text[1024]; /* markup and numbers of ours only: never long */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    raw(html, text);
}

/* Text as HTML and as an attribute's value: five characters are special, control characters have no place. */
static void escaped(Html *html, const char *text) {
    const char *from = text;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        const char *entity = c == '&'                                         ? "&amp;"
                             : c == '<'                                       ? "&lt;"
                             : c == '>'                                       ? "&gt;"
                             : c == '"'                                       ? "&quot;"
                             : c == '\''                                      ? "&#39;"
                             : (c < 32 && c != '\n' && c != '\t') || c == 127 ? "\xEF\xBF\xBD"
                                                                              : NULL;
        if (!entity) continue;
        keep(html, out_write(html->out, from, (size_t)(text - from)));
        raw(html, entity);
        from = text + 1;
    }
    keep(html, out_write(html->out, from, (size_t)(text - from)));
}

static void element(Html *html, const char *open, const char *close, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *text = n < 0 ? NULL : mem_alloc((size_t)n + 1);
    if (text) {
        vsnprintf(text, (size_t)n + 1, format, again);
        raw(html, open);
        escaped(html, text);
        raw(html, close);
    } else {
        keep(html, n < 0 ? fail(ERR_FAILED, "a line of the report cannot be formatted") : (int)err_code());
    }
    va_end(again);
    mem_free(text);
}

#define ELEMENT(name, open, close)                   \
    void name(Html *html, const char *format, ...) { \
        va_list args;                                \
        va_start(args, format);                      \
        element(html, open, close, format, args);    \
        va_end(args);                                \
    }
ELEMENT(html_heading, "<h2>", "</h2>\n")
ELEMENT(html_text, "<p>", "</p>\n")
ELEMENT(html_note, "<p class=\"note\">", "</p>\n")
ELEMENT(html_command, "<pre>", "</pre>\n")

static const char style[] =
    "<style>\n"
    ":root{color-scheme:light dark;--ink:#1c1e21;--soft:#5c6370;--line:#d8dbe0;--paper:#fff;--wash:#f4f5f7}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e7e9;--soft:#a0a6b0;--line:#3a3e45;--paper:#17191c;--wash:#"
    "22252a}}\n"
    "body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1360px;margin:0 "
    "auto;padding:1.5rem}\n"
    "h1{font-size:1.7rem;line-height:1.2;margin:.2em 0 .5em}h2{font-size:1.2rem;margin:2em 0 .6em}\n"
    "p{max-width:52rem;margin:.6em 0}.note{border-left:4px solid #b0141c;padding:.4em .9em;background:var(--wash)}\n"
    "pre{background:var(--wash);padding:.7em 1em;overflow-x:auto;font-size:.9rem}\n"
    ".figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(max(min(100%,300px),100%/var(--columns) - "
    "1.2rem),1fr));gap:1.2rem;align-items:"
    "start}\n"
    "figure{margin:0}figure img,.wiggle{display:block;width:100%;height:auto;border:1px solid "
    "var(--line);box-sizing:border-box}\n"
    "figcaption{font-size:.9rem;color:var(--soft);padding:.35em 0}\n"
    ".wiggle{position:relative}.wiggle img{border:0;width:100%}.wiggle "
    "img+img{position:absolute;left:0;top:0;height:100%;animation:turn .5s steps(1) infinite}\n"
    "@keyframes turn{0%{opacity:0}50%{opacity:1}}\n"
    "@media(prefers-reduced-motion:reduce){.wiggle img+img{animation:none;opacity:0}}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.95rem}\n"
    "caption{text-align:left;color:var(--soft);font-size:.9rem;padding:.3em 0}th,td{padding:.25em "
    ".8em;border-bottom:1px solid var(--line);text-align:right}\n"
    "th:first-child,td:first-child{text-align:left}thead th{color:var(--soft);font-weight:600}\n"
    "svg{max-width:100%;height:auto}svg text{fill:var(--ink);font:13px system-ui,sans-serif}\n"
    "</style>\n";

void html_begin(Html *html, Out *out, const char *title) {
    *html = (Html){out, 0};
    raw(html, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
              "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
    escaped(html, title);
    raw(html, "</title>\n");
    raw(html, style);
    raw(html, "<h1>");
    escaped(html, title);
    raw(html, "</h1>\n");
}

int html_end(Html *html) {
    print(html, "<p style=\"color:var(--soft);font-size:.85rem;margin-top:3em\">panum %s</p>\n</html>\n",
          PANUM_VERSION);
    return html->error;
}

void html_figures_begin(Html *html, int columns) {
    print(html, "<div class=\"figures\" style=\"--columns:%d\">\n", columns);
}
void html_figures_end(Html *html) {
    raw(html, "</div>\n");
}

static void base64(Html *html, const uint8_t *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[4096];
    size_t used = 0;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t v =
            (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
        text[used++] = digits[v >> 18];
        text[used++] = digits[v >> 12 & 63];
        text[used++] = left > 1 ? digits[v >> 6 & 63] : '=';
        text[used++] = left > 2 ? digits[v & 63] : '=';
        if (used == sizeof text) {
            keep(html, out_write(html->out, text, used));
            used = 0;
        }
    }
    keep(html, out_write(html->out, text, used));
}

static void img(Html *html, const Image *image, const char *alt) {
    Out *png;
    uint8_t *bytes = NULL;
    size_t size = 0;
    int error = out_memory(&png);
    if (!error) {
        error = png_write(png, image, NULL, 0);
        if (error)
            out_abort(&png);
        else
            error = out_memory_take(&png, &bytes, &size);
    }
    keep(html, error);
    if (error) return;
    print(html, "<img width=\"%d\" height=\"%d\" alt=\"", image->width, image->height);
    escaped(html, alt);
    raw(html, "\" src=\"data:image/png;base64,");
    base64(html, bytes, size);
    raw(html, "\">");
    mem_free(bytes);
}

static void caption_end(Html *html, const char *caption) {
    if (caption) {
        raw(html, "\n<figcaption>");
        escaped(html, caption);
        raw(html, "</figcaption>");
    }
    raw(html, "</figure>\n");
}

void html_image(Html *html, const Image *image, const char *alt, const char *caption) {
    raw(html, "<figure>");
    img(html, image, alt);
    caption_end(html, caption);
}

void html_wiggle(Html *html, const Image *left, const Image *right, const char *caption) {
    raw(html, "<figure><div class=\"wiggle\">");
    img(html, left, "left eye");
    img(html, right, "right eye, in turns with the left");
    raw(html, "</div>");
    caption_end(html, caption);
}

void html_table_begin(Html *html, const char *caption, const char *const *heads, int columns) {
    raw(html, "<div class=\"scroll\"><table>");
    if (caption) {
        raw(html, "<caption>");
        escaped(html, caption);
        raw(html, "</caption>");
    }
    raw(html, "<thead><tr>");
    for (int i = 0; i < columns; i++) {
        raw(html, "<th>");
        escaped(html, heads[i]);
        raw(html, "</th>");
    }
    raw(html, "</tr></thead>\n<tbody>\n");
}

void html_row(Html *html, const char *const *cells, int columns) {
    raw(html, "<tr>");
    for (int i = 0; i < columns; i++) {
        raw(html, "<td>");
        escaped(html, cells[i]);
        raw(html, "</td>");
    }
    raw(html, "</tr>\n");
}

void html_table_end(Html *html) {
    raw(html, "</tbody></table></div>\n");
}

/* Plot of 620 x 170 units inside margins for the axis. Heights by square root, so that small things in front stay
 * visible beside a large background; the axis says so. */
void html_parallax_histogram(Html *html, const double *shares, const double *second, int bins, double range, int width,
                             const char *caption) {
    const double x0 = 10, plot_width = 620, base = 180, plot_height = 170;
    double most = 1e-9;
    for (int b = 0; b < bins; b++) {
        most = fmax(most, shares[b]);
        if (second) most = fmax(most, second[b]);
    }
    raw(html,
        "<figure><svg viewBox=\"0 0 640 240\" width=\"860\" role=\"img\" aria-label=\"histogram of parallax\">\n");
    for (int b = 0; b < bins; b++) {
        double t = (b + 0.5) / bins * 2 - 1, h = plot_height * sqrt(shares[b] / most);
        if (h < 0.05) continue;
        uint8_t rgb[3];
        /* full colours from a fifth of the range on: a bar near the screen must still say which side it is on */
        colour_of(PALETTE_RED_BLUE, t > 0 ? 0.3 + 0.7 * t : -0.3 + 0.7 * t, rgb);
        print(html, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"#%02x%02x%02x\"/>\n",
              x0 + plot_width * b / bins, base - h, plot_width / bins + 0.05, h, rgb[0], rgb[1], rgb[2]);
    }
    if (second) {
        raw(html, "<path fill=\"none\" stroke=\"var(--ink)\" stroke-width=\"1.2\" d=\"M");
        for (int b = 0; b < bins; b++) {
            double y = base - plot_height * sqrt(second[b] / most);
            if (b)
                print(html, "V%.2f", y);
            else
                print(html, "%.2f %.2f", x0, y);
            print(html, "H%.2f", x0 + plot_width * (b + 1) / bins);
        }
        raw(html, "\"/>\n");
    }
    print(html, "<path d=\"M%g %gH%g\" stroke=\"var(--soft)\"/>\n", x0, base, x0 + plot_width);
    print(html, "<path d=\"M%g %gV%g\" stroke=\"var(--ink)\" stroke-dasharray=\"4 3\"/>\n", x0 + plot_width / 2,
          base + 4, base - plot_height);
    for (int i = 0; i <= 4; i++) {
        double t = i / 2.0 - 1, x = x0 + plot_width * i / 4, percent = -100 * range * t / width;
        const char *anchor = i == 0 ? "start" : i == 4 ? "end" : "middle";
        print(html, "<text x=\"%g\" y=\"%g\" text-anchor=\"%s\">%s%.2g %%</text>\n", x, base + 18, anchor,
              percent > 0 ? "+" : "", i == 2 ? 0.0 : percent);
        print(html, "<text x=\"%g\" y=\"%g\" text-anchor=\"%s\">%s</text>\n", x, base + 36, anchor,
              i == 0   ? "behind"
              : i == 2 ? "screen"
              : i == 4 ? "in front"
                       : "");
    }
    raw(html, "</svg>");
    caption_end(html, caption);
}

/* ---- curves ---- */

enum { PLOT_LEFT = 56, PLOT_TOP = 10, PLOT_WIDTH = 560, PLOT_HEIGHT = 220, POINTS_SHOWN = 560 };

/* Told apart by people who do not see all colours (Okabe and Ito's, those that show on black and on white). */
static const char *const curve_colours[HTML_CURVES_MAX] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                           "#e69f00", "#56b4e9", "#8a6d3b", "#7a7a7a"};

typedef struct {
    double x0, x1, y0, y1; /* y as logarithms to 10 */
} PlotArea;

static bool can_show(double y) {
    return y > 0 && isfinite(y);
}

static double plot_x(const PlotArea *area, double x) {
    return PLOT_LEFT + PLOT_WIDTH * (x - area->x0) / (area->x1 - area->x0);
}

static double plot_y(const PlotArea *area, double y) {
    return PLOT_TOP + PLOT_HEIGHT * (area->y1 - log10(y)) / (area->y1 - area->y0);
}

static PlotArea area_of(const HtmlCurve *curves, int count, double flat) {
    PlotArea area = {INFINITY, -INFINITY, INFINITY, -INFINITY};
    for (int c = 0; c < count; c++)
        for (int64_t i = 0; i < curves[c].count; i++) {
            if (!can_show(curves[c].y[i])) continue;
            area.x0 = fmin(area.x0, curves[c].x[i]), area.x1 = fmax(area.x1, curves[c].x[i]);
            area.y0 = fmin(area.y0, log10(curves[c].y[i])), area.y1 = fmax(area.y1, log10(curves[c].y[i]));
        }
    if (can_show(flat)) area.y0 = fmin(area.y0, log10(flat)), area.y1 = fmax(area.y1, log10(flat));
    if (!(area.x1 > area.x0)) area.x0 = isfinite(area.x0) ? area.x0 - 1 : 0, area.x1 = area.x0 + 2;
    if (!isfinite(area.y0)) area.y0 = -1, area.y1 = 1;
    double room = fmax(0.03, 0.04 * (area.y1 - area.y0));
    area.y0 -= room, area.y1 += room;
    return area;
}

/* 1, 2 and 5 times powers of ten; powers alone where those would be too many, more where they would be too few. */
static void plot_axes(Html *html, const PlotArea *area, const char *x_name) {
    static const double few[] = {1}, usual[] = {1, 2, 5}, many[] = {1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8};
    double decades = area->y1 - area->y0;
    const double *steps = decades > 2.5 ? few : decades > 0.8 ? usual : many;
    int each = decades > 2.5 ? 1 : decades > 0.8 ? 3 : 10;
    for (int power = (int)floor(area->y0); power <= (int)ceil(area->y1); power++)
        for (int s = 0; s < each; s++) {
            double value = steps[s] * pow(10, power), y = plot_y(area, value);
            if (y < PLOT_TOP || y > PLOT_TOP + PLOT_HEIGHT) continue;
            print(html, "<path d=\"M%d %.1fH%d\" stroke=\"var(--line)\"/>", PLOT_LEFT, y, PLOT_LEFT + PLOT_WIDTH);
            print(html, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", PLOT_LEFT - 6, y + 4, value);
        }
    for (int i = 0; i <= 4; i++) {
        double x = area->x0 + (area->x1 - area->x0) * i / 4;
        print(html, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%.6g</text>\n", plot_x(area, x),
              PLOT_TOP + PLOT_HEIGHT + 18,
              i == 0   ? "start"
              : i == 4 ? "end"
                       : "middle",
              round(x));
    }
    print(html, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">", PLOT_LEFT + PLOT_WIDTH / 2,
          PLOT_TOP + PLOT_HEIGHT + 36);
    escaped(html, x_name);
    raw(html, "</text>\n");
}

/* Where there are more points than the plot is wide, means of neighbours (of their logarithms) are drawn. */
static void plot_line(Html *html, const PlotArea *area, const HtmlCurve *curve, const char *colour) {
    int64_t each = (curve->count + POINTS_SHOWN - 1) / POINTS_SHOWN;
    double last[2] = {0};
    int points = 0;
    print(html, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"1.6\" stroke-linejoin=\"round\" d=\"", colour);
    for (int64_t first = 0; first < curve->count; first += each) {
        double x = 0, y = 0;
        int n = 0;
        for (int64_t i = first; i < first + each && i < curve->count; i++) {
            if (!can_show(curve->y[i])) continue;
            x += curve->x[i];
            y += log10(curve->y[i]);
            n++;
        }
        if (!n) continue;
        last[0] = plot_x(area, x / n), last[1] = plot_y(area, pow(10, y / n));
        print(html, "%s%.1f %.1f", points++ ? "L" : "M", last[0], last[1]);
    }
    raw(html, "\"/>\n");
    if (points == 1) print(html, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", last[0], last[1], colour);
}

void html_curves(Html *html, const HtmlCurve *curves, int count, const char *x_name, double flat, const char *flat_name,
                 const char *caption) {
    if (count > HTML_CURVES_MAX) count = HTML_CURVES_MAX;
    PlotArea area = area_of(curves, count, flat);
    int names = count + (can_show(flat) ? 1 : 0);
    print(html, "<figure><svg viewBox=\"0 0 640 %d\" width=\"860\" role=\"img\" aria-label=\"curves\">\n",
          PLOT_TOP + PLOT_HEIGHT + 46 + 18 * ((names + 2) / 3));
    plot_axes(html, &area, x_name);
    if (can_show(flat))
        print(html, "<path d=\"M%d %.1fH%d\" stroke=\"var(--ink)\" stroke-dasharray=\"5 4\"/>\n", PLOT_LEFT,
              plot_y(&area, flat), PLOT_LEFT + PLOT_WIDTH);
    for (int c = 0; c < count; c++) plot_line(html, &area, &curves[c], curve_colours[c]);
    for (int n = 0; n < names; n++) {
        int x = PLOT_LEFT + 195 * (n % 3), y = PLOT_TOP + PLOT_HEIGHT + 56 + 18 * (n / 3);
        print(html, "<path d=\"M%d %dh18\" stroke=\"%s\" stroke-width=\"2\"%s/><text x=\"%d\" y=\"%d\">", x, y - 4,
              n < count ? curve_colours[n] : "var(--ink)", n < count ? "" : " stroke-dasharray=\"5 4\"", x + 24, y);
        escaped(html, n < count ? curves[n].name : flat_name);
        raw(html, "</text>\n");
    }
    raw(html, "</svg>");
    caption_end(html, caption);
}
