/* tensor/ops/conv_gradient.c - the gradient of a convolution with respect to its weight and bias, and that of linear,
 * which is a 1x1 convolution over tokens.
 *
 *   dweight[o,c,u,v] = sum over n,i,j of  dy[n,o,i,j] * x[n, c, i*stride - pad_h + u, j*stride - pad_w + v]
 *   dbias[o]         = sum over n,i,j of  dy[n,o,i,j]
 *
 * with x = 0 outside the map. For conv_transpose2d x and dy change places. x may come as several channel segments that
 * lie side by side (Node.segments). The gradient with respect to x is a transposed convolution (conv_transpose.c,
 * linear.c) and needs nothing of its own. */
#include "tensor/op.h"
#include "tensor/ops/conv_node.h"
#include "tensor/ops/weight_gradient.h"

static const Op conv2d_weight_gradient_op, linear_weight_gradient_op;

typedef struct {
    ConvOptions options;
} WeightGradientAttributes;

Tensor *t_weight_gradient_at(Tensor *x, Tensor *dy, const Tensor *weight, ConvOptions options, Tensor **d_bias,
                             const char *file, int line) {
    Program *program = x->program;
    const bool map = weight->rank == 4;
    const Op *op = map ? &conv2d_weight_gradient_op : &linear_weight_gradient_op;
    const int channel = map ? 1 : x->rank - 1;
    if (options.stride == 0) options.stride = 1;
    SHAPE_RULE(program, file, line, (map ? x->rank == 4 : weight->rank == 2) && x->rank == dy->rank,
               "%s of ranks %d, %d and %d", op->name, x->rank, dy->rank, weight->rank);
    SHAPE_RULE(program, file, line,
               (x->stride[channel] == 1 || x->size[channel] == 1) &&
                   (dy->stride[channel] == 1 || dy->size[channel] == 1),
               "%s wants the channels of a position side by side", op->name);
    SHAPE_RULE(program, file, line, weight->size[1] == x->size[channel] && weight->size[0] == dy->size[channel],
               "%s: maps of %lld and %lld channels, a weight for %lld and %lld", op->name, (long long)x->size[channel],
               (long long)dy->size[channel], (long long)weight->size[1], (long long)weight->size[0]);
    for (int axis = 0; axis < x->rank; axis++) {
        if (axis == channel) continue;
        int64_t want = x->size[axis];
        if (map && axis > 1) {
            int64_t pad = axis == 2 ? options.pad_h : options.pad_w;
            want = (want + 2 * pad - weight->size[axis]) / options.stride + 1;
        }
        SHAPE_RULE(program, file, line, dy->size[axis] == want, "%s: %lld positions along axis %d, not %lld", op->name,
                   (long long)dy->size[axis], axis, (long long)want);
    }
    WeightGradientAttributes attributes = {options};
    Node *node = program_record(program, op, 2, (Tensor *[]){x, dy}, &attributes, sizeof attributes, file, line);
    Tensor *d_weight = node_output(node, DTYPE_F32, weight->rank, weight->size, LAYOUT_ROW_MAJOR);
    if (d_bias) *d_bias = node_output(node, DTYPE_F32, 1, weight->size, LAYOUT_AUTO);
    return d_weight;
}

/* Tokens are a map whose columns are the last leading axis, rows the one before, pictures the rest. */
static Placed place_of(const Tensor *t) {
    if (t->rank == 4) return (Placed){t->size[1], t->stride[0], t->stride[2], t->stride[3]};
    const int last = t->rank - 1;
    for (int axis = 0; axis < last - 3; axis++)
        BUG_IF(t->stride[axis] != t->stride[axis + 1] * t->size[axis + 1], "linear over axes that do not merge");
    return (Placed){t->size[last], last >= 3 ? t->stride[last - 3] : 0, last >= 2 ? t->stride[last - 2] : 0,
                    last >= 1 ? t->stride[last - 1] : 0};
}

