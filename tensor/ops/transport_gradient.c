/* tensor/ops/transport_gradient.c - the gradient of transport.c, and transport_mass: how much of the plan lies near
 * given disparities, which is what probabilistic mode concentration (S2M2, Min et al. 2025) trains.
 *
 * transport_mass: mass_i = sum of p_ij over the union of the columns |j - c| <= radius, c = i - round(D/factor) for the
 * disparities D (finite, valid > 0) of the factor x factor pixels under (y,i); p as in transport.c, 0 where masked.
 *
 * Gradient. What a result takes of the plan is q_ij = d(loss)/d(p_ij); arg max, mask and windows are constants (as in
 * the reference's autograd, whose index and mask carry none). With k, N = confidence and M of transport.c:
 *   q_ij = dO_i + [|j - k_i| <= 2] (dC_i - dD_i (j - (M_i + e)/(N_i + e))/(N_i + e)), e = 1e-4; or dmass_i in the
 * windows The iterations are unrolled. u^0 = 0; v^t_j = m_j - ln sum_i exp(S_ij + u^(t-1)_i); u^t_i = m_i - ln sum_j
 * exp(S_ij + v^t_j), t = 1..T. Each logarithm's derivative is a softmax: C^t over the rows i of a column, R^t over the
 * columns j of a row, dustbins included (there R^T_ij = p_ij for i, j < w). With s_i = sum_j p_ij q_ij: dS_ij = p_ij
 * (q_ij - s_i);  dv^T_j = sum_i p_ij (q_ij - s_i), of the dustbin -sum_i s_i R^T_iw t = T..1:  dS_ij -= dv^t_j C^t_ij;
 * du^(t-1)_i = -sum_j dv^t_j C^t_ij and if t > 1:  dS_ij -= du^(t-1)_i R^(t-1)_ij;  dv^(t-1)_j = -sum_i du^(t-1)_i
 * R^(t-1)_ij
 *
 * The fast version (transport_kernels.h) has C^t_ij = a^(t-1)_i E_ij b^t_j and R^t_ij = a^t_i E_ij b^t_j, so that
 *   dS_ij = E_ij (a^T_i b^T_j (q_ij - s_i) - sum_t a^(t-1)_i x^t_j - sum_(t<T) y^t_i b^t_j), x = b dv, y = a du
 * with vectors only kept of each iteration: nothing of size w x w but E, which stays in L2. Should compute: the forward
 * pass once more, T passes for the vectors, one for dS: about 8 T + 20 flops an element. Should move: the scores twice
 * (the second time from L2), dS once. */
#include "tensor/ops/transport_kernels.h"
#include "tensor/ops/transport_node.h"
#include <string.h>

/* Columns round which mass is counted: factor^2 of pixel (row, i), TRANSPORT_NONE where there is no disparity. */
static void candidates_of(const TransportBackward *a, const Tensor *disparity, const real *d, const Tensor *valid,
                          const real *v, int64_t n, int64_t row, int64_t i, int32_t *candidate) {
    const int64_t f = a->factor;
    for (int64_t k = 0; k < f * f; k++) {
        const int64_t y = row * f + k / f, x = i * f + k % f;
        const double own = d[n * disparity->stride[0] + y * disparity->stride[2] + x * disparity->stride[3]];
        const double column = (double)i - floor(own / (double)f + 0.5);
        candidate[k] = TRANSPORT_NONE;
        if (!(v[n * valid->stride[0] + y * valid->stride[2] + x * valid->stride[3]] > 0)) continue;
        /* outside by more than a window: nothing; not finite: nothing */
        if (column >= -(double)a->radius && column < (double)(a->width + a->radius)) candidate[k] = (int32_t)column;
    }
}

/* ---- definitions ---- */

/* In the windows of the candidates? */
static bool is_near(const int32_t *candidate, int count, int radius, int64_t j) {
    for (int k = 0; k < count; k++)
        if (candidate[k] != TRANSPORT_NONE && j >= candidate[k] - radius && j <= candidate[k] + radius) return true;
    return false;
}

