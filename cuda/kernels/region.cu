/* cuda/kernels/region.cu - a pointwise region alone: one element a thread. What is done with an element is the
 * generated function `region` before this text (cuda/region.c); without one the kernel copies. */
#include "cuda/device/pointwise.h"
#include "cuda/kernels/region.h"

#ifndef REGION_GENERATED
DEVICE void region(i64 row, i64 column, float tile, const RegionPlaces *p) {
    (void)tile;
    p->output[0][row * p->output_stride[0] + column] =
        ((const float *)p->operand[0])[row * p->operand_stride[0] + column];
}
#endif

KERNEL(region_alone, 256, RegionArgs, a) {
    i64 at = (i64)block_x() * 256 + thread_x();
    if (at >= a.rows * a.columns) return; /* nobody is waited for */
    i64 row = at / a.columns;
    region(row, at - row * a.columns, 0, &a.places);
}
