/* cuda/kernels/warp.cu - a picture read along its rows by a disparity, and the gradients of that: positions in f32.
 * What is computed, at the borders and without numbers too, stands in tensor/ops/sample.c.
 *
 * A block works in one row (block_y) of one pair (block_z). Should move: picture, disparity and result once. */
#include "cuda/device/position.h"
#include "cuda/device/value.h"
#include "cuda/kernels/warp.h"

/* Read `from` with weight 1 - part and from + 1 with `part`, as far as they are in the row; `slope`: does the place
 * move with the disparity? */
typedef struct {
    int from, slope;
    float part;
} Place;

DEVICE Place place_of(const WarpArgs *a, int column, float d) {
    Place p = {-2, 0, 0};
    if (a->border) {
        if (!(d < (float)column)) {
            p.from = 0;
            return p;
        }
        if (d <= (float)(column - (a->w - 1))) {
            p.from = a->w - 1;
            return p;
        }
    } else if (!position_is_near(d)) {
        return p;
    }
    float part;
    int whole = position_of(column, d, &part);
    if (whole < -1 || whole >= a->w) return p;
    p.from = whole;
    p.slope = 1;
    p.part = part;
    return p;
}

DEVICE float disparity_of(const WarpArgs *a, int column) {
    return a->disparity[block_z() * a->d_pair + block_y() * a->d_row + column * a->d_column];
}

/* A thread for each channel of each pixel. */
KERNEL(warp_rows, 256, WarpArgs, a) {
    int at = block_x() * 256 + thread_x(), column = at / a.channels, c = at - column * a.channels;
    if (column >= a.w) return; /* nobody is waited for */
    float d = disparity_of(&a, column), v = 0;
    Place p = place_of(&a, column, d);
    const Value *x = (const Value *)a.x + block_z() * a.x_pair + block_y() * a.x_row + c;
    if (p.from >= 0) v = (1 - p.part) * value_f32(x[p.from * a.x_column]);
    if (p.from >= -1 && p.from + 1 < a.w) v += p.part * value_f32(x[(p.from + 1) * a.x_column]);
    i64 row = (i64)block_z() * a.h + block_y();
    ((Result *)a.y)[row * a.w * a.channels + at] = f32_result(v);
    if (c == 0) a.inside[row * a.w + column] = d < (float)column && d > (float)(column - (a.w - 1)) ? 1.f : 0.f;
}

/* -(x[from + 1] - x[from]) dy, summed over the channels: of a thread, for pictures have few. */
KERNEL(warp_rows_backward_disparity, 256, WarpArgs, a) {
    int column = block_x() * 256 + thread_x();
    if (column >= a.w) return; /* nobody is waited for */
    Place p = place_of(&a, column, disparity_of(&a, column));
    const Value *x = (const Value *)a.x + block_z() * a.x_pair + block_y() * a.x_row + p.from * a.x_column;
    const Value *dy = (const Value *)a.dy + block_z() * a.dy_pair + block_y() * a.dy_row + column * a.dy_column;
    float sum = 0;
    for (int c = 0; p.slope && c < a.channels; c++) {
        float before = p.from >= 0 ? value_f32(x[c]) : 0;
        float after = p.from + 1 < a.w ? value_f32(x[a.x_column + c]) : 0;
        sum += value_f32(dy[c * a.dy_channel]) * (after - before);
    }
    ((float *)a.y)[((i64)block_z() * a.h + block_y()) * a.w + column] = -sum;
}

#define SOURCES 1024 /* of a stretch of the row: their places lie in shared memory */
#define CHUNK 32
#define TOGETHER 4 /* channels whose sums a thread keeps */

/* A scatter, gathered: each column of the picture has a thread that looks through the row for what reads it, in order,
 * so the sum depends on nothing else. Of each chunk of 32 readers the block knows the columns they reach, and passes
 * over those that do not concern it: about w/32 comparisons a column when the disparity is smooth, w at worst; once
 * again for each four channels more. */
KERNEL(warp_rows_backward_picture, 256, WarpArgs, a) {
    SHARED(int, from, SOURCES);
    SHARED(float, part, SOURCES);
    SHARED(int, first, SOURCES / CHUNK);
    SHARED(int, last, SOURCES / CHUNK);
    int column = block_x() * 256 + thread_x();
    i64 row = (i64)block_z() * a.h + block_y();
    const Value *dy = (const Value *)a.dy + block_z() * a.dy_pair + block_y() * a.dy_row;
    Result *dx = (Result *)a.y + (row * a.w + column) * a.channels;
    for (int c = 0; c < a.channels; c += TOGETHER) {
        float sum[TOGETHER] = {0, 0, 0, 0};
        for (int start = 0; start < a.w; start += SOURCES) {
            block_sync(); /* the stretch before has been read */
            for (int at = thread_x(); at < SOURCES; at += 256) {
                Place p = {-2, 0, 0};
                if (start + at < a.w) p = place_of(&a, start + at, disparity_of(&a, start + at));
                from[at] = p.from;
                part[at] = p.part;
                float most = warp_max((float)p.from), least = -warp_max(p.from < -1 ? -POSITION_LIMIT : -(float)p.from);
                if (lane_x() == 0) {
                    first[at / CHUNK] = (int)least;
                    last[at / CHUNK] = (int)most + 1;
                }
            }
            block_sync();
            for (int chunk = 0; chunk < SOURCES / CHUNK && start + chunk * CHUNK < a.w; chunk++) {
                if (column >= a.w || column < first[chunk] || column > last[chunk]) continue;
                for (int at = chunk * CHUNK; at < (chunk + 1) * CHUNK; at++) {
                    int side = column - from[at];
                    if (side != 0 && side != 1) continue;
                    float weight = side ? part[at] : 1 - part[at];
                    const Value *own = dy + (start + at) * a.dy_column + c * a.dy_channel;
                    UNROLL
                    for (int k = 0; k < TOGETHER; k++)
                        if (c + k < a.channels) sum[k] += weight * value_f32(own[k * a.dy_channel]);
                }
            }
        }
        UNROLL
        for (int k = 0; k < TOGETHER; k++)
            if (column < a.w && c + k < a.channels) dx[c + k] = f32_result(sum[k]);
    }
}
