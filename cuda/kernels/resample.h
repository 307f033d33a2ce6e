/* cuda/kernels/resample.h - arguments of what gives a map another size: pooling, resizing, and their gradients. */
#ifndef PANUM_CUDA_KERNELS_RESAMPLE_H
#define PANUM_CUDA_KERNELS_RESAMPLE_H
#include "cuda/device/types.h"

/* x is a map of in_h x in_w with strides in elements; y is dense, channels last, of out_h x out_w. Of a gradient x is
 * dy and y is dx. The grid is: columns times channels of y / 256, rows of y, pictures. Sides are below RESAMPLE_SIDE,
 * so that positions are exact in 32 bits. */
enum { RESAMPLE_SIDE = 32768 };

typedef struct {
    const void *x; /* numbers as device/value.h says: of x as Value, of y as Result */
    void *y;
    i64 x_picture, x_row, x_column, x_channel;
    int channels, in_h, in_w, out_h, out_w;
} ResampleArgs;
#endif
