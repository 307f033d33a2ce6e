/* conv_transpose2d - the transpose of conv2d as a linear map: every input pixel spreads its kernel over the output.
 *
 *   y[n, o, i*stride - pad_h + u, j*stride - pad_w + v]  +=  x[n,c,i,j] * weight[c,o,u,v],   starting from bias[o]
 *
 * (Dumoulin and Visin, A guide to convolution arithmetic, chapter 4; PyTorch's ConvTranspose2d without output_padding.)
 * The weight is [Ci,Co,kh,kw]. It is also the gradient of a conv2d with respect to its map, and its own is a conv2d.
 *
 * Two cases have a shape of their own: stride 1 is a correlation with the kernel turned by 180 degrees, in and out
 * swapped, padding kernel-1-pad; kernel 2 stride 2 gives every output pixel exactly one source pixel, so each output
 * row 2i+u is one matrix product of input row i with the columns (v,o) of the weight, and lands in memory order. All
 * else goes through conv_spread.c. */
#include "tensor/op.h"
#include "tensor/ops/conv_node.h"
#include "tensor/ops/conv_task.h"
#include "tensor/ops/ops.h"

static const Op conv_transpose2d_op;
#ifndef PANUM_F64
static void describe(const Node *node, ConvTask *task);
#else
#define describe NULL
#endif

Tensor *t_conv_transpose2d_sized_at(Tensor *x, Tensor *weight, Tensor *bias, ConvOptions options, int64_t h, int64_t w,
                                    const char *file, int line) {
    Program *program = x->program;
    if (options.stride == 0) options.stride = 1;
    SHAPE_RULE(program, file, line, x->rank == 4 && weight->rank == 4,
               "conv_transpose2d wants a map and a weight of rank 4");
    SHAPE_RULE(program, file, line, x->dtype == DTYPE_F32 && (x->stride[1] == 1 || x->size[1] == 1),
               "conv_transpose2d wants a channels-last f32 map");
    SHAPE_RULE(program, file, line, tensor_is_row_major(weight), "conv_transpose2d wants a row-major weight");
    SHAPE_RULE(program, file, line, weight->size[0] == x->size[1],
               "conv_transpose2d: the map has %lld channels, the weight wants %lld", (long long)x->size[1],
               (long long)weight->size[0]);
    SHAPE_RULE(program, file, line,
               !bias || (bias->rank == 1 && bias->size[0] == weight->size[1] && bias->stride[0] == 1),
               "conv_transpose2d wants a bias of %lld", (long long)weight->size[1]);
    SHAPE_RULE(program, file, line, options.stride > 0 && options.pad_h >= 0 && options.pad_w >= 0,
               "conv_transpose2d: stride %d, padding %dx%d", options.stride, options.pad_h, options.pad_w);
    int64_t least_h = (x->size[2] - 1) * options.stride + weight->size[2] - 2 * options.pad_h;
    int64_t least_w = (x->size[3] - 1) * options.stride + weight->size[3] - 2 * options.pad_w;
    SHAPE_RULE(program, file, line, h > 0 && w > 0, "conv_transpose2d: padding %dx%d leaves nothing", options.pad_h,
               options.pad_w);
    SHAPE_RULE(program, file, line,
               h >= least_h && w >= least_w && h < least_h + options.stride && w < least_w + options.stride,
               "conv_transpose2d: a result of %lldx%lld where %lldx%lld is the least", (long long)h, (long long)w,
               (long long)least_h, (long long)least_w);
    ConvAttributes attributes = {options, describe, CONV_ALONE, false};
    Tensor *input[] = {x, weight, bias};
    Node *node = program_record(program, &conv_transpose2d_op, 3, input, &attributes, sizeof attributes, file, line);
    return node_output(node, DTYPE_F32, 4, (int64_t[]){x->size[0], weight->size[1], h, w}, LAYOUT_AUTO);
}

Tensor *t_conv_transpose2d_at(Tensor *x, Tensor *weight, Tensor *bias, ConvOptions options, const char *file,
                              int line) {
    SHAPE_RULE(x->program, file, line, x->rank == 4 && weight->rank == 4,
               "conv_transpose2d wants a map and a weight of rank 4");
    const int64_t stride = options.stride ? options.stride : 1;
    return t_conv_transpose2d_sized_at(x, weight, bias, options,
                                       (x->size[2] - 1) * stride + weight->size[2] - 2 * options.pad_h,
                                       (x->size[3] - 1) * stride + weight->size[3] - 2 * options.pad_w, file, line);
}

/* dx is the convolution itself. In the weight's gradient the two maps change places: dy is what the kernel slides over.
 */
