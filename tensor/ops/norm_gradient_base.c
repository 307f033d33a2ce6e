/* tensor/ops/norm_gradient_base.c - norm_gradient_simd.h in plain vectors of four, for any machine; and the choice of
 * level. */
#include "tensor/ops/norm_gradient_simd.h"

const NormGradientKernels *norm_gradient_kernels(CpuLevel level) {
#if defined(__x86_64__)
    if (level >= CPU_AVX512) return &norm_gradient_kernels_avx512;
    if (level >= CPU_AVX2) return &norm_gradient_kernels_avx2;
#endif
    (void)level;
    return &norm_gradient_kernels_base;
}
