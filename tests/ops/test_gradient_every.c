/* Is the gradient of every operator held against differences? Each case here records some operators on odd shapes and
 * on views; gradient_check.h compares. What the cases have recorded is compared with the descriptors in tensor/ops: an
 * operator that has a gradient and no case here, or only cases of even shapes or of whole tensors, fails the test, and
 * so does one that has none and is not known to need none. More shapes, by family, are in the other test_gradient_*.
 *
 * Built for f64 too (PANUM_F64). */
#include "base/file.h"
#include "base/mem.h"
#include "tensor/op.h"
#include "tests/lib/gradient_check.h"

#include <dirent.h>

/* ---- the cases ---- */

static Tensor *map_of(Program *p, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    return program_input(p, name, DTYPE_F32, 4, (int64_t[]){n, c, h, w});
}
/* The inner channels of a larger map. */
static Tensor *map_part(Program *p, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    return t_slice(map_of(p, name, n, c + 2, h, w), 1, 1, c);
}
static Tensor *tokens_of(Program *p, const char *name, int64_t b, int64_t t, int64_t c) {
    return program_input(p, name, DTYPE_F32, 3, (int64_t[]){b, t, c});
}
/* A row-major volume, as products make it. */
static Tensor *volume(Program *p, const char *name, int64_t n, int64_t h, int64_t w, int64_t m) {
    return t_reshape(program_input(p, name, DTYPE_F32, 1, (int64_t[]){n * h * w * m}), 4, (int64_t[]){n, h, w, m});
}
static Tensor *weight(Program *p, const char *name, int64_t a, int64_t b, int64_t c, int64_t d) {
    int rank = d ? 4 : b ? 2 : 1;
    return program_weight(p, name, rank, (int64_t[]){a, b, c, d});
}
/* So that the gradient that arrives at an operator depends on what it made. */
static void out(Program *p, const char *name, Tensor *t) {
    program_output(p, name, t_mul(t, t_affine(t, 0.25, 1)));
}

static void views(Program *p, const void *context) {
    (void)context;
    Tensor *x = map_part(p, "x", 2, 5, 3, 7), *tokens = t_slice(tokens_of(p, "tokens", 2, 15, 7), 2, 1, 5);
    Tensor *cv = volume(p, "cv", 3, 5, 7, 3);
    out(p, "tokens", t_tokens(x));
    out(p, "row tokens", t_row_tokens(x));
    out(p, "map", t_map(tokens, 2, 3, 5));
    out(p, "reshape", t_reshape(cv, 3, ((int64_t[]){15, 7, 3})));
    out(p, "transpose", t_transpose(tokens));
    out(p, "slice", t_slice(x, 3, 2, 3));
    out(p, "copy", t_dense(x, map_of(p, "like", 2, 5, 3, 7)));
    out(p, "pad_zeros", t_pad_zeros(x, 3, 1, 11));
    out(p, "cat", t_cat(1, x, t_slice(x, 1, 2, 3)));
    out(p, "even_pairs", t_even_pairs(cv));
    out(p, "pool_pairs", t_pool_pairs(cv));
}

static void sums(Program *p, const void *context) {
    (void)context;
    Tensor *x = map_part(p, "x", 2, 5, 3, 7);
    out(p, "sum", t_sum(x));
    out(p, "mean", t_mean(x));
    out(p, "channels", t_sum_channels(x));
    out(p, "positions", t_sum_positions(x));
    out(p, "expand", t_mul(t_expand(t_sum_positions(x), x), t_expand(t_sum_channels(x), x)));
}