static void transport_mass_define(const Node *node, const Run *run) {
    const TransportBackward *a = node->attributes;
    const Tensor *cv = node->input[0], *disparity = node->input[1], *valid = node->input[2];
    real *mass = run_real(run, node->output[0]);
    const int64_t h = a->rows, w = a->width;
    double u[TRANSPORT_WIDTH_MAX + 1], v[TRANSPORT_WIDTH_MAX + 1];
    for (int64_t row = 0; row < a->pairs * h; row++) {
        const TransportScores s = {run_real(run, cv) + volume_line(cv, row / h, row % h), w, cv->stride[cv->rank - 2],
                                   a->options.positive};
        transport_potentials(&s, a->options.iterations, NULL, v, u);
        for (int64_t i = 0; i < w; i++) {
            int32_t candidate[FACTOR_MAX * FACTOR_MAX];
            candidates_of(a, disparity, run_real(run, disparity), valid, run_real(run, valid), row / h, row % h, i,
                          candidate);
            double sum = 0;
            for (int64_t j = 0; j < (a->options.positive ? i + 1 : w); j++)
                if (is_near(candidate, a->factor * a->factor, a->radius, j))
                    sum += 2 * (double)w * exp(transport_score(&s, i, j) + u[i] + v[j]);
            mass[row * w + i] = (real)sum;
        }
    }
}

/* What results take of a row of the plan: q_j = all + (|j - k| <= 2) (near + slope (j - k)), or near in windows. */
typedef struct {
    int64_t k;
    double all, near, slope;
    int32_t candidate[FACTOR_MAX * FACTOR_MAX];
} Asked;

static Asked asked_of(const Node *node, const Run *run, const TransportScores *s, const double *u, const double *v,
                      int64_t row, int64_t i) {
    const TransportBackward *a = node->attributes;
    const int64_t h = a->rows, n = row / h, y = row % h, end = a->options.positive ? i + 1 : a->width;
    Asked asked = {.k = 0};
    double d[3] = {0};
    int next = a->mass ? 3 : 1;
    for (int result = 0; result < (a->mass ? 1 : 3); result++) {
        if (!a->mass && !a->given[result]) continue;
        const Tensor *t = node->input[next++];
        d[result] = run_real(run, t)[n * t->stride[0] + y * t->stride[2] + i * t->stride[3]];
    }
    if (a->mass) {
        candidates_of(a, node->input[1], run_real(run, node->input[1]), node->input[2], run_real(run, node->input[2]),
                      n, y, i, asked.candidate);
        asked.near = d[0];
        return asked;
    }
    double best = -1, near = 0, moment = 0;
    for (int64_t j = 0; j < end; j++) {
        const double p = exp(transport_score(s, i, j) + u[i] + v[j]);
        if (p > best) best = p, asked.k = j;
    }
    for (int64_t j = asked.k - ARGMAX_RADIUS; j <= asked.k + ARGMAX_RADIUS; j++) {
        if (j < 0 || j >= end) continue;
        const double p = 2 * (double)a->width * exp(transport_score(s, i, j) + u[i] + v[j]);
        near += p;
        moment += (double)(j - asked.k) * p;
    }
    /* j - (M + e)/(N + e) = (j - k) + (e (k - 1) - moment)/(N + e), moment taken round k */
    asked.all = d[2];
    asked.slope = -d[0] / (near + ARGMAX_EPS);
    asked.near = d[1] + asked.slope * (ARGMAX_EPS * (double)(asked.k - 1) - moment) / (near + ARGMAX_EPS);
    return asked;
}

static double asked_at(const TransportBackward *a, const Asked *asked, int64_t j) {
    if (a->mass) return is_near(asked->candidate, a->factor * a->factor, a->radius, j) ? asked->near : 0;
    const int64_t o = j - asked->k;
    return asked->all + (o >= -ARGMAX_RADIUS && o <= ARGMAX_RADIUS ? asked->near + asked->slope * (double)o : 0);
}

