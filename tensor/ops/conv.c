/* conv2d - two-dimensional cross-correlation with zero padding.
 *
 *   y[n,o,i,j] = bias[o] + sum over (c,u,v) of  weight[o,c,u,v] * x[n, c, i*stride - pad_h + u, j*stride - pad_w + v]
 *
 * with x = 0 outside the map (Goodfellow, Bengio, Courville, Deep Learning, chapter 9; PyTorch's Conv2d with groups 1
 * and dilation 1). Its gradient: dx is the transposed convolution of dy with the same weight (conv_transpose.c),
 * dweight[o,c,u,v] is the correlation of dy[o] with x[c] shifted by (u,v), dbias the sum of dy (conv_gradient.c).
 *
 * The data operand may come as several channel segments that lie side by side (Node.segments). */
#include "tensor/op.h"
#include "tensor/ops/conv_node.h"
#include "tensor/ops/conv_task.h"
#include "tensor/ops/ops.h"

static const Op conv2d_op;
#ifndef PANUM_F64
static void describe(const Node *node, ConvTask *task);
#else
#define describe NULL
#endif

Tensor *t_conv2d_at(Tensor *x, Tensor *weight, Tensor *bias, ConvOptions options, const char *file, int line) {
    Program *program = x->program;
    if (options.stride == 0) options.stride = 1;
    SHAPE_RULE(program, file, line, x->rank == 4 && weight->rank == 4, "conv2d wants a map and a weight of rank 4");
    SHAPE_RULE(program, file, line, x->dtype == DTYPE_F32 && (x->stride[1] == 1 || x->size[1] == 1),
               "conv2d wants a channels-last f32 map");
    SHAPE_RULE(program, file, line, tensor_is_row_major(weight), "conv2d wants a row-major weight");
    SHAPE_RULE(program, file, line, weight->size[1] == x->size[1],
               "conv2d: the map has %lld channels, the weight wants %lld", (long long)x->size[1],
               (long long)weight->size[1]);
    SHAPE_RULE(program, file, line,
               !bias || (bias->rank == 1 && bias->size[0] == weight->size[0] && bias->stride[0] == 1),
               "conv2d wants a bias of %lld", (long long)weight->size[0]);
    SHAPE_RULE(program, file, line, options.stride > 0 && options.pad_h >= 0 && options.pad_w >= 0,
               "conv2d: stride %d, padding %dx%d", options.stride, options.pad_h, options.pad_w);
    int64_t h = x->size[2] + 2 * options.pad_h - weight->size[2], w = x->size[3] + 2 * options.pad_w - weight->size[3];
    SHAPE_RULE(program, file, line, h >= 0 && w >= 0,
               "conv2d: a map of %lldx%lld is smaller than the kernel of %lldx%lld", (long long)x->size[2],
               (long long)x->size[3], (long long)weight->size[2], (long long)weight->size[3]);
    ConvAttributes attributes = {options, describe, CONV_ALONE, false};
    Tensor *input[] = {x, weight, bias};
    Node *node = program_record(program, &conv2d_op, 3, input, &attributes, sizeof attributes, file, line);
    int64_t size[] = {x->size[0], weight->size[0], h / options.stride + 1, w / options.stride + 1};
    return node_output(node, DTYPE_F32, 4, size, LAYOUT_AUTO);
}

/* Row y of image n: size[3] pixels of size[1] channels. Sums are taken in double, so that what a faster version differs
 * by is its own rounding. */
static void define_row(const Node *node, const Run *run, int64_t n, int64_t y, real *out, int64_t out_pixel) {
    const ConvOptions *options = &((const ConvAttributes *)node->attributes)->options;
    const Tensor *weight = conv_weight(node), *bias = conv_bias(node), *to = node->output[0];
    const real *weights = run_real(run, weight), *biases = run_real(run, bias);
    int64_t ci = weight->size[1], kh = weight->size[2], kw = weight->size[3];
    for (int64_t x = 0; x < to->size[3]; x++)
        for (int64_t o = 0; o < to->size[1]; o++) {
            double sum = biases ? (double)biases[o] : 0;
            int64_t first = 0; /* channel of the whole operand at which this segment starts */
            for (int s = 0; s < node->segments; s++) {
                const Tensor *from = node->input[s];
                for (int64_t u = 0; u < kh; u++)
                    for (int64_t v = 0; v < kw; v++) {
                        int64_t row = y * options->stride - options->pad_h + u;
                        int64_t column = x * options->stride - options->pad_w + v;
                        if (row < 0 || row >= from->size[2] || column < 0 || column >= from->size[3]) continue;
                        const real *pixel = run_real(run, from) + n * from->stride[0] + row * from->stride[2] +
                                            column * from->stride[3];
                        const real *w = weights + ((o * ci + first) * kh + u) * kw + v;
                        for (int64_t c = 0; c < from->size[1]; c++) sum += (double)pixel[c] * (double)w[c * kh * kw];
                    }
                first += from->size[1];
            }
            out[x * out_pixel + o] = (real)sum;
        }
}

