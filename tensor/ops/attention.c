/* tensor/ops/attention.c - scaled dot-product attention by heads (Vaswani et al. 2017), and the same over a grid with
 * S2M2's relative position term.
 *
 * Head r of e = C/heads columns, batch b: A_ij = softmax_j(q_i . k_j / sqrt e), o_i = sum_j A_ij v_j. With swap_halves
 * batch b of q meets batch (b + B/2) mod B of k and v.
 *
 * Relative term of S2M2, token i = (y_i, x_i) with i = y n_x + x on the n_y x n_x grid:
 *   o_i += Wpe (sum_j A_ij P(i,j)) + bpe,  P(i,j) = 1/2 concat(T_nx[x_i - x_j + n_x - 1], T_ny[y_i - y_j + n_y - 1])
 *   T_n[k], k = 0..2n-2: t = tanh(-3 + 6k/(2n)); a_c = -1 + 2c/15, c = 0..15; s = (a_c - t)/0.15625;
 *   raw_c = 1 if |s| < 1e-6, else sin(3.1415 s)/(3.1415 s); T = raw / max(|raw|, 1e-12).
 * The published network was trained with 3.1415 in place of pi and with the row for offset 0 at t = tanh(-3/n), not 0:
 * both belong to the meaning. P is never written (n^2 x 32 values): A summed over grid rows and over grid columns
 * suffices.
 *
 * Gradient: attention_gradient.c. */
#include "tensor/ops/attention_kernels.h"
#include "tensor/ops/attention_node.h"
#include <math.h>
#include <string.h>

