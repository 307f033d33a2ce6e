/* Gradients of pointwise functions, views and copies, sums; and the walk itself: what is shared, broadcast, frozen,
 * detached, and what has no gradient. Built for f64 too (PANUM_F64). */
#include "autograd/backward.h"
#include "base/err.h"
#include "tensor/op.h"
#include "tests/lib/gradient_check.h"

static Tensor *map_input(Program *program, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    return program_input(program, name, DTYPE_F32, 4, (int64_t[]){n, c, h, w});
}

/* ---- pointwise ---- */

typedef struct {
    PointwiseFunction function;
    double p, q, low, high;
} Unary;

static void record_unary(Program *program, const void *context) {
    const Unary *u = context;
    program_output(program, "y", t_unary_at(u->function, map_input(program, "x", 2, 5, 3, 7), u->p, u->q, T_HERE));
    Tensor *tokens = program_input(program, "tokens", DTYPE_F32, 3, (int64_t[]){2, 3, 19});
    program_output(program, "part", t_unary_at(u->function, t_slice(tokens, 2, 4, 11), u->p, u->q, T_HERE));
}

static void unary_functions(void **state) {
    (void)state;
    static const Unary unary[] = {
        {FN_RELU, 0, 0, -1, 1},         {FN_GELU, 0, 0, -4, 4},       {FN_SIGMOID, 0, 0, -5, 5},
        {FN_TANH, 0, 0, -3, 3},         {FN_EXP, 0, 0, -2, 2},        {FN_LOG, 0, 0, 0.3, 3},
        {FN_SQUARE, 0, 0, -2, 2},       {FN_SQRT, 0, 0, 0.3, 4},      {FN_ABS, 0, 0, -1, 1},
        {FN_AFFINE, -1.5, 0.25, -1, 1}, {FN_AFFINE, 1, 0.25, -1, 1},  {FN_CLAMP, -0.4, 0.6, -1, 1},
        {FN_ABOVE, 0.1, 0, -1, 1},      {FN_AT_LEAST, 0.1, 0, -1, 1}, {FN_LOGIT, 0.1, 0, 0.02, 0.98},
    };
    for (size_t i = 0; i < sizeof unary / sizeof *unary; i++) {
        char what[64];
        snprintf(what, sizeof what, "unary function %d", unary[i].function);
        gradient_check(
            what, record_unary, .context = &unary[i],
            .input = {{"x", unary[i].low, unary[i].high, false}, {"tokens", unary[i].low, unary[i].high, false}});
    }
}

static void record_binary(Program *program, const void *context) {
    PointwiseFunction f = *(const PointwiseFunction *)context;
    Tensor *x = map_input(program, "x", 2, 6, 3, 5), *y = map_input(program, "y", 2, 6, 3, 5);
    Tensor *mask = map_input(program, "mask", 2, 1, 3, 5);
    Tensor *vector = program_weight(program, "vector", 1, (int64_t[]){6});
    Tensor *one = program_weight(program, "one", 1, (int64_t[]){1});
    program_output(program, "same", t_binary_at(f, x, y, T_HERE));
    program_output(program, "row", t_binary_at(f, x, mask, T_HERE));
    program_output(program, "row first", t_binary_at(f, mask, y, T_HERE));
    program_output(program, "column", t_binary_at(f, x, vector, T_HERE));
    program_output(program, "column first", t_binary_at(f, vector, y, T_HERE));
    program_output(program, "one", t_binary_at(f, t_binary_at(f, x, one, T_HERE), t_affine(one, 0.5, 0), T_HERE));
    program_output(program, "one of a mask", t_binary_at(f, one, mask, T_HERE));
    Tensor *tokens = t_tokens(y), *head = t_slice(tokens, 2, 1, 3);
    program_output(program, "view", t_binary_at(f, head, t_slice(t_tokens(x), 2, 3, 3), T_HERE));
    program_output(program, "itself", t_binary_at(f, t_affine(x, 0.5, 1), t_affine(x, -0.25, 1.125), T_HERE));
}

static void binary_functions(void **state) {
    (void)state;
    for (PointwiseFunction f = FN_ADD; f <= FN_MIN; f++) {
        char what[64];
        double low = f == FN_DIV ? 0.5 : -1, high = f == FN_DIV ? 2 : 1;
        snprintf(what, sizeof what, "binary function %d", f);
        gradient_check(what, record_binary, .context = &f, .fast = 1e-4,
                       .input = {{"x", low, high, false},
                                 {"y", low, high, false},
                                 {"mask", low, high, false},
                                 {"vector", low, high, false},
                                 {"one", low, high, false}});
    }
}

/* A tie shares the gradient: the central difference of max at x = y is a half. */
static void record_tie(Program *program, const void *context) {
    (void)context;
    Tensor *x = map_input(program, "x", 1, 3, 2, 2);
    program_output(program, "y", t_max(t_affine(x, 1, 0), t_affine(x, 1, 0)));
    program_output(program, "z", t_min(t_affine(x, 3, 0), t_affine(x, 3, 0)));
}

