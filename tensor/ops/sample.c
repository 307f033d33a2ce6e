/* tensor/ops/sample.c - a picture read at other places, bilinearly: grid_sample anywhere, warp_rows along its own rows.
 *
 * An axis of n values read at position s, f = floor(s): (1 - (s-f)) x[f] + (s-f) x[f+1]. Outside: with zeros, entries
 * beyond the axis are zero (values fade to 0 over one cell at both ends); with border, s is first held in [0, n-1]. A
 * position that is not a number reads zero, or with border the first entry.
 *
 * grid_sample (PyTorch's): grid (N,2,H',W') holds x and y, -1..1 across the picture: s = (x+1)/2 (W-1) with
 * align_corners, else ((x+1) W - 1)/2; y(c,Y,X) = the picture at (s_y, s_x).
 * warp_rows: y(c,Y,X) = x(c,Y, X - d(Y,X)): with the right picture and the left one's disparity, the left picture as
 * the right eye saw it. `inside` is 1 where 0 < X - d < W - 1, strictly, else 0; it has no gradient.
 *
 * Gradients: each dy goes back to the entries that made it with the same weights; by position it is dy (x[f+1] - x[f]),
 * at a whole number the one to the right; nothing where border holds the position (ends included). Like PyTorch's.
 *
 * The gradient to the picture is a scatter. It is summed by whoever owns the target, in the order of the sources, so
 * that it does not depend on threads: rows of warp_rows belong to one tile; grid_sample first notes which rows each row
 * of the grid reaches, and a tile, some rows of the picture, goes through the rows of the grid that reach it.
 *
 * Should move: the picture (about once, if neighbours stay neighbours), positions and result once. */
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/sample_node.h"
#include <math.h>
#include <string.h>

/* Where one axis is read: `from` with weight 1 - part and from + 1 with `part`; either may be outside, which is zero.
 * `slope`: what the place moves by when the position does, 1 or 0. */
typedef struct {
    int64_t from;
    double part, slope;
} Place;

static Place place_of(double position, int64_t n, bool border) {
    if (border) {
        if (!(position > 0)) return (Place){0, 0, 0};
        if (position >= (double)(n - 1)) return (Place){n - 1, 0, 0};
    } else if (!(position >= -1 && position < (double)n)) {
        return (Place){-2, 0, 0};
    }
    const double whole = floor(position);
    return (Place){(int64_t)whole, position - whole, 1};
}

/* Entry `i` of an axis of n, 0 outside. */
static double entry(const real *line, int64_t stride, int64_t i, int64_t n) {
    return i >= 0 && i < n ? (double)line[i * stride] : 0;
}

/* -1..1 to a position on an axis of n. */
static double grid_position(const SampleAttributes *a, double x, int64_t n) {
    return a->align_corners ? (x + 1) / 2 * (double)(n - 1) : ((x + 1) * (double)n - 1) / 2;
}
/* How far the position moves when x does. */
static double grid_slope(const SampleAttributes *a, int64_t n) {
    return (double)(a->align_corners ? n - 1 : n) / 2;
}

/* Places of grid position `at` (elements from the grid's first) in a picture of h x w: [0] across, [1] down. */
static void grid_places(const SampleAttributes *a, const Tensor *grid, const real *g, int64_t at, int64_t h, int64_t w,
                        Place place[2]) {
    place[0] = place_of(grid_position(a, g[at], w), w, a->border);
    place[1] = place_of(grid_position(a, g[at + grid->stride[1]], h), h, a->border);
}

/* ---- grid_sample ---- */

/* Row Y of picture n: places, four weights at most, channels innermost. The arithmetic of a channel is in `real`, of
 * places and weights in double. */
