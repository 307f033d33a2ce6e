/* tensor/ops/reduce.c - sums: over everything, over channels, over positions.
 *
 *   sum:            y     = sum of all x                 dx = dy, repeated
 *   sum_channels:   y_p   = sum over c of x_pc           dx_pc = dy_p
 *   sum_positions:  y_c   = sum over p of x_pc           dx_pc = dy_c
 *
 * They are what losses end in, and the gradients of operands that broadcast. All add in double, and round once. The
 * fast versions cut the positions into tiles by the shape alone and add the tiles' sums in their order, so that the
 * number of threads changes no bit. */
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/reduce_kernels.h"
#include "tensor/ops/rows.h"

#include <string.h>

static const Op op_sum, op_sum_channels, op_sum_positions;

static int channel_of(const Tensor *x) {
    return x->rank == 4 ? 1 : x->rank - 1;
}

Tensor *t_sum_at(Tensor *x, T_AT) {
    SHAPE_RULE(x->program, file, line, x->dtype == DTYPE_F32, "sum of a %s tensor", dtype_name(x->dtype));
    Node *node = program_record(x->program, &op_sum, 1, &x, NULL, 0, file, line);
    return node_output(node, DTYPE_F32, 1, (int64_t[]){1}, LAYOUT_AUTO);
}

Tensor *t_mean_at(Tensor *x, T_AT) {
    return t_unary_at(FN_AFFINE, t_sum_at(x, file, line), 1 / (double)tensor_count(x), 0, file, line);
}

Tensor *t_sum_channels_at(Tensor *x, T_AT) {
    SHAPE_RULE(x->program, file, line, x->dtype == DTYPE_F32, "sum of a %s tensor", dtype_name(x->dtype));
    Node *node = program_record(x->program, &op_sum_channels, 1, &x, NULL, 0, file, line);
    int64_t size[RANK_MAX];
    memcpy(size, x->size, sizeof size);
    size[channel_of(x)] = 1;
    return node_output(node, DTYPE_F32, x->rank, size, LAYOUT_AUTO);
}

Tensor *t_sum_positions_at(Tensor *x, T_AT) {
    SHAPE_RULE(x->program, file, line, x->dtype == DTYPE_F32, "sum of a %s tensor", dtype_name(x->dtype));
    Node *node = program_record(x->program, &op_sum_positions, 1, &x, NULL, 0, file, line);
    return node_output(node, DTYPE_F32, 1, &x->size[channel_of(x)], LAYOUT_AUTO);
}

/* ---- definitions ---- */

static void sum_define(const Node *node, const Run *run) {
    const Tensor *x = node->input[0];
    const real *from = run_real(run, x);
    const Rows rows = rows_of(x);
    double sum = 0;
    for (int64_t p = 0; p < rows.count; p++)
        for (int64_t c = 0; c < rows.channels; c++) sum += from[rows_at(&rows, p) + c * rows.channel_stride];
    *run_real(run, node->output[0]) = (real)sum;
}

static void sum_channels_define(const Node *node, const Run *run) {
    const Tensor *x = node->input[0];
    const real *from = run_real(run, x);
    real *to = run_real(run, node->output[0]);
    const Rows rows = rows_of(x);
    for (int64_t p = 0; p < rows.count; p++) {
        double sum = 0;
        for (int64_t c = 0; c < rows.channels; c++) sum += from[rows_at(&rows, p) + c * rows.channel_stride];
        to[p] = (real)sum;
    }
}

static void sum_positions_define(const Node *node, const Run *run) {
    const Tensor *x = node->input[0];
    const real *from = run_real(run, x);
    real *to = run_real(run, node->output[0]);
    const Rows rows = rows_of(x);
    for (int64_t c = 0; c < rows.channels; c++) {
        double sum = 0;
        for (int64_t p = 0; p < rows.count; p++) sum += from[rows_at(&rows, p) + c * rows.channel_stride];
        to[c] = (real)sum;
    }
}

#ifndef PANUM_F64
typedef struct {
    const Run *run;
    const ReduceKernels *kernels;
    Rows rows;
    int64_t rows_a_tile;
    const float *from;
    float *to;       /* sum_channels */
    double *partial; /* the others: [tile], or [tile][channel] */
} Job;

/* Positions of about 64 Ki elements: some tens of microseconds. */
static int64_t rows_a_tile(const Rows *rows) {
    return ROWS_TILE / rows->channels + 1;
}

static int64_t tiles_of(const Rows *rows) {
    return (rows->count + rows_a_tile(rows) - 1) / rows_a_tile(rows);
}

/* Everything in any order: a tensor without gaps is one run of numbers. */
static Rows any_order(const Tensor *x) {
    int64_t reach = 1;
    for (int k = 0; k < x->rank; k++) reach += (x->size[k] - 1) * x->stride[k];
    if (reach != tensor_count(x)) return rows_of(x);
    return (Rows){.axes = 1, .size = {reach}, .stride = {1}, .count = reach, .step = 1, .channels = 1};
}

