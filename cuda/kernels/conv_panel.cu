/* cuda/kernels/conv_panel.cu - the fast rung of the convolutions: conv.cu says what is computed. Here channels lie side
 * by side, in maps and in the weight (by_c = weight_c = 1: packed as tap, output channel, input channel), everything is
 * aligned to 16 bytes and parts have whole pieces of 16 bytes of channels (panel.h). f32 without -DLOAD_HALF, tensor
 * cores with.
 *
 * A transposed convolution with a stride s is s x s convolutions of stride 1, one for the pixels of out with the same
 * y % s and x % s, each with the taps that reach them: block_z says which. */
#include "cuda/device/panel.h"
#include "cuda/device/pointwise.h"
#include "cuda/kernels/conv.h"

/* Pixels of out that are worked on together: y0, y0 + step, ..., `high` of them, and likewise x, in every image. */
typedef struct {
    int high, wide, step, y0, x0;
    i64 count;
} Lattice;

/* What is fetched next: channels from c on, of a tap, of a part. */
typedef struct {
    const Value *left[PANEL_LEFT], *right; /* left NULL: the tap is outside the map, or the row is none */
    int c, channels, part, ky, kx;
    int start; /* of the part, in the weight */
} Cursor;

/* The first tap along an axis that reaches pixels `first`, first + stride, ... */
DEVICE int first_tap(const ConvArgs *a, int first, int pad) {
    return a->transposed ? (first + pad) % a->stride : 0;
}

/* Where the tap reads for pixel `at` of the lattice; the division is exact. */
DEVICE int source(const ConvArgs *a, int at, int first, int tap, int pad) {
    return a->transposed ? at + (first + pad - tap) / a->stride : at * a->stride - pad + tap;
}

/* `rows` has n, y and x of each row of the block in the lattice; n is -1 where there is none. */
DEVICE void enter(Cursor *at, const ConvArgs *a, const Lattice *l, const int *rows) {
    const ConvPart *p = &a->part[at->part];
    at->c = 0;
    at->channels = (int)p->channels;
    at->right = (const Value *)a->weight + at->ky * a->weight_y + at->kx * a->weight_x + at->start;
    UNROLL
    for (int i = 0; i < PANEL_LEFT; i++) {
        const int *row = rows + 3 * panel_copy_row(i);
        int y = source(a, row[1], l->y0, at->ky, a->pad_h), x = source(a, row[2], l->x0, at->kx, a->pad_w);
        int inside = row[0] >= 0 && y >= 0 && y < a->h && x >= 0 && x < a->w;
        at->left[i] = inside ? (const Value *)p->at + (row[0] * p->by_n + y * p->by_y + x * p->by_x) : 0;
    }
}

/* To the next panel: channels, then taps, then parts. */
DEVICE void advance(Cursor *at, const ConvArgs *a, const Lattice *l, const int *rows) {
    at->c += PANEL_DEPTH;
    if (at->c < at->channels) return;
    int step = a->transposed ? a->stride : 1;
    at->kx += step;
    if (at->kx >= a->kw) {
        at->kx = first_tap(a, l->x0, a->pad_w);
        at->ky += step;
    }
    if (at->ky >= a->kh) {
        at->ky = first_tap(a, l->y0, a->pad_h);
        at->start += at->channels;
        at->part++;
    }
    if (at->part < a->parts) enter(at, a, l, rows);
}

DEVICE void fetch(const Cursor *at, const ConvArgs *a, i64 column0, Value *left, Value *right) {
    UNROLL
    for (int i = 0; i < PANEL_LEFT; i++)
        panel_copy(left, i, at->left[i] ? at->left[i] : at->right, at->c, at->channels, at->left[i] != 0);
    UNROLL
    for (int i = 0; i < PANEL_RIGHT; i++) {
        i64 column = column0 + panel_copy_row(i);
        panel_copy(right, i, at->right + (column < a->columns ? column : 0) * a->weight_o, at->c, at->channels, 1);
    }
    copy_commit();
}

/* grid: row panels, column panels, lattices */
KERNEL(conv_panel, PANEL_THREADS, ConvArgs, a) {
    SHARED(Value, left, 2 * PANEL_ROWS * PANEL_PITCH);
    SHARED(Value, right, 2 * PANEL_COLUMNS * PANEL_PITCH);
    SHARED(int, rows, 3 * PANEL_ROWS);
    i64 row0 = (i64)block_x() * PANEL_ROWS, column0 = (i64)block_y() * PANEL_COLUMNS;
    Lattice l = {a.out_h, a.out_w, 1, 0, 0, a.rows};
    if (a.transposed) {
        l.step = a.stride;
        l.y0 = block_z() / a.stride, l.x0 = block_z() % a.stride;
        l.high = (a.out_h - l.y0 + a.stride - 1) / a.stride, l.wide = (a.out_w - l.x0 + a.stride - 1) / a.stride;
        l.count = a.rows / ((i64)a.out_h * a.out_w) * l.high * l.wide;
    }
    float sum[PANEL_SUMS];
    panel_clear(sum);
    Cursor at;
    at.start = 0, at.part = 0;
    at.ky = first_tap(&a, l.y0, a.pad_h), at.kx = first_tap(&a, l.x0, a.pad_w);
    if (thread_x() < PANEL_ROWS) {
        i64 row = row0 + thread_x(), line = row < l.count ? row / l.wide : 0, n = row < l.count ? line / l.high : 0;
        rows[3 * thread_x()] = row < l.count ? (int)n : -1;
        rows[3 * thread_x() + 1] = (int)(line - n * l.high);
        rows[3 * thread_x() + 2] = (int)(row - line * l.wide);
    }
    block_sync();
    int some = at.ky < a.kh && at.kx < a.kw && row0 < l.count; /* taps that reach this lattice, and pixels of it */
    if (some) {
        enter(&at, &a, &l, rows);
        fetch(&at, &a, column0, left, right);
    }
    for (int stage = 0; some && at.part < a.parts; stage ^= 1) {
        advance(&at, &a, &l, rows);
        if (at.part < a.parts) {
            fetch(&at, &a, column0, left + (stage ^ 1) * PANEL_ROWS * PANEL_PITCH,
                  right + (stage ^ 1) * PANEL_COLUMNS * PANEL_PITCH);
            copy_wait(1);
        } else {
            copy_wait(0);
        }
        block_sync(); /* everybody's pieces are there */
        panel_product(sum, left + stage * PANEL_ROWS * PANEL_PITCH, right + stage * PANEL_COLUMNS * PANEL_PITCH);
        block_sync(); /* and have been used */
    }
    UNROLL
    for (int s = 0; s < PANEL_SUMS; s++) {
        i64 row = row0 + panel_row(s), column = column0 + panel_column(s);
        if (row >= l.count || column >= a.columns) continue;
        if (a.transposed) {
            i64 line = row / l.wide, n = line / l.high;
            row = (n * a.out_h + (line - n * l.high) * l.step + l.y0) * a.out_w + (row - line * l.wide) * l.step + l.x0;
        }
        float v = sum[s] + (a.bias ? a.bias[column] : 0);
#ifdef REGION_GENERATED
        region(row, column, v, &a.places);
#else
        ((Result *)a.out)[row * a.out_row + column] = f32_result(v);
#endif
    }
}
