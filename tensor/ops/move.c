/* tensor/ops/move.c - slices, concatenation, and the step between maps and tokens.
 *
 * slice, tokens, row_tokens and map describe other strides of the same bytes. cat copies; the plan removes the copy
 * when every reader can take the parts side by side (Node.segments). Gradients: slice -> zeros around; cat -> slices;
 * the views -> the inverse views. */
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/ops.h"

#include <inttypes.h>
#include <string.h>

static const Op op_slice = {.name = "slice", .kind = OP_VIEW};
static const Op op_tokens = {.name = "tokens", .kind = OP_VIEW};
static const Op op_row_tokens = {.name = "row_tokens", .kind = OP_VIEW};
static const Op op_map = {.name = "map", .kind = OP_VIEW};
static const Op op_reshape = {.name = "reshape", .kind = OP_VIEW};

Tensor *t_slice_at(Tensor *x, int axis, int64_t start, int64_t count, T_AT) {
    char text[128];
    SHAPE_RULE(x->program, file, line,
               axis >= 0 && axis < x->rank && start >= 0 && count > 0 && start + count <= x->size[axis],
               "slice %" PRId64 "..%" PRId64 " of axis %d of %s", start, start + count, axis,
               tensor_shape_text(x, text, sizeof text));
    int64_t size[RANK_MAX];
    memcpy(size, x->size, sizeof size);
    size[axis] = count;
    Node *node = program_record(x->program, &op_slice, 1, &x, NULL, 0, file, line);
    return node_view(node, x, x->rank, size, x->stride, start * x->stride[axis]);
}

Tensor *t_tokens_at(Tensor *x, T_AT) {
    SHAPE_RULE(x->program, file, line, x->rank == 4 && x->stride[1] == 1 && x->stride[2] == x->size[3] * x->stride[3],
               "tokens of a tensor that is not a map with dense rows");
    Node *node = program_record(x->program, &op_tokens, 1, &x, NULL, 0, file, line);
    return node_view(node, x, 3, (int64_t[]){x->size[0], x->size[2] * x->size[3], x->size[1]},
                     (int64_t[]){x->stride[0], x->stride[3], 1}, 0);
}

Tensor *t_row_tokens_at(Tensor *x, T_AT) {
    SHAPE_RULE(x->program, file, line,
               x->rank == 4 && x->stride[1] == 1 && (x->size[0] == 1 || x->stride[0] == x->size[2] * x->stride[2]),
               "row tokens of a tensor that is not a map with dense pictures");
    Node *node = program_record(x->program, &op_row_tokens, 1, &x, NULL, 0, file, line);
    return node_view(node, x, 3, (int64_t[]){x->size[0] * x->size[2], x->size[3], x->size[1]},
                     (int64_t[]){x->stride[2], x->stride[3], 1}, 0);
}

Tensor *t_map_at(Tensor *x, int64_t n, int64_t h, int64_t w, T_AT) {
    SHAPE_RULE(x->program, file, line,
               x->rank == 3 && x->size[0] * x->size[1] == n * h * w && x->stride[2] == 1 &&
                   (x->size[0] == 1 || x->stride[0] == x->size[1] * x->stride[1]),
               "tokens that do not fill a map of %" PRId64 "x%" PRId64 "x%" PRId64, n, h, w);
    Node *node = program_record(x->program, &op_map, 1, &x, NULL, 0, file, line);
    int64_t pixel = x->stride[1];
    return node_view(node, x, 4, (int64_t[]){n, x->size[2], h, w}, (int64_t[]){h * w * pixel, 1, w * pixel, pixel}, 0);
}

Tensor *t_reshape_at(Tensor *x, int rank, const int64_t *size, T_AT) {
    int64_t stride[RANK_MAX], count = 1;
    for (int k = rank - 1; k >= 0; k--) {
        stride[k] = count;
        count *= size[k];
    }
    char text[128];
    SHAPE_RULE(x->program, file, line, tensor_is_row_major(x) && count == tensor_count(x),
               "reshape of %s to %" PRId64 " elements", tensor_shape_text(x, text, sizeof text), count);
    Node *node = program_record(x->program, &op_reshape, 1, &x, NULL, 0, file, line);
    return node_view(node, x, rank, size, stride, 0);
}

/* ---- cat ---- */

typedef struct {
    int axis;
} CatAttributes;

