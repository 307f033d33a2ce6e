/* tensor/ops/lookup.c - nine values of a correlation row round a position, and the halving of rows.
 *
 * lookup: out_e(y,i) = value of row cv[y,i,.] at x = (i - d(y,i))/step + e, e = -4..4, by linear
 * interpolation between floor(x) and floor(x) + 1, entries outside the row being zero (values fade to 0 over one cell
 * at both ends). half_pixel (R1 and R2): read at x m/(m-1) - 1/2 instead, m the length of the row; it is what
 * grid_sample does with align_corners off to a coordinate that was normalised by m - 1. A position that is not finite
 * reads zero. Gradient: dcv gets dout times the two weights; dd = -1/step (m/(m-1) if half_pixel) sum_e dout_e (right -
 * left).
 *
 * pool_pairs: out[k] = (in[2k] + in[2k+1]) / 2 along the last axis; an odd last entry is dropped. */
#include "tensor/op.h"
#include "tensor/ops/lookup_node.h"
#include "tensor/ops/map_kernels.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/stereo_kernels.h"
#include <math.h>
#include <string.h>

/* The volume by image rows, whether it was spoken (N,h,w,m) or (N*h,w,m). */
typedef struct {
    int64_t w, m;
    int64_t outer, inner; /* strides of n and y; with rank 3 inner is that of n*h + y and outer h times it */
    int64_t column;       /* stride of i */
} Volume;

static Volume volume_of(const Tensor *cv, int64_t h) {
    int last = cv->rank - 1;
    return (Volume){.w = cv->size[last - 1],
                    .m = cv->size[last],
                    .outer = cv->rank == 4 ? cv->stride[0] : h * cv->stride[0],
                    .inner = cv->stride[last - 2],
                    .column = cv->stride[last - 1]};
}

static void lookup_define(const Node *node, const Run *run) {
    const LookupOptions *options = node->attributes;
    const Tensor *cv = node->input[0], *disparity = node->input[1], *out = node->output[0];
    const real *c = run_real(run, cv), *d = run_real(run, disparity);
    real *y = run_real(run, out);
    const int64_t h = out->size[2], w = out->size[3];
    int64_t coarse = w / cv->size[cv->rank - 2]; /* 2 when the volume has a row for every second pixel only (R1) */
    const Volume volume = volume_of(cv, h / coarse);
    for (int64_t n = 0; n < out->size[0]; n++)
        for (int64_t row = 0; row < h; row++)
            for (int64_t i = 0; i < w; i++) {
                const real *line = c + n * volume.outer + row / coarse * volume.inner + i / coarse * volume.column;
                const double own = d[n * disparity->stride[0] + row * disparity->stride[2] + i * disparity->stride[3]];
                for (int e = 0; e < LOOKUP_TAPS; e++) {
                    /* in double: at column 480 a float leaves no more than 15 bits for the part between two entries */
                    double x = ((double)i - own) / options->step + (e - LOOKUP_RADIUS);
                    if (options->half_pixel) x = x * (double)volume.m / (double)(volume.m - 1) - 0.5;
                    double value = 0;
                    if (x > -1 && x < (double)volume.m) {
                        int64_t left = (int64_t)floor(x);
                        double part = x - (double)left;
                        if (left >= 0) value += (1 - part) * line[left];
                        if (left + 1 < volume.m) value += part * line[left + 1];
                    }
                    y[n * out->stride[0] + e * out->stride[1] + row * out->stride[2] + i * out->stride[3]] =
                        (real)value;
                }
            }
}

#ifndef PANUM_F64
/* ---- the fast version: a tile is some rows of pixels. At the exact positions all nine taps share one fraction; in the
 * half-pixel form each has its own. ---- */

typedef struct {
    const Node *node;
    const Run *run;
    const MapKernels *kernels;
    int64_t tile; /* rows */
} Job;

static void look_up_half_pixel(int64_t w, int64_t m, int step, int coarse, const float *cv, int64_t cv_step,
                               const float *disparity, int64_t disparity_step, float *y) {
    const double stretch = (double)m / (double)(m - 1);
    for (int64_t i = 0; i < w; i++)
        for (int e = 0; e < LOOKUP_TAPS; e++) {
            const double x = (((double)i - disparity[i * disparity_step]) / step + (e - LOOKUP_RADIUS)) * stretch - 0.5;
            const double whole = floor(x);
            *y++ = x > -1 && x < (double)m
                       ? lookup_tap(cv + i / coarse * cv_step, m, (int64_t)whole, (float)(x - whole))
                       : 0;
        }
}

