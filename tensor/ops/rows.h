/* tensor/ops/rows.h - a tensor seen as positions times channels: a map (N,C,H,W) has N*H*W positions, tokens (...,C)
 * as many as their leading axes. Positions are counted in memory order of a dense tensor, which is the order of
 * outputs and of holes (tensor/op.h); an input may be a view with other strides. */
#ifndef PANUM_TENSOR_OPS_ROWS_H
#define PANUM_TENSOR_OPS_ROWS_H
#include "tensor/tensor.h"

typedef struct {
    int axes;
    int64_t size[RANK_MAX], stride[RANK_MAX]; /* of the axes of positions */
    int64_t count;                            /* positions */
    int64_t step; /* elements from one position to the next; 0 when they are not evenly spaced */
    int64_t channels, channel_stride;
} Rows;

static inline Rows rows_of(const Tensor *t) {
    int channel = t->rank == 4 ? 1 : t->rank - 1;
    Rows rows = {.count = 1, .channels = t->size[channel], .channel_stride = t->stride[channel]};
    for (int axis = 0; axis < t->rank; axis++) {
        if (axis == channel) continue;
        rows.size[rows.axes] = t->size[axis];
        rows.stride[rows.axes++] = t->stride[axis];
        rows.count *= t->size[axis];
    }
    int64_t run = 1; /* positions in the axes already looked at, innermost first */
    for (int axis = rows.axes - 1; axis >= 0; axis--) {
        if (rows.size[axis] == 1) continue;
        if (run == 1)
            rows.step = rows.stride[axis];
        else if (rows.stride[axis] != rows.step * run)
            return rows.step = 0, rows;
        run *= rows.size[axis];
    }
    if (run == 1) rows.step = rows.channels;
    return rows;
}

/* Elements in a tile of rows: some tens of microseconds of memory traffic. */
enum { ROWS_TILE = 1 << 16 };

/* Elements from the tensor's first one to the first channel of a position. */
static inline int64_t rows_at(const Rows *rows, int64_t position) {
    if (rows->step) return position * rows->step;
    int64_t at = 0;
    for (int axis = rows->axes - 1; axis >= 0; axis--) {
        at += position % rows->size[axis] * rows->stride[axis];
        position /= rows->size[axis];
    }
    return at;
}

/* How many positions from `position` on, at most `limit`, are evenly spaced; *step says by how many elements. */
static inline int64_t rows_run(const Rows *rows, int64_t position, int64_t limit, int64_t *step) {
    *step = rows->step;
    if (rows->step || !rows->axes) return limit;
    const int64_t inner = rows->size[rows->axes - 1], left = inner - position % inner;
    *step = rows->stride[rows->axes - 1];
    return left < limit ? left : limit;
}

/* What the operators of this room ask of their inputs: real numbers, the channels of a position side by side. */
static inline bool rows_usable(const Tensor *t) {
    int channel = t->rank == 4 ? 1 : t->rank - 1;
    return t->dtype == DTYPE_F32 && t->rank >= 1 && (t->size[channel] == 1 || t->stride[channel] == 1);
}
#endif
