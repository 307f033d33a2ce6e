/* cuda/kernels/move.h - arguments of kernels that move numbers. */
#ifndef PANUM_CUDA_KERNELS_MOVE_H
#define PANUM_CUDA_KERNELS_MOVE_H
#include "cuda/device/types.h"

enum { MOVE_AXES = 6 };

/* to[index . to_stride] = from[index . from_stride] for every index below size; the last axis runs fastest over
 * threads, so it should be the innermost one of `to`. Axes in front that are not there have size 1. */
typedef struct {
    const void *from;
    void *to;
    i64 count, size[MOVE_AXES], from_stride[MOVE_AXES], to_stride[MOVE_AXES];
} CopyBoxArgs;

/* The same with zeros around it along one axis: `size` is that of `to`; from[index] is at index - start where start <=
 * index < end on that axis. */
typedef struct {
    CopyBoxArgs box;
    int axis;
    i64 start, end;
} PadBoxArgs;

typedef struct {
    void *to;
    i64 count;
    float value;
} FillArgs;
#endif