static void products(Program *p, const void *context) {
    (void)context;
    Tensor *a = t_slice(tokens_of(p, "a", 3, 5, 9), 2, 1, 7), *b = t_slice(tokens_of(p, "b", 3, 11, 9), 2, 2, 7);
    out(p, "matmul_nt", t_matmul_nt(a, b));
    out(p, "matmul", t_matmul(a, t_transpose(b)));
    out(p, "linear", t_linear(a, weight(p, "linear", 3, 7, 0, 0), weight(p, "linear.bias", 3, 0, 0, 0)));
    out(p, "softmax", t_softmax(a));
    out(p, "attention",
        t_attention(t_slice(tokens_of(p, "q", 2, 5, 9), 2, 1, 6), t_slice(tokens_of(p, "k", 2, 7, 9), 2, 2, 6),
                    t_slice(tokens_of(p, "v", 2, 7, 9), 2, 3, 6), .heads = 2, .swap_halves = true));
}

static void relative(Program *p, const void *context) {
    (void)context;
    Tensor *qkv = tokens_of(p, "qkv", 1, 15, 19), *pe = weight(p, "pe", 3, 32, 0, 0),
           *bias = weight(p, "b", 3, 0, 0, 0);
    out(p, "attention_relative",
        t_attention_relative(t_slice(qkv, 2, 0, 6), t_slice(qkv, 2, 6, 6), t_slice(qkv, 2, 12, 6), pe, bias, 2, 3, 5));
}

static void convolutions(Program *p, const void *context) {
    (void)context;
    Tensor *x = map_part(p, "x", 2, 3, 5, 7);
    out(p, "conv2d",
        t_conv2d(x, weight(p, "conv", 5, 3, 3, 3), weight(p, "conv.bias", 5, 0, 0, 0), .stride = 2, .pad_h = 1,
                 .pad_w = 1));
    out(p, "conv_transpose2d",
        t_conv_transpose2d(x, weight(p, "up", 3, 5, 2, 2), weight(p, "up.bias", 5, 0, 0, 0), .stride = 2));
    Tensor *y = map_part(p, "y", 1, 9, 3, 5);
    out(p, "layer_norm", t_layer_norm(y, weight(p, "ln", 9, 0, 0, 0), weight(p, "ln.bias", 9, 0, 0, 0), 1e-3));
    out(p, "group_norm", t_group_norm(y, 3, weight(p, "gn", 9, 0, 0, 0), weight(p, "gn.bias", 9, 0, 0, 0), 1e-3));
}

static void resampling(Program *p, const void *context) {
    (void)context;
    Tensor *x = map_part(p, "x", 2, 3, 5, 7);
    out(p, "avg_pool2", t_avg_pool2(x));
    out(p, "avg_pool2d", t_avg_pool2d(x, .kernel = 3, .stride = 1, .pad = 1));
    out(p, "adaptive_avg_pool", t_adaptive_avg_pool(x, 3, 2));
    out(p, "resize_bilinear", t_resize_bilinear(x, 7, 9));
    out(p, "upsample2_nearest", t_upsample2_nearest(x));
    out(p, "grid_sample", t_grid_sample(x, map_part(p, "grid", 2, 2, 3, 5), .border = true));
    out(p, "warp_rows", t_warp_rows(x, map_part(p, "shift", 2, 1, 5, 7)).picture);
    out(p, "convex_upsample",
        t_convex_upsample(map_part(p, "low", 1, 1, 3, 5), map_part(p, "logits", 1, 9, 6, 10), .factor = 2));
}

static void stereo(Program *p, const void *context) {
    (void)context;
    Tensor *cv = volume(p, "cv", 2, 3, 7, 7);
    Transport t = t_transport(cv);
    out(p, "disparity", t.disparity);
    out(p, "confidence", t.confidence);
    out(p, "occlusion", t.occlusion);
    out(p, "lookup", t_lookup(cv, map_part(p, "d", 2, 1, 3, 7), .step = 1));
    out(p, "mass",
        t_transport_mass(cv, map_of(p, "near", 2, 1, 6, 14), map_of(p, "known", 2, 1, 6, 14), .factor = 2,
                         .radius = 1));
}

typedef struct {
    double p, q, low, high; /* arguments; where x is */
} Domain;

