/* apps/lib/metrics.h - how right a signed disparity map is.
 *
 * Sign: disparity d = x_left - x_right, pixels, positive in front of the screen. Every figure exists for every share of
 * the picture a reader may ask about: three regions by the *truth* (behind d < -1, screen |d| <= 1, front d > 1) and
 * two kinds of pixels (visible to both eyes, hidden from one), and for all of them together.
 *
 * A pixel is judged when the truth has a finite value and the mask is not 0. Where the prediction has none (NaN or
 * infinite) the pixel counts as wrong in bad-x, in D1 and in the sign, and is left out of the mean error (EPE), whose
 * share of predicted pixels is reported beside it: a matcher cannot become better by saying less without it being seen.
 */
#ifndef PANUM_APPS_METRICS_H
#define PANUM_APPS_METRICS_H
#include "data/image.h"

enum { METRIC_BEHIND, METRIC_SCREEN, METRIC_FRONT, METRIC_ANYWHERE, METRIC_REGIONS };
enum { METRIC_VISIBLE, METRIC_HIDDEN, METRIC_EVERY, METRIC_KINDS };
enum { METRIC_BADS = 4 }; /* thresholds 0.5, 1, 2 and 3 px */
extern const double metric_bads[METRIC_BADS];
extern const char *const metric_region_names[METRIC_REGIONS], *const metric_kind_names[METRIC_KINDS];

/* Counts and sums of one share of the picture; percentages are made from them at the end, so shares can be added. */
typedef struct {
    int64_t pixels;           /* judged */
    int64_t missing;          /* of these, without a prediction */
    double error;             /* sum of |prediction - truth| over pixels with a prediction, px */
    int64_t bad[METRIC_BADS]; /* error above the threshold, or missing */
    int64_t d1;               /* error > 3 px and > 5 % of |truth|, or missing */
    int64_t signed_pixels;    /* |truth| > 2 px */
    int64_t sign_right;       /* of these, predicted with the truth's sign (0 has none) */
} MetricShare;

typedef struct {
    MetricShare share[METRIC_KINDS][METRIC_REGIONS];
    bool has_mask; /* visible and hidden were told apart by a mask, not only by where the match falls */
} Metrics;

/* What is judged and how. `mask` may be NULL: then a pixel whose match x - d falls outside the other picture is hidden
 * and every other one visible. With a mask, 255 is visible (but hidden where the match falls outside), 0 not judged,
 * anything else hidden. All three have one size; prediction and truth are both MAP_DISPARITY for the same eye. */
int metrics_measure(Metrics *metrics, const Map *prediction, const Map *truth, const Image *mask);

/* The signed rule, exact and without resampling: cutting the `shift` leftmost columns off the left picture and the
 * `shift` rightmost off the right one moves the screen plane, d'(y, x) = d(y, x + shift) - shift. Negative shifts cut
 * the other sides: d'(y, x) = d(y, x) - shift over the first width + shift columns. The mask (8 bits, 1 channel; may be
 * NULL) is cut alike. */
int metrics_shift(Map *truth, Image *mask, int shift);
/* The shift that puts the screen at a percentile of the truth: the value below which `percent` of the truth lies,
 * between two of them in proportion, rounded to whole pixels (halves to even). 0 where there is no truth. */
int metrics_plane(const Map *truth, double percent, int *shift);

double metric_epe(const MetricShare *share);        /* px; NaN when nothing was predicted */
double metric_percent(int64_t part, int64_t whole); /* NaN when whole is 0 */
#endif
