/* tensor/ops/norm_gradient.c - the gradients of layer_norm and group_norm (norm.c) and of softmax (softmax.c).
 *
 * With z = (x - mean)/s, g = dy weight, and means over what mean and s were taken over:
 *   dx = (g - mean(g) - z mean(g z)) / s,   dweight_c = sum of dy z,   dbias_c = sum of dy   over all positions.
 * For softmax y: dx_c = y_c (dy_c - sum over k of y_k dy_k).
 *
 * Mean and s are computed anew from x: nothing of the forward pass but x itself is kept. Bytes: layer_norm and softmax
 * read two maps and write one, group_norm reads its two twice. All are bound by memory beyond L2 (layer_norm takes 18
 * operations an element). */
#include "tensor/ops/norm_gradient.h"
#include "tensor/op.h"
#include "tensor/ops/map_kernels.h"
#include "tensor/ops/rows.h"

#include <math.h>
#include <string.h>

static const Op layer_norm_gradient_op, group_norm_gradient_op, softmax_gradient_op;

void norm_record_gradient(Tensor *x, Tensor *weight, Tensor *bias, Tensor *dy, int groups, double eps, Tensor **d,
                          T_AT) {
    const Op *op = groups ? &group_norm_gradient_op : &layer_norm_gradient_op;
    SHAPE_RULE(x->program, file, line, rows_usable(x) && rows_usable(dy) && tensor_same_shape(x, dy),
               "%s: x and dy of one shape, their channels side by side", op->name);
    NormGradient attributes = {eps, groups, weight ? 1 : 0, bias ? weight ? 2 : 1 : 0};
    Node *node =
        program_record(x->program, op, 3, (Tensor *[]){x, weight, dy}, &attributes, sizeof attributes, file, line);
    d[0] = node_output(node, DTYPE_F32, x->rank, x->size, LAYOUT_AUTO);
    if (weight) d[1] = node_output(node, DTYPE_F32, 1, weight->size, LAYOUT_AUTO);
    if (bias) d[2] = node_output(node, DTYPE_F32, 1, bias->size, LAYOUT_AUTO);
}

Tensor *t_softmax_gradient_at(Tensor *y, Tensor *dy, T_AT) {
    SHAPE_RULE(y->program, file, line, rows_usable(y) && rows_usable(dy) && tensor_same_shape(y, dy),
               "softmax_gradient: y and dy of one shape, their channels side by side");
    Node *node = program_record(y->program, &softmax_gradient_op, 2, (Tensor *[]){y, dy}, NULL, 0, file, line);
    return node_output(node, DTYPE_F32, y->rank, y->size, LAYOUT_AUTO);
}

/* Output `place` of the node as channel vector; NULL for 0. */
static real *channel_output(const Node *node, const Run *run, int place) {
    return place ? run_real(run, node->output[place]) : NULL;
}

/* ---- definitions ---- */

typedef struct {
    double mean, scale;
} Spread;

static Spread spread_of(int64_t n, const real *row, double eps) {
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < n; c++) mean += row[c] / (double)n;
    for (int64_t c = 0; c < n; c++) variance += (row[c] - mean) * (row[c] - mean) / (double)n;
    return (Spread){mean, 1 / sqrt(variance + eps)};
}

