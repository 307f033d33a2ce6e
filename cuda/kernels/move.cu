/* cuda/kernels/move.cu - copies between layouts: what cat, copy and pad_zeros are made of; and one number everywhere.
 * One element a thread. */
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

KERNEL(pad_box, 256, PadBoxArgs, a) {
    i64 at = (i64)block_x() * 256 + thread_x(), from = -a.start * a.box.from_stride[a.axis], to = 0;
    int inside = 1;
    if (at >= a.box.count) return; /* nobody is waited for */
    UNROLL
    for (int k = MOVE_AXES - 1; k >= 0; k--) {
        i64 rest = at / a.box.size[k], index = at - rest * a.box.size[k];
        from += index * a.box.from_stride[k];
        to += index * a.box.to_stride[k];
        if (k == a.axis) inside = index >= a.start && index < a.end;
        at = rest;
    }
    ((Result *)a.box.to)[to] = f32_result(inside ? value_f32(((const Value *)a.box.from)[from]) : 0);
}

KERNEL(fill_all, 256, FillArgs, a) {
    i64 at = (i64)block_x() * 256 + thread_x();
    if (at < a.count) ((Result *)a.to)[at] = f32_result(a.value);
}
