/* tensor/ops/simd_transpose.h - VW vectors as a square, transposed in registers: for packing. */
#ifndef PANUM_TENSOR_OPS_SIMD_TRANSPOSE_H
#define PANUM_TENSOR_OPS_SIMD_TRANSPOSE_H
#include "tensor/ops/simd.h"

/* Eklundh's exchange: for s = 1, 2, 4, ... rows i and i + s swap the s x s blocks beside their diagonal. */
#define SWAP_LOW(k, s) ((k) & (s) ? VW + (k) - (s) : (k))
#define SWAP_HIGH(k, s) ((k) & (s) ? VW + (k) : (k) + (s))
#define LANES4(f, s) f(0, s), f(1, s), f(2, s), f(3, s)
#define LANES8(f, s) LANES4(f, s), f(4, s), f(5, s), f(6, s), f(7, s)
#define LANES16(f, s) LANES8(f, s), f(8, s), f(9, s), f(10, s), f(11, s), f(12, s), f(13, s), f(14, s), f(15, s)
#if VW == 16
#define LANES LANES16
#elif VW == 8
#define LANES LANES8
#else
#define LANES LANES4
#endif
#define SWAP_BLOCKS(s)                                                                         \
    for (int i = 0; i < VW; i++)                                                               \
        if (!(i & (s))) {                                                                      \
            vf low = __builtin_shufflevector(row[i], row[i + (s)], LANES(SWAP_LOW, s));        \
            row[i + (s)] = __builtin_shufflevector(row[i], row[i + (s)], LANES(SWAP_HIGH, s)); \
            row[i] = low;                                                                      \
        }

static inline void v_transpose(vf row[VW]) {
    SWAP_BLOCKS(1)
    SWAP_BLOCKS(2)
#if VW >= 8
    SWAP_BLOCKS(4)
#endif
#if VW >= 16
    SWAP_BLOCKS(8)
#endif
}
#endif
