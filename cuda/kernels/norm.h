/* cuda/kernels/norm.h - arguments of group norm and its gradient. */
#ifndef PANUM_CUDA_KERNELS_NORM_H
#define PANUM_CUDA_KERNELS_NORM_H
#include "cuda/device/types.h"

/* What is kept of a channel of a tile, and of a channel of a picture: as many rows of `channels` floats. The gradient
 * takes all of them, group norm the first three. */
enum {
    PART_MEAN,    /* of x, rounded */
    PART_REST,    /* what rounding took from it */
    PART_SQUARES, /* sum of (x - mean)^2 */
    PART_SUM,     /* of dy */
    PART_PRODUCT, /* sum of dy (x - mean) */
    PARTS_FORWARD = PART_SUM,
    PARTS_BACKWARD = PART_PRODUCT + 1
};
enum {
    TABLE_CENTRE,
    TABLE_SCALE,
    TABLE_SHIFT,
    TABLE_SLOPE,
    TABLE_D_WEIGHT, /* this picture's share */
    TABLE_D_BIAS,
    TABLES_FORWARD = TABLE_SLOPE,
    TABLES_BACKWARD = TABLE_D_BIAS + 1
};

/* x and dy are maps whose channels lie side by side, strides in elements; y (dx, of the gradient) is dense and channels
 * last, and may be x or dy if those are. Positions of a picture are counted along its rows; `tile` of them are one
 * thread's for each channel. */
typedef struct {
    const void *x, *dy;         /* numbers as device/value.h says: of x and dy as Value, of y as Result */
    const float *weight, *bias; /* [channels], NULL is ones and zeros */
    void *y;
    float *d_weight, *d_bias; /* NULL: not asked for */
    float *part;              /* [picture][tile][PARTS][channel] */
    float *table;             /* [picture][TABLES][channel] */
    i64 x_picture, x_row, x_column;
    i64 dy_picture, dy_row, dy_column;
    int pictures, h, w, channels, groups, tile, tiles;
    float eps;
    double share; /* one value's of its group: 1 / (positions times channels of a group) */
} GroupNormArgs;
#endif
