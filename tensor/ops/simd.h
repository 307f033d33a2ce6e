/* tensor/ops/simd.h - the vector vocabulary: one source, three widths. A *_simd.h file is written in these words and is
 * included by x_avx512.c (16 floats), x_avx2.c (8) and x.c (plain vectors of 4, any machine). Compiler vectors, no
 * intrinsics where gcc and clang give the instruction anyway; loads and stores are unaligned (they cost the same when the
 * address is aligned). All functions are static inline. */
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

static inline vf v_load(const float *p) { return *(const vf_unaligned *)p; }
static inline void v_store(float *p, vf v) { *(vf_unaligned *)p = v; }
static inline vf v_set(float s) { return s - (vf){0}; }
static inline vf v_zero(void) { return (vf){0}; }
static inline vf v_fma(vf a, vf b, vf c) { return a * b + c; } /* contracted: these files build with -ffp-contract=fast */
static inline vi v_bits(vf v) { return (vi)v; }
static inline vf v_select(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
/* a > b ? a : b, so b where either is NaN: v_max(bound, x) lets a NaN in x pass. */
#if defined(__AVX512F__)
static inline vf v_max(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
static inline vf v_min(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(__AVX2__)
static inline vf v_max(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
static inline vf v_min(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
#elif defined(__x86_64__)
static inline vf v_max(vf a, vf b) { return (vf)_mm_max_ps((__m128)a, (__m128)b); }
static inline vf v_min(vf a, vf b) { return (vf)_mm_min_ps((__m128)a, (__m128)b); }
#else
static inline vf v_max(vf a, vf b) { return v_select(a > b, a, b); }
static inline vf v_min(vf a, vf b) { return v_select(a < b, a, b); }
#endif
/* The first n lanes from p, zero in the rest; n in 0..VW. Reads no byte beyond. */
static inline vf v_load_part(const float *p, int64_t n) {
    vf v = {0};
    memcpy(&v, p, (size_t)n * 4);
    return v;
}
static inline void v_store_part(float *p, vf v, int64_t n) { memcpy(p, &v, (size_t)n * 4); }
/* Fixed order of addition: pairs, then pairs of pairs; the same on every run. */
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
