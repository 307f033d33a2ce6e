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

static const Op avg_pool2_op = {
    .name = "avg_pool2",
    .kind = OP_HEAVY,
    .define = avg_pool2_define,
#ifndef PANUM_F64
    .run = avg_pool2_run,
#endif
    .cost = pool_cost,
};

static const Op adaptive_avg_pool_op = {
    .name = "adaptive_avg_pool",
    .kind = OP_HEAVY,
    .define = adaptive_avg_pool_define,
    .cost = pool_cost,
};

static void resize_cost(const Node *node, Cost *cost) {
    double in = (double)tensor_count(node->input[0]), out = (double)tensor_count(node->output[0]);
    cost->flops = 6 * out; /* separable: two multiply-adds along the row and one down the column, as lerps */
    cost->bytes = 4 * (in + out);
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
};

static const Op upsample2_nearest_op = {
    .name = "upsample2_nearest",
    .kind = OP_HEAVY,
    .define = upsample2_nearest_define,
#ifndef PANUM_F64
    .run = upsample2_nearest_run,
#endif
    .cost = resize_cost,
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
