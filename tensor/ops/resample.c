/* tensor/ops/resample.c - a map at another size.
 *
 * avg_pool2: y(Y,X) = mean of x(2Y..2Y+1, 2X..2X+1); an odd last row or column is dropped.
 * adaptive_avg_pool: row i of h takes the rows floor(i H/h) .. ceil((i+1) H/h) - 1, likewise columns (PyTorch); cells
 * may overlap. Gradient of both: each input gets dy / cell size of every cell it is in.
 * resize_bilinear: row Y of h looks at s = max((Y + 1/2) H/h - 1/2, 0) between rows floor(s) and floor(s) + 1 (the last
 * row where there is no next), likewise columns: half-pixel centres, edges replicated, no smoothing when it shrinks
 * (PyTorch's align_corners=False). For H -> 2H the weights are 1/4 and 3/4.
 * upsample2_nearest: y(Y,X) = x(Y/2, X/2).
 * Gradient of these two: the transpose, each dy goes back to what it was made from with the same weights. */
#include "tensor/op.h"
#include "tensor/ops/map_kernels.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/stereo_kernels.h"
#include <string.h>

static int64_t cell_start(int64_t i, int64_t in, int64_t out) {
    return i * in / out;
}
static int64_t cell_end(int64_t i, int64_t in, int64_t out) {
    return ((i + 1) * in + out - 1) / out;
}

static void pool_define(const Node *node, const Run *run, bool halves) {
    const Tensor *in = node->input[0], *out = node->output[0];
    const real *x = run_real(run, in);
    real *y = run_real(run, out);
    for (int64_t n = 0; n < out->size[0]; n++)
        for (int64_t row = 0; row < out->size[2]; row++)
            for (int64_t column = 0; column < out->size[3]; column++) {
                int64_t top = halves ? 2 * row : cell_start(row, in->size[2], out->size[2]);
                int64_t left = halves ? 2 * column : cell_start(column, in->size[3], out->size[3]);
                int64_t bottom = halves ? top + 2 : cell_end(row, in->size[2], out->size[2]);
                int64_t right = halves ? left + 2 : cell_end(column, in->size[3], out->size[3]);
                for (int64_t c = 0; c < out->size[1]; c++) {
                    double sum = 0;
                    for (int64_t i = top; i < bottom; i++)
                        for (int64_t j = left; j < right; j++)
                            sum += x[n * in->stride[0] + c * in->stride[1] + i * in->stride[2] + j * in->stride[3]];
                    y[n * out->stride[0] + c * out->stride[1] + row * out->stride[2] + column * out->stride[3]] =
                        (real)(sum / (double)((bottom - top) * (right - left)));
                }
            }
}

static void avg_pool2_define(const Node *node, const Run *run) {
    pool_define(node, run, true);
}
static void adaptive_avg_pool_define(const Node *node, const Run *run) {
    pool_define(node, run, false);
}

/* Where a position of the result looks: at `from` with weight 1 - part, at `next` with weight `part`. */
typedef struct {
    int64_t from, next;
    double part;
} Sample;

static Sample sample_of(int64_t position, int64_t in, int64_t out) {
    double source = ((double)position + 0.5) * ((double)in / (double)out) - 0.5;
    if (source < 0) source = 0;
    int64_t from = (int64_t)source;
    if (from > in - 1) from = in - 1;
    return (Sample){.from = from, .next = from < in - 1 ? from + 1 : from, .part = source - (double)from};
}

