/* tensor/ops/softmax.c - softmax over channels: y_c = exp(x_c - m) / sum_k exp(x_k - m), m = max_k x_k.
 *
 * Gradient: dx_c = y_c (dy_c - sum_k y_k dy_k).
 * A position that holds NaN, +infinity or nothing but -infinity gives NaN, as in PyTorch. */
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/rows.h"
#include <math.h>

static void softmax_define(const Node *node, const Run *run) {
    const Rows from = rows_of(node->input[0]), to = rows_of(node->output[0]);
    const real *x = run_real(run, node->input[0]);
    real *y = run_real(run, node->output[0]);
    for (int64_t position = 0; position < from.count; position++) {
        const real *row = x + rows_at(&from, position);
        real *result = y + rows_at(&to, position);
        real largest = row[0];
        for (int64_t c = 1; c < from.channels; c++) largest = row[c] > largest ? row[c] : largest;
        double sum = 0;
        for (int64_t c = 0; c < from.channels; c++) sum += result[c] = (real)exp((double)row[c] - largest);
        for (int64_t c = 0; c < from.channels; c++) result[c] = (real)(result[c] / sum);
    }
}

static void softmax_cost(const Node *node, Cost *cost) {
    double elements = (double)tensor_count(node->output[0]);
    cost->flops = 4 * elements; /* the exponential counted as one */
    cost->bytes = 8 * elements;
}

static const Op softmax_op = {
    .name = "softmax",
    .kind = OP_HEAVY,
    .define = softmax_define,
    .cost = softmax_cost,
};

Tensor *t_softmax_at(Tensor *x, T_AT) {
    SHAPE_RULE(x->program, file, line, rows_usable(x), "softmax: its input's channels must lie side by side");
    Node *node = program_record(x->program, &softmax_op, 1, &x, NULL, 0, file, line);
    return node_output(node, DTYPE_F32, x->rank, x->size, LAYOUT_AUTO);
}
