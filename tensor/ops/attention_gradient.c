/* tensor/ops/attention_gradient.c - the gradient of attention.c, with and without the relative position term.
 *
 * Per head, with A, P(i,j) and Wpe as in attention.c and do the gradient of its result:
 *   dA_ij = do_i . v_j + (Wpe^T do_i) . P(i,j)       (the second term with the relative term only)
 *   D_i = sum_j A_ij dA_ij;  dS_ij = A_ij (dA_ij - D_i)
 *   dq_i = sum_j dS_ij k_j / sqrt e;  dk_j = sum_i dS_ij q_i / sqrt e;  dv_j = sum_i A_ij do_i
 *   dWpe = sum over batches, heads and i of do_i (sum_j A_ij P(i,j))^T;  dbpe = sum of do_i
 * D_i is taken from A and dA, so neither the result nor the maxima and sums of forward are kept (Dao et al. 2022 keep
 * both to save the sum; here it is one multiply-add an element beside ten).
 *
 * The fast version: a tile is some (batch, head) pairs; every one owns its columns of dq, dk and dv, of the other
 * half's batch when halves are swapped. Of Wpe and bpe each pair leaves its part in shared scratch, added up in the
 * order of pairs. One head alone is not divided: few heads of very long sequences keep few threads busy. */
#include "tensor/ops/attention_kernels.h"
#include "tensor/ops/attention_node.h"
#include <math.h>
#include <string.h>

/* Inputs q, k, v, do, and with the relative term Wpe; outputs dq, dk, dv, and dWpe, dbpe. */
enum { INPUT_Q, INPUT_K, INPUT_V, INPUT_D_OUT, INPUT_WEIGHT };

