/* linear - y = x W^T + bias over the last axis (PyTorch's Linear): y[..., o] = bias[o] + sum over c of x[..., c] W[o,
 * c]. Its gradient: dx = dy W, dW = dy^T x, dbias the sum of dy over all leading axes. The data operand may come as
 * several segments of its last axis, side by side (Node.segments).
 *
 * linear_input_gradient is dy W, the same product with the other axis of the weight summed over: it reads the weight
 * with its two axes in exchange and takes every path that linear takes. */
#include "tensor/op.h"
#include "tensor/ops/conv_node.h"
#include "tensor/ops/conv_task.h"
#include "tensor/ops/ops.h"

static const Op linear_op, linear_input_gradient_op;
#ifndef PANUM_F64
static void describe(const Node *node, ConvTask *task);
#else
#define describe NULL
#endif

Tensor *t_linear_at(Tensor *x, Tensor *weight, Tensor *bias, const char *file, int line) {
    Program *program = x->program;
    int last = x->rank - 1;
    SHAPE_RULE(program, file, line,
               x->rank >= 1 && x->dtype == DTYPE_F32 && (x->stride[last] == 1 || x->size[last] == 1),
               "linear wants f32 tokens whose last axis is dense");
    SHAPE_RULE(program, file, line, weight->rank == 2 && tensor_is_row_major(weight),
               "linear wants a row-major weight of rank 2");
    SHAPE_RULE(program, file, line, weight->size[1] == x->size[last],
               "linear: tokens have %lld channels, the weight wants %lld", (long long)x->size[last],
               (long long)weight->size[1]);
    SHAPE_RULE(program, file, line,
               !bias || (bias->rank == 1 && bias->size[0] == weight->size[0] && bias->stride[0] == 1),
               "linear wants a bias of %lld", (long long)weight->size[0]);
    for (int i = 0; i < last - 3; i++)
        SHAPE_RULE(program, file, line, x->stride[i] == x->stride[i + 1] * x->size[i + 1],
                   "linear over more than three leading axes wants them dense");
    ConvAttributes attributes = {{.stride = 1}, describe, CONV_ALONE, false};
    Tensor *input[] = {x, weight, bias};
    Node *node = program_record(program, &linear_op, 3, input, &attributes, sizeof attributes, file, line);
    int64_t size[RANK_MAX];
    for (int i = 0; i < last; i++) size[i] = x->size[i];
    size[last] = weight->size[0];
    return node_output(node, DTYPE_F32, x->rank, size, LAYOUT_ROW_MAJOR);
}

/* The axis of the weight that is summed over. */
static int summed_axis(const Node *node) {
    return node->op == &linear_op ? 1 : 0;
}

/* Where row `row` of the leading axes, counted in spoken order, starts. */
static int64_t row_offset(const Tensor *t, int64_t row) {
    int64_t offset = 0;
    for (int i = t->rank - 2; i >= 0; i--) {
        offset += row % t->size[i] * t->stride[i];
        row /= t->size[i];
    }
    return offset;
}

typedef struct {
    const Node *node;
    const Run *run;
} Job;

static void define_tile(void *context, int64_t row, int worker) {
    (void)worker;
    const Job *job = context;
    const Node *node = job->node;
    const Tensor *weight = conv_weight(node);
    const real *weights = run_real(job->run, weight), *biases = run_real(job->run, conv_bias(node));
    const int sum_axis = summed_axis(node);
    const int64_t by_o = weight->stride[1 - sum_axis], by_c = weight->stride[sum_axis];
    real *out = run_real(job->run, node->output[0]) + row_offset(node->output[0], row);
    for (int64_t o = 0; o < weight->size[1 - sum_axis]; o++) {
        double sum =
            biases ? (double)biases[o] : 0; /* double, so that a faster version differs by its own rounding only */
        const real *w = weights + o * by_o;
        for (int s = 0; s < node->segments; s++) {
            const Tensor *from = node->input[s];
            const real *data = run_real(job->run, from) + row_offset(from, row);
            int64_t channels = from->size[from->rank - 1];
            for (int64_t c = 0; c < channels; c++) sum += (double)data[c] * (double)w[c * by_c];
            w += channels * by_c;
        }
        out[o] = (real)sum;
    }
}

