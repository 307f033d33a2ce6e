/* tensor/ops/simd.h - the vector vocabulary: one source, three widths. A *_simd.h file is written in these words and is
 * included by x_avx512.c (16 floats), x_avx2.c (8) and x.c (plain vectors of 4, any machine). Compiler vectors, no
 * intrinsics where gcc and clang give the instruction anyway; loads and stores are unaligned (they cost the same when
 * the address is aligned). All functions are static inline. */
#ifndef PANUM_TENSOR_OPS_SIMD_H
#define PANUM_TENSOR_OPS_SIMD_H
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h> /* where a compiler does not find the one instruction by itself */
#endif

#if defined(__AVX512F__)
#define VW 16
#define SIMD_NAME(f) f##_avx512
#elif defined(__AVX2__)
#define VW 8
#define SIMD_NAME(f) f##_avx2
#else
#define VW 4
#define SIMD_NAME(f) f##_base
#endif

typedef float vf __attribute__((vector_size(VW * 4)));
typedef int32_t vi __attribute__((vector_size(VW * 4)));
typedef float vf_unaligned __attribute__((vector_size(VW * 4), aligned(4), may_alias));

static inline vf v_load(const float *p) {
    return *(const vf_unaligned *)p;
}
static inline void v_store(float *p, vf v) {
    *(vf_unaligned *)p = v;
}
/* Past the caches; p is aligned to a vector. */
static inline void v_store_past(float *p, vf v) {
#if defined(__AVX512F__)
    _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX2__)
    _mm256_stream_ps(p, (__m256)v);
#else
    v_store(p, v);
#endif
}
static inline vf v_set(float s) {
    return s - (vf){0};
}
static inline vf v_zero(void) {
    return (vf){0};
}
static inline vf v_fma(vf a, vf b, vf c) {
    return a * b + c;
} /* contracted: these files build with -ffp-contract=fast */
static inline vi v_bits(vf v) {
    return (vi)v;
}
static inline vf v_select(vi mask, vf yes, vf no) {
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}
/* a > b ? a : b, so b where either is NaN: v_max(bound, x) lets a NaN in x pass. */
#if defined(__AVX512F__)
static inline vf v_max(vf a, vf b) {
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}
static inline vf v_min(vf a, vf b) {
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}
#elif defined(__AVX2__)
static inline vf v_max(vf a, vf b) {
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}
static inline vf v_min(vf a, vf b) {
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}
#elif defined(__x86_64__)
static inline vf v_max(vf a, vf b) {
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
}
static inline vf v_min(vf a, vf b) {
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
}
#else
static inline vf v_max(vf a, vf b) {
    return v_select(a > b, a, b);
}
static inline vf v_min(vf a, vf b) {
    return v_select(a < b, a, b);
}
#endif
/* The first n lanes from p, zero in the rest; n in 0..VW. Reads no byte beyond. */
#if defined(__AVX512F__)
static inline vf v_load_part(const float *p, int64_t n) {
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
static inline void v_store_part(float *p, vf v, int64_t n) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
#elif defined(__x86_64__)
/* By fours, twos and ones: n is nearly always the same from call to call, so the branches are foreseen. */
static inline vf v_load_part(const float *p, int64_t n) {
    __m128 part[VW / 4] = {0}, pair = _mm_setzero_ps();
    int k = 0;
    if (n & VW) return v_load(p);
#if VW == 8
    if (n & 4) part[k++] = _mm_loadu_ps(p), p += 4;
#endif
    if (n & 2) pair = _mm_loadl_pi(pair, (const __m64 *)(const void *)p), p += 2;
    if (n & 1) pair = n & 2 ? _mm_movelh_ps(pair, _mm_load_ss(p)) : _mm_load_ss(p);
    if (n & 3) part[k] = pair;
    vf v;
    memcpy(&v, part, sizeof v);
    return v;
}
static inline void v_store_part(float *p, vf v, int64_t n) {
    __m128 part[VW / 4];
    memcpy(part, &v, sizeof v);
    if (n & VW) {
        v_store(p, v);
        return;
    }
    __m128 rest = part[0];
#if VW == 8
    if (n & 4) _mm_storeu_ps(p, rest), p += 4, rest = part[1];
#endif
    if (n & 2) _mm_storel_pi((__m64 *)(void *)p, rest), p += 2, rest = _mm_movehl_ps(rest, rest);
    if (n & 1) _mm_store_ss(p, rest);
}
#else
static inline vf v_load_part(const float *p, int64_t n) {
    vf v = {0};
    memcpy(&v, p, (size_t)n * 4);
    return v;
}
static inline void v_store_part(float *p, vf v, int64_t n) {
    memcpy(p, &v, (size_t)n * 4);
}
#endif
/* Fixed order of addition at every width: lane i + lane i + VW/2, then quarters, and so on; the same on every run. */
#if defined(__x86_64__)
static inline float v_reduce(vf v, __m128 (*pair)(__m128, __m128)) {
#if VW == 16
    __m128 q[4];
    memcpy(q, &v, sizeof q);
    __m128 s = pair(pair(q[0], q[2]), pair(q[1], q[3]));
#elif VW == 8
    __m128 q[2];
    memcpy(q, &v, sizeof q);
    __m128 s = pair(q[0], q[1]);
#else
    __m128 s = (__m128)v;
#endif
    s = pair(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(pair(s, _mm_shuffle_ps(s, s, 1)));
}
static inline __m128 pair_sum(__m128 a, __m128 b) {
    return _mm_add_ps(a, b);
}
static inline __m128 pair_largest(__m128 a, __m128 b) {
    return _mm_max_ps(a, b);
}
static inline float v_sum(vf v) {
    return v_reduce(v, pair_sum);
}
static inline float v_largest(vf v) {
    return v_reduce(v, pair_largest);
}
#else
static inline float v_sum(vf v) {
    float s[VW];
    memcpy(s, &v, sizeof s);
    for (int step = VW / 2; step; step /= 2)
        for (int i = 0; i < step; i++) s[i] += s[i + step];
    return s[0];
}
static inline float v_largest(vf v) {
    float s[VW];
    memcpy(s, &v, sizeof s);
    for (int step = VW / 2; step; step /= 2)
        for (int i = 0; i < step; i++) s[i] = s[i] > s[i + step] ? s[i] : s[i + step];
    return s[0];
}
#endif
#endif
