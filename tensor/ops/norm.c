/* tensor/ops/norm.c - layer_norm and group_norm.
 *
 * Both: y = (x - mean) / sqrt(variance + eps) * weight + bias, with the biased variance. layer_norm takes mean and
 * variance over the channels of a position (Ba et al. 2016), group_norm over all positions of a picture and the
 * channels of one group (Wu and He 2018); weight and bias are by channel. Gradients: norm_gradient.c. */
#include "tensor/op.h"
#include "tensor/ops/map_kernels.h"
#include "tensor/ops/norm_gradient.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/rows.h"
#include <math.h>

typedef struct {
    double eps;
    int groups; /* 0: layer_norm */
} NormAttributes;

double norm_eps(const Node *node) {
    return ((const NormAttributes *)node->attributes)->eps;
}

int norm_groups(const Node *node) {
    return ((const NormAttributes *)node->attributes)->groups;
}

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

#ifndef PANUM_F64
/* ---- layer_norm: a tile is some positions; through a hole a few at a time, from the worker's scratch ---- */

enum { HOLE_ROWS = 16 };

typedef struct {
    const Node *node;
    const Run *run;
    const MapKernels *kernels;
    Rows from;
    int64_t tile; /* positions */
} Job;

static size_t layer_norm_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    return HOLE_ROWS * (size_t)rows_of(node->input[0]).channels * sizeof(float);
}

static void run_layer_norm_tile(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const NormAttributes *attributes = job->node->attributes;
    const Hole *hole = job->run->hole;
    const float *x = run_real(job->run, job->node->input[0]), *weight = run_real(job->run, job->node->input[1]),
                *bias = run_real(job->run, job->node->input[2]);
    const int64_t channels = job->from.channels, last = (tile + 1) * job->tile;
    const int64_t end = last < job->from.count ? last : job->from.count;
    float *direct = hole ? hole->direct : run_real(job->run, job->node->output[0]);
    const int64_t y_step = hole && direct ? hole->direct_stride : channels;
    for (int64_t position = tile * job->tile, rows, x_step; position < end; position += rows) {
        rows = rows_run(&job->from, position, end - position, &x_step);
        if (!direct && rows > HOLE_ROWS) rows = HOLE_ROWS;
        float *y = direct ? direct + position * y_step : run_worker(job->run, worker);
        job->kernels->layer_norm(rows, channels, x + rows_at(&job->from, position), x_step, weight, bias,
                                 (float)attributes->eps, y, y_step);
        if (!direct) hole->store(hole, position, rows, 0, channels, y, channels, worker);
    }
}

static void layer_norm_run(const Node *node, const Run *run) {
    Job job = {node, run, map_kernels(cpu_level()), rows_of(node->input[0]), 0};
    job.tile = 1 + ROWS_TILE / job.from.channels;
    pool_run(run->pool, (job.from.count + job.tile - 1) / job.tile, run_layer_norm_tile, &job);
}

/* ---- group_norm: moments of each tile by group, added in the order of the tiles; then a second reading ----
 *
 * Tiles never cross pictures. A tile's moments are exact to rounding (map_kernels.h); they are put together in double
 * by Chan's formula, so the result does not depend on who did which tile. */

typedef struct {
    double mean, squares;
} Moments;

typedef struct {
    const Node *node;
    const Run *run;
    const MapKernels *kernels;
    Rows from;
    int64_t positions, tile, tiles; /* in a picture, in a tile, tiles in a picture */
    int64_t channels, groups;
    Moments *moments;              /* [picture][tile][group] */
    float *centre, *scale, *shift; /* [picture][channel] */
} GroupJob;

static GroupJob group_job(const Node *node) {
    const NormAttributes *attributes = node->attributes;
    const Tensor *in = node->input[0];
    GroupJob job = {.node = node,
                    .from = rows_of(in),
                    .positions = in->size[2] * in->size[3],
                    .channels = in->size[1],
                    .groups = attributes->groups};
    job.tile = 1 + ROWS_TILE / job.channels;
    job.tiles = (job.positions + job.tile - 1) / job.tile;
    return job;
}

static size_t group_norm_scratch_shared(const Node *node, bool exact) {
    (void)exact;
    const GroupJob job = group_job(node);
    const int64_t pictures = node->input[0]->size[0];
    return (size_t)(pictures * job.tiles * job.groups) * sizeof(Moments) +
           (size_t)(3 * pictures * job.channels) * sizeof(float);
}

static size_t group_norm_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    return 4 * (size_t)node->input[0]->size[1] * sizeof(float);
}

static Moments join(Moments a, double a_count, Moments b, double b_count) {
    const double count = a_count + b_count, difference = b.mean - a.mean;
    return (Moments){a.mean + difference * b_count / count,
                     a.squares + b.squares + difference * difference * a_count * b_count / count};
}

/* Moments of the groups of `rows` positions, from those of their channels. */
static void moments_of_groups(const GroupJob *job, int64_t rows, const float *mean, const float *rest,
                              const float *squares, Moments *out) {
    const int64_t width = job->channels / job->groups;
    for (int64_t group = 0; group < job->groups; group++) {
        Moments sum = {0, 0};
        for (int64_t c = 0; c < width; c++)
            sum = join(sum, (double)(rows * c),
                       (Moments){(double)mean[group * width + c] + rest[group * width + c], squares[group * width + c]},
                       (double)rows);
        out[group] = sum;
    }
}

