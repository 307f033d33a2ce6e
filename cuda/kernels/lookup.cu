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

/* Where tap 0 of column i reads, in entries of the row, before half_pixel and anywhere; d is near. */
DEVICE int middle_of(const LookupArgs *a, int i, float d, float *part) {
    int whole = position_of(i, d, part), rest = whole % a->step;
    if (rest < 0) rest += a->step;
    *part = ((float)rest + *part) / (float)a->step;
    return (whole - rest) / a->step;
}

/* Where tap e (-4..4) beside that middle reads. */
DEVICE Tap tap_of(const LookupArgs *a, int middle, float part, int e) {
    Tap tap = {middle + e, part}, outside = {-2, 0};
    if (a->half_pixel) { /* x m/(m-1) - 1/2 = x + x/(m-1) - 1/2 */
        float more = ((float)tap.left + part) / (float)(a->m - 1) + part - 0.5f;
        int over = floor_int(more);
        tap.left += over;
        tap.part = more - (float)over;
    }
    return tap.left < -1 || tap.left >= a->m ? outside : tap;
}

DEVICE float disparity_of(const LookupArgs *a, int row, int i) {
    return a->disparity[block_z() * a->d_pair + row * a->d_row + i * a->d_column];
}

KERNEL(lookup, 256, LookupArgs, a) {
    int at = block_x() * 256 + thread_x(), i = at / LOOKUP_TAPS_A_PIXEL, e = at - i * LOOKUP_TAPS_A_PIXEL;
    if (i >= a.w) return; /* nobody is waited for */
    const float *line = a.cv + block_z() * a.cv_pair + block_y() / a.coarse * a.cv_row + i / a.coarse * a.cv_column;
    float d = disparity_of(&a, block_y(), i), part, v = 0;
    Tap tap = {-2, 0};
    if (position_is_near(d)) {
        int middle = middle_of(&a, i, d, &part);
        tap = tap_of(&a, middle, part, e - LOOKUP_REACH);
    }
    if (tap.left >= 0) v = (1 - tap.part) * line[tap.left];
    if (tap.left >= -1 && tap.left + 1 < a.m) v += tap.part * line[tap.left + 1];
    a.y[((i64)block_z() * a.h + block_y()) * a.w * LOOKUP_TAPS_A_PIXEL + at] = v;
}

/* -1/step (m/(m-1) if half_pixel) sum_e dy_e (right - left): a thread a pixel. */
KERNEL(lookup_backward_disparity, 256, LookupArgs, a) {
    int i = block_x() * 256 + thread_x();
    if (i >= a.w) return; /* nobody is waited for */
    const float *line = a.cv + block_z() * a.cv_pair + block_y() / a.coarse * a.cv_row + i / a.coarse * a.cv_column;
    const float *dy = a.dy + block_z() * a.dy_pair + block_y() * a.dy_row + i * a.dy_column;
    float d = disparity_of(&a, block_y(), i), part, sum = 0;
    if (position_is_near(d)) {
        int middle = middle_of(&a, i, d, &part);
        for (int e = 0; e < LOOKUP_TAPS_A_PIXEL; e++) {
            Tap tap = tap_of(&a, middle, part, e - LOOKUP_REACH);
            if (tap.left < -1) continue;
            float before = tap.left >= 0 ? line[tap.left] : 0, after = tap.left + 1 < a.m ? line[tap.left + 1] : 0;
            sum += dy[e * a.dy_tap] * (after - before);
        }
    }
    float slope = -1 / (float)a.step * (a.half_pixel ? (float)a.m / (float)(a.m - 1) : 1);
    a.y[((i64)block_z() * a.h + block_y()) * a.w + i] = slope * sum;
}

/* A scatter, gathered: each entry of the volume has a thread that asks the pixels of its row (coarse x coarse of them)
 * which taps read it. Most entries of a row are read by none. block_y is a row of the volume. */
KERNEL(lookup_backward_volume, 256, LookupArgs, a) {
    int at = block_x() * 256 + thread_x(), column = at / a.m, k = at - column * a.m;
    int pixels = a.coarse * a.coarse;
    if (column >= a.w / a.coarse) return; /* nobody is waited for */
    float sum = 0;
    for (int pixel = 0; pixel < pixels; pixel++) {
        int row = block_y() * a.coarse + (pixel >= a.coarse), i = column * a.coarse + (pixel & (a.coarse - 1));
        const float *dy = a.dy + block_z() * a.dy_pair + row * a.dy_row + i * a.dy_column;
        float d = disparity_of(&a, row, i), part;
        if (!position_is_near(d)) continue;
        int middle = middle_of(&a, i, d, &part), first = k - middle - 1;
        /* tap e reads at (middle + part + e) m/(m-1) - 1/2, so e is near (k + 1/2)(m-1)/m - middle - part */
        if (a.half_pixel) first = floor_int((float)(k - middle) - part + 0.5f - ((float)k + 0.5f) / (float)a.m) - 1;
        for (int e = first < -LOOKUP_REACH ? -LOOKUP_REACH : first; e <= LOOKUP_REACH && e <= first + 3; e++) {
            Tap tap = tap_of(&a, middle, part, e);
            if (k == tap.left) sum += (1 - tap.part) * dy[(e + LOOKUP_REACH) * a.dy_tap];
            if (k == tap.left + 1) sum += tap.part * dy[(e + LOOKUP_REACH) * a.dy_tap];
        }
    }
    a.y[((i64)block_z() * (a.h / a.coarse) + block_y()) * (a.w / a.coarse) * a.m + at] = sum;
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

/* Half of what each pair became; 0 for an odd last entry. */
KERNEL(pool_pairs_backward, 256, PairsArgs, a) {
    int at = block_x() * 256 + thread_x(), i = at / a.m, k = at - i * a.m;
    if (i >= a.w) return; /* nobody is waited for */
    const float *from = a.from + block_z() * a.pair + block_y() * a.row + i * a.column;
    a.to[((i64)block_z() * a.h + block_y()) * a.w * a.m + at] = k / 2 < a.m / 2 ? from[k / 2 * a.step] * 0.5f : 0;
}

/* The sum of the four that each even entry of an even row and column became; 0 elsewhere. */
KERNEL(even_pairs_backward, 256, PairsArgs, a) {
    int at = block_x() * 256 + thread_x(), i = at / a.m, k = at - i * a.m, row = block_y();
    if (i >= a.w) return; /* nobody is waited for */
    const float *from = a.from + block_z() * a.pair + k / 2 * a.step;
    float sum = 0;
    if (row % 2 == 0 && i % 2 == 0 && k % 2 == 0 && k / 2 < a.m / 2)
        for (int y = row; y < row + 2 && y < a.h; y++)
            for (int x = i; x < i + 2 && x < a.w; x++) sum += from[y * a.row + x * a.column];
    a.to[((i64)block_z() * a.h + row) * a.w * a.m + at] = sum;
}

KERNEL(column_index, 256, ColumnArgs, a) {
    int i = block_x() * 256 + thread_x();
    if (i < a.w) a.to[((i64)block_z() * a.h + block_y()) * a.w + i] = (float)i;
}
