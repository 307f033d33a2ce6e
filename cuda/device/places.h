/* cuda/device/places.h - where the rows of a tensor lie: positions (everything but the channels) in the order in which
 * a dense tensor has them (tensor/ops/rows.h). Launchers fill RowPlaces; kernels ask row_at. */
#ifndef PANUM_CUDA_DEVICE_PLACES_H
#define PANUM_CUDA_DEVICE_PLACES_H
#include "cuda/device/types.h"

enum { PLACES_AXES = 5 };

/* Strides in elements; the last axis runs fastest; axes in front that are not there have size 1. */
typedef struct {
    i64 size[PLACES_AXES], stride[PLACES_AXES];
    i64 step; /* from row to row, where that is the same everywhere; 0: ask the axes */
    i64 channel_stride;
} RowPlaces;

#ifdef DEVICE
DEVICE i64 row_at(const RowPlaces *r, i64 row) {
    if (r->step) return row * r->step;
    i64 at = 0;
    UNROLL
    for (int k = PLACES_AXES - 1; k >= 0; k--) {
        i64 rest = row / r->size[k];
        at += (row - rest * r->size[k]) * r->stride[k];
        row = rest;
    }
    return at;
}
#endif
#endif
