/* cuda/kernels/convex.cu - convex upsampling: each result is a weighted mean of the 3 x 3 values round it, the weights
 * a softmax (tensor/ops/convex.c says what clipped ones are).
 *
 * A thread a result, block_y its row, block_z its pair. Should move: nine logits in and one result out, 40 bytes; x
 * stays in L1. Computes nine exponentials. */
#include "cuda/device/device.h"
#include "cuda/kernels/convex.h"

#define NINE 9

/* p: softmax of nine logits; m: the weights, p itself or max(p - 0.1, 0) divided by its sum, which is returned. */
DEVICE float convex_weights(const float *logit, int clipped, float p[NINE], float m[NINE]) {
    float largest = logit[0], sum = 0, kept = 0;
    UNROLL
    for (int k = 0; k < NINE; k++) {
        p[k] = logit[k];
        largest = max_f32(largest, p[k]);
    }
    UNROLL
    for (int k = 0; k < NINE; k++) {
        p[k] = exp_f32(p[k] - largest);
        sum += p[k];
    }
    sum = 1 / sum;
    UNROLL
    for (int k = 0; k < NINE; k++) {
        p[k] *= sum;
        m[k] = clipped ? max_f32(p[k] - 0.1f, 0) : p[k];
        kept += m[k];
    }
    if (!clipped) return 1;
    UNROLL
    for (int k = 0; k < NINE; k++) m[k] /= kept;
    return kept;
}

DEVICE int clamp_index(int i, int n) {
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* Neighbour k of pixel (i, j) of x; borders are replicated. */
DEVICE float neighbour(const ConvexArgs *a, const float *x, int i, int j, int k) {
    return x[clamp_index(i + k / 3 - 1, a->h) * a->x_row + clamp_index(j + k % 3 - 1, a->w) * a->x_column];
}

KERNEL(convex_upsample, 256, ConvexArgs, a) {
    int column = block_x() * 256 + thread_x(), row = block_y(), wide = a.w * a.factor;
    if (column >= wide) return; /* nobody is waited for */
    float p[NINE], m[NINE], value = 0;
    convex_weights(a.logits + block_z() * a.l_pair + row * a.l_row + column * a.l_column, a.clipped, p, m);
    UNROLL
    for (int k = 0; k < NINE; k++)
        value += m[k] * neighbour(&a, a.x + block_z() * a.x_pair, row / a.factor, column / a.factor, k);
    a.y[((i64)block_z() * a.h * a.factor + row) * wide + column] = value;
}
