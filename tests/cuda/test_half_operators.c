/* Every operator that takes 16 bits a number, on the emulated device in f16 and bf16 against the f32 CPU, forward and,
 * of those whose gradients lie in the same kernel files, backward. Products, convolutions and whole networks are in
 * test_half.c.
 *
 * The same programs show that NaN and infinities come out where the definitions of the CPU have them and nowhere else:
 * in bf16, which has f32's range, and whose kernels are those of f32 but for loads and stores; and operators that are
 * f32 always, or have other kernels there, in f32.
 *
 * Bounds: what comes in and what goes out is rounded once each, by 2^-11 (f16) or 2^-8 (bf16) of it; between them is
 * f32. A gradient or a norm makes of the first error up to some times as much. */
#include "base/mem.h"
#include "exec/steps.h"
#include "nn/net.h"
#include "nn/store.h"
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/lib/check.h"

#include <math.h>

static const GpuStorage storages[] = {GPU_F16, GPU_BF16};
static const char *const names[] = {"f16", "bf16"};
static const double bounds[] = {3e-3, 2.4e-2};

/* Values that come from a region, and so lie in 16 bits; as all other regions here it is one multiply and one add, so
 * that one kernel does for all. */
static Tensor *stored(Tensor *x) {
    return t_affine(x, 0.75, 0.125);
}

static Tensor *map(Program *p, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    return stored(program_input(p, name, DTYPE_F32, 4, (int64_t[]){n, c, h, w}));
}

/* `t` through a region to an output, so that it is stored in 16 bits itself if its operator can. */
static void result(Program *p, const char *name, Tensor *t) {
    program_output(p, name, stored(t));
}

static bool values_alone; /* no gradients */

/* The value of y's operator, and the gradients that it records for a gradient of y in 16 bits. */
static void both(Program *p, const char *name, Tensor *y) {
    const Node *node = y->node;
    Tensor *dy[NODE_OUTPUTS_MAX] = {NULL}, *d_input[NODE_INPUTS_MAX] = {NULL};
    char text[48];
    result(p, name, y);
    if (values_alone) return;
    snprintf(text, sizeof text, "dy of %s", name);
    dy[0] = stored(program_input(p, text, DTYPE_F32, y->rank, y->size));
    node->op->gradient(node, dy, d_input);
    for (int k = 0; k < node->inputs; k++) {
        snprintf(text, sizeof text, "gradient %d of %s", k, name);
        if (d_input[k]) result(p, text, d_input[k]);
    }
}

/* Maps whose channels are not pieces of 16 bytes, slices, sides that are odd. */
static Program *sizes(Net *net) {
    Program *p = net->program;
    Tensor *x = map(p, "x", 2, 9, 6, 7), *part = t_slice(map(p, "wide", 1, 12, 5, 9), 1, 2, 9);
    both(p, "avg_pool2", t_avg_pool2(x));
    both(p, "upsample2_nearest", t_upsample2_nearest(x));
    both(p, "adaptive_avg_pool", t_adaptive_avg_pool(x, 4, 3));
    both(p, "adaptive_avg_pool of large cells", t_adaptive_avg_pool(map(p, "large", 1, 9, 9, 8), 1, 1));
    both(p, "resize_bilinear", t_resize_bilinear(x, 9, 5));
    both(p, "avg_pool2d", t_avg_pool2d(x, .kernel = 3, .stride = 1, .pad = 1));
    both(p, "avg_pool2d in two launches", t_avg_pool2d(part, .kernel = 5, .stride = 2, .pad = 2, .exclude_pad = true));
    result(p, "resized part", t_resize_bilinear(part, 10, 4));
    return p;
}

static Program *norms(Net *net) {
    Program *p = net->program;
    Tensor *x = map(p, "x", 2, 12, 5, 7), *part = t_slice(map(p, "wide", 1, 24, 9, 5), 1, 8, 16);
    Tensor *weight = nn_parameter(net, "weight", 1, (int64_t[]){12}),
           *bias = nn_parameter(net, "bias", 1, weight->size);
    both(p, "group_norm", t_group_norm(x, 3, weight, bias, 1e-5));
    both(p, "group_norm of a part", t_group_norm(part, 2, NULL, NULL, 1e-5));
    both(p, "layer_norm", t_layer_norm(x, weight, bias, 1e-5));
    both(p, "softmax", t_softmax(part));
    program_output(p, "sum", t_affine(t_sum(x), 0.01, 0));
    program_output(p, "sum_channels", t_affine(t_sum_channels(part), 0.1, 0));
    program_output(p, "sum_positions", t_affine(t_sum_positions(part), 0.1, 0));
    return p;
}

