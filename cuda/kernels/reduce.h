/* cuda/kernels/reduce.h - arguments of sums. */
#ifndef PANUM_CUDA_KERNELS_REDUCE_H
#define PANUM_CUDA_KERNELS_REDUCE_H
#include "cuda/device/places.h"

typedef struct {
    const void *x; /* numbers as device/value.h says */
    RowPlaces places;
    i64 rows, tile; /* rows of a tile: one block's (of sum_positions) */
    double *part;   /* [tile][channel] */
    float *y;
    int channels;
    int lanes; /* threads side by side along the channels: a power of two, 32 at most */
} ReduceArgs;

/* y[e] = sum of part[tile][e] over the tiles, e < width; what is beyond `first` goes to `rest` instead. */
typedef struct {
    const double *part;
    i64 tiles;
    float *y, *rest; /* NULL: not asked for */
    int width, first;
} SumTilesArgs;
#endif
