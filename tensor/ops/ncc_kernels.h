/* tensor/ops/ncc_kernels.h - vector parts of ncc.c. Half-size grey values are 16-bit integers; two rows lie interleaved
 * ("pairs"), so that one instruction multiplies both and adds the products.
 *
 * Rows of sums and correlations are worked on in whole vectors from column 0: what they point at must be readable, and
 * what they write writable, NCC_PAD elements beyond both ends of the picture. */
#ifndef PANUM_TENSOR_OPS_NCC_KERNELS_H
#define PANUM_TENSOR_OPS_NCC_KERNELS_H
#include "base/cpu.h"
#include <stdint.h>

enum { NCC_PAD = 32 }; /* at least a vector, and at least the largest radius */

/* The best of a row so far: correlation and number of the candidate. */
typedef struct {
    float *c;
    int32_t *k;
} NccBest;

typedef struct {
    /* sums[x] += a[2x] b[2x] + a[2x+1] b[2x+1] */
    void (*accumulate)(int64_t n, const int16_t *a, const int16_t *b, int32_t *sums);
    /* c[x] = (sum_{|e| <= radius} sums[x+e] - sum_left[x] mean_right[x]) scale_left[x] scale_right[x], from <= x < to
     */
    void (*correlate)(int64_t from, int64_t to, int radius, const int32_t *sums, const float *sum_left,
                      const float *scale_left, const float *mean_right, const float *scale_right, float *c);
    /* Keeps candidate k where c is strictly above what was best. */
    void (*keep)(int64_t n, int32_t k, const float *c, NccBest best);
    /* second[x] = the largest c_k[x] that is a peak (not below c_k-1 and c_k+1) and whose k is more than 1 from
     * best[x]; -1 where there is none. Rows of c lie `step` floats apart; candidates 1 .. count-2 are looked at. */
    void (*second_peak)(int64_t n, int32_t count, const float *c, int64_t step, const int32_t *best, float *second);
} NccKernels;

const NccKernels *ncc_kernels(CpuLevel level);
extern const NccKernels ncc_kernels_base, ncc_kernels_avx2, ncc_kernels_avx512;
#endif
