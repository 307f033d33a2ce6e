/* tensor/ops/math_simd.h - see math_kernels.h; included once for each instruction level. */
#include "tensor/ops/math_kernels.h"
#include "tensor/ops/simd_math.h"

static inline vf apply(MathFunction function, vf x) {
    switch (function) {
    case MATH_EXP:
        return v_exp(x);
    case MATH_EXP2:
        return v_exp2(x);
    case MATH_EXP2_SMALL:
        return v_exp2_small(x);
    case MATH_LOG:
        return v_log(x);
    case MATH_SIGMOID:
        return v_sigmoid(x);
    case MATH_TANH:
        return v_tanh(x);
    case MATH_GELU:
        return v_gelu(x);
    case MATH_LOGIT:
        return v_logit(x, 0.01f);
    case MATH_COUNT:
        break;
    }
    return x;
}

void SIMD_NAME(math_apply)(MathFunction function, int64_t n, const float *x, float *y) {
    int64_t i = 0;
    for (; i + VW <= n; i += VW) v_store(y + i, apply(function, v_load(x + i)));
    if (i < n) v_store_part(y + i, apply(function, v_load_part(x + i, n - i)), n - i);
}

double SIMD_NAME(math_peak)(int64_t rounds, float *keep) {
    enum { CHAINS = 12 }; /* two a cycle with four or five cycles of latency need ten */
    vf sum[CHAINS], x = v_set(0.999f), y = v_set(keep[0]);
    for (int k = 0; k < CHAINS; k++) sum[k] = v_set((float)k);
    for (int64_t i = 0; i < rounds; i++)
#pragma GCC unroll 12
        for (int k = 0; k < CHAINS; k++) sum[k] = v_fma(sum[k], x, y);
    for (int k = 1; k < CHAINS; k++) sum[0] += sum[k];
    keep[0] = v_sum(sum[0]);
    return 2.0 * VW * CHAINS * (double)rounds;
}
