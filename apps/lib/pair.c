#include "apps/lib/pair.h"
#include "apps/lib/summary.h"
#include "base/mem.h"
#include "data/stereo_measure.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

PairOptions pair_defaults(void) {
    return (PairOptions){.scale = 1};
}

/* A picture as matchers want it: 8 bits, the given channels, scaled, mirrored. */
static int prepare(Image *to, const Image *from, int channels, const PairOptions *o, double rows_up) {
    int width = (int)lrint(from->width * o->scale), height = (int)lrint(from->height * o->scale);
    int rc = image_copy(to, from);
    if (!rc) rc = image_to_8bit(to);
    if (!rc && channels == 3) rc = image_to_rgb(to);
    if (!rc && rows_up != 0) rc = stereo_align(to, rows_up);
    if (!rc && (width != from->width || height != from->height)) {
        Image resized = {0};
        rc = image_resize(&resized, to, width < 1 ? 1 : width, height < 1 ? 1 : height);
        if (!rc) {
            image_free(to);
            *to = resized;
        }
    }
    if (!rc && o->reference_right) image_mirror(to);
    return rc;
}

/* Brings a map to width x height: linear between samples at pixel centres, times `factor`; `nearest` takes the nearest
 * sample instead. */
static int resize_map(Map *map, int width, int height, double factor, bool nearest) {
    Map full = {0};
    int rc = map_make(&full, width, height, map->kind);
    if (rc) return rc;
    full.reference_right = map->reference_right;
    double sx = (double)map->width / width, sy = (double)map->height / height;
    for (int y = 0; y < height; y++) {
        double v = (y + 0.5) * sy - 0.5;
        v = fmin(fmax(v, 0), map->height - 1);
        int y0 = nearest ? (int)lrint(v) : (int)v, y1 = y0 + 1 < map->height && !nearest ? y0 + 1 : y0;
        double fy = nearest ? 0 : v - y0;
        const float *a = map->values + (size_t)y0 * (size_t)map->width,
                    *b = map->values + (size_t)y1 * (size_t)map->width;
        for (int x = 0; x < width; x++) {
            double u = (x + 0.5) * sx - 0.5;
            u = fmin(fmax(u, 0), map->width - 1);
            int x0 = nearest ? (int)lrint(u) : (int)u, x1 = x0 + 1 < map->width && !nearest ? x0 + 1 : x0;
            double fx = nearest ? 0 : u - x0;
            double top = a[x0] + fx * ((double)a[x1] - a[x0]), bottom = b[x0] + fx * ((double)b[x1] - b[x0]);
            full.values[(size_t)y * (size_t)width + (size_t)x] = (float)(factor * (top + fy * (bottom - top)));
        }
    }
    map_free(map);
    *map = full;
    return 0;
}

/* Promise P7: a value that is not finite never reaches a file in silence. */
static int check_finite(const StereoMaps *maps) {
    const Map *all[] = {&maps->disparity, &maps->confidence, &maps->occlusion};
    for (size_t m = 0; m < sizeof all / sizeof *all; m++) {
        int64_t n = (int64_t)all[m]->width * all[m]->height, bad = 0;
        for (int64_t i = 0; i < n; i++) bad += !isfinite(all[m]->values[i]);
        if (bad)
            return fail(ERR_FAILED,
                        "the matcher gave %lld values that are not numbers in its %s; are the weights damaged?",
                        (long long)bad, map_kind_name(all[m]->kind));
    }
    return 0;
}

/* The two pictures as the matcher is to see them. */
static int prepare_pair(const PairOptions *o, const Image *left, const Image *right, Image pair[2],
                        PairUnderWay *under_way) {
    int channels = left->channels > right->channels ? left->channels : right->channels;
    /* Seen in a mirror, the right eye's picture is the left one of a pair with the same disparities:
     * x' = w-1-x, d' = x'_right - x'_left = (w-1-x_R) - (w-1-x_L) = x_L - x_R = d. */
    int l = o->reference_right, r = !l;
    pair[0] = pair[1] = (Image){0};
    /* the picture that the maps belong to stays where it is */
    int rc = prepare(&pair[l], left, channels, o, o->reference_right ? -o->vertical : 0);
    if (!rc) rc = prepare(&pair[r], right, channels, o, o->reference_right ? 0 : o->vertical);
    *under_way = (PairUnderWay){left->width, left->height, pair[0].width, pair[0].height};
    return rc;
}

