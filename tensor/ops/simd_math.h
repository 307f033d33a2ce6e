/* tensor/ops/simd_math.h - elementary functions on vectors, for *_simd.h files. No tables, no branches.
 *
 * Each is a polynomial made for this file (Remez exchange on the interval named beside it) after an exact reduction.
 * The largest errors, measured against long double over the ranges of tests/ops/test_simd_math.c at all three widths:
 *   v_exp, v_exp2   1.2 ulp; denormal results rounded; -inf gives 0, +inf gives +inf
 *   v_log           0.9 ulp; 0 gives -inf, below 0 NaN, +inf gives +inf, denormals as the others
 *   v_sigmoid       2.3 ulp down to 2^-126
 *   v_tanh          1.2 ulp
 *   v_gelu          1e-7 max(1, |x|) in absolute terms; in the tail down to x = -6 also 2e-4 relative
 *   v_logit         3e-7 in absolute terms for low = 0.01
 * NaN gives NaN in all. */
#ifndef PANUM_TENSOR_OPS_SIMD_MATH_H
#define PANUM_TENSOR_OPS_SIMD_MATH_H
#include "tensor/ops/simd.h"

typedef uint32_t vu __attribute__((vector_size(VW * 4))); /* exponents are put together where overflow may wrap */

static inline vf v_abs(vf x) {
    return (vf)(v_bits(x) & 0x7fffffff);
}

/* Nearest whole number, ties to even; |x| < 2^22. */
static inline vf v_round(vf x) {
#if defined(__AVX512F__)
    return (vf)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
    return (vf)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    vf shifted = x + 12582912.0f; /* 1.5 * 2^23: the fraction falls off */
    return shifted - 12582912.0f;
#endif
}

static inline vi v_to_int(vf x) {
    return __builtin_convertvector(x, vi);
}
static inline vf v_from_int(vi x) {
    return __builtin_convertvector(x, vf);
}

/* p 2^n, n whole. Two factors, so that results between 2^-150 and 2^-126 come out rounded and 2^128 infinite. */
static inline vf v_scale(vf p, vf n) {
#if defined(__AVX512F__)
    return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    vi whole = v_to_int(n), half = whole >> 1;
    return p * (vf)((vu)(half + 127) << 23) * (vf)((vu)(whole - half + 127) << 23);
#endif
}

/* 2^f on [-1/2, 1/2], relative error 3.9e-9; exactly 1 at 0. */
static inline vf v_exp2_fraction(vf f) {
    vf p = v_fma(v_set(1.5469737e-4f), f, v_set(1.3410007e-3f));
    p = v_fma(p, f, v_set(9.6180308e-3f));
    p = v_fma(p, f, v_set(5.5502973e-2f));
    p = v_fma(p, f, v_set(2.4022651e-1f));
    p = v_fma(p, f, v_set(6.9314723e-1f));
    return v_fma(p, f, v_set(1.0f));
}

static inline vf v_exp2(vf x) {
    x = v_min(v_set(130.0f), v_max(v_set(-152.0f), x));
    vf n = v_round(x);
    return v_scale(v_exp2_fraction(x - n), n);
}

/* 2^x for the inner loops of softmax and Sinkhorn, where x is at most about 0: x below -126 gives 2^-126 or less, above
 * 127 is not allowed, NaN gives NaN. */
static inline vf v_exp2_small(vf x) {
    x = v_max(v_set(-126.0f), x);
    vf n = v_round(x);
    vf p = v_exp2_fraction(x - n);
#if defined(__AVX512F__)
    return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    return (vf)((vu)p + ((vu)v_to_int(n) << 23));
#endif
}

static inline vf v_exp(vf x) {
    x = v_min(v_set(89.0f), v_max(v_set(-105.0f), x));
    vf n = v_round(x * 1.44269504f);
    /* ln 2 in two parts, the first of ten bits, so that its product with n is exact without a fused multiply-add too */
    vf r = v_fma(n, v_set(-0.693359375f), x);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    /* e^r = 1 + r + r^2 q(r) on [-ln 2/2, ln 2/2], relative error 3.1e-9 */
    vf q = v_fma(v_set(1.3814540e-3f), r, v_set(8.3687451e-3f));
    q = v_fma(q, r, v_set(4.1668391e-2f));
    q = v_fma(q, r, v_set(1.6666520e-1f));
    q = v_fma(q, r, v_set(4.9999993e-1f));
    return v_scale(v_fma(r * r, q, r) + 1.0f, n);
}

