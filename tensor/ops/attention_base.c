/* tensor/ops/attention_base.c - attention_simd.h in plain vectors of four, for any machine; and the choice of level. */
#include "tensor/ops/attention_simd.h"

const AttentionKernels *attention_kernels(CpuLevel level) {
#if defined(__x86_64__)
    if (level >= CPU_AVX512) return &attention_kernels_avx512;
    if (level >= CPU_AVX2) return &attention_kernels_avx2;
#endif
    (void)level;
    return &attention_kernels_base;
}
