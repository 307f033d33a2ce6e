/* tensor/ops/gemm_simd.h - the block of a matrix product (conv_kernels.h tells its contract), for three widths.
 *
 * Per step of k a block loads one or two vectors of weights and broadcasts one operand a row: 14 rows x 2 vectors of
 * AVX-512 are 28 multiply-adds for 16 loads, 6 x 2 of AVX2 are 12 for 8; both keep every multiply-add unit busy (28 and
 * 12 accumulators against a latency of 4 cycles on one or two units). Operands are never packed: rows are read where
 * they lie. Weights stream from L2 (128 bytes for 28 cycles). Should compute at 97-99 % of peak for k >= 128.
 *
 * Every output is bias, then its products in the order of k, whatever the number of rows: so results do not depend on
 * how a row of pixels is cut into blocks. */
#include "tensor/ops/conv_kernels.h"
#include "tensor/ops/simd.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#if VW == 16
#define BLOCK_ROWS 14
#else
#define BLOCK_ROWS 6
#endif
/* Weights are asked for so many steps of k before they are used: 4 KiB ahead with AVX-512, because the hardware follows
 * a stream within a page only and panels may come from L3 (2048 x 2048 x 2048: 90 % of peak without, 93 % with). */
enum { WEIGHTS_AHEAD = 32 };
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* Stores the first n lanes, 1 <= n <= VW. */
INLINE void v_store_first(float *p, vf v, int64_t n) {
#if VW == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif VW == 8
    static const int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    _mm256_maskstore_ps(p, _mm256_loadu_si256((const __m256i *)(const void *)(mask + 8 - n)), (__m256)v);
#else
    v_store_part(p, v, n);
#endif
}

/* Loads the first n lanes, zero in the rest, 0 <= n <= VW. */
INLINE vf v_load_first(const float *p, int64_t n) {
#if VW == 16
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif VW == 8
    static const int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return (vf)_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i *)(const void *)(mask + 8 - n)));
#else
    return v_load_part(p, n);
#endif
}

/* The bf16 file has its own: there an "element" of operands and weights is a pair of bf16, and k counts pairs. */
#ifndef BLOCK_MULTIPLY_ADD
#define BLOCK_BROADCAST(p) v_set(*(p))
#define BLOCK_MULTIPLY_ADD(operand, weight, sum) v_fma(operand, weight, sum)
#endif

INLINE void block_body(const int rows, const int vectors, const Stretch *stretch, int64_t stretches, const float *panel,
                       const float *bias, float *c, int64_t c_stride, int64_t columns, BlockStore store) {
    vf sum[BLOCK_ROWS][2];
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < vectors; j++) sum[i][j] =
        bias ? v_load(bias + j * VW) : v_zero();
    for (int64_t s = 0; s < stretches; s++) {
        /* Four base registers and one, two or three steps reach every row without an address for each. */
        const int64_t step = stretch[s].step, step2 = 2 * step, step3 = 3 * step;
        const float *base[4] = {stretch[s].a, stretch[s].a + 4 * step, stretch[s].a + 8 * step,
                                stretch[s].a + 12 * step};
        const float *b = panel + stretch[s].k0 * vectors * VW;
        for (const float *end = b + stretch[s].k * vectors * VW; b != end; b += vectors * VW) {
            vf weight[2];
            UNROLL for (int j = 0; j < vectors * VW; j += 16)
                __builtin_prefetch(b + WEIGHTS_AHEAD * vectors * VW + j, 0, 3);
            UNROLL for (int j = 0; j < vectors; j++) weight[j] = v_load(b + j * VW);
            UNROLL for (int i = 0; i < rows; i++) {
                const float *p = base[i / 4];
                vf operand = BLOCK_BROADCAST(i % 4 == 0   ? p
                                             : i % 4 == 1 ? p + step
                                             : i % 4 == 2 ? p + step2
                                                          : p + step3);
                UNROLL for (int j = 0; j < vectors; j++) sum[i][j] = BLOCK_MULTIPLY_ADD(operand, weight[j], sum[i][j]);
            }
            UNROLL for (int i = 0; i < (rows + 3) / 4; i++) base[i]++;
        }
    }
    if (store == BLOCK_ADD) {
        UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < vectors; j++) sum[i][j] +=
            v_load(c + i * c_stride + j * VW);
    }
    if (store == BLOCK_PAST && ((uintptr_t)c | (uintptr_t)c_stride * sizeof(float)) % (VW * 4) == 0) {
        UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < vectors; j++)
            v_store_past(c + i * c_stride + j * VW, sum[i][j]);
        return;
    }
    if (columns == vectors * VW) {
        UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < vectors; j++)
            v_store(c + i * c_stride + j * VW, sum[i][j]);
        return;
    }
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < vectors; j++) {
        int64_t left = columns - j * VW;
        if (left > 0) v_store_first(c + i * c_stride + j * VW, sum[i][j], left < VW ? left : VW);
    }
}