static void resize_bilinear_define(const Node *node, const Run *run) {
    const Tensor *in = node->input[0], *out = node->output[0];
    const real *x = run_real(run, in);
    real *y = run_real(run, out);
    for (int64_t n = 0; n < out->size[0]; n++)
        for (int64_t row = 0; row < out->size[2]; row++)
            for (int64_t column = 0; column < out->size[3]; column++) {
                Sample v = sample_of(row, in->size[2], out->size[2]), u = sample_of(column, in->size[3], out->size[3]);
                for (int64_t c = 0; c < out->size[1]; c++) {
                    const real *plane = x + n * in->stride[0] + c * in->stride[1];
                    const real *above = plane + v.from * in->stride[2], *below = plane + v.next * in->stride[2];
                    double top = (1 - u.part) * above[u.from * in->stride[3]] + u.part * above[u.next * in->stride[3]];
                    double bottom =
                        (1 - u.part) * below[u.from * in->stride[3]] + u.part * below[u.next * in->stride[3]];
                    y[n * out->stride[0] + c * out->stride[1] + row * out->stride[2] + column * out->stride[3]] =
                        (real)((1 - v.part) * top + v.part * bottom);
                }
            }
}

static void upsample2_nearest_define(const Node *node, const Run *run) {
    const Tensor *in = node->input[0], *out = node->output[0];
    const real *x = run_real(run, in);
    real *y = run_real(run, out);
    for (int64_t n = 0; n < out->size[0]; n++)
        for (int64_t row = 0; row < out->size[2]; row++)
            for (int64_t column = 0; column < out->size[3]; column++)
                for (int64_t c = 0; c < out->size[1]; c++)
                    y[n * out->stride[0] + c * out->stride[1] + row * out->stride[2] + column * out->stride[3]] =
                        x[n * in->stride[0] + c * in->stride[1] + row / 2 * in->stride[2] + column / 2 * in->stride[3]];
}

#ifndef PANUM_F64
/* ---- the fast versions: a tile is some rows of the result ---- */

typedef struct {
    const Node *node;
    const Run *run;
    const MapKernels *kernels;
    int64_t tile; /* rows of the result */
} Job;

/* `elements` of the result make a tile. */
static void run_rows(const Node *node, const Run *run, PoolTile tile, int64_t elements) {
    const Tensor *out = node->output[0];
    Job job = {node, run, map_kernels(cpu_level()), 1 + elements / (out->size[1] * out->size[3])};
    pool_run(run->pool, (out->size[0] * out->size[2] + job.tile - 1) / job.tile, tile, &job);
}

static void run_average(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const Tensor *in = job->node->input[0], *out = job->node->output[0];
    const int64_t h = out->size[2], w = out->size[3], channels = out->size[1], rows = out->size[0] * h;
    for (int64_t row = tile * job->tile; row < rows && row < (tile + 1) * job->tile; row++) {
        const float *x = run_real(job->run, in) + row / h * in->stride[0] + 2 * (row % h) * in->stride[2];
        job->kernels->average(w, channels, x, x + in->stride[2], in->stride[3],
                              run_real(job->run, out) + row * w * channels);
    }
}

static size_t resize_scratch_shared(const Node *node, bool exact) {
    (void)exact;
    return (size_t)node->output[0]->size[3] * sizeof(ResizeColumn);
}

static size_t resize_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    return 2 * (size_t)node->output[0]->size[1] * sizeof(float);
}

static void run_bilinear(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const Tensor *in = job->node->input[0], *out = job->node->output[0];
    const int64_t h = out->size[2], w = out->size[3], channels = out->size[1], rows = out->size[0] * h;
    for (int64_t row = tile * job->tile; row < rows && row < (tile + 1) * job->tile; row++) {
        const Sample v = sample_of(row % h, in->size[2], h);
        const float *x = run_real(job->run, in) + row / h * in->stride[0];
        job->kernels->resize_row(w, channels, x + v.from * in->stride[2], x + v.next * in->stride[2], in->stride[3],
                                 (float)v.part, run_shared(job->run), run_worker(job->run, worker),
                                 run_real(job->run, out) + row * w * channels);
    }
}

static void run_nearest(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const Tensor *in = job->node->input[0], *out = job->node->output[0];
    const int64_t h = out->size[2], w = out->size[3], channels = out->size[1], rows = out->size[0] * h;
    for (int64_t row = tile * job->tile; row < rows && row < (tile + 1) * job->tile; row++) {
        const float *x = run_real(job->run, in) + row / h * in->stride[0] + row % h / 2 * in->stride[2];
        float *y = run_real(job->run, out) + row * w * channels;
        for (int64_t j = 0; j < w; j++, y += channels)
            memcpy(y, x + j / 2 * in->stride[3], (size_t)channels * sizeof(float));
    }
}

