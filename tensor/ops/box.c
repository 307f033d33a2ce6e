/* tensor/ops/box.c - means over square windows: avg_pool2d, and the box filters of SSIM and block matching.
 *
 * y(Y,X) = 1/D sum x(i,j) over i = Y s - p .. Y s - p + k - 1 and likewise j, zero outside the map; D = k^2, or with
 * exclude_pad the number of places of the window that lie in the map (PyTorch's avg_pool2d with count_include_pad true
 * and false). H' = floor((H + 2p - k)/s) + 1.
 * Gradient: dx(i,j) = sum of dy(Y,X)/D(Y,X) over the windows that (i,j) is in. At stride 1 that is a box filter again:
 * of dy/D, with k - 1 - p zeros around.
 *
 * The fast version at stride 1 needs of the order of 2 log2 k additions an element: sums of 1, 2, 4, ... neighbours
 * are made one from the other, those of the binary digits of k are added, along rows and then down columns. Nothing is
 * ever subtracted (as a running sum does), so errors do not grow along a row, which matters to variances that are
 * differences of such means. A tile is some rows, resident in L2. Should move: x and y once; rows at the edge of a tile
 * are filtered along the row twice. */
#include "tensor/ops/box.h"
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/stereo_kernels.h"
#include <string.h>

/* The part of window `index` that lies in an axis of n. */
static int64_t window_start(const BoxAttributes *a, int64_t index) {
    const int64_t start = index * a->stride - a->pad;
    return start < 0 ? 0 : start;
}
static int64_t window_end(const BoxAttributes *a, int64_t index, int64_t n) {
    const int64_t end = index * a->stride - a->pad + a->kernel;
    return end < n ? end : n;
}
/* The windows first .. last - 1 that place `i` of the axis is in; there are `windows`. */
static int64_t first_window(const BoxAttributes *a, int64_t i) {
    const int64_t at = i + a->pad - a->kernel + 1;
    return at <= 0 ? 0 : (at + a->stride - 1) / a->stride;
}
static int64_t last_window(const BoxAttributes *a, int64_t i, int64_t windows) {
    const int64_t end = (i + a->pad) / a->stride + 1;
    return end < windows ? end : windows;
}
/* What a window's sum is divided by, along one axis. */
static double window_size(const BoxAttributes *a, int64_t index, int64_t n) {
    return (double)(a->exclude_pad ? window_end(a, index, n) - window_start(a, index) : a->kernel);
}

static void avg_pool2d_define(const Node *node, const Run *run) {
    const BoxAttributes *a = node->attributes;
    const Tensor *in = node->input[0], *out = node->output[0];
    const real *x = run_real(run, in);
    real *y = run_real(run, out);
    const int64_t h = in->size[2], w = in->size[3];
    for (int64_t n = 0; n < out->size[0]; n++)
        for (int64_t row = 0; row < out->size[2]; row++)
            for (int64_t column = 0; column < out->size[3]; column++)
                for (int64_t c = 0; c < out->size[1]; c++) {
                    double sum = 0;
                    for (int64_t i = window_start(a, row); i < window_end(a, row, h); i++)
                        for (int64_t j = window_start(a, column); j < window_end(a, column, w); j++)
                            sum += x[n * in->stride[0] + c * in->stride[1] + i * in->stride[2] + j * in->stride[3]];
                    y[n * out->stride[0] + c * out->stride[1] + row * out->stride[2] + column * out->stride[3]] =
                        (real)(sum / (window_size(a, row, h) * window_size(a, column, w)));
                }
}

