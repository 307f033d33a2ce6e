/* tensor/ops/softmax.c - softmax over channels: y_c = exp(x_c - m) / sum_k exp(x_k - m), m = max_k x_k.
 *
 * Gradient: dx_c = y_c (dy_c - sum_k y_k dy_k) (norm_gradient.c).
 * A position that holds NaN, +infinity or nothing but -infinity gives NaN, as in PyTorch. */
#include "tensor/op.h"
#include "tensor/ops/map_kernels.h"
#include "tensor/ops/norm_gradient.h"
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

#ifndef PANUM_F64
typedef struct {
    const float *x;
    float *y;
    Rows from;
    int64_t tile; /* positions */
} Job;

static void run_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const int64_t channels = job->from.channels, last = (tile + 1) * job->tile;
    const int64_t end = last < job->from.count ? last : job->from.count;
    int64_t step;
    for (int64_t position = tile * job->tile, run; position < end; position += run) {
        run = rows_run(&job->from, position, end - position, &step);
        map_kernels(cpu_level())
            ->softmax(run, channels, job->x + rows_at(&job->from, position), step, job->y + position * channels,
                      channels);
    }
}

static void softmax_run(const Node *node, const Run *run) {
    Job job = {run_real(run, node->input[0]), run_real(run, node->output[0]), rows_of(node->input[0]), 0};
    job.tile = 1 + ROWS_TILE / job.from.channels;
    pool_run(run->pool, (job.from.count + job.tile - 1) / job.tile, run_tile, &job);
}
#endif

static void softmax_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    d_input[0] = t_softmax_gradient_at(node->output[0], d_output[0], node->file, node->line);
}

static const Op softmax_op = {
    .name = "softmax",
    .kind = OP_HEAVY,
    .in_place = 1,
    .define = softmax_define,
#ifndef PANUM_F64
    .run = softmax_run,
#endif
    .cost = softmax_cost,
    .gradient = softmax_gradient,
};

Tensor *t_softmax_at(Tensor *x, T_AT) {
    SHAPE_RULE(x->program, file, line, rows_usable(x), "softmax: its input's channels must lie side by side");
    Node *node = program_record(x->program, &softmax_op, 1, &x, NULL, 0, file, line);
    return node_output(node, DTYPE_F32, x->rank, x->size, LAYOUT_AUTO);
}
