/* cuda/kernels/resample.cu - a map at another size, forward and backward: what tensor/ops/resample.c says.
 *
 *   avg_pool2           y(Y,X) = mean of x(2Y..2Y+1, 2X..2X+1)
 *   adaptive_avg_pool   y(Y,X) = mean of x over rows floor(Y H/h) .. ceil((Y+1) H/h) - 1, likewise columns
 *   resize_bilinear     between the rows floor(s) and floor(s) + 1 of s = max((Y + 1/2) H/h - 1/2, 0)
 *   upsample2_nearest   y(Y,X) = x(Y/2, X/2)
 *
 * One value of y a thread, channels fastest: neighbours read and write neighbouring bytes. Every gradient gathers: a
 * value of dx looks for the dy that it went into, so that it has one writer and one order of summing. All are bound by
 * memory: x and y should move once, what is read again comes from L1 and L2. Sums are f32 whatever is stored. */
#include "cuda/device/value.h"
#include "cuda/kernels/resample.h"

typedef struct {
    int row, column, channel;
    const Value *x; /* of this picture and channel */
    Result *y;      /* its place; NULL beyond the end of the row */
} Spot;

DEVICE Spot spot_of(const ResampleArgs *a) {
    u32 at = (u32)block_x() * 256 + (u32)thread_x(), column = at / (u32)a->channels;
    Spot s;
    s.row = block_y();
    s.column = (int)column;
    s.channel = (int)(at - column * (u32)a->channels);
    s.x = (const Value *)a->x + block_z() * a->x_picture + s.channel * a->x_channel;
    i64 row = (i64)block_z() * a->out_h + s.row;
    s.y = s.column < a->out_w ? (Result *)a->y + row * a->out_w * a->channels + at : (Result *)0;
    return s;
}

DEVICE float value_at(const ResampleArgs *a, const Spot *s, int row, int column) {
    return value_f32(s->x[row * a->x_row + column * a->x_column]);
}

KERNEL(avg_pool2, 256, ResampleArgs, a) {
    Spot s = spot_of(&a);
    if (!s.y) return; /* nobody is waited for; so everywhere in this file */
    int i = 2 * s.row, j = 2 * s.column;
    *s.y = f32_result(((value_at(&a, &s, i, j) + value_at(&a, &s, i, j + 1)) +
                       (value_at(&a, &s, i + 1, j) + value_at(&a, &s, i + 1, j + 1))) *
                      0.25f);
}

KERNEL(avg_pool2_backward, 256, ResampleArgs, a) {
    Spot s = spot_of(&a);
    if (!s.y) return;
    int i = s.row / 2, j = s.column / 2; /* an odd last row or column went into nothing */
    *s.y = f32_result(i < a.in_h && j < a.in_w ? value_at(&a, &s, i, j) * 0.25f : 0);
}

KERNEL(upsample2_nearest, 256, ResampleArgs, a) {
    Spot s = spot_of(&a);
    if (!s.y) return;
    *s.y = f32_result(value_at(&a, &s, s.row / 2, s.column / 2));
}

KERNEL(upsample2_nearest_backward, 256, ResampleArgs, a) {
    Spot s = spot_of(&a);
    if (!s.y) return;
    int i = 2 * s.row, j = 2 * s.column;
    *s.y = f32_result((value_at(&a, &s, i, j) + value_at(&a, &s, i, j + 1)) +
                      (value_at(&a, &s, i + 1, j) + value_at(&a, &s, i + 1, j + 1)));
}

/* ---- bilinear ---- */

/* Where position p of an axis of `out` looks on one of `in`: at `from` with 1 - part, at `next` with part. In whole
 * numbers: s = ((2p + 1) in - out) / (2 out). */
typedef struct {
    int from, next;
    float part;
} Place;

DEVICE Place place_of(int p, int in, int out) {
    u32 above = (2 * (u32)p + 1) * (u32)in, whole = 2 * (u32)out;
    above = above > (u32)out ? above - (u32)out : 0;
    Place s;
    s.from = (int)(above / whole);
    s.part = (float)(above - (u32)s.from * whole) / (float)whole;
    s.next = s.from < in - 1 ? s.from + 1 : s.from;
    return s;
}

KERNEL(resize_bilinear, 256, ResampleArgs, a) {
    Spot s = spot_of(&a);
    if (!s.y) return;
    Place v = place_of(s.row, a.in_h, a.out_h), u = place_of(s.column, a.in_w, a.out_w);
    float top = (1 - u.part) * value_at(&a, &s, v.from, u.from) + u.part * value_at(&a, &s, v.from, u.next);
    float bottom = (1 - u.part) * value_at(&a, &s, v.next, u.from) + u.part * value_at(&a, &s, v.next, u.next);
    *s.y = f32_result((1 - v.part) * top + v.part * bottom);
}