static void avg_pool2d_backward_define(const Node *node, const Run *run) {
    const BoxAttributes *a = node->attributes;
    const Tensor *in = node->input[0], *out = node->output[0];
    const real *dy = run_real(run, in);
    real *dx = run_real(run, out);
    const int64_t h = out->size[2], w = out->size[3];
    for (int64_t n = 0; n < out->size[0]; n++)
        for (int64_t i = 0; i < h; i++)
            for (int64_t j = 0; j < w; j++)
                for (int64_t c = 0; c < out->size[1]; c++) {
                    double sum = 0;
                    for (int64_t row = first_window(a, i); row < last_window(a, i, in->size[2]); row++)
                        for (int64_t column = first_window(a, j); column < last_window(a, j, in->size[3]); column++)
                            sum += dy[n * in->stride[0] + c * in->stride[1] + row * in->stride[2] +
                                      column * in->stride[3]] /
                                   (window_size(a, row, h) * window_size(a, column, w));
                    dx[n * out->stride[0] + c * out->stride[1] + i * out->stride[2] + j * out->stride[3]] = (real)sum;
                }
}

#ifndef PANUM_F64
/* ---- the fast versions; both are a sum over windows: `backward` says of what and where it is divided ---- */

typedef struct {
    const Node *node;
    const Run *run;
    const StereoKernels *kernels;
    bool backward;
    int64_t rows;                /* of the result in a tile */
    int64_t channels, line;      /* of a row of the strip, padding and channels counted */
    int64_t pad;                 /* of the strip: the filter's own, or k - 1 minus it */
    const float *scale_x;        /* by column of y: 1/D along the row */
    const Tensor *in, *out;      /* what is read and written */
    int64_t map_h, map_w;        /* of x */
    const BoxAttributes *window; /* of the node */
} Job;

static Job job_of(const Node *node, const Run *run, bool backward) {
    const BoxAttributes *a = node->attributes;
    Job job = {
        .node = node, .run = run, .backward = backward, .in = node->input[0], .out = node->output[0], .window = a};
    const Tensor *x = backward ? job.out : job.in;
    job.map_h = x->size[2], job.map_w = x->size[3], job.channels = x->size[1];
    job.pad = backward ? a->kernel - 1 - a->pad : a->pad;
    job.line = (job.in->size[3] + 2 * job.pad) * job.channels;
    /* Two buffers of a strip in 128 KiB, but never fewer rows than the window is high. */
    job.rows = (1 << 14) / job.line - (a->kernel - 1);
    const int64_t least = a->kernel > 8 ? a->kernel : 8;
    if (job.rows < least) job.rows = least;
    if (job.rows > job.out->size[2]) job.rows = job.out->size[2];
    return job;
}

static size_t box_scratch_shared(const Node *node, bool exact) {
    (void)exact;
    const int64_t in = node->input[0]->size[3], out = node->output[0]->size[3];
    return (size_t)(in > out ? in : out) * sizeof(float);
}

static size_t box_scratch_worker(const Node *node, bool backward) {
    const BoxAttributes *a = node->attributes;
    const Job job = job_of(node, NULL, backward);
    if (a->stride == 1) return 2 * (size_t)((job.rows + a->kernel - 1) * job.line) * sizeof(float);
    return (size_t)(job.in->size[3] * job.channels) * sizeof(float);
}
static size_t avg_pool2d_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    return box_scratch_worker(node, false);
}
static size_t avg_pool2d_backward_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    return box_scratch_worker(node, true);
}

static float row_scale(const Job *job, int64_t row) {
    return (float)(1 / window_size(job->window, row, job->map_h));
}

/* One row of what is read, with its padding, to the strip. */
static void load_row(const Job *job, int64_t n, int64_t row, float *to) {
    const int64_t c = job->channels, w = job->in->size[3], edge = job->pad * c;
    memset(to, 0, (size_t)edge * sizeof *to);
    memset(to + edge + w * c, 0, (size_t)edge * sizeof *to);
    to += edge;
    const float *from = run_real(job->run, job->in) + n * job->in->stride[0] + row * job->in->stride[2];
    if (job->in->stride[3] == c)
        memcpy(to, from, (size_t)(w * c) * sizeof *to);
    else
        for (int64_t j = 0; j < w; j++)
            for (int64_t k = 0; k < c; k++) to[j * c + k] = from[j * job->in->stride[3] + k];
    if (!job->backward) return;
    const float scale = row_scale(job, row);
    for (int64_t j = 0; j < w; j++)
        for (int64_t k = 0; k < c; k++) to[j * c + k] *= scale * job->scale_x[j];
}

