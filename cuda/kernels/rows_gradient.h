/* cuda/kernels/rows_gradient.h - arguments of the gradients of softmax and layer norm. */
#ifndef PANUM_CUDA_KERNELS_ROWS_GRADIENT_H
#define PANUM_CUDA_KERNELS_ROWS_GRADIENT_H
#include "cuda/device/places.h"
#include "cuda/kernels/region.h"

/* x (of softmax: its result) and dy: rows whose channels lie side by side. dx is dense, and may be x or dy where those
 * lie the same way. */
typedef struct {
    const void *x, *dy;       /* numbers as device/value.h says: x Value, dy Slope, dx Result */
    const float *weight;      /* [channels]; NULL is ones */
    void *dx;                 /* unused when a region stores */
    float *spread;            /* [row][2]: mean and 1 / sqrt(variance + eps); of the plain rung */
    double *part;             /* [tile][2][channel]: sums of dy z and of dy. NULL: not asked for */
    float *d_weight, *d_bias; /* of the plain rung; NULL: not asked for */
    RowPlaces x_places, dy_places;
    i64 rows, tile; /* rows of a tile: one block's */
    int channels;
    float eps;
    RegionPlaces places; /* of the region in the hole on store of layer norm's gradient */
} RowsGradientArgs;
#endif
