/* tensor/ops/simd_rows.h - reading and writing rows whose length need not be a whole number of vectors; included by the
 * kernels of one instruction level, after simd.h. */
#ifndef PANUM_TENSOR_OPS_SIMD_ROWS_H
#define PANUM_TENSOR_OPS_SIMD_ROWS_H
#include "tensor/ops/simd.h"
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Vectors of a row of n: whole ones, and the rest by parts; the loops below take `j` from 0 in steps of VW. */
ALWAYS_INLINE vf get(const float *p, int64_t j, int64_t n) {
    return n - j >= VW ? v_load(p + j) : v_load_part(p + j, n - j);
}
ALWAYS_INLINE void put(float *p, int64_t j, int64_t n, vf v) {
    if (n - j >= VW)
        v_store(p + j, v);
    else
        v_store_part(p + j, v, n - j);
}
/* v, with zeros in the lanes beyond n */
static inline vf clip(vf v, int64_t j, int64_t n) {
    static const int32_t number[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    if (n - j >= VW) return v;
    vi lane;
    memcpy(&lane, number, sizeof lane);
    return (vf)(v_bits(v) & (lane < (int32_t)(n - j)));
}
#endif