/* The first position that looks at entry i: p with s >= i - 1, but for what looks at i - 1 alone; p may be `out`. */
DEVICE int first_looking(int i, int in, int out) {
    if (i < 2) return 0; /* what lies before the first centre looks at entry 0 */
    /* (2p + 1) in - out > 2 (i - 1) out, and place_of finds what is exactly on i - 1 not to look at i */
    u32 least = (2 * (u32)i - 1) * (u32)out / (u32)in;
    int p = (int)(least > 1 ? (least - 1) / 2 : 0);
    while (p < out && place_of(p, in, out).next < i) p++;
    return p;
}

/* How much of entry i is in what looks there. */
DEVICE float share_of(Place s, int i) {
    return (s.from == i ? 1 - s.part : 0) + (s.next == i ? s.part : 0);
}

/* Positions look forward only, so those that look at an entry follow each other. */
KERNEL(resize_bilinear_backward, 256, ResampleArgs, a) {
    Spot s = spot_of(&a);
    if (!s.y) return;
    int top = first_looking(s.row, a.out_h, a.in_h), left = first_looking(s.column, a.out_w, a.in_w);
    float sum = 0;
    for (int row = top; row < a.in_h; row++) {
        Place v = place_of(row, a.out_h, a.in_h);
        if (v.from > s.row) break;
        float line = 0;
        for (int column = left; column < a.in_w; column++) {
            Place u = place_of(column, a.out_w, a.in_w);
            if (u.from > s.column) break;
            line += share_of(u, s.column) * value_at(&a, &s, row, column);
        }
        sum += share_of(v, s.row) * line;
    }
    *s.y = f32_result(sum);
}

/* ---- adaptive: cells of nearly equal size, which may overlap ---- */

DEVICE int cell_start(int i, int in, int out) {
    return (int)((u32)i * (u32)in / (u32)out);
}
DEVICE int cell_end(int i, int in, int out) {
    return (int)((((u32)i + 1) * (u32)in + (u32)out - 1) / (u32)out);
}

KERNEL(adaptive_avg_pool, 256, ResampleArgs, a) {
    Spot s = spot_of(&a);
    if (!s.y) return;
    int top = cell_start(s.row, a.in_h, a.out_h), bottom = cell_end(s.row, a.in_h, a.out_h);
    int left = cell_start(s.column, a.in_w, a.out_w), right = cell_end(s.column, a.in_w, a.out_w);
    float sum = 0;
    for (int i = top; i < bottom; i++) {
        float line = 0;
        for (int j = left; j < right; j++) line += value_at(&a, &s, i, j);
        sum += line;
    }
    *s.y = f32_result(sum / ((float)(bottom - top) * (float)(right - left)));
}

/* A block of 8 warps for a cell and 32 channels: the places of the cell are dealt to the warps in turn, and their sums
 * are added in order. For cells of many places; grid: channels / 32 times columns of y, rows of y, pictures. */
KERNEL(adaptive_avg_pool_wide, 256, ResampleArgs, a) {
    SHARED(float, part, 256);
    int parts = (a.channels + 31) / 32, column = block_x() / parts, row = block_y();
    int c = block_x() % parts * 32 + lane_x();
    int top = cell_start(row, a.in_h, a.out_h), bottom = cell_end(row, a.in_h, a.out_h);
    int left = cell_start(column, a.in_w, a.out_w), right = cell_end(column, a.in_w, a.out_w);
    const Value *x = (const Value *)a.x + block_z() * a.x_picture + c * a.x_channel;
    int wide = right - left, places = (bottom - top) * wide;
    float sum = 0;
    for (int p = warp_x(); c < a.channels && p < places; p += 8)
        sum += value_f32(x[(top + p / wide) * a.x_row + (left + p % wide) * a.x_column]);
    part[thread_x()] = sum;
    block_sync();
    if (warp_x() || c >= a.channels) return; /* nobody is waited for from here on */
    for (int w = 1; w < 8; w++) sum += part[32 * w + lane_x()];
    ((Result *)a.y)[(((i64)block_z() * a.out_h + row) * a.out_w + column) * a.channels + c] =
        f32_result(sum / (float)places);
}

/* The first cell that reaches entry i: cells end in order. */
DEVICE int first_cell(int i, int in, int out) {
    int cell = (int)((u32)i * (u32)out / (u32)in);
    while (cell > 0 && cell_end(cell - 1, in, out) > i) cell--;
    return cell;
}

KERNEL(adaptive_avg_pool_backward, 256, ResampleArgs, a) {
    Spot s = spot_of(&a);
    if (!s.y) return;
    float sum = 0;
    for (int row = first_cell(s.row, a.out_h, a.in_h); row < a.in_h; row++) {
        int top = cell_start(row, a.out_h, a.in_h), tall = cell_end(row, a.out_h, a.in_h) - top;
        if (top > s.row) break;
        for (int column = first_cell(s.column, a.out_w, a.in_w); column < a.in_w; column++) {
            int left = cell_start(column, a.out_w, a.in_w), wide = cell_end(column, a.out_w, a.in_w) - left;
            if (left > s.column) break;
            sum += value_at(&a, &s, row, column) / ((float)tall * (float)wide);
        }
    }
    *s.y = f32_result(sum);
}