/* The matcher's maps as maps of the pictures. */
static int bring_back(const PairOptions *o, const PairUnderWay *p, StereoMaps *maps) {
    double scale_x = p->matched_width ? (double)p->width / p->matched_width : 1;
    bool scaled = p->matched_width != p->width || p->matched_height != p->height;
    int rc = check_finite(maps);
    Map *all[] = {&maps->disparity, &maps->confidence, &maps->occlusion};
    for (int m = 0; !rc && m < 3; m++) {
        if (scaled) rc = resize_map(all[m], p->width, p->height, m == 0 ? scale_x : 1, m == 2);
        if (o->reference_right) {
            map_mirror(all[m]);
            all[m]->reference_right = true;
        }
    }
    return rc;
}

int pair_match(Matcher *matcher, const PairOptions *o, const Image *left, const Image *right, StereoMaps *maps) {
    memset(maps, 0, sizeof *maps);
    Image pair[2];
    PairUnderWay under_way;
    int rc = prepare_pair(o, left, right, pair, &under_way);
    if (!rc) rc = matcher_match(matcher, &pair[0], &pair[1], maps);
    image_free(&pair[0]);
    image_free(&pair[1]);
    if (!rc) rc = bring_back(o, &under_way, maps);
    if (rc) stereo_maps_free(maps);
    return rc;
}

int pair_start(Matcher *matcher, const PairOptions *o, const Image *left, const Image *right, PairUnderWay *under_way) {
    Image pair[2];
    int rc = prepare_pair(o, left, right, pair, under_way);
    if (!rc) rc = matcher_start(matcher, &pair[0], &pair[1]);
    image_free(&pair[0]);
    image_free(&pair[1]);
    return rc;
}

int pair_finish(Matcher *matcher, const PairOptions *o, const PairUnderWay *under_way, StereoMaps *maps) {
    int rc = matcher_finish(matcher, maps);
    if (!rc) rc = bring_back(o, under_way, maps);
    if (rc) stereo_maps_free(maps);
    return rc;
}

int pair_summarise(const StereoMaps *maps, PairSummary *summary) {
    memset(summary, 0, sizeof *summary);
    Map trusted = {0};
    int rc = map_copy(&trusted, &maps->disparity);
    if (rc) return rc;
    int64_t n = (int64_t)trusted.width * trusted.height, certain = 0, hidden = 0;
    double confidence = 0;
    for (int64_t i = 0; i < n; i++) {
        hidden += maps->occlusion.values[i] < 0.5f;
        confidence += (double)maps->confidence.values[i];
        if (maps->confidence.values[i] >= 0.5f)
            certain++;
        else
            trusted.values[i] = NAN;
    }
    static const double fractions[2] = {0.01, 0.99};
    double ends[2], percent = 100.0 / trusted.width;
    map_percentiles(certain ? &trusted : &maps->disparity, fractions, 2, ends);
    map_free(&trusted);
    MapSummary all;
    map_summarise(&all, &maps->disparity);
    *summary = (PairSummary){.nearest = -ends[1] * percent,
                             .farthest = -ends[0] * percent,
                             .front = all.front,
                             .behind = all.behind,
                             .screen = all.screen,
                             .confidence = confidence / (double)n,
                             .trusted = (double)certain / (double)n,
                             .hidden = (double)hidden / (double)n};
    return 0;
}

void pair_summary_line(const PairSummary *s, char *out, size_t size) {
    if (s->trusted == 0)
        snprintf(out, size, "nothing in these pictures could be matched with confidence (mean %.2f)", s->confidence);
    else
        snprintf(
            out, size,
            "parallax %+.2f to %+.2f %% of the width; %.0f %% in front of the screen, %.0f %% behind; confidence %.2f",
            s->nearest, s->farthest, 100 * s->front, 100 * s->behind, s->confidence);
}