static void sample_row(const Node *node, const Run *run, int64_t n, int64_t row) {
    const SampleAttributes *a = node->attributes;
    const Tensor *in = node->input[0], *grid = node->input[1], *out = node->output[0];
    const int64_t h = in->size[2], w = in->size[3], channels = in->size[1];
    const real *x = run_real(run, in) + n * in->stride[0];
    for (int64_t column = 0; column < out->size[3]; column++) {
        Place place[2];
        grid_places(a, grid, run_real(run, grid),
                    n * grid->stride[0] + row * grid->stride[2] + column * grid->stride[3], h, w, place);
        real *y = run_real(run, out) + n * out->stride[0] + row * out->stride[2] + column * out->stride[3];
        for (int64_t c = 0; c < channels; c++) y[c] = 0;
        for (int corner = 0; corner < 4; corner++) {
            const int64_t i = place[1].from + corner / 2, j = place[0].from + corner % 2;
            const double weight =
                (corner / 2 ? place[1].part : 1 - place[1].part) * (corner % 2 ? place[0].part : 1 - place[0].part);
            if (i < 0 || i >= h || j < 0 || j >= w) continue;
            const real *from = x + i * in->stride[2] + j * in->stride[3];
            for (int64_t c = 0; c < channels; c++) y[c] += (real)weight * from[c];
        }
    }
}

static void grid_sample_define(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    for (int64_t row = 0; row < out->size[0] * out->size[2]; row++)
        sample_row(node, run, row / out->size[2], row % out->size[2]);
}

/* d(grid): inputs picture, grid, dy. */
static void grid_row(const Node *node, const Run *run, int64_t n, int64_t row) {
    const SampleAttributes *a = node->attributes;
    const Tensor *in = node->input[0], *grid = node->input[1], *dy = node->input[2], *out = node->output[0];
    const int64_t h = in->size[2], w = in->size[3], channels = in->size[1];
    const real *x = run_real(run, in) + n * in->stride[0];
    for (int64_t column = 0; column < out->size[3]; column++) {
        Place place[2];
        grid_places(a, grid, run_real(run, grid),
                    n * grid->stride[0] + row * grid->stride[2] + column * grid->stride[3], h, w, place);
        const real *g = run_real(run, dy) + n * dy->stride[0] + row * dy->stride[2] + column * dy->stride[3];
        double across = 0, down = 0;
        for (int64_t c = 0; c < channels; c++) {
            double value[2][2]; /* of the four corners */
            for (int corner = 0; corner < 4; corner++) {
                const int64_t i = place[1].from + corner / 2, j = place[0].from + corner % 2;
                value[corner / 2][corner % 2] =
                    i < 0 || i >= h ? 0 : entry(x + i * in->stride[2] + c * in->stride[1], in->stride[3], j, w);
            }
            const double own = g[c * dy->stride[1]];
            across +=
                own * ((1 - place[1].part) * (value[0][1] - value[0][0]) + place[1].part * (value[1][1] - value[1][0]));
            down +=
                own * ((1 - place[0].part) * (value[1][0] - value[0][0]) + place[0].part * (value[1][1] - value[0][1]));
        }
        real *to = run_real(run, out) + n * out->stride[0] + row * out->stride[2] + column * out->stride[3];
        to[0] = (real)(across * place[0].slope * grid_slope(a, w));
        to[1] = (real)(down * place[1].slope * grid_slope(a, h));
    }
}

static void grid_sample_backward_grid_define(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    for (int64_t row = 0; row < out->size[0] * out->size[2]; row++)
        grid_row(node, run, row / out->size[2], row % out->size[2]);
}

/* d(picture): inputs grid, dy. Adds what row `row` of the grid gives to rows begin .. end-1 of picture n. */
static void scatter_row(const Node *node, const Run *run, int64_t n, int64_t row, int64_t begin, int64_t end) {
    const SampleAttributes *a = node->attributes;
    const Tensor *grid = node->input[0], *dy = node->input[1], *out = node->output[0];
    const int64_t channels = out->size[1];
    real *dx = run_real(run, out) + n * out->stride[0];
    for (int64_t column = 0; column < grid->size[3]; column++) {
        Place place[2];
        grid_places(a, grid, run_real(run, grid),
                    n * grid->stride[0] + row * grid->stride[2] + column * grid->stride[3], a->h, a->w, place);
        const real *g = run_real(run, dy) + n * dy->stride[0] + row * dy->stride[2] + column * dy->stride[3];
        for (int corner = 0; corner < 4; corner++) {
            const int64_t i = place[1].from + corner / 2, j = place[0].from + corner % 2;
            const double weight =
                (corner / 2 ? place[1].part : 1 - place[1].part) * (corner % 2 ? place[0].part : 1 - place[0].part);
            if (i < begin || i >= end || j < 0 || j >= a->w) continue;
            real *to = dx + i * out->stride[2] + j * out->stride[3];
            for (int64_t c = 0; c < channels; c++) to[c] += (real)weight * g[c * dy->stride[1]];
        }
    }
}

