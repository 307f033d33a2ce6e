/* tensor/ops/convex.c - convex upsampling (RAFT, Teed and Deng 2020; S2M2 uses it at factor 4, 2 and 1).
 *
 * y(Y,X) = sum_k m_k(Y,X) x(floor(Y/f) + dy, floor(X/f) + dx), k = 3 (dy+1) + (dx+1), dy and dx in -1..1, borders of x
 * replicated, m = softmax of the nine logits of the pixel. clipped: m becomes max(m - 0.1, 0), divided by its sum (the
 * sum is positive: the largest of nine is at least 1/9). Gradient: dx adds m_k dy at the place it was read; dlogit_k =
 * m_k dy (x_k - y) (not clipped). */
#include "tensor/op.h"
#include "tensor/ops/map_kernels.h"
#include "tensor/ops/ops.h"
#include <math.h>

static int64_t clamp_index(int64_t i, int64_t n) {
    return i < 0 ? 0 : i < n ? i : n - 1;
}

static void convex_upsample_define(const Node *node, const Run *run) {
    const ConvexOptions *options = node->attributes;
    const Tensor *in = node->input[0], *logits = node->input[1], *out = node->output[0];
    const real *x = run_real(run, in), *l = run_real(run, logits);
    real *y = run_real(run, out);
    const int64_t h = in->size[2], w = in->size[3], f = options->factor;
    for (int64_t n = 0; n < out->size[0]; n++)
        for (int64_t row = 0; row < out->size[2]; row++)
            for (int64_t column = 0; column < out->size[3]; column++) {
                const real *logit = l + n * logits->stride[0] + row * logits->stride[2] + column * logits->stride[3];
                double m[9], largest = logit[0], sum = 0;
                for (int k = 1; k < 9; k++) largest = fmax(largest, logit[k]);
                for (int k = 0; k < 9; k++) sum += m[k] = exp(logit[k] - largest);
                for (int k = 0; k < 9; k++) m[k] /= sum;
                if (options->clipped) {
                    sum = 0;
                    for (int k = 0; k < 9; k++) sum += m[k] = m[k] > 0.1 ? m[k] - 0.1 : 0;
                    for (int k = 0; k < 9; k++) m[k] /= sum;
                }
                double value = 0;
                for (int k = 0; k < 9; k++) {
                    int64_t i = clamp_index(row / f + k / 3 - 1, h), j = clamp_index(column / f + k % 3 - 1, w);
                    value += m[k] * x[n * in->stride[0] + i * in->stride[2] + j * in->stride[3]];
                }
                y[n * out->stride[0] + row * out->stride[2] + column * out->stride[3]] = (real)value;
            }
}

#ifndef PANUM_F64
/* ---- the fast version: a tile is one row of x, so `factor` rows of the result; the worker first writes the three rows
 * round it with each value `factor` times and a border, so that the nine neighbours of a vector of pixels are nine
 * loads ---- */

typedef struct {
    const Node *node;
    const Run *run;
    const MapKernels *kernels;
} Job;

static int64_t wide_row(const Node *node) {
    const ConvexOptions *options = node->attributes;
    return node->output[0]->size[3] + 2 * options->factor;
}

static size_t convex_upsample_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    return 3 * (size_t)wide_row(node) * sizeof(float);
}

static void run_row(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const ConvexOptions *options = job->node->attributes;
    const Tensor *in = job->node->input[0], *logits = job->node->input[1], *out = job->node->output[0];
    const int64_t h = in->size[2], w = in->size[3], f = options->factor, n = tile / h, row = tile % h;
    const int64_t wide = wide_row(job->node);
    float *rows = run_worker(job->run, worker);
    for (int64_t dy = 0; dy < 3; dy++) {
        const float *x = run_real(job->run, in) + n * in->stride[0] + clamp_index(row + dy - 1, h) * in->stride[2];
        float *to = rows + dy * wide;
        for (int64_t j = -1; j <= w; j++)
            for (int64_t k = 0; k < f; k++) *to++ = x[clamp_index(j, w) * in->stride[3]];
    }
    for (int64_t k = 0; k < f; k++)
        job->kernels->convex(f * w, (int)f, options->clipped, rows, wide,
                             run_real(job->run, logits) + n * logits->stride[0] + (row * f + k) * logits->stride[2],
                             logits->stride[3], run_real(job->run, out) + (tile * f + k) * f * w);
}

static void convex_upsample_run(const Node *node, const Run *run) {
    Job job = {node, run, map_kernels(cpu_level())};
    pool_run(run->pool, node->input[0]->size[0] * node->input[0]->size[2], run_row, &job);
}
#endif

static void convex_upsample_cost(const Node *node, Cost *cost) {
    double pixels = (double)tensor_count(node->output[0]);
    cost->flops = pixels * (9 * 5 + 1); /* nine maxima, differences, exponentials, sums, products */
    cost->bytes = pixels * 40 + 4 * (double)tensor_count(node->input[0]);
}

static void convex_upsample_print(const Node *node, FILE *to) {
    const ConvexOptions *options = node->attributes;
    fprintf(to, " factor=%d%s", options->factor, options->clipped ? " clipped" : "");
}

static const Op convex_upsample_op = {
    .name = "convex_upsample",
    .kind = OP_HEAVY,
    .define = convex_upsample_define,
#ifndef PANUM_F64
    .run = convex_upsample_run,
    .scratch_worker = convex_upsample_scratch_worker,
#endif
    .cost = convex_upsample_cost,
    .print = convex_upsample_print,
};

Tensor *t_convex_upsample_at(Tensor *x, Tensor *logits, ConvexOptions options, T_AT) {
    if (!options.factor) options.factor = 1;
    int64_t f = options.factor;
    SHAPE_RULE(x->program, file, line, f > 0 && x->rank == 4 && x->size[1] == 1 && x->dtype == DTYPE_F32,
               "convex_upsample: wants a map of one channel and a positive factor");
    SHAPE_RULE(x->program, file, line,
               logits->rank == 4 && logits->dtype == DTYPE_F32 && logits->size[0] == x->size[0] &&
                   logits->size[1] == 9 && logits->size[2] == f * x->size[2] && logits->size[3] == f * x->size[3] &&
                   logits->stride[1] == 1,
               "convex_upsample: wants nine logits for each pixel of the result, side by side");
    Tensor *input[2] = {x, logits};
    Node *node = program_record(x->program, &convex_upsample_op, 2, input, &options, sizeof options, file, line);
    return node_output(node, DTYPE_F32, 4, (int64_t[]){x->size[0], 1, logits->size[2], logits->size[3]}, LAYOUT_AUTO);
}