static void run_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const LookupOptions *options = job->node->attributes;
    const Tensor *cv = job->node->input[0], *disparity = job->node->input[1], *out = job->node->output[0];
    const int64_t h = out->size[2], w = out->size[3], rows = out->size[0] * h;
    const int coarse = (int)(w / cv->size[cv->rank - 2]);
    const Volume volume = volume_of(cv, h / coarse);
    for (int64_t row = tile * job->tile; row < rows && row < (tile + 1) * job->tile; row++) {
        const int64_t n = row / h, y = row % h;
        (options->half_pixel ? look_up_half_pixel : job->kernels->lookup)(
            w, volume.m, options->step, coarse, run_real(job->run, cv) + n * volume.outer + y / coarse * volume.inner,
            volume.column, run_real(job->run, disparity) + n * disparity->stride[0] + y * disparity->stride[2],
            disparity->stride[3], run_real(job->run, out) + row * w * LOOKUP_TAPS);
    }
}

static void lookup_run(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    Job job = {node, run, map_kernels(cpu_level()), 1 + 4096 / out->size[3]};
    pool_run(run->pool, (out->size[0] * out->size[2] + job.tile - 1) / job.tile, run_tile, &job);
}
#endif

static void lookup_cost(const Node *node, Cost *cost) {
    double pixels = (double)tensor_count(node->input[1]);
    cost->flops = pixels * LOOKUP_TAPS * 4;
    cost->bytes = pixels * (2 * LOOKUP_TAPS + 2) * 4; /* ten neighbours, the position, nine results */
}

static void lookup_print(const Node *node, FILE *to) {
    const LookupOptions *options = node->attributes;
    fprintf(to, " step=%d%s", options->step, options->half_pixel ? " half_pixel" : "");
}

/* ---- lookup's gradients: to the volume (inputs disparity, dout), whose every row belongs to one tile, and to the
 * disparity (inputs cv, disparity, dout) ---- */

/* Where tap e of column i reads: between `left` and left + 1, `part` on the way. False: outside, or not a number. */
static bool tap_place(const LookupOptions *options, int64_t m, int64_t i, double disparity, int e, int64_t *left,
                      double *part) {
    double x = ((double)i - disparity) / options->step + (e - LOOKUP_RADIUS);
    if (options->half_pixel) x = x * (double)m / (double)(m - 1) - 0.5;
    if (!(x >= -1 && x < (double)m)) return false;
    const double whole = floor(x);
    *left = (int64_t)whole;
    *part = x - whole;
    return true;
}

static void lookup_backward_volume_define(const Node *node, const Run *run) {
    const LookupBackward *a = node->attributes;
    const Tensor *disparity = node->input[0], *in = node->input[1], *out = node->output[0];
    const real *d = run_real(run, disparity), *g = run_real(run, in);
    real *dcv = run_real(run, out);
    const int64_t h = in->size[2], w = in->size[3];
    const Volume volume = volume_of(out, h / a->coarse);
    memset(dcv, 0, (size_t)tensor_count(out) * sizeof *dcv);
    for (int64_t n = 0; n < in->size[0]; n++)
        for (int64_t row = 0; row < h; row++)
            for (int64_t i = 0; i < w; i++) {
                real *line = dcv + n * volume.outer + row / a->coarse * volume.inner + i / a->coarse * volume.column;
                const double own = d[n * disparity->stride[0] + row * disparity->stride[2] + i * disparity->stride[3]];
                for (int e = 0; e < LOOKUP_TAPS; e++) {
                    const double dout =
                        g[n * in->stride[0] + e * in->stride[1] + row * in->stride[2] + i * in->stride[3]];
                    int64_t left;
                    double part;
                    if (!tap_place(&a->options, a->m, i, own, e, &left, &part)) continue;
                    if (left >= 0) line[left] += (real)((1 - part) * dout);
                    if (left + 1 < a->m) line[left + 1] += (real)(part * dout);
                }
            }
}

