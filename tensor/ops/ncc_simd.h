/* tensor/ops/ncc_simd.h - see ncc_kernels.h; included once for each instruction level. */
#include "tensor/ops/ncc_kernels.h"
#include "tensor/ops/simd.h"

typedef vi vi_unaligned __attribute__((aligned(4), may_alias));
static inline vi load_i(const int32_t *p) {
    return *(const vi_unaligned *)p;
}
static inline void store_i(int32_t *p, vi v) {
    *(vi_unaligned *)p = v;
}
static inline vi select_i(vi mask, vi yes, vi no) {
    return (mask & yes) | (~mask & no);
}
static inline vf to_float(vi v) {
    return __builtin_convertvector(v, vf);
}

/* Products of pairs of shorts, added: VW of them. */
static inline vi pair_products(const int16_t *a, const int16_t *b) {
#if defined(__AVX512F__)
    return (vi)_mm512_madd_epi16(_mm512_loadu_si512(a), _mm512_loadu_si512(b));
#elif defined(__AVX2__)
    return (vi)_mm256_madd_epi16(_mm256_loadu_si256((const __m256i_u *)(const void *)a),
                                 _mm256_loadu_si256((const __m256i_u *)(const void *)b));
#elif defined(__x86_64__)
    return (vi)_mm_madd_epi16(_mm_loadu_si128((const __m128i_u *)(const void *)a),
                              _mm_loadu_si128((const __m128i_u *)(const void *)b));
#else
    vi sum;
    for (int i = 0; i < VW; i++) sum[i] = a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
    return sum;
#endif
}

static void accumulate(int64_t n, const int16_t *a, const int16_t *b, int32_t *sums) {
    for (int64_t x = 0; x < n; x += VW) store_i(sums + x, load_i(sums + x) + pair_products(a + 2 * x, b + 2 * x));
}

static inline __attribute__((always_inline)) void correlate_window(int64_t from, int64_t to, int radius,
                                                                   const int32_t *sums, const float *sum_left,
                                                                   const float *scale_left, const float *mean_right,
                                                                   const float *scale_right, float *c) {
    for (int64_t x = from; x < to; x += VW) {
        vi window = load_i(sums + x);
        for (int e = 1; e <= radius; e++) window += load_i(sums + x - e) + load_i(sums + x + e);
        vf covariance = to_float(window) - v_load(sum_left + x) * v_load(mean_right + x);
        vf value = covariance * (v_load(scale_left + x) * v_load(scale_right + x));
        if (to - x >= VW)
            v_store(c + x, value);
        else
            v_store_part(c + x, value, to - x);
    }
}

static void correlate(int64_t from, int64_t to, int radius, const int32_t *sums, const float *sum_left,
                      const float *scale_left, const float *mean_right, const float *scale_right, float *c) {
    if (radius == 3) /* the default, unrolled */
        correlate_window(from, to, 3, sums, sum_left, scale_left, mean_right, scale_right, c);
    else
        correlate_window(from, to, radius, sums, sum_left, scale_left, mean_right, scale_right, c);
}

static void keep(int64_t n, int32_t k, const float *c, NccBest best) {
    const vi this = k - (vi){0};
    for (int64_t x = 0; x < n; x += VW) {
        vf now = v_load(c + x), before = v_load(best.c + x);
        vi above = now > before;
        v_store(best.c + x, v_select(above, now, before));
        store_i(best.k + x, select_i(above, this, load_i(best.k + x)));
    }
}

static void second_peak(int64_t n, int32_t count, const float *c, int64_t step, const int32_t *best, float *second) {
    for (int64_t x = 0; x < n; x += VW) {
        const vi own = load_i(best + x);
        const float *at = c + x;
        vf largest = v_set(-1), before = v_load(at), here = count > 1 ? v_load(at + step) : before;
        for (int32_t k = 1; k < count - 1; k++) {
            vf after = v_load(at + (k + 1) * step);
            vi apart = (own - k > 1) | (own - k < -1);
            vi peak = (here >= before) & (here >= after) & apart & (here > largest);
            largest = v_select(peak, here, largest);
            before = here, here = after;
        }
        v_store(second + x, largest);
    }
}

const NccKernels SIMD_NAME(ncc_kernels) = {accumulate, correlate, keep, second_peak};