/* ---- sums ---- */

static void record_sums(Program *program, const void *context) {
    const int64_t *c = context;
    Tensor *x = map_input(program, "x", 2, *c, 3, 5);
    Tensor *tokens = program_input(program, "tokens", DTYPE_F32, 3, (int64_t[]){3, 7, 2 * *c});
    Tensor *head = t_slice(tokens, 2, *c / 2, *c);
    program_output(program, "sum", t_square(t_sum(x)));
    program_output(program, "mean", t_mean(t_square(x)));
    program_output(program, "channels", t_square(t_sum_channels(x)));
    program_output(program, "positions", t_square(t_sum_positions(x)));
    program_output(program, "sum of a view", t_sum(t_square(head)));
    program_output(program, "channels of a view", t_square(t_sum_channels(head)));
    program_output(program, "positions of a view", t_square(t_sum_positions(head)));
    program_output(program, "rows of a picture", t_sum(t_slice(x, 2, 1, 2)));
    program_output(program, "expanded", t_mul(t_expand(t_sum_positions(x), x), t_expand(t_mean(x), x)));
}

static void sums(void **state) {
    (void)state;
    for (int64_t c = 1; c <= 37; c += 12) gradient_check("sums", record_sums, .context = &c, .most = 60, .fast = 1e-4);
}

/* ---- views and copies ---- */

static void record_views(Program *program, const void *context) {
    (void)context;
    Tensor *x = map_input(program, "x", 2, 6, 4, 5);
    Tensor *tokens = program_input(program, "tokens", DTYPE_F32, 3, (int64_t[]){2, 12, 5});
    Tensor *volume = program_input(program, "volume", DTYPE_F32, 3, (int64_t[]){6, 4, 4});
    Tensor *weight = program_weight(program, "weight", 4, (int64_t[]){4, 3, 3, 3});
    program_output(program, "tokens", t_square(t_tokens(x)));
    program_output(program, "row tokens", t_square(t_row_tokens(x)));
    program_output(program, "map", t_square(t_map(tokens, 2, 3, 4)));
    program_output(program, "map of rows", t_square(t_map(tokens, 4, 3, 2)));
    program_output(program, "volume", t_square(t_reshape(volume, 4, ((int64_t[]){2, 3, 4, 4}))));
    program_output(program, "weight", t_square(t_reshape(weight, 2, ((int64_t[]){12, 9}))));
    for (int axis = 0; axis < 4; axis++) {
        char name[32];
        int64_t half = x->size[axis] / 2;
        Tensor *a = t_slice(x, axis, 0, half), *b = t_slice(x, axis, half, x->size[axis] - half);
        snprintf(name, sizeof name, "swapped %d", axis);
        program_output(program, name, t_square(t_cat(axis, b, a)));
        snprintf(name, sizeof name, "inner part %d", axis);
        program_output(program, name, t_square(t_slice(t_slice(x, axis, 1, x->size[axis] - 1), axis, 0, 1)));
    }
}

static void record_pads(Program *program, const void *context) {
    (void)context;
    Tensor *x = map_input(program, "x", 2, 3, 2, 3);
    for (int axis = 0; axis < 4; axis++) {
        char name[32];
        snprintf(name, sizeof name, "padded %d", axis);
        program_output(program, name, t_square(t_affine(t_pad_zeros(x, axis, axis, 7), 1, 0.5)));
    }
    Tensor *volume = program_input(program, "volume", DTYPE_F32, 3, (int64_t[]){6, 4, 4});
    Tensor *square = t_reshape(volume, 4, ((int64_t[]){2, 3, 4, 4}));
    program_output(program, "row-major", t_square(t_pad_zeros(square, 3, 1, 9)));
    program_output(program, "copy", t_square(t_dense(square, x)));
    program_output(program, "other way", t_mul(square, map_input(program, "other", 2, 3, 4, 4)));
}

/* The same tensor read many times, by slices that overlap, leave gaps and fill it. */
static void record_shared(Program *program, const void *context) {
    (void)context;
    Tensor *x = map_input(program, "x", 1, 8, 3, 4);
    Tensor *weight = program_weight(program, "weight", 1, (int64_t[]){8});
    Tensor *y = t_mul(t_tanh(x), weight);
    Tensor *gate = t_sigmoid(t_add(y, x));
    Tensor *a = t_slice(gate, 1, 0, 3), *b = t_slice(gate, 1, 3, 5), *overlap = t_slice(gate, 1, 2, 3);
    Tensor *left = t_slice(y, 3, 0, 2), *right = t_slice(y, 3, 2, 2);
    y = t_add(t_mul(gate, x), t_mul(t_affine(gate, -1, 1), y));
    y = t_mul(y, t_cat(1, b, a));
    program_output(program, "y", t_mul(t_add(y, x), weight));
    program_output(program, "overlap", t_square(overlap));
    program_output(program, "stereo", t_mul(left, right));
    program_output(program, "gap", t_mul(t_slice(gate, 2, 0, 1), t_slice(gate, 2, 2, 1)));
    program_output(program, "column", t_mul(t_column_index(x), t_sum_channels(x)));
}