static void layer_norm_define(const Node *node, const Run *run) {
    enum { SOME = 32 };
    const NormGradient *attributes = node->attributes;
    const Rows from = rows_of(node->input[0]), along = rows_of(node->input[2]), to = rows_of(node->output[0]);
    const real *x = run_real(run, node->input[0]), *weight = run_real(run, node->input[1]),
               *dy = run_real(run, node->input[2]);
    real *dx = run_real(run, node->output[0]), *d_weight = channel_output(node, run, attributes->weight_place),
         *d_bias = channel_output(node, run, attributes->bias_place);
    const int64_t n = from.channels;
    for (int64_t first = 0; first < n && node->outputs > 1; first += SOME) {
        const int64_t count = n - first < SOME ? n - first : SOME;
        double sum[SOME] = {0}, product[SOME] = {0};
        for (int64_t position = 0; position < from.count; position++) {
            const real *row = x + rows_at(&from, position), *d = dy + rows_at(&along, position) + first;
            const Spread spread = spread_of(n, row, attributes->eps);
            for (int64_t c = 0; c < count; c++) {
                sum[c] += d[c];
                product[c] += (double)d[c] * (row[first + c] - spread.mean) * spread.scale;
            }
        }
        for (int64_t c = 0; c < count; c++) {
            if (d_weight) d_weight[first + c] = (real)product[c];
            if (d_bias) d_bias[first + c] = (real)sum[c];
        }
    }
    for (int64_t position = 0; position < from.count; position++) {
        const real *row = x + rows_at(&from, position), *d = dy + rows_at(&along, position);
        real *result = dx + rows_at(&to, position);
        const Spread spread = spread_of(n, row, attributes->eps);
        double mean_g = 0, mean_gz = 0;
        for (int64_t c = 0; c < n; c++) {
            const double g = (double)d[c] * (weight ? weight[c] : 1);
            mean_g += g / (double)n;
            mean_gz += g * (row[c] - spread.mean) * spread.scale / (double)n;
        }
        for (int64_t c = 0; c < n; c++) {
            const double z = (row[c] - spread.mean) * spread.scale, g = (double)d[c] * (weight ? weight[c] : 1);
            result[c] = (real)((g - mean_g - z * mean_gz) * spread.scale);
        }
    }
}

static int64_t at_pixel(const Tensor *t, int64_t n, int64_t c, int64_t pixel) {
    return n * t->stride[0] + c * t->stride[1] + pixel / t->size[3] * t->stride[2] + pixel % t->size[3] * t->stride[3];
}

static void group_norm_define(const Node *node, const Run *run) {
    const NormGradient *attributes = node->attributes;
    const Tensor *in = node->input[0], *along = node->input[2], *out = node->output[0];
    const real *x = run_real(run, in), *weight = run_real(run, node->input[1]), *dy = run_real(run, along);
    real *dx = run_real(run, out), *d_weight = channel_output(node, run, attributes->weight_place),
         *d_bias = channel_output(node, run, attributes->bias_place);
    const int64_t width = in->size[1] / attributes->groups, pixels = in->size[2] * in->size[3];
    const double count = (double)(width * pixels);
    for (int64_t c = 0; c < in->size[1]; c++) {
        if (d_weight) d_weight[c] = 0;
        if (d_bias) d_bias[c] = 0;
    }
    for (int64_t n = 0; n < in->size[0]; n++)
        for (int64_t first = 0; first < in->size[1]; first += width) {
            double mean = 0, variance = 0, mean_g = 0, mean_gz = 0;
            for (int64_t c = first; c < first + width; c++)
                for (int64_t p = 0; p < pixels; p++) mean += x[at_pixel(in, n, c, p)] / count;
            for (int64_t c = first; c < first + width; c++)
                for (int64_t p = 0; p < pixels; p++) {
                    const double difference = x[at_pixel(in, n, c, p)] - mean;
                    variance += difference * difference / count;
                }
            const double scale = 1 / sqrt(variance + attributes->eps);
            for (int64_t c = first; c < first + width; c++) {
                double sum = 0, product = 0;
                for (int64_t p = 0; p < pixels; p++) {
                    const double d = dy[at_pixel(along, n, c, p)];
                    sum += d;
                    product += d * (x[at_pixel(in, n, c, p)] - mean) * scale;
                }
                if (d_weight) d_weight[c] += (real)product;
                if (d_bias) d_bias[c] += (real)sum;
                mean_g += sum * (weight ? weight[c] : 1) / count;
                mean_gz += product * (weight ? weight[c] : 1) / count;
            }
            for (int64_t c = first; c < first + width; c++)
                for (int64_t p = 0; p < pixels; p++) {
                    const double z = (x[at_pixel(in, n, c, p)] - mean) * scale;
                    const double g = (double)dy[at_pixel(along, n, c, p)] * (weight ? weight[c] : 1);
                    dx[at_pixel(out, n, c, p)] = (real)((g - mean_g - z * mean_gz) * scale);
                }
        }
}

