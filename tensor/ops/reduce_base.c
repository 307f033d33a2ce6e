/* tensor/ops/reduce_base.c - reduce_simd.h in plain vectors of four, for any machine; and the choice of level. */
#include "tensor/ops/reduce_simd.h"

const ReduceKernels *reduce_kernels(CpuLevel level) {
#if defined(__x86_64__)
    if (level >= CPU_AVX512) return &reduce_kernels_avx512;
    if (level >= CPU_AVX2) return &reduce_kernels_avx2;
#endif
    (void)level;
    return &reduce_kernels_base;
}
