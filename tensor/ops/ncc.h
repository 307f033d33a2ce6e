/* tensor/ops/ncc.h - block matching by normalised cross-correlation: a teacher of signed disparity that needs no
 * weights, for losses/sign_magnitude.c. A target, never differentiated.
 *
 * Both pictures are halved (means of 2 x 2, an odd last row or column dropped) and turned grey; every pixel of the left
 * one is compared with the pixels of its row in the right one through square windows, by the correlation c in -1..1 of
 * what the windows show. What comes out lies on the full-size picture: full pixel (X, Y) takes the value of the half-
 * size pixel over it.
 *
 * ncc_match, ours: disparity d = x_left - x_right in pixels of the full picture, positive in front of the screen, with
 *   a weight that is 0 wherever nothing should be taught. Zero disparity is a candidate like any other; a window that
 *   hangs over a border (of either picture) counts the pixels there are; the position is refined by a parabola through
 *   three correlations. Nothing is taught where
 *     - grey hardly changes along the row near the pixel (texture: flat, or stripes along the row);
 *     - c is low;
 *     - the best candidate is the first or the last of the range: the truth may lie beyond;
 *     - another peak of c, elsewhere in the range, comes close to the best (uniqueness: repetitive);
 *     - the right pixel found prefers a left pixel farther than one half-size pixel away (left-right check: hidden);
 *     - too few of its neighbours within the window found the same, within a half-size pixel (agreement: a window that
 *       hangs over a contour finds the nearer surface also beside it, a window's radius far).
 *   Elsewhere the weight is c.
 *
 * ncc_match_reference, as s2m2cinematic does it: 11 x 11 windows with zeros beyond the borders counted, candidates -48,
 *   -46 .. 48 without 0, no test but c > 0.3, and the *opposite sign*: the target is x_right - x_left. A caller who
 *   wants the reference's matcher with our sign negates it. For comparisons and `--reference` only.
 *
 * Promises. The same bits for any number of threads. Sums are exact integers (8-bit pictures), so there is no drift and
 * no difference between running and fresh sums; only the last roundings differ between instruction levels. Pictures
 * of any size from 1 x 1; those under 2 x 2 have no half and come out with weight 0. Leaves out: vertical offsets. */
#ifndef PANUM_TENSOR_OPS_NCC_H
#define PANUM_TENSOR_OPS_NCC_H
#include "base/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NCC_SIDE_MAX = 16384, /* most pixels along a side */
    NCC_RADIUS_MAX = 7,   /* of the window: 15 x 15 half-size pixels */
    NCC_CANDIDATES_MAX = 4097,
};

/* All zero is a fine default. */
typedef struct {
    double range_percent; /* searches -range .. +range, in percent of the picture's width, 0: 4 */
    int radius;           /* half-size pixels on each side of the window's centre, 0: 3, a window of 7 x 7 */
    double texture;     /* least slope of grey along the row near the pixel: rms over 3 x 3 half-size pixels, in levels
                           of 0..255 a pixel, 0: 1 */
    double uniqueness;  /* (1 - c) of the best may be at most this share of (1 - c) of the next peak, 0: 0.7 */
    double correlation; /* least c, 0: 0.6 */
    double agreement;   /* least share of the window's pixels with the same disparity, 0: 0.85 */
} NccOptions;

typedef struct {
    int lo, hi;     /* candidates searched, in half-size pixels */
    int64_t pixels; /* of the half-size picture */
    int64_t taught; /* of them with a weight above 0 */
    /* how many of the others failed, each counted under the first test it fails, in this order */
    int64_t flat, weak, limit, ambiguous, unconfirmed, lonely;
    size_t memory; /* bytes taken beyond the arguments */
    double seconds;
} NccReport;

/* left, right: height x width x channels bytes (1 grey or 3 RGB, interleaved, rows without padding). disparity, weight:
 * height x width floats; disparity is 0 where weight is. report may be NULL, pool NULL runs in this thread. Errors:
 * ERR_USAGE for options out of range, ERR_INPUT for an impossible size, ERR_MEMORY. */
int ncc_match(Pool *pool, const uint8_t *left, const uint8_t *right, int width, int height, int channels,
              const NccOptions *options, float *disparity, float *weight, NccReport *report);
/* `target` is x_right - x_left in pixels (even numbers -48..48), `weight` c where c > 0.3, else 0. */
int ncc_match_reference(Pool *pool, const uint8_t *left, const uint8_t *right, int width, int height, int channels,
                        float *target, float *weight);
#endif
