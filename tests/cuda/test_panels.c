/* The fast rung of products and convolutions (device/panel.h) on the emulated device against the CPU, in each of its
 * three sizes: edges of panels, parts, taps outside the map, lattices of transposed convolutions, batches, holes. */
#include "autograd/backward.h"
#include "nn/net.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/lib/check.h"

static Tensor *map(Program *p, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    return program_input(p, name, DTYPE_F32, 4, (int64_t[]){n, c, h, w});
}

/* Tokens of two parts, one wide and one of a piece; a product of batches; the gradient of the tokens. */
static Program *products(int64_t rows, int64_t in, int64_t out) {
    Program *p = program_make();
    Net net = {p};
    Tensor *x = program_input(p, "x", DTYPE_F32, 3, (int64_t[]){2, rows, in});
    Tensor *other = program_input(p, "other", DTYPE_F32, 3, (int64_t[]){2, rows, 8});
    Tensor *residual = program_input(p, "residual", DTYPE_F32, 3, (int64_t[]){2, rows, out});
    NN_SCOPE(&net, "net") {
        Tensor *y = nn_linear(&net, "a", t_cat(2, t_slice(x, 2, 4, in - 4), other), out, WITH_BIAS);
        program_output(p, "y", t_add(t_gelu(y), residual));
        program_output(p, "scores", t_matmul_nt(x, t_slice(x, 1, 1, rows - 2)));
        Tensor *z = nn_linear(&net, "z", other, out, WITHOUT_BIAS);
        must(backward(z, &(BackwardOptions){.seed = residual, .inputs = true}));
        program_output(p, "d_other", gradient_of(other));
    }
    return p;
}

static Program *convolutions(int64_t h, int64_t w, int64_t in, int64_t out) {
    Program *p = program_make();
    Net net = {p};
    Tensor *x = map(p, "x", 2, in, h, w), *four = map(p, "four", 2, 4, h, w), *halved = NULL;
    NN_SCOPE(&net, "net") {
        Tensor *y = t_relu(nn_conv3(&net, "b", t_cat(1, x, four), out));
        program_output(p, "same", t_mul(y, map(p, "mask", 2, 1, h, w)));
        program_output(p, "one", nn_conv1(&net, "o", t_slice(y, 1, 4, out - 4), 4));
        halved = t_conv2d(x, nn_parameter(&net, "a", 4, (int64_t[]){out, in, 3, 3}), NULL, .stride = 2, .pad_h = 1,
                          .pad_w = 1);
        program_output(p, "halved", halved);
        program_output(
            p, "doubled",
            t_conv_transpose2d(x, nn_parameter(&net, "u", 4, (int64_t[]){in, out, 2, 2}), NULL, .stride = 2));
        program_output(p, "apart",
                       t_conv_transpose2d(x, nn_parameter(&net, "v", 4, (int64_t[]){in, 5, 2, 1}), NULL, .stride = 3));
        program_output(p, "overlapping",
                       t_tanh(t_conv_transpose2d(x, nn_parameter(&net, "t", 4, (int64_t[]){in, 8, 4, 3}), NULL,
                                                 .stride = 2, .pad_h = 1)));
    }
    must(backward(halved,
                  &(BackwardOptions){.seed = map(p, "d", 2, out, halved->size[2], halved->size[3]), .inputs = true}));
    program_output(p, "d_x", gradient_of(x));
    return p;
}

/* One multiprocessor takes the largest panels, many the smallest. */
static const int multiprocessors[] = {1, 4, 1000};

static void test_products(void **state) {
    (void)state;
    static const int64_t shape[][3] = {{3, 12, 4}, {133, 44, 132}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int m = i == 0 ? 2 : 0; m < 3; m++) {
            Program *p = products(shape[i][0], shape[i][1], shape[i][2]);
            compare_plan("products", p,
                         (PlanWay){{0}, {0}, {.order = (unsigned)m, .multiprocessors = multiprocessors[m]}}, 2e-5);
            program_drop(p);
        }
}

static void test_convolutions(void **state) {
    (void)state;
    static const int64_t shape[][4] = {{1, 2, 4, 8}, {7, 9, 20, 68}, {6, 5, 36, 132}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        Program *p = convolutions(shape[i][0], shape[i][1], shape[i][2], shape[i][3]);
        const int m = 2 - (int)i;
        compare_plan("convolutions", p,
                     (PlanWay){{0}, {0}, {.order = (unsigned)m, .multiprocessors = multiprocessors[m]}}, 2e-5);
        program_drop(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_convolutions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