static void avg_pool2_run(const Node *node, const Run *run) {
    run_rows(node, run, run_average, 1 << 14);
}
static void resize_bilinear_run(const Node *node, const Run *run) {
    const int64_t in = node->input[0]->size[3], out = node->output[0]->size[3];
    ResizeColumn *columns = run_shared(run); /* where the columns of every row look */
    for (int64_t j = 0; j < out; j++) {
        const Sample u = sample_of(j, in, out);
        columns[j] = (ResizeColumn){(int32_t)u.from, (int32_t)u.next, (float)u.part};
    }
    run_rows(node, run, run_bilinear, 1 << 15);
}
static void upsample2_nearest_run(const Node *node, const Run *run) {
    run_rows(node, run, run_nearest, 1 << 15);
}
#endif

static void pool_cost(const Node *node, Cost *cost) {
    double in = (double)tensor_count(node->input[0]), out = (double)tensor_count(node->output[0]);
    cost->flops = in + out;
    cost->bytes = 4 * (in + out);
}

static void resize_cost(const Node *node, Cost *cost) {
    double in = (double)tensor_count(node->input[0]), out = (double)tensor_count(node->output[0]);
    cost->flops = 6 * out; /* separable: two multiply-adds along the row and one down the column, as lerps */
    cost->bytes = 4 * (in + out);
}
static void resize_backward_cost(const Node *node, Cost *cost) {
    double in = (double)tensor_count(node->input[0]), out = (double)tensor_count(node->output[0]);
    cost->flops = 8 * in; /* each dy into two rows and two columns */
    cost->bytes = 4 * (in + out);
}

/* ---- gradients: input[0] is dy, output[0] dx ---- */

static void avg_pool2_backward_row(const Node *node, const Run *run, int64_t n, int64_t row) {
    const Tensor *in = node->input[0], *out = node->output[0];
    const int64_t channels = out->size[1], w = out->size[3];
    real *to = run_real(run, out) + n * out->stride[0] + row * out->stride[2];
    if (row / 2 >= in->size[2]) {
        memset(to, 0, (size_t)(w * channels) * sizeof *to);
        return;
    }
    const real *dy = run_real(run, in) + n * in->stride[0] + row / 2 * in->stride[2];
    for (int64_t column = 0; column < w; column++, to += channels)
        for (int64_t c = 0; c < channels; c++)
            to[c] = column / 2 < in->size[3] ? dy[column / 2 * in->stride[3] + c] * (real)0.25 : 0;
}

static void upsample2_nearest_backward_row(const Node *node, const Run *run, int64_t n, int64_t row) {
    const Tensor *in = node->input[0], *out = node->output[0];
    const int64_t channels = out->size[1], w = out->size[3];
    const real *dy = run_real(run, in) + n * in->stride[0] + 2 * row * in->stride[2];
    real *to = run_real(run, out) + n * out->stride[0] + row * out->stride[2];
    for (int64_t column = 0; column < w; column++, to += channels) {
        const real *above = dy + 2 * column * in->stride[3], *below = above + in->stride[2];
        for (int64_t c = 0; c < channels; c++)
            to[c] = (above[c] + above[in->stride[3] + c]) + (below[c] + below[in->stride[3] + c]);
    }
}

static void each_row(const Node *node, const Run *run,
                     void (*function)(const Node *node, const Run *run, int64_t n, int64_t row)) {
    const Tensor *out = node->output[0];
    for (int64_t row = 0; row < out->size[0] * out->size[2]; row++)
        function(node, run, row / out->size[2], row % out->size[2]);
}
static void avg_pool2_backward_define(const Node *node, const Run *run) {
    each_row(node, run, avg_pool2_backward_row);
}
static void upsample2_nearest_backward_define(const Node *node, const Run *run) {
    each_row(node, run, upsample2_nearest_backward_row);
}

