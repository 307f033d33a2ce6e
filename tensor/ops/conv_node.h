/* tensor/ops/conv_node.h - reading a convolution-like node: its inputs are `segments` parts of the data operand, then
 * the weight, then the bias or NULL. For tensor/ops, and for exec/gpu.c, which launches other kernels of the same
 * nodes. */
#ifndef PANUM_TENSOR_OPS_CONV_NODE_H
#define PANUM_TENSOR_OPS_CONV_NODE_H
#include "tensor/op.h"
#include "tensor/ops/ops.h"

/* Attributes of conv2d, conv_transpose2d and linear. */
typedef struct ConvTask ConvTask;
typedef struct {
    ConvOptions options;                                /* stride is at least 1 */
    void (*describe)(const Node *node, ConvTask *task); /* the node as the kernels see it (conv_task.h); NULL in f64 */
    /* A linear node that a plan has joined with another: behind weight and bias follow those of the second, V and a,
     * and the matrix is made of both when it is packed (square ones only).
     *   CONV_AFTER  V W, with the bias V b + a: what a product by V of the result would be
     *   CONV_KEYS   V^T W, without bias: whose result . y is (W x) . (V y) */
    enum { CONV_ALONE, CONV_AFTER, CONV_KEYS } joined;
    bool in_parts; /* set by a plan: Winograd may take sums over many channels in parts, which F(6x6) then allows more
                      of */
} ConvAttributes;

static inline const Tensor *conv_weight(const Node *node) {
    return node->input[node->segments];
}
static inline const Tensor *conv_bias(const Node *node) {
    return node->input[node->segments + 1];
}

/* Every input read once, every output written once. */
static inline double conv_bytes(const Node *node) {
    double bytes = 0;
    for (int i = 0; i < node->inputs; i++)
        if (node->input[i]) bytes += (double)tensor_count(node->input[i]) * (double)dtype_size(node->input[i]->dtype);
    for (int i = 0; i < node->outputs; i++)
        bytes += (double)tensor_count(node->output[i]) * (double)dtype_size(node->output[i]->dtype);
    return bytes;
}

/* The definition of a convolution row by row: `row` gives row y of image n of the output, output[0]->size[3] pixels of
 * output[0]->size[1] channels, pixels `out_pixel` elements apart. */
typedef void (*ConvRow)(const Node *node, const Run *run, int64_t n, int64_t y, real *out, int64_t out_pixel);
void conv_define_rows(const Node *node, const Run *run, ConvRow row);

void conv_print(const Node *node, FILE *to); /* kernel, stride, padding */

/* ---- gradients: what conv2d, conv_transpose2d and linear record backwards ---- */

/* conv_transpose2d with the size of its result given: with a stride, several sizes of map lead to the one of x, and
 * only the caller knows which (h - stride < (H-1) stride + kh - 2 pad <= h). The gradient of a conv2d with respect to
 * its map is this of dy, with the same weight and bias NULL. */
Tensor *t_conv_transpose2d_sized_at(Tensor *x, Tensor *weight, Tensor *bias, ConvOptions options, int64_t h, int64_t w,
                                    T_AT);
/* The gradient of linear with respect to its tokens: dy (..., Co), weight [Co,Ci] -> dy W, (..., Ci). */
Tensor *t_linear_input_gradient_at(Tensor *dy, Tensor *weight, T_AT);
/* The gradient with respect to the weight of a conv2d of x whose result's gradient is dy (conv_gradient.c): of the
 * shape of `weight`, [Co,Ci,kh,kw], or [Co,Ci] for tokens. d_bias NULL, or where the sum of dy over positions goes. */
Tensor *t_weight_gradient_at(Tensor *x, Tensor *dy, const Tensor *weight, ConvOptions options, Tensor **d_bias, T_AT);

/* How the fast version would compute a conv2d, conv_transpose2d or linear node; for plans and benchmarks to print. */
const char *conv_algorithm(const Node *node, bool exact, bool bf16);
#endif
