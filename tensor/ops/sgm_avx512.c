/* Semi-global matching's kernels for AVX-512 (F, BW): 64 bytes, 32 shorts; the last vector of a pixel may be half. */
#if defined(__AVX512BW__)
#include "tensor/ops/sgm_inner.h"

#include <immintrin.h>
#include <string.h>

enum { LANES = 64 };
typedef uint8_t Bytes __attribute__((vector_size(64)));
typedef uint16_t Shorts __attribute__((vector_size(64)));
typedef __mmask64 Mask;
typedef __mmask32 Choice;

static inline Mask mask_of(ptrdiff_t n) {
    return n >= 64 ? ~(Mask)0 : (Mask)0xffffffff;
}
static inline Bytes load(const uint8_t *p, Mask m) {
    return (Bytes)_mm512_mask_loadu_epi8(_mm512_set1_epi8(-1), m, p);
}
static inline void store(uint8_t *p, Mask m, Bytes v) {
    _mm512_mask_storeu_epi8(p, m, (__m512i)v);
}
static inline Bytes fill(uint8_t b) {
    return (Bytes)_mm512_set1_epi8((char)b);
}
static inline Bytes low(Bytes a, Bytes b) {
    return (Bytes)_mm512_min_epu8((__m512i)a, (__m512i)b);
}
static inline Bytes plus(Bytes a, Bytes b) {
    return (Bytes)_mm512_adds_epu8((__m512i)a, (__m512i)b);
}
static inline Bytes minus(Bytes a, Bytes b) {
    return (Bytes)_mm512_subs_epu8((__m512i)a, (__m512i)b);
}

static inline Bytes smallest(Bytes v) {
    __m256i half = _mm256_min_epu8(_mm512_castsi512_si256((__m512i)v), _mm512_extracti64x4_epi64((__m512i)v, 1));
    __m128i a = _mm_min_epu8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    a = _mm_minpos_epu16(_mm_min_epu8(a, _mm_srli_epi16(a, 8)));
    return (Bytes)_mm512_broadcastb_epi8(a);
}

static inline Bytes up(Bytes v, Bytes before) {
    __m512i crossing = _mm512_alignr_epi64((__m512i)v, (__m512i)before, 6);
    return (Bytes)_mm512_alignr_epi8((__m512i)v, crossing, 15);
}

static inline Bytes down(Bytes v, Bytes after) {
    __m512i crossing = _mm512_alignr_epi64((__m512i)after, (__m512i)v, 2);
    return (Bytes)_mm512_alignr_epi8(crossing, (__m512i)v, 1);
}

static inline void add_up(const Bytes four[4], Shorts *lo, Shorts *hi) {
    const __m512i one = _mm512_set1_epi8(1);
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11),
                  last = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    __m512i a = (__m512i)four[0], b = (__m512i)four[1], c = (__m512i)four[2], d = (__m512i)four[3];
    __m512i even = _mm512_add_epi16(_mm512_maddubs_epi16(_mm512_unpacklo_epi8(a, b), one),
                                    _mm512_maddubs_epi16(_mm512_unpacklo_epi8(c, d), one));
    __m512i odd = _mm512_add_epi16(_mm512_maddubs_epi16(_mm512_unpackhi_epi8(a, b), one),
                                   _mm512_maddubs_epi16(_mm512_unpackhi_epi8(c, d), one));
    *lo = (Shorts)_mm512_permutex2var_epi64(even, first, odd);
    *hi = (Shorts)_mm512_permutex2var_epi64(even, last, odd);
}

static inline Bytes ones_count(Bytes v) {
    const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i a = _mm512_shuffle_epi8(table, _mm512_and_si512((__m512i)v, nibble));
    __m512i b = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16((__m512i)v, 4), nibble));
    return (Bytes)_mm512_add_epi8(a, b);
}

static inline Bytes difference(Bytes a, Bytes b) {
    return minus(a, b) | minus(b, a);
}
static inline Bytes halved(Bytes v) {
    return (Bytes)_mm512_avg_epu8((__m512i)v, _mm512_setzero_si512());
}

static inline Shorts load16(const uint16_t *p) {
    return (Shorts)_mm512_loadu_si512(p);
}
static inline void store16(uint16_t *p, Shorts v) {
    _mm512_storeu_si512(p, (__m512i)v);
}
static inline Shorts fill16(uint16_t s) {
    return (Shorts)_mm512_set1_epi16((short)s);
}
static inline Shorts low16(Shorts a, Shorts b) {
    return (Shorts)_mm512_min_epu16((__m512i)a, (__m512i)b);
}
static inline Shorts sum16(Shorts a, Shorts b) {
    return a + b;
}

static inline uint16_t smallest16(Shorts v) {
    __m256i half = _mm256_min_epu16(_mm512_castsi512_si256((__m512i)v), _mm512_extracti64x4_epi64((__m512i)v, 1));
    __m128i a = _mm_min_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    return (uint16_t)_mm_cvtsi128_si32(_mm_minpos_epu16(a));
}

static inline Choice equal16(Shorts a, Shorts b) {
    return _mm512_cmpeq_epi16_mask((__m512i)a, (__m512i)b);
}
static inline Choice less16(Shorts a, Shorts b) {
    return _mm512_cmplt_epu16_mask((__m512i)a, (__m512i)b);
}
static inline Shorts select16(Choice c, Shorts yes, Shorts no) {
    return (Shorts)_mm512_mask_mov_epi16((__m512i)no, c, (__m512i)yes);
}
static inline int first16(Choice c) {
    return c ? __builtin_ctz(c) : -1;
}
static inline Shorts count16(void) {
    return (Shorts){0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                    16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
}

#include "tensor/ops/sgm_simd.h"

const SgmKernels sgm_kernels_avx512 = {cost, paths, choose};
#else
typedef int SgmNothing; /* an empty translation unit is not C */
#endif
