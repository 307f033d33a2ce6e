#include "apps/lib/colour.h"
#include "apps/lib/font.h"
#include "apps/lib/summary.h"
#include "base/mem.h"
#include "data/srgb.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Ramps: straight lines in OKLab (Ottosson 2020) from near-white to two ends of equal lightness and chroma, both inside
 * sRGB all the way, so that strength means distance and neither side shouts. Hues in degrees: 27 red, 262 blue; 50
 * orange, 256 blue (apart for protan and deutan eyes, which see blue against yellow). */
static const double screen_lightness = 0.97;
static const struct {
    double lightness, chroma, hue_front, hue_behind;
} ramps[] = {
    [PALETTE_RED_BLUE] = {0.49, 0.19, 27, 262},
    [PALETTE_ORANGE_BLUE] = {0.58, 0.14, 50, 256},
};

static uint8_t encode(double linear) {
    return (uint8_t)(255 * srgb_from_linear(linear <= 0 ? 0 : linear >= 1 ? 1 : linear) + 0.5);
}

static void oklab_to_rgb(double lightness, double a, double b, uint8_t rgb[3]) {
    double l = lightness + 0.3963377774 * a + 0.2158037573 * b;
    double m = lightness - 0.1055613458 * a - 0.0638541728 * b;
    double s = lightness - 0.0894841775 * a - 1.2914855480 * b;
    l *= l * l, m *= m * m, s *= s * s;
    rgb[0] = encode(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s);
    rgb[1] = encode(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s);
    rgb[2] = encode(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s);
}

void colour_of(Palette palette, double t, uint8_t rgb[3]) {
    double strength = t < -1 || t > 1 ? 1 : fabs(t);
    double hue = (t > 0 ? ramps[palette].hue_front : ramps[palette].hue_behind) * 0.017453292519943295;
    double chroma = ramps[palette].chroma * strength;
    oklab_to_rgb(screen_lightness + (ramps[palette].lightness - screen_lightness) * strength, chroma * cos(hue),
                 chroma * sin(hue), rgb);
}

double colour_range(const Map *map) {
    static const double fractions[2] = {0.01, 0.99};
    double ends[2];
    if (!map_percentiles(map, fractions, 2, ends)) return 0.01 * map->width;
    double percent = 100 * fmax(fabs(ends[0]), fabs(ends[1])) / map->width;
    if (percent < 0.1) percent = 0.1;
    double unit = pow(10, floor(log10(percent)) - 1);
    return ceil(percent / unit - 1e-6) * unit * map->width / 100;
}

/* A table of the ramp: 1,024 steps to either side, finer than 8 bits of any channel. */
enum { STEPS = 1024 };
typedef struct {
    uint8_t rgb[2 * STEPS + 1][3];
} Ramp;

static Ramp *ramp_make(Palette palette) {
    Ramp *ramp = mem_alloc(sizeof *ramp);
    for (int i = -STEPS; ramp && i <= STEPS; i++) colour_of(palette, (double)i / STEPS, ramp->rgb[i + STEPS]);
    return ramp;
}

/* Hatches are stripes of two pixels in eight, wider on pictures that will be looked at from afar. */
static int hatch_unit(int width) {
    return width >= 1600 ? 2 : 1;
}
static bool on_stripe(int position, int unit) {
    int period = 8 * unit, at = position % period;
    return (at < 0 ? at + period : at) < 2 * unit;
}

static void paint_none(uint8_t rgb[3], int x, int y, int unit) {
    memset(rgb, on_stripe(x + y, unit) ? 120 : 190, 3);
}

/* Lines the other way than "no value", darkening what lies under them so that the colour stays readable. */
static void cross_hidden(uint8_t rgb[3], int x, int y, int unit) {
    if (!on_stripe(x - y, unit)) return;
    for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(rgb[c] * 45 / 100);
}

/* Is most of the 3x3 neighbourhood hidden? Single pixels that a matcher doubts would strew dots over the picture. */
static bool mostly_hidden(const Map *occlusion, int x, int y) {
    int hidden = 0, all = 0;
    for (int v = y - 1; v <= y + 1; v++)
        for (int u = x - 1; u <= x + 1; u++) {
            if (u < 0 || v < 0 || u >= occlusion->width || v >= occlusion->height) continue;
            hidden += occlusion->values[(int64_t)v * occlusion->width + u] < 0.5f;
            all++;
        }
    return 2 * hidden > all;
}

/* ---- the legend ---- */

static int legend_scale(int width) {
    return 1 + (width >= 480) + (width >= 1280) + (width >= 2560) + (width >= 5120);
}

