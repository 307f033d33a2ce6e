/* apps/lib/summary.h - what a map says in a few numbers.  Values that are not finite are "no value" throughout. */
#ifndef PANUM_APPS_SUMMARY_H
#define PANUM_APPS_SUMMARY_H
#include "data/image.h"

/* The `count` fractions (0..1, ascending) of the map's values, each exact to 1/65,536 of the map's span. Returns how
 * many values there are; with none, `out` is zeros. */
int64_t map_percentiles(const Map *map, const double *fractions, int count, double *out);

/* Share of the map's values in each of `bins` equal bins over [low, high]; what lies beyond counts in the end bins. */
int64_t map_histogram(const Map *map, double low, double high, int bins, double *shares);

typedef struct {
    int64_t pixels, values;       /* of the map; with a value */
    double disparity[5];          /* 1st, 5th, 50th, 95th and 99th percentile, pixels, positive in front */
    double front, screen, behind; /* shares of values with d > 1, |d| <= 1, d < -1 */
} MapSummary;
void map_summarise(MapSummary *summary, const Map *map);
#endif