static void ties_views_and_shared_tensors(void **state) {
    (void)state;
    gradient_check("ties", record_tie);
    gradient_check("views", record_views);
    gradient_check("zeros around", record_pads);
    gradient_check("shared tensors", record_shared, .fast = 1e-4);
}

/* ---- products ---- */

static void record_products(Program *program, const void *context) {
    const int64_t *s = context; /* B, M, N, K */
    Tensor *a = program_input(program, "a", DTYPE_F32, 3, (int64_t[]){s[0], s[1], s[3]});
    Tensor *b = program_input(program, "b", DTYPE_F32, 3, (int64_t[]){s[0], s[3], s[2]});
    Tensor *wide = program_input(program, "wide", DTYPE_F32, 3, (int64_t[]){s[0], s[2], 2 * s[3]});
    program_output(program, "matmul", t_square(t_matmul(a, b)));
    program_output(program, "matmul_nt", t_square(t_matmul_nt(a, t_slice(wide, 2, 1, s[3]))));
    program_output(program, "transposed", t_matmul(t_transpose(t_tanh(b)), t_transpose(a)));
    program_output(program, "transpose", t_square(t_transpose(a)));
}

static void products(void **state) {
    (void)state;
    static const int64_t shape[][4] = {{1, 1, 1, 1}, {3, 5, 7, 4}, {2, 17, 33, 9}, {2, 61, 40, 35}};
    for (int i = 0; i < 4; i++) gradient_check("matrix products", record_products, .context = shape[i], .most = 40);
}

/* ---- the walk ---- */

static void what_is_frozen_or_detached_gets_none(void **state) {
    (void)state;
    Program *program = program_make();
    assert_non_null(program);
    Tensor *x = map_input(program, "x", 1, 4, 2, 2);
    Tensor *a = program_weight(program, "body.a", 1, (int64_t[]){4}),
           *b = program_weight(program, "head.b", 1, (int64_t[]){4});
    Tensor *c = program_weight(program, "head.c", 1, (int64_t[]){4}),
           *unused = program_weight(program, "head.d", 1, (int64_t[]){4});
    Tensor *body = t_mul(x, a), *stopped = t_detach(t_mul(body, c));
    Tensor *loss = t_mean(t_mul(t_add(body, stopped), b));
    static const char *const frozen[] = {"body.*"};
    assert_int_equal(backward(loss, &(BackwardOptions){.frozen = frozen, .frozen_count = 1}), 0);
    assert_null(gradient_of(a));
    assert_null(gradient_of(x));
    assert_null(gradient_of(c));
    assert_null(gradient_of(unused));
    assert_non_null(gradient_of(b));
    assert_true(tensor_same_shape(gradient_of(b), b));
    program_drop(program);
}

static void define_nothing(const Node *node, const Run *run) {
    (void)node, (void)run;
}

static void an_operator_without_gradient_is_named(void **state) {
    (void)state;
    static const Op op = {.name = "mystery", .kind = OP_HEAVY, .define = define_nothing};
    Program *program = program_make();
    assert_non_null(program);
    Tensor *w = program_weight(program, "w", 1, (int64_t[]){4});
    Tensor *x = program_input(program, "x", DTYPE_F32, 1, (int64_t[]){4});
    scope_push(program, "head");
    Node *node = program_record(program, &op, 1, &w, NULL, 0, "model.c", 12);
    Tensor *y = node_output(node, DTYPE_F32, 1, (int64_t[]){4}, LAYOUT_AUTO);
    Node *harmless = program_record(program, &op, 1, &x, NULL, 0, "model.c", 13);
    Tensor *z = node_output(harmless, DTYPE_F32, 1, (int64_t[]){4}, LAYOUT_AUTO);
    scope_pop(program);
    assert_int_equal(backward(t_sum(t_mul(w, z)), NULL), 0);
    assert_int_equal(backward(t_sum(t_mul(y, z)), NULL), ERR_FAILED);
    assert_non_null(strstr(err_sentence(), "mystery in head (model.c:12)"));
    program_drop(program);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unary_functions),
        cmocka_unit_test(binary_functions),
        cmocka_unit_test(sums),
        cmocka_unit_test(ties_views_and_shared_tensors),
        cmocka_unit_test(products),
        cmocka_unit_test(what_is_frozen_or_detached_gets_none),
        cmocka_unit_test(an_operator_without_gradient_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