void weight_gradient_describe(const Node *node, WeightGradient *task) {
    const ConvOptions *options = &((const WeightGradientAttributes *)node->attributes)->options;
    const Tensor *x = node->input[0], *dy = node->input[node->segments], *to = node->output[0];
    const int last = x->rank - 1;
    *task = (WeightGradient){
        .segments = node->segments,
        .dy = place_of(dy),
        .n = 1,
        .h = last >= 2 ? x->size[last - 2] : 1,
        .w = last >= 1 ? x->size[last - 1] : 1,
        .ci = to->size[1],
        .co = to->size[0],
        .kh = 1,
        .kw = 1,
        .stride = options->stride,
        .pad_h = options->pad_h,
        .pad_w = options->pad_w,
    };
    for (int s = 0; s < node->segments; s++) task->x[s] = place_of(node->input[s]);
    if (to->rank == 4) {
        task->n = x->size[0];
        task->h = x->size[2];
        task->w = x->size[3];
        task->out_h = dy->size[2];
        task->out_w = dy->size[3];
        task->kh = to->size[2];
        task->kw = to->size[3];
        return;
    }
    for (int axis = 0; axis < last - 2; axis++) task->n *= x->size[axis];
    task->out_h = task->h;
    task->out_w = task->w;
}

typedef struct {
    const Node *node;
    const Run *run;
    WeightGradient task;
} Job;

/* All taps and channels of output channel o, some channels at a time; sums in double. */
static void define_tile(void *context, int64_t o, int worker) {
    enum { CHANNELS = 32 };
    (void)worker;
    const Job *job = context;
    const WeightGradient *task = &job->task;
    const real *dy = run_real(job->run, job->node->input[job->node->segments]) + o;
    real *to = run_real(job->run, job->node->output[0]) + o * task->ci * task->kh * task->kw;
    for (int s = 0; s < task->segments; s++) {
        const Placed *from = &task->x[s];
        const real *x = run_real(job->run, job->node->input[s]);
        for (int64_t first = 0; first < from->channels; first += CHANNELS)
            for (int64_t tap = 0; tap < task->kh * task->kw; tap++) {
                const int64_t u = tap / task->kw, v = tap % task->kw;
                const int64_t count = from->channels - first < CHANNELS ? from->channels - first : CHANNELS;
                double sum[CHANNELS] = {0};
                for (int64_t n = 0; n < task->n; n++)
                    for (int64_t i = 0; i < task->out_h; i++)
                        for (int64_t j = 0; j < task->out_w; j++) {
                            const int64_t row = i * task->stride - task->pad_h + u;
                            const int64_t column = j * task->stride - task->pad_w + v;
                            if (row < 0 || row >= task->h || column < 0 || column >= task->w) continue;
                            const double d = dy[n * task->dy.image + i * task->dy.row + j * task->dy.pixel];
                            const real *pixel = x + n * from->image + row * from->row + column * from->pixel + first;
                            for (int64_t c = 0; c < count; c++) sum[c] += d * (double)pixel[c];
                        }
                for (int64_t c = 0; c < count; c++) to[(first + c) * task->kh * task->kw + tap] = (real)sum[c];
            }
        to += from->channels * task->kh * task->kw;
    }
    if (job->node->outputs < 2) return;
    double sum = 0;
    for (int64_t n = 0; n < task->n; n++)
        for (int64_t i = 0; i < task->out_h; i++)
            for (int64_t j = 0; j < task->out_w; j++)
                sum += dy[n * task->dy.image + i * task->dy.row + j * task->dy.pixel];
    run_real(job->run, job->node->output[1])[o] = (real)sum;
}

static void define(const Node *node, const Run *run) {
    Job job = {.node = node, .run = run};
    weight_gradient_describe(node, &job.task);
    pool_run(run->pool, job.task.co, define_tile, &job);
}

static void cost(const Node *node, Cost *out) {
    const Tensor *dy = node->input[node->segments], *to = node->output[0];
    out->flops = 2.0 * (double)tensor_count(dy) / (double)to->size[0] * (double)tensor_count(to);
    if (node->outputs > 1) out->flops += (double)tensor_count(dy);
    out->bytes = conv_bytes(node);
}

static void print(const Node *node, FILE *to) {
    const ConvOptions *options = &((const WeightGradientAttributes *)node->attributes)->options;
    if (node->output[0]->rank == 4)
        fprintf(to, " stride=%d pad=%dx%d", options->stride, options->pad_h, options->pad_w);
}

static const Op conv2d_weight_gradient_op = {
    .name = "conv2d_weight_gradient",
    .kind = OP_HEAVY,
    .load_segments = true,
    .define = define,
    WEIGHT_GRADIENT_FIELDS.cost = cost,
    .print = print,
};

static const Op linear_weight_gradient_op = {
    .name = "linear_weight_gradient",
    .kind = OP_HEAVY,
    .load_segments = true,
    .define = define,
    WEIGHT_GRADIENT_FIELDS.cost = cost,
};