/* Potentials of earlier iterations are found anew each time: slow, and no memory. */
static void transport_backward_row(const Node *node, const Run *run, int64_t row) {
    const TransportBackward *a = node->attributes;
    const Tensor *cv = node->input[0];
    const int64_t h = a->rows, w = a->width;
    const TransportScores s = {run_real(run, cv) + volume_line(cv, row / h, row % h), w, cv->stride[cv->rank - 2],
                               a->options.positive};
    real *ds = run_real(run, node->output[0]) + row * w * w;
    double before[TRANSPORT_WIDTH_MAX + 1], v[TRANSPORT_WIDTH_MAX + 1], u[TRANSPORT_WIDTH_MAX + 1];
    double du[TRANSPORT_WIDTH_MAX + 1], dv[TRANSPORT_WIDTH_MAX + 1];
    transport_potentials(&s, a->options.iterations, NULL, v, u);
    for (int64_t j = 0; j <= w; j++) dv[j] = 0;
    for (int64_t i = 0; i < w; i++) {
        const Asked asked = asked_of(node, run, &s, u, v, row, i);
        const int64_t end = a->options.positive ? i + 1 : w;
        double mean = 0;
        for (int64_t j = 0; j < end; j++)
            mean += 2 * (double)w * exp(transport_score(&s, i, j) + u[i] + v[j]) * asked_at(a, &asked, j);
        for (int64_t j = 0; j < w; j++) {
            const double p = j < end ? 2 * (double)w * exp(transport_score(&s, i, j) + u[i] + v[j]) : 0;
            const double own = p * (asked_at(a, &asked, j) - mean);
            ds[i * w + j] = (real)own;
            dv[j] += own;
        }
        dv[w] -= mean * exp(u[i] + v[w] - transport_marginal(&s, i));
    }
    for (int t = a->options.iterations;; t--) {
        transport_potentials(&s, t, before, v, u);
        for (int64_t i = 0; i <= w; i++) {
            du[i] = 0;
            for (int64_t j = 0; j <= w; j++) {
                const double own =
                    dv[j] * exp(transport_score(&s, i, j) + before[i] + v[j] - transport_marginal(&s, j));
                du[i] -= own;
                if (i < w && j < w && !(a->options.positive && j > i)) ds[i * w + j] -= (real)own;
            }
        }
        if (t == 1) return;
        transport_potentials(&s, t - 1, NULL, v, u);
        for (int64_t j = 0; j <= w; j++) {
            dv[j] = 0;
            for (int64_t i = 0; i <= w; i++) {
                const double own = du[i] * exp(transport_score(&s, i, j) + u[i] + v[j] - transport_marginal(&s, i));
                dv[j] -= own;
                if (i < w && j < w && !(a->options.positive && j > i)) ds[i * w + j] -= (real)own;
            }
        }
    }
}

static void transport_backward_define(const Node *node, const Run *run) {
    const TransportBackward *a = node->attributes;
    for (int64_t row = 0; row < a->pairs * a->rows; row++) transport_backward_row(node, run, row);
}

#ifndef PANUM_F64
/* ---- the fast versions: image rows are independent; a tile is a few of them ---- */

typedef struct {
    const Node *node;
    const Run *run;
    const TransportKernels *kernels;
    int64_t rows; /* of the picture in a tile */
    bool backward;
} Job;

/* After the kernel's work: candidates of a row, or dense copies of what the three results get. */
static size_t extra_bytes(const TransportBackward *a) {
    return (size_t)a->width *
           (a->mass ? (size_t)(a->factor * a->factor) * sizeof(int32_t) + sizeof(float) : 3 * sizeof(float));
}
static size_t transport_backward_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    const TransportBackward *a = node->attributes;
    return (size_t)transport_back_floats(a->width, a->options.iterations) * sizeof(float) + extra_bytes(a);
}
static size_t transport_mass_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    const TransportBackward *a = node->attributes;
    return (size_t)transport_work_floats(a->width) * sizeof(float) + extra_bytes(a);
}

static void copy_row(const Run *run, const Tensor *t, int64_t n, int64_t y, float *to) {
    const float *from = run_real(run, t) + n * t->stride[0] + y * t->stride[2];
    for (int64_t i = 0; i < t->size[3]; i++) to[i] = from[i * t->stride[3]];
}

