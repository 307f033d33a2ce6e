/* Plans on the emulated device against the same plans on the CPU: layouts, holes, segments, both rungs of the ladder,
 * and what comes compiled with the program, the graph and single launches; what memory is taken; and what is refused.
 */
#include "base/mem.h"
#include "cuda/region.h"
#include "exec/gpu.h"
#include "exec/steps.h"
#include "nn/net.h"
#include "nn/store.h"
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/cuda/simt/test_device.h"
#include "tests/lib/check.h"

static Tensor *input(Program *program, const char *name, int64_t a, int64_t b, int64_t c) {
    return program_input(program, name, DTYPE_F32, 3, (int64_t[]){a, b, c});
}

/* ---- programs ---- */

/* Tokens through two layers with everything a hole can hold: bias, activation, a column vector, a residual, a mask of
 * one value a row, a scalar; and parts side by side instead of a concatenation. */
static Program *layers(int64_t rows, int64_t in, int64_t hidden) {
    Program *program = program_make();
    Net net = {program};
    Tensor *x = input(program, "x", 2, rows, in), *mask = input(program, "mask", 2, rows, 1);
    Tensor *scale = program_input(program, "scale", DTYPE_F32, 1, (int64_t[]){hidden});
    Tensor *one = program_input(program, "one", DTYPE_F32, 1, (int64_t[]){1});
    Tensor *y = NULL;
    NN_SCOPE(&net, "net") {
        Tensor *h = t_gelu(nn_linear(&net, "a", x, hidden, WITH_BIAS));
        Tensor *g = t_mul(t_sigmoid(nn_linear(&net, "g", t_cat(2, x, h), hidden, WITH_BIAS)), scale);
        y = t_mul(t_add(t_mul(g, h), t_tanh(h)), mask);
        y = t_add(nn_linear(&net, "b", y, in, WITHOUT_BIAS), x);
        y = t_mul(y, one);
    }
    program_output(program, "y", y);
    return program;
}

/* Scores and what they gather: matmul_nt of slices, softened, times values; a transposed operand. */
static Program *products(int64_t batch, int64_t m, int64_t n, int64_t k) {
    Program *program = program_make();
    Tensor *a = input(program, "a", batch, m, k + 3), *b = input(program, "b", batch, n, k);
    Tensor *s = t_matmul_nt(t_slice(a, 2, 2, k), b); /* (batch, m, n) */
    program_output(program, "scores", s);
    Tensor *e = t_exp(t_affine(s, 0.25, -0.5));
    program_output(program, "gathered", t_matmul(e, b));                             /* (batch, m, k) */
    program_output(program, "other", t_matmul(t_transpose(e), t_slice(a, 2, 0, k))); /* (batch, n, k) */
    return program;
}

/* Every pointwise function, of maps; bytes too. */
static Program *functions(int64_t side) {
    Program *program = program_make();
    Tensor *x = program_input(program, "x", DTYPE_F32, 4, (int64_t[]){1, 5, side, side});
    Tensor *y = program_input(program, "y", DTYPE_F32, 4, (int64_t[]){1, 5, side, side});
    Tensor *map = program_input(program, "map", DTYPE_F32, 4, (int64_t[]){1, 1, side, side});
    Tensor *bytes = program_input(program, "bytes", DTYPE_U8, 4, (int64_t[]){1, 5, side, side});
    Tensor *positive = t_affine(t_square(x), 1, 0.25);
    char name[40];
    for (int f = 0; f < FN_COUNT; f++) {
        PointwiseFunction function = (PointwiseFunction)f;
        if (function >= FN_RELU_GRADIENT) continue; /* recorded by gradients; below */
        Tensor *t;
        if (function == FN_FROM_U8)
            t = t_unary_at(function, bytes, 1.0 / 255, -0.5, T_HERE);
        else if (pointwise_is_binary(function))
            t = t_binary_at(function, x, f % 2 ? y : map, T_HERE);
        else
            t = t_unary_at(function, function == FN_LOG || function == FN_SQRT ? positive : x, 0.125, 0.75, T_HERE);
        snprintf(name, sizeof name, "%s", pointwise_name(function));
        program_output(program, name, t);
    }
    return program;
}

/* ---- the tests ---- */

