#include "apps/lib/metrics.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const double metric_bads[METRIC_BADS] = {0.5, 1, 2, 3};
const char *const metric_region_names[METRIC_REGIONS] = {"behind", "screen", "front", "all"};
const char *const metric_kind_names[METRIC_KINDS] = {"visible", "hidden", "all"};

static void count(MetricShare *s, double predicted, double truth) {
    bool missing = !isfinite(predicted);
    double error = missing ? INFINITY : fabs(predicted - truth);
    s->pixels++;
    s->missing += missing;
    if (!missing) s->error += error;
    for (int b = 0; b < METRIC_BADS; b++) s->bad[b] += error > metric_bads[b];
    s->d1 += error > 3 && error > 0.05 * fabs(truth);
    if (fabs(truth) > 2) {
        s->signed_pixels++;
        s->sign_right += !missing && predicted * truth > 0;
    }
}

static void add(MetricShare *to, const MetricShare *s) {
    to->pixels += s->pixels, to->missing += s->missing, to->error += s->error, to->d1 += s->d1;
    for (int b = 0; b < METRIC_BADS; b++) to->bad[b] += s->bad[b];
    to->signed_pixels += s->signed_pixels, to->sign_right += s->sign_right;
}

int metrics_measure(Metrics *metrics, const Map *prediction, const Map *truth, const Image *mask) {
    memset(metrics, 0, sizeof *metrics);
    if (prediction->width != truth->width || prediction->height != truth->height)
        return fail(ERR_INPUT, "the prediction is %dx%d and the truth %dx%d pixels; they must have one size",
                    prediction->width, prediction->height, truth->width, truth->height);
    if (mask && (mask->width != truth->width || mask->height != truth->height))
        return fail(ERR_INPUT, "the mask is %dx%d and the truth %dx%d pixels; they must have one size", mask->width,
                    mask->height, truth->width, truth->height);
    if (mask && (mask->channels != 1 || mask->bits != 8)) return fail(ERR_INPUT, "the mask must be 8-bit grey");
    BUG_IF(prediction->kind != MAP_DISPARITY || truth->kind != MAP_DISPARITY, "metrics are for disparity");
    metrics->has_mask = mask != NULL;
    /* x_right = x_left - d, and seen from the right picture x_left = x_right + d. */
    float toward = truth->reference_right ? 1.0f : -1.0f;
    for (int y = 0; y < truth->height; y++)
        for (int x = 0; x < truth->width; x++) {
            int64_t i = (int64_t)y * truth->width + x;
            float t = truth->values[i];
            if (!isfinite(t) || (mask && mask->bytes[i] == 0)) continue;
            float match = (float)x + toward * t;
            bool inside = match >= 0 && match <= (float)(truth->width - 1);
            bool visible = inside && (!mask || mask->bytes[i] == 255);
            int region = t < -1 ? METRIC_BEHIND : t > 1 ? METRIC_FRONT : METRIC_SCREEN;
            count(&metrics->share[visible ? METRIC_VISIBLE : METRIC_HIDDEN][region], prediction->values[i], t);
        }
    for (int k = 0; k < METRIC_EVERY; k++)
        for (int r = 0; r < METRIC_ANYWHERE; r++) {
            const MetricShare *s = &metrics->share[k][r];
            add(&metrics->share[k][METRIC_ANYWHERE], s);
            add(&metrics->share[METRIC_EVERY][r], s);
            add(&metrics->share[METRIC_EVERY][METRIC_ANYWHERE], s);
        }
    return 0;
}

int metrics_shift(Map *truth, Image *mask, int shift) {
    int columns = shift < 0 ? -shift : shift;
    if (columns >= truth->width)
        return fail(ERR_USAGE, "--shift %d leaves nothing of a picture %d pixels wide", shift, truth->width);
    if (mask &&
        (mask->width != truth->width || mask->height != truth->height || mask->channels != 1 || mask->bits != 8))
        return fail(ERR_INPUT, "the mask must be 8-bit grey and have the size of the truth, %dx%d", truth->width,
                    truth->height);
    /* The left picture loses its left columns for a positive shift, the right picture its right ones; and the other
     * way. */
    bool cut_left = (shift > 0) != truth->reference_right;
    int width = truth->width - columns, from = cut_left ? columns : 0;
    for (int y = 0; y < truth->height; y++) {
        float *to = truth->values + (int64_t)y * width;
        const float *row = truth->values + (int64_t)y * truth->width + from;
        for (int x = 0; x < width; x++) to[x] = row[x] - (float)shift; /* in place: `to` never passes `row` */
        if (mask)
            memmove(mask->bytes + (int64_t)y * width, mask->bytes + (int64_t)y * truth->width + from, (size_t)width);
    }
    truth->width = width;
    if (mask) mask->width = width;
    return 0;
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

int metrics_plane(const Map *truth, double percent, int *shift) {
    BUG_IF(!(percent >= 0 && percent <= 100), "a percentile of %g", percent);
    *shift = 0;
    int64_t pixels = (int64_t)truth->width * truth->height, count = 0;
    float *known = mem_array((size_t)pixels, sizeof *known);
    if (!known) return ERR_MEMORY;
    for (int64_t i = 0; i < pixels; i++)
        if (isfinite(truth->values[i])) known[count++] = truth->values[i];
    if (count) {
        qsort(known, (size_t)count, sizeof *known, ascending);
        double place = percent / 100 * (double)(count - 1);
        int64_t below = (int64_t)place, above = below + 1 < count ? below + 1 : below;
        double low = (double)known[below], high = (double)known[above];
        *shift = (int)lrint(low + (high - low) * (place - (double)below));
    }
    mem_free(known);
    return 0;
}

double metric_epe(const MetricShare *s) {
    int64_t predicted = s->pixels - s->missing;
    return predicted ? s->error / (double)predicted : NAN;
}

double metric_percent(int64_t part, int64_t whole) {
    return whole ? 100.0 * (double)part / (double)whole : NAN;
}
