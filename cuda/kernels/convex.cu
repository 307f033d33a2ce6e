/* cuda/kernels/convex.cu - convex upsampling: each result is a weighted mean of the 3 x 3 values round it, the weights
 * a softmax (tensor/ops/convex.c says what clipped ones are).
 *
 * Forward: a thread a result, block_y its row, block_z its pair. Should move: nine logits in and one result out, 40
 * bytes with logits in f32; x stays in L1. Computes nine exponentials.
 *
 * Backward: a thread a value of x, in tiles of 16 x 16. It goes through its factor x factor results, makes their
 * dlogits, and puts the sums of m_k dy into shared memory; then it collects what its own value gave to its neighbours'.
 * Values round the tile are worked through by both neighbours, (18/16)^2 = 1.27 times in all, so that the gradient of x
 * is a gather and needs no second launch. Should move: 19 floats a result. */
#include "cuda/device/value.h"
#include "cuda/kernels/convex.h"

#define NINE 9

/* p: softmax of nine logits; m: the weights, p itself or max(p - 0.1, 0) divided by its sum, which is returned. */
DEVICE float convex_weights(const Value *logit, int clipped, float p[NINE], float m[NINE]) {
    float largest = value_f32(logit[0]), sum = 0, kept = 0;
    UNROLL
    for (int k = 0; k < NINE; k++) {
        p[k] = value_f32(logit[k]);
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
    convex_weights((const Value *)a.logits + block_z() * a.l_pair + row * a.l_row + column * a.l_column, a.clipped, p,
                   m);
    UNROLL
    for (int k = 0; k < NINE; k++)
        value += m[k] * neighbour(&a, a.x + block_z() * a.x_pair, row / a.factor, column / a.factor, k);
    a.y[((i64)block_z() * a.h * a.factor + row) * wide + column] = value;
}

#define SIDE 16
#define WIDE (SIDE + 2)

KERNEL(convex_upsample_backward, SIDE *SIDE, ConvexArgs, a) {
    SHARED(float, sums, NINE *WIDE *WIDE);
    const int f = a.factor;
    for (int at = thread_x(); at < WIDE * WIDE; at += SIDE * SIDE) {
        int i = block_y() * SIDE + at / WIDE - 1, j = block_x() * SIDE + at % WIDE - 1;
        int own = at / WIDE % (WIDE - 1) && at % WIDE % (WIDE - 1); /* not a border of the tile */
        float x[NINE], given[NINE] = {0};
        if (i >= 0 && i < a.h && j >= 0 && j < a.w) {
            UNROLL
            for (int k = 0; k < NINE; k++) x[k] = neighbour(&a, a.x + block_z() * a.x_pair, i, j, k);
            for (int pixel = 0; pixel < f * f; pixel++) {
                int row = i * f + pixel / f, column = j * f + pixel % f;
                float p[NINE], m[NINE], y = 0, mean = 0;
                float kept =
                    convex_weights((const Value *)a.logits + block_z() * a.l_pair + row * a.l_row + column * a.l_column,
                                   a.clipped, p, m);
                float dy = a.dy[block_z() * a.dy_pair + row * a.dy_row + column * a.dy_column];
                UNROLL
                for (int k = 0; k < NINE; k++) {
                    y += m[k] * x[k];
                    given[k] += m[k] * dy;
                }
                if (!own) continue;
                UNROLL
                for (int k = 0; k < NINE; k++) { /* without clipping y takes nothing away from dlogits */
                    m[k] = a.clipped && !(m[k] > 0) ? 0 : dy / kept * (x[k] - y);
                    mean += p[k] * m[k];
                }
                Result *to = (Result *)a.dlogits + (((i64)block_z() * a.h * f + row) * a.w * f + column) * NINE;
                UNROLL
                for (int k = 0; k < NINE; k++) to[k] = f32_result(p[k] * (m[k] - mean));
            }
        }
        UNROLL
        for (int k = 0; k < NINE; k++) sums[k * WIDE * WIDE + at] = given[k];
    }
    block_sync();
    int y = thread_x() / SIDE, x = thread_x() % SIDE, i = block_y() * SIDE + y, j = block_x() * SIDE + x;
    if (i >= a.h || j >= a.w) return; /* nobody is waited for */
    float sum = 0;
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++) {
            if (i + dy < 0 || i + dy >= a.h || j + dx < 0 || j + dx >= a.w) continue;
            for (int k = 0; k < NINE; k++)
                if (clamp_index(i + dy + k / 3 - 1, a.h) == i && clamp_index(j + dx + k % 3 - 1, a.w) == j)
                    sum += sums[k * WIDE * WIDE + (y + 1 + dy) * WIDE + x + 1 + dx];
        }
    a.dx[((i64)block_z() * a.h + i) * a.w + j] = sum;
}