static void grid_sample_backward_picture_define(const Node *node, const Run *run) {
    const Tensor *grid = node->input[0], *out = node->output[0];
    memset(run_real(run, out), 0, (size_t)tensor_count(out) * sizeof(real));
    for (int64_t n = 0; n < grid->size[0]; n++)
        for (int64_t row = 0; row < grid->size[2]; row++) scatter_row(node, run, n, row, 0, out->size[2]);
}

/* ---- warp_rows ---- */

static Place warp_place(const SampleAttributes *a, int64_t column, double disparity, int64_t w) {
    return place_of((double)column - disparity, w, a->border);
}

static void warp_row(const Node *node, const Run *run, int64_t n, int64_t row) {
    const SampleAttributes *a = node->attributes;
    const Tensor *in = node->input[0], *td = node->input[1], *out = node->output[0], *mask = node->output[1];
    const int64_t w = in->size[3], channels = in->size[1];
    const real *x = run_real(run, in) + n * in->stride[0] + row * in->stride[2];
    const real *d = run_real(run, td) + n * td->stride[0] + row * td->stride[2];
    real *y = run_real(run, out) + n * out->stride[0] + row * out->stride[2];
    real *inside = run_real(run, mask) + n * mask->stride[0] + row * mask->stride[2];
    for (int64_t column = 0; column < w; column++, y += channels) {
        const double disparity = d[column * td->stride[3]], position = (double)column - disparity;
        const Place p = warp_place(a, column, disparity, w);
        const bool left = p.from >= 0 && p.from < w, right = p.from + 1 >= 0 && p.from + 1 < w;
        const real *from = x + p.from * in->stride[3];
        const real weight[2] = {left ? (real)(1 - p.part) : 0, right ? (real)p.part : 0};
        for (int64_t c = 0; c < channels; c++)
            y[c] = (left ? weight[0] * from[c] : 0) + (right ? weight[1] * from[in->stride[3] + c] : 0);
        inside[column] = position > 0 && position < (double)(w - 1);
    }
}

static void warp_rows_define(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    for (int64_t row = 0; row < out->size[0] * out->size[2]; row++)
        warp_row(node, run, row / out->size[2], row % out->size[2]);
}

/* d(disparity): inputs picture, disparity, dy. */
static void warp_disparity_row(const Node *node, const Run *run, int64_t n, int64_t row) {
    const SampleAttributes *a = node->attributes;
    const Tensor *in = node->input[0], *td = node->input[1], *dy = node->input[2], *out = node->output[0];
    const int64_t w = in->size[3], channels = in->size[1];
    const real *x = run_real(run, in) + n * in->stride[0] + row * in->stride[2];
    const real *d = run_real(run, td) + n * td->stride[0] + row * td->stride[2];
    const real *g = run_real(run, dy) + n * dy->stride[0] + row * dy->stride[2];
    real *to = run_real(run, out) + n * out->stride[0] + row * out->stride[2];
    for (int64_t column = 0; column < w; column++) {
        const Place p = warp_place(a, column, d[column * td->stride[3]], w);
        double sum = 0;
        for (int64_t c = 0; c < channels && p.slope > 0; c++)
            sum += (double)g[column * dy->stride[3] + c * dy->stride[1]] *
                   (entry(x + c * in->stride[1], in->stride[3], p.from + 1, w) -
                    entry(x + c * in->stride[1], in->stride[3], p.from, w));
        to[column] = (real)-sum;
    }
}

