/* cuda/kernels/convex.h - arguments of convex upsampling and its gradient. Offsets are in numbers. */
#ifndef PANUM_CUDA_KERNELS_CONVEX_H
#define PANUM_CUDA_KERNELS_CONVEX_H
#include "cuda/device/types.h"

/* x is h x w of each pair, results factor times as many a side. Of logits the nine of a pixel lie side by side. Results
 * are dense: y [pair][factor h][factor w], dx [pair][h][w], dlogits [pair][factor h][factor w][9]. Logits are numbers
 * as device/value.h says, and dlogits are Results; what is upsampled, disparities and the like, is f32. */
typedef struct {
    const float *x, *dy;
    const void *logits;
    float *y, *dx;
    void *dlogits;
    i64 x_pair, x_row, x_column, l_pair, l_row, l_column, dy_pair, dy_row, dy_column;
    int h, w, factor, clipped;
} ConvexArgs;
#endif
