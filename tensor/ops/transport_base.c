/* tensor/ops/transport_base.c - transport_simd.h in plain vectors of four, for any machine; and the choice of level. */
#include "tensor/ops/transport_simd.h"

TransportKernel transport_kernel(CpuLevel level) {
#if defined(__x86_64__)
    if (level >= CPU_AVX512) return transport_row_avx512;
    if (level >= CPU_AVX2) return transport_row_avx2;
#endif
    (void)level;
    return transport_row_base;
}
