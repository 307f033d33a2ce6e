#include "apps/lib/anchor.h"
#include "apps/lib/run.h"
#include "base/half.h"
#include "base/mem.h"
#include "data/stereo_measure.h"
#include "tensor/files/npy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const anchor_reason_names[ANCHOR_REASONS] = {"kept",    "unreadable", "blank",      "mono",
                                                         "swapped", "vertical",   "confidence", "consistency"};
const AnchorFigures anchor_figures_none = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};

/* As for stills and films (apps/match.c): below these the measurements say nothing. */
static const double EYE_TRUST = 0.7, VERTICAL_TRUST = 0.4;

/* ---- before matching ---- */

/* Eyes are compared at this width: coding noise is averaged away there, and a disparity of a pixel in 1,920 still
 * changes contours by some grey values. */
enum { LOOK_WIDTH = 320, SAME_GREYS = 6 };
static const double SAME_SHARE = 0.001; /* pixels that may differ by more than SAME_GREYS in the same picture */
static const double FLAT_PIXELS = 0.3, FLAT_SHARE = 0.0005; /* disparities within the larger are those of one picture */
static const double BLANK_GREYS = 2.5; /* standard deviation of a picture in which nothing can be seen */

static int small_grey(const Image *picture, Image *to) {
    int width = picture->width < LOOK_WIDTH ? picture->width : LOOK_WIDTH;
    int height = (int)((int64_t)picture->height * width / picture->width);
    Image small = {0};
    if (image_resize(&small, picture, width, height < 1 ? 1 : height)) return err_code();
    int rc = image_to_8bit(&small);
    if (!rc) rc = image_make(to, small.width, small.height, 1, 8);
    for (int64_t i = 0; !rc && i < image_pixels(&small); i++) {
        const uint8_t *p = small.bytes + (size_t)i * (size_t)small.channels;
        to->bytes[i] = small.channels == 1 ? p[0] : (uint8_t)((54 * p[0] + 183 * p[1] + 19 * p[2]) >> 8);
    }
    image_free(&small);
    return rc;
}

static double deviation(const Image *grey) {
    double n = (double)image_pixels(grey), sum = 0, squares = 0;
    for (int64_t i = 0; i < image_pixels(grey); i++) {
        sum += grey->bytes[i];
        squares += (double)grey->bytes[i] * grey->bytes[i];
    }
    return sqrt(fmax(squares / n - sum * sum / (n * n), 0));
}

static bool are_same(const Image *a, const Image *b) {
    int64_t differ = 0;
    for (int64_t i = 0; i < image_pixels(a); i++) differ += abs(a->bytes[i] - b->bytes[i]) > SAME_GREYS;
    return (double)differ <= SAME_SHARE * (double)image_pixels(a);
}

int anchor_look(const Image *left, const Image *right, const AnchorLimits *limits, AnchorFigures *figures,
                AnchorReason *reason) {
    Image small[2] = {{0}, {0}};
    StereoMeasure m;
    *reason = ANCHOR_KEPT;
    int rc = small_grey(left, &small[0]);
    if (!rc) rc = small_grey(right, &small[1]);
    bool blank = !rc && (deviation(&small[0]) < BLANK_GREYS || deviation(&small[1]) < BLANK_GREYS);
    bool same = !rc && are_same(&small[0], &small[1]);
    image_free(&small[0]), image_free(&small[1]);
    if (rc) return rc;
    if (blank && limits->reject[ANCHOR_BLANK])
        *reason = ANCHOR_BLANK;
    else if (same && limits->reject[ANCHOR_MONO])
        *reason = ANCHOR_MONO;
    if (*reason || (!limits->reject[ANCHOR_SWAPPED] && !limits->reject[ANCHOR_VERTICAL])) return 0;
    if ((rc = stereo_measure(left, right, &m))) return rc;
    figures->eye_order = m.eye_order;
    if (m.vertical_confidence >= VERTICAL_TRUST) figures->vertical = m.vertical;
    if (limits->reject[ANCHOR_SWAPPED] && m.eye_order <= -EYE_TRUST)
        *reason = ANCHOR_SWAPPED;
    else if (limits->reject[ANCHOR_VERTICAL] && fabs(figures->vertical) > limits->vertical)
        *reason = ANCHOR_VERTICAL;
    return 0;
}

/* ---- after matching ---- */

int anchor_measure(const StereoMaps *maps, AnchorFigures *f) {
    PairSummary s;
    if (pair_summarise(maps, &s)) return err_code();
    f->nearest = s.nearest, f->farthest = s.farthest, f->front = s.front, f->behind = s.behind;
    f->confidence = s.confidence, f->trusted = s.trusted;
    return 0;
}

void anchor_check(StereoMaps *left, const StereoMaps *right, AnchorFigures *figures) {
    int width = left->disparity.width, height = left->disparity.height;
    double reach = fmax(1, width / 1000.0);
    int64_t asked = 0, agreed = 0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int64_t row = (int64_t)y * width, i = row + x;
            if (left->occlusion.values[i] < 0.5f) continue;
            double d = left->disparity.values[i], there = x - d;
            bool agrees = false;
            if (there > -0.5 && there < width - 0.5)
                agrees = fabs(d - (double)right->disparity.values[row + lrint(fmax(there, 0))]) <= reach;
            if (left->confidence.values[i] >= 0.5f) asked++, agreed += agrees;
            if (!agrees) left->confidence.values[i] = 0;
        }
    figures->consistent = asked ? (double)agreed / (double)asked : 0;
}