static inline vf v_log(vf x) {
    vi tiny = x < v_set(1.17549435e-38f);
    vf scaled = v_select(tiny, x * 8388608.0f, x);
    /* x = m 2^e with m in [sqrt(1/2), sqrt 2) */
    vi bits = v_bits(scaled), exponent = (vi)((vu)bits - 0x3f3504f3) >> 23;
    vf m = (vf)((vu)bits - ((vu)exponent << 23)) - 1.0f, e = v_from_int(exponent + (tiny & -23));
    /* ln(1+m) = m - m^2/2 + m^3 q(m), relative error 5.8e-9 */
    vf q = v_fma(v_set(-7.6344943e-2f), m, v_set(1.2761575e-1f));
    q = v_fma(q, m, v_set(-1.3160182e-1f));
    q = v_fma(q, m, v_set(1.4201758e-1f));
    q = v_fma(q, m, v_set(-1.6623357e-1f));
    q = v_fma(q, m, v_set(2.0001227e-1f));
    q = v_fma(q, m, v_set(-2.5000821e-1f));
    q = v_fma(q, m, v_set(3.3333332e-1f));
    vf square = m * m, small = v_fma(e, v_set(-2.12194440e-4f), m * square * q);
    vf y = v_fma(e, v_set(0.693359375f), m + v_fma(v_set(-0.5f), square, small));
    const vf infinity = (vf)(v_bits(v_zero()) + 0x7f800000);
    y = v_select(x == infinity, x, y);
    y = v_select(x == v_zero(), -infinity, y);
    return v_select(x >= v_zero(), y, (vf)(v_bits(v_zero()) + 0x7fc00000));
}

/* 1/(1 + e^-x), by e^-|x| so that small results keep their digits. */
static inline vf v_sigmoid(vf x) {
    vf e = v_exp(-v_abs(x));
    return v_select(x < v_zero(), e, v_set(1.0f)) / (e + 1.0f);
}

static inline vf v_tanh(vf x) {
    vf size = v_abs(x), square = x * x;
    /* below 0.625: x + x^3 q(x^2), relative error 4.4e-9 */
    vf q = v_fma(v_set(-5.7049870e-3f), square, v_set(2.0639087e-2f));
    q = v_fma(q, square, v_set(-5.3739715e-2f));
    q = v_fma(q, square, v_set(1.3331442e-1f));
    q = v_fma(q, square, v_set(-3.3333282e-1f));
    vf near = v_fma(x * square, q, x);
    vf far = 1.0f - 2.0f / (v_exp(size + size) + 1.0f);
    far = (vf)(v_bits(far) | (v_bits(x) & INT32_MIN));
    return v_select(size < v_set(0.625f), near, far);
}

/* Phi(-a), Phi the normal distribution function, (1 + erf(x/sqrt 2))/2, for a in [0, 6]: 2^-(1 + a r(a)), absolute
 * error 1e-8. */
static inline vf v_normal_tail(vf a) {
    vf r = v_fma(v_set(-2.28611141e-7f), a, v_set(5.3583367541e-6f));
    r = v_fma(r, a, v_set(-5.0055741374e-5f));
    r = v_fma(r, a, v_set(2.0794052389e-4f));
    r = v_fma(r, a, v_set(1.1542506731e-4f));
    r = v_fma(r, a, v_set(-7.0553769523e-3f));
    r = v_fma(r, a, v_set(5.2497402105e-2f));
    r = v_fma(r, a, v_set(4.5920687102e-1f));
    r = v_fma(r, a, v_set(1.1511053733f));
    return v_exp2_small(v_fma(-r, a, v_set(-1.0f)));
}

/* Phi(x); beyond -6, where it is < 1e-9, it is held. */
static inline vf v_normal_below(vf x) {
    vf tail = v_normal_tail(v_min(v_set(6.0f), v_abs(x)));
    return v_select(x > v_zero(), 1.0f - tail, tail);
}

/* x Phi(x) = max(0, x) - |x| Phi(-|x|) */
static inline vf v_gelu(vf x) {
    vf a = v_min(v_set(6.0f), v_abs(x));
    return v_fma(-a, v_normal_tail(a), v_max(v_zero(), x));
}

/* The derivative of v_gelu: Phi(x) + x phi(x), phi the normal density. */
static inline vf v_gelu_slope(vf x) {
    return v_fma(x, v_exp(x * x * -0.5f) * 0.39894228f, v_normal_below(x));
}

/* ln(c/(1-c)), c = x held in [low, 1-low]. */
static inline vf v_logit(vf x, float low) {
    vf c = v_min(v_set(1.0f - low), v_max(v_set(low), x));
    return v_log(c / (1.0f - c));
}
#endif