static void define(const Node *node, const Run *run) {
    Job job = {node, run};
    const Tensor *to = node->output[0];
    pool_run(run->pool, tensor_count(to) / to->size[to->rank - 1], define_tile, &job);
}

Tensor *t_linear_input_gradient_at(Tensor *dy, Tensor *weight, const char *file, int line) {
    const int last = dy->rank - 1;
    SHAPE_RULE(dy->program, file, line, dy->stride[last] == 1 || dy->size[last] == 1,
               "linear_input_gradient wants tokens whose last axis is dense");
    SHAPE_RULE(dy->program, file, line, weight->rank == 2 && weight->size[0] == dy->size[last],
               "linear_input_gradient: %lld channels, the weight makes %lld", (long long)dy->size[last],
               (long long)weight->size[0]);
    ConvAttributes attributes = {{.stride = 1}, describe, CONV_ALONE, false};
    Tensor *input[] = {dy, weight, NULL};
    Node *node =
        program_record(dy->program, &linear_input_gradient_op, 3, input, &attributes, sizeof attributes, file, line);
    int64_t size[RANK_MAX];
    for (int i = 0; i < last; i++) size[i] = dy->size[i];
    size[last] = weight->size[1];
    return node_output(node, DTYPE_F32, dy->rank, size, LAYOUT_ROW_MAJOR);
}

static void gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    Tensor *x = node->input[0], *weight = node->input[1], *dy = d_output[0];
    d_input[0] = t_linear_input_gradient_at(dy, weight, node->file, node->line);
    d_input[1] = t_weight_gradient_at(x, dy, weight, (ConvOptions){.stride = 1}, node->input[2] ? &d_input[2] : NULL,
                                      node->file, node->line);
}

static void cost(const Node *node, Cost *out) {
    out->flops = 2.0 * (double)tensor_count(node->output[0]) * (double)conv_weight(node)->size[summed_axis(node)];
    out->bytes = conv_bytes(node);
}

#ifndef PANUM_F64
/* A 1x1 convolution: the last leading axis is w, the one before h, the rest (merged if there are several) n. */
static void describe(const Node *node, ConvTask *task) {
    const Tensor *weight = conv_weight(node), *from = node->input[0];
    const int last = from->rank - 1, sum_axis = summed_axis(node);
    *task = (ConvTask){
        .kernels = conv_kernels(),
        .segments = node->segments,
        .n = 1,
        .h = last >= 2 ? from->size[last - 2] : 1,
        .w = last >= 1 ? from->size[last - 1] : 1,
        .ci = weight->size[sum_axis],
        .co = weight->size[1 - sum_axis],
        .kh = 1,
        .kw = 1,
        .stride = 1,
        .sets = 1,
        .weight = weight,
        .bias = conv_bias(node),
        .by_o = weight->stride[1 - sum_axis],
        .by_c = weight->stride[sum_axis],
        .turn = sum_axis == 0 ? CONV_TURNED : CONV_STRAIGHT,
    };
    for (int axis = 0; axis < last - 2; axis++) task->n *= from->size[axis];
    for (int s = 0; s < node->segments; s++) {
        const Tensor *t = node->input[s];
        task->segment[s] = (ConvSegment){NULL, t->size[last], last >= 3 ? t->stride[last - 3] : 0,
                                         last >= 2 ? t->stride[last - 2] : 0, last >= 1 ? t->stride[last - 1] : 0};
        for (int axis = 0; axis < last - 3; axis++)
            BUG_IF(t->stride[axis] != t->stride[axis + 1] * t->size[axis + 1], "linear over axes that do not merge");
    }
    task->out_h = task->h;
    task->out_w = task->w;
    conv_merge_rows(task);
}
#endif

static const Op linear_op = {
    .name = "linear",
    .kind = OP_HEAVY,
    .store_hole = true,
    .load_segments = true,
    .define = define,
    CONV_FIELDS.cost = cost,
    .gradient = gradient,
};

static const Op linear_input_gradient_op = {
    .name = "linear_input_gradient",
    .kind = OP_HEAVY,
    .store_hole = true,
    .load_segments = true,
    .define = define,
    CONV_FIELDS.cost = cost,
};