static const Domain domains[FN_COUNT] = {
    [FN_RELU] = {0, 0, -1, 1},         [FN_GELU] = {0, 0, -4, 4},         [FN_SIGMOID] = {0, 0, -5, 5},
    [FN_TANH] = {0, 0, -3, 3},         [FN_EXP] = {0, 0, -2, 2},          [FN_LOG] = {0, 0, 0.3, 3},
    [FN_SQUARE] = {0, 0, -2, 2},       [FN_SQRT] = {0, 0, 0.3, 4},        [FN_ABS] = {0, 0, -1, 1},
    [FN_AFFINE] = {-1.5, 0.25, -1, 1}, [FN_CLAMP] = {-0.4, 0.6, -1, 1},   [FN_ABOVE] = {0.1, 0, -1, 1},
    [FN_AT_LEAST] = {0.1, 0, -1, 1},   [FN_LOGIT] = {0.1, 0, 0.02, 0.98}, [FN_ADD] = {0, 0, -1, 1},
    [FN_SUB] = {0, 0, -1, 1},          [FN_MUL] = {0, 0, -1, 1},          [FN_DIV] = {0, 0, 0.5, 2},
    [FN_MAX] = {0, 0, -1, 1},          [FN_MIN] = {0, 0, -1, 1},
};

static void function(Program *p, const void *context) {
    const PointwiseFunction f = *(const PointwiseFunction *)context;
    Tensor *x = map_of(p, "x", 2, 5, 3, 7), *part = map_part(p, "part", 2, 5, 3, 7);
    if (f < FN_FROM_U8) {
        program_output(p, "whole", t_unary_at(f, x, domains[f].p, domains[f].q, T_HERE));
        program_output(p, "view", t_unary_at(f, part, domains[f].p, domains[f].q, T_HERE));
        return;
    }
    Tensor *row = map_of(p, "row", 2, 1, 3, 7), *column = weight(p, "column", 5, 0, 0, 0),
           *one = weight(p, "one", 1, 0, 0, 0);
    Tensor *const other[] = {part, row, column, one};
    for (int i = 0; i < 4; i++)
        for (int first = 0; first < 2; first++) {
            char name[32];
            snprintf(name, sizeof name, "%d %d", i, first);
            program_output(p, name, first ? t_binary_at(f, other[i], x, T_HERE) : t_binary_at(f, x, other[i], T_HERE));
        }
}

/* ---- what they cover ---- */

enum { OPERATORS_MAX = 200, NAME = 64 };
typedef enum { COVERED = 1, ODD = 2, VIEW = 4, BROADCAST = 8 } Covered;

static struct {
    char name[NAME];
    bool has_gradient;
    unsigned covered;
} op[OPERATORS_MAX];
static int ops;

/* Every `.name = "..."` of a descriptor, and whether a `.gradient` follows before the descriptor ends. */
static void find_in(const char *path) {
    static const char mark[] = ".name = \"";
    uint8_t *bytes;
    size_t size;
    assert_int_equal(file_read(path, 1 << 22, &bytes, &size), 0);
    char *text = mem_zero(size + 1, 1);
    assert_non_null(text);
    memcpy(text, bytes, size);
    mem_free(bytes);
    for (char *at = text; (at = strstr(at, mark)) != NULL;) {
        at += strlen(mark);
        char *end = strstr(at, "};");
        const size_t n = strcspn(at, "\"");
        assert_true(end && n < NAME && ops < OPERATORS_MAX);
        *end = 0;
        snprintf(op[ops].name, NAME, "%.*s", (int)n, at);
        op[ops++].has_gradient = strstr(at, ".gradient = ") != NULL;
        at = end + 1;
    }
    mem_free(text);
}

static void find_operators(void) {
    DIR *folder = opendir("tensor/ops");
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const size_t n = strlen(entry->d_name);
        char path[400];
        snprintf(path, sizeof path, "tensor/ops/%s", entry->d_name);
        if (n > 2 && !strcmp(entry->d_name + n - 2, ".c")) find_in(path);
    }
    closedir(folder);
    assert_true(ops > 50);
}

