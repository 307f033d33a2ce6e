/* matmul and matmul_nt - batched products of matrices that are both computed (weights go through linear).
 *
 *   matmul:     y[b,i,j] = sum over k of a[b,i,k] c[b,k,j]        a (B,M,K), c (B,K,N)
 *   matmul_nt:  y[b,i,j] = sum over k of a[b,i,k] c[b,j,k]        a (B,M,K), c (B,N,K)
 *
 * Gradients: matmul da = dy c^T, dc = a^T dy; matmul_nt da = dy c, dc = dy^T a; a transposed first operand is a view.
 * S2M2's correlation volume is matmul_nt with one batch an image row: (h, w, C) x (h, w, C) -> (h, w, w). */
#include "tensor/op.h"
#include "tensor/ops/conv_kernels.h"
#include "tensor/ops/conv_node.h"
#include "tensor/ops/conv_task.h"
#include "tensor/ops/ops.h"

#include <string.h>

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

static void matmul_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    d_input[0] = t_matmul_nt(d_output[0], node->input[1]);
    d_input[1] = t_matmul(t_transpose(node->input[0]), d_output[0]);
}

static void matmul_nt_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    d_input[0] = t_matmul(d_output[0], node->input[1]);
    d_input[1] = t_matmul(t_transpose(d_output[0]), node->input[0]);
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

#ifndef PANUM_F64
/* The fast form: one pool tile is all or some rows of one batch. It first lays the second operand out in panels in its
 * own scratch (K x N values, used M times each), then takes 56 rows of the first at a time, in place unless their k is
 * strided. S2M2's volumes, 184 x 184 x 128 an image row: 8.7 MFLOP for 94 KB packed and 229 KB moved. */
enum { GROUP_ROWS = 56, FEW_BATCHES = 16, LEAST_ROWS = 224 };

typedef struct {
    const Node *node;
    const Run *run;
    const ConvKernels *kernels;
    int k_axis;
    int64_t m, n, k, parts; /* parts of the rows of a batch */
    bool copy; /* rows of the first operand are copied: their k is strided, or they lie 4 KiB apart, which is
                  one set of L1 for all */
    int64_t copy_step;
} Product;

static Product make_product(const Node *node) {
    const Tensor *a = node->input[0], *to = node->output[0];
    Product product = {.node = node, .kernels = conv_kernels(), .k_axis = node->op == &matmul_op ? 1 : 2};
    product.m = to->size[1];
    product.n = to->size[2];
    product.k = a->size[2];
    product.copy = a->stride[2] != 1 || a->stride[1] % 1024 == 0;
    product.copy_step = product.k + (product.k % 1024 == 0 ? 16 : 0);
    product.parts = 1;
    if (to->size[0] < FEW_BATCHES) {
        int64_t most = (product.m + LEAST_ROWS - 1) / LEAST_ROWS, wanted = FEW_BATCHES / to->size[0];
        product.parts = most < wanted ? most : wanted;
    }
    return product;
}

static int64_t packed_floats(const Product *product) {
    int64_t vector = product->kernels->vector;
    return (product->n + vector - 1) / vector * vector * product->k;
}

static size_t scratch_worker(const Node *node, bool exact) {
    (void)exact;
    Product product = make_product(node);
    return (size_t)(packed_floats(&product) + GROUP_ROWS * product.n +
                    (product.copy ? GROUP_ROWS * product.copy_step : 0)) *
           sizeof(float);
}

static void pack_panels(const Product *product, int64_t batch, float *packed) {
    const Tensor *b = product->node->input[1];
    const float *from = run_real(product->run, b) + batch * b->stride[0];
    int64_t k_stride = b->stride[product->k_axis], j_stride = b->stride[3 - product->k_axis];
    int64_t vector = product->kernels->vector;
    for (int64_t j = 0; j < product->n; j += 2 * vector) {
        int64_t width = product->n - j > vector ? 2 * vector : vector;
        int64_t columns = product->n - j < width ? product->n - j : width;
        product->kernels->panel(from + j * j_stride, k_stride, j_stride, product->k, columns, width, packed);
        packed += width * product->k;
    }
}

static void product_tile(void *context, int64_t tile, int worker) {
    const Product *product = context;
    const Tensor *a = product->node->input[0], *to = product->node->output[0];
    const Hole *hole = product->run->hole;
    int64_t batch = tile / product->parts, part = tile % product->parts, rows_most = product->kernels->rows;
    int64_t first = part * product->m / product->parts, last = (part + 1) * product->m / product->parts;
    float *packed = run_worker(product->run, worker), *tile_out = packed + packed_floats(product);
    float *copied = tile_out + GROUP_ROWS * product->n;
    const float *left = run_real(product->run, a) + batch * a->stride[0];
    float *out = hole ? hole->direct : run_real(product->run, to);
    int64_t out_stride = hole ? hole->direct_stride : product->n, unit = 2 * product->kernels->vector;
    pack_panels(product, batch, packed);
    for (int64_t i = first; i < last; i += GROUP_ROWS) {
        int64_t rows = last - i < GROUP_ROWS ? last - i : GROUP_ROWS, blocks = (rows + rows_most - 1) / rows_most;
        const float *from = left + i * a->stride[1];
        int64_t step = a->stride[1];
        if (product->copy) {
            if (a->stride[2] == 1)
                for (int64_t r = 0; r < rows; r++)
                    memcpy(copied + r * product->copy_step, from + r * step, (size_t)product->k * sizeof *from);
            else /* transposed: what lies side by side in `a` first */
                for (int64_t k = 0; k < product->k; k++)
                    for (int64_t r = 0; r < rows; r++)
                        copied[r * product->copy_step + k] = from[r * step + k * a->stride[2]];
            from = copied;
            step = product->copy_step;
        }
        float *c = out ? out + (batch * product->m + i) * out_stride : tile_out;
        int64_t c_stride = out ? out_stride : product->n;
        for (int64_t j = 0; j < product->n; j += unit) {
            int64_t left_columns = product->n - j, vectors = left_columns > product->kernels->vector ? 2 : 1;
            for (int64_t block = 0; block < blocks; block++) {
                int64_t top = block * rows / blocks, end = (block + 1) * rows / blocks;
                Stretch stretch = {from + top * step, step, 0, product->k};
                if (out)
                    conv_ask_for(c + end * c_stride + j, c_stride, rows - end < rows_most ? rows - end : rows_most,
                                 unit);
                product->kernels->block(end - top, (int)vectors, &stretch, 1, packed + j * product->k, NULL,
                                        c + top * c_stride + j, c_stride, left_columns < unit ? left_columns : unit,
                                        BLOCK_SET);
            }
        }
        if (!out) hole->store(hole, batch * product->m + i, rows, 0, product->n, tile_out, product->n, worker);
    }
}

static void run_product(const Node *node, const Run *run) {
    Product product = make_product(node);
    product.run = run;
    pool_run(run->pool, node->output[0]->size[0] * product.parts, product_tile, &product);
}
#define PRODUCT_FIELDS .store_hole = true, .run = run_product, .scratch_worker = scratch_worker,
#else
#define PRODUCT_FIELDS
#endif

static const Op matmul_op = {.name = "matmul",
                             .kind = OP_HEAVY,
                             .define = define_matmul,
                             .cost = cost,
                             PRODUCT_FIELDS.gradient = matmul_gradient};

static const Op matmul_nt_op = {.name = "matmul_nt",
                                .kind = OP_HEAVY,
                                .define = define_matmul_nt,
                                .cost = cost,
                                PRODUCT_FIELDS.gradient = matmul_nt_gradient};
