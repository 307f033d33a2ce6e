/* tensor/ops/math_kernels.h - the functions of simd_math.h over arrays, at a chosen instruction level: for tests of
 * them. */
#ifndef PANUM_TENSOR_OPS_MATH_KERNELS_H
#define PANUM_TENSOR_OPS_MATH_KERNELS_H
#include "base/cpu.h"
#include <stdint.h>

typedef enum {
    MATH_EXP,
    MATH_EXP2,
    MATH_EXP2_SMALL,
    MATH_LOG,
    MATH_SIGMOID,
    MATH_TANH,
    MATH_GELU,
    MATH_LOGIT, /* held in [0.01, 0.99] */
    MATH_COUNT,
} MathFunction;
typedef void (*MathApply)(MathFunction function, int64_t n, const float *x, float *y);
MathApply math_apply(CpuLevel level);
void math_apply_base(MathFunction function, int64_t n, const float *x, float *y);
void math_apply_avx2(MathFunction function, int64_t n, const float *x, float *y);
void math_apply_avx512(MathFunction function, int64_t n, const float *x, float *y);

/* Does `rounds` rounds of independent multiply-adds in registers; returns how many floating-point operations that were.
 * (The sum goes to *keep, so that no compiler takes it away.) */
typedef double (*MathPeak)(int64_t rounds, float *keep);
MathPeak math_peak(CpuLevel level);
double math_peak_base(int64_t rounds, float *keep);
double math_peak_avx2(int64_t rounds, float *keep);
double math_peak_avx512(int64_t rounds, float *keep);
#endif
