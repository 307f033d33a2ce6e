/* tensor/ops/reduce_kernels.h - inside tensor/ops: the vector parts of reduce.c. Bound by memory: each element is read
 * once and added in double. Strides are in floats. */
#ifndef PANUM_TENSOR_OPS_REDUCE_KERNELS_H
#define PANUM_TENSOR_OPS_REDUCE_KERNELS_H
#include "base/cpu.h"
#include <stdint.h>

typedef struct {
    /* Of rows of `channels` values: of everything; of each row, to[row]; of each channel, to[channel] (set, not added).
     */
    double (*all)(int64_t rows, int64_t channels, const float *x, int64_t step);
    void (*channels)(int64_t rows, int64_t channels, const float *x, int64_t step, float *to);
    void (*positions)(int64_t rows, int64_t channels, const float *x, int64_t step, double *to);
} ReduceKernels;

const ReduceKernels *reduce_kernels(CpuLevel level);
extern const ReduceKernels reduce_kernels_base, reduce_kernels_avx2, reduce_kernels_avx512;
#endif