/* A position, a disparity and what is upsampled stay f32 beside features in 16 bits. */
static Program *places(Net *net) {
    Program *p = net->program;
    Tensor *x = map(p, "x", 2, 9, 6, 7), *grid = map(p, "grid", 2, 2, 5, 4), *d = map(p, "d", 2, 1, 6, 7);
    both(p, "grid_sample", t_grid_sample(x, grid, .border = true));
    both(p, "warp_rows", t_warp_rows(x, t_affine(d, 3, 0), .border = false).picture);
    Tensor *low = map(p, "low", 1, 1, 3, 5), *logits = map(p, "logits", 1, 9, 6, 10);
    both(p, "convex_upsample", t_convex_upsample(low, logits, .factor = 2));
    both(p, "clipped", t_convex_upsample(low, logits, .factor = 2, .clipped = true));
    return p;
}

static Program *moves(Net *net) {
    Program *p = net->program;
    Tensor *x = map(p, "x", 2, 9, 3, 7), *part = t_slice(x, 3, 1, 5), *thin = map(p, "thin", 2, 1, 3, 5);
    result(p, "pad_zeros", t_pad_zeros(part, 3, 2, 9));
    result(p, "pad_zeros of channels", t_pad_zeros(part, 1, 0, 11));
    result(p, "copy", t_dense(part, part));
    result(p, "cat", t_cat(1, part, thin, part));
    Tensor *filled =
        t_fill(t_pad_zeros(part, 2, 1, 6), -1.5); /* read by an operator: one number is a region's otherwise */
    result(p, "fill", t_avg_pool2(filled));
    /* parts of a convolution that are f32 beside others in 16 bits */
    result(p, "conv2d of a disparity and features", nn_conv3(net, "conv", t_cat(1, thin, part), 9));
    return p;
}

static Program *attentions(Net *net) {
    Program *p = net->program;
    Tensor *q = stored(program_input(p, "q", DTYPE_F32, 3, (int64_t[]){2, 12, 16}));
    Tensor *k = stored(program_input(p, "k", DTYPE_F32, 3, (int64_t[]){2, 12, 16}));
    Tensor *v = stored(program_input(p, "v", DTYPE_F32, 3, (int64_t[]){2, 12, 16}));
    Tensor *weight = nn_parameter(net, "weight", 2, (int64_t[]){8, 32});
    Tensor *bias = nn_parameter(net, "bias", 1, (int64_t[]){8});
    result(p, "attention", t_attention(q, k, v, .heads = 2, .swap_halves = true));
    result(p, "attention_relative", t_attention_relative(q, k, v, weight, bias, 2, 3, 4));
    return p;
}

/* Every pointwise function of the same x and y, so that some share a kernel. */
static Program *functions(Net *net) {
    Program *p = net->program;
    const int64_t size[] = {2, 9, 2, 3};
    Tensor *x = t_affine(program_input(p, "x", DTYPE_F32, 4, size), 2, 0);
    Tensor *y = t_affine(program_input(p, "y", DTYPE_F32, 4, size), 2, 0);
    for (int f = 0; f < FN_COUNT; f++) {
        const PointwiseFunction function = (PointwiseFunction)f;
        if (f == FN_FROM_U8) continue;
        program_output(p, pointwise_name(function),
                       pointwise_is_binary(function)
                           ? t_binary_at(function, x, y, T_HERE)
                           : t_unary_at(function, x, f == FN_CLAMP ? -0.5 : 0.25, 0.5, T_HERE));
    }
    return p;
}

/* Products of every kind, whole blocks and edges, and what is f32 always. */
static Program *products(Net *net) {
    Program *p = net->program;
    Tensor *x = map(p, "x", 2, 8, 5, 7),
           *tokens = stored(program_input(p, "tokens", DTYPE_F32, 3, (int64_t[]){2, 9, 16}));
    program_output(p, "conv2d", nn_conv3(net, "conv", x, 12));
    program_output(p, "strided",
                   t_conv2d(x, nn_parameter(net, "strided", 4, (int64_t[]){8, 8, 3, 3}), NULL, .stride = 2, .pad_h = 1,
                            .pad_w = 1));
    program_output(p, "conv_transpose2d",
                   t_conv_transpose2d(x, nn_parameter(net, "across", 4, (int64_t[]){8, 8, 2, 2}), NULL, .stride = 2));
    program_output(p, "linear", nn_linear(net, "linear", tokens, 12, WITH_BIAS));
    program_output(p, "matmul_nt", t_matmul_nt(tokens, tokens));
    program_output(p, "matmul", t_matmul(t_transpose(tokens), tokens));
    return p;
}

