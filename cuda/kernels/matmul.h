/* cuda/kernels/matmul.h - arguments of the f32 matrix products. */
#ifndef PANUM_CUDA_KERNELS_MATMUL_H
#define PANUM_CUDA_KERNELS_MATMUL_H
#include "cuda/device/types.h"
#include "cuda/kernels/region.h"

enum { MATMUL_SEGMENTS = 8 };

/* A part of the left operand: `depth` of its columns. Row r lies at the sum of its three digits times row[], its digits
 * being r / (rows[0] rows[1]), r / rows[1] % rows[0] and r % rows[1]; columns are `step` apart. */
typedef struct {
    const void *at;
    i64 depth, row[3], step;
} MatmulSegment;

/* c[batch][r][j] = bias[j] + sum over k of a[batch][r][k] b[batch][j][k], any strides (elements). */
typedef struct {
    MatmulSegment segment[MATMUL_SEGMENTS];
    const void *b;
    const float *bias; /* NULL: none */
    void *c;           /* rows of n, c_row apart; unused when a region stores */
    i64 m, n;
    i64 rows[2];
    i64 a_batch, b_batch, c_batch;
    i64 b_column, b_step; /* from j to j + 1, from k to k + 1 */
    i64 c_row;
    int segments;
    RegionPlaces places; /* of the region in the hole on store: its row is batch m + r, its column j */
} MatmulArgs;
#endif
