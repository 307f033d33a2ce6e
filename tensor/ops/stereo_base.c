/* tensor/ops/stereo_base.c - stereo_simd.h in plain vectors of four, for any machine; and the choice of level. */
#include "tensor/ops/stereo_simd.h"

const StereoKernels *stereo_kernels(CpuLevel level) {
#if defined(__x86_64__)
    if (level >= CPU_AVX512) return &stereo_kernels_avx512;
    if (level >= CPU_AVX2) return &stereo_kernels_avx2;
#endif
    (void)level;
    return &stereo_kernels_base;
}
