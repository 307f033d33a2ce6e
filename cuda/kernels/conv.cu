/* cuda/kernels/conv.cu - convolutions in f32, straight and transposed, as implicit matrix products: the rows are
 * pixels, the columns output channels, and k runs over parts, taps and channels. Two rungs of a ladder.
 *
 *   conv_plain   one element a thread, everything read from global memory: says what is computed
 *   conv_tiled   64 pixels x 64 channels a block (tile.h); where a pixel's window lies is worked out once a tap
 *
 * Sums run over k in the same order in both: their results are equal bit for bit. What is stored goes through the
 * generated function `region` where there is one. */
#include "cuda/device/pointwise.h"
#include "cuda/device/tile.h"
#include "cuda/kernels/conv.h"

DEVICE void store(float v, i64 row, i64 column, const ConvArgs *a) {
    if (a->bias) v += a->bias[column];
#ifdef REGION_GENERATED
    region(row, column, v, &a->places);
#else
    ((Result *)a->out)[row * a->out_row + column] = f32_result(v);
#endif
}

/* Along one axis: where the tap reads, -1 outside. */
DEVICE int source(int at, int tap, int pad, int stride, int size, int transposed) {
    int from = transposed ? at + pad - tap : at * stride - pad + tap;
    if (transposed) {
        if (from % stride != 0) return -1;
        from /= stride;
    }
    return from >= 0 && from < size ? from : -1;
}

/* Where the first channel of `part` lies that a tap multiplies for a pixel of the output, -1 outside the map. */
DEVICE i64 pixel(const ConvArgs *a, const ConvPart *part, i64 row, int ky, int kx) {
    i64 line = row / a->out_w, n = line / a->out_h;
    int y = source((int)(line - n * a->out_h), ky, a->pad_h, a->stride, a->h, a->transposed);
    int x = source((int)(row - line * a->out_w), kx, a->pad_w, a->stride, a->w, a->transposed);
    return y >= 0 && x >= 0 ? n * part->by_n + y * part->by_y + x * part->by_x : -1;
}

DEVICE float value_at(const ConvPart *p, i64 at) {
    return p->f32 ? ((const float *)p->at)[at] : value_f32(((const Value *)p->at)[at]);
}

/* grid: elements / 256 */
KERNEL(conv_plain, 256, ConvArgs, a) {
    i64 at = (i64)block_x() * 256 + thread_x(), row = at / a.columns, column = at - row * a.columns;
    if (row >= a.rows) return; /* nobody is waited for */
    const Value *weight = (const Value *)a.weight + column * a.weight_o;
    float sum = 0;
    for (int i = 0; i < a.parts; i++) {
        const ConvPart *p = &a.part[i];
        for (int ky = 0; ky < a.kh; ky++)
            for (int kx = 0; kx < a.kw; kx++) {
                i64 from = pixel(&a, p, row, ky, kx);
                if (from < 0) continue;
                const Value *w = weight + ky * a.weight_y + kx * a.weight_x;
                for (i64 c = 0; c < p->channels; c++)
                    sum = fma_f32(value_at(p, from + c * p->by_c), value_f32(w[c * a.weight_c]), sum);
            }
        weight += p->channels * a.weight_c;
    }
    store(sum, row, column, &a);
}

/* grid: row tiles, column tiles */
KERNEL(conv_tiled, TILE_THREADS, ConvArgs, a) {
    SHARED(float, left, TILE_DEPTH *TILE_PITCH);
    SHARED(float, right, TILE_DEPTH *TILE_PITCH);
    SHARED(i64, left_at, TILE);
    SHARED(i64, right_at, TILE);
    int t = thread_x();
    i64 row0 = (i64)block_x() * TILE, column0 = (i64)block_y() * TILE;
    float sum[4][4];
    tile_clear(sum);
    const Value *weight = (const Value *)a.weight;
    if (t < TILE) right_at[t] = column0 + t < a.columns ? (column0 + t) * a.weight_o : -1;
    for (int i = 0; i < a.parts; i++) {
        const ConvPart *p = &a.part[i];
        for (int ky = 0; ky < a.kh; ky++)
            for (int kx = 0; kx < a.kw; kx++) {
                block_sync(); /* nobody still reads the offsets or the tiles of the tap before */
                if (t < TILE) left_at[t] = row0 + t < a.rows ? pixel(&a, p, row0 + t, ky, kx) : -1;
                const Value *w = weight + ky * a.weight_y + kx * a.weight_x;
                for (i64 c = 0; c < p->channels; c += TILE_DEPTH) {
                    block_sync(); /* the tiles have been used, the offsets are there */
                    if (p->f32)
                        tile_fetch_f32(left, (const float *)p->at + c * p->by_c, left_at, p->by_c, p->channels - c);
                    else
                        tile_fetch(left, (const Value *)p->at + c * p->by_c, left_at, p->by_c, p->channels - c);
                    tile_fetch(right, w + c * a.weight_c, right_at, a.weight_c, p->channels - c);
                    block_sync();
                    tile_product(sum, left, right);
                }
            }
        weight += p->channels * a.weight_c;
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            i64 row = row0 + tile_row() + i, column = column0 + tile_column() + j;
            if (row < a.rows && column < a.columns) store(sum[i][j], row, column, &a);
        }
    }
}