static Job make_job(const Node *node, const Run *run, Rows rows) {
    return (Job){run,
                 reduce_kernels(cpu_level()),
                 rows,
                 rows_a_tile(&rows),
                 run_real(run, node->input[0]),
                 run_real(run, node->output[0]),
                 run_shared(run)};
}

static void sum_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    int64_t row = tile * job->rows_a_tile, step;
    const int64_t end = row + job->rows_a_tile < job->rows.count ? row + job->rows_a_tile : job->rows.count;
    double sum = 0;
    for (int64_t n; row < end; row += n) {
        n = rows_run(&job->rows, row, end - row, &step);
        const float *from = job->from + rows_at(&job->rows, row);
        sum += job->rows.channels == 1 && step == 1 ? job->kernels->all(1, n, from, n)
                                                    : job->kernels->all(n, job->rows.channels, from, step);
    }
    job->partial[tile] = sum;
}

static void sum_run(const Node *node, const Run *run) {
    Job job = make_job(node, run, any_order(node->input[0]));
    if (job.rows.channels != 1 && job.rows.channel_stride != 1) {
        sum_define(node, run);
        return;
    }
    pool_run(run->pool, tiles_of(&job.rows), sum_tile, &job);
    double sum = 0;
    for (int64_t tile = 0; tile < tiles_of(&job.rows); tile++) sum += job.partial[tile];
    *job.to = (float)sum;
}

static size_t sum_scratch(const Node *node, bool exact) {
    (void)exact;
    Rows rows = any_order(node->input[0]);
    return (size_t)tiles_of(&rows) * sizeof(double);
}

static void sum_channels_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    int64_t row = tile * job->rows_a_tile, step;
    const int64_t end = row + job->rows_a_tile < job->rows.count ? row + job->rows_a_tile : job->rows.count;
    for (int64_t n; row < end; row += n) {
        n = rows_run(&job->rows, row, end - row, &step);
        job->kernels->channels(n, job->rows.channels, job->from + rows_at(&job->rows, row), step, job->to + row);
    }
}

static void sum_channels_run(const Node *node, const Run *run) {
    Job job = make_job(node, run, rows_of(node->input[0]));
    if (!rows_usable(node->input[0]))
        sum_channels_define(node, run);
    else
        pool_run(run->pool, tiles_of(&job.rows), sum_channels_tile, &job);
}

static void sum_positions_tile(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const int64_t channels = job->rows.channels;
    double *to = job->partial + tile * channels, *more = run_worker(job->run, worker);
    int64_t row = tile * job->rows_a_tile, step;
    const int64_t first = row,
                  end = row + job->rows_a_tile < job->rows.count ? row + job->rows_a_tile : job->rows.count;
    for (int64_t n; row < end; row += n) {
        n = rows_run(&job->rows, row, end - row, &step);
        job->kernels->positions(n, channels, job->from + rows_at(&job->rows, row), step, row == first ? to : more);
        for (int64_t c = 0; row != first && c < channels; c++) to[c] += more[c];
    }
}

static void sum_positions_run(const Node *node, const Run *run) {
    Job job = make_job(node, run, rows_of(node->input[0]));
    if (!rows_usable(node->input[0])) {
        sum_positions_define(node, run);
        return;
    }
    const int64_t tiles = tiles_of(&job.rows), channels = job.rows.channels;
    pool_run(run->pool, tiles, sum_positions_tile, &job);
    for (int64_t tile = 1; tile < tiles; tile++)
        for (int64_t c = 0; c < channels; c++) job.partial[c] += job.partial[tile * channels + c];
    for (int64_t c = 0; c < channels; c++) job.to[c] = (float)job.partial[c];
}

static size_t sum_positions_scratch(const Node *node, bool exact) {
    (void)exact;
    Rows rows = rows_of(node->input[0]);
    return (size_t)(tiles_of(&rows) * rows.channels) * sizeof(double);
}

static size_t sum_positions_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    return (size_t)rows_of(node->input[0]).channels * sizeof(double);
}
#endif

static void cost(const Node *node, Cost *out) {
    out->flops = (double)tensor_count(node->input[0]);
}

static void repeat_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    d_input[0] = t_expand(d_output[0], node->input[0]);
}

static const Op op_sum = {
    .name = "sum",
    .kind = OP_HEAVY,
    .define = sum_define,
#ifndef PANUM_F64
    .run = sum_run,
    .scratch_shared = sum_scratch,
#endif
    .cost = cost,
    .gradient = repeat_gradient,
};

static const Op op_sum_channels = {
    .name = "sum_channels",
    .kind = OP_HEAVY,
    .define = sum_channels_define,
#ifndef PANUM_F64
    .run = sum_channels_run,
#endif
    .cost = cost,
    .gradient = repeat_gradient,
};

static const Op op_sum_positions = {
    .name = "sum_positions",
    .kind = OP_HEAVY,
    .define = sum_positions_define,
#ifndef PANUM_F64
    .run = sum_positions_run,
    .scratch_shared = sum_positions_scratch,
    .scratch_worker = sum_positions_scratch_worker,
#endif
    .cost = cost,
    .gradient = repeat_gradient,
};
