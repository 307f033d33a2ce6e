/* tensor/ops/ncc_base.c - ncc_simd.h in plain vectors of four, for any machine; and the choice of level. */
#include "tensor/ops/ncc_simd.h"

const NccKernels *ncc_kernels(CpuLevel level) {
#if defined(__x86_64__) && !defined(PANUM_F64) /* of the f64 build the vector files are no part */
    if (level >= CPU_AVX512) return &ncc_kernels_avx512;
    if (level >= CPU_AVX2) return &ncc_kernels_avx2;
#endif
    (void)level;
    return &ncc_kernels_base;
}
