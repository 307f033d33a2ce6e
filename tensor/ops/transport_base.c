/* tensor/ops/transport_base.c - transport_simd.h in plain vectors of four, for any machine; and the choice of level. */
#include "tensor/ops/transport_simd.h"

const TransportKernels *transport_kernels(CpuLevel level) {
#if defined(__x86_64__)
    if (level >= CPU_AVX512) return &transport_kernels_avx512;
    if (level >= CPU_AVX2) return &transport_kernels_avx2;
#endif
    (void)level;
    return &transport_kernels_base;
}