static void softmax_define(const Node *node, const Run *run) {
    const Rows from = rows_of(node->input[0]), along = rows_of(node->input[1]), to = rows_of(node->output[0]);
    const real *y = run_real(run, node->input[0]), *dy = run_real(run, node->input[1]);
    real *dx = run_real(run, node->output[0]);
    for (int64_t position = 0; position < from.count; position++) {
        const real *value = y + rows_at(&from, position), *d = dy + rows_at(&along, position);
        double sum = 0;
        for (int64_t c = 0; c < from.channels; c++) sum += (double)value[c] * (double)d[c];
        for (int64_t c = 0; c < from.channels; c++)
            dx[rows_at(&to, position) + c] = (real)((double)value[c] * ((double)d[c] - sum));
    }
}

#ifndef PANUM_F64
/* How many positions from `position` on are evenly spaced in both. */
static int64_t run_of_both(const Rows *a, const Rows *b, int64_t position, int64_t limit, int64_t *a_step,
                           int64_t *b_step) {
    const int64_t run = rows_run(a, position, limit, a_step);
    return rows_run(b, position, run, b_step);
}

typedef struct {
    const Node *node;
    const Run *run;
    const NormGradientKernels *kernels;
    Rows from, along;
    int64_t tile; /* positions */
    double *sums; /* layer_norm: [tile][dweight, dbias][channel] */
} Job;

static Job make_job(const Node *node, const Run *run, const Tensor *x, const Tensor *dy) {
    Job job = {node, run, norm_gradient_kernels(cpu_level()), rows_of(x), rows_of(dy), 0, NULL};
    job.tile = 1 + ROWS_TILE / job.from.channels;
    return job;
}

static int64_t tiles_of(const Job *job) {
    return (job->from.count + job->tile - 1) / job->tile;
}

static int64_t tile_end(const Job *job, int64_t tile) {
    const int64_t end = (tile + 1) * job->tile;
    return end < job->from.count ? end : job->from.count;
}

/* ---- layer_norm: sums of some rows in f32, of the tile in double, of the tiles in their order ---- */

enum { SUM_ROWS = 128, HOLE_ROWS = 16 };

static size_t layer_norm_scratch_shared(const Node *node, bool exact) {
    (void)exact;
    if (node->outputs == 1) return 0;
    const Job job = make_job(node, NULL, node->input[0], node->input[2]);
    return (size_t)(2 * tiles_of(&job) * job.from.channels) * sizeof(double);
}

static size_t layer_norm_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    return (HOLE_ROWS + 2) * (size_t)rows_of(node->input[0]).channels * sizeof(float);
}

static void run_layer_norm_tile(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const NormGradient *attributes = job->node->attributes;
    const Hole *hole = job->run->hole;
    const float *x = run_real(job->run, job->node->input[0]), *weight = run_real(job->run, job->node->input[1]),
                *dy = run_real(job->run, job->node->input[2]);
    const int64_t channels = job->from.channels, end = tile_end(job, tile);
    float *direct = hole ? hole->direct : run_real(job->run, job->node->output[0]);
    const int64_t dx_step = hole && direct ? hole->direct_stride : channels;
    float *some = run_worker(job->run, worker), *through = some + 2 * channels;
    const bool sums = job->node->outputs > 1;
    double *sum = sums ? job->sums + 2 * tile * channels : NULL;
    if (sums) memset(sum, 0, (size_t)(2 * channels) * sizeof *sum);
    for (int64_t position = tile * job->tile, rows, x_step, dy_step; position < end; position += rows) {
        rows = run_of_both(&job->from, &job->along, position, end - position, &x_step, &dy_step);
        if ((!direct || sums) && rows > HOLE_ROWS) rows = HOLE_ROWS; /* sums of the same rows, with a hole or without */
        if (sums) memset(some, 0, (size_t)(2 * channels) * sizeof *some);
        float *dx = direct ? direct + position * dx_step : through;
        job->kernels->layer_norm(rows, channels, x + rows_at(&job->from, position), x_step, weight,
                                 dy + rows_at(&job->along, position), dy_step, (float)attributes->eps, dx, dx_step,
                                 attributes->weight_place ? some : NULL,
                                 attributes->bias_place ? some + channels : NULL);
        for (int64_t c = 0; sums && c < 2 * channels; c++) sum[c] += some[c];
        if (!direct) hole->store(hole, position, rows, 0, channels, dx, channels, worker);
    }
}