static void run_moments(void *context, int64_t index, int worker) {
    const GroupJob *job = context;
    const float *x = run_real(job->run, job->node->input[0]);
    const int64_t picture = index / job->tiles, first = index % job->tiles * job->tile;
    const int64_t last = first + job->tile < job->positions ? first + job->tile : job->positions;
    float *mean = run_worker(job->run, worker), *rest = mean + job->channels, *squares = rest + job->channels;
    Moments *sum = job->moments + index * job->groups;
    for (int64_t position = first, rows, step; position < last; position += rows) {
        rows = rows_run(&job->from, picture * job->positions + position, last - position, &step);
        job->kernels->moments(rows, job->channels, x + rows_at(&job->from, picture * job->positions + position), step,
                              mean, rest, squares);
        if (rows == last - first) {
            moments_of_groups(job, rows, mean, rest, squares, sum);
            return;
        }
        /* a view in several pieces: one group at a time */
        const double width = (double)(job->channels / job->groups);
        for (int64_t group = 0; group < job->groups; group++) {
            GroupJob one = *job;
            one.channels = job->channels / job->groups;
            one.groups = 1;
            Moments part;
            const int64_t at = group * one.channels;
            moments_of_groups(&one, rows, mean + at, rest + at, squares + at, &part);
            sum[group] = position == first
                             ? part
                             : join(sum[group], (double)(position - first) * width, part, (double)rows * width);
        }
    }
}

static void run_normalise(void *context, int64_t index, int worker) {
    (void)worker;
    const GroupJob *job = context;
    const float *x = run_real(job->run, job->node->input[0]);
    float *y = run_real(job->run, job->node->output[0]);
    const int64_t picture = index / job->tiles, start = picture * job->positions,
                  first = index % job->tiles * job->tile;
    const int64_t last = first + job->tile < job->positions ? first + job->tile : job->positions;
    const int64_t channel = picture * job->channels;
    for (int64_t position = first, rows, step; position < last; position += rows) {
        rows = rows_run(&job->from, start + position, last - position, &step);
        job->kernels->normalise(rows, job->channels, x + rows_at(&job->from, start + position), step,
                                job->centre + channel, job->scale + channel, job->shift + channel,
                                y + (start + position) * job->channels, job->channels);
    }
}

static void group_norm_run(const Node *node, const Run *run) {
    const NormAttributes *attributes = node->attributes;
    const float *weight = run_real(run, node->input[1]), *bias = run_real(run, node->input[2]);
    const int64_t pictures = node->input[0]->size[0];
    GroupJob job = group_job(node);
    job.run = run;
    job.kernels = map_kernels(cpu_level());
    job.moments = run_shared(run);
    job.centre = (float *)(void *)(job.moments + pictures * job.tiles * job.groups);
    job.scale = job.centre + pictures * job.channels;
    job.shift = job.scale + pictures * job.channels;
    pool_run(run->pool, pictures * job.tiles, run_moments, &job);
    const int64_t width = job.channels / job.groups;
    for (int64_t picture = 0; picture < pictures; picture++)
        for (int64_t group = 0; group < job.groups; group++) {
            Moments sum = {0, 0};
            for (int64_t tile = 0; tile < job.tiles; tile++) {
                const int64_t before = tile * job.tile, left = job.positions - before;
                sum =
                    join(sum, (double)(before * width), job.moments[(picture * job.tiles + tile) * job.groups + group],
                         (double)((left < job.tile ? left : job.tile) * width));
            }
            const double own = 1 / sqrt(sum.squares / (double)(job.positions * width) + attributes->eps);
            for (int64_t c = group * width; c < (group + 1) * width; c++) {
                const int64_t at = picture * job.channels + c;
                const double scale = own * (weight ? weight[c] : 1);
                job.centre[at] = (float)sum.mean;
                job.scale[at] = (float)scale;
                /* what rounding took from the mean comes back here */
                job.shift[at] = (float)((bias ? bias[c] : 0) - (sum.mean - (float)sum.mean) * scale);
            }
        }
    pool_run(run->pool, pictures * job.tiles, run_normalise, &job);
}
#endif

static void norm_cost(const Node *node, Cost *cost) {
    double elements = (double)tensor_count(node->output[0]);
    cost->flops = 7 * elements; /* sum; difference, square, sum; difference, scale, shift */
    cost->bytes = 8 * elements;
}

static void norm_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    const NormAttributes *attributes = node->attributes;
    norm_record_gradient(node->input[0], node->input[1], node->input[2], d_output[0], attributes->groups,
                         attributes->eps, d_input, node->file, node->line);
}

static void norm_print(const Node *node, FILE *to) {
    const NormAttributes *attributes = node->attributes;
    if (attributes->groups) fprintf(to, " groups=%d", attributes->groups);
    fprintf(to, " eps=%g", attributes->eps);
}

/* From x, which its gradient reads: once over it. */
static bool norm_light(const Node *node) {
    (void)node;
    return true;
}

static const Op layer_norm_op = {
    .name = "layer_norm",
    .kind = OP_HEAVY,
    .in_place = 1,
    .define = layer_norm_define,
    .store_hole = true,
#ifndef PANUM_F64
    .run = layer_norm_run,
    .scratch_worker = layer_norm_scratch_worker,
#endif
    .cost = norm_cost,
    .print = norm_print,
    .gradient = norm_gradient,
    .light = norm_light,
};

static const Op group_norm_op = {
    .name = "group_norm",
    .kind = OP_HEAVY,
    .in_place = 1,
    .define = group_norm_define,
#ifndef PANUM_F64
    .run = group_norm_run,
    .scratch_shared = group_norm_scratch_shared,
    .scratch_worker = group_norm_scratch_worker,
#endif
    .cost = norm_cost,
    .print = norm_print,
    .gradient = norm_gradient,
    .light = norm_light,
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