static double dot(const real *a, const real *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* P(i,j) of the relative term. */
static void position_of(const AttentionAttributes *a, int64_t i, int64_t j, double position[PE_WIDTH]) {
    const real *x = a->table_x + (i % a->w - j % a->w + a->w - 1) * PE_HALF;
    const real *y = a->table_y + (i / a->w - j / a->w + a->h - 1) * PE_HALF;
    for (int c = 0; c < PE_HALF; c++) position[c] = 0.5 * x[c], position[PE_HALF + c] = 0.5 * y[c];
}
/* g . P(i,j); 0 without the term. */
static double position_dot(const AttentionAttributes *a, const double *g, int64_t i, int64_t j) {
    double position[PE_WIDTH], sum = 0;
    if (!a->h) return 0;
    position_of(a, i, j, position);
    for (int c = 0; c < PE_WIDTH; c++) sum += g[c] * position[c];
    return sum;
}

static void attention_backward_define(const Node *node, const Run *run) {
    const AttentionAttributes *a = node->attributes;
    const Tensor *tq = node->input[INPUT_Q], *tk = node->input[INPUT_K], *tv = node->input[INPUT_V],
                 *td = node->input[INPUT_D_OUT];
    const real *weight = a->h ? run_real(run, node->input[INPUT_WEIGHT]) : NULL;
    real *to[5];
    for (int n = 0; n < node->outputs; n++) {
        to[n] = run_real(run, node->output[n]);
        memset(to[n], 0, (size_t)tensor_count(node->output[n]) * sizeof(real));
    }
    const int64_t batches = tq->size[0], queries = tq->size[1], keys = tk->size[1], channels = tq->size[2];
    const int64_t width = channels / a->heads;
    const double scale = 1 / sqrt((double)width);
    for (int64_t b = 0; b < batches; b++)
        for (int64_t head = 0; head < a->heads; head++) {
            const int64_t other = other_batch(a, b, batches);
            const real *k = run_real(run, tk) + other * tk->stride[0] + head * width;
            const real *v = run_real(run, tv) + other * tv->stride[0] + head * width;
            real *dk = to[1] + other * keys * channels + head * width, *dv = to[2] + (dk - to[1]);
            for (int64_t i = 0; i < queries; i++) {
                const real *q = run_real(run, tq) + b * tq->stride[0] + i * tq->stride[1] + head * width;
                const real *d_out = run_real(run, td) + b * td->stride[0] + i * td->stride[1] + head * width;
                real *dq = to[0] + (b * queries + i) * channels + head * width;
                double largest = -INFINITY, sum = 0, mean = 0, g[PE_WIDTH] = {0}, here[PE_WIDTH],
                       position[PE_WIDTH] = {0};
                for (int64_t c = 0; a->h && c < width; c++)
                    for (int n = 0; n < PE_WIDTH; n++) g[n] += (double)d_out[c] * weight[c * PE_WIDTH + n];
                for (int64_t j = 0; j < keys; j++)
                    largest = fmax(largest, scale * dot(q, k + j * tk->stride[1], width));
                for (int64_t j = 0; j < keys; j++) {
                    const double p = exp(scale * dot(q, k + j * tk->stride[1], width) - largest);
                    sum += p;
                    mean += p * (dot(d_out, v + j * tv->stride[1], width) + position_dot(a, g, i, j));
                }
                mean /= sum;
                for (int64_t j = 0; j < keys; j++) {
                    const real *key = k + j * tk->stride[1];
                    const double p = exp(scale * dot(q, key, width) - largest) / sum;
                    const double da = dot(d_out, v + j * tv->stride[1], width) + position_dot(a, g, i, j);
                    const double ds = p * (da - mean) * scale;
                    for (int64_t c = 0; c < width; c++) {
                        dq[c] += (real)(ds * key[c]);
                        dk[j * channels + c] += (real)(ds * q[c]);
                        dv[j * channels + c] += (real)(p * d_out[c]);
                    }
                    if (!a->h) continue;
                    position_of(a, i, j, here);
                    for (int n = 0; n < PE_WIDTH; n++) position[n] += p * here[n];
                }
                for (int64_t c = 0; a->h && c < width; c++)
                    for (int n = 0; n < PE_WIDTH; n++) to[3][c * PE_WIDTH + n] += (real)(position[n] * d_out[c]);
                for (int64_t c = 0; a->h && c < width; c++) to[4][c] += d_out[c];
            }
        }
}

#ifndef PANUM_F64
typedef struct {
    const Node *node;
    const Run *run;
    const AttentionKernels *kernels;
    int64_t pairs, group; /* (batch, head), and how many in a tile */
    int64_t width;
} Job;

/* About 200 microseconds of one core. */
#define TILE_FLOPS 2e7

static int64_t head_width(const Node *node) {
    return node->input[INPUT_Q]->size[2] / ((const AttentionAttributes *)node->attributes)->heads;
}

static size_t attention_backward_scratch_shared(const Node *node, bool exact) {
    (void)exact;
    const AttentionAttributes *a = node->attributes;
    if (!a->h) return 0;
    return (size_t)(node->input[INPUT_Q]->size[0] * a->heads * head_width(node) * ATTENTION_PE_DEPTH) * sizeof(float);
}

static size_t attention_backward_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    const AttentionAttributes *a = node->attributes;
    return (size_t)attention_back_floats(node->input[INPUT_K]->size[1], head_width(node), a->h, a->w) * sizeof(float);
}