static void layer_norm_run(const Node *node, const Run *run) {
    const NormGradient *attributes = node->attributes;
    Job job = make_job(node, run, node->input[0], node->input[2]);
    job.sums = run_shared(run);
    pool_run(run->pool, tiles_of(&job), run_layer_norm_tile, &job);
    if (node->outputs == 1) return;
    const int64_t width = 2 * job.from.channels;
    for (int64_t tile = 1; tile < tiles_of(&job); tile++)
        for (int64_t c = 0; c < width; c++) job.sums[c] += job.sums[tile * width + c];
    float *d_weight = channel_output(node, run, attributes->weight_place),
          *d_bias = channel_output(node, run, attributes->bias_place);
    for (int64_t c = 0; c < job.from.channels; c++) {
        if (d_weight) d_weight[c] = (float)job.sums[c];
        if (d_bias) d_bias[c] = (float)job.sums[job.from.channels + c];
    }
}

/* ---- softmax ---- */

static void run_softmax_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const float *y = run_real(job->run, job->node->input[0]), *dy = run_real(job->run, job->node->input[1]);
    float *dx = run_real(job->run, job->node->output[0]);
    const int64_t channels = job->from.channels, end = tile_end(job, tile);
    for (int64_t position = tile * job->tile, rows, y_step, dy_step; position < end; position += rows) {
        rows = run_of_both(&job->from, &job->along, position, end - position, &y_step, &dy_step);
        job->kernels->softmax(rows, channels, y + rows_at(&job->from, position), y_step,
                              dy + rows_at(&job->along, position), dy_step, dx + position * channels, channels);
    }
}

static void softmax_run(const Node *node, const Run *run) {
    Job job = make_job(node, run, node->input[0], node->input[1]);
    pool_run(run->pool, tiles_of(&job), run_softmax_tile, &job);
}

/* ---- group_norm: one reading for the moments of x and the sums of dy and dy (x - centre), by channel and piece of a
 * tile, put together in double in the order of the pieces; a second reading for the result. The centre of a piece is
 * its own mean, so that nothing is lost when the mean is far larger than the spread. ---- */

typedef struct {
    double count, mean, squares, sum, product; /* of one channel: positions, moments of x; of dy and dy (x - mean) */
} Channel;

typedef struct {
    Job job;
    int64_t positions, tile, tiles; /* in a picture, in a tile, tiles in a picture */
    const MapKernels *maps;
    Channel *channel;                      /* [picture][tile][channel] */
    float *centre, *scale, *slope, *shift; /* [picture][channel] */
} GroupJob;

static GroupJob group_job(const Node *node, const Run *run) {
    const Tensor *in = node->input[0];
    GroupJob job = {.job = make_job(node, run, in, node->input[2]),
                    .positions = in->size[2] * in->size[3],
                    .maps = map_kernels(cpu_level())};
    job.tile = job.job.tile;
    job.tiles = (job.positions + job.tile - 1) / job.tile;
    return job;
}

static size_t group_norm_scratch_shared(const Node *node, bool exact) {
    (void)exact;
    const GroupJob job = group_job(node, NULL);
    const int64_t channels = node->input[0]->size[0] * node->input[0]->size[1];
    return (size_t)(channels * job.tiles) * sizeof(Channel) + (size_t)(4 * channels) * sizeof(float);
}

