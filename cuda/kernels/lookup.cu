/* cuda/kernels/lookup.cu - nine values of a correlation row round a position, the halving of rows, and column numbers:
 * always f32. What is computed stands in tensor/ops/lookup.c and move.c.
 *
 * A block works in one row of the picture (block_y) of one pair (block_z). Lookup has a thread for each value: nine
 * neighbours in a warp read ten neighbours in the volume and write nine. Moves at most 40 bytes in and 40 out a pixel;
 * computes next to nothing. */
#include "cuda/device/position.h"
#include "cuda/kernels/lookup.h"

/* Between entries `left` and left + 1, `part` on the way; left = -2: outside, or not a number. */
typedef struct {
    int left;
    float part;
} Tap;

/* Where tap e (-4..4) of column i reads. */
DEVICE Tap tap_of(const LookupArgs *a, int i, float d, int e) {
    Tap tap = {-2, 0};
    if (!position_is_near(d)) return tap;
    float part;
    int whole = position_of(i, d, &part), rest = whole % a->step;
    if (rest < 0) rest += a->step;
    whole = (whole - rest) / a->step + e;
    part = ((float)rest + part) / (float)a->step;
    if (a->half_pixel) { /* x m/(m-1) - 1/2 = x + x/(m-1) - 1/2 */
        float more = ((float)whole + part) / (float)(a->m - 1) + part - 0.5f;
        int over = floor_int(more);
        whole += over;
        part = more - (float)over;
    }
    if (whole < -1 || whole >= a->m) return tap;
    tap.left = whole;
    tap.part = part;
    return tap;
}

KERNEL(lookup, 256, LookupArgs, a) {
    int at = block_x() * 256 + thread_x(), i = at / LOOKUP_TAPS_A_PIXEL, e = at - i * LOOKUP_TAPS_A_PIXEL;
    if (i >= a.w) return; /* nobody is waited for */
    const float *line = a.cv + block_z() * a.cv_pair + block_y() / a.coarse * a.cv_row + i / a.coarse * a.cv_column;
    Tap tap = tap_of(&a, i, a.disparity[block_z() * a.d_pair + block_y() * a.d_row + i * a.d_column], e - LOOKUP_REACH);
    float v = 0;
    if (tap.left >= 0) v = (1 - tap.part) * line[tap.left];
    if (tap.left >= -1 && tap.left + 1 < a.m) v += tap.part * line[tap.left + 1];
    a.y[((i64)block_z() * a.h + block_y()) * a.w * LOOKUP_TAPS_A_PIXEL + at] = v;
}

/* out[k] = (in[2k] + in[2k+1]) / 2 */
KERNEL(pool_pairs, 256, PairsArgs, a) {
    int at = block_x() * 256 + thread_x(), i = at / a.m, k = at - i * a.m;
    if (i >= a.w) return; /* nobody is waited for */
    const float *from = a.from + block_z() * a.pair + block_y() * a.row + i * a.column + 2 * k;
    a.to[((i64)block_z() * a.h + block_y()) * a.w * a.m + at] = (from[0] + from[1]) * 0.5f;
}

/* out[y,i,k] = in[2 floor(y/2), 2 floor(i/2), 2k] */
KERNEL(even_pairs, 256, PairsArgs, a) {
    int at = block_x() * 256 + thread_x(), i = at / a.m, k = at - i * a.m;
    if (i >= a.w) return; /* nobody is waited for */
    a.to[((i64)block_z() * a.h + block_y()) * a.w * a.m + at] =
        a.from[block_z() * a.pair + (block_y() & ~1) * a.row + (i & ~1) * a.column + 2 * k];
}

KERNEL(column_index, 256, ColumnArgs, a) {
    int i = block_x() * 256 + thread_x();
    if (i < a.w) a.to[((i64)block_z() * a.h + block_y()) * a.w + i] = (float)i;
}
