/* cuda/kernels/weight_gradient.h - arguments of the gradients of weights and biases. */
#ifndef PANUM_CUDA_KERNELS_WEIGHT_GRADIENT_H
#define PANUM_CUDA_KERNELS_WEIGHT_GRADIENT_H
#include "cuda/device/types.h"

/* A map with its channels side by side; strides in elements. Numbers as device/value.h says: x Value, dy Slope. */
typedef struct {
    const void *at;
    i64 channels, by_n, by_y, by_x;
} GradientMap;

/* For every tap (ky,kx), channel o of dy and c of x:
 *   out[o][c][tap] = sum over n, y, x of dy[n,y,x][o] x[n, y stride - pad_h + ky, x stride - pad_w + kx][c]
 * where what lies outside x adds nothing. The positions of dy, in order, are cut into `parts` of `part` positions; each
 * is summed by itself, into rooms out_part apart. */
typedef struct {
    GradientMap x, dy;
    float *out;
    i64 out_part, out_o, out_c, out_tap;
    int parts, part, positions;
    int out_h, out_w, h, w, kh, kw, stride, pad_h, pad_w;
    int wide; /* channels of both come by fours: 16 bytes, aligned */
} WeightGradientArgs;

/* out[o][c0 + c][tap] = sum over parts, in order, of from[part][tap][o][c], c < columns; taps 1, for a bias, as well.
 */
typedef struct {
    const float *from;
    float *out;                       /* of column c0 */
    i64 count, out_o, out_c, out_tap; /* count: elements of a part */
    int parts, rows, columns;
} AddPartsArgs;
#endif