static void run_strip(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const int64_t h = job->out->size[2], w = job->out->size[3], c = job->channels, k = job->window->kernel;
    const int64_t strips = (h + job->rows - 1) / job->rows, n = tile / strips, first = tile % strips * job->rows;
    const int64_t rows = h - first < job->rows ? h - first : job->rows, count = (rows + k - 1) * job->line;
    float *strip = run_worker(job->run, worker), *sums = strip + (job->rows + k - 1) * job->line;
    for (int64_t r = 0; r < rows + k - 1; r++) {
        const int64_t row = first + r - job->pad;
        if (row >= 0 && row < job->in->size[2])
            load_row(job, n, row, strip + r * job->line);
        else
            memset(strip + r * job->line, 0, (size_t)job->line * sizeof *strip);
    }
    /* along the rows, the whole strip as one line (what runs over a row's end is not used), then down the columns */
    job->kernels->box(count, k, c, strip, sums);
    job->kernels->box(count - (k - 1) * c, k, job->line, sums, strip);
    for (int64_t r = 0; r < rows; r++) {
        const float *from = strip + r * job->line;
        float *to = run_real(job->run, job->out) + ((n * h + first + r) * w) * c;
        if (job->backward) {
            memcpy(to, from, (size_t)(w * c) * sizeof *to);
            continue;
        }
        const float scale = row_scale(job, first + r);
        if (c == 1)
            for (int64_t j = 0; j < w; j++) to[j] = from[j] * (scale * job->scale_x[j]);
        else
            for (int64_t j = 0; j < w; j++)
                for (int64_t q = 0; q < c; q++) to[j * c + q] = from[j * c + q] * (scale * job->scale_x[j]);
    }
}

/* Any stride: one row of the result from the rows it sees, added up first. */
static void run_row(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const BoxAttributes *a = job->window;
    const Tensor *in = job->in;
    const int64_t h = job->out->size[2], w = job->out->size[3], c = job->channels, n = tile / h, row = tile % h;
    const int64_t first = job->backward ? first_window(a, row) : window_start(a, row);
    const int64_t last = job->backward ? last_window(a, row, in->size[2]) : window_end(a, row, job->map_h);
    float *sums = run_worker(job->run, worker);
    memset(sums, 0, (size_t)(in->size[3] * c) * sizeof *sums);
    for (int64_t i = first; i < last; i++) {
        const float *from = run_real(job->run, in) + n * in->stride[0] + i * in->stride[2];
        const float scale = job->backward ? row_scale(job, i) : 1;
        for (int64_t j = 0; j < in->size[3]; j++)
            for (int64_t q = 0; q < c; q++)
                sums[j * c + q] += from[j * in->stride[3] + q] * (job->backward ? scale * job->scale_x[j] : scale);
    }
    float *to = run_real(job->run, job->out) + tile * w * c;
    const float scale = job->backward ? 1 : row_scale(job, row);
    for (int64_t column = 0; column < w; column++, to += c) {
        const int64_t begin = job->backward ? first_window(a, column) : window_start(a, column);
        const int64_t end = job->backward ? last_window(a, column, in->size[3]) : window_end(a, column, job->map_w);
        for (int64_t q = 0; q < c; q++) to[q] = 0;
        for (int64_t j = begin; j < end; j++)
            for (int64_t q = 0; q < c; q++) to[q] += sums[j * c + q];
        if (!job->backward)
            for (int64_t q = 0; q < c; q++) to[q] *= scale * job->scale_x[column];
    }
}