/* Lines from the top: words, bar, percent, pixels, hatches. */
int colour_legend_height(int width) {
    int s = legend_scale(width);
    return (6 + FONT_HEIGHT + 12 + 3 + 3 * FONT_HEIGHT + 4) * s;
}

static const uint8_t ink[3] = {30, 30, 30}, paper[3] = {255, 255, 255};

static void fill(Image *image, int x0, int y0, int x1, int y1, const uint8_t rgb[3]) {
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++)
            if (x >= 0 && y >= 0 && x < image->width && y < image->height)
                memcpy(image->bytes + 3 * ((int64_t)y * image->width + x), rgb, 3);
}

/* Text centred at x, pushed inwards at the edges; drawn only if it fits right of *free, which moves on. */
static void label(Image *image, int x, int y, int scale, const char *text, int *taken) {
    int width = font_width(text, scale), margin = 8 * scale;
    int at = x - width / 2;
    if (at > image->width - margin - width) at = image->width - margin - width;
    if (at < margin) at = margin;
    if (at < *taken) return;
    font_draw(image, at, y, scale, ink, text);
    *taken = at + width + FONT_WIDTH * scale;
}

/* Short numbers: as many digits as tell the ticks apart, "0" without a sign. */
static void number(char *out, size_t size, double v, double range, const char *unit) {
    int digits = range >= 20 ? 0 : range >= 2 ? 1 : range >= 0.2 ? 2 : 3;
    if (fabs(v) < 1e-12) {
        snprintf(out, size, "0");
        return;
    }
    snprintf(out, size, "%+.*f", digits, v);
    char *end = out + strlen(out);
    if (strchr(out, '.')) {
        while (end[-1] == '0') *--end = 0;
        if (end[-1] == '.') *--end = 0;
    }
    snprintf(end, size - (size_t)(end - out), "%s", unit);
}

/* One line of tick labels: all five, or the ends and the middle, or the ends, as there is room. The outer labels stand
 * inside the ends, the inner ones are centred, so a pitch of one and a half labels is needed. */
static void tick_line(Image *image, int y, int scale, int left, int right, double range, const char *unit) {
    char text[5][32];
    int widest = 0;
    for (int i = 0; i < 5; i++) {
        /* parallax: behind is positive and stands left */
        number(text[i], sizeof text[i], range * (1 - i / 2.0), range, unit);
        int width = font_width(text[i], scale);
        if (width > widest) widest = width;
    }
    int taken = 0, step = 1;
    while (step < 4 && 3 * widest / 2 + FONT_WIDTH * scale > (right - left) * step / 4) step *= 2;
    for (int i = 0; i < 5; i += step) label(image, left + (right - left) * i / 4, y, scale, text[i], &taken);
}

static void draw_legend(Image *picture, int top, const ColourOptions *o, const Ramp *ramp, double range, bool has_none,
                        bool has_hidden) {
    int w = picture->width, s = legend_scale(w), y = top + 6 * s, left = 8 * s, right = w - 8 * s;
    if (right <= left) left = 0, right = w;
    fill(picture, 0, top, w, picture->height, paper);
    const char *in_front = "in front";
    int behind_end = left + font_width("behind", s) + FONT_WIDTH * s;
    if (behind_end + font_width(in_front, s) > right) in_front = "front";
    int front = right - font_width(in_front, s), screen = w / 2 - font_width("screen", s) / 2;
    if (behind_end <= front) { /* both words or neither */
        font_draw(picture, left, y, s, ink, "behind");
        font_draw(picture, front, y, s, ink, in_front);
        if (behind_end <= screen && screen + font_width("screen", s) + FONT_WIDTH * s <= front)
            font_draw(picture, screen, y, s, ink, "screen");
    }
    y += FONT_HEIGHT * s;
    for (int x = left; x < right; x++) {
        int step = right - left > 1 ? (int)(2.0 * STEPS * (x - left) / (right - left - 1) + 0.5) : STEPS;
        fill(picture, x, y, x + 1, y + 12 * s, ramp->rgb[step > 2 * STEPS ? 2 * STEPS : step]);
    }
    for (int i = 0; i < 5; i++) {
        int x = left + (right - left - s) * i / 4;
        fill(picture, x, y + 9 * s, x + s, y + 14 * s, ink);
    }
    y += 15 * s;
    tick_line(picture, y, s, left, right, 100 * range / w, "%");
    y += FONT_HEIGHT * s;
    tick_line(picture, y, s, left, right, range, "px");
    y += FONT_HEIGHT * s;
    int x = left, unit = hatch_unit(w);
    uint8_t rgb[3];
    for (int i = 0; i < 2; i++) {
        if (!(i ? has_none : has_hidden)) continue;
        const char *word = i ? "no value" : "hidden from one eye";
        if (x + 15 * s + font_width(word, s) > w) break;
        for (int v = y; v < y + 8 * s; v++)
            for (int u = x; u < x + 12 * s && u < w; u++) {
                if (i) {
                    paint_none(rgb, u, v, unit);
                } else {
                    memcpy(rgb, ramp->rgb[STEPS], 3);
                    cross_hidden(rgb, u, v, unit);
                }
                memcpy(picture->bytes + 3 * ((int64_t)v * w + u), rgb, 3);
            }
        font_draw(picture, x + 15 * s, y, s, ink, word);
        x += 15 * s + font_width(word, s) + 2 * FONT_WIDTH * s;
    }
    const char *note = o->title ? o->title : "parallax in % of width";
    int note_width = font_width(note, s);
    if (x + note_width + left <= w) font_draw(picture, w - left - note_width, y, s, ink, note);
}

