#include "tensor/ops/conv_kernels.h"
#include "tensor/ops/winograd_simd.h"

#include <stddef.h>

const ConvKernels conv_kernels_base = CONV_KERNELS_OF(CPU_BASE);

const WinogradSize winograd_size[WINOGRAD_KINDS] = {
    [WINOGRAD_4X4] = {4, 4, 6, 6}, [WINOGRAD_2X2] = {2, 2, 4, 4}, [WINOGRAD_4X1] = {4, 1, 6, 1},
    [WINOGRAD_1X4] = {1, 4, 1, 6}, [WINOGRAD_6X6] = {6, 6, 8, 8}, [WINOGRAD_6X1] = {6, 1, 8, 1},
    [WINOGRAD_1X6] = {1, 6, 1, 8},
};

const ConvKernels *conv_kernels(void) {
    static const ConvKernels *const tables[] = {
        [CPU_BASE] = &conv_kernels_base,
#if defined(__x86_64__)
        [CPU_AVX2] = &conv_kernels_avx2,
        [CPU_AVX512] = &conv_kernels_avx512,
#endif
    };
    return tables[cpu_level()];
}

const Bf16Kernels *bf16_kernels(void) {
#if defined(__x86_64__)
    if (cpu_has_bf16()) return &bf16_kernels_avx512;
#endif
    return NULL;
}