#define BLOCK(rows, vectors)                                                                             \
    static void block_##rows##_##vectors(const Stretch *stretch, int64_t stretches, const float *panel,  \
                                         const float *bias, float *c, int64_t c_stride, int64_t columns, \
                                         BlockStore store) {                                             \
        block_body(rows, vectors, stretch, stretches, panel, bias, c, c_stride, columns, store);         \
    }
#define BLOCKS(rows) BLOCK(rows, 1) BLOCK(rows, 2)
#define BLOCK_PAIR(rows) \
    { block_##rows##_1, block_##rows##_2 }
BLOCKS(1)
BLOCKS(2)
BLOCKS(3)
BLOCKS(4)
BLOCKS(5)
BLOCKS(6)
#if BLOCK_ROWS == 14
BLOCKS(7)
BLOCKS(8)
BLOCKS(9)
BLOCKS(10)
BLOCKS(11)
BLOCKS(12)
BLOCKS(13)
BLOCKS(14)
#endif

static void block(int64_t rows, int vectors, const Stretch *stretch, int64_t stretches, const float *panel,
                  const float *bias, float *c, int64_t c_stride, int64_t columns, BlockStore store) {
    typedef void (*Block)(const Stretch *, int64_t, const float *, const float *, float *, int64_t, int64_t,
                          BlockStore);
    static const Block blocks[BLOCK_ROWS][2] = {
        BLOCK_PAIR(1),
        BLOCK_PAIR(2),
        BLOCK_PAIR(3),
        BLOCK_PAIR(4),
        BLOCK_PAIR(5),
        BLOCK_PAIR(6),
#if BLOCK_ROWS == 14
        BLOCK_PAIR(7),
        BLOCK_PAIR(8),
        BLOCK_PAIR(9),
        BLOCK_PAIR(10),
        BLOCK_PAIR(11),
        BLOCK_PAIR(12),
        BLOCK_PAIR(13),
        BLOCK_PAIR(14),
#endif
    };
    blocks[rows - 1][vectors - 1](stretch, stretches, panel, bias, c, c_stride, columns, store);
}

#ifndef BLOCK_ONLY
/* Four rows at a time share the loads of weights; then lanes are added in a fixed order. */
INLINE void few_body(const int rows, const int outputs, const Stretch *stretch, int64_t stretches, const float *weights,
                     int64_t weight_stride, const float *bias, float *c, int64_t c_stride) {
    vf sum[4][FEW_OUTPUTS];
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int o = 0; o < outputs; o++) sum[i][o] = v_zero();
    for (int64_t s = 0; s < stretches; s++) {
        const float *a = stretch[s].a, *w = weights + stretch[s].k0;
        const int64_t step = stretch[s].step, count = stretch[s].k;
        for (int64_t k = 0; k < count; k += VW) {
            vf operand[4], weight;
            if (k + VW <= count) {
                UNROLL for (int i = 0; i < rows; i++) operand[i] = v_load(a + i * step + k);
                UNROLL for (int o = 0; o < outputs; o++) {
                    weight = v_load(w + o * weight_stride + k);
                    UNROLL for (int i = 0; i < rows; i++) sum[i][o] = v_fma(operand[i], weight, sum[i][o]);
                }
            } else {
                UNROLL for (int i = 0; i < rows; i++) operand[i] = v_load_first(a + i * step + k, count - k);
                UNROLL for (int o = 0; o < outputs; o++) {
                    weight = v_load_first(w + o * weight_stride + k, count - k);
                    UNROLL for (int i = 0; i < rows; i++) sum[i][o] = v_fma(operand[i], weight, sum[i][o]);
                }
            }
        }
    }
    for (int i = 0; i < rows; i++)
        for (int o = 0; o < outputs; o++) c[i * c_stride + o] = v_sum(sum[i][o]) + (bias ? bias[o] : 0);
}

#define FEW(outputs)                                                                                         \
    static void few_##outputs(int64_t rows, const Stretch *stretch, int64_t stretches, const float *weights, \
                              int64_t weight_stride, const float *bias, float *c, int64_t c_stride) {        \
        if (rows == 4)                                                                                       \
            few_body(4, outputs, stretch, stretches, weights, weight_stride, bias, c, c_stride);             \
        else if (rows == 3)                                                                                  \
            few_body(3, outputs, stretch, stretches, weights, weight_stride, bias, c, c_stride);             \
        else if (rows == 2)                                                                                  \
            few_body(2, outputs, stretch, stretches, weights, weight_stride, bias, c, c_stride);             \
        else                                                                                                 \
            few_body(1, outputs, stretch, stretches, weights, weight_stride, bias, c, c_stride);             \
    }