static void warp_rows_backward_disparity_define(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    for (int64_t row = 0; row < out->size[0] * out->size[2]; row++)
        warp_disparity_row(node, run, row / out->size[2], row % out->size[2]);
}

/* d(picture): inputs disparity, dy. */
static void warp_picture_row(const Node *node, const Run *run, int64_t n, int64_t row) {
    const SampleAttributes *a = node->attributes;
    const Tensor *td = node->input[0], *dy = node->input[1], *out = node->output[0];
    const int64_t w = out->size[3], channels = out->size[1];
    const real *d = run_real(run, td) + n * td->stride[0] + row * td->stride[2];
    const real *g = run_real(run, dy) + n * dy->stride[0] + row * dy->stride[2];
    real *to = run_real(run, out) + n * out->stride[0] + row * out->stride[2];
    memset(to, 0, (size_t)(w * channels) * sizeof *to);
    for (int64_t column = 0; column < w; column++) {
        const Place p = warp_place(a, column, d[column * td->stride[3]], w);
        for (int side = 0; side < 2; side++) {
            const int64_t j = p.from + side;
            const real weight = (real)(side ? p.part : 1 - p.part);
            if (j < 0 || j >= w) continue;
            for (int64_t c = 0; c < channels; c++)
                to[j * channels + c] += weight * g[column * dy->stride[3] + c * dy->stride[1]];
        }
    }
}

static void warp_rows_backward_picture_define(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    for (int64_t row = 0; row < out->size[0] * out->size[2]; row++)
        warp_picture_row(node, run, row / out->size[2], row % out->size[2]);
}

#ifndef PANUM_F64
/* ---- the fast versions: the same rows, by tiles ---- */

typedef void (*RowFunction)(const Node *node, const Run *run, int64_t n, int64_t row);

typedef struct {
    const Node *node;
    const Run *run;
    RowFunction function;
    int64_t rows; /* in a tile */
} Job;

static void run_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const Tensor *out = job->node->output[0];
    const int64_t h = out->size[2], rows = out->size[0] * h;
    for (int64_t row = tile * job->rows; row < rows && row < (tile + 1) * job->rows; row++)
        job->function(job->node, job->run, row / h, row % h);
}

static void run_rows(const Node *node, const Run *run, RowFunction function) {
    const Tensor *out = node->output[0];
    Job job = {node, run, function, 1 + 8192 / out->size[3]};
    pool_run(run->pool, (out->size[0] * out->size[2] + job.rows - 1) / job.rows, run_tile, &job);
}
static void grid_sample_run(const Node *node, const Run *run) {
    run_rows(node, run, sample_row);
}
static void grid_sample_backward_grid_run(const Node *node, const Run *run) {
    run_rows(node, run, grid_row);
}
static void warp_rows_run(const Node *node, const Run *run) {
    run_rows(node, run, warp_row);
}
static void warp_rows_backward_disparity_run(const Node *node, const Run *run) {
    run_rows(node, run, warp_disparity_row);
}
static void warp_rows_backward_picture_run(const Node *node, const Run *run) {
    run_rows(node, run, warp_picture_row);
}

/* The rows of the picture that a row of the grid reaches. */
typedef struct {
    int64_t first, last;
} Reach;

static size_t picture_scratch_shared(const Node *node, bool exact) {
    (void)exact;
    return (size_t)(node->input[0]->size[0] * node->input[0]->size[2]) * sizeof(Reach);
}

static void run_reach(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const SampleAttributes *a = job->node->attributes;
    const Tensor *grid = job->node->input[0];
    const real *g = run_real(job->run, grid);
    const int64_t h = grid->size[2], rows = grid->size[0] * h;
    for (int64_t row = tile * job->rows; row < rows && row < (tile + 1) * job->rows; row++) {
        Reach reach = {a->h, -1};
        for (int64_t column = 0; column < grid->size[3]; column++) {
            Place place[2];
            grid_places(a, grid, g, row / h * grid->stride[0] + row % h * grid->stride[2] + column * grid->stride[3],
                        a->h, a->w, place);
            if (place[1].from < reach.first) reach.first = place[1].from;
            if (place[1].from + 1 > reach.last) reach.last = place[1].from + 1;
        }
        ((Reach *)run_shared(job->run))[row] = reach;
    }
}

