#include "tensor/ops/conv_kernels.h"
#include "tensor/ops/winograd_simd.h"

#include <stdatomic.h>
#include <stddef.h>

const ConvKernels conv_kernels_base = CONV_KERNELS_OF(CPU_BASE);

const WinogradSize winograd_size[WINOGRAD_KINDS] = {
    [WINOGRAD_4X4] = {4, 4, 6, 6},
    [WINOGRAD_2X2] = {2, 2, 4, 4},
    [WINOGRAD_4X1] = {4, 1, 6, 1},
    [WINOGRAD_1X4] = {1, 4, 1, 6},
};

/* Weakest first; a machine that cannot run a level has no table for it. */
static const ConvKernels *const tables[] = {
    [CPU_BASE] = &conv_kernels_base,
#if defined(__x86_64__)
    [CPU_AVX2] = &conv_kernels_avx2,
    [CPU_AVX512] = &conv_kernels_avx512,
#endif
};

static const ConvKernels *_Atomic forced;

const ConvKernels *conv_kernels_at(CpuLevel level) {
    return level <= cpu_level() ? tables[level] : NULL;
}

const ConvKernels *conv_kernels(void) {
    const ConvKernels *kernels = atomic_load_explicit(&forced, memory_order_relaxed);
    return kernels ? kernels : tables[cpu_level()];
}

void conv_kernels_force(const ConvKernels *kernels) {
    atomic_store(&forced, kernels);
}

const Bf16Kernels *bf16_kernels(void) {
#if defined(__x86_64__)
    if (cpu_has_bf16() && conv_kernels()->level == CPU_AVX512) return &bf16_kernels_avx512;
#endif
    return NULL;
}
