/* cuda/kernels/box.h - arguments of means over square windows and their gradient. */
#ifndef PANUM_CUDA_KERNELS_BOX_H
#define PANUM_CUDA_KERNELS_BOX_H
#include "cuda/device/types.h"

/* x is a map of in_h x in_w with strides in elements; y is dense, channels last, of out_h x out_w. Of the gradient x is
 * dy and y is dx: `backward`. `map_h`, `map_w`: of what the windows lie in, x or dx. The grid is: columns times
 * channels of what is written / 256, its rows, pictures. Sides, window, stride and padding are below BOX_SIDE. */
enum { BOX_SIDE = 1 << 24 };

typedef struct {
    const void *x; /* numbers as device/value.h says: of x as Value, of y as Result */
    void *y;
    float *sums; /* of the fast rung: [picture][in_h][out_w][channel], sums along the rows */
    i64 x_picture, x_row, x_column, x_channel;
    int channels, in_h, in_w, out_h, out_w;
    int map_h, map_w;
    int kernel, stride, pad;
    int exclude_pad, backward; /* yes or no */
} BoxArgs;
#endif
