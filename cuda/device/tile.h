/* cuda/device/tile.h - the body of an f32 matrix product: 64 x 64 results a block of 256 threads, 4 x 4 a thread,
 * through shared memory 16 deep. Sums run over k in order, one fused multiply-add each. */
#ifndef PANUM_CUDA_DEVICE_TILE_H
#define PANUM_CUDA_DEVICE_TILE_H
#include "cuda/device/value.h"

#define TILE 64
#define TILE_DEPTH 16
#define TILE_PITCH (TILE + 4) /* rows of a multiple of 16 bytes, whose first elements fall in different banks */
#define TILE_THREADS 256

DEVICE void tile_clear(float sum[4][4]) {
    UNROLL
    for (int i = 0; i < 4; i++) {
        UNROLL
        for (int j = 0; j < 4; j++) sum[i][j] = 0;
    }
}

/* s[k][e] = from[offset[e] + k step] for the first `depth` k; zeros beyond, and where offset[e] is negative. Threads
 * that follow each other take values that do: along k when step is 1, along e otherwise. */
DEVICE void tile_fetch(float *s, const Value *from, const i64 *offset, i64 step, i64 depth) {
    UNROLL
    for (int i = 0; i < TILE * TILE_DEPTH / TILE_THREADS; i++) {
        int at = thread_x() + i * TILE_THREADS;
        int k = step == 1 ? at % TILE_DEPTH : at / TILE, e = step == 1 ? at / TILE_DEPTH : at % TILE;
        s[k * TILE_PITCH + e] = offset[e] >= 0 && k < depth ? value_f32(from[offset[e] + k * step]) : 0;
    }
}

/* The same from f32, wherever Value is something else. */
DEVICE void tile_fetch_f32(float *s, const float *from, const i64 *offset, i64 step, i64 depth) {
    UNROLL
    for (int i = 0; i < TILE * TILE_DEPTH / TILE_THREADS; i++) {
        int at = thread_x() + i * TILE_THREADS;
        int k = step == 1 ? at % TILE_DEPTH : at / TILE, e = step == 1 ? at / TILE_DEPTH : at % TILE;
        s[k * TILE_PITCH + e] = offset[e] >= 0 && k < depth ? from[offset[e] + k * step] : 0;
    }
}

/* This thread's rows and columns of the tile: four from here. */
DEVICE int tile_row(void) {
    return thread_x() / 16 * 4;
}
DEVICE int tile_column(void) {
    return thread_x() % 16 * 4;
}

DEVICE void tile_product(float sum[4][4], const float *left, const float *right) {
    UNROLL
    for (int k = 0; k < TILE_DEPTH; k++) {
        Float4 x = load4_f32(left + k * TILE_PITCH + tile_row()), y = load4_f32(right + k * TILE_PITCH + tile_column());
        float xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
        UNROLL
        for (int p = 0; p < 4; p++) {
            UNROLL
            for (int q = 0; q < 4; q++) sum[p][q] = fma_f32(xs[p], ys[q], sum[p][q]);
        }
    }
}
#endif
