/* cuda/kernels/rows_gradient.cu - the gradients of softmax and layer norm (tensor/ops/norm_gradient.c), a warp a row.
 *
 *   softmax      dx_c = y_c (dy_c - sum over k of y_k dy_k)
 *   layer norm   dx = (g - mean(g) - z mean(g z)) / s, with z = (x - mean) / s and g = dy weight;
 *                dweight_c = sum over rows of dy z, dbias_c = sum over rows of dy
 *
 * Layer norm has two rungs. The plain one: mean and s of each row, then the sums of each channel over all rows, then
 * dx. The fast one reads x and dy once: a block goes through a tile of rows, its warps add dy z and dy in shared
 * memory, each in a line of its own, and what the block has is a part that reduce.cu's sum_tiles adds in order. Both
 * read x and dy three more times from L1. A lane reads and writes the same channels in every pass, so that dx may lie
 * on x or dy. */
#include "cuda/device/pointwise.h"
#include "cuda/device/value.h"
#include "cuda/kernels/rows_gradient.h"

DEVICE const Value *x_row(const RowsGradientArgs *a, i64 row) {
    return (const Value *)a->x + row_at(&a->x_places, row);
}
DEVICE const Slope *dy_row(const RowsGradientArgs *a, i64 row) {
    return (const Slope *)a->dy + row_at(&a->dy_places, row);
}

KERNEL(softmax_gradient, 256, RowsGradientArgs, a) {
    i64 row = (i64)block_x() * 8 + warp_x();
    if (row >= a.rows) return; /* the whole warp; blocks do not meet */
    const Value *y = x_row(&a, row);
    const Slope *dy = dy_row(&a, row);
    Result *dx = (Result *)a.dx + row * a.channels;
    float sum = 0;
    for (int c = lane_x(); c < a.channels; c += 32) sum = fma_f32(value_f32(y[c]), slope_f32(dy[c]), sum);
    sum = warp_sum(sum);
    for (int c = lane_x(); c < a.channels; c += 32) dx[c] = f32_result(value_f32(y[c]) * (slope_f32(dy[c]) - sum));
}

/* ---- layer norm ---- */

typedef struct {
    float mean, scale;
} Spread;

DEVICE Spread spread_of(const Value *x, int channels, float eps) {
    float mean = 0, variance = 0;
    for (int c = lane_x(); c < channels; c += 32) mean += value_f32(x[c]);
    mean = warp_sum(mean) / (float)channels;
    for (int c = lane_x(); c < channels; c += 32) {
        float d = value_f32(x[c]) - mean;
        variance += d * d;
    }
    Spread s;
    s.mean = mean;
    s.scale = 1 / sqrt_f32(warp_sum(variance) / (float)channels + eps);
    return s;
}

/* dx of one row. With `sums`, adds dy z and dy of each channel to sums[c] and sums[channels + c]. */
DEVICE void gradient_of_row(const RowsGradientArgs *a, i64 row, Spread s, float *sums) {
    const Value *x = x_row(a, row);
    const Slope *dy = dy_row(a, row);
    float mean_g = 0, mean_gz = 0;
    for (int c = lane_x(); c < a->channels; c += 32) {
        float g = slope_f32(dy[c]) * (a->weight ? a->weight[c] : 1);
        mean_g += g;
        mean_gz += g * ((value_f32(x[c]) - s.mean) * s.scale);
    }
    mean_g = warp_sum(mean_g) / (float)a->channels;
    mean_gz = warp_sum(mean_gz) / (float)a->channels;
    for (int c = lane_x(); c < a->channels; c += 32) {
        float z = (value_f32(x[c]) - s.mean) * s.scale, d = slope_f32(dy[c]);
        float v = (d * (a->weight ? a->weight[c] : 1) - mean_g - z * mean_gz) * s.scale;
        if (sums) {
            sums[c] += d * z;
            sums[a->channels + c] += d;
        }
#ifdef REGION_GENERATED
        region(row, c, v, &a->places);
#else
        ((Result *)a->dx)[row * a->channels + c] = f32_result(v);
#endif
    }
}

KERNEL(row_spreads, 256, RowsGradientArgs, a) {
    i64 row = (i64)block_x() * 8 + warp_x();
    if (row >= a.rows) return; /* the whole warp; blocks do not meet */
    Spread s = spread_of(x_row(&a, row), a.channels, a.eps);
    if (lane_x() == 0) {
        a.spread[2 * row] = s.mean;
        a.spread[2 * row + 1] = s.scale;
    }
}

/* One channel a thread. */
KERNEL(layer_norm_gradient_sums, 256, RowsGradientArgs, a) {
    int c = block_x() * 256 + thread_x();
    if (c >= a.channels) return; /* nobody is waited for */
    double product = 0, sum = 0;
    for (i64 row = 0; row < a.rows; row++) {
        float d = slope_f32(dy_row(&a, row)[c]);
        product += d * ((value_f32(x_row(&a, row)[c]) - a.spread[2 * row]) * a.spread[2 * row + 1]);
        sum += d;
    }
    if (a.d_weight) a.d_weight[c] = (float)product;
    if (a.d_bias) a.d_bias[c] = (float)sum;
}

KERNEL(layer_norm_gradient_plain, 256, RowsGradientArgs, a) {
    i64 row = (i64)block_x() * 8 + warp_x();
    if (row >= a.rows) return; /* the whole warp; blocks do not meet */
    gradient_of_row(&a, row, spread_of(x_row(&a, row), a.channels, a.eps), (float *)0);
}

/* grid: tiles; shared: 8 warps x 2 x channels floats, when sums are asked for */
KERNEL(layer_norm_gradient, 256, RowsGradientArgs, a) {
    SHARED_REST(float, shared);
    i64 begin = block_x() * a.tile, end = begin + a.tile < a.rows ? begin + a.tile : a.rows;
    float *own = a.part ? shared + warp_x() * 2 * a.channels : (float *)0;
    for (int c = lane_x(); own && c < a.channels; c += 32) own[c] = own[a.channels + c] = 0;
    for (i64 row = begin + warp_x(); row < end; row += 8)
        gradient_of_row(&a, row, spread_of(x_row(&a, row), a.channels, a.eps), own);
    if (!own) return; /* nobody is waited for: `part` is one for all */
    block_sync();
    for (int e = thread_x(); e < 2 * a.channels; e += 256) {
        double sum = 0;
        for (int w = 0; w < 8; w++) sum += shared[w * 2 * a.channels + e];
        a.part[block_x() * 2 * (i64)a.channels + e] = sum;
    }
}