FEW(1)
FEW(2)
FEW(3)
FEW(4)

enum { FEW_STRETCHES = 32 }; /* what a block may have here */

static void few(int64_t rows, const Stretch *stretch, int64_t stretches, const float *weights, int64_t weight_stride,
                int64_t outputs, const float *bias, float *c, int64_t c_stride) {
    static void (*const body[FEW_OUTPUTS])(int64_t, const Stretch *, int64_t, const float *, int64_t, const float *,
                                           float *, int64_t) = {few_1, few_2, few_3, few_4};
    Stretch moved[FEW_STRETCHES];
    for (int64_t row = 0; row < rows; row += 4) {
        const Stretch *at = stretch;
        if (row) {
            for (int64_t s = 0; s < stretches; s++) {
                moved[s] = stretch[s];
                moved[s].a += row * stretch[s].step;
            }
            at = moved;
        }
        body[outputs - 1](rows - row < 4 ? rows - row : 4, at, stretches, weights, weight_stride, bias,
                          c + row * c_stride, c_stride);
    }
}

static void add_doubled(const float *near, const float *far, int64_t pixel, int64_t width, int64_t x, int64_t count,
                        int64_t columns, float *to, int64_t stride) {
    for (int64_t i = x; i < x + count; i++, to += stride) {
        int64_t side = i / 2 + (i % 2 ? 1 : -1);
        side = side < 0 ? 0 : side == width ? width - 1 : side;
        const float *a = near + i / 2 * pixel, *b = near + side * pixel;
        const float *c = far + i / 2 * pixel, *d = far + side * pixel;
        int64_t j = 0;
        for (; j + VW <= columns; j += VW) {
            vf upper = 0.75f * v_load(a + j) + 0.25f * v_load(b + j);
            vf lower = 0.75f * v_load(c + j) + 0.25f * v_load(d + j);
            v_store(to + j, v_load(to + j) + (0.75f * upper + 0.25f * lower));
        }
        if (j < columns) {
            const int64_t n = columns - j;
            vf upper = 0.75f * v_load_first(a + j, n) + 0.25f * v_load_first(b + j, n);
            vf lower = 0.75f * v_load_first(c + j, n) + 0.25f * v_load_first(d + j, n);
            v_store_first(to + j, v_load_first(to + j, n) + (0.75f * upper + 0.25f * lower), n);
        }
    }
}

typedef float v4 __attribute__((vector_size(16)));
typedef float v4_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

/* A transposition goes by squares of 4 x 4 in registers: 8 shuffles for 16 values on every width. */
static void panel(const float *b, int64_t k_stride, int64_t j_stride, int64_t k, int64_t columns, int64_t width,
                  float *to) {
    int64_t whole = k_stride == 1 ? columns / 4 * 4 : 0, k4 = k / 4 * 4;
    for (int64_t p = 0; p < k4; p += 4)
        for (int64_t j = 0; j < whole; j += 4) {
            const float *from = b + p + j * j_stride;
            v4 r0 = *(const v4_unaligned *)from, r1 = *(const v4_unaligned *)(from + j_stride);
            v4 r2 = *(const v4_unaligned *)(from + 2 * j_stride), r3 = *(const v4_unaligned *)(from + 3 * j_stride);
            v4 s0 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), s1 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
            v4 s2 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5), s3 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
            float *at = to + p * width + j;
            *(v4_unaligned *)at = __builtin_shufflevector(s0, s2, 0, 1, 4, 5);
            *(v4_unaligned *)(at + width) = __builtin_shufflevector(s0, s2, 2, 3, 6, 7);
            *(v4_unaligned *)(at + 2 * width) = __builtin_shufflevector(s1, s3, 0, 1, 4, 5);
            *(v4_unaligned *)(at + 3 * width) = __builtin_shufflevector(s1, s3, 2, 3, 6, 7);
        }
    for (int64_t p = 0; p < k; p++) {
        float *row = to + p * width;
        const float *from = b + p * k_stride;
        int64_t j = p < k4 ? whole : 0;
        if (j_stride == 1)
            memcpy(row, from, (size_t)columns * sizeof(float));
        else
            for (; j < columns; j++) row[j] = from[j * j_stride];
        for (j = columns; j < width; j++) row[j] = 0;
    }
}
#endif
