/* tensor/ops/outer_simd.h - sums of outer products (weight_gradient.h tells the contracts), for three widths.
 *
 * Both operands are read where they lie: at each position a block loads one or two vectors of b and broadcasts each
 * element of a, which lie side by side and need one address between them: 14 x 2 vectors of AVX-512 are 28
 * multiply-adds for 16 loads, 6 x 2 of AVX2 12 for 8. The sums stay in registers over all positions of a call. */
#include "tensor/ops/simd.h"
#include "tensor/ops/weight_gradient.h"

#if VW == 16
#define OUTER_ROWS 14
#else
#define OUTER_ROWS 6
#endif
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* The first n lanes of a vector, 1 <= n < VW, zero in the rest; n is the same throughout a call. */
INLINE vf load_lanes(const float *p, int64_t n) {
#if VW == 8
    static const int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return (vf)_mm256_maskload_ps(p, _mm256_loadu_si256((const __m256i *)(const void *)(mask + 8 - n)));
#else
    return v_load_part(p, n);
#endif
}

INLINE void outer_body(const int rows, const int vectors, const bool part, int64_t lanes, const Meeting *meeting,
                       int64_t meetings, int64_t a_at, int64_t a_step, int64_t b_at, int64_t b_step, bool add, float *c,
                       int64_t c_stride) {
    vf sum[OUTER_ROWS][2];
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < vectors; j++) sum[i][j] = v_zero();
    for (int64_t m = 0; m < meetings; m++) {
        const float *a = meeting[m].a + a_at, *b = meeting[m].b + b_at;
        for (int64_t p = meeting[m].positions; p > 0; p--, a += a_step, b += b_step) {
            vf right[2];
            UNROLL for (int j = 0; j < vectors; j++) right[j] =
                part && j == vectors - 1 ? load_lanes(b + j * VW, lanes) : v_load(b + j * VW);
            UNROLL for (int i = 0; i < rows; i++) {
                vf left = v_set(a[i]);
                UNROLL for (int j = 0; j < vectors; j++) sum[i][j] = v_fma(left, right[j], sum[i][j]);
            }
        }
    }
    UNROLL for (int i = 0; i < rows; i++) UNROLL for (int j = 0; j < vectors; j++) {
        float *to = c + i * c_stride + j * VW;
        v_store(to, add ? v_load(to) + sum[i][j] : sum[i][j]);
    }
}

typedef void (*Outer)(int64_t lanes, const Meeting *meeting, int64_t meetings, int64_t a_at, int64_t a_step,
                      int64_t b_at, int64_t b_step, bool add, float *c, int64_t c_stride);

#define OUTER(rows, vectors, part)                                                                               \
    static void outer_##rows##_##vectors##_##part(int64_t lanes, const Meeting *meeting, int64_t meetings,       \
                                                  int64_t a_at, int64_t a_step, int64_t b_at, int64_t b_step,    \
                                                  bool add, float *c, int64_t c_stride) {                        \
        outer_body(rows, vectors, part, lanes, meeting, meetings, a_at, a_step, b_at, b_step, add, c, c_stride); \
    }
#define OUTERS(rows) OUTER(rows, 1, 0) OUTER(rows, 1, 1) OUTER(rows, 2, 0) OUTER(rows, 2, 1)
#define OUTER_SET(rows)                             \
    {                                               \
        {outer_##rows##_1_0, outer_##rows##_1_1}, { \
            outer_##rows##_2_0, outer_##rows##_2_1  \
        }                                           \
    }
OUTERS(1)
OUTERS(2)
OUTERS(3)
OUTERS(4)
OUTERS(5)
OUTERS(6)
#if OUTER_ROWS == 14
OUTERS(7)
OUTERS(8)
OUTERS(9)
OUTERS(10)
OUTERS(11)
OUTERS(12)
OUTERS(13)
OUTERS(14)
#endif

static void outer(int64_t rows, int64_t columns, const Meeting *meeting, int64_t meetings, int64_t a_at, int64_t a_step,
                  int64_t b_at, int64_t b_step, bool add, float *c, int64_t c_stride) {
    static const Outer body[OUTER_ROWS][2][2] = {
        OUTER_SET(1),
        OUTER_SET(2),
        OUTER_SET(3),
        OUTER_SET(4),
        OUTER_SET(5),
        OUTER_SET(6),
#if OUTER_ROWS == 14
        OUTER_SET(7),
        OUTER_SET(8),
        OUTER_SET(9),
        OUTER_SET(10),
        OUTER_SET(11),
        OUTER_SET(12),
        OUTER_SET(13),
        OUTER_SET(14),
#endif
    };
    body[rows - 1][columns > VW][columns % VW != 0](columns % VW, meeting, meetings, a_at, a_step, b_at, b_step, add, c,
                                                    c_stride);
}

INLINE void total_of(const int vectors, const Meeting *meeting, int64_t meetings, int64_t a_step, int64_t at, bool add,
                     float *to) {
    vf sum[4];
    UNROLL for (int j = 0; j < vectors; j++) sum[j] = v_zero();
    for (int64_t m = 0; m < meetings; m++) {
        const float *a = meeting[m].a + at;
        for (int64_t p = meeting[m].positions; p > 0; p--, a += a_step)
            UNROLL for (int j = 0; j < vectors; j++) sum[j] += v_load(a + j * VW);
    }
    UNROLL for (int j = 0; j < vectors; j++)
        v_store(to + at + j * VW, add ? v_load(to + at + j * VW) + sum[j] : sum[j]);
}

static void total(int64_t channels, const Meeting *meeting, int64_t meetings, int64_t a_step, bool add, float *to) {
    int64_t at = 0;
    for (; at + 4 * VW <= channels; at += 4 * VW) total_of(4, meeting, meetings, a_step, at, add, to);
    for (; at + VW <= channels; at += VW) total_of(1, meeting, meetings, a_step, at, add, to);
    if (at == channels) return;
    const int64_t lanes = channels - at;
    vf sum = v_zero();
    for (int64_t m = 0; m < meetings; m++) {
        const float *a = meeting[m].a + at;
        for (int64_t p = meeting[m].positions; p > 0; p--, a += a_step) sum += load_lanes(a, lanes);
    }
    v_store_part(to + at, add ? load_lanes(to + at, lanes) + sum : sum, lanes);
}

const OuterKernels SIMD_NAME(outer_kernels) = {.vector = VW, .rows = OUTER_ROWS, .outer = outer, .total = total};