static void test_layers(void **state) {
    (void)state;
    static const int64_t shape[][3] = {{1, 1, 1}, {33, 17, 20}, {32, 64, 64}};
    char what[80];
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int way = 0; way < 4; way++) {
            Program *program = layers(shape[i][0], shape[i][1], shape[i][2]);
            snprintf(what, sizeof what, "layers %lldx%lldx%lld way %d", (long long)shape[i][0], (long long)shape[i][1],
                     (long long)shape[i][2], way);
            compare_plan(what, program,
                         (PlanWay){{.interpret = way == 2},
                                   {.rung = way == 1 ? RUNG_PLAIN : RUNG_FAST, .launch_each = way == 1},
                                   {.order = (unsigned)way, .form = way == 3 ? GPU_EMBEDDED : GPU_COMPILES}},
                         2e-5);
            program_drop(program);
        }
}

static void test_products(void **state) {
    (void)state;
    static const int64_t shape[][4] = {{1, 1, 1, 1}, {3, 17, 65, 16}, {1, 66, 63, 7}};
    char what[80];
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int rung = 0; rung < 3; rung++) {
            Program *program = products(shape[i][0], shape[i][1], shape[i][2], shape[i][3]);
            snprintf(what, sizeof what, "products %lld of %lldx%lldx%lld rung %d", (long long)shape[i][0],
                     (long long)shape[i][1], (long long)shape[i][2], (long long)shape[i][3], rung);
            compare_plan(what, program,
                         (PlanWay){{.interpret = rung == 1},
                                   {.rung = rung == 1 ? RUNG_PLAIN : RUNG_FAST},
                                   {.order = 77, .form = rung == 2 ? GPU_EMBEDDED : GPU_COMPILES}},
                         2e-5);
            program_drop(program);
        }
}

static void test_functions(void **state) {
    (void)state;
    static const char *const what[] = {"functions, in regions", "functions, one a launch", "functions, interpreted"};
    for (int way = 0; way < 3; way++) {
        Program *program = functions(9);
        compare_plan(
            what[way], program,
            (PlanWay){{.interpret = way == 1}, {0}, {.order = 1, .form = way == 2 ? GPU_EMBEDDED : GPU_COMPILES}},
            2e-6);
        program_drop(program);
    }
}

/* Convolutions of many shapes: kernels, strides, padding, parts, one channel in and out, with and without a hole. */
static Program *convolutions(int64_t h, int64_t w, int64_t in, int64_t out) {
    Program *program = program_make();
    Net net = {program};
    Tensor *x = program_input(program, "x", DTYPE_F32, 4, (int64_t[]){2, in, h, w});
    NN_SCOPE(&net, "net") {
        Tensor *a = t_relu(t_conv2d(x, nn_parameter(&net, "a", 4, (int64_t[]){out, in, 3, 3}), NULL, .stride = 2,
                                    .pad_h = 1, .pad_w = 1));
        program_output(program, "strided", a);
        Tensor *up = t_conv_transpose2d(a, nn_parameter(&net, "u", 4, (int64_t[]){out, 3, 2, 2}), NULL, .stride = 2);
        program_output(program, "doubled", up);
        Tensor *wide = t_conv_transpose2d(a, nn_parameter(&net, "t", 4, (int64_t[]){out, in, 4, 3}), NULL, .stride = 2,
                                          .pad_h = 1);
        program_output(program, "overlapping", t_tanh(wide));
        Tensor *b = t_gelu(nn_conv3(&net, "b", x, out));
        Tensor *z = nn_conv1(&net, "z", t_cat(1, x, b), 1);
        program_output(program, "one", t_mul(b, t_sigmoid(z)));
        Tensor *tall =
            t_conv2d(t_slice(x, 2, 1, h - 1), nn_parameter(&net, "l", 4, (int64_t[]){2, in, 5, 1}), NULL, .pad_h = 2);
        program_output(program, "tall", tall);
    }
    return program;
}

static void test_convolutions(void **state) {
    (void)state;
    static const int64_t shape[][4] = {{2, 2, 1, 1}, {9, 7, 5, 17}, {4, 5, 18, 66}};
    char what[80];
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int rung = 0; rung < 3; rung++) {
            Program *program = convolutions(shape[i][0], shape[i][1], shape[i][2], shape[i][3]);
            snprintf(what, sizeof what, "convolutions %lldx%lld %lld to %lld rung %d", (long long)shape[i][0],
                     (long long)shape[i][1], (long long)shape[i][2], (long long)shape[i][3], rung);
            compare_plan(what, program,
                         (PlanWay){{.interpret = rung == 1},
                                   {.rung = rung == 1 ? RUNG_PLAIN : RUNG_FAST},
                                   {.order = 77, .form = rung == 2 ? GPU_EMBEDDED : GPU_COMPILES}},
                         2e-5);
            program_drop(program);
        }
}

