/* tensor/ops/move.c - slices, concatenation, the step between maps and tokens, zeros around, copies.
 *
 * slice, tokens, row_tokens, map, reshape, transpose and detach describe other strides of the same bytes. cat copies;
 * the plan removes the copy when every reader can take the parts side by side (Node.segments). Gradients: slice ->
 * zeros around; cat -> slices; the views -> the inverse views; detach -> nothing. */
#include "tensor/ops/move.h"
#include "base/mem.h"
#include "tensor/op.h"

#include <inttypes.h>
#include <string.h>

static void slice_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input);
static void transpose_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input);
static void view_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input);
static void no_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input);
static const Op op_slice = {.name = "slice", .kind = OP_VIEW, .gradient = slice_gradient};
static const Op op_tokens = {.name = "tokens", .kind = OP_VIEW, .gradient = view_gradient};
static const Op op_row_tokens = {.name = "row_tokens", .kind = OP_VIEW, .gradient = view_gradient};
static const Op op_map = {.name = "map", .kind = OP_VIEW, .gradient = view_gradient};
static const Op op_reshape = {.name = "reshape", .kind = OP_VIEW, .gradient = view_gradient};
static const Op op_transpose = {.name = "transpose", .kind = OP_VIEW, .gradient = transpose_gradient};
static const Op op_detach = {.name = "detach", .kind = OP_VIEW, .gradient = no_gradient};

/* Of slice and pad_zeros: `start` along `axis`. */
typedef struct {
    int axis;
    int64_t start;
} PlaceAttributes;

Tensor *t_slice_at(Tensor *x, int axis, int64_t start, int64_t count, T_AT) {
    char text[128];
    SHAPE_RULE(x->program, file, line,
               axis >= 0 && axis < x->rank && start >= 0 && count > 0 && start + count <= x->size[axis],
               "slice %" PRId64 "..%" PRId64 " of axis %d of %s", start, start + count, axis,
               tensor_shape_text(x, text, sizeof text));
    int64_t size[RANK_MAX];
    memcpy(size, x->size, sizeof size);
    size[axis] = count;
    PlaceAttributes attributes = {axis, start};
    Node *node = program_record(x->program, &op_slice, 1, &x, &attributes, sizeof attributes, file, line);
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

Tensor *t_detach_at(Tensor *x, T_AT) {
    Node *node = program_record(x->program, &op_detach, 1, &x, NULL, 0, file, line);
    return node_view(node, x, x->rank, x->size, x->stride, 0);
}

Tensor *t_transpose_at(Tensor *x, T_AT) {
    SHAPE_RULE(x->program, file, line, x->rank == 3, "transpose of a tensor of rank %d", x->rank);
    Node *node = program_record(x->program, &op_transpose, 1, &x, NULL, 0, file, line);
    return node_view(node, x, 3, (int64_t[]){x->size[0], x->size[2], x->size[1]},
                     (int64_t[]){x->stride[0], x->stride[2], x->stride[1]}, 0);
}

static void transpose_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    (void)node;
    d_input[0] = t_transpose(d_output[0]);
}

static void slice_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    const PlaceAttributes *place = node->attributes;
    d_input[0] = t_pad_zeros(d_output[0], place->axis, place->start, node->input[0]->size[place->axis]);
}

static void no_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    (void)node, (void)d_output, (void)d_input;
}

/* The order of axes in which a dense tensor like `t` lies in memory: channels-last, unless its rows are its columns. */
static bool lies_row_major(const Tensor *t) {
    return t->rank != 4 || (t->stride[1] != 1 && t->size[1] != 1);
}

static void dense_strides(int rank, const int64_t *size, bool row_major, int64_t *stride) {
    static const int channels_last[] = {1, 3, 2, 0}; /* from the innermost */
    int64_t next = 1;
    for (int i = 0; i < rank; i++) {
        int axis = row_major ? rank - 1 - i : channels_last[i];
        stride[axis] = next;
        next *= size[axis];
    }
}

/* A view's result lies in the order of what it shows, so dense numbers of its shape are, in the order in which they
 * lie, numbers of the other shape. */
static void view_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    const Tensor *x = node->input[0];
    int64_t stride[RANK_MAX];
    Tensor *d = t_dense(d_output[0], node->output[0]);
    dense_strides(x->rank, x->size, lies_row_major(x), stride);
    Node *view = program_record(x->program, &op_reshape, 1, &d, NULL, 0, T_HERE);
    d_input[0] = node_view(view, d, x->rank, x->size, stride, 0);
}

/* ---- copying ---- */

typedef struct {
    int rank, inner; /* inner: the axis that is innermost in `to` */
    const int64_t *size;
    const int64_t *from_stride, *to_stride;
    const real *from; /* NULL: zeros */
    real *to;
    int64_t rows, rows_a_tile;
} Copy;

