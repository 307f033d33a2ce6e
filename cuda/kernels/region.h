/* cuda/kernels/region.h - where the tensors of a pointwise region lie: operands and outputs in the order of its
 * StripProgram (tensor/ops/strip.h), strides in elements from row to row. */
#ifndef PANUM_CUDA_KERNELS_REGION_H
#define PANUM_CUDA_KERNELS_REGION_H
#include "cuda/device/types.h"

enum { REGION_OPERANDS = 12, REGION_OUTPUTS = 21 };
typedef struct {
    const void *operand[REGION_OPERANDS];
    float *output[REGION_OUTPUTS]; /* or u16, as operands may be */
    i64 operand_stride[REGION_OPERANDS], output_stride[REGION_OUTPUTS];
} RegionPlaces;

/* A region alone, over rows x columns. */
typedef struct {
    RegionPlaces places;
    i64 rows, columns;
} RegionArgs;
#endif
