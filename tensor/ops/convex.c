/* tensor/ops/convex.c - convex upsampling (RAFT, Teed and Deng 2020; S2M2 uses it at factor 4, 2 and 1).
 *
 * y(Y,X) = sum_k m_k(Y,X) x(floor(Y/f) + dy, floor(X/f) + dx), k = 3 (dy+1) + (dx+1), dy and dx in -1..1, borders of x
 * replicated, m = softmax of the nine logits of the pixel. clipped: m becomes max(m - 0.1, 0), divided by its sum (the
 * sum is positive: the largest of nine is at least 1/9).
 * Gradient, p = softmax: dx adds m_k dy at the place it was read; dlogit_k = p_k (g_k - sum_j p_j g_j) with g_k = dy
 * x_k or, clipped, g_k = dy (x_k - y)/(sum of max(p - 0.1, 0)) where p_k > 0.1, else 0. */
#include "tensor/op.h"
#include "tensor/ops/map_kernels.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/stereo_kernels.h"
#include <math.h>
#include <string.h>

static int64_t clamp_index(int64_t i, int64_t n) {
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* Softmax p, weights m (clipped or the same) and what the clipped ones were divided by. */
static double convex_weights(const ConvexOptions *options, const real *logit, double p[9], double m[9]) {
    double largest = logit[0], sum = 0;
    /* not fmax: gcc 12 for arm64 dies of an internal error on it in a loop over float */
    for (int k = 1; k < 9; k++) largest = logit[k] > largest ? logit[k] : largest;
    for (int k = 0; k < 9; k++) sum += p[k] = exp(logit[k] - largest);
    for (int k = 0; k < 9; k++) m[k] = p[k] /= sum;
    if (!options->clipped) return 1;
    sum = 0;
    for (int k = 0; k < 9; k++) sum += m[k] = p[k] > 0.1 ? p[k] - 0.1 : 0;
    for (int k = 0; k < 9; k++) m[k] /= sum;
    return sum;
}

/* Offset in x (strides of `in`) of neighbour k of the pixel of x that (row, column) of the result belongs to. */
static int64_t neighbour_at(const Tensor *in, int64_t f, int64_t row, int64_t column, int k) {
    return clamp_index(row / f + k / 3 - 1, in->size[2]) * in->stride[2] +
           clamp_index(column / f + k % 3 - 1, in->size[3]) * in->stride[3];
}

static void convex_upsample_define(const Node *node, const Run *run) {
    const ConvexOptions *options = node->attributes;
    const Tensor *in = node->input[0], *logits = node->input[1], *out = node->output[0];
    const real *x = run_real(run, in), *l = run_real(run, logits);
    real *y = run_real(run, out);
    for (int64_t n = 0; n < out->size[0]; n++)
        for (int64_t row = 0; row < out->size[2]; row++)
            for (int64_t column = 0; column < out->size[3]; column++) {
                double p[9], m[9], value = 0;
                convex_weights(options,
                               l + n * logits->stride[0] + row * logits->stride[2] + column * logits->stride[3], p, m);
                for (int k = 0; k < 9; k++)
                    value += m[k] * x[n * in->stride[0] + neighbour_at(in, options->factor, row, column, k)];
                y[n * out->stride[0] + row * out->stride[2] + column * out->stride[3]] = (real)value;
            }
}

/* Inputs x, logits, dy; outputs dx, dlogits. */
static void convex_upsample_backward_define(const Node *node, const Run *run) {
    const ConvexOptions *options = node->attributes;
    const Tensor *in = node->input[0], *logits = node->input[1], *td = node->input[2], *tx = node->output[0],
                 *tl = node->output[1];
    const real *x = run_real(run, in), *l = run_real(run, logits), *dy = run_real(run, td);
    real *dx = run_real(run, tx), *dl = run_real(run, tl);
    memset(dx, 0, (size_t)tensor_count(tx) * sizeof *dx);
    for (int64_t n = 0; n < td->size[0]; n++)
        for (int64_t row = 0; row < td->size[2]; row++)
            for (int64_t column = 0; column < td->size[3]; column++) {
                double p[9], m[9], g[9], y = 0, mean = 0;
                const double own = dy[n * td->stride[0] + row * td->stride[2] + column * td->stride[3]];
                const double sum = convex_weights(
                    options, l + n * logits->stride[0] + row * logits->stride[2] + column * logits->stride[3], p, m);
                for (int k = 0; k < 9; k++) {
                    g[k] = x[n * in->stride[0] + neighbour_at(in, options->factor, row, column, k)];
                    y += m[k] * g[k];
                    dx[n * tx->stride[0] + neighbour_at(tx, options->factor, row, column, k)] += (real)(m[k] * own);
                }
                for (int k = 0; k < 9; k++) {
                    g[k] = !options->clipped ? own * g[k] : p[k] > 0.1 ? own * (g[k] - y) / sum : 0;
                    mean += p[k] * g[k];
                }
                for (int k = 0; k < 9; k++)
                    dl[n * tl->stride[0] + k * tl->stride[1] + row * tl->stride[2] + column * tl->stride[3]] =
                        (real)(p[k] * (g[k] - mean));
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

/* The three rows of x round `row`, each value `factor` times, with a border of `factor` on both sides. */
static void repeat_rows(const Run *run, const Tensor *in, int64_t n, int64_t row, int64_t f, int64_t wide,
                        float *rows) {
    for (int64_t dy = 0; dy < 3; dy++) {
        const float *x = run_real(run, in) + n * in->stride[0] + clamp_index(row + dy - 1, in->size[2]) * in->stride[2];
        float *to = rows + dy * wide;
        for (int64_t j = -1; j <= in->size[3]; j++)
            for (int64_t k = 0; k < f; k++) *to++ = x[clamp_index(j, in->size[3]) * in->stride[3]];
    }
}

static void run_row(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const ConvexOptions *options = job->node->attributes;
    const Tensor *in = job->node->input[0], *logits = job->node->input[1], *out = job->node->output[0];
    const int64_t h = in->size[2], w = in->size[3], f = options->factor, n = tile / h, row = tile % h;
    const int64_t wide = wide_row(job->node);
    float *rows = run_worker(job->run, worker);
    repeat_rows(job->run, in, n, row, f, wide, rows);
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

#ifndef PANUM_F64
/* ---- the fast gradient: a tile is one row of x, its factor rows of pixels; their m_k dy, added up over factor x
 * factor pixels, are nine rows (over x, by k) in shared scratch. Then every row of dx collects what is its own. ---- */

typedef struct {
    const Node *node;
    const Run *run;
    const StereoKernels *kernels;
    int64_t rows; /* of dx in a tile of the second pass */
} BackwardJob;

static size_t convex_backward_scratch_shared(const Node *node, bool exact) {
    (void)exact;
    return 9 * (size_t)tensor_count(node->output[0]) * sizeof(float);
}

static size_t convex_backward_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    const ConvexOptions *options = node->attributes;
    const int64_t wide = node->input[2]->size[3];
    return (size_t)(3 * (wide + 2 * options->factor) + 9 * wide) * sizeof(float);
}

static void run_backward_row(void *context, int64_t tile, int worker) {
    const BackwardJob *job = context;
    const ConvexOptions *options = job->node->attributes;
    const Tensor *in = job->node->input[0], *logits = job->node->input[1], *td = job->node->input[2],
                 *tl = job->node->output[1];
    const int64_t h = in->size[2], w = in->size[3], f = options->factor, n = tile / h, row = tile % h;
    const int64_t columns = f * w, wide = columns + 2 * f;
    float *rows = run_worker(job->run, worker), *shares = rows + 3 * wide;
    repeat_rows(job->run, in, n, row, f, wide, rows);
    memset(shares, 0, (size_t)(9 * columns) * sizeof *shares);
    for (int64_t k = 0; k < f; k++) {
        const int64_t y = row * f + k;
        job->kernels->convex_back(columns, (int)f, options->clipped, rows, wide,
                                  run_real(job->run, logits) + n * logits->stride[0] + y * logits->stride[2],
                                  logits->stride[3], run_real(job->run, td) + n * td->stride[0] + y * td->stride[2],
                                  td->stride[3], run_real(job->run, tl) + n * tl->stride[0] + y * tl->stride[2],
                                  shares);
    }
    float *sums = (float *)run_shared(job->run) + tile * 9 * w;
    for (int k = 0; k < 9; k++)
        for (int64_t j = 0; j < w; j++) {
            float sum = 0;
            for (int64_t i = 0; i < f; i++) sum += shares[k * columns + j * f + i];
            sums[k * w + j] = sum;
        }
}

/* dx(i,j) = sum over k of the sums of the pixel whose neighbour k it is; at the border several pixels have it so. */
static void run_collect(void *context, int64_t tile, int worker) {
    (void)worker;
    const BackwardJob *job = context;
    const Tensor *out = job->node->output[0];
    const int64_t h = out->size[2], w = out->size[3], rows = out->size[0] * h;
    const float *shared = run_shared(job->run);
    for (int64_t at = tile * job->rows; at < rows && at < (tile + 1) * job->rows; at++) {
        const int64_t n = at / h, row = at % h;
        float *dx = run_real(job->run, out) + at * w;
        memset(dx, 0, (size_t)w * sizeof *dx);
        for (int64_t from = row - 1; from <= row + 1; from++) {
            if (from < 0 || from >= h) continue;
            for (int64_t dy = -1; dy <= 1; dy++) {
                if (clamp_index(from + dy, h) != row) continue;
                const float *sums = shared + (n * h + from) * 9 * w + 3 * (dy + 1) * w;
                for (int64_t j = 0; j < w; j++) dx[j] += sums[w + j];
                for (int64_t j = 1; j < w; j++) dx[j - 1] += sums[j];
                for (int64_t j = 1; j < w; j++) dx[j] += sums[2 * w + j - 1];
                dx[0] += sums[0];
                dx[w - 1] += sums[2 * w + w - 1];
            }
        }
    }
}

static void convex_upsample_backward_run(const Node *node, const Run *run) {
    const Tensor *x = node->input[0];
    BackwardJob job = {node, run, stereo_kernels(cpu_level()), 1 + 4096 / x->size[3]};
    pool_run(run->pool, x->size[0] * x->size[2], run_backward_row, &job);
    pool_run(run->pool, (x->size[0] * x->size[2] + job.rows - 1) / job.rows, run_collect, &job);
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

static void convex_upsample_backward_cost(const Node *node, Cost *cost) {
    double pixels = (double)tensor_count(node->input[2]);
    cost->flops = pixels * 9 * 12; /* the weights again, y, m dy, dlogits */
    cost->bytes = pixels * 76 + 8 * (double)tensor_count(node->input[0]);
}

static const Op convex_upsample_backward_op = {
    .name = "convex_upsample_backward",
    .kind = OP_HEAVY,
    .define = convex_upsample_backward_define,
#ifndef PANUM_F64
    .run = convex_upsample_backward_run,
    .scratch_shared = convex_backward_scratch_shared,
    .scratch_worker = convex_backward_scratch_worker,
#endif
    .cost = convex_upsample_backward_cost,
    .print = convex_upsample_print,
};

static void convex_upsample_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    if (!d_output[0]) return;
    Tensor *input[3] = {node->input[0], node->input[1], d_output[0]};
    Node *back = program_record(node->program, &convex_upsample_backward_op, 3, input, node->attributes,
                                sizeof(ConvexOptions), node->file, node->line);
    for (int k = 0; k < 2; k++) d_input[k] = node_output(back, DTYPE_F32, 4, input[k]->size, LAYOUT_AUTO);
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
    .gradient = convex_upsample_gradient,
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