static void run_band(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const Tensor *grid = job->node->input[0], *out = job->node->output[0];
    const Reach *reach = run_shared(job->run);
    const int64_t h = out->size[2], bands = (h + job->rows - 1) / job->rows, n = tile / bands;
    const int64_t begin = tile % bands * job->rows, end = begin + job->rows < h ? begin + job->rows : h;
    memset(run_real(job->run, out) + n * out->stride[0] + begin * out->stride[2], 0,
           (size_t)((end - begin) * out->stride[2]) * sizeof(float));
    for (int64_t row = 0; row < grid->size[2]; row++) {
        const Reach *r = reach + n * grid->size[2] + row;
        if (r->first < end && r->last >= begin) scatter_row(job->node, job->run, n, row, begin, end);
    }
}

static void grid_sample_backward_picture_run(const Node *node, const Run *run) {
    const Tensor *grid = node->input[0], *out = node->output[0];
    Job job = {node, run, NULL, 1 + 8192 / grid->size[3]};
    pool_run(run->pool, (grid->size[0] * grid->size[2] + job.rows - 1) / job.rows, run_reach, &job);
    job.rows = 8 + 8192 / out->size[3]; /* neighbouring bands go through some rows of the grid twice */
    pool_run(run->pool, out->size[0] * ((out->size[2] + job.rows - 1) / job.rows), run_band, &job);
}
#endif

static void sample_print(const Node *node, FILE *to) {
    const SampleAttributes *a = node->attributes;
    fprintf(to, "%s%s", a->border ? " border" : " zeros", a->align_corners ? " align_corners" : "");
}

static void sample_cost(const Node *node, Cost *cost) {
    cost->bytes = 0;
    for (int i = 0; i < node->inputs; i++) cost->bytes += 4 * (double)tensor_count(node->input[i]);
    for (int i = 0; i < node->outputs; i++) cost->bytes += 4 * (double)tensor_count(node->output[i]);
    const Tensor *like = node->input[node->inputs - 1], *out = node->output[0];
    const double channels = (double)(node->inputs == 3 ? node->input[0] : out)->size[1]; /* of the picture */
    const double places = (double)(like->size[0] * like->size[2] * like->size[3]);
    cost->flops = places * channels * 8; /* four multiply-adds; half of that along rows, not told apart */
}

static const Op grid_sample_backward_picture_op = {
    .name = "grid_sample_backward_picture",
    .kind = OP_HEAVY,
    .define = grid_sample_backward_picture_define,
#ifndef PANUM_F64
    .run = grid_sample_backward_picture_run,
    .scratch_shared = picture_scratch_shared,
#endif
    .cost = sample_cost,
    .print = sample_print,
};
static const Op grid_sample_backward_grid_op = {
    .name = "grid_sample_backward_grid",
    .kind = OP_HEAVY,
    .define = grid_sample_backward_grid_define,
#ifndef PANUM_F64
    .run = grid_sample_backward_grid_run,
#endif
    .cost = sample_cost,
    .print = sample_print,
};
static const Op warp_rows_backward_picture_op = {
    .name = "warp_rows_backward_picture",
    .kind = OP_HEAVY,
    .define = warp_rows_backward_picture_define,
#ifndef PANUM_F64
    .run = warp_rows_backward_picture_run,
#endif
    .cost = sample_cost,
    .print = sample_print,
};
static const Op warp_rows_backward_disparity_op = {
    .name = "warp_rows_backward_disparity",
    .kind = OP_HEAVY,
    .define = warp_rows_backward_disparity_define,
#ifndef PANUM_F64
    .run = warp_rows_backward_disparity_run,
#endif
    .cost = sample_cost,
    .print = sample_print,
};

