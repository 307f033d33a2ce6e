/* cuda/kernels/box.cu - means over square windows and their gradient (tensor/ops/box.c).
 *
 *   y(Y,X) = 1/D sum x(i,j) over i = Y s - p .. Y s - p + k - 1 and likewise j, zero outside the map; D = k^2, or the
 *            places of the window that lie in the map
 *   dx(i,j) = sum of dy(Y,X) / D(Y,X) over the windows that (i,j) is in: a gather as well
 *
 * One value of the result a thread, channels fastest. Two rungs: box_plain goes through the window, k^2 values that
 * come from L1; box_rows and box_columns are two launches of k values each, for larger windows, through a map of sums
 * in memory, in f32 whatever is stored. */
#include "cuda/device/value.h"
#include "cuda/kernels/box.h"

typedef struct {
    int begin, end;
} Range;

/* The part of window p that lies in an axis of n. */
DEVICE Range window_of(const BoxArgs *a, int p, int n) {
    Range r;
    r.begin = p * a->stride - a->pad;
    r.end = r.begin + a->kernel < n ? r.begin + a->kernel : n;
    if (r.begin < 0) r.begin = 0;
    return r;
}

/* The windows, of `windows`, that place i of an axis is in. */
DEVICE Range windows_at(const BoxArgs *a, int i, int windows) {
    Range r;
    int first = i + a->pad - a->kernel + 1;
    r.begin = first <= 0 ? 0 : (first + a->stride - 1) / a->stride;
    r.end = (i + a->pad) / a->stride + 1;
    if (r.end > windows) r.end = windows;
    return r;
}

/* What is added up for place p of the result, on an axis of `in`; and what window p's sum is divided by, of a map of n.
 */
DEVICE Range terms_of(const BoxArgs *a, int p, int in) {
    return a->backward ? windows_at(a, p, in) : window_of(a, p, in);
}
DEVICE float size_of(const BoxArgs *a, int p, int n) {
    Range r = window_of(a, p, n);
    return (float)(a->exclude_pad ? r.end - r.begin : a->kernel);
}

KERNEL(box_plain, 256, BoxArgs, a) {
    int at = block_x() * 256 + thread_x(), column = at / a.channels, c = at - column * a.channels, row = block_y();
    if (column >= a.out_w) return; /* nobody is waited for; so everywhere in this file */
    const Value *x = (const Value *)a.x + block_z() * a.x_picture + c * a.x_channel;
    Range down = terms_of(&a, row, a.in_h), along = terms_of(&a, column, a.in_w);
    float sum = 0;
    for (int i = down.begin; i < down.end; i++) {
        float line = 0;
        for (int j = along.begin; j < along.end; j++) {
            float v = value_f32(x[i * a.x_row + j * a.x_column]);
            line += a.backward ? v / size_of(&a, j, a.map_w) : v;
        }
        sum += a.backward ? line / size_of(&a, i, a.map_h) : line;
    }
    if (!a.backward) sum /= size_of(&a, row, a.map_h) * size_of(&a, column, a.map_w);
    ((Result *)a.y)[((i64)block_z() * a.out_h + row) * a.out_w * a.channels + at] = f32_result(sum);
}

/* grid: columns times channels of the result / 256, rows of x, pictures */
KERNEL_BLOCKS(box_rows, 256, 4, BoxArgs, a) {
    int at = block_x() * 256 + thread_x(), column = at / a.channels, c = at - column * a.channels, row = block_y();
    if (column >= a.out_w) return;
    const Value *x = (const Value *)a.x + block_z() * a.x_picture + row * a.x_row + c * a.x_channel;
    Range along = terms_of(&a, column, a.in_w);
    float sum = 0;
    for (int j = along.begin; j < along.end; j++) {
        float v = value_f32(x[j * a.x_column]);
        sum += a.backward ? v / size_of(&a, j, a.map_w) : v;
    }
    if (!a.backward) sum /= size_of(&a, column, a.map_w);
    a.sums[((i64)block_z() * a.in_h + row) * a.out_w * a.channels + at] = sum;
}

KERNEL(box_columns, 256, BoxArgs, a) {
    int at = block_x() * 256 + thread_x(), row = block_y();
    if (at >= a.out_w * a.channels) return;
    const float *sums = a.sums + (i64)block_z() * a.in_h * a.out_w * a.channels + at;
    Range down = terms_of(&a, row, a.in_h);
    float sum = 0;
    for (int i = down.begin; i < down.end; i++) {
        float v = sums[(i64)i * a.out_w * a.channels];
        sum += a.backward ? v / size_of(&a, i, a.map_h) : v;
    }
    if (!a.backward) sum /= size_of(&a, row, a.map_h);
    ((Result *)a.y)[((i64)block_z() * a.out_h + row) * a.out_w * a.channels + at] = f32_result(sum);
}
