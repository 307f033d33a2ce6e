/* tests/cuda/cases.h - arguments of the conformance kernels and of those with planted faults. */
#ifndef PANUM_TESTS_CUDA_CASES_H
#define PANUM_TESTS_CUDA_CASES_H
#include "cuda/device/types.h"
typedef struct {
    const float *x; /* whatever a case reads */
    float *y;
    const u32 *a, *b;
    u32 *c;
    int n;
} WordArgs;
#endif