static size_t group_norm_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    return 5 * (size_t)node->input[0]->size[1] * sizeof(float);
}

/* Moments by Chan's formula; products are moved to the common mean. */
static Channel join(Channel a, Channel b) {
    const double count = a.count + b.count, difference = b.mean - a.mean, mean = a.mean + difference * b.count / count;
    return (Channel){count, mean, a.squares + b.squares + difference * difference * a.count * b.count / count,
                     a.sum + b.sum, a.product + a.sum * (a.mean - mean) + b.product + b.sum * (b.mean - mean)};
}

static void run_sums(void *context, int64_t index, int worker) {
    const GroupJob *job = context;
    const Rows *from = &job->job.from, *along = &job->job.along;
    const float *x = run_real(job->job.run, job->job.node->input[0]),
                *dy = run_real(job->job.run, job->job.node->input[2]);
    const int64_t channels = from->channels, start = index / job->tiles * job->positions;
    const int64_t first = index % job->tiles * job->tile;
    const int64_t last = first + job->tile < job->positions ? first + job->tile : job->positions;
    float *mean = run_worker(job->job.run, worker), *rest = mean + channels, *squares = rest + channels,
          *sum = squares + channels, *product = sum + channels;
    Channel *total = job->channel + index * channels;
    for (int64_t position = first, rows, x_step, dy_step; position < last; position += rows) {
        rows = run_of_both(from, along, start + position, last - position, &x_step, &dy_step);
        if (rows > SUM_ROWS) rows = SUM_ROWS;
        const float *row = x + rows_at(from, start + position);
        job->maps->moments(rows, channels, row, x_step, mean, rest, squares);
        job->job.kernels->products(rows, channels, row, x_step, mean, dy + rows_at(along, start + position), dy_step,
                                   sum, product);
        for (int64_t c = 0; c < channels; c++) {
            const Channel piece = {(double)rows, (double)mean[c] + rest[c], squares[c], sum[c],
                                   product[c] - (double)sum[c] * rest[c]};
            total[c] = position == first ? piece : join(total[c], piece);
        }
    }
}

static void run_combine(void *context, int64_t index, int worker) {
    (void)worker;
    const GroupJob *job = context;
    const Rows *from = &job->job.from, *along = &job->job.along;
    const float *x = run_real(job->job.run, job->job.node->input[0]),
                *dy = run_real(job->job.run, job->job.node->input[2]);
    float *dx = run_real(job->job.run, job->job.node->output[0]);
    const int64_t channels = from->channels, picture = index / job->tiles, start = picture * job->positions;
    const int64_t first = index % job->tiles * job->tile, at = picture * channels;
    const int64_t last = first + job->tile < job->positions ? first + job->tile : job->positions;
    for (int64_t position = first, rows, x_step, dy_step; position < last; position += rows) {
        rows = run_of_both(from, along, start + position, last - position, &x_step, &dy_step);
        job->job.kernels->combine(rows, channels, x + rows_at(from, start + position), x_step, job->centre + at,
                                  dy + rows_at(along, start + position), dy_step, job->scale + at, job->slope + at,
                                  job->shift + at, dx + (start + position) * channels, channels);
    }
}

