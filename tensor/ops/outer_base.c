/* tensor/ops/outer_base.c - outer_simd.h in plain vectors of four, for any machine; and the choice of level. */
#include "tensor/ops/outer_simd.h"

const OuterKernels *outer_kernels(CpuLevel level) {
#if defined(__x86_64__)
    if (level >= CPU_AVX512) return &outer_kernels_avx512;
    if (level >= CPU_AVX2) return &outer_kernels_avx2;
#endif
    (void)level;
    return &outer_kernels_base;
}
