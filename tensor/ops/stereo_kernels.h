/* tensor/ops/stereo_kernels.h - the vector part of the box filter (box.c), and of the gradients of lookup, convex
 * upsampling and resizing (lookup_gradient.c, convex_gradient.c, resample_gradient.c). */
#ifndef PANUM_TENSOR_OPS_STEREO_KERNELS_H
#define PANUM_TENSOR_OPS_STEREO_KERNELS_H
#include "base/cpu.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    /* sums[i] = x[i] + x[i + step] + ... + x[i + (k-1) step] for i < n - (k-1) step. x (of n) is spoiled. The order of
     * addition is the same at every level. */
    void (*box)(int64_t n, int64_t k, int64_t step, float *x, float *sums);
} StereoKernels;

const StereoKernels *stereo_kernels(CpuLevel level);
extern const StereoKernels stereo_kernels_base, stereo_kernels_avx2, stereo_kernels_avx512;
#endif
