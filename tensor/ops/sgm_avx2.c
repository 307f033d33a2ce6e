/* Semi-global matching's kernels for AVX2: 32 bytes, 16 shorts. */
#if defined(__AVX2__)
#include "tensor/ops/sgm_inner.h"

#include <immintrin.h>
#include <string.h>

enum { LANES = 32 };
typedef uint8_t Bytes __attribute__((vector_size(32)));
typedef uint16_t Shorts __attribute__((vector_size(32)));
typedef int Mask; /* strides are multiples of 32: every vector is whole */
typedef __m256i Choice;

static inline Mask mask_of(ptrdiff_t n) {
    return n > 0;
}
static inline Bytes load(const uint8_t *p, Mask m) {
    return (void)m, (Bytes)_mm256_loadu_si256((const __m256i_u *)p);
}
static inline void store(uint8_t *p, Mask m, Bytes v) {
    (void)m, _mm256_storeu_si256((__m256i_u *)p, (__m256i)v);
}
static inline Bytes fill(uint8_t b) {
    return (Bytes)_mm256_set1_epi8((char)b);
}
static inline Bytes low(Bytes a, Bytes b) {
    return (Bytes)_mm256_min_epu8((__m256i)a, (__m256i)b);
}
static inline Bytes plus(Bytes a, Bytes b) {
    return (Bytes)_mm256_adds_epu8((__m256i)a, (__m256i)b);
}
static inline Bytes minus(Bytes a, Bytes b) {
    return (Bytes)_mm256_subs_epu8((__m256i)a, (__m256i)b);
}

static inline Bytes smallest(Bytes v) {
    __m128i a = _mm_min_epu8(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    a = _mm_minpos_epu16(_mm_min_epu8(a, _mm_srli_epi16(a, 8)));
    return (Bytes)_mm256_broadcastb_epi8(a);
}

static inline Bytes up(Bytes v, Bytes before) {
    __m256i crossing = _mm256_permute2x128_si256((__m256i)before, (__m256i)v, 0x21);
    return (Bytes)_mm256_alignr_epi8((__m256i)v, crossing, 15);
}

static inline Bytes down(Bytes v, Bytes after) {
    __m256i crossing = _mm256_permute2x128_si256((__m256i)v, (__m256i)after, 0x21);
    return (Bytes)_mm256_alignr_epi8(crossing, (__m256i)v, 1);
}

static inline void add_up(const Bytes four[4], Shorts *lo, Shorts *hi) {
    const __m256i one = _mm256_set1_epi8(1);
    __m256i a = (__m256i)four[0], b = (__m256i)four[1], c = (__m256i)four[2], d = (__m256i)four[3];
    __m256i even = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_unpacklo_epi8(a, b), one),
                                    _mm256_maddubs_epi16(_mm256_unpacklo_epi8(c, d), one));
    __m256i odd = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_unpackhi_epi8(a, b), one),
                                   _mm256_maddubs_epi16(_mm256_unpackhi_epi8(c, d), one));
    *lo = (Shorts)_mm256_permute2x128_si256(even, odd, 0x20);
    *hi = (Shorts)_mm256_permute2x128_si256(even, odd, 0x31);
}

static inline Bytes ones_count(Bytes v) {
    const __m256i table = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i a = _mm256_shuffle_epi8(table, _mm256_and_si256((__m256i)v, nibble));
    __m256i b = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16((__m256i)v, 4), nibble));
    return (Bytes)_mm256_add_epi8(a, b);
}

static inline Bytes difference(Bytes a, Bytes b) {
    return minus(a, b) | minus(b, a);
}
static inline Bytes halved(Bytes v) {
    return (Bytes)_mm256_avg_epu8((__m256i)v, _mm256_setzero_si256());
}

static inline Shorts load16(const uint16_t *p) {
    return (Shorts)_mm256_loadu_si256((const __m256i_u *)p);
}
static inline void store16(uint16_t *p, Shorts v) {
    _mm256_storeu_si256((__m256i_u *)p, (__m256i)v);
}
static inline Shorts fill16(uint16_t s) {
    return (Shorts)_mm256_set1_epi16((short)s);
}
static inline Shorts low16(Shorts a, Shorts b) {
    return (Shorts)_mm256_min_epu16((__m256i)a, (__m256i)b);
}
static inline Shorts sum16(Shorts a, Shorts b) {
    return a + b;
}

static inline uint16_t smallest16(Shorts v) {
    __m128i a = _mm_min_epu16(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    return (uint16_t)_mm_cvtsi128_si32(_mm_minpos_epu16(a));
}

static inline Choice equal16(Shorts a, Shorts b) {
    return _mm256_cmpeq_epi16((__m256i)a, (__m256i)b);
}
static inline Choice less16(Shorts a, Shorts b) { /* a < b: not (b <= a), unsigned */
    return _mm256_xor_si256(equal16(low16(a, b), b), _mm256_set1_epi16(-1));
}
static inline Shorts select16(Choice c, Shorts yes, Shorts no) {
    return (Shorts)_mm256_blendv_epi8((__m256i)no, (__m256i)yes, c);
}
static inline int first16(Choice c) {
    unsigned mask = (unsigned)_mm256_movemask_epi8(c);
    return mask ? __builtin_ctz(mask) / 2 : -1;
}
static inline Shorts count16(void) {
    return (Shorts){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
}

#include "tensor/ops/sgm_simd.h"

const SgmKernels sgm_kernels_avx2 = {cost, paths, choose};
#else
typedef int SgmNothing; /* an empty translation unit is not C */
#endif