int colour_map(Image *picture, const Map *map, const ColourOptions *options, double *used) {
    ColourOptions o = options ? *options : (ColourOptions){0};
    BUG_IF(map->kind != MAP_DISPARITY && map->kind != MAP_PARALLAX, "the signed map shows disparity or parallax");
    if (o.occlusion && (o.occlusion->width != map->width || o.occlusion->height != map->height))
        return fail(ERR_INPUT, "the occlusion map is %dx%d and the disparity map %dx%d pixels", o.occlusion->width,
                    o.occlusion->height, map->width, map->height);
    double range = o.range > 0 ? o.range : colour_range(map);
    if (used) *used = range;
    int legend = o.no_legend ? 0 : colour_legend_height(map->width);
    Ramp *ramp = ramp_make(o.palette);
    if (!ramp) return err_code();
    if (image_make(picture, map->width, map->height + legend, 3, 8)) {
        mem_free(ramp);
        return err_code();
    }
    int unit = hatch_unit(map->width);
    bool has_none = false, has_hidden = false;
    double to_step = (map->kind == MAP_PARALLAX ? -1 : 1) * STEPS / range;
    for (int y = 0; y < map->height; y++)
        for (int x = 0; x < map->width; x++) {
            int64_t i = (int64_t)y * map->width + x;
            uint8_t *rgb = picture->bytes + 3 * i;
            double v = map->values[i];
            if (!isfinite(v)) {
                has_none = true;
                paint_none(rgb, x, y, unit);
                continue;
            }
            double step = v * to_step;
            int at = step >= STEPS ? STEPS : step <= -STEPS ? -STEPS : (int)lrint(step);
            memcpy(rgb, ramp->rgb[at + STEPS], 3);
            if (o.occlusion && mostly_hidden(o.occlusion, x, y)) {
                has_hidden = true;
                cross_hidden(rgb, x, y, unit);
            }
        }
    if (legend) draw_legend(picture, map->height, &o, ramp, range, has_none, has_hidden);
    mem_free(ramp);
    return 0;
}

int colour_error(Image *picture, const Map *prediction, const Map *truth, double range) {
    if (prediction->width != truth->width || prediction->height != truth->height)
        return fail(ERR_INPUT, "the prediction is %dx%d and the truth %dx%d pixels; they must have one size",
                    prediction->width, prediction->height, truth->width, truth->height);
    BUG_IF(prediction->kind != truth->kind, "prediction and truth must hold one quantity");
    if (image_make(picture, truth->width, truth->height, 3, 8)) return err_code();
    int unit = hatch_unit(truth->width);
    for (int y = 0; y < truth->height; y++)
        for (int x = 0; x < truth->width; x++) {
            int64_t i = (int64_t)y * truth->width + x;
            uint8_t *rgb = picture->bytes + 3 * i;
            double t = truth->values[i], p = prediction->values[i];
            if (!isfinite(t)) {
                paint_none(rgb, x, y, unit);
            } else if (!isfinite(p)) {
                memset(rgb, 0, 3);
            } else { /* white, over orange (hue 60) to dark brown: lightness falls evenly, 0.98 to 0.30 */
                double strength = fmin(fabs(p - t) / range, 1),
                       chroma = 0.14 * sin(3.141592653589793 * strength * 0.85);
                oklab_to_rgb(0.98 - 0.68 * strength, chroma * 0.5, chroma * 0.8660254037844386, rgb);
            }
        }
    return 0;
}
