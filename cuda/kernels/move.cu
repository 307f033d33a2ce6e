/* cuda/kernels/move.cu - copies between layouts: what cat, copy and their like are made of. One element a thread. */
#include "cuda/device/value.h"
#include "cuda/kernels/move.h"

KERNEL(copy_box, 256, CopyBoxArgs, a) {
    i64 at = (i64)block_x() * 256 + thread_x(), from = 0, to = 0;
    if (at >= a.count) return; /* nobody is waited for */
    UNROLL
    for (int k = MOVE_AXES - 1; k >= 0; k--) {
        i64 rest = at / a.size[k], index = at - rest * a.size[k];
        from += index * a.from_stride[k];
        to += index * a.to_stride[k];
        at = rest;
    }
    ((Result *)a.to)[to] = f32_result(value_f32(((const Value *)a.from)[from]));
}
