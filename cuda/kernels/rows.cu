/* cuda/kernels/rows.cu - softmax and layer norm over channels: a warp a row, eight rows a block. A lane reads and
 * writes the same channels in every pass, so that y may lie on x. */
#include "cuda/device/pointwise.h"
#include "cuda/device/value.h"
#include "cuda/kernels/rows.h"

DEVICE const Value *row_start(const RowsArgs *a, i64 row) {
    i64 at = 0;
    UNROLL
    for (int k = ROWS_AXES - 1; k >= 0; k--) {
        i64 rest = row / a->size[k];
        at += (row - rest * a->size[k]) * a->stride[k];
        row = rest;
    }
    return (const Value *)a->x + at;
}

/* y_c = exp(x_c - m) / sum of exp(x_k - m), m the largest. NaN where the row holds NaN, +infinity, or nothing but
 * -infinity. */
KERNEL(softmax, 256, RowsArgs, a) {
    i64 row = (i64)block_x() * 8 + warp_x();
    if (row >= a.rows) return; /* the whole warp; blocks do not meet */
    const Value *x = row_start(&a, row);
    Result *y = (Result *)a.y + row * a.channels;
    float largest = bits_f32(0xff800000u), sum = 0; /* -infinity */
    for (int c = lane_x(); c < a.channels; c += 32) largest = max_f32(largest, value_f32(x[c]));
    largest = warp_max(largest);
    for (int c = lane_x(); c < a.channels; c += 32) sum += exp_f32(value_f32(x[c]) - largest);
    sum = warp_sum(sum);
    for (int c = lane_x(); c < a.channels; c += 32) y[c] = f32_result(exp_f32(value_f32(x[c]) - largest) / sum);
}

/* y_c = (x_c - mean) / sqrt(variance + eps) weight_c + bias_c; the variance from the differences, not from squares. */
KERNEL(layer_norm, 256, RowsArgs, a) {
    i64 row = (i64)block_x() * 8 + warp_x();
    if (row >= a.rows) return; /* the whole warp; blocks do not meet */
    const Value *x = row_start(&a, row);
    float mean = 0, variance = 0;
    for (int c = lane_x(); c < a.channels; c += 32) mean += value_f32(x[c]);
    mean = warp_sum(mean) / (float)a.channels;
    for (int c = lane_x(); c < a.channels; c += 32) {
        float d = value_f32(x[c]) - mean;
        variance += d * d;
    }
    float scale = 1 / sqrt_f32(warp_sum(variance) / (float)a.channels + a.eps);
    for (int c = lane_x(); c < a.channels; c += 32) {
        float v = (value_f32(x[c]) - mean) * scale * (a.weight ? a.weight[c] : 1) + (a.bias ? a.bias[c] : 0);
#ifdef REGION_GENERATED
        region(row, c, v, &a.places);
#else
        ((Result *)a.y)[row * a.channels + c] = f32_result(v);
#endif
    }
}