static void run_tile(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const Node *node = job->node;
    const TransportBackward *a = node->attributes;
    const Tensor *cv = node->input[0];
    const int64_t h = a->rows, w = a->width, rows = a->pairs * h;
    const TransportRow part = {w, cv->stride[cv->rank - 2], a->options.positive, a->options.iterations};
    float *work = run_worker(job->run, worker), *out = run_real(job->run, node->output[0]);
    float *extra = work + (job->backward ? transport_back_floats(w, part.iterations) : transport_work_floats(w));
    int32_t *candidate = (int32_t *)(void *)(extra + w);
    for (int64_t row = tile * job->rows; row < rows && row < (tile + 1) * job->rows; row++) {
        const int64_t n = row / h, y = row % h;
        const float *scores = run_real(job->run, cv) + volume_line(cv, n, y);
        TransportLoss loss = {.candidates = a->factor * a->factor, .radius = a->radius};
        if (a->mass) {
            for (int64_t i = 0; i < w; i++)
                candidates_of(a, node->input[1], run_real(job->run, node->input[1]), node->input[2],
                              run_real(job->run, node->input[2]), n, y, i, candidate + i * loss.candidates);
            loss.candidate = candidate;
            if (job->backward) copy_row(job->run, node->input[3], n, y, extra);
            loss.d_mass = extra;
        } else {
            const float **place[3] = {&loss.d_disparity, &loss.d_confidence, &loss.d_occlusion};
            for (int result = 0, next = 1; result < 3; result++) {
                if (!a->given[result]) continue;
                copy_row(job->run, node->input[next++], n, y, extra + result * w);
                *place[result] = extra + result * w;
            }
        }
        if (job->backward)
            job->kernels->backward(&part, scores, &loss, work, out + row * w * w);
        else
            job->kernels->mass(&part, scores, &loss, work, out + row * w);
    }
}

static void run_all(const Node *node, const Run *run, bool backward) {
    const TransportBackward *a = node->attributes;
    Job job = {node, run, transport_kernels(cpu_level()), 1 + 60000 / (a->width * a->width), backward};
    pool_run(run->pool, (a->pairs * a->rows + job.rows - 1) / job.rows, run_tile, &job);
}
static void transport_backward_run(const Node *node, const Run *run) {
    run_all(node, run, true);
}
static void transport_mass_run(const Node *node, const Run *run) {
    run_all(node, run, false);
}
#endif

static void transport_backward_cost(const Node *node, Cost *cost) {
    const TransportBackward *a = node->attributes;
    const double elements = (double)tensor_count(node->input[0]), T = a->options.iterations;
    /* of an element: E 4; 4 in each pass forward and back; arg max, s and dv 9; dS 4 T + 1 */
    cost->flops = elements * (4 + 4 * T + 4 * (T - 1) + 9 + 4 * T + 1);
    cost->bytes = 8 * elements;
}

static void transport_mass_cost(const Node *node, Cost *cost) {
    const TransportBackward *a = node->attributes;
    const double elements = (double)tensor_count(node->input[0]);
    cost->flops = elements * 4 * (1 + a->options.iterations);
    cost->bytes = 4 * elements;
}

static void transport_backward_print(const Node *node, FILE *to) {
    const TransportBackward *a = node->attributes;
    fprintf(to, " iterations=%d%s", a->options.iterations, a->options.positive ? " positive" : "");
    if (a->mass) fprintf(to, " radius=%d factor=%d", a->radius, a->factor);
}

static const Op transport_backward_op = {
    .name = "transport_backward",
    .kind = OP_HEAVY,
    .define = transport_backward_define,
#ifndef PANUM_F64
    .run = transport_backward_run,
    .scratch_worker = transport_backward_scratch_worker,
#endif
    .cost = transport_backward_cost,
    .print = transport_backward_print,
};

