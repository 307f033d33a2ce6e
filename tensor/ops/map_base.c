/* tensor/ops/map_base.c - map_simd.h in plain vectors of four, for any machine; and the choice of level. */
#include "tensor/ops/map_simd.h"

const MapKernels *map_kernels(CpuLevel level) {
#if defined(__x86_64__)
    if (level >= CPU_AVX512) return &map_kernels_avx512;
    if (level >= CPU_AVX2) return &map_kernels_avx2;
#endif
    (void)level;
    return &map_kernels_base;
}