static Program *correlation(Net *net) {
    Program *p = net->program;
    Tensor *cv =
        t_reshape(program_input(p, "cv", DTYPE_F32, 1, (int64_t[]){2 * 3 * 12 * 12}), 4, (int64_t[]){2, 3, 12, 12});
    Tensor *d = program_input(p, "d", DTYPE_F32, 4, (int64_t[]){2, 1, 3, 12});
    for (int positive = 0; positive < 2; positive++) {
        Transport t = t_transport(cv, .iterations = 3, .positive = positive);
        program_output(p, positive ? "positive disparity" : "disparity", t.disparity);
        program_output(p, positive ? "positive confidence" : "confidence", t.confidence);
        program_output(p, positive ? "positive occlusion" : "occlusion", t.occlusion);
    }
    Tensor *valid = program_input(p, "valid", DTYPE_F32, 4, d->size);
    program_output(p, "transport_mass",
                   t_transport_mass(cv, d, valid, .radius = 1, .factor = 1, .transport = {.iterations = 3}));
    program_output(p, "lookup", t_lookup(cv, d, .step = 1));
    program_output(p, "pool_pairs", t_pool_pairs(cv));
    program_output(p, "even_pairs", t_even_pairs(cv));
    program_output(p, "column_index", t_column_index(cv));
    return p;
}

static bool is_half(const Plan *plan, const Node *node) {
    bool half = false;
    for (int i = 0; i < node->inputs; i++) half = half || (node->input[i] && plan_half(plan, node->input[i]->base));
    for (int i = 0; i < node->outputs; i++) half = half || plan_half(plan, node->output[i]->base);
    return half;
}

/* Nothing is compared in f32 by mistake: every operator of the program meets 16 bits. */
static void check_stored(Program *p) {
    Plan *plan;
    must(plan_make(p, NULL, NULL, (PlanOptions){.shape_only = true, .halves = gpu_halves}, &plan));
    const Steps *steps = plan_step_list(plan);
    for (int i = 0; i < steps->steps; i++) {
        const Node *node = steps->step[i].node;
        if (node && !is_half(plan, node)) fail_msg("%s is all f32", node->op->name);
    }
    plan_drop(plan);
}

typedef Program *Record(Net *net);

static void check(const char *what, Record *record) {
    for (int s = 0; s < 2; s++)
        for (int rung = 0; rung < 2; rung++) {
            Net net = {program_make()};
            char text[48];
            NN_SCOPE(&net, "net") record(&net);
            if (s + rung == 0) check_stored(net.program);
            snprintf(text, sizeof text, "%s in %s%s", what, names[s], rung ? ", plain" : "");
            compare_plan(text, net.program,
                         (PlanWay){{.halves = gpu_halves},
                                   {.rung = rung ? RUNG_PLAIN : RUNG_FAST, .storage = storages[s]},
                                   {.order = (unsigned)(s + rung), .unwatched = true}},
                         bounds[s]);
            program_drop(net.program);
        }
}

/* Watched where another test has the same kernels, which are compiled once so. */
static void check_odd(const char *what, Record *record, GpuStorage storage, double bound, bool watched) {
    static const float odd[] = {NAN, INFINITY, -INFINITY};
    values_alone = true;
    for (int i = 0; i < 3; i++)
        for (int rung = 0; rung < 2; rung++) {
            Net net = {program_make()};
            char text[64];
            NN_SCOPE(&net, "net") record(&net);
            snprintf(text, sizeof text, "%s with %g%s", what, (double)odd[i], rung ? ", plain" : "");
            compare_plan_odd(text, net.program,
                             (PlanWay){{.halves = storage == GPU_F32 ? NULL : gpu_halves},
                                       {.rung = rung ? RUNG_PLAIN : RUNG_FAST, .storage = storage, .launch_each = true},
                                       {.order = (unsigned)i, .unwatched = !watched}},
                             odd[i], bound);
            program_drop(net.program);
        }
    values_alone = false;
}

static void test_sizes(void **state) {
    (void)state;
    check("sizes", sizes);
    check_odd("sizes", sizes, GPU_BF16, bounds[1], false);
}
static void test_norms(void **state) {
    (void)state;
    check("norms", norms);
    check_odd("norms", norms, GPU_BF16, bounds[1], false);
}
static void test_places(void **state) {
    (void)state;
    check("places", places);
    check_odd("places", places, GPU_BF16, bounds[1], false);
}
static void test_moves(void **state) {
    (void)state;
    check("moves", moves);
    check_odd("moves", moves, GPU_BF16, bounds[1], false);
}
static void test_attentions(void **state) {
    (void)state;
    check("attentions", attentions);
    check_odd("attentions", attentions, GPU_BF16, bounds[1], false);
}

static void test_odd_f32(void **state) {
    (void)state;
    check_odd("functions", functions, GPU_F32, 2e-6, false);
    check_odd("products", products, GPU_F32, 2e-6, true);
    check_odd("attentions", attentions, GPU_F32, 3e-6, true);
    check_odd("correlation", correlation, GPU_F32, 2e-5, true);
}

static void test_odd_products(void **state) {
    (void)state;
    check_odd("products in f16", products, GPU_F16, bounds[0], true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes),       cmocka_unit_test(test_norms),
                                       cmocka_unit_test(test_places),      cmocka_unit_test(test_moves),
                                       cmocka_unit_test(test_attentions),  cmocka_unit_test(test_odd_f32),
                                       cmocka_unit_test(test_odd_products)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
