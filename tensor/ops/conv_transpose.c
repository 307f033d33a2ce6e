/* conv_transpose2d - the transpose of conv2d as a linear map: every input pixel spreads its kernel over the output.
 *
 *   y[n, o, i*stride - pad_h + u, j*stride - pad_w + v]  +=  x[n,c,i,j] * weight[c,o,u,v],   starting from bias[o]
 *
 * (Dumoulin and Visin, A guide to convolution arithmetic, chapter 4; PyTorch's ConvTranspose2d without output_padding.)
 * The weight is [Ci,Co,kh,kw]. Its gradient: dx is conv2d of dy with the same weight.
 *
 * Two cases have a shape of their own: stride 1 is a correlation with the kernel turned by 180 degrees, in and out
 * swapped, padding kernel-1-pad; kernel 2 stride 2 gives every output pixel exactly one source pixel, so each output
 * row 2i+u is one matrix product of input row i with the columns (v,o) of the weight, and lands in memory order. */
#include "tensor/op.h"
#include "tensor/ops/conv_node.h"
#include "tensor/ops/ops.h"

static const Op conv_transpose2d_op;

Tensor *t_conv_transpose2d_at(Tensor *x, Tensor *weight, Tensor *bias, ConvOptions options, const char *file,
                              int line) {
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
    int64_t size[] = {x->size[0], weight->size[1],
                      (x->size[2] - 1) * options.stride + weight->size[2] - 2 * options.pad_h,
                      (x->size[3] - 1) * options.stride + weight->size[3] - 2 * options.pad_w};
    SHAPE_RULE(program, file, line, size[2] > 0 && size[3] > 0, "conv_transpose2d: padding %dx%d leaves nothing",
               options.pad_h, options.pad_w);
    Tensor *input[] = {x, weight, bias};
    Node *node = program_record(program, &conv_transpose2d_op, 3, input, &options, sizeof options, file, line);
    return node_output(node, DTYPE_F32, 4, size, LAYOUT_AUTO);
}

/* Row y of image n, gathered: the input pixels whose kernel reaches it. Sums in double. */
static void define_row(const Node *node, const Run *run, int64_t n, int64_t y, real *out, int64_t out_pixel) {
    const ConvOptions *options = node->attributes;
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

typedef struct {
    const Node *node;
    const Run *run;
} Job;

static void define_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const Tensor *to = job->node->output[0];
    int64_t n = tile / to->size[2], y = tile % to->size[2];
    real *out = run_real(job->run, to) + n * to->stride[0] + y * to->stride[2];
    define_row(job->node, job->run, n, y, out, to->stride[3]);
}

static void define(const Node *node, const Run *run) {
    Job job = {node, run};
    pool_run(run->pool, node->output[0]->size[0] * node->output[0]->size[2], define_tile, &job);
}

static void print(const Node *node, FILE *to) {
    const ConvOptions *options = node->attributes;
    const Tensor *weight = conv_weight(node);
    fprintf(to, " kernel=%lldx%lld stride=%d pad=%dx%d", (long long)weight->size[2], (long long)weight->size[3],
            options->stride, options->pad_h, options->pad_w);
}

static void cost(const Node *node, Cost *out) {
    const Tensor *weight = conv_weight(node);
    out->flops =
        2.0 * (double)tensor_count(node->input[0]) * (double)(weight->size[1] * weight->size[2] * weight->size[3]);
    out->bytes = conv_bytes(node);
}

static const Op conv_transpose2d_op = {
    .name = "conv_transpose2d",
    .kind = OP_HEAVY,
    .define = define,
    .cost = cost,
    .print = print,
};
