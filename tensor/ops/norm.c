/* tensor/ops/norm.c - layer_norm and group_norm.
 *
 * Both: y = (x - mean) / sqrt(variance + eps) * weight + bias, with the biased variance. layer_norm takes mean and
 * variance over the channels of a position (Ba et al. 2016), group_norm over all positions of a picture and the
 * channels of one group (Wu and He 2018); weight and bias are by channel. Gradient, with z = (x - mean)/s, g = dy *
 * weight, means over the same set: dx = (g - mean(g) - z mean(g z)) / s; dweight = sum dy z, dbias = sum dy. */
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/rows.h"
#include <math.h>

typedef struct {
    double eps;
    int groups; /* 0: layer_norm */
} NormAttributes;

static void layer_norm_define(const Node *node, const Run *run) {
    const NormAttributes *attributes = node->attributes;
    const Rows from = rows_of(node->input[0]), to = rows_of(node->output[0]);
    const real *x = run_real(run, node->input[0]), *weight = run_real(run, node->input[1]),
               *bias = run_real(run, node->input[2]);
    real *y = run_real(run, node->output[0]);
    for (int64_t position = 0; position < from.count; position++) {
        const real *row = x + rows_at(&from, position);
        real *result = y + rows_at(&to, position);
        double mean = 0, variance = 0;
        for (int64_t c = 0; c < from.channels; c++) mean += row[c];
        mean /= (double)from.channels;
        for (int64_t c = 0; c < from.channels; c++) variance += (row[c] - mean) * (row[c] - mean);
        double scale = 1 / sqrt(variance / (double)from.channels + attributes->eps);
        for (int64_t c = 0; c < from.channels; c++)
            result[c] = (real)((row[c] - mean) * scale * (weight ? weight[c] : 1) + (bias ? bias[c] : 0));
    }
}

static void group_norm_define(const Node *node, const Run *run) {
    const NormAttributes *attributes = node->attributes;
    const Tensor *in = node->input[0], *out = node->output[0];
    const real *x = run_real(run, in), *weight = run_real(run, node->input[1]), *bias = run_real(run, node->input[2]);
    real *y = run_real(run, out);
    const int64_t width = in->size[1] / attributes->groups;
    for (int64_t n = 0; n < in->size[0]; n++)
        for (int group = 0; group < attributes->groups; group++) {
            double mean = 0, variance = 0;
            for (int pass = 0; pass < 3; pass++) { /* mean, variance, result */
                double scale = 1 / sqrt(variance + attributes->eps);
                for (int64_t row = 0; row < in->size[2]; row++)
                    for (int64_t column = 0; column < in->size[3]; column++)
                        for (int64_t c = group * width; c < (group + 1) * width; c++) {
                            double value =
                                x[n * in->stride[0] + c * in->stride[1] + row * in->stride[2] + column * in->stride[3]];
                            if (pass == 0) mean += value;
                            if (pass == 1) variance += (value - mean) * (value - mean);
                            if (pass == 2)
                                y[n * out->stride[0] + c * out->stride[1] + row * out->stride[2] +
                                  column * out->stride[3]] =
                                    (real)((value - mean) * scale * (weight ? weight[c] : 1) + (bias ? bias[c] : 0));
                        }
                double count = (double)(width * in->size[2] * in->size[3]);
                if (pass == 0) mean /= count;
                if (pass == 1) variance /= count;
            }
        }
}

static void norm_cost(const Node *node, Cost *cost) {
    double elements = (double)tensor_count(node->output[0]);
    cost->flops = 7 * elements; /* sum; difference, square, sum; difference, scale, shift */
    cost->bytes = 8 * elements;
}

static void norm_print(const Node *node, FILE *to) {
    const NormAttributes *attributes = node->attributes;
    if (attributes->groups) fprintf(to, " groups=%d", attributes->groups);
    fprintf(to, " eps=%g", attributes->eps);
}

static const Op layer_norm_op = {
    .name = "layer_norm",
    .kind = OP_HEAVY,
    .define = layer_norm_define,
    .cost = norm_cost,
    .print = norm_print,
};

static const Op group_norm_op = {
    .name = "group_norm",
    .kind = OP_HEAVY,
    .define = group_norm_define,
    .cost = norm_cost,
    .print = norm_print,
};

static Tensor *record_norm(const Op *op, Tensor *x, Tensor *weight, Tensor *bias, NormAttributes attributes, T_AT) {
    int64_t channels = x->size[x->rank == 4 ? 1 : x->rank - 1];
    Tensor *input[3] = {x, weight, bias};
    for (int i = 1; i < 3; i++)
        SHAPE_RULE(x->program, file, line,
                   !input[i] || (input[i]->rank == 1 && input[i]->size[0] == channels && input[i]->stride[0] == 1),
                   "%s: weight and bias must be vectors of %lld", op->name, (long long)channels);
    SHAPE_RULE(x->program, file, line, rows_usable(x), "%s: its input's channels must lie side by side", op->name);
    Node *node = program_record(x->program, op, 3, input, &attributes, sizeof attributes, file, line);
    return node_output(node, DTYPE_F32, x->rank, x->size, LAYOUT_AUTO);
}

Tensor *t_layer_norm_at(Tensor *x, Tensor *weight, Tensor *bias, double eps, T_AT) {
    return record_norm(&layer_norm_op, x, weight, bias, (NormAttributes){.eps = eps}, file, line);
}

Tensor *t_group_norm_at(Tensor *x, int groups, Tensor *weight, Tensor *bias, double eps, T_AT) {
    SHAPE_RULE(x->program, file, line, x->rank == 4 && groups > 0 && x->size[1] % groups == 0,
               "group_norm: wants a map whose channels divide into %d groups", groups);
    return record_norm(&group_norm_op, x, weight, bias, (NormAttributes){.eps = eps, .groups = groups}, file, line);
}
