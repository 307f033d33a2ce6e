/* cuda/kernels/sample.cu - a picture read bilinearly at places that a grid says (tensor/ops/sample.c): positions in
 * f32, and sums of what is read too.
 *
 * Results and the gradient by the grid: picture (about once, if neighbours stay neighbours), places and results move
 * once. The gradient by the picture is a gather, so that it repeats bit for bit: it is first noted which part of the
 * picture each row of the grid, and each stretch of 32 places of it, reads; a value of the picture then goes through
 * the stretches that reach it, in order. That is quick where the grid is smooth, and right where it is not. */
#include "cuda/device/value.h"
#include "cuda/kernels/sample.h"

/* An axis read at `from` with weight 1 - part and at from + 1 with `part`, where these are inside; `slope`: does the
 * place move with the position? */
typedef struct {
    int from;
    float part, slope;
} Place;

DEVICE Place place_of(const SampleArgs *a, float g, int n) {
    float half = (float)(a->align_corners ? n - 1 : n) * 0.5f;
    float position = fma_f32(g, half, (float)(n - 1) * 0.5f);
    Place p = {-2, 0, 0};
    if (a->border) {
        if (!(position > 0)) {
            p.from = 0;
            return p;
        }
        if (position >= (float)(n - 1)) {
            p.from = n - 1;
            return p;
        }
    } else if (!(position >= -1 && position < (float)n)) {
        return p;
    }
    p.from = (int)position;
    if ((float)p.from > position) p.from--;
    p.part = position - (float)p.from;
    p.slope = half;
    return p;
}

DEVICE Place place_across(const SampleArgs *a, i64 picture, int row, int column) {
    i64 at = picture * a->grid.picture + row * a->grid.row + column * a->grid.column;
    return place_of(a, ((const float *)a->grid.at)[at], a->w);
}
DEVICE Place place_down(const SampleArgs *a, i64 picture, int row, int column) {
    i64 at = picture * a->grid.picture + row * a->grid.row + column * a->grid.column + a->grid.channel;
    return place_of(a, ((const float *)a->grid.at)[at], a->h);
}

/* A value of the picture, 0 outside. */
DEVICE float value_at(const SampleArgs *a, const Value *x, int i, int j) {
    return i >= 0 && i < a->h && j >= 0 && j < a->w ? value_f32(x[i * a->x.row + j * a->x.column]) : 0;
}

/* grid: columns times channels / 256, rows, pictures */
KERNEL(grid_sample, 256, SampleArgs, a) {
    int at = block_x() * 256 + thread_x(), column = at / a.channels, c = at - column * a.channels, row = block_y();
    i64 picture = block_z();
    if (column >= a.columns) return; /* nobody is waited for */
    Place u = place_across(&a, picture, row, column), v = place_down(&a, picture, row, column);
    const Value *x = (const Value *)a.x.at + picture * a.x.picture + c * a.x.channel;
    float sum = 0;
    UNROLL
    for (int corner = 0; corner < 4; corner++) {
        int i = v.from + corner / 2, j = u.from + corner % 2;
        float weight = (corner / 2 ? v.part : 1 - v.part) * (corner % 2 ? u.part : 1 - u.part);
        if (i >= 0 && i < a.h && j >= 0 && j < a.w) sum += weight * value_f32(x[i * a.x.row + j * a.x.column]);
    }
    ((Result *)a.y)[(picture * a.rows + row) * a.columns * a.channels + at] = f32_result(sum);
}

