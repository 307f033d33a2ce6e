/* tensor/ops/math_base.c - math_simd.h in plain vectors of four, for any machine; and the choice between the levels. */
#include "tensor/ops/math_simd.h"

MathApply math_apply(CpuLevel level) {
#if defined(__x86_64__)
    if (level >= CPU_AVX512) return math_apply_avx512;
    if (level >= CPU_AVX2) return math_apply_avx2;
#endif
    (void)level;
    return math_apply_base;
}

MathPeak math_peak(CpuLevel level) {
#if defined(__x86_64__)
    if (level >= CPU_AVX512) return math_peak_avx512;
    if (level >= CPU_AVX2) return math_peak_avx2;
#endif
    (void)level;
    return math_peak_base;
}