static unsigned covered_by(const Node *node) {
    unsigned covered = COVERED;
    for (int k = 0; k < node->inputs; k++) {
        const Tensor *t = node->input[k];
        if (!t) continue;
        for (int axis = 0; axis < t->rank; axis++)
            if (t->size[axis] > 1 && t->size[axis] % 2) covered |= ODD;
        if (t->base != t) covered |= VIEW;
        if (node->op->kind == OP_POINTWISE && !tensor_same_shape(t, node->output[0])) covered |= BROADCAST;
    }
    return covered;
}

static void cover(GradientRecord record, const void *context) {
    Program *p = program_make();
    assert_non_null(p);
    record(p, context);
    for (int i = 0; i < program_nodes(p); i++)
        for (int k = 0; k < ops; k++)
            if (!strcmp(program_node(p, i)->op->name, op[k].name)) op[k].covered |= covered_by(program_node(p, i));
    program_drop(p);
}

static bool needs_none(const char *name) {
    static const char *const constant[] = {"fill", "column_index"}; /* of no input */
    for (int i = 0; i < 2; i++)
        if (!strcmp(name, constant[i])) return true;
    return strstr(name, "_backward") || strstr(name, "_gradient");
}

static void every_operator_with_a_gradient_has_a_case(void **state) {
    (void)state;
    int missing = 0;
    for (int i = 0; i < ops; i++) {
        unsigned want = COVERED | ODD | VIEW;
        if (!strcmp(op[i].name, "pointwise")) want |= BROADCAST;
        if (!strcmp(op[i].name, "detach")) continue; /* its gradient is none: test_gradient_basic.c */
        if (!op[i].has_gradient && !needs_none(op[i].name)) printf("  %s has no gradient\n", op[i].name), missing++;
        if (op[i].has_gradient && (op[i].covered & want) != want)
            printf("  %s has no case%s\n", op[i].name,
                   !(op[i].covered & COVERED) ? ""
                   : !(op[i].covered & ODD)   ? " of an odd shape"
                   : !(op[i].covered & VIEW)  ? " of a view"
                                              : " that repeats an operand"),
                missing++;
    }
    assert_int_equal(missing, 0);
}

static void cases(void **state) {
    (void)state;
    find_operators();
    static const struct {
        const char *what;
        GradientRecord record;
        GradientInput input[3];
    } all[] = {
        {"views and copies", views, {{"like", 0, 0, true}}},
        {"sums", sums, {{0}}},
        {"products and attention", products, {{0}}},
        {"relative attention", relative, {{0}}},
        {"convolutions and norms", convolutions, {{0}}},
        {"resampling", resampling, {{"shift", -4, 4, false}, {"grid", -1.2, 1.2, false}}},
        {"stereo", stereo, {{"near", -5, 5, true}, {"known", -0.3, 1, true}, {"d", -4, 4, false}}},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        gradient_check(all[i].what, all[i].record, .most = 24, .fast = 1e-4,
                       .input = {all[i].input[0], all[i].input[1], all[i].input[2]});
        cover(all[i].record, NULL);
    }
}

static void functions(void **state) {
    (void)state;
    for (PointwiseFunction f = 0; f < FN_RELU_GRADIENT; f++) {
        char what[64];
        const double low = domains[f].low, high = domains[f].high;
        if (f == FN_FROM_U8) continue; /* of bytes */
        if (low == high) fail_msg("function %d has no case", f);
        snprintf(what, sizeof what, "function %d", f);
        gradient_check(what, function, .context = &f, .most = 24, .fast = 1e-4,
                       .input = {{"x", low, high, false},
                                 {"part", low, high, false},
                                 {"row", low, high, false},
                                 {"column", low, high, false},
                                 {"one", low, high, false}});
        cover(function, &f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases),
        cmocka_unit_test(functions),
        cmocka_unit_test(every_operator_with_a_gradient_has_a_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