static void copy_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Copy *copy = context;
    const int inner = copy->inner, rank = copy->rank;
    int64_t first = tile * copy->rows_a_tile, index[RANK_MAX] = {0}, left = first, n = copy->size[inner];
    for (int k = rank - 1; k >= 0; k--) {
        if (k == inner) continue;
        index[k] = left % copy->size[k];
        left /= copy->size[k];
    }
    int64_t from_step = copy->from_stride[inner], to_step = copy->to_stride[inner];
    for (int64_t row = first; row < first + copy->rows_a_tile && row < copy->rows; row++) {
        int64_t at = 0, put = 0;
        for (int k = 0; k < rank; k++) {
            at += index[k] * copy->from_stride[k];
            put += index[k] * copy->to_stride[k];
        }
        real *to = copy->to + put;
        if (copy->from && to_step == 1 && from_step == 1)
            memcpy(to, copy->from + at, (size_t)n * sizeof(real));
        else if (copy->from)
            for (int64_t i = 0; i < n; i++) to[i * to_step] = copy->from[at + i * from_step];
        else
            for (int64_t i = 0; i < n; i++) to[i * to_step] = 0;
        for (int k = rank - 1; k >= 0; k--) {
            if (k == inner) continue;
            if (++index[k] < copy->size[k]) break;
            index[k] = 0;
        }
    }
}

/* Rows along the innermost axis of `to`, some tens of microseconds of them a tile. */
static void copy_box(Pool *pool, int rank, const int64_t *size, const real *from, const int64_t *from_stride, real *to,
                     const int64_t *to_stride) {
    Copy copy = {rank, 0, size, from_stride, to_stride, from, to, 1, 1};
    for (int k = 1; k < rank; k++)
        if (size[copy.inner] == 1 || (size[k] != 1 && to_stride[k] < to_stride[copy.inner])) copy.inner = k;
    for (int k = 0; k < rank; k++) {
        if (size[k] == 0) return;
        if (k != copy.inner) copy.rows *= size[k];
    }
    copy.rows_a_tile = (32 << 10) / size[copy.inner] + 1;
    pool_run(pool, (copy.rows + copy.rows_a_tile - 1) / copy.rows_a_tile, copy_tile, &copy);
}

static void copy_define(const Node *node, const Run *run) {
    const Tensor *x = node->input[0], *out = node->output[0];
    copy_box(run->pool, x->rank, x->size, run_real(run, x), x->stride, run_real(run, out), out->stride);
}

static void copy_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    (void)node;
    d_input[0] = d_output[0];
}

static const Op op_copy = {.name = "copy", .kind = OP_HEAVY, .define = copy_define, .gradient = copy_gradient};

Tensor *t_dense_at(Tensor *x, const Tensor *like, T_AT) {
    const bool row_major = lies_row_major(like);
    int64_t stride[RANK_MAX];
    bool dense = true;
    dense_strides(x->rank, x->size, row_major, stride);
    for (int k = 0; k < x->rank; k++) dense = dense && (x->size[k] == 1 || x->stride[k] == stride[k]);
    SHAPE_RULE(x->program, file, line, x->rank == like->rank, "dense in the order of a tensor of another rank");
    if (dense) return x;
    Node *node = program_record(x->program, &op_copy, 1, &x, NULL, 0, file, line);
    return node_output(node, x->dtype, x->rank, x->size, row_major ? LAYOUT_ROW_MAJOR : LAYOUT_AUTO);
}

/* ---- zeros around ---- */

static void pad_zeros_define(const Node *node, const Run *run) {
    const PlaceAttributes *place = node->attributes;
    const Tensor *x = node->input[0], *out = node->output[0];
    const int axis = place->axis;
    real *to = run_real(run, out);
    int64_t size[RANK_MAX], end = place->start + x->size[axis];
    memcpy(size, x->size, sizeof size);
    copy_box(run->pool, x->rank, size, run_real(run, x), x->stride, to + place->start * out->stride[axis], out->stride);
    size[axis] = place->start;
    copy_box(run->pool, x->rank, size, NULL, out->stride, to, out->stride);
    size[axis] = out->size[axis] - end;
    copy_box(run->pool, x->rank, size, NULL, out->stride, to + end * out->stride[axis], out->stride);
}

static void pad_zeros_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    const PlaceAttributes *place = node->attributes;
    d_input[0] = t_slice(d_output[0], place->axis, place->start, node->input[0]->size[place->axis]);
}

static const Op op_pad_zeros = {
    .name = "pad_zeros", .kind = OP_HEAVY, .define = pad_zeros_define, .gradient = pad_zeros_gradient};

Tensor *t_pad_zeros_at(Tensor *x, int axis, int64_t before, int64_t size, T_AT) {
    char text[128];
    SHAPE_RULE(x->program, file, line,
               axis >= 0 && axis < x->rank && before >= 0 && before + x->size[axis] <= size && x->dtype == DTYPE_F32,
               "zeros around axis %d of %s, %" PRId64 " before, to make %" PRId64, axis,
               tensor_shape_text(x, text, sizeof text), before, size);
    if (size == x->size[axis]) return x;
    PlaceAttributes attributes = {axis, before};
    Node *node = program_record(x->program, &op_pad_zeros, 1, &x, &attributes, sizeof attributes, file, line);
    int64_t whole[RANK_MAX];
    memcpy(whole, x->size, sizeof whole);
    whole[axis] = size;
    return node_output(node, DTYPE_F32, x->rank, whole, lies_row_major(x) ? LAYOUT_ROW_MAJOR : LAYOUT_AUTO);
}

