/* tensor/ops/sgm.h - semi-global matching: dense signed disparity of a rectified pair, without any weights.
 *
 * disparity d = x_left - x_right in pixels of these pictures, left picture as reference: d > 0 is in front of the
 * screen, d < 0 behind. Every pixel gets a finite value, whatever the pictures hold.
 *
 * Method: census + colour difference as matching cost; the energy of Hirschmueller (PAMI 2008) minimised along 8 paths
 * with a second penalty that falls with the picture's own edges; sub-pixel by interpolation; a left-right check; gaps
 * filled from the farther side where they are hidden, across otherwise. Costs and path sums are small integers.
 *
 * Promises. Results are the same, bit for bit, for any number of threads and on every instruction level (the plain C
 * kernels are the definition, the vector ones equal them). Memory is known before: sgm_memory(). Pictures of any size
 * from 1x1 work; constant or black ones give disparity 0 (or the nearest in range) at confidence 0.
 *
 * Leaves out: rectification. The pair is matched along its rows; a vertical offset must be removed before. */
#ifndef PANUM_TENSOR_OPS_SGM_H
#define PANUM_TENSOR_OPS_SGM_H
#include "base/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SGM_RANGE_MAX = 1024, /* most disparities in one search, hi - lo + 1 */
    SGM_SIDE_MAX = 16384, /* most pixels along a side */
};

typedef struct {
    int lo, hi;     /* search range, inclusive, signed pixels; read only when automatic is false */
    bool automatic; /* find the range from the pictures */
    size_t memory; /* bytes the search may take, 0 = 1 GiB; a larger picture is matched in overlapping strips of rows */
} SgmOptions;

/* The range is found automatically, memory 512 MiB. */
SgmOptions sgm_defaults(void);

typedef struct {
    int lo, hi;           /* range searched, given or found */
    double seconds;       /* all of sgm_match */
    double range_seconds; /* of these, finding the range; 0 when it was given */
    size_t memory;        /* bytes planned, as sgm_memory() */
} SgmReport;

/* Bytes sgm_match takes beyond its arguments for this range, volume limit (0 = the default) and number of threads. An
 * automatic search of the range is over before and takes less, but for pictures under 200 pixels width. */
size_t sgm_memory(int width, int height, int lo, int hi, size_t limit, int threads);

/* left, right: height x width x channels bytes (channels 1 grey or 3 RGB, interleaved, rows without padding).
 * disparity, confidence, occlusion: height x width floats each; confidence and occlusion may be NULL, and so may
 * report.
 *
 * confidence is 0 where the disparity was filled in or the picture is flat, else grows towards 1 with the distance of
 * the best match from the second best. Over 17 pairs with ground truth (tools/ref/sgbm_yardstick.py) the share of
 * pixels visible in both eyes that lay within 2 px was close to 0.65 + 0.34 * confidence.
 *
 * occlusion is 1 where the point is visible in both eyes, 0 where it is hidden from (or outside) the right one.
 *
 * pool NULL runs in this thread. Errors: ERR_USAGE for an impossible range, ERR_INPUT for an impossible size,
 * ERR_MEMORY. */
int sgm_match(Pool *pool, const uint8_t *left, const uint8_t *right, int width, int height, int channels,
              const SgmOptions *options, float *disparity, float *confidence, float *occlusion, SgmReport *report);
#endif