static void gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    const ConvOptions options = ((const ConvAttributes *)node->attributes)->options;
    Tensor *x = node->input[0], *weight = node->input[1], *dy = d_output[0];
    d_input[0] = t_conv2d_at(dy, weight, NULL, options, node->file, node->line);
    d_input[1] = t_weight_gradient_at(dy, x, weight, options, NULL, node->file, node->line);
    if (node->input[2]) d_input[2] = t_sum_positions_at(dy, node->file, node->line);
}

/* Row y of image n, gathered: the input pixels whose kernel reaches it. Sums in double. */
static void define_row(const Node *node, const Run *run, int64_t n, int64_t y, real *out, int64_t out_pixel) {
    const ConvOptions *options = &((const ConvAttributes *)node->attributes)->options;
    const Tensor *from = node->input[0], *weight = conv_weight(node), *to = node->output[0];
    const real *data = run_real(run, from), *weights = run_real(run, weight), *biases = run_real(run, conv_bias(node));
    int64_t kh = weight->size[2], kw = weight->size[3], stride = options->stride;
    for (int64_t x = 0; x < to->size[3]; x++)
        for (int64_t o = 0; o < to->size[1]; o++) {
            double sum = biases ? (double)biases[o] : 0;
            for (int64_t u = 0; u < kh; u++)
                for (int64_t v = 0; v < kw; v++) {
                    int64_t i = y + options->pad_h - u, j = x + options->pad_w - v;
                    if (i < 0 || j < 0 || i % stride || j % stride) continue;
                    i /= stride;
                    j /= stride;
                    if (i >= from->size[2] || j >= from->size[3]) continue;
                    const real *pixel = data + n * from->stride[0] + i * from->stride[2] + j * from->stride[3];
                    const real *w = weights + (o * kh + u) * kw + v;
                    for (int64_t c = 0; c < from->size[1]; c++)
                        sum += (double)pixel[c] * (double)w[c * weight->stride[0]];
                }
            out[x * out_pixel + o] = (real)sum;
        }
}

static void define(const Node *node, const Run *run) {
    conv_define_rows(node, run, define_row);
}

static void cost(const Node *node, Cost *out) {
    const Tensor *weight = conv_weight(node);
    out->flops =
        2.0 * (double)tensor_count(node->input[0]) * (double)(weight->size[1] * weight->size[2] * weight->size[3]);
    out->bytes = conv_bytes(node);
}

#ifndef PANUM_F64
static void describe(const Node *node, ConvTask *task) {
    const ConvOptions *options = &((const ConvAttributes *)node->attributes)->options;
    const Tensor *weight = conv_weight(node), *from = node->input[0], *to = node->output[0];
    int64_t kh = weight->size[2], kw = weight->size[3];
    *task = (ConvTask){
        .kernels = conv_kernels(),
        .segments = 1,
        .n = from->size[0],
        .h = from->size[2],
        .w = from->size[3],
        .ci = weight->size[0],
        .out_h = to->size[2],
        .out_w = to->size[3],
        .co = to->size[1],
        .kh = kh,
        .kw = kw,
        .stride = options->stride,
        .sets = 1,
        .weight = weight,
        .bias = conv_bias(node),
        .by_c = weight->stride[0],
        .by_o = weight->stride[1],
        .by_v = 1,
    };
    task->segment[0] = (ConvSegment){NULL, from->size[1], from->stride[0], from->stride[2], from->stride[3]};
    if (options->stride == 1 && options->pad_h < kh && options->pad_w < kw) {
        task->turn = CONV_TURNED;
        task->pad_h = kh - 1 - options->pad_h;
        task->pad_w = kw - 1 - options->pad_w;
        task->at = kh * kw - 1;
        task->by_v = -1;
        conv_merge_rows(task);
    } else if (options->stride == 2 && kh == 2 && kw == 2 && !options->pad_h && !options->pad_w &&
               to->size[2] == 2 * from->size[2] && to->size[3] == 2 * from->size[3]) {
        task->turn = CONV_TWOFOLD;
        task->sets = 2;
        task->stride = 1;
        task->kh = task->kw = 1;
        task->out_h = task->h;
        task->out_w = task->w;
        task->inner = to->size[1];
        task->co = 2 * to->size[1];
        task->by_set = 2;
        task->by_outer = 1;
    } else {
        task->turn = CONV_SPREAD;
        task->pad_h = options->pad_h;
        task->pad_w = options->pad_w;
    }
}
#endif

static const Op conv_transpose2d_op = {
    .name = "conv_transpose2d",
    .kind = OP_HEAVY,
    .store_hole = true,
    .define = define,
    CONV_FIELDS.cost = cost,
    .print = conv_print,
    .gradient = gradient,
};