static void run_pairs(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const Node *node = job->node;
    const AttentionAttributes *a = node->attributes;
    const int64_t channels = node->input[INPUT_Q]->size[2], batches = node->input[INPUT_Q]->size[0];
    for (int64_t pair = tile * job->group; pair < job->pairs && pair < (tile + 1) * job->group; pair++) {
        const int64_t b = pair / a->heads, column = pair % a->heads * job->width, other = other_batch(a, b, batches);
        const float *in[4];
        float *out[3];
        for (int n = 0; n < 4; n++) {
            const Tensor *t = node->input[n];
            in[n] = run_real(job->run, t) + (n == INPUT_K || n == INPUT_V ? other : b) * t->stride[0] + column;
        }
        for (int n = 0; n < 3; n++)
            out[n] = run_real(job->run, node->output[n]) + (n ? other : b) * node->output[n]->stride[0] + column;
        const AttentionBack head = {
            .q = in[INPUT_Q],
            .k = in[INPUT_K],
            .v = in[INPUT_V],
            .d_out = in[INPUT_D_OUT],
            .q_stride = node->input[INPUT_Q]->stride[1],
            .k_stride = node->input[INPUT_K]->stride[1],
            .v_stride = node->input[INPUT_V]->stride[1],
            .d_out_stride = node->input[INPUT_D_OUT]->stride[1],
            .queries = node->input[INPUT_Q]->size[1],
            .keys = node->input[INPUT_K]->size[1],
            .width = job->width,
            .scale = (float)(1 / sqrt((double)job->width)),
            .dq = out[0],
            .dk = out[1],
            .dv = out[2],
            .d_stride = channels,
            .h = a->h,
            .w = a->w,
            .table_x = a->table_x,
            .table_y = a->table_y,
            .pe_weight = a->h ? run_real(job->run, node->input[INPUT_WEIGHT]) : NULL,
            .d_position = a->h ? (float *)run_shared(job->run) + pair * job->width * ATTENTION_PE_DEPTH : NULL,
        };
        job->kernels->backward(&head, run_worker(job->run, worker));
    }
}

static void attention_backward_run(const Node *node, const Run *run) {
    const AttentionAttributes *a = node->attributes;
    const Tensor *q = node->input[INPUT_Q], *k = node->input[INPUT_K];
    Job job = {node, run, attention_kernels(cpu_level()), q->size[0] * a->heads, 1, head_width(node)};
    job.group = 1 + (int64_t)(TILE_FLOPS / (10.0 * (double)(q->size[1] * k->size[1] * job.width)));
    pool_run(run->pool, (job.pairs + job.group - 1) / job.group, run_pairs, &job);
    if (!a->h) return;
    const float *part = run_shared(run);
    float *weight = run_real(run, node->output[3]), *bias = run_real(run, node->output[4]);
    for (int64_t c = 0; c < job.width; c++)
        for (int n = 0; n < ATTENTION_PE_DEPTH; n++) {
            double sum = 0;
            for (int64_t pair = 0; pair < job.pairs; pair++)
                sum += part[(pair * job.width + c) * ATTENTION_PE_DEPTH + n];
            *(n < PE_WIDTH ? weight + c * PE_WIDTH + n : bias + c) = (float)sum;
        }
}
#endif

static void attention_backward_cost(const Node *node, Cost *cost) {
    const AttentionAttributes *a = node->attributes;
    const Tensor *q = node->input[INPUT_Q], *k = node->input[INPUT_K];
    const double tokens = (double)(q->size[0] * q->size[1]), other = (double)(k->size[0] * k->size[1]);
    const double channels = (double)q->size[2];
    cost->flops = 10 * tokens * (double)k->size[1] * channels; /* five products; exponentials not counted */
    cost->bytes = 4 * (3 * tokens + 4 * other) * channels;
    if (a->h) /* position sums and products with the tables; Wpe^T do and dWpe */
        cost->flops += 4 * tokens * (a->heads * (double)(a->h + a->w) * PE_HALF + channels * PE_WIDTH);
}

static const Op attention_backward_op = {
    .name = "attention_backward",
    .kind = OP_HEAVY,
    .define = attention_backward_define,
#ifndef PANUM_F64
    .run = attention_backward_run,
    .scratch_shared = attention_backward_scratch_shared,
    .scratch_worker = attention_backward_scratch_worker,
#endif
    .cost = attention_backward_cost,
    .print = attention_print,
};

void attention_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    if (!d_output[0]) return;
    const AttentionAttributes *a = node->attributes;
    Tensor *input[5] = {node->input[0], node->input[1], node->input[2], d_output[0], a->h ? node->input[3] : NULL};
    Node *back = program_record(node->program, &attention_backward_op, a->h ? 5 : 4, input, a, sizeof *a, node->file,
                                node->line);
    for (int n = 0; n < node->inputs; n++)
        d_input[n] = node_output(back, DTYPE_F32, node->input[n]->rank, node->input[n]->size, LAYOUT_ROW_MAJOR);
}
