/* cuda/kernels/lookup.h - arguments of what reads correlation volumes: lookup, the halving of rows, and the number of
 * each column. Offsets are in floats. */
#ifndef PANUM_CUDA_KERNELS_LOOKUP_H
#define PANUM_CUDA_KERNELS_LOOKUP_H
#include "cuda/device/types.h"

enum { LOOKUP_TAPS_A_PIXEL = 9, LOOKUP_REACH = 4 };

/* Rows of pixels are h of each of the pairs: block_y and block_z; `coarse` (1, or 2 for R1) pixels of a side share a
 * row of the volume. */
typedef struct {
    const float *cv, *disparity;
    const float *dy; /* by channels-last strides; of gradients */
    float *y;        /* [pair][h][w][9], or the gradient: of the volume [pair][h/coarse][w/coarse][m], of the disparity
                        [pair][h][w]; dense */
    i64 cv_pair, cv_row, cv_column, d_pair, d_row, d_column, dy_pair, dy_tap, dy_row, dy_column;
    int h, w, m, step, coarse, half_pixel;
} LookupArgs;

/* `from` has its innermost step of 1 for pool_pairs and even_pairs; for their gradients it is that of the smaller one.
 * `to` is dense: m entries of each of w columns of each row. */
typedef struct {
    const float *from;
    float *to;
    i64 pair, row, column, step;
    int h, w, m;
} PairsArgs;

typedef struct {
    float *to; /* [pair][h][w] */
    int h, w;
} ColumnArgs;
#endif
