/* cuda/device/attend.h - what the fast rungs of attention in f32 and of its gradient are made of: a block takes some
 * rows (ROWS of each sixteen threads) and meets tokens 64 at a time, in chunks of some columns where they are
 * multiplied by rows (scores), and of some tokens where they are summed with weights. cuda/kernels/attention.h says
 * what WIDTH, ROWS, THREADS and PIECES are.
 *
 * A thread holds ROWS x 4 scores and ROWS x WIDTH/16 sums in registers: ROWS x 4 multiply-adds for each ROWS + 4 loads
 * of 16 bytes from shared memory, without bank conflicts. Sums run over columns, and over tokens, in order. */
#ifndef PANUM_CUDA_DEVICE_ATTEND_H
#define PANUM_CUDA_DEVICE_ATTEND_H
#include "cuda/device/device.h"
#include "cuda/device/value.h"
#include "cuda/kernels/attention.h"

#define LANES ATTENTION_LANES
#define KEYS ATTENTION_KEYS
#define QUERIES ATTENTION_QUERIES(ROWS, THREADS)
#define COLUMNS (WIDTH / LANES) /* results of a thread in each of its rows */
#define DEPTH ATTENTION_DEPTH(WIDTH)
#define VALUES ATTENTION_VALUES(WIDTH)
#define KEY_CHUNKS (WIDTH / DEPTH)
#define VALUE_CHUNKS (KEYS / VALUES)
/* Rows of so many floats that eight rows begin in different banks, by 16 bytes. */
#define QUERY_PITCH (WIDTH + 4)
#define KEY_PITCH (DEPTH + 4)
#define WEIGHT_PITCH ATTENTION_WEIGHT_PITCH

/* A thread's row `r` of the block's: the two halves of a warp own four rows each in turn, so that they write weights to
 * different banks. */
DEVICE int row_of(int r) {
    int group = thread_x() / LANES;
#if ROWS >= 4
    return group / 2 * (2 * ROWS) + r / 4 * 8 + group % 2 * 4 + r % 4;
#else
    return group * ROWS + r;
#endif
}

/* The tokens of one head of one batch. */
typedef struct {
    const Value *at;
    i64 row;
} Side;

DEVICE Side side_of(Tokens t, i64 batch, int column) {
    Side side = {(const Value *)t.at + batch * t.batch + column, t.row};
    return side;
}

/* Four columns of a token, of which `there` exist. */
DEVICE void fetch4(float *to, const Value *from, int there) {
#ifdef PIECES
    copy16(to, from, there > 0);
#else
    UNROLL
    for (int i = 0; i < 4; i++) to[i] = i < there ? value_f32(from[i]) : 0;
#endif
}

/* rows x columns of tokens from `first` on, column `column` on; zeros where there are none. */
DEVICE void fetch(float *to, int pitch, int rows, int columns, Side t, int first, int count, int column, int width) {
    for (int i = thread_x(); i < rows * (columns / 4); i += THREADS) {
        int row = i / (columns / 4), c = i % (columns / 4) * 4, left = width - column - c;
        int there = first + row < count && left > 0 ? left : 0;
        fetch4(to + row * pitch + c, there ? t.at + (first + row) * t.row + column + c : t.at, there);
    }
}

/* Part `part` of 64 tokens from `first` on: some of their columns, or some of them. */
DEVICE void fetch_columns(float *to, Side t, int first, int count, int part, int width) {
    fetch(to, KEY_PITCH, KEYS, DEPTH, t, first, count, part * DEPTH, width);
}
DEVICE void fetch_rows(float *to, Side t, int first, int count, int part, int width) {
    fetch(to, WIDTH, VALUES, WIDTH, t, first + part * VALUES, count, 0, width);
}

/* s += q k of one chunk's columns */
DEVICE void add_scores(float s[ROWS][4], const float *q, const float *k) {
    int lane = thread_x() % LANES;
    UNROLL_BY(1)
    for (int d = 0; d < DEPTH; d += 4) {
        Float4 key[4];
        UNROLL
        for (int c = 0; c < 4; c++) key[c] = load4_f32(k + (lane + LANES * c) * KEY_PITCH + d);
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            Float4 x = load4_f32(q + row_of(r) * QUERY_PITCH + d);
            UNROLL
            for (int c = 0; c < 4; c++) {
                s[r][c] = fma_f32(x.x, key[c].x, s[r][c]);
                s[r][c] = fma_f32(x.y, key[c].y, s[r][c]);
                s[r][c] = fma_f32(x.z, key[c].z, s[r][c]);
                s[r][c] = fma_f32(x.w, key[c].w, s[r][c]);
            }
        }
    }
}

/* o += weight times a row of values: columns 64 n + 4 lane .. + 3 where the width is such, else 16 n + lane */
DEVICE void add_row(float o[ROWS][COLUMNS], const float *weight, const float *v) {
    int lane = thread_x() % LANES;
#if WIDTH % 64 == 0
    UNROLL
    for (int n = 0; n < COLUMNS; n += 4) {
        Float4 x = load4_f32(v + n * LANES + 4 * lane);
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            o[r][n] = fma_f32(weight[r], x.x, o[r][n]);
            o[r][n + 1] = fma_f32(weight[r], x.y, o[r][n + 1]);
            o[r][n + 2] = fma_f32(weight[r], x.z, o[r][n + 2]);
            o[r][n + 3] = fma_f32(weight[r], x.w, o[r][n + 3]);
        }
    }
#else
    UNROLL
    for (int n = 0; n < COLUMNS; n++) {
        float x = v[n * LANES + lane];
        UNROLL
        for (int r = 0; r < ROWS; r++) o[r][n] = fma_f32(weight[r], x, o[r][n]);
    }
#endif
}

DEVICE int column_of(int n) {
    int lane = thread_x() % LANES;
#if WIDTH % 64 == 0
    return n / 4 * 4 * LANES + 4 * lane + n % 4;
#else
    return n * LANES + lane;
#endif
}

/* o += p v of one chunk's rows */
DEVICE void add_values(float o[ROWS][COLUMNS], const float *p, const float *v) {
    UNROLL_BY(1)
    for (int j = 0; j < VALUES; j += 4) {
        Float4 four[ROWS];
        float weight[ROWS];
        UNROLL
        for (int r = 0; r < ROWS; r++) four[r] = load4_f32(p + row_of(r) * WEIGHT_PITCH + j);
        UNROLL
        for (int r = 0; r < ROWS; r++) weight[r] = four[r].x;
        add_row(o, weight, v + j * WIDTH);
        UNROLL
        for (int r = 0; r < ROWS; r++) weight[r] = four[r].y;
        add_row(o, weight, v + (j + 1) * WIDTH);
        UNROLL
        for (int r = 0; r < ROWS; r++) weight[r] = four[r].z;
        add_row(o, weight, v + (j + 2) * WIDTH);
        UNROLL
        for (int r = 0; r < ROWS; r++) weight[r] = four[r].w;
        add_row(o, weight, v + (j + 3) * WIDTH);
    }
}

/* Of the sixteen threads of a row. */
DEVICE float lanes_max(float v) {
    UNROLL
    for (int m = LANES / 2; m; m >>= 1) v = max_f32(v, warp_xor(v, m));
    return v;
}
DEVICE float lanes_sum(float v) {
    UNROLL
    for (int m = LANES / 2; m; m >>= 1) v += warp_xor(v, m);
    return v;
}
#endif