/* One row of pixels. */
static void lookup_backward_disparity_row(const Node *node, const Run *run, int64_t n, int64_t row) {
    const LookupBackward *a = node->attributes;
    const Tensor *cv = node->input[0], *disparity = node->input[1], *in = node->input[2], *out = node->output[0];
    const int64_t h = in->size[2], w = in->size[3];
    const Volume volume = volume_of(cv, h / a->coarse);
    const real *c = run_real(run, cv) + n * volume.outer + row / a->coarse * volume.inner;
    const real *d = run_real(run, disparity) + n * disparity->stride[0] + row * disparity->stride[2];
    const real *g = run_real(run, in) + n * in->stride[0] + row * in->stride[2];
    real *to = run_real(run, out) + n * out->stride[0] + row * out->stride[2];
    const double slope = -1.0 / a->options.step * (a->options.half_pixel ? (double)a->m / (double)(a->m - 1) : 1.0);
    for (int64_t i = 0; i < w; i++) {
        const real *line = c + i / a->coarse * volume.column;
        double sum = 0;
        for (int e = 0; e < LOOKUP_TAPS; e++) {
            int64_t left;
            double part;
            if (!tap_place(&a->options, a->m, i, d[i * disparity->stride[3]], e, &left, &part)) continue;
            const double before = left >= 0 ? (double)line[left] : 0,
                         after = left + 1 < a->m ? (double)line[left + 1] : 0;
            sum += g[i * in->stride[3] + e * in->stride[1]] * (after - before);
        }
        to[i] = (real)(slope * sum);
    }
}

static void lookup_backward_disparity_define(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    for (int64_t row = 0; row < out->size[0] * out->size[2]; row++)
        lookup_backward_disparity_row(node, run, row / out->size[2], row % out->size[2]);
}

#ifndef PANUM_F64
/* A tile is some rows of the volume's pictures: `coarse` rows of pixels each. */
static void run_volume_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const LookupBackward *a = job->node->attributes;
    const Tensor *disparity = job->node->input[0], *in = job->node->input[1], *out = job->node->output[0];
    const StereoKernels *kernels = stereo_kernels(cpu_level());
    const int64_t h = in->size[2] / a->coarse, w = in->size[3], rows = in->size[0] * h;
    const Volume volume = volume_of(out, h);
    for (int64_t row = tile * job->tile; row < rows && row < (tile + 1) * job->tile; row++) {
        const int64_t n = row / h, y = row % h;
        float *dcv = run_real(job->run, out) + n * volume.outer + y * volume.inner;
        memset(dcv, 0, (size_t)(volume.w * a->m) * sizeof *dcv);
        for (int64_t k = 0; k < a->coarse; k++) {
            const float *d =
                run_real(job->run, disparity) + n * disparity->stride[0] + (y * a->coarse + k) * disparity->stride[2];
            const float *g = run_real(job->run, in) + n * in->stride[0] + (y * a->coarse + k) * in->stride[2];
            if (!a->options.half_pixel) {
                kernels->lookup_back(w, a->m, a->options.step, (int)a->coarse, d, disparity->stride[3], g,
                                     in->stride[3], dcv, volume.column);
                continue;
            }
            for (int64_t i = 0; i < w; i++)
                for (int e = 0; e < LOOKUP_TAPS; e++) {
                    int64_t left;
                    double part;
                    if (!tap_place(&a->options, a->m, i, d[i * disparity->stride[3]], e, &left, &part)) continue;
                    float *line = dcv + i / a->coarse * volume.column;
                    const float dout = g[i * in->stride[3] + e];
                    if (left >= 0) line[left] += (1 - (float)part) * dout;
                    if (left + 1 < a->m) line[left + 1] += (float)part * dout;
                }
        }
    }
}

static void lookup_backward_volume_run(const Node *node, const Run *run) {
    const LookupBackward *a = node->attributes;
    const Tensor *in = node->input[1];
    const int64_t rows = in->size[0] * in->size[2] / a->coarse;
    Job job = {node, run, NULL, 1 + (1 << 15) / (in->size[3] * a->m)};
    pool_run(run->pool, (rows + job.tile - 1) / job.tile, run_volume_tile, &job);
}

static void run_disparity_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const Tensor *out = job->node->output[0];
    const int64_t h = out->size[2], rows = out->size[0] * h;
    for (int64_t row = tile * job->tile; row < rows && row < (tile + 1) * job->tile; row++)
        lookup_backward_disparity_row(job->node, job->run, row / h, row % h);
}

static void lookup_backward_disparity_run(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    Job job = {node, run, NULL, 1 + 2048 / out->size[3]};
    pool_run(run->pool, (out->size[0] * out->size[2] + job.tile - 1) / job.tile, run_disparity_tile, &job);
}
#endif

static void lookup_backward_cost(const Node *node, Cost *cost) {
    const Tensor *dout = node->input[node->inputs - 1];
    cost->flops = 4 * (double)tensor_count(dout);
    cost->bytes = 4 * (2 * (double)tensor_count(dout) + (double)tensor_count(node->output[0]));
}

static void lookup_backward_print(const Node *node, FILE *to) {
    const LookupBackward *a = node->attributes;
    fprintf(to, " step=%d%s", a->options.step, a->options.half_pixel ? " half_pixel" : "");
}

