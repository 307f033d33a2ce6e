/* tensor/ops/sgm.h - semi-global matching: dense signed disparity of a rectified pair, without any weights.
 *
 * disparity d = x_left - x_right in pixels of these pictures, left picture as reference: d > 0 is in front of the
 * screen, d < 0 behind. Every pixel gets a finite value, whatever the pictures hold.
 *
 * Method: the right picture is brought to the left one's tones; the cost of a match is the Hamming distance of sparse
 * 9 x 7 censuses plus half the grey difference; the energy of Hirschmueller (PAMI 2008) is minimised along 8 paths with
 * a second penalty that falls with the grey difference along the path; sub-pixel by a symmetric V; a left-right check;
 * what fails it is filled along the row from its farther neighbour, since what is hidden lies behind; a 3 x 3 median.
 * Only grey is looked at: colour edges in that second penalty took away one wrong pixel in a hundred, for more time.
 *
 * Promises. Results are the same, bit for bit, for any number of threads and on every instruction level (the plain C
 * kernels are the definition, the vector ones equal them; all before the confidence is integers). Memory is known
 * before: sgm_memory(). Pictures of any size from 1 x 1 work. Constant or black ones have confidence 0, and disparity 0
 * where the range is found automatically.
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
    int lo, hi;     /* search range, inclusive, signed pixels; read only unless automatic, or with at_least */
    bool automatic; /* find the range from the pictures */
    bool at_least;  /* automatic: search lo..hi as well, whatever is found; both are cut to SGM_RANGE_MAX */
    size_t memory;  /* bytes of the two volumes (3 per pixel and disparity), 0 = 512 MiB: what needs more is matched in
                     * strips of rows that overlap by 64 rows, which changes a few pixels */
} SgmOptions;

/* The range is found automatically, memory 512 MiB. */
SgmOptions sgm_defaults(void);

typedef struct {
    int lo, hi;           /* range searched, given or found */
    double seconds;       /* all of sgm_match */
    double range_seconds; /* of these, finding the range; 0 when it was given */
    size_t memory;        /* bytes planned, as sgm_memory() */
} SgmReport;

/* Bytes sgm_match takes at most beyond its arguments for this range, limit of the volumes (0 = the default) and number
 * of threads. Finding the range takes another search of a picture 65 to 128 pixels wide, over before this one begins.
 */
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
