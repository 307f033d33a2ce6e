/* tensor/ops/simple.c - compound operators written in simpler ones (simple.h). */
#include "tensor/ops/simple.h"
#include "tensor/op.h"
#include <math.h>

Tensor *t_attention_simple(Tensor *q, Tensor *k, Tensor *v, AttentionOptions options) {
    enum { HEADS_MAX = 16 };
    if (!options.heads) options.heads = 1;
    SHAPE_RULE(q->program, __FILE__, __LINE__, options.heads <= HEADS_MAX,
               "attention in simpler operators: too many heads");
    Tensor *result[HEADS_MAX];
    int64_t width = q->size[2] / options.heads, half = q->size[0] / 2;
    if (options.swap_halves) {
        k = t_cat(0, t_slice(k, 0, half, half), t_slice(k, 0, 0, half));
        v = t_cat(0, t_slice(v, 0, half, half), t_slice(v, 0, 0, half));
    }
    for (int head = 0; head < options.heads; head++) {
        Tensor *scores = t_matmul_nt(t_slice(q, 2, head * width, width), t_slice(k, 2, head * width, width));
        Tensor *weights = t_softmax(t_affine(scores, 1 / sqrt((double)width), 0));
        result[head] = t_matmul(weights, t_slice(v, 2, head * width, width));
    }
    return options.heads == 1 ? result[0] : t_cat_at(2, options.heads, result, T_HERE);
}

/* x moved by dy rows and dx columns (each -1, 0 or 1), its border repeated. */
static Tensor *shifted(Tensor *x, int axis, int by) {
    int64_t n = x->size[axis];
    if (!by || n == 1) return x;
    return by > 0 ? t_cat(axis, t_slice(x, axis, 1, n - 1), t_slice(x, axis, n - 1, 1))
                  : t_cat(axis, t_slice(x, axis, 0, 1), t_slice(x, axis, 0, n - 1));
}

Tensor *t_convex_upsample_simple(Tensor *x, Tensor *logits, ConvexOptions options) {
    Tensor *m = t_softmax(logits), *sum = NULL, *y = NULL;
    if (options.clipped) {
        m = t_relu(t_affine(m, 1, -0.1));
        for (int k = 0; k < 9; k++) sum = sum ? t_add(sum, t_slice(m, 1, k, 1)) : t_slice(m, 1, k, 1);
    }
    for (int k = 0; k < 9; k++) {
        Tensor *neighbour = shifted(shifted(x, 2, k / 3 - 1), 3, k % 3 - 1);
        for (int f = options.factor; f > 1; f /= 2) neighbour = t_upsample2_nearest(neighbour);
        Tensor *part = t_mul(t_slice(m, 1, k, 1), neighbour);
        y = y ? t_add(y, part) : part;
    }
    return sum ? t_div(y, sum) : y;
}