bool op_is_detach(const Op *op) {
    return op == &op_detach;
}

bool node_is_padding(const Tensor *t) {
    return t->base == t && t->node && t->node->op == &op_pad_zeros;
}

int padding_axis(const Tensor *t) {
    return ((const PlaceAttributes *)t->node->attributes)->axis;
}

int64_t padding_start(const Tensor *t) {
    return ((const PlaceAttributes *)t->node->attributes)->start;
}

Tensor *t_in_order(Tensor *x, const Tensor *like) {
    const int axis = like->rank != 4 || lies_row_major(like) ? like->rank - 1 : 1;
    return x->stride[axis] == 1 || x->size[axis] == 1 ? x : t_dense(x, like);
}

/* ---- one number ---- */

static void fill_define(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    real *to = run_real(run, out);
    for (int64_t i = 0; i < tensor_count(out); i++) to[i] = (real) * (const double *)node->attributes;
}

static const Op op_fill = {.name = "fill", .kind = OP_HEAVY, .define = fill_define};

Tensor *t_fill_at(const Tensor *like, double value, T_AT) {
    Node *node = program_record(like->program, &op_fill, 0, NULL, &value, sizeof value, file, line);
    return node_output(node, DTYPE_F32, like->rank, like->size, lies_row_major(like) ? LAYOUT_ROW_MAJOR : LAYOUT_AUTO);
}

/* ---- cat ---- */

typedef struct {
    int axis;
} CatAttributes;

static void cat_define(const Node *node, const Run *run) {
    const Tensor *out = node->output[0];
    int axis = ((const CatAttributes *)node->attributes)->axis;
    int64_t start = 0;
    for (int i = 0; i < node->inputs; i++) {
        const Tensor *x = node->input[i];
        copy_box(run->pool, x->rank, x->size, run_real(run, x), x->stride,
                 run_real(run, out) + start * out->stride[axis], out->stride);
        start += x->size[axis];
    }
}

static void cat_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    int axis = ((const CatAttributes *)node->attributes)->axis;
    int64_t start = 0;
    for (int i = 0; i < node->inputs; i++) {
        d_input[i] = t_slice(d_output[0], axis, start, node->input[i]->size[axis]);
        start += node->input[i]->size[axis];
    }
}

static bool cat_light(const Node *node) {
    (void)node;
    return true;
}

static void cat_print(const Node *node, FILE *to) {
    fprintf(to, " axis=%d", ((const CatAttributes *)node->attributes)->axis);
}

const Op op_cat = {.name = "cat",
                   .kind = OP_HEAVY,
                   .define = cat_define,
                   .print = cat_print,
                   .gradient = cat_gradient,
                   .light = cat_light};

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

/* dcv[2 floor(y/2), 2 floor(i/2), 2k] = sum of the four dout at (y,i,k), 0 elsewhere. */
static void even_pairs_backward_define(const Node *node, const Run *run) {
    const Tensor *d = node->input[0], *out = node->output[0];
    const real *from = run_real(run, d);
    real *to = run_real(run, out);
    const int64_t h = out->size[1], w = out->size[2], m = out->size[3];
    for (int64_t n = 0; n < out->size[0]; n++)
        for (int64_t y = 0; y < h; y++)
            for (int64_t i = 0; i < w; i++, to += m) {
                memset(to, 0, (size_t)m * sizeof *to);
                if (y % 2 || i % 2) continue;
                for (int64_t a = y; a < y + 2 && a < h; a++)
                    for (int64_t b = i; b < i + 2 && b < w; b++)
                        for (int64_t k = 0; k < m / 2; k++)
                            to[2 * k] +=
                                from[n * d->stride[0] + a * d->stride[1] + b * d->stride[2] + k * d->stride[3]];
            }
}
static const Op op_even_pairs_backward = {
    .name = "even_pairs_backward", .kind = OP_HEAVY, .define = even_pairs_backward_define};

static void even_pairs_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input) {
    if (!d_output[0]) return;
    Node *back = program_record(node->program, &op_even_pairs_backward, 1, (Tensor *[]){d_output[0]}, NULL, 0,
                                node->file, node->line);
    d_input[0] = node_output(back, DTYPE_F32, 4, node->input[0]->size, LAYOUT_ROW_MAJOR);
}

static const Op op_even_pairs = {
    .name = "even_pairs", .kind = OP_HEAVY, .define = even_pairs_define, .gradient = even_pairs_gradient};

Tensor *t_even_pairs_at(Tensor *cv, T_AT) {
    SHAPE_RULE(cv->program, file, line, cv->rank == 4 && cv->stride[3] == 1 && cv->size[3] >= 2,
               "even_pairs of a tensor that is not a volume");
    Node *node = program_record(cv->program, &op_even_pairs, 1, &cv, NULL, 0, file, line);
    return node_output(node, DTYPE_F32, 4, (int64_t[]){cv->size[0], cv->size[1], cv->size[2], cv->size[3] / 2},
                       LAYOUT_ROW_MAJOR);
}