/* Attention as its parts, over tokens of a map; layer norm with a hole and without, of a slice. */
static Program *rows(int64_t side, int64_t channels) {
    Program *program = program_make();
    Net net = {program};
    Tensor *x = program_input(program, "x", DTYPE_F32, 4, (int64_t[]){2, channels, side, side + 1});
    NN_SCOPE(&net, "net") {
        Tensor *t = t_row_tokens(x);
        Tensor *n = nn_layer_norm(&net, "n", t);
        Tensor *a = t_softmax(t_affine(t_matmul_nt(n, t), 0.5, 0));
        program_output(program, "weights", a);
        program_output(program, "sum", t_matmul(a, t));
        Tensor *part = t_slice(t_tokens(x), 1, 1, side * side - 1);
        program_output(program, "plain", t_relu(t_layer_norm(part, NULL, NULL, 1e-5)));
        program_output(program, "of_map", t_softmax(t_slice(x, 1, 0, channels / 2 + 1)));
    }
    return program;
}

static void test_rows(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++)
        for (int large = 0; large < 2; large++) {
            Program *program = rows(large ? 5 : 2, large ? 70 : 3);
            compare_plan(
                "rows", program,
                (PlanWay){{.interpret = way == 1}, {0}, {.order = 1, .form = way == 2 ? GPU_EMBEDDED : GPU_COMPILES}},
                2e-5);
            program_drop(program);
        }
}

/* What the fuser's regions become is kept as a text beside this file. */
static void test_generated_text(void **state) {
    (void)state;
    Program *program = layers(8, 4, 6);
    Plan *plan;
    must(plan_make(program, NULL, NULL, (PlanOptions){.shape_only = true}, &plan));
    const Steps *steps = plan_step_list(plan);
    char all[16384] = "", golden[16384] = "";
    for (int i = 0; i < steps->steps; i++) {
        if (!steps->step[i].strip) continue;
        char *text = region_text(steps->step[i].strip);
        assert_non_null(text);
        snprintf(all + strlen(all), sizeof all - strlen(all), "/* step %d */\n%s", i, text);
        mem_free(text);
    }
    FILE *file = fopen("tests/cuda/regions.golden", "r");
    if (file) {
        golden[fread(golden, 1, sizeof golden - 1, file)] = 0;
        fclose(file);
    }
    if (strcmp(all, golden) != 0) {
        char path[400];
        snprintf(path, sizeof path, "%s/regions.text", scratch_folder("regions"));
        file = fopen(path, "w");
        if (file) {
            fputs(all, file);
            fclose(file);
        }
        fail_msg("the text is not that of tests/cuda/regions.golden; it is now in %s", path);
    }
    plan_drop(plan);
    program_drop(program);
}

static void test_refused(void **state) {
    (void)state;
    ParameterStore *store;
    must(store_make_seeded(&store));
    WeightSource source = store_source(store);
    Gpu *gpu;
    GpuPlan *on_gpu;
    Plan *plan;
    Program *program = program_make();
    Tensor *x = program_input(program, "x", DTYPE_F32, 4, (int64_t[]){1, 4, 8, 8});
    static const Op unheard_of = {.name = "unheard_of", .kind = OP_HEAVY};
    Node *node = program_record(program, &unheard_of, 1, &x, NULL, 0, T_HERE);
    program_output(program, "y", node_output(node, DTYPE_F32, 4, x->size, LAYOUT_AUTO));
    must(plan_make(program, &source, NULL, (PlanOptions){.shape_only = true}, &plan));
    must(test_device_open((Emulated){0}, &gpu));
    assert_int_equal(gpu_plan_make(plan, &source, gpu, (GpuPlanOptions){0}, &on_gpu), ERR_DEVICE);
    assert_non_null(strstr(err_sentence(), "unheard_of"));
    assert_non_null(strstr(err_sentence(), "has no kernel for a GPU yet"));
    assert_int_equal(test_device_use(gpu).memory, 0);
    gpu_close(gpu);
    plan_drop(plan);
    program_drop(program);

    /* out of memory: a sentence, everything given back, and a device that goes on */
    program = layers(64, 64, 64);
    must(plan_make(program, &source, NULL, (PlanOptions){.shape_only = true}, &plan));
    must(emulated_open((Emulated){.memory = 90000}, &gpu));
    assert_int_equal(gpu_plan_make(plan, &source, gpu, (GpuPlanOptions){0}, &on_gpu), ERR_MEMORY);
    assert_int_equal(test_device_use(gpu).memory, 0);
    gpu_close(gpu);
    plan_drop(plan);
    program_drop(program);
    store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generated_text), cmocka_unit_test(test_functions), cmocka_unit_test(test_products),
        cmocka_unit_test(test_layers),         cmocka_unit_test(test_rows),      cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