static double dot(const real *a, const real *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

static void attention_define(const Node *node, const Run *run) {
    enum { COLUMNS = 256 }; /* head columns summed at a time, on the stack; scores are computed again for the next */
    const AttentionAttributes *a = node->attributes;
    const Tensor *tq = node->input[0], *tk = node->input[1], *tv = node->input[2], *to = node->output[0];
    const real *pe_weight = a->h ? run_real(run, node->input[3]) : NULL;
    const real *pe_bias = a->h ? run_real(run, node->input[4]) : NULL;
    const int64_t batches = tq->size[0], queries = tq->size[1], keys = tk->size[1], width = tq->size[2] / a->heads;
    const double scale = 1 / sqrt((double)width);
    for (int64_t b = 0; b < batches; b++)
        for (int64_t head = 0; head < a->heads; head++) {
            const int64_t other = other_batch(a, b, batches);
            const real *q = run_real(run, tq) + b * tq->stride[0] + head * width;
            const real *k = run_real(run, tk) + other * tk->stride[0] + head * width;
            const real *v = run_real(run, tv) + other * tv->stride[0] + head * width;
            real *o = run_real(run, to) + b * to->stride[0] + head * width;
            for (int64_t i = 0; i < queries; i++) {
                const real *query = q + i * tq->stride[1];
                double largest = -INFINITY;
                for (int64_t j = 0; j < keys; j++)
                    largest = fmax(largest, scale * dot(query, k + j * tk->stride[1], width));
                for (int64_t first = 0; first < width; first += COLUMNS) {
                    const int64_t columns = width - first < COLUMNS ? width - first : COLUMNS;
                    double sum = 0, result[COLUMNS] = {0}, position[PE_WIDTH] = {0};
                    for (int64_t j = 0; j < keys; j++) {
                        double p = exp(scale * dot(query, k + j * tk->stride[1], width) - largest);
                        sum += p;
                        for (int64_t c = 0; c < columns; c++) result[c] += p * v[j * tv->stride[1] + first + c];
                        if (!a->h) continue;
                        const real *x = a->table_x + (i % a->w - j % a->w + a->w - 1) * PE_HALF;
                        const real *y = a->table_y + (i / a->w - j / a->w + a->h - 1) * PE_HALF;
                        for (int c = 0; c < PE_HALF; c++) position[c] += p * 0.5 * x[c];
                        for (int c = 0; c < PE_HALF; c++) position[PE_HALF + c] += p * 0.5 * y[c];
                    }
                    for (int64_t c = 0; c < columns; c++) {
                        double value = result[c] / sum;
                        if (a->h) {
                            for (int d = 0; d < PE_WIDTH; d++)
                                value += pe_weight[(first + c) * PE_WIDTH + d] * position[d] / sum;
                            value += pe_bias[first + c];
                        }
                        o[i * to->stride[1] + first + c] = (real)value;
                    }
                }
            }
        }
}

#ifndef PANUM_F64
/* ---- the fast version ----
 *
 * Short sequences (image rows): a tile is one or more (batch, head) pairs; the worker packs the head's keys and values
 * (transposed, in panels) into its own scratch and runs the blocks of queries over them.
 * Long sequences with few heads (the map at stride 32): keys and values of all heads are packed first, side by side in
 * shared scratch, then a tile is some blocks of queries of one head.
 * Which of the two, and every tile, follows from the shape alone. */

typedef struct {
    const Node *node;
    const Run *run;
    const AttentionKernels *kernels;
    int64_t batches, heads, queries, keys, width;
    int64_t key_floats, value_floats, pe_floats; /* of packed things */
    int64_t blocks;                              /* of queries in a head, as even as can be */
    int64_t group;                               /* (batch, head) pairs, or blocks, in a tile */
    float *packed;                               /* shared panels, or NULL */
    const float *pe_panels;                      /* packed, or NULL */
} Job;

/* About 200 microseconds of one core. */
#define TILE_FLOPS 2e7

/* Long sequences: more than four tiles' worth of work in a head, and too few heads to keep many workers busy. */
static bool packs_first(const Node *node) {
    const AttentionAttributes *a = node->attributes;
    const Tensor *q = node->input[0], *k = node->input[1];
    double flops = 4.0 * (double)(q->size[1] * k->size[1]) * (double)(q->size[2] / a->heads);
    return flops > 4 * TILE_FLOPS && q->size[0] * a->heads < 64;
}

/* Floats of the values of a head, packed; 0: read where they are. A short sequence's rows of whole vectors are panels
 * already; for a long one the panels keep its lines apart in the cache. */
static int64_t value_floats(const Node *node) {
    const AttentionAttributes *a = node->attributes;
    const int64_t width = node->input[2]->size[2] / a->heads;
    if (width % ATTENTION_PAD == 0 && !packs_first(node)) return 0;
    return attention_value_floats(node->input[2]->size[1], width);
}

/* Floats of the position weights and bias, packed. */
static int64_t pe_floats(const AttentionAttributes *a, int64_t width) {
    return a->h ? ATTENTION_PE_DEPTH * attention_padded(width, 16) : 0;
}

static size_t attention_scratch_shared(const Node *node, bool exact) {
    (void)exact;
    const AttentionAttributes *a = node->attributes;
    const int64_t keys = node->input[1]->size[1], width = node->input[1]->size[2] / a->heads;
    int64_t floats = pe_floats(a, width);
    if (packs_first(node))
        floats += node->input[1]->size[0] * a->heads * (attention_key_floats(keys, width) + value_floats(node));
    return (size_t)floats * sizeof(float);
}

static size_t attention_scratch_worker(const Node *node, bool exact) {
    (void)exact;
    const AttentionAttributes *a = node->attributes;
    const int64_t keys = node->input[1]->size[1], width = node->input[1]->size[2] / a->heads;
    int64_t floats = ATTENTION_ROWS * attention_padded(width, 16) + attention_work_floats(width, a->h, a->w);
    if (!packs_first(node)) floats += attention_key_floats(keys, width) + value_floats(node);
    return (size_t)floats * sizeof(float);
}

static const float *head_data(const Job *job, int input, int64_t b, int64_t head) {
    const Tensor *t = job->node->input[input];
    if (input) b = other_batch(job->node->attributes, b, job->batches);
    return run_real(job->run, t) + b * t->stride[0] + head * job->width;
}

static void pack_head(const Job *job, int64_t pair, float *panels) {
    const int64_t b = pair / job->heads, head = pair % job->heads;
    const Node *node = job->node;
    job->kernels->pack_keys(head_data(job, 1, b, head), node->input[1]->stride[1], job->keys, job->width, panels);
    if (!job->value_floats) return;
    job->kernels->pack_values(head_data(job, 2, b, head), node->input[2]->stride[1], job->keys, job->width,
                              panels + job->key_floats);
}

static void run_blocks(const Job *job, int64_t pair, int64_t first, int64_t last, const float *panels, float *work,
                       int worker) {
    const AttentionAttributes *a = job->node->attributes;
    const int64_t b = pair / job->heads, head = pair % job->heads, columns = job->kernels->columns(job->width);
    const Hole *hole = job->run->hole;
    const AttentionHead part = {
        .q = head_data(job, 0, b, head),
        .q_stride = job->node->input[0]->stride[1],
        .keys = job->keys,
        .width = job->width,
        .scale = (float)(1.4426950408889634 / sqrt((double)job->width)),
        .key_panels = panels,
        .v = job->value_floats ? NULL : head_data(job, 2, b, head),
        .v_stride = job->node->input[2]->stride[1],
        .value_panels = panels + job->key_floats,
        .h = a->h,
        .w = a->w,
        .table_x = a->table_x,
        .table_y = a->table_y,
        .pe_panels = job->pe_panels,
    };
    float *tile = work, *rest = work + ATTENTION_ROWS * attention_padded(job->width, 16);
    float *direct = hole ? hole->direct : run_real(job->run, job->node->output[0]);
    const int64_t stride = hole ? hole->direct_stride : job->heads * job->width, column = head * job->width;
    const bool in_place = direct && columns == job->width; /* whole vectors may be written to the result */
    for (int64_t block = first; block < last; block++) {
        const int64_t from = block * job->queries / job->blocks, rows = (block + 1) * job->queries / job->blocks - from;
        const int64_t row = b * job->queries + from;
        float *to = in_place ? direct + row * stride + column : tile;
        job->kernels->block(&part, from, (int)rows, rest, to, in_place ? stride : columns);
        if (in_place) continue;
        if (!direct) hole->store(hole, row, rows, column, job->width, tile, columns, worker);
        for (int64_t r = 0; direct && r < rows; r++)
            memcpy(direct + (row + r) * stride + column, tile + r * columns, (size_t)job->width * sizeof(float));
    }
}

static void run_pairs(void *context, int64_t tile, int worker) {
    const Job *job = context;
    float *panels = run_worker(job->run, worker);
    const int64_t last = (tile + 1) * job->group, pairs = job->batches * job->heads;
    for (int64_t pair = tile * job->group; pair < (last < pairs ? last : pairs); pair++) {
        pack_head(job, pair, panels);
        run_blocks(job, pair, 0, job->blocks, panels, panels + job->key_floats + job->value_floats, worker);
    }
}

static void pack_one(void *context, int64_t pair, int worker) {
    (void)worker;
    const Job *job = context;
    pack_head(job, pair, job->packed + pair * (job->key_floats + job->value_floats));
}

static void run_some_blocks(void *context, int64_t tile, int worker) {
    const Job *job = context;
    const int64_t tiles = (job->blocks + job->group - 1) / job->group, pair = tile / tiles;
    const int64_t first = tile % tiles * job->group, last = first + job->group;
    run_blocks(job, pair, first, last < job->blocks ? last : job->blocks,
               job->packed + pair * (job->key_floats + job->value_floats), run_worker(job->run, worker), worker);
}

static void attention_run(const Node *node, const Run *run) {
    const AttentionAttributes *a = node->attributes;
    const Tensor *q = node->input[0], *k = node->input[1];
    Job job = {
        .node = node,
        .run = run,
        .kernels = attention_kernels(cpu_level()),
        .batches = q->size[0],
        .heads = a->heads,
        .queries = q->size[1],
        .keys = k->size[1],
        .width = q->size[2] / a->heads,
    };
    job.key_floats = attention_key_floats(job.keys, job.width);
    job.value_floats = value_floats(node);
    job.blocks = (job.queries + job.kernels->rows - 1) / job.kernels->rows;
    const double block_flops = 4.0 * job.kernels->rows * (double)(job.keys * job.width);
    const int64_t pairs = job.batches * job.heads;
    if (a->h) {
        job.kernels->pack_position(run_real(run, node->input[3]), run_real(run, node->input[4]), job.width,
                                   run_shared(run));
        job.pe_panels = run_shared(run);
    }
    if (packs_first(node)) {
        job.packed = (float *)run_shared(run) + pe_floats(a, job.width);
        job.group = 1 + (int64_t)(TILE_FLOPS / block_flops);
        pool_run(run->pool, pairs, pack_one, &job);
        pool_run(run->pool, pairs * ((job.blocks + job.group - 1) / job.group), run_some_blocks, &job);
    } else {
        job.group = 1 + (int64_t)(TILE_FLOPS / (block_flops * (double)job.blocks));
        pool_run(run->pool, (pairs + job.group - 1) / job.group, run_pairs, &job);
    }
}
#endif

static void attention_cost(const Node *node, Cost *cost) {
    const AttentionAttributes *a = node->attributes;
    const Tensor *q = node->input[0], *k = node->input[1];
    double tokens = (double)(q->size[0] * q->size[1]), other = (double)(k->size[0] * k->size[1]);
    cost->flops = 4 * tokens * (double)k->size[1] * (double)q->size[2]; /* two products; exponentials not counted */
    cost->bytes = 4 * (2 * tokens + 2 * other) * (double)q->size[2];
    if (a->h) /* A_x and A_y times their tables, then times Wpe */
        cost->flops += 2 * tokens * (a->heads * (double)(a->h + a->w) * PE_HALF + (double)q->size[2] * PE_WIDTH);
}

void attention_print(const Node *node, FILE *to) {
    const AttentionAttributes *a = node->attributes;
    fprintf(to, " heads=%d%s", a->heads, a->swap_halves ? " swap_halves" : "");
    if (a->h) fprintf(to, " grid=%lldx%lld", (long long)a->h, (long long)a->w);
}

static const Op attention_op = {
    .name = "attention",
    .kind = OP_HEAVY,
    .store_hole = true,
    .in_place = 1, /* a block of queries is copied before its results are written */
    .define = attention_define,
#ifndef PANUM_F64
    .run = attention_run,
    .scratch_shared = attention_scratch_shared,
    .scratch_worker = attention_scratch_worker,
#endif
    .cost = attention_cost,
    .print = attention_print,
    .gradient = attention_gradient,
};

static const Op attention_relative_op = {
    .name = "attention_relative",
    .kind = OP_HEAVY,
    .store_hole = true,
    .in_place = 1, /* a block of queries is copied before its results are written */
    .define = attention_define,
#ifndef PANUM_F64
    .run = attention_run,
    .scratch_shared = attention_scratch_shared,
    .scratch_worker = attention_scratch_worker,
#endif
    .cost = attention_cost,
    .print = attention_print,
    .gradient = attention_gradient,
};

static void check_tokens(Tensor *q, Tensor *k, Tensor *v, int heads, const char *name, T_AT) {
    Tensor *each[3] = {q, k, v};
    for (int i = 0; i < 3; i++)
        SHAPE_RULE(q->program, file, line, each[i]->rank == 3 && each[i]->dtype == DTYPE_F32 && each[i]->stride[2] == 1,
                   "%s: wants tokens (B,T,C), the channels of a token side by side", name);
    SHAPE_RULE(q->program, file, line,
               q->size[0] == k->size[0] && q->size[2] == k->size[2] && tensor_same_shape(k, v) && k->size[1] > 0,
               "%s: queries, keys and values must have the same batches and channels", name);
    SHAPE_RULE(q->program, file, line, heads > 0 && q->size[2] % heads == 0,
               "%s: %lld channels do not divide into %d heads", name, (long long)q->size[2], heads);
}

Tensor *t_attention_at(Tensor *q, Tensor *k, Tensor *v, AttentionOptions options, T_AT) {
    if (!options.heads) options.heads = 1;
    check_tokens(q, k, v, options.heads, "attention", file, line);
    SHAPE_RULE(q->program, file, line, !options.swap_halves || q->size[0] % 2 == 0,
               "attention: an odd batch has no halves");
    Tensor *input[3] = {q, k, v};
    AttentionAttributes attributes = {.heads = options.heads, .swap_halves = options.swap_halves};
    Node *node = program_record(q->program, &attention_op, 3, input, &attributes, sizeof attributes, file, line);
    return node_output(node, DTYPE_F32, 3, q->size, LAYOUT_AUTO);
}

/* T_n of the header; rows for the offsets -(n-1) .. n-1. */
static const real *position_table(Program *program, int64_t n) {
    real *table = program_alloc(program, (size_t)(2 * n - 1) * PE_HALF * sizeof *table);
    for (int64_t k = 0; k < 2 * n - 1; k++) {
        double raw[PE_HALF], square = 0, t = tanh(-3 + 6 * (double)k / (2 * (double)n));
        for (int c = 0; c < PE_HALF; c++) {
            double s = (-1 + 2 * (double)c / (PE_HALF - 1) - t) / 0.15625;
            raw[c] = fabs(s) < 1e-6 ? 1 : sin(3.1415 * s) / (3.1415 * s);
            square += raw[c] * raw[c];
        }
        for (int c = 0; c < PE_HALF; c++) table[k * PE_HALF + c] = (real)(raw[c] / fmax(sqrt(square), 1e-12));
    }
    return table;
}

Tensor *t_attention_relative_at(Tensor *q, Tensor *k, Tensor *v, Tensor *pe_weight, Tensor *pe_bias, int heads,
                                int64_t h, int64_t w, T_AT) {
    check_tokens(q, k, v, heads, "attention_relative", file, line);
    SHAPE_RULE(q->program, file, line, h > 0 && w > 0 && q->size[1] == h * w && k->size[1] == h * w,
               "attention_relative: the tokens are not a grid of %lld x %lld", (long long)h, (long long)w);
    int64_t width = q->size[2] / heads;
    SHAPE_RULE(q->program, file, line,
               pe_weight->rank == 2 && pe_weight->size[0] == width && pe_weight->size[1] == PE_WIDTH &&
                   tensor_is_row_major(pe_weight) && pe_bias->rank == 1 && pe_bias->size[0] == width &&
                   pe_bias->stride[0] == 1,
               "attention_relative: wants position weights [%lld, %d] and a bias of %lld", (long long)width, PE_WIDTH,
               (long long)width);
    Tensor *input[5] = {q, k, v, pe_weight, pe_bias};
    AttentionAttributes attributes = {.heads = heads,
                                      .h = h,
                                      .w = w,
                                      .table_y = position_table(q->program, h),
                                      .table_x = position_table(q->program, w)};
    Node *node =
        program_record(q->program, &attention_relative_op, 5, input, &attributes, sizeof attributes, file, line);
    return node_output(node, DTYPE_F32, 3, q->size, LAYOUT_AUTO);
}
