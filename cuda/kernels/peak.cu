/* cuda/kernels/peak.cu - what a device can do at most: multiply-adds on registers, in chains that do not wait for each
 * other. No memory is touched. A thread of peak_f32 computes 2 x 16 flops a round; a warp of peak_half 4 products of
 * 16 x 8 x 16 on tensor cores, 2 x 8,192 flops. v = v scale - scale stays finite with a
 * scale of 1. */
#if !defined(HALF_IS_F16) && !defined(HALF_IS_BF16)
#define HALF_IS_F16
#endif
#include "cuda/device/device.h"
#include "cuda/kernels/peak.h"

KERNEL(peak_f32, 256, PeakArgs, a) {
    float v[PEAK_CHAINS];
    UNROLL
    for (int k = 0; k < PEAK_CHAINS; k++) v[k] = (float)(thread_x() + k);
    for (int i = 0; i < a.rounds; i++) {
        UNROLL
        for (int k = 0; k < PEAK_CHAINS; k++) v[k] = fma_f32(v[k], a.scale, -a.scale);
    }
    float sum = 0;
    UNROLL
    for (int k = 0; k < PEAK_CHAINS; k++) sum += v[k];
    if (sum == 0.123f) *a.sink = sum;
}

KERNEL(peak_half, 256, PeakArgs, a) {
    float c[PEAK_PRODUCTS][4] = {{0}};
    const u32 left[4] = {0, 0, 0, 0}, right[2] = {0, 0};
    for (int i = 0; i < a.rounds; i++) {
        UNROLL
        for (int k = 0; k < PEAK_PRODUCTS; k++) mma_16x8x16(c[k], left, right);
    }
    float sum = a.scale;
    UNROLL
    for (int k = 0; k < PEAK_PRODUCTS; k++) sum += c[k][0] + c[k][1] + c[k][2] + c[k][3];
    if (sum == 0.123f) *a.sink = sum;
}
