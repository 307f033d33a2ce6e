/* tensor/ops/transport.c - optimal transport over the rows of a correlation volume, and the soft arg-max on its plan
 * (S2M2, Min et al. 2025; Sinkhorn and Knopp 1967, Cuturi 2013; the dustbins are SuperGlue's).
 *
 * For one image row with scores S (w x w, i left column, j right column; -10000 where masked), extended by a dustbin
 * row and column of zeros, and log marginals m_k = ln(1/(2w)) for k < w, ln(1/2) for the dustbin:
 *   u = 0; repeat: v_j = m_j - ln sum_i exp(S_ij + u_i); u_i = m_i - ln sum_j exp(S_ij + v_j)
 *   p_ij = 2w exp(S_ij + u_i + v_j), exactly 0 where masked; rows of p sum to at most 1
 *   k_i = arg max_j p_ij, the first of equals; confidence = sum_{|e|<=2} p[i,k+e] (zero outside)
 *   disparity = i - (sum_{|e|<=2} (k+e) p[i,k+e] + 1e-4) / (confidence + 1e-4); occlusion = sum_j p_ij
 * The sums inside the logarithms are taken after the largest term is brought to 1, so they are never below 1.
 * Gradient: transport_gradient.c. */
#include "tensor/ops/transport_kernels.h"
#include "tensor/ops/transport_node.h"

static void transport_define(const Node *node, const Run *run) {
    const TransportOptions *options = node->attributes;
    const Tensor *cv = node->input[0], *out = node->output[0];
    const real *c = run_real(run, cv);
    real *disparity = run_real(run, out), *confidence = run_real(run, node->output[1]),
         *occlusion = run_real(run, node->output[2]);
    const int64_t h = out->size[2], w = out->size[3], stride = cv->stride[cv->rank - 2];
    const bool positive = options->positive;
    double u[TRANSPORT_WIDTH_MAX + 1], v[TRANSPORT_WIDTH_MAX + 1];
    for (int64_t row = 0; row < out->size[0] * h; row++) {
        const real *s = c + volume_line(cv, row / h, row % h);
        transport_potentials(&(TransportScores){s, w, stride, positive}, options->iterations, NULL, v, u);
        for (int64_t i = 0; i < w; i++) {
            const double shift = u[i] + log(2 * (double)w);
            int64_t k = 0, end = positive ? i + 1 : w;
            double best = -1, total = 0, near = 0, moment = 0;
            for (int64_t j = 0; j < end; j++) {
                double p = exp(s[i * stride + j] + shift + v[j]);
                total += p;
                if (p > best) best = p, k = j;
            }
            for (int64_t j = k - ARGMAX_RADIUS; j <= k + ARGMAX_RADIUS; j++) {
                if (j < 0 || j >= end) continue;
                double p = exp(s[i * stride + j] + shift + v[j]);
                near += p;
                moment += (double)j * p;
            }
            disparity[row * w + i] = (real)((double)i - (moment + ARGMAX_EPS) / (near + ARGMAX_EPS));
            confidence[row * w + i] = (real)near;
            occlusion[row * w + i] = (real)total;
        }
    }
}

#ifndef PANUM_F64
/* ---- the fast version: image rows are independent; a tile is a few of them ---- */

typedef struct {
    const Node *node;
    const Run *run;
    const TransportKernels *kernels;
    int64_t rows; /* of the picture in a tile */
} Job;

/* About 100 microseconds; a function of the width only. */
static int64_t rows_in_tile(int64_t w) {
    return 1 + 120000 / (w * w);
}

static size_t transport_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    return (size_t)transport_work_floats(node->output[0]->size[3]) * sizeof(float);
}

static void run_rows(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const TransportOptions *options = job->node->attributes;
    const Tensor *cv = job->node->input[0], *out = job->node->output[0];
    const int64_t h = out->size[2], w = out->size[3], rows = out->size[0] * h, last = (tile + 1) * job->rows;
    const TransportRow part = {w, cv->stride[cv->rank - 2], options->positive, options->iterations};
    float *result[3];
    for (int k = 0; k < 3; k++) result[k] = run_real(job->run, job->node->output[k]);
    for (int64_t row = tile * job->rows; row < (last < rows ? last : rows); row++)
        job->kernels->row(&part, run_real(job->run, cv) + volume_line(cv, row / h, row % h),
                          run_worker(job->run, worker), result[0] + row * w, result[1] + row * w, result[2] + row * w);
}

static void transport_run(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    Job job = {node, run, transport_kernels(cpu_level()), rows_in_tile(out->size[3])};
    pool_run(run->pool, (out->size[0] * out->size[2] + job.rows - 1) / job.rows, run_rows, &job);
}
#endif

static void transport_cost(const Node *node, Cost *cost) {
    const TransportOptions *options = node->attributes;
    double elements = (double)tensor_count(node->input[0]);
    /* One exponential (counted as one), two additions and a product for each element, iteration and side. */
    cost->flops = elements * 4 * 2 * options->iterations;
    cost->bytes = 4 * (elements + 3 * (double)tensor_count(node->output[0]));
}

static void transport_print(const Node *node, FILE *to) {
    const TransportOptions *options = node->attributes;
    fprintf(to, " iterations=%d%s", options->iterations, options->positive ? " positive" : "");
}

static const Op transport_op = {
    .name = "transport",
    .kind = OP_HEAVY,
    .define = transport_define,
#ifndef PANUM_F64
    .run = transport_run,
    .scratch_worker = transport_scratch_worker,
#endif
    .cost = transport_cost,
    .print = transport_print,
    .gradient = transport_gradient,
};

Transport t_transport_at(Tensor *cv, TransportOptions options, T_AT) {
    if (!options.iterations) options.iterations = 3;
    int last = cv->rank - 1;
    SHAPE_RULE(cv->program, file, line,
               (cv->rank == 3 || cv->rank == 4) && cv->dtype == DTYPE_F32 && cv->stride[last] == 1 &&
                   cv->size[last] == cv->size[last - 1] && options.iterations > 0 &&
                   options.iterations <= TRANSPORT_ITERATIONS_MAX,
               "transport: wants a row-major volume (N,h,w,w), or (h,w,w) for one pair, and at most %d iterations",
               TRANSPORT_ITERATIONS_MAX);
    SHAPE_RULE(cv->program, file, line, cv->size[last] <= TRANSPORT_WIDTH_MAX, "transport: more than %d columns",
               TRANSPORT_WIDTH_MAX);
    Node *node = program_record(cv->program, &transport_op, 1, &cv, &options, sizeof options, file, line);
    int64_t size[4] = {cv->rank == 4 ? cv->size[0] : 1, 1, cv->size[last - 2], cv->size[last]};
    Transport result;
    result.disparity = node_output(node, DTYPE_F32, 4, size, LAYOUT_AUTO);
    result.confidence = node_output(node, DTYPE_F32, 4, size, LAYOUT_AUTO);
    result.occlusion = node_output(node, DTYPE_F32, 4, size, LAYOUT_AUTO);
    return result;
}
