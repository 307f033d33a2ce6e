/* cuda/kernels/sample.h - arguments of a picture read at other places (grid_sample) and of its gradients. */
#ifndef PANUM_CUDA_KERNELS_SAMPLE_H
#define PANUM_CUDA_KERNELS_SAMPLE_H
#include "cuda/device/types.h"

/* Numbers of x and dy are as device/value.h says, of the grid f32. */
typedef struct {
    const void *at;
    i64 picture, channel, row, column; /* strides in elements */
} SampleMap;

/* What a stretch of the grid reads: rows top .. bottom and columns left .. right of the picture. */
typedef struct {
    int top, bottom, left, right;
} SampleReach;

enum { SAMPLE_STRETCH = 32 };

/* The picture is of h x w; the grid, and what is read there, of rows x columns. Results are dense, channels last. */
typedef struct {
    SampleMap x, grid, dy;
    void *y;                    /* of grid_sample: what is read; of the gradients: theirs; as Result but by the grid */
    SampleReach *row, *stretch; /* scratch of the gradient to the picture: [picture][row] and [picture][row][stretch] */
    int pictures, channels, h, w, rows, columns, stretches;
    int border, align_corners; /* yes or no */
} SampleArgs;
#endif