static void adaptive_avg_pool_backward_define(const Node *node, const Run *run) {
    const Tensor *in = node->input[0], *out = node->output[0];
    const real *dy = run_real(run, in);
    real *dx = run_real(run, out);
    memset(dx, 0, (size_t)tensor_count(out) * sizeof *dx);
    for (int64_t n = 0; n < in->size[0]; n++)
        for (int64_t row = 0; row < in->size[2]; row++)
            for (int64_t column = 0; column < in->size[3]; column++) {
                const int64_t top = cell_start(row, out->size[2], in->size[2]);
                const int64_t bottom = cell_end(row, out->size[2], in->size[2]);
                const int64_t left = cell_start(column, out->size[3], in->size[3]);
                const int64_t right = cell_end(column, out->size[3], in->size[3]);
                for (int64_t i = top; i < bottom; i++)
                    for (int64_t j = left; j < right; j++)
                        for (int64_t c = 0; c < in->size[1]; c++)
                            dx[n * out->stride[0] + c * out->stride[1] + i * out->stride[2] + j * out->stride[3]] +=
                                dy[n * in->stride[0] + c * in->stride[1] + row * in->stride[2] +
                                   column * in->stride[3]] /
                                (real)((bottom - top) * (right - left));
            }
}

/* The positions of a result of `out` that look at entry i of an axis of `in`: first .. end - 1. Where a position looks
 * moves only forward. */
static int64_t first_looking(int64_t i, int64_t in, int64_t out) {
    /* s >= i - 1, less a little for rounding; then by the rule itself */
    int64_t at = (int64_t)(((double)i - 0.5) * ((double)out / (double)in) - 0.5) - 1;
    if (at < 0) at = 0;
    while (at < out && sample_of(at, in, out).next < i) at++;
    return at;
}
static int64_t end_looking(int64_t i, int64_t first, int64_t in, int64_t out) {
    int64_t at = first;
    while (at < out && sample_of(at, in, out).from <= i) at++;
    return at;
}
/* How much of entry i is in a position. */
static double share_of(Sample s, int64_t i) {
    return (s.from == i ? 1 - s.part : 0) + (s.next == i ? s.part : 0);
}

static void resize_bilinear_backward_define(const Node *node, const Run *run) {
    const Tensor *in = node->input[0], *out = node->output[0];
    const real *dy = run_real(run, in);
    real *dx = run_real(run, out);
    const int64_t h = out->size[2], w = out->size[3], from_h = in->size[2], from_w = in->size[3];
    for (int64_t i = 0; i < h; i++) {
        const int64_t top = first_looking(i, h, from_h), bottom = end_looking(i, top, h, from_h);
        for (int64_t j = 0; j < w; j++) {
            const int64_t left = first_looking(j, w, from_w), right = end_looking(j, left, w, from_w);
            for (int64_t n = 0; n < out->size[0]; n++)
                for (int64_t c = 0; c < out->size[1]; c++) {
                    double sum = 0;
                    for (int64_t row = top; row < bottom; row++)
                        for (int64_t column = left; column < right; column++)
                            sum += share_of(sample_of(row, h, from_h), i) * share_of(sample_of(column, w, from_w), j) *
                                   dy[n * in->stride[0] + c * in->stride[1] + row * in->stride[2] +
                                      column * in->stride[3]];
                    dx[n * out->stride[0] + c * out->stride[1] + i * out->stride[2] + j * out->stride[3]] = (real)sum;
                }
        }
    }
}