static void sample_gradient(const Node *node, const Op *by_picture, const Op *by_place, Tensor *dy, Tensor **d_input) {
    if (!dy) return;
    Tensor *x = node->input[0], *place = node->input[1];
    SampleAttributes attributes = *(const SampleAttributes *)node->attributes;
    Node *back = program_record(node->program, by_picture, 2, (Tensor *[]){place, dy}, &attributes, sizeof attributes,
                                node->file, node->line);
    d_input[0] = node_output(back, DTYPE_F32, 4, x->size, LAYOUT_AUTO);
    back = program_record(node->program, by_place, 3, (Tensor *[]){x, place, dy}, &attributes, sizeof attributes,
                          node->file, node->line);
    d_input[1] = node_output(back, DTYPE_F32, 4, place->size, LAYOUT_AUTO);
}
static void grid_sample_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    sample_gradient(node, &grid_sample_backward_picture_op, &grid_sample_backward_grid_op, d_output[0], d_input);
}
static void warp_rows_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    sample_gradient(node, &warp_rows_backward_picture_op, &warp_rows_backward_disparity_op, d_output[0], d_input);
}

static const Op grid_sample_op = {
    .name = "grid_sample",
    .kind = OP_HEAVY,
    .define = grid_sample_define,
#ifndef PANUM_F64
    .run = grid_sample_run,
#endif
    .cost = sample_cost,
    .print = sample_print,
    .gradient = grid_sample_gradient,
};
static const Op warp_rows_op = {
    .name = "warp_rows",
    .kind = OP_HEAVY,
    .define = warp_rows_define,
#ifndef PANUM_F64
    .run = warp_rows_run,
#endif
    .cost = sample_cost,
    .print = sample_print,
    .gradient = warp_rows_gradient,
};

static void check_picture(const Tensor *x, const char *name, T_AT) {
    SHAPE_RULE(x->program, file, line, x->rank == 4 && x->dtype == DTYPE_F32 && (x->size[1] == 1 || x->stride[1] == 1),
               "%s: wants a map, its channels side by side", name);
}

Tensor *t_grid_sample_at(Tensor *x, Tensor *grid, GridSampleOptions options, T_AT) {
    check_picture(x, "grid_sample", file, line);
    SHAPE_RULE(x->program, file, line,
               grid->rank == 4 && grid->dtype == DTYPE_F32 && grid->size[0] == x->size[0] && grid->size[1] == 2,
               "grid_sample: wants positions (N,2,H,W) for the same N pictures");
    SampleAttributes attributes = {options.border, options.align_corners, x->size[2], x->size[3]};
    Node *node = program_record(x->program, &grid_sample_op, 2, (Tensor *[]){x, grid}, &attributes, sizeof attributes,
                                file, line);
    return node_output(node, DTYPE_F32, 4, (int64_t[]){x->size[0], x->size[1], grid->size[2], grid->size[3]},
                       LAYOUT_AUTO);
}

WarpedRows t_warp_rows_at(Tensor *x, Tensor *disparity, WarpOptions options, T_AT) {
    check_picture(x, "warp_rows", file, line);
    const int64_t size[4] = {x->size[0], 1, x->size[2], x->size[3]};
    SHAPE_RULE(x->program, file, line,
               disparity->rank == 4 && disparity->dtype == DTYPE_F32 && memcmp(disparity->size, size, sizeof size) == 0,
               "warp_rows: wants a disparity for each pixel of the picture");
    SampleAttributes attributes = {.border = options.border, .h = x->size[2], .w = x->size[3]};
    Node *node = program_record(x->program, &warp_rows_op, 2, (Tensor *[]){x, disparity}, &attributes,
                                sizeof attributes, file, line);
    WarpedRows result;
    result.picture = node_output(node, DTYPE_F32, 4, x->size, LAYOUT_AUTO);
    result.inside = node_output(node, DTYPE_F32, 4, size, LAYOUT_AUTO);
    return result;
}