static TransportBackward shape_of(const Tensor *cv, TransportOptions options) {
    const int last = cv->rank - 1;
    return (TransportBackward){.options = options,
                               .pairs = cv->rank == 4 ? cv->size[0] : 1,
                               .rows = cv->size[last - 2],
                               .width = cv->size[last]};
}

static void record_backward(const Node *node, const TransportBackward *attributes, int inputs, Tensor *const *input,
                            Tensor **d_input) {
    const Tensor *cv = node->input[0];
    Node *back = program_record(node->program, &transport_backward_op, inputs, input, attributes, sizeof *attributes,
                                node->file, node->line);
    d_input[0] = node_output(back, DTYPE_F32, cv->rank, cv->size, LAYOUT_ROW_MAJOR);
}

void transport_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    TransportBackward attributes = shape_of(node->input[0], *(const TransportOptions *)node->attributes);
    Tensor *input[4] = {node->input[0]};
    int inputs = 1;
    for (int result = 0; result < 3; result++) {
        attributes.given[result] = d_output[result] != NULL;
        if (d_output[result]) input[inputs++] = d_output[result];
    }
    if (inputs > 1) record_backward(node, &attributes, inputs, input, d_input);
}

static void transport_mass_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    if (!d_output[0]) return;
    Tensor *input[4] = {node->input[0], node->input[1], node->input[2], d_output[0]};
    record_backward(node, node->attributes, 4, input, d_input);
}

static const Op transport_mass_op = {
    .name = "transport_mass",
    .kind = OP_HEAVY,
    .define = transport_mass_define,
#ifndef PANUM_F64
    .run = transport_mass_run,
    .scratch_worker = transport_mass_scratch_worker,
#endif
    .cost = transport_mass_cost,
    .print = transport_backward_print,
    .gradient = transport_mass_gradient,
};

Tensor *t_transport_mass_at(Tensor *cv, Tensor *disparity, Tensor *valid, TransportMassOptions options, T_AT) {
    if (!options.transport.iterations) options.transport.iterations = 3;
    if (!options.factor) options.factor = 1;
    const int last = cv->rank - 1;
    SHAPE_RULE(
        cv->program, file, line,
        (cv->rank == 3 || cv->rank == 4) && cv->dtype == DTYPE_F32 && cv->stride[last] == 1 &&
            cv->size[last] == cv->size[last - 1] && cv->size[last] <= TRANSPORT_WIDTH_MAX &&
            options.transport.iterations > 0 && options.transport.iterations <= TRANSPORT_ITERATIONS_MAX,
        "transport_mass: wants a row-major volume (N,h,w,w), or (h,w,w) for one pair, of at most %d columns, and "
        "at most %d iterations",
        TRANSPORT_WIDTH_MAX, TRANSPORT_ITERATIONS_MAX);
    TransportBackward attributes = shape_of(cv, options.transport);
    attributes.mass = true;
    attributes.radius = options.radius;
    attributes.factor = options.factor;
    SHAPE_RULE(cv->program, file, line,
               options.factor > 0 && options.factor <= FACTOR_MAX && options.radius >= 0 && options.radius < 1 << 20,
               "transport_mass: a factor of %d and a radius of %d; at most %d, and none below 0", options.factor,
               options.radius, FACTOR_MAX);
    const int64_t full[4] = {attributes.pairs, 1, attributes.rows * options.factor, attributes.width * options.factor};
    SHAPE_RULE(cv->program, file, line,
               disparity->rank == 4 && valid->rank == 4 && disparity->dtype == DTYPE_F32 && valid->dtype == DTYPE_F32 &&
                   memcmp(disparity->size, full, sizeof full) == 0 && memcmp(valid->size, full, sizeof full) == 0,
               "transport_mass: wants a disparity and its validity for each of %lld x %lld pixels", (long long)full[2],
               (long long)full[3]);
    Node *node = program_record(cv->program, &transport_mass_op, 3, (Tensor *[]){cv, disparity, valid}, &attributes,
                                sizeof attributes, file, line);
    return node_output(node, DTYPE_F32, 4, (int64_t[]){attributes.pairs, 1, attributes.rows, attributes.width},
                       LAYOUT_AUTO);
}
