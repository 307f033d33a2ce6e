/* tensor/ops/strip_simd.h - one pointwise function over a block of rows x columns, in the vector vocabulary; included
 * by strip.c, strip_avx2.c and strip_avx512.c. Tails go through the same vector code on partly filled vectors, so a
 * value does not depend on how the work was cut into tiles. */
#include "tensor/ops/simd_math.h"
#include "tensor/ops/strip_kernels.h"

static inline vf load_u8(const uint8_t *p, int64_t n) {
    float s[VW] = {0};
    for (int64_t i = 0; i < n; i++) s[i] = p[i];
    return v_load(s);
}

static inline vf square_root(vf x) {
    float s[VW];
    memcpy(s, &x, sizeof s);
    for (int i = 0; i < VW; i++) s[i] = __builtin_sqrtf(s[i]);
    return v_load(s);
}

void SIMD_NAME(strip_past)(const float *from, int64_t from_stride, float *to, int64_t to_stride, int64_t rows,
                           int64_t columns) {
    for (int64_t r = 0; r < rows; r++, from += from_stride, to += to_stride) {
        int64_t c = 0;
        if ((uintptr_t)to % (VW * sizeof(float)) == 0)
            for (; c + VW <= columns; c += VW) v_store_past(to + c, v_load(from + c));
        for (; c < columns; c++) to[c] = from[c];
    }
}

/* Rows outside, vectors inside; `expression` says what becomes of x (and y). */
#define UNARY(expression)                                                      \
    for (int64_t r = 0; r < rows; r++) {                                       \
        const float *a = in.a + r * in.a_stride;                               \
        float *to = out + r * out_stride;                                      \
        int64_t c = 0;                                                         \
        for (; c + VW <= columns; c += VW) {                                   \
            vf x = in.a_splat ? v_set(a[0]) : v_load(a + c);                   \
            v_store(to + c, expression);                                       \
        }                                                                      \
        if (c < columns) {                                                     \
            vf x = in.a_splat ? v_set(a[0]) : v_load_part(a + c, columns - c); \
            v_store_part(to + c, expression, columns - c);                     \
        }                                                                      \
    }
#define BINARY(expression)                                                                                 \
    for (int64_t r = 0; r < rows; r++) {                                                                   \
        const float *a = in.a + r * in.a_stride, *b = in.b + r * in.b_stride;                              \
        float *to = out + r * out_stride;                                                                  \
        int64_t c = 0;                                                                                     \
        for (; c + VW <= columns; c += VW) {                                                               \
            vf x = in.a_splat ? v_set(a[0]) : v_load(a + c), y = in.b_splat ? v_set(b[0]) : v_load(b + c); \
            v_store(to + c, expression);                                                                   \
        }                                                                                                  \
        if (c < columns) {                                                                                 \
            int64_t n = columns - c;                                                                       \
            vf x = in.a_splat ? v_set(a[0]) : v_load_part(a + c, n),                                       \
               y = in.b_splat ? v_set(b[0]) : v_load_part(b + c, n);                                       \
            v_store_part(to + c, expression, n);                                                           \
        }                                                                                                  \
    }

void SIMD_NAME(strip_apply)(PointwiseFunction function, StripIn in, float *out, int64_t out_stride, int64_t rows,
                            int64_t columns) {
    const vf p = v_set(in.p), q = v_set(in.q), one = v_set(1), zero = v_zero();
    switch (function) {
    case FN_RELU:
        UNARY(v_select(x < zero, zero, x)) break;
    case FN_GELU:
        UNARY(v_gelu(x)) break;
    case FN_SIGMOID:
        UNARY(v_sigmoid(x)) break;
    case FN_TANH:
        UNARY(v_tanh(x)) break;
    case FN_EXP:
        UNARY(v_exp(x)) break;
    case FN_LOG:
        UNARY(v_log(x)) break;
    case FN_SQUARE:
        UNARY(x * x) break;
    case FN_SQRT:
        UNARY(square_root(x)) break;
    case FN_ABS:
        UNARY((vf)((vi)x & 0x7fffffff)) break;
    case FN_AFFINE:
        UNARY(v_fma(p, x, q)) break;
    case FN_CLAMP:
        UNARY(v_select(x < p, p, v_select(x > q, q, x))) break;
    case FN_ABOVE:
        UNARY(v_select(x > p, one, zero)) break;
    case FN_AT_LEAST:
        UNARY(v_select(x >= p, one, zero)) break;
    case FN_LOGIT:
        UNARY(v_logit(x, in.p)) break;
    case FN_FROM_U8:
        for (int64_t r = 0; r < rows; r++) {
            const uint8_t *a = (const uint8_t *)in.a_u8 + r * in.a_stride;
            for (int64_t c = 0; c < columns; c += VW) {
                int64_t n = columns - c < VW ? columns - c : VW;
                v_store_part(out + r * out_stride + c, v_fma(p, load_u8(a + c, n), q), n);
            }
        }
        break;
    case FN_ADD:
        BINARY(x + y) break;
    case FN_SUB:
        BINARY(x - y) break;
    case FN_MUL:
        BINARY(x * y) break;
    case FN_DIV:
        BINARY(x / y) break;
    case FN_MAX:
        BINARY(v_select((x > y) | (x != x), x, y)) break;
    case FN_MIN:
        BINARY(v_select((x < y) | (x != x), x, y)) break;
    case FN_RELU_GRADIENT:
        BINARY(v_select(y > zero, x, zero)) break;
    case FN_GELU_GRADIENT:
        BINARY(x * v_gelu_slope(y)) break;
    case FN_SIGMOID_GRADIENT:
        BINARY(x * (y * (one - y))) break;
    case FN_TANH_GRADIENT:
        BINARY(x * v_fma(-y, y, one)) break;
    case FN_SQRT_GRADIENT:
        BINARY(x / (y + y)) break;
    case FN_ABS_GRADIENT:
        BINARY(v_select(y > zero, x, v_select(y < zero, -x, zero))) break;
    case FN_CLAMP_GRADIENT:
        BINARY(v_select((y >= p) & (y <= q), x, zero)) break;
    case FN_LOGIT_GRADIENT:
        BINARY(v_select((y >= p) & (y <= one - p), x / (y * (one - y)), zero)) break;
    case FN_LARGER_GRADIENT:
        BINARY(v_select(y > zero, x, v_select(y == zero, x * 0.5f, zero))) break;
    case FN_COUNT:
        break;
    }
}