/* Copies each part; the innermost run of equal stride-1 elements goes as one memcpy. */
static void cat_define(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    int axis = ((const CatAttributes *)node->attributes)->axis, rank = out->rank;
    int inner = out->stride[rank - 1] == 1 ? rank - 1 : 1; /* the axis with stride 1: the last, or C of maps */
    int64_t start = 0;
    for (int i = 0; i < node->inputs; i++) {
        const Tensor *x = node->input[i];
        const real *from = run_real(run, x);
        real *to = run_real(run, out) + start * out->stride[axis];
        int64_t index[RANK_MAX] = {0};
        for (bool more = true; more;) {
            int64_t at = 0, put = 0;
            for (int k = 0; k < rank; k++) {
                at += index[k] * x->stride[k];
                put += index[k] * out->stride[k];
            }
            if (x->stride[inner] == 1)
                memcpy(to + put, from + at, (size_t)x->size[inner] * sizeof(real));
            else
                for (int64_t c = 0; c < x->size[inner]; c++)
                    to[put + c * out->stride[inner]] = from[at + c * x->stride[inner]];
            more = false;
            for (int k = rank - 1; k >= 0; k--) {
                if (k == inner) continue;
                if (++index[k] < x->size[k]) {
                    more = true;
                    break;
                }
                index[k] = 0;
            }
        }
        start += x->size[axis];
    }
}

static void cat_print(const Node *node, FILE *to) {
    fprintf(to, " axis=%d", ((const CatAttributes *)node->attributes)->axis);
}

const Op op_cat = {.name = "cat", .kind = OP_HEAVY, .define = cat_define, .print = cat_print};

Tensor *t_cat_at(int axis, int count, Tensor *const *x, T_AT) {
    Program *program = x[0]->program;
    char a[128], b[128];
    int64_t size[RANK_MAX];
    memcpy(size, x[0]->size, sizeof size);
    for (int i = 1; i < count; i++) {
        bool same = x[i]->rank == x[0]->rank;
        for (int k = 0; same && k < x[0]->rank; k++) same = k == axis || x[i]->size[k] == x[0]->size[k];
        SHAPE_RULE(program, file, line, same, "cat along %d of %s and %s", axis, tensor_shape_text(x[0], a, sizeof a),
                   tensor_shape_text(x[i], b, sizeof b));
        size[axis] += x[i]->size[axis];
    }
    CatAttributes attributes = {axis};
    Node *node = program_record(program, &op_cat, count, x, &attributes, sizeof attributes, file, line);
    return node_output(node, x[0]->dtype, x[0]->rank, size, LAYOUT_AUTO);
}

/* ---- column index ---- */

static void column_index_define(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    real *to = run_real(run, out);
    int64_t n = tensor_count(out), w = out->size[3];
    for (int64_t i = 0; i < n; i++) to[i] = (real)(i % w);
}

static const Op op_column_index = {.name = "column_index", .kind = OP_HEAVY, .define = column_index_define};

Tensor *t_column_index_at(Tensor *like, T_AT) {
    SHAPE_RULE(like->program, file, line, like->rank == 4, "column_index of a tensor that is not a map");
    Node *node = program_record(like->program, &op_column_index, 0, NULL, NULL, 0, file, line);
    return node_output(node, DTYPE_F32, 4, (int64_t[]){like->size[0], 1, like->size[2], like->size[3]}, LAYOUT_AUTO);
}

/* ---- even pairs ---- */

static void even_pairs_define(const Node *node, const Run *run) {
    const Tensor *cv = node->input[0], *out = node->output[0];
    const real *from = run_real(run, cv);
    real *to = run_real(run, out);
    int64_t h = out->size[1], w = out->size[2], m = out->size[3];
    for (int64_t n = 0; n < out->size[0]; n++)
        for (int64_t y = 0; y < h; y++)
            for (int64_t i = 0; i < w; i++) {
                const real *row =
                    from + n * cv->stride[0] + (y & ~(int64_t)1) * cv->stride[1] + (i & ~(int64_t)1) * cv->stride[2];
                for (int64_t k = 0; k < m; k++) *to++ = row[2 * k];
            }
}

static const Op op_even_pairs = {.name = "even_pairs", .kind = OP_HEAVY, .define = even_pairs_define};

Tensor *t_even_pairs_at(Tensor *cv, T_AT) {
    SHAPE_RULE(cv->program, file, line, cv->rank == 4 && cv->stride[3] == 1 && cv->size[3] >= 2,
               "even_pairs of a tensor that is not a volume");
    Node *node = program_record(cv->program, &op_even_pairs, 1, &cv, NULL, 0, file, line);
    return node_output(node, DTYPE_F32, 4, (int64_t[]){cv->size[0], cv->size[1], cv->size[2], cv->size[3] / 2},
                       LAYOUT_ROW_MAJOR);
}