static void group_norm_run(const Node *node, const Run *run) {
    const NormGradient *attributes = node->attributes;
    const float *weight = run_real(run, node->input[1]);
    float *d_weight = channel_output(node, run, attributes->weight_place),
          *d_bias = channel_output(node, run, attributes->bias_place);
    const int64_t pictures = node->input[0]->size[0];
    GroupJob job = group_job(node, run);
    const int64_t channels = job.job.from.channels, width = channels / attributes->groups;
    job.channel = run_shared(run);
    job.centre = (float *)(void *)(job.channel + pictures * job.tiles * channels);
    job.scale = job.centre + pictures * channels;
    job.slope = job.scale + pictures * channels;
    job.shift = job.slope + pictures * channels;
    pool_run(run->pool, pictures * job.tiles, run_sums, &job);
    for (int64_t picture = 0; picture < pictures; picture++)
        for (int64_t first = 0; first < channels; first += width) {
            Channel *own = job.channel + picture * job.tiles * channels, group = {0};
            for (int64_t c = first; c < first + width; c++) {
                for (int64_t tile = 1; tile < job.tiles; tile++) own[c] = join(own[c], own[tile * channels + c]);
                group = c == first ? own[c] : join(group, own[c]);
            }
            const double scale = 1 / sqrt(group.squares / group.count + attributes->eps);
            double mean_g = 0, mean_gz = 0;
            for (int64_t c = first; c < first + width; c++) {
                own[c].product = (own[c].product + own[c].sum * (own[c].mean - group.mean)) * scale;
                mean_g += own[c].sum * (weight ? weight[c] : 1) / group.count;
                mean_gz += own[c].product * (weight ? weight[c] : 1) / group.count;
            }
            for (int64_t c = first; c < first + width; c++) {
                const int64_t at = picture * channels + c;
                const float centre = (float)group.mean;
                const double slope = -scale * scale * mean_gz;
                job.centre[at] = centre;
                job.scale[at] = (float)(scale * (weight ? weight[c] : 1));
                job.slope[at] = (float)slope;
                job.shift[at] = (float)(-scale * mean_g - slope * (group.mean - centre));
            }
        }
    for (int64_t c = 0; c < channels; c++) {
        double sum = 0, product = 0;
        for (int64_t picture = 0; picture < pictures; picture++) {
            sum += job.channel[picture * job.tiles * channels + c].sum;
            product += job.channel[picture * job.tiles * channels + c].product;
        }
        if (d_weight) d_weight[c] = (float)product;
        if (d_bias) d_bias[c] = (float)sum;
    }
    pool_run(run->pool, pictures * job.tiles, run_combine, &job);
}
#endif

static void norm_cost(const Node *node, Cost *cost) {
    const double elements = (double)tensor_count(node->output[0]);
    cost->flops = 18 * elements; /* mean, difference, square, two sums, and the result; two sums more of the affine */
    cost->bytes = 3 * elements * (double)sizeof(float);
}

static void softmax_cost(const Node *node, Cost *cost) {
    const double elements = (double)tensor_count(node->output[0]);
    cost->flops = 4 * elements;
    cost->bytes = 3 * elements * (double)sizeof(float);
}

static void norm_print(const Node *node, FILE *to) {
    const NormGradient *attributes = node->attributes;
    if (attributes->groups) fprintf(to, " groups=%d", attributes->groups);
    fprintf(to, " eps=%g", attributes->eps);
}

static const Op layer_norm_gradient_op = {
    .name = "layer_norm_gradient",
    .kind = OP_HEAVY,
    .in_place = 1 << 0 | 1 << 2,
    .store_hole = true,
    .define = layer_norm_define,
#ifndef PANUM_F64
    .run = layer_norm_run,
    .scratch_shared = layer_norm_scratch_shared,
    .scratch_worker = layer_norm_scratch_worker,
#endif
    .cost = norm_cost,
    .print = norm_print,
};

static const Op group_norm_gradient_op = {
    .name = "group_norm_gradient",
    .kind = OP_HEAVY,
    .in_place = 1 << 0 | 1 << 2,
    .define = group_norm_define,
#ifndef PANUM_F64
    .run = group_norm_run,
    .scratch_shared = group_norm_scratch_shared,
    .scratch_worker = group_norm_scratch_worker,
#endif
    .cost = norm_cost,
    .print = norm_print,
};

static const Op softmax_gradient_op = {
    .name = "softmax_gradient",
    .kind = OP_HEAVY,
    .in_place = 1 << 0 | 1 << 1,
    .define = softmax_define,
#ifndef PANUM_F64
    .run = softmax_run,
#endif
    .cost = softmax_cost,
};
