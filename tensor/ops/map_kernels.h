/* tensor/ops/map_kernels.h - vector parts of the operators that do little work on each element of a map: norms,
 * softmax, resampling, convex upsampling, lookup. All are bound by memory: each states in its operator's cost what it
 * has to move, and reads and writes it once (group_norm reads twice). Strides are in floats. */
#ifndef PANUM_TENSOR_OPS_MAP_KERNELS_H
#define PANUM_TENSOR_OPS_MAP_KERNELS_H
#include "base/cpu.h"
#include <stdbool.h>
#include <stdint.h>

/* Where a column of the result looks: at `from` with weight 1 - part, at `next` with weight `part`. */
typedef struct {
    int32_t from, next;
    float part;
} ResizeColumn;

typedef struct {
    /* Rows of `channels` values; weight and bias may be NULL. */
    void (*layer_norm)(int64_t rows, int64_t channels, const float *x, int64_t x_step, const float *weight,
                       const float *bias, float eps, float *y, int64_t y_step);
    void (*softmax)(int64_t rows, int64_t channels, const float *x, int64_t x_step, float *y, int64_t y_step);
    /* Of each channel over the rows: the mean, in two parts to be added in double, and the sum of squared distances. */
    void (*moments)(int64_t rows, int64_t channels, const float *x, int64_t x_step, float *mean, float *rest,
                    float *squares);
    /* y = (x - centre) * scale + shift, each by channel. */
    void (*normalise)(int64_t rows, int64_t channels, const float *x, int64_t x_step, const float *centre,
                      const float *scale, const float *shift, float *y, int64_t y_step);
    /* One row of results of avg_pool2: 2 * columns positions of two rows of x. */
    void (*average)(int64_t columns, int64_t channels, const float *above, const float *below, int64_t x_step,
                    float *y);
    /* One row of results of resize_bilinear: two rows of x blended by `part`, then columns by theirs; a source column
     * serves all results between it and the next. `work` is 2 * channels floats. */
    void (*resize_row)(int64_t w, int64_t channels, const float *above, const float *below, int64_t x_step, float part,
                       const ResizeColumn *columns, float *work, float *y);
    void (*pairs)(int64_t n, const float *x, float *y); /* y[k] = (x[2k] + x[2k+1]) / 2, k < n */
    /* One row of results of convex_upsample. `rows` holds the three rows of x round it, each position repeated `factor`
     * times, with a border of `factor` on both sides, row_step apart. */
    void (*convex)(int64_t columns, int factor, bool clipped, const float *rows, int64_t row_step, const float *logits,
                   int64_t logit_step, float *y);
    /* One row of pixels: taps at the exact positions; line i of the volume at cv + i/coarse * cv_step. */
    void (*lookup)(int64_t w, int64_t m, int step, int coarse, const float *cv, int64_t cv_step, const float *disparity,
                   int64_t disparity_step, float *y);
} MapKernels;

const MapKernels *map_kernels(CpuLevel level);
extern const MapKernels map_kernels_base, map_kernels_avx2, map_kernels_avx512;

enum { LOOKUP_RADIUS = 4, LOOKUP_TAPS = 2 * LOOKUP_RADIUS + 1 };
/* One tap of lookup: the value of line[m] at `left` + part, zero outside. */
static inline float lookup_tap(const float *line, int64_t m, int64_t left, float part) {
    float a = left >= 0 && left < m ? line[left] : 0, b = left + 1 >= 0 && left + 1 < m ? line[left + 1] : 0;
    return a * (1 - part) + b * part;
}
#endif
