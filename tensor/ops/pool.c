/* tensor/ops/pool.c - means of rectangles of a map.
 *
 * avg_pool2: y(Y,X) = mean of x(2Y..2Y+1, 2X..2X+1); an odd last row or column is dropped.
 * adaptive_avg_pool: row i of h takes the rows floor(i H/h) .. ceil((i+1) H/h) - 1, likewise columns (PyTorch); cells
 * may overlap. Gradient of both: each input gets dy / cell size of every cell it is in. */
#include "tensor/op.h"
#include "tensor/ops/map_kernels.h"
#include "tensor/ops/ops.h"

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

#ifndef PANUM_F64
typedef struct {
    const Node *node;
    const Run *run;
    const MapKernels *kernels;
    int64_t tile; /* rows of the result */
} Job;

static void run_tile(void *context, int64_t tile, int worker) {
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

static void avg_pool2_run(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    Job job = {node, run, map_kernels(cpu_level()), 1 + (1 << 14) / (out->size[1] * out->size[3])};
    pool_run(run->pool, (out->size[0] * out->size[2] + job.tile - 1) / job.tile, run_tile, &job);
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

static Tensor *record_pool(const Op *op, Tensor *x, int64_t h, int64_t w, T_AT) {
    SHAPE_RULE(x->program, file, line, x->rank == 4 && x->dtype == DTYPE_F32 && (x->size[1] == 1 || x->stride[1] == 1),
               "%s: wants a map, its channels side by side", op->name);
    SHAPE_RULE(x->program, file, line, h > 0 && w > 0, "%s: a result of %lld rows and %lld columns is empty", op->name,
               (long long)h, (long long)w);
    Node *node = program_record(x->program, op, 1, &x, NULL, 0, file, line);
    return node_output(node, DTYPE_F32, 4, (int64_t[]){x->size[0], x->size[1], h, w}, LAYOUT_AUTO);
}

Tensor *t_avg_pool2_at(Tensor *x, T_AT) {
    return record_pool(&avg_pool2_op, x, x->size[2] / 2, x->size[3] / 2, file, line);
}

Tensor *t_adaptive_avg_pool_at(Tensor *x, int64_t h, int64_t w, T_AT) {
    return record_pool(&adaptive_avg_pool_op, x, h, w, file, line);
}