static void box_run(const Node *node, const Run *run, bool backward) {
    const BoxAttributes *a = node->attributes;
    Job job = job_of(node, run, backward);
    job.kernels = stereo_kernels(cpu_level());
    float *scale = run_shared(run);
    for (int64_t j = 0; j < (backward ? job.in : job.out)->size[3]; j++)
        scale[j] = (float)(1 / window_size(a, j, job.map_w));
    job.scale_x = scale;
    const int64_t n = job.out->size[0], h = job.out->size[2];
    if (a->stride == 1)
        pool_run(run->pool, n * ((h + job.rows - 1) / job.rows), run_strip, &job);
    else
        pool_run(run->pool, n * h, run_row, &job);
}
static void avg_pool2d_run(const Node *node, const Run *run) {
    box_run(node, run, false);
}
static void avg_pool2d_backward_run(const Node *node, const Run *run) {
    box_run(node, run, true);
}
#endif

static void box_cost(const Node *node, Cost *cost) {
    const BoxAttributes *a = node->attributes;
    double in = (double)tensor_count(node->input[0]), out = (double)tensor_count(node->output[0]);
    double steps = 1; /* doublings and digits of k, along both axes */
    for (int64_t k = a->kernel; k > 1; k /= 2) steps += k & 1 ? 4 : 2;
    cost->flops = a->stride == 1 ? out * steps : in + out;
    cost->bytes = 4 * (in + out);
}

static void box_print(const Node *node, FILE *to) {
    const BoxAttributes *a = node->attributes;
    fprintf(to, " kernel=%lld stride=%lld pad=%lld%s", (long long)a->kernel, (long long)a->stride, (long long)a->pad,
            a->exclude_pad ? " exclude_pad" : "");
}

static const Op avg_pool2d_backward_op = {
    .name = "avg_pool2d_backward",
    .kind = OP_HEAVY,
    .define = avg_pool2d_backward_define,
#ifndef PANUM_F64
    .run = avg_pool2d_backward_run,
    .scratch_shared = box_scratch_shared,
    .scratch_worker = avg_pool2d_backward_scratch_worker,
#endif
    .cost = box_cost,
    .print = box_print,
};

static void avg_pool2d_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    if (!d_output[0]) return;
    Tensor *dy = d_output[0];
    Node *back = program_record(node->program, &avg_pool2d_backward_op, 1, &dy, node->attributes, sizeof(BoxAttributes),
                                node->file, node->line);
    d_input[0] = node_output(back, DTYPE_F32, 4, node->input[0]->size, LAYOUT_AUTO);
}

static const Op avg_pool2d_op = {
    .name = "avg_pool2d",
    .kind = OP_HEAVY,
    .define = avg_pool2d_define,
#ifndef PANUM_F64
    .run = avg_pool2d_run,
    .scratch_shared = box_scratch_shared,
    .scratch_worker = avg_pool2d_scratch_worker,
#endif
    .cost = box_cost,
    .print = box_print,
    .gradient = avg_pool2d_gradient,
};

Tensor *t_avg_pool2d_at(Tensor *x, AvgPoolOptions options, T_AT) {
    if (!options.stride) options.stride = options.kernel;
    const int k = options.kernel, s = options.stride, p = options.pad;
    SHAPE_RULE(x->program, file, line, x->rank == 4 && x->dtype == DTYPE_F32 && (x->size[1] == 1 || x->stride[1] == 1),
               "avg_pool2d: wants a map, its channels side by side");
    SHAPE_RULE(x->program, file, line,
               k > 0 && s > 0 && p >= 0 && p <= k / 2 && x->size[2] + 2 * p >= k && x->size[3] + 2 * p >= k,
               "avg_pool2d: a window of %d (stride %d, padding %d) on %lld rows and %lld columns; the padding may be "
               "at most half the window",
               k, s, p, (long long)x->size[2], (long long)x->size[3]);
    BoxAttributes attributes = {k, s, p, options.exclude_pad};
    Node *node = program_record(x->program, &avg_pool2d_op, 1, &x, &attributes, sizeof attributes, file, line);
    const int64_t h = (x->size[2] + 2 * p - k) / s + 1, w = (x->size[3] + 2 * p - k) / s + 1;
    return node_output(node, DTYPE_F32, 4, (int64_t[]){x->size[0], x->size[1], h, w}, LAYOUT_AUTO);
}