/* Coding noise can make one picture twice look like two, the more so in half layouts; its disparity tells. */
static bool is_flat(const AnchorFigures *f, int width) {
    double reach = 100 * fmax(FLAT_PIXELS / width, FLAT_SHARE); /* % of the width, as `nearest` and `farthest` */
    return fabs(f->nearest) < reach && fabs(f->farthest) < reach;
}

AnchorReason anchor_judge(const AnchorFigures *f, int width, const AnchorLimits *limits) {
    if (limits->reject[ANCHOR_MONO] && is_flat(f, width)) return ANCHOR_MONO;
    if (limits->reject[ANCHOR_CONFIDENCE] && f->confidence < limits->confidence) return ANCHOR_CONFIDENCE;
    if (limits->reject[ANCHOR_CONSISTENCY] && f->consistent < limits->consistent) return ANCHOR_CONSISTENCY;
    return ANCHOR_KEPT;
}

/* ---- files ---- */

static int add_half(NpzOut *npz, const char *name, const Map *map) {
    int64_t n = (int64_t)map->width * map->height;
    uint16_t *values = mem_array((size_t)n, sizeof *values);
    if (!values) return err_code();
    for (int64_t i = 0; i < n; i++) values[i] = f32_to_f16(map->values[i]);
    NpyArray array = {.type = NPY_F16,
                      .rank = 2,
                      .size = {map->height, map->width},
                      .count = n,
                      .bytes = (size_t)n * sizeof *values,
                      .data = (uint8_t *)values};
    int rc = npz_out_add(npz, name, &array);
    mem_free(values);
    return rc;
}

int anchor_write(const char *path, const StereoMaps *maps, const char *source, const char *matching,
                 const FileMeta *meta) {
    Out *out;
    NpzOut *npz = NULL;
    int rc = out_open(path, OUT_OVERWRITE, &out);
    if (rc) return rc;
    rc = npz_out_begin(out, NPZ_STORED, &npz);
    if (!rc) {
        rc = npz_out_f32(npz, "disparity", maps->disparity.values, 2,
                         (int64_t[]){maps->disparity.height, maps->disparity.width});
        if (!rc) rc = add_half(npz, "confidence", &maps->confidence);
        if (!rc) rc = add_half(npz, "occlusion", &maps->occlusion);
        if (!rc)
            rc = npz_out_text(npz, "kind",
                              "disparity d = x_left - x_right in pixels of the left picture; d > 0 is in front of the "
                              "screen; occlusion 1: visible in both pictures");
        if (!rc) rc = npz_out_text(npz, "reference", "left");
        if (!rc && source) rc = npz_out_text(npz, "source", source);
        if (!rc && matching) rc = npz_out_text(npz, "matching", matching);
        if (!rc && meta && meta->version) rc = npz_out_text(npz, "version", meta->version);
        if (!rc && meta && meta->command) rc = npz_out_text(npz, "command", meta->command);
        int end = npz_out_end(&npz);
        if (!rc) rc = end;
    }
    if (!rc) return out_commit(&out);
    out_abort(&out);
    return rc;
}

static int read_plane(const Npz *npz, const char *name, MapKind kind, Map *map) {
    NpyArray array = {0};
    if (npz_read(npz, name, &array)) return err_code();
    int first = 0, rc = 0;
    while (array.rank - first > 2 && array.size[first] == 1) first++;
    int64_t height = array.rank - first == 2 ? array.size[first] : 0, width = height ? array.size[first + 1] : 0;
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX ||
        width * height > IMAGE_PIXELS_MAX)
        rc = fail(ERR_INPUT, "the array %s is no plane of 1 to %d rows and columns", name, IMAGE_SIDE_MAX);
    if (!rc) rc = map_make(map, (int)width, (int)height, kind);
    if (!rc) rc = npy_to_f32(&array, map->values);
    npy_free(&array);
    return rc;
}

int anchor_read(const char *path, int width, int height, bool cut, StereoMaps *maps) {
    Npz *npz = NULL;
    *maps = (StereoMaps){0};
    int rc = npz_open(path, &npz);
    if (rc) return rc;
    rc = read_plane(npz, "disparity", MAP_DISPARITY, &maps->disparity);
    if (!rc) rc = read_plane(npz, "confidence", MAP_CONFIDENCE, &maps->confidence);
    if (!rc) rc = read_plane(npz, "occlusion", MAP_OCCLUSION, &maps->occlusion);
    npz_close(npz);
    const Map *d = &maps->disparity, *others[2] = {&maps->confidence, &maps->occlusion};
    for (int i = 0; !rc && i < 2; i++)
        if (others[i]->width != d->width || others[i]->height != d->height)
            rc = fail(ERR_INPUT, "its arrays are not of one size");
    bool whole = d->width == width && d->height == height,
         cropped = cut && d->width == (width & ~31) && d->height == (height & ~31);
    if (!rc && !whole && !cropped)
        rc = fail(ERR_INPUT, "it is of %dx%d pixels and the eye of %dx%d", d->width, d->height, width, height);
    for (int64_t i = 0; !rc && i < (int64_t)d->width * d->height; i++)
        if (!isfinite(d->values[i]) || !isfinite(maps->confidence.values[i]) || !isfinite(maps->occlusion.values[i]))
            rc = fail(ERR_INPUT, "it holds values that are no numbers");
    if (!rc) return 0;
    stereo_maps_free(maps);
    return fail_prefix("%s", show_path(path));
}
