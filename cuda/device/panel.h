/* cuda/device/panel.h - the body of the fast matrix products: PANEL_ROWS x PANEL_COLUMNS results a block of 256 threads
 * (128 x 128, 128 x 64 or 64 x 64), whose operands both lie with k innermost, rows aligned to 16 bytes.
 *
 * 64 bytes of k of every row, 16 f32 or 32 half-size numbers, go to shared memory by asynchronous copies of 16 bytes
 * while the 64 before are multiplied. Rows there are 80 bytes apart: eight that follow each other begin in eight
 * different groups of banks, so that neither load4_f32 of eight rows nor load_matrix4 meets a bank twice. At 128 x 128
 * a byte copied serves 32 flops, f32, or 64.
 *
 *   f32    R x C results a thread (8 x 8, 8 x 4, 4 x 4), rows and columns 16 apart; sums run over k in order, one fused
 *          multiply-add each, so they equal those of tile.h bit for bit
 *   half   tensor cores: 2 x 4 warps of 16 x 8 products (64 x 32, 64 x 16, 32 x 16 a warp), sums in f32; the order
 * inside a product of depth 16 is the machine's */
#ifndef PANUM_CUDA_DEVICE_PANEL_H
#define PANUM_CUDA_DEVICE_PANEL_H
#include "cuda/device/value.h"

#ifndef PANEL_ROWS
#define PANEL_ROWS 128
#define PANEL_COLUMNS 128
#endif
#define PANEL_THREADS 256
#ifdef LOAD_HALF
#define PANEL_PIECE 8 /* values of 16 bytes */
#else
#define PANEL_PIECE 4
#endif
#define PANEL_DEPTH (4 * PANEL_PIECE)
#define PANEL_PITCH (5 * PANEL_PIECE)
#define PANEL_SUMS (PANEL_ROWS * PANEL_COLUMNS / PANEL_THREADS)

/* A thread copies piece t % 4 of rows t / 4, t / 4 + 64, ... */
#define PANEL_COPY_ROWS (PANEL_THREADS / 4)
#define PANEL_LEFT (PANEL_ROWS / PANEL_COPY_ROWS)
#define PANEL_RIGHT (PANEL_COLUMNS / PANEL_COPY_ROWS)

DEVICE int panel_copy_row(int i) {
    return thread_x() / 4 + i * PANEL_COPY_ROWS;
}

/* Row r of `panel`, this thread's piece: from[k ..], where k is the piece's place in the row's `depth` values. */
DEVICE void panel_copy(Value *panel, int i, const Value *from, int k, int depth, int valid) {
    int piece = thread_x() % 4 * PANEL_PIECE, inside = valid && k + piece < depth;
    copy16(panel + panel_copy_row(i) * PANEL_PITCH + piece, inside ? from + k + piece : from, inside);
}

DEVICE void panel_clear(float sum[PANEL_SUMS]) {
    UNROLL
    for (int i = 0; i < PANEL_SUMS; i++) sum[i] = 0;
}

#ifndef LOAD_HALF
#define PANEL_R (PANEL_ROWS / 16)
#define PANEL_C (PANEL_COLUMNS / 16)

/* Where sum s of this thread lies in the block's results. A warp has 4 rows and 8 columns of threads. */
DEVICE int panel_row(int s) {
    return warp_x() / 2 * 4 + lane_x() / 8 + s / PANEL_C * 16;
}
DEVICE int panel_column(int s) {
    return warp_x() % 2 * 8 + lane_x() % 8 + s % PANEL_C * 16;
}

DEVICE void panel_product(float sum[PANEL_SUMS], const Value *left, const Value *right) {
    const float *x = left + panel_row(0) * PANEL_PITCH, *y = right + panel_column(0) * PANEL_PITCH;
    UNROLL_BY(1)
    for (int k = 0; k < PANEL_DEPTH; k += 4) {
        Float4 xs[PANEL_R];
        UNROLL
        for (int i = 0; i < PANEL_R; i++) xs[i] = load4_f32(x + i * 16 * PANEL_PITCH + k);
        UNROLL
        for (int j = 0; j < PANEL_C; j++) {
            Float4 v = load4_f32(y + j * 16 * PANEL_PITCH + k);
            UNROLL
            for (int i = 0; i < PANEL_R; i++) {
                float s = sum[i * PANEL_C + j];
                s = fma_f32(xs[i].x, v.x, s);
                s = fma_f32(xs[i].y, v.y, s);
                s = fma_f32(xs[i].z, v.z, s);
                sum[i * PANEL_C + j] = fma_f32(xs[i].w, v.w, s);
            }
        }
    }
}
#else
#define PANEL_WARP_ROWS (PANEL_ROWS / 2)
#define PANEL_WARP_COLUMNS (PANEL_COLUMNS / 4)
#define PANEL_N (PANEL_WARP_COLUMNS / 8) /* products side by side in a warp */

/* Where sum s of this thread lies in the block's results: fragment c of mma_16x8x16, product after product. */
DEVICE int panel_row(int s) {
    return warp_x() / 4 * PANEL_WARP_ROWS + s / 4 / PANEL_N * 16 + s % 4 / 2 * 8 + lane_x() / 4;
}
DEVICE int panel_column(int s) {
    return warp_x() % 4 * PANEL_WARP_COLUMNS + s / 4 % PANEL_N * 8 + lane_x() % 4 * 2 + s % 2;
}

/* Matrices of load_matrix4: of the left operand rows 0..7 and 8..15 of the first eight k, then of the second; of the
 * right one columns 0..7 with both halves of k, then columns 8..15. */
DEVICE void panel_product(float sum[PANEL_SUMS], const Value *left, const Value *right) {
    int l = lane_x();
    const Value *x = left + (warp_x() / 4 * PANEL_WARP_ROWS + l % 16) * PANEL_PITCH + l / 16 * 8;
    const Value *y = right + (warp_x() % 4 * PANEL_WARP_COLUMNS + l / 16 * 8 + l % 8) * PANEL_PITCH + l / 8 % 2 * 8;
    UNROLL
    for (int k = 0; k < PANEL_DEPTH; k += 16) {
        u32 b[PANEL_N / 2][4];
        UNROLL
        for (int j = 0; j < PANEL_N / 2; j++) load_matrix4(b[j], y + j * 16 * PANEL_PITCH + k);
        UNROLL
        for (int i = 0; i < PANEL_WARP_ROWS / 16; i++) {
            u32 a[4];
            load_matrix4(a, x + i * 16 * PANEL_PITCH + k);
            UNROLL
            for (int j = 0; j < PANEL_N; j++) mma_16x8x16(sum + (i * PANEL_N + j) * 4, a, b[j / 2] + j % 2 * 2);
        }
    }
}
#endif
#endif