/* A warp a place; lanes share its channels. grid: columns / 8, rows, pictures */
KERNEL(grid_sample_backward_grid, 256, SampleArgs, a) {
    int column = block_x() * 8 + warp_x(), row = block_y();
    i64 picture = block_z();
    if (column >= a.columns) return; /* the whole warp; blocks do not meet */
    Place u = place_across(&a, picture, row, column), v = place_down(&a, picture, row, column);
    const Value *dy = (const Value *)a.dy.at + picture * a.dy.picture + row * a.dy.row + column * a.dy.column;
    float across = 0, down = 0;
    for (int c = lane_x(); c < a.channels; c += 32) {
        const Value *x = (const Value *)a.x.at + picture * a.x.picture + c * a.x.channel;
        float own = value_f32(dy[c * a.dy.channel]);
        float x00 = value_at(&a, x, v.from, u.from), x01 = value_at(&a, x, v.from, u.from + 1);
        float x10 = value_at(&a, x, v.from + 1, u.from), x11 = value_at(&a, x, v.from + 1, u.from + 1);
        across += own * ((1 - v.part) * (x01 - x00) + v.part * (x11 - x10));
        down += own * ((1 - u.part) * (x10 - x00) + u.part * (x11 - x01));
    }
    across = warp_sum(across) * u.slope;
    down = warp_sum(down) * v.slope;
    if (lane_x()) return;
    float *to = (float *)a.y + ((picture * a.rows + row) * a.columns + column) * 2;
    to[0] = across;
    to[1] = down;
}

/* ---- by the picture ---- */

DEVICE float warp_least(float v) {
    return -warp_max(-v);
}

/* A warp a stretch. Sides are below 2^24, so floats hold them. grid: stretches / 8, rows, pictures */
KERNEL(sample_reach, 256, SampleArgs, a) {
    int stretch = block_x() * 8 + warp_x(), column = stretch * SAMPLE_STRETCH + lane_x(), row = block_y();
    i64 picture = block_z();
    if (stretch >= a.stretches) return; /* the whole warp; blocks do not meet */
    int last = column < a.columns ? column : a.columns - 1;
    Place u = place_across(&a, picture, row, last), v = place_down(&a, picture, row, last);
    SampleReach r;
    r.top = (int)warp_least((float)v.from);
    r.bottom = (int)warp_max((float)v.from) + 1;
    r.left = (int)warp_least((float)u.from);
    r.right = (int)warp_max((float)u.from) + 1;
    if (lane_x() == 0) a.stretch[(picture * a.rows + row) * a.stretches + stretch] = r;
}

/* A thread a row of the grid. grid: pictures times rows / 256 */
KERNEL(sample_row_reach, 256, SampleArgs, a) {
    i64 row = (i64)block_x() * 256 + thread_x();
    if (row >= (i64)a.pictures * a.rows) return; /* nobody is waited for */
    SampleReach all = a.stretch[row * a.stretches];
    for (int k = 1; k < a.stretches; k++) {
        SampleReach r = a.stretch[row * a.stretches + k];
        if (r.top < all.top) all.top = r.top;
        if (r.bottom > all.bottom) all.bottom = r.bottom;
    }
    a.row[row] = all;
}

/* How much of entry i is in what is read at a place. */
DEVICE float share_of(Place p, int i) {
    return p.from == i ? 1 - p.part : p.from + 1 == i ? p.part : 0;
}

/* grid: columns of the picture times channels / 256, its rows, pictures */
KERNEL(grid_sample_backward_picture, 256, SampleArgs, a) {
    int at = block_x() * 256 + thread_x(), j = at / a.channels, c = at - j * a.channels, i = block_y();
    i64 picture = block_z();
    if (j >= a.w) return; /* nobody is waited for */
    const Value *dy = (const Value *)a.dy.at + picture * a.dy.picture + c * a.dy.channel;
    float sum = 0;
    for (int row = 0; row < a.rows; row++) {
        i64 line = picture * a.rows + row;
        if (a.row[line].top > i || a.row[line].bottom < i) continue;
        for (int k = 0; k < a.stretches; k++) {
            SampleReach r = a.stretch[line * a.stretches + k];
            if (r.top > i || r.bottom < i || r.left > j || r.right < j) continue;
            int end = (k + 1) * SAMPLE_STRETCH < a.columns ? (k + 1) * SAMPLE_STRETCH : a.columns;
            for (int column = k * SAMPLE_STRETCH; column < end; column++) {
                Place u = place_across(&a, picture, row, column), v = place_down(&a, picture, row, column);
                if (u.from > j || u.from + 1 < j || v.from > i || v.from + 1 < i) continue;
                sum += share_of(v, i) * share_of(u, j) * value_f32(dy[row * a.dy.row + column * a.dy.column]);
            }
        }
    }
    ((Result *)a.y)[(picture * a.h + i) * a.w * a.channels + at] = f32_result(sum);
}
