/* tensor/ops/stereo_kernels.h - the vector part of the box filter (box.c), and of the gradients of lookup, convex
 * upsampling and resizing (lookup.c, convex.c, resample.c). */
#ifndef PANUM_TENSOR_OPS_STEREO_KERNELS_H
#define PANUM_TENSOR_OPS_STEREO_KERNELS_H
#include "tensor/ops/map_kernels.h"

typedef struct {
    /* sums[i] = x[i] + x[i + step] + ... + x[i + (k-1) step] for i < n - (k-1) step. x (of n) is spoiled. The order of
     * addition is the same at every level. */
    void (*box)(int64_t n, int64_t k, int64_t step, float *x, float *sums);
    /* to = sum over k < count of share[k] * row k: `columns` positions of `channels`, rows row_step apart, positions
     * x_step; `to` is dense. */
    void (*weighted_rows)(int64_t count, const float *share, int64_t columns, int64_t channels, const float *rows,
                          int64_t row_step, int64_t x_step, float *to);
    /* The transpose of resize_row (map_kernels.h) along the row: what each of `columns` positions of `line` was made
     * from gets it back; `to` holds w positions. */
    void (*spread_row)(int64_t columns, int64_t channels, const float *line, const ResizeColumn *where, int64_t w,
                       float *to);
    /* The transpose of lookup (map_kernels.h) for one row of pixels: adds to lines of dcv, column i to that at
     * dcv + i/coarse * dcv_step. `dout` holds nine values a pixel, dout_step apart. */
    void (*lookup_back)(int64_t w, int64_t m, int step, int coarse, const float *disparity, int64_t disparity_step,
                        const float *dout, int64_t dout_step, float *dcv, int64_t dcv_step);
    /* One row of pixels of the gradient of convex_upsample: `rows` as convex (map_kernels.h) takes them; nine dlogits a
     * pixel, dense, and shares[k * columns + pixel] += m_k dy. */
    void (*convex_back)(int64_t columns, int factor, bool clipped, const float *rows, int64_t row_step,
                        const float *logits, int64_t logit_step, const float *dy, int64_t dy_step, float *dlogits,
                        float *shares);
} StereoKernels;

const StereoKernels *stereo_kernels(CpuLevel level);
extern const StereoKernels stereo_kernels_base, stereo_kernels_avx2, stereo_kernels_avx512;
#endif