#ifndef PANUM_F64
/* A tile is some rows of dx, which it owns. */
static void run_avg_pool2_backward(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const Tensor *out = job->node->output[0];
    const int64_t h = out->size[2], rows = out->size[0] * h;
    for (int64_t row = tile * job->tile; row < rows && row < (tile + 1) * job->tile; row++)
        avg_pool2_backward_row(job->node, job->run, row / h, row % h);
}
static void run_nearest_backward(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const Tensor *out = job->node->output[0];
    const int64_t h = out->size[2], rows = out->size[0] * h;
    for (int64_t row = tile * job->tile; row < rows && row < (tile + 1) * job->tile; row++)
        upsample2_nearest_backward_row(job->node, job->run, row / h, row % h);
}
static void avg_pool2_backward_run(const Node *node, const Run *run) {
    run_rows(node, run, run_avg_pool2_backward, 1 << 15);
}
static void upsample2_nearest_backward_run(const Node *node, const Run *run) {
    run_rows(node, run, run_nearest_backward, 1 << 14);
}

/* Rows of dy that look at one row of dx, at most. */
static int64_t rows_looking(const Node *node) {
    return 2 * (node->input[0]->size[2] / node->output[0]->size[2] + 2);
}

static size_t resize_backward_scratch_shared(const Node *node, bool exact) {
    (void)exact;
    return (size_t)node->input[0]->size[3] * sizeof(ResizeColumn);
}

static size_t resize_backward_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    const Tensor *in = node->input[0];
    return (size_t)(in->size[3] * in->size[1] + rows_looking(node)) * sizeof(float);
}

/* Down the columns first: the rows of dy that look at this one, weighted, as one line; then along the line. */
static void run_bilinear_backward(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const Tensor *in = job->node->input[0], *out = job->node->output[0];
    const int64_t h = out->size[2], w = out->size[3], channels = out->size[1], rows = out->size[0] * h;
    const StereoKernels *kernels = stereo_kernels(cpu_level());
    float *line = run_worker(job->run, worker), *share = line + in->size[3] * channels;
    for (int64_t row = tile * job->tile; row < rows && row < (tile + 1) * job->tile; row++) {
        const int64_t i = row % h, first = first_looking(i, h, in->size[2]);
        const int64_t end = end_looking(i, first, h, in->size[2]);
        for (int64_t k = first; k < end; k++) share[k - first] = (float)share_of(sample_of(k, h, in->size[2]), i);
        kernels->weighted_rows(end - first, share, in->size[3], channels,
                               run_real(job->run, in) + row / h * in->stride[0] + first * in->stride[2], in->stride[2],
                               in->stride[3], line);
        kernels->spread_row(in->size[3], channels, line, run_shared(job->run), w,
                            run_real(job->run, out) + row * w * channels);
    }
}

static void resize_bilinear_backward_run(const Node *node, const Run *run) {
    const int64_t in = node->output[0]->size[3], out = node->input[0]->size[3];
    ResizeColumn *columns = run_shared(run);
    for (int64_t j = 0; j < out; j++) {
        const Sample u = sample_of(j, in, out);
        columns[j] = (ResizeColumn){(int32_t)u.from, (int32_t)u.next, (float)u.part};
    }
    run_rows(node, run, run_bilinear_backward, 1 << 12);
}
#endif

static const Op avg_pool2_backward_op = {
    .name = "avg_pool2_backward",
    .kind = OP_HEAVY,
    .define = avg_pool2_backward_define,
#ifndef PANUM_F64
    .run = avg_pool2_backward_run,
#endif
    .cost = pool_cost,
};
static const Op adaptive_avg_pool_backward_op = {
    .name = "adaptive_avg_pool_backward",
    .kind = OP_HEAVY,
    .define = adaptive_avg_pool_backward_define,
    .cost = pool_cost,
};
static const Op resize_bilinear_backward_op = {
    .name = "resize_bilinear_backward",
    .kind = OP_HEAVY,
    .define = resize_bilinear_backward_define,
#ifndef PANUM_F64
    .run = resize_bilinear_backward_run,
    .scratch_shared = resize_backward_scratch_shared,
    .scratch_worker = resize_backward_scratch_worker,
#endif
    .cost = resize_backward_cost,
};
static const Op upsample2_nearest_backward_op = {
    .name = "upsample2_nearest_backward",
    .kind = OP_HEAVY,
    .define = upsample2_nearest_backward_define,
#ifndef PANUM_F64
    .run = upsample2_nearest_backward_run,
#endif
    .cost = pool_cost,
};