static const Op lookup_backward_volume_op = {
    .name = "lookup_backward_volume",
    .kind = OP_HEAVY,
    .define = lookup_backward_volume_define,
#ifndef PANUM_F64
    .run = lookup_backward_volume_run,
#endif
    .cost = lookup_backward_cost,
    .print = lookup_backward_print,
};
static const Op lookup_backward_disparity_op = {
    .name = "lookup_backward_disparity",
    .kind = OP_HEAVY,
    .define = lookup_backward_disparity_define,
#ifndef PANUM_F64
    .run = lookup_backward_disparity_run,
#endif
    .cost = lookup_backward_cost,
    .print = lookup_backward_print,
};

static void lookup_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    if (!d_output[0]) return;
    Tensor *cv = node->input[0], *disparity = node->input[1], *dout = d_output[0];
    const LookupBackward attributes = {*(const LookupOptions *)node->attributes, cv->size[cv->rank - 1],
                                       disparity->size[3] / cv->size[cv->rank - 2]};
    Node *back = program_record(node->program, &lookup_backward_volume_op, 2, (Tensor *[]){disparity, dout},
                                &attributes, sizeof attributes, node->file, node->line);
    d_input[0] = node_output(back, DTYPE_F32, cv->rank, cv->size, LAYOUT_ROW_MAJOR);
    back = program_record(node->program, &lookup_backward_disparity_op, 3, (Tensor *[]){cv, disparity, dout},
                          &attributes, sizeof attributes, node->file, node->line);
    d_input[1] = node_output(back, DTYPE_F32, 4, disparity->size, LAYOUT_AUTO);
}

static const Op lookup_op = {
    .name = "lookup",
    .kind = OP_HEAVY,
    .define = lookup_define,
#ifndef PANUM_F64
    .run = lookup_run,
#endif
    .cost = lookup_cost,
    .print = lookup_print,
    .gradient = lookup_gradient,
};

Tensor *t_lookup_at(Tensor *cv, Tensor *disparity, LookupOptions options, T_AT) {
    if (!options.step) options.step = 1;
    Program *program = cv->program;
    SHAPE_RULE(program, file, line,
               disparity->rank == 4 && disparity->size[1] == 1 && disparity->dtype == DTYPE_F32 && options.step > 0,
               "lookup: wants a disparity map of one channel and a positive step");
    SHAPE_RULE(program, file, line,
               (cv->rank == 3 || cv->rank == 4) && cv->dtype == DTYPE_F32 && cv->stride[cv->rank - 1] == 1 &&
                   (!options.half_pixel || cv->size[cv->rank - 1] > 1),
               "lookup: wants a row-major volume (N,h,w,m) or (N*h,w,m)");
    int64_t n = disparity->size[0], h = disparity->size[2], w = disparity->size[3];
    int64_t coarse = w == cv->size[cv->rank - 2] ? 1 : 2;
    SHAPE_RULE(program, file, line,
               w == coarse * cv->size[cv->rank - 2] && h % coarse == 0 &&
                   (cv->rank == 3 ? cv->size[0] == n * (h / coarse) : cv->size[0] == n && cv->size[1] == h / coarse),
               "lookup: the volume's rows and columns must be those of the disparity, or half of both");
    Tensor *input[2] = {cv, disparity};
    Node *node = program_record(program, &lookup_op, 2, input, &options, sizeof options, file, line);
    return node_output(node, DTYPE_F32, 4, (int64_t[]){n, LOOKUP_TAPS, h, w}, LAYOUT_AUTO);
}

/* ---- pool_pairs ---- */

/* Offset of line `index` (all axes but the last, counted in spoken order). */
static int64_t line_at(const Tensor *t, int64_t index) {
    int64_t at = 0;
    for (int axis = t->rank - 2; axis >= 0; axis--) {
        at += index % t->size[axis] * t->stride[axis];
        index /= t->size[axis];
    }
    return at;
}

static void pool_pairs_define(const Node *node, const Run *run) {
    const Tensor *in = node->input[0], *out = node->output[0];
    const real *x = run_real(run, in);
    real *y = run_real(run, out);
    const int64_t m = out->size[out->rank - 1];
    for (int64_t index = 0; index < tensor_count(out) / m; index++) {
        const real *from = x + line_at(in, index);
        real *to = y + line_at(out, index);
        for (int64_t k = 0; k < m; k++) to[k] = (from[2 * k] + from[2 * k + 1]) * (real)0.5;
    }
}

