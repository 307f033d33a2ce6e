/* cuda/kernels/rows.h - arguments of what works on the channels of each position: softmax, layer norm. */
#ifndef PANUM_CUDA_KERNELS_ROWS_H
#define PANUM_CUDA_KERNELS_ROWS_H
#include "cuda/device/types.h"
#include "cuda/kernels/region.h"

enum { ROWS_AXES = 5 };

/* Row r of x begins at the sum of its digits (the last axis runs fastest) times their strides; its channels lie side by
 * side. Rows of y are dense. */
typedef struct {
    const void *x;
    const float *weight, *bias; /* [channels], NULL is ones and zeros */
    void *y;                    /* unused when a region stores; may be x, if the layout is the same */
    i64 rows, size[ROWS_AXES], stride[ROWS_AXES];
    int channels;
    float eps;
    RegionPlaces places; /* of the region in the hole on store of layer norm */
} RowsArgs;
#endif
