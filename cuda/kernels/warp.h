/* cuda/kernels/warp.h - arguments of pictures read along their own rows, and the gradients of that. Offsets are in
 * numbers. */
#ifndef PANUM_CUDA_KERNELS_WARP_H
#define PANUM_CUDA_KERNELS_WARP_H
#include "cuda/device/types.h"

/* Pictures of h x w, the channels of x side by side, a disparity in f32 for each pixel. Numbers of x and dy are as
 * device/value.h says, and so are those of y, but the disparity's gradient is f32, as `inside` is. Results are dense:
 * [pair][h][w] of channels (y, the picture's gradient), or of one number (inside, the disparity's gradient). */
typedef struct {
    const void *x, *dy;
    const float *disparity;
    void *y;
    float *inside;
    i64 x_pair, x_row, x_column, d_pair, d_row, d_column, dy_pair, dy_channel, dy_row, dy_column;
    int h, w, channels, border;
} WarpArgs;
#endif
