#include "apps/lib/summary.h"

#include <math.h>
#include <string.h>

enum { BINS = 256 };

static int64_t span(const Map *map, double *low, double *high) {
    int64_t values = 0, n = (int64_t)map->width * map->height;
    *low = INFINITY, *high = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double v = map->values[i];
        if (!isfinite(v)) continue;
        values++;
        if (v < *low) *low = v;
        if (v > *high) *high = v;
    }
    return values;
}

/* Bin of v in 0..bins-1; monotone in v, which is all a percentile needs. */
static int bin_of(double v, double low, double width, int bins) {
    double b = (v - low) / width * bins;
    return b < 0 ? 0 : b >= bins ? bins - 1 : (int)b;
}

/* The value of rank `rank` (from 0), to 1/65,536 of low..high: a histogram of 256 bins, then one of the bin it falls
 * into. */
static double select_rank(const Map *map, double low, double high, int64_t rank) {
    int64_t n = (int64_t)map->width * map->height, counts[BINS] = {0}, inner[BINS] = {0};
    double width = high - low;
    if (width <= 0) return low;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(map->values[i])) counts[bin_of(map->values[i], low, width, BINS)]++;
    int b = 0, c = 0;
    while (b < BINS - 1 && rank >= counts[b]) rank -= counts[b++];
    double inner_low = low + width * b / BINS, inner_width = width / BINS;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(map->values[i]) && bin_of(map->values[i], low, width, BINS) == b)
            inner[bin_of(map->values[i], inner_low, inner_width, BINS)]++;
    while (c < BINS - 1 && rank >= inner[c]) rank -= inner[c++];
    return inner_low + inner_width * (c + 0.5) / BINS;
}

int64_t map_percentiles(const Map *map, const double *fractions, int count, double *out) {
    double low, high;
    int64_t values = span(map, &low, &high);
    for (int i = 0; i < count; i++)
        out[i] = values ? select_rank(map, low, high, (int64_t)((double)(values - 1) * fractions[i] + 0.5)) : 0;
    return values;
}

int64_t map_histogram(const Map *map, double low, double high, int bins, double *shares) {
    int64_t values = 0, n = (int64_t)map->width * map->height;
    memset(shares, 0, (size_t)bins * sizeof *shares);
    for (int64_t i = 0; i < n; i++) {
        double v = map->values[i];
        if (!isfinite(v)) continue;
        values++;
        shares[bin_of(v, low, high - low, bins)] += 1;
    }
    for (int b = 0; b < bins && values; b++) shares[b] /= (double)values;
    return values;
}

void map_summarise(MapSummary *s, const Map *map) {
    memset(s, 0, sizeof *s);
    static const double fractions[5] = {0.01, 0.05, 0.5, 0.95, 0.99};
    bool parallax = map->kind == MAP_PARALLAX;
    double found[5];
    s->pixels = (int64_t)map->width * map->height;
    s->values = map_percentiles(map, fractions, 5, found);
    for (int i = 0; i < 5; i++) s->disparity[i] = parallax ? -found[4 - i] : found[i];
    int64_t front = 0, behind = 0;
    for (int64_t i = 0; i < s->pixels; i++) {
        double d = parallax ? -(double)map->values[i] : (double)map->values[i];
        if (!isfinite(d)) continue;
        front += d > 1, behind += d < -1;
    }
    if (!s->values) return;
    s->front = (double)front / (double)s->values, s->behind = (double)behind / (double)s->values;
    s->screen = (double)(s->values - front - behind) / (double)s->values;
}