#ifndef PANUM_F64
static void run_pairs(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const Tensor *in = job->node->input[0], *out = job->node->output[0];
    const int64_t m = out->size[out->rank - 1], lines = tensor_count(out) / m;
    for (int64_t line = tile * job->tile; line < lines && line < (tile + 1) * job->tile; line++)
        job->kernels->pairs(m, run_real(job->run, in) + line_at(in, line), run_real(job->run, out) + line * m);
}

static void pool_pairs_run(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    const int64_t m = out->size[out->rank - 1], lines = tensor_count(out) / m;
    Job job = {node, run, map_kernels(cpu_level()), 1 + (1 << 15) / m};
    pool_run(run->pool, (lines + job.tile - 1) / job.tile, run_pairs, &job);
}
#endif

static void pool_pairs_cost(const Node *node, Cost *cost) {
    double out = (double)tensor_count(node->output[0]);
    cost->flops = 2 * out;
    cost->bytes = 12 * out;
}

/* dcv[2k] = dcv[2k+1] = dout[k] / 2, 0 for an odd last one. A row-major volume, or the view of one that is. */
static void unpair_lines(const Node *node, const Run *run, int64_t first, int64_t end) {
    const Tensor *in = node->input[0], *out = node->output[0];
    const int64_t m = in->size[in->rank - 1], wide = out->size[out->rank - 1], step = in->stride[in->rank - 1];
    for (int64_t line = first; line < end; line++) {
        const real *from = run_real(run, in) + line_at(in, line);
        real *to = run_real(run, out) + line * wide;
        for (int64_t k = 0; k < m; k++) to[2 * k] = to[2 * k + 1] = from[k * step] * (real)0.5;
        if (wide > 2 * m) to[wide - 1] = 0;
    }
}

static void pool_pairs_backward_define(const Node *node, const Run *run) {
    const Tensor *in = node->input[0];
    unpair_lines(node, run, 0, tensor_count(in) / in->size[in->rank - 1]);
}

#ifndef PANUM_F64
static void run_unpair(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const Tensor *in = job->node->input[0];
    const int64_t lines = tensor_count(in) / in->size[in->rank - 1], end = (tile + 1) * job->tile;
    unpair_lines(job->node, job->run, tile * job->tile, end < lines ? end : lines);
}

static void pool_pairs_backward_run(const Node *node, const Run *run) {
    const Tensor *in = node->input[0];
    const int64_t m = in->size[in->rank - 1], lines = tensor_count(in) / m;
    Job job = {node, run, NULL, 1 + (1 << 14) / m};
    pool_run(run->pool, (lines + job.tile - 1) / job.tile, run_unpair, &job);
}
#endif

static void pool_pairs_backward_cost(const Node *node, Cost *cost) {
    double in = (double)tensor_count(node->input[0]);
    cost->flops = in;
    cost->bytes = 12 * in;
}

static const Op pool_pairs_backward_op = {
    .name = "pool_pairs_backward",
    .kind = OP_HEAVY,
    .define = pool_pairs_backward_define,
#ifndef PANUM_F64
    .run = pool_pairs_backward_run,
#endif
    .cost = pool_pairs_backward_cost,
};

static void pool_pairs_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    if (!d_output[0]) return;
    const Tensor *cv = node->input[0];
    Node *back = program_record(node->program, &pool_pairs_backward_op, 1, (Tensor *[]){d_output[0]}, NULL, 0,
                                node->file, node->line);
    d_input[0] = node_output(back, DTYPE_F32, cv->rank, cv->size, LAYOUT_ROW_MAJOR);
}

static const Op pool_pairs_op = {
    .name = "pool_pairs",
    .kind = OP_HEAVY,
    .define = pool_pairs_define,
#ifndef PANUM_F64
    .run = pool_pairs_run,
#endif
    .cost = pool_pairs_cost,
    .gradient = pool_pairs_gradient,
};

Tensor *t_pool_pairs_at(Tensor *cv, T_AT) {
    SHAPE_RULE(cv->program, file, line,
               (cv->rank == 3 || cv->rank == 4) && cv->dtype == DTYPE_F32 && cv->stride[cv->rank - 1] == 1 &&
                   cv->size[cv->rank - 1] > 1,
               "pool_pairs: wants a row-major volume (N,h,w,m) or (N*h,w,m), m at least 2");
    int64_t size[4];
    for (int axis = 0; axis < cv->rank; axis++) size[axis] = cv->size[axis];
    size[cv->rank - 1] /= 2;
    Node *node = program_record(cv->program, &pool_pairs_op, 1, &cv, NULL, 0, file, line);
    return node_output(node, DTYPE_F32, cv->rank, size, LAYOUT_ROW_MAJOR);
}
