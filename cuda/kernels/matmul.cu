/* cuda/kernels/matmul.cu - matrix products in f32 on the ordinary units (FFMA), two rungs of a ladder.
 *
 *   matmul_plain   one element a thread, everything read from global memory: says what is computed
 *   matmul_tiled   64 x 64 a block through shared memory, 4 x 4 a thread: each value read from global memory once a
 *                  block instead of 64 times
 *
 * Sums run over k in order, one fused multiply-add each, in both: their results are equal bit for bit. What is stored
 * goes through the generated function `region` where there is one (cuda/region.c). */
#include "cuda/device/pointwise.h"
#include "cuda/device/tile.h"
#include "cuda/kernels/matmul.h"

DEVICE void store(float v, i64 batch, i64 row, i64 column, const MatmulArgs *a) {
    if (a->bias) v += a->bias[column];
#ifdef REGION_GENERATED
    region(batch * a->m + row, column, v, &a->places);
#else
    ((Result *)a->c)[batch * a->c_batch + row * a->c_row + column] = f32_result(v);
#endif
}

DEVICE i64 row_offset(const MatmulArgs *a, const MatmulSegment *s, i64 row) {
    i64 outer = row / a->rows[1], inner = row - outer * a->rows[1], first = outer / a->rows[0];
    return first * s->row[0] + (outer - first * a->rows[0]) * s->row[1] + inner * s->row[2];
}

/* grid: elements of one batch / 256, 1, batches */
KERNEL(matmul_plain, 256, MatmulArgs, a) {
    i64 at = (i64)block_x() * 256 + thread_x(), batch = block_z(), row = at / a.n, column = at - row * a.n;
    if (row >= a.m) return; /* nobody is waited for */
    const Value *b = (const Value *)a.b + batch * a.b_batch + column * a.b_column;
    float sum = 0;
    for (int i = 0; i < a.segments; i++) {
        const MatmulSegment *s = &a.segment[i];
        const Value *left = (const Value *)s->at + batch * a.a_batch + row_offset(&a, s, row);
        for (i64 k = 0; k < s->depth; k++) sum = fma_f32(value_f32(left[k * s->step]), value_f32(b[k * a.b_step]), sum);
        b += s->depth * a.b_step;
    }
    store(sum, batch, row, column, &a);
}

/* grid: row tiles, column tiles, batches */
KERNEL(matmul_tiled, TILE_THREADS, MatmulArgs, a) {
    SHARED(float, left, TILE_DEPTH *TILE_PITCH);
    SHARED(float, right, TILE_DEPTH *TILE_PITCH);
    SHARED(i64, left_at, TILE);
    SHARED(i64, right_at, TILE);
    int t = thread_x();
    i64 batch = block_z(), row0 = (i64)block_x() * TILE, column0 = (i64)block_y() * TILE;
    float sum[4][4];
    tile_clear(sum);
    const Value *b = (const Value *)a.b + batch * a.b_batch;
    if (t < TILE) right_at[t] = column0 + t < a.n ? (column0 + t) * a.b_column : -1;
    for (int i = 0; i < a.segments; i++) {
        const MatmulSegment *s = &a.segment[i];
        const Value *from = (const Value *)s->at + batch * a.a_batch;
        block_sync(); /* nobody still reads the offsets or the tiles of the segment before */
        if (t < TILE) left_at[t] = row0 + t < a.m ? row_offset(&a, s, row0 + t) : -1;
        for (i64 k0 = 0; k0 < s->depth; k0 += TILE_DEPTH) {
            block_sync(); /* the tiles have been used, the offsets are there */
            tile_fetch(left, from + k0 * s->step, left_at, s->step, s->depth - k0);
            tile_fetch(right, b + k0 * a.b_step, right_at, a.b_step, s->depth - k0);
            block_sync();
            tile_product(sum, left, right);
        }
        b += s->depth * a.b_step;
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        UNROLL
        for (int j = 0; j < 4; j++) {
            i64 row = row0 + tile_row() + i, column = column0 + tile_column() + j;
            if (row < a.m && column < a.n) store(sum[i][j], batch, row, column, &a);
        }
    }
}