static void record_gradient(const Op *op, const Node *node, Tensor *dy, Tensor **d_input) {
    if (!dy) return;
    Node *back = program_record(node->program, op, 1, &dy, NULL, 0, node->file, node->line);
    d_input[0] = node_output(back, DTYPE_F32, 4, node->input[0]->size, LAYOUT_AUTO);
}
static void avg_pool2_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    record_gradient(&avg_pool2_backward_op, node, d_output[0], d_input);
}
static void adaptive_avg_pool_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    record_gradient(&adaptive_avg_pool_backward_op, node, d_output[0], d_input);
}
static void resize_bilinear_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    record_gradient(&resize_bilinear_backward_op, node, d_output[0], d_input);
}
static void upsample2_nearest_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    record_gradient(&upsample2_nearest_backward_op, node, d_output[0], d_input);
}

/* ---- descriptors and recording ---- */

static const Op avg_pool2_op = {
    .name = "avg_pool2",
    .kind = OP_HEAVY,
    .define = avg_pool2_define,
#ifndef PANUM_F64
    .run = avg_pool2_run,
#endif
    .cost = pool_cost,
    .gradient = avg_pool2_gradient,
};

static const Op adaptive_avg_pool_op = {
    .name = "adaptive_avg_pool",
    .kind = OP_HEAVY,
    .define = adaptive_avg_pool_define,
    .cost = pool_cost,
    .gradient = adaptive_avg_pool_gradient,
};

/* What enlarges is had again from less. */
static bool enlarges(const Node *node) {
    return tensor_count(node->output[0]) > tensor_count(node->input[0]);
}

static const Op resize_bilinear_op = {
    .name = "resize_bilinear",
    .kind = OP_HEAVY,
    .define = resize_bilinear_define,
#ifndef PANUM_F64
    .run = resize_bilinear_run,
    .scratch_shared = resize_scratch_shared,
    .scratch_worker = resize_scratch_worker,
#endif
    .cost = resize_cost,
    .gradient = resize_bilinear_gradient,
    .light = enlarges,
};

static const Op upsample2_nearest_op = {
    .name = "upsample2_nearest",
    .kind = OP_HEAVY,
    .define = upsample2_nearest_define,
#ifndef PANUM_F64
    .run = upsample2_nearest_run,
#endif
    .cost = resize_cost,
    .gradient = upsample2_nearest_gradient,
    .light = enlarges,
};

static Tensor *record(const Op *op, Tensor *x, int64_t h, int64_t w, T_AT) {
    SHAPE_RULE(x->program, file, line, x->rank == 4 && x->dtype == DTYPE_F32 && (x->size[1] == 1 || x->stride[1] == 1),
               "%s: wants a map, its channels side by side", op->name);
    SHAPE_RULE(x->program, file, line, h > 0 && w > 0, "%s: a result of %lld rows and %lld columns is empty", op->name,
               (long long)h, (long long)w);
    Node *node = program_record(x->program, op, 1, &x, NULL, 0, file, line);
    return node_output(node, DTYPE_F32, 4, (int64_t[]){x->size[0], x->size[1], h, w}, LAYOUT_AUTO);
}

Tensor *t_avg_pool2_at(Tensor *x, T_AT) {
    return record(&avg_pool2_op, x, x->size[2] / 2, x->size[3] / 2, file, line);
}

Tensor *t_adaptive_avg_pool_at(Tensor *x, int64_t h, int64_t w, T_AT) {
    return record(&adaptive_avg_pool_op, x, h, w, file, line);
}

Tensor *t_resize_bilinear_at(Tensor *x, int64_t h, int64_t w, T_AT) {
    return record(&resize_bilinear_op, x, h, w, file, line);
}

Tensor *t_upsample2_nearest_at(Tensor *x, T_AT) {
    return record(&upsample2_nearest_op, x, 2 * x->size[2], 2 * x->size[3], file, line);
}
