/* cuda/kernels/peak.h - arguments of the kernels that measure what a device can do at most. */
#ifndef PANUM_CUDA_KERNELS_PEAK_H
#define PANUM_CUDA_KERNELS_PEAK_H
#include "cuda/device/types.h"

enum { PEAK_CHAINS = 16, PEAK_PRODUCTS = 4 };

typedef struct {
    float *sink; /* one float; written only if all came to an impossible number */
    float scale; /* 1 */
    int rounds;
} PeakArgs;
#endif
