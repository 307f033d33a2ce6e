/* Gradients of convolutions and linear layers on the emulated device against the CPU: of weights and biases, in one
 * part and in several, and of inputs, which are convolutions and products themselves. */
#include "autograd/backward.h"
#include "base/mem.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/lib/check.h"

typedef enum { CONV, TRANSPOSE, LINEAR } Form;
typedef enum { WHOLE, SLICED, PARTS } Data;

typedef struct {
    const char *what;
    Form form;
    int n, ci, h, w, co, kh, kw;
    ConvOptions options;
    Data data;
    bool bias;
} Case;

static const Case cases[] = {
    {"3x3", CONV, 2, 3, 5, 7, 4, 3, 3, {1, 1, 1}, WHOLE, true},
    {"3x3 of one pixel", CONV, 1, 1, 1, 1, 1, 3, 3, {1, 1, 1}, WHOLE, true},
    {"3x3 of a slice", CONV, 1, 5, 6, 9, 17, 3, 3, {1, 1, 1}, SLICED, true},
    {"3x3 of parts", CONV, 1, 21, 7, 5, 66, 3, 3, {1, 1, 1}, PARTS, false},
    {"3x3 stride 2, several parts", CONV, 1, 4, 33, 34, 20, 3, 3, {2, 1, 1}, WHOLE, true},
    {"4x5 stride 2, even", CONV, 1, 4, 10, 12, 8, 4, 5, {2, 1, 2}, WHOLE, false},
    {"3x1", CONV, 1, 6, 7, 5, 4, 3, 1, {1, 1, 0}, PARTS, true},
    {"1x1 stride 2", CONV, 1, 3, 5, 6, 4, 1, 1, {2, 0, 0}, WHOLE, true},
    {"1x1 of many pixels", CONV, 1, 68, 12, 31, 33, 1, 1, {1, 0, 0}, WHOLE, true},
    {"4x4 stride 3", CONV, 1, 3, 9, 13, 4, 4, 4, {3, 1, 2}, WHOLE, true},
    {"transposed 3x3", TRANSPOSE, 1, 5, 4, 7, 3, 3, 3, {1, 1, 1}, WHOLE, false},
    {"transposed 2x2 stride 2 of a slice", TRANSPOSE, 2, 18, 3, 5, 9, 2, 2, {2, 0, 0}, SLICED, false},
    {"transposed 4x4 stride 2", TRANSPOSE, 1, 6, 5, 7, 4, 4, 4, {2, 1, 1}, WHOLE, false},
    {"linear", LINEAR, 2, 5, 3, 7, 6, 1, 1, {1, 0, 0}, WHOLE, true},
    {"linear of a slice, several parts", LINEAR, 2, 36, 5, 31, 20, 1, 1, {1, 0, 0}, SLICED, true},
    {"linear of parts", LINEAR, 2, 12, 1, 7, 19, 1, 1, {1, 0, 0}, PARTS, true},
};

/* The gradient of a slice or of parts is made by other operators; that of a large map takes the emulated device long.
 */
static bool of_input(const Case *c) {
    return c->data == WHOLE && c->n * c->h * c->w <= 128;
}

static Tensor *input(Program *p, const Case *c, const char *name, int64_t channels) {
    return c->form == LINEAR ? program_input(p, name, DTYPE_F32, 3, (int64_t[]){c->n * c->h, c->w, channels})
                             : program_input(p, name, DTYPE_F32, 4, (int64_t[]){c->n, channels, c->h, c->w});
}

static Program *record(const Case *c) {
    Program *p = program_make();
    const int channel = c->form == LINEAR ? 2 : 1;
    const int64_t third = c->ci / 3;
    Tensor *x;
    if (c->data == PARTS)
        x = t_cat(channel, input(p, c, "x0", third), input(p, c, "x1", c->ci - 2 * third), input(p, c, "x2", third));
    else
        x = input(p, c, "x", c->ci + (c->data == SLICED ? 4 : 0));
    if (c->data == SLICED) x = t_slice(x, channel, 3, c->ci);
    Tensor *weight = c->form == CONV        ? program_weight(p, "weight", 4, (int64_t[]){c->co, c->ci, c->kh, c->kw})
                     : c->form == TRANSPOSE ? program_weight(p, "weight", 4, (int64_t[]){c->ci, c->co, c->kh, c->kw})
                                            : program_weight(p, "weight", 2, (int64_t[]){c->co, c->ci});
    Tensor *bias = c->bias ? program_weight(p, "bias", 1, (int64_t[]){c->co}) : NULL;
    Tensor *y = c->form == CONV        ? t_conv2d_at(x, weight, bias, c->options, T_HERE)
                : c->form == TRANSPOSE ? t_conv_transpose2d_at(x, weight, bias, c->options, T_HERE)
                                       : t_linear(x, weight, bias);
    Tensor *dy = program_input(p, "dy", DTYPE_F32, y->rank, y->size);
    must(backward(y, &(BackwardOptions){.seed = dy, .inputs = of_input(c)}));
    program_output(p, "d_weight", gradient_of(weight));
    if (bias) program_output(p, "d_bias", gradient_of(bias));
    if (of_input(c)) program_output(p, "d_x", gradient_of(x));
    return p;
}

static void test_forms(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int rung = 0; rung < 2; rung++) {
            Program *program = record(&cases[i]);
            compare_plan(
                cases[i].what, program,
                (PlanWay){{.interpret = rung == 1}, {.rung = rung ? RUNG_PLAIN : RUNG_FAST}, {.order = (unsigned)rung}},
                2e-4);
            program_drop(program);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
