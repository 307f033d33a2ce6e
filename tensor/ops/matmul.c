/* matmul and matmul_nt - batched products of matrices that are both computed (weights go through linear).
 *
 *   matmul:     y[b,i,j] = sum over k of a[b,i,k] c[b,k,j]        a (B,M,K), c (B,K,N)
 *   matmul_nt:  y[b,i,j] = sum over k of a[b,i,k] c[b,j,k]        a (B,M,K), c (B,N,K)
 *
 * Gradients: matmul da = dy c^T, dc = a^T dy; matmul_nt da = dy c, dc = dy^T a.
 * S2M2's correlation volume is matmul_nt with one batch an image row: (h, w, C) x (h, w, C) -> (h, w, w). */
#include "tensor/op.h"
#include "tensor/ops/conv_node.h"
#include "tensor/ops/ops.h"

static const Op matmul_op, matmul_nt_op;

static Tensor *record(const Op *op, Tensor *a, Tensor *b, int k_axis, const char *file, int line) {
    Program *program = a->program;
    SHAPE_RULE(program, file, line, a->rank == 3 && b->rank == 3 && a->dtype == DTYPE_F32 && b->dtype == DTYPE_F32,
               "%s wants two f32 operands of rank 3", op->name);
    SHAPE_RULE(program, file, line, a->size[0] == b->size[0], "%s: batches of %lld and %lld", op->name,
               (long long)a->size[0], (long long)b->size[0]);
    SHAPE_RULE(program, file, line, a->size[2] == b->size[k_axis], "%s: inner sizes %lld and %lld", op->name,
               (long long)a->size[2], (long long)b->size[k_axis]);
    Tensor *input[] = {a, b};
    Node *node = program_record(program, op, 2, input, NULL, 0, file, line);
    int64_t size[] = {a->size[0], a->size[1], b->size[3 - k_axis]};
    return node_output(node, DTYPE_F32, 3, size, LAYOUT_ROW_MAJOR);
}

Tensor *t_matmul_nt_at(Tensor *a, Tensor *b, const char *file, int line) {
    return record(&matmul_nt_op, a, b, 2, file, line);
}

Tensor *t_matmul_at(Tensor *a, Tensor *b, const char *file, int line) {
    return record(&matmul_op, a, b, 1, file, line);
}

typedef struct {
    const Node *node;
    const Run *run;
    int k_axis; /* of the second operand */
} Job;

static void define_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Job *job = context;
    const Tensor *a = job->node->input[0], *b = job->node->input[1], *to = job->node->output[0];
    int64_t batch = tile / to->size[1], i = tile % to->size[1];
    const real *left = run_real(job->run, a) + batch * a->stride[0] + i * a->stride[1];
    real *out = run_real(job->run, to) + batch * to->stride[0] + i * to->stride[1];
    int64_t k_stride = b->stride[job->k_axis], j_stride = b->stride[3 - job->k_axis];
    for (int64_t j = 0; j < to->size[2]; j++) {
        const real *right = run_real(job->run, b) + batch * b->stride[0] + j * j_stride;
        double sum = 0;
        for (int64_t k = 0; k < a->size[2]; k++) sum += (double)left[k * a->stride[2]] * (double)right[k * k_stride];
        out[j] = (real)sum;
    }
}

static void define_matmul(const Node *node, const Run *run) {
    Job job = {node, run, 1};
    pool_run(run->pool, node->output[0]->size[0] * node->output[0]->size[1], define_tile, &job);
}

static void define_matmul_nt(const Node *node, const Run *run) {
    Job job = {node, run, 2};
    pool_run(run->pool, node->output[0]->size[0] * node->output[0]->size[1], define_tile, &job);
}

static void cost(const Node *node, Cost *out) {
    out->flops = 2.0 * (double)tensor_count(node->output[0]) * (double)node->input[0]->size[2];
    out->bytes = conv_bytes(node);
}

static const Op matmul_op = {
    .name = "matmul",
    .kind = OP_HEAVY,
    .define = define_matmul,
    .cost = cost,
};

static const Op matmul_nt_op = {
    .name = "matmul_nt",
    .kind = OP_HEAVY,
    .define = define_matmul_nt,
    .cost = cost,
};