typedef struct {
    const Node *node;
    const Run *run;
    ConvRow row;
} Job;

static void define_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const Tensor *to = job->node->output[0];
    int64_t n = tile / to->size[2], y = tile % to->size[2];
    real *out = run_real(job->run, to) + n * to->stride[0] + y * to->stride[2];
    job->row(job->node, job->run, n, y, out, to->stride[3]);
}

void conv_define_rows(const Node *node, const Run *run, ConvRow row) {
    Job job = {node, run, row};
    pool_run(run->pool, node->output[0]->size[0] * node->output[0]->size[2], define_tile, &job);
}

static void define(const Node *node, const Run *run) {
    conv_define_rows(node, run, define_row);
}

void conv_print(const Node *node, FILE *to) {
    const ConvOptions *options = &((const ConvAttributes *)node->attributes)->options;
    const Tensor *weight = conv_weight(node);
    fprintf(to, " kernel=%lldx%lld stride=%d pad=%dx%d", (long long)weight->size[2], (long long)weight->size[3],
            options->stride, options->pad_h, options->pad_w);
}

static void gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    const ConvOptions options = ((const ConvAttributes *)node->attributes)->options;
    Tensor *x = node->input[0], *weight = node->input[1], *dy = d_output[0];
    d_input[0] = t_conv_transpose2d_sized_at(dy, weight, NULL, options, x->size[2], x->size[3], node->file, node->line);
    d_input[1] =
        t_weight_gradient_at(x, dy, weight, options, node->input[2] ? &d_input[2] : NULL, node->file, node->line);
}

static void cost(const Node *node, Cost *out) {
    const Tensor *weight = conv_weight(node), *to = node->output[0];
    out->flops = 2.0 * (double)tensor_count(to) * (double)(weight->size[1] * weight->size[2] * weight->size[3]);
    out->bytes = conv_bytes(node);
}

#ifndef PANUM_F64
static void describe(const Node *node, ConvTask *task) {
    const ConvOptions *options = &((const ConvAttributes *)node->attributes)->options;
    const Tensor *weight = conv_weight(node), *from = node->input[0], *to = node->output[0];
    *task = (ConvTask){
        .kernels = conv_kernels(),
        .segments = node->segments,
        .doubled = node->doubled,
        .n = from->size[0],
        .h = from->size[2],
        .w = from->size[3],
        .ci = weight->size[1],
        .out_h = to->size[2],
        .out_w = to->size[3],
        .co = to->size[1],
        .kh = weight->size[2],
        .kw = weight->size[3],
        .stride = options->stride,
        .pad_h = options->pad_h,
        .pad_w = options->pad_w,
        .sets = 1,
        .weight = weight,
        .bias = conv_bias(node),
        .by_o = weight->stride[0],
        .by_c = weight->stride[1],
        .by_v = weight->stride[3],
    };
    for (int s = 0; s < node->segments; s++) {
        const Tensor *t = node->input[s];
        task->segment[s] = (ConvSegment){NULL, t->size[1], t->stride[0], t->stride[2], t->stride[3]};
    }
    conv_merge_rows(task);
}
#endif

#ifndef PANUM_F64
/* Thin results are computed another way. */
static bool takes_doubled(const Node *node) {
    const ConvOptions *options = &((const ConvAttributes *)node->attributes)->options;
    const Tensor *weight = conv_weight(node);
    return weight->size[2] == 1 && weight->size[3] == 1 && options->stride == 1 && !options->pad_h && !options->pad_w &&
           weight->size[0] >= 16;
}
#else
#define takes_doubled NULL
#endif

static const Op conv2d_op = {
    .name = "conv2d",
    .kind = OP_HEAVY,
    .store_hole = true,
    .load_segments = true,
    .load_doubled = takes_doubled,
    .define = define,
    CONV_FIELDS.cost = cost,
    .print = conv_print,
    .gradient = gradient,
};
