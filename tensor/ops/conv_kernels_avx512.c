#include "tensor/ops/conv_kernels.h"
#if defined(__AVX512F__)
#include "tensor/ops/winograd_simd.h"
const ConvKernels conv_kernels_avx512 = CONV_KERNELS_OF(CPU_AVX512);
#endif
