#include "tensor/ops/conv_kernels.h"
#if defined(__AVX512BF16__)
#include <immintrin.h>
#define BLOCK_BROADCAST(p) ((vf)_mm512_set1_ps(*(p)))
#define BLOCK_MULTIPLY_ADD(operand, weight, sum) \
    ((vf)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(operand), (__m512bh)(weight)))
#define BLOCK_ONLY
#include "tensor/ops/gemm_simd.h"

static void convert(const float *from, int64_t count, uint16_t *to) {
    int64_t i = 0;
    for (; i + 16 <= count; i += 16)
        _mm256_storeu_si256((__m256i *)(void *)(to + i), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + i)));
    if (i < count) {
        __mmask16 left = (__mmask16)((1u << (count - i)) - 1);
        _mm256_mask_storeu_epi16(to + i, left, (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(left, from + i)));
    }
}

const Bf16Kernels bf16_kernels_avx512 = {.block = block, .convert = convert};
#endif
