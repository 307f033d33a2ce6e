#include "tensor/ops/conv_kernels.h"
#if defined(__AVX2__)
#include "tensor/ops/winograd_simd.h"
const ConvKernels conv_kernels_avx2 = CONV_KERNELS_OF(CPU_AVX2);
#endif
