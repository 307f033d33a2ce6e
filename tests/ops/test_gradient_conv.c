/* Gradients of conv2d, conv_transpose2d and linear: against differences in f64 (PANUM_F64), and fast against
 * definition. Every kernel, stride and padding that models use, odd shapes, views, concatenated maps, shared weights.
 */
#include "autograd/backward.h"
#include "tests/lib/gradient_check.h"

typedef enum { CONV, TRANSPOSE, LINEAR } Form;
typedef enum { WHOLE, SLICED, CONCATENATED } Data;

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
    {"3x3 of one pixel", CONV, 1, 2, 1, 1, 3, 3, 3, {1, 1, 1}, WHOLE, true},
    {"3x3 without padding or bias", CONV, 1, 4, 6, 5, 3, 3, 3, {1, 0, 0}, WHOLE, false},
    {"3x3 of three maps", CONV, 2, 9, 4, 5, 6, 3, 3, {1, 1, 1}, CONCATENATED, true},
    {"3x3 of a slice", CONV, 1, 5, 6, 9, 17, 3, 3, {1, 1, 1}, SLICED, true},
    {"3x3 of vectors", CONV, 1, 33, 9, 15, 20, 3, 3, {1, 1, 1}, WHOLE, true},
    {"3x3 to one", CONV, 2, 19, 5, 7, 1, 3, 3, {1, 1, 1}, WHOLE, false},
    {"3x3 of one", CONV, 2, 1, 5, 7, 19, 3, 3, {1, 1, 1}, WHOLE, true},
    {"3x3 stride 2", CONV, 2, 4, 7, 9, 5, 3, 3, {2, 1, 1}, WHOLE, true},
    {"3x3 stride 2, even", CONV, 1, 5, 8, 6, 33, 3, 3, {2, 1, 1}, SLICED, true},
    {"5x5 stride 2", CONV, 1, 3, 9, 11, 4, 5, 5, {2, 2, 2}, WHOLE, true},
    {"5x5 stride 2, even", CONV, 1, 16, 10, 12, 20, 5, 5, {2, 2, 2}, CONCATENATED, true},
    {"3x1", CONV, 1, 6, 7, 5, 4, 3, 1, {1, 1, 0}, CONCATENATED, true},
    {"1x3", CONV, 2, 6, 5, 7, 4, 1, 3, {1, 0, 1}, CONCATENATED, true},
    {"1x1", CONV, 2, 7, 5, 3, 6, 1, 1, {1, 0, 0}, WHOLE, true},
    {"1x1 of a slice", CONV, 2, 7, 5, 3, 6, 1, 1, {1, 0, 0}, SLICED, true},
    {"1x1 stride 2", CONV, 1, 3, 5, 6, 4, 1, 1, {2, 0, 0}, WHOLE, true},
    {"4x4 stride 3", CONV, 1, 3, 9, 13, 4, 4, 4, {3, 1, 2}, WHOLE, true},
    {"transposed 1x1", TRANSPOSE, 2, 5, 4, 3, 7, 1, 1, {1, 0, 0}, WHOLE, true},
    {"transposed 3x3", TRANSPOSE, 1, 5, 4, 7, 3, 3, 3, {1, 1, 1}, WHOLE, true},
    {"transposed 2x2 stride 2", TRANSPOSE, 2, 5, 4, 3, 6, 2, 2, {2, 0, 0}, WHOLE, true},
    {"transposed 2x2 stride 2 of a slice", TRANSPOSE, 1, 18, 3, 5, 9, 2, 2, {2, 0, 0}, SLICED, false},
    {"transposed 4x4 stride 2", TRANSPOSE, 1, 6, 5, 7, 4, 4, 4, {2, 1, 1}, CONCATENATED, true},
    {"transposed 3x3 stride 3", TRANSPOSE, 1, 6, 5, 7, 4, 3, 3, {3, 0, 1}, WHOLE, true},
    {"linear", LINEAR, 2, 5, 1, 7, 6, 1, 1, {1, 0, 0}, WHOLE, true},
    {"linear without bias", LINEAR, 1, 33, 1, 15, 20, 1, 1, {1, 0, 0}, WHOLE, false},
    {"linear of a slice", LINEAR, 2, 5, 1, 7, 19, 1, 1, {1, 0, 0}, SLICED, true},
    {"linear of parts", LINEAR, 2, 12, 1, 7, 19, 1, 1, {1, 0, 0}, CONCATENATED, true},
};

static Tensor *input(Program *p, const Case *c, const char *name, int64_t channels) {
    return c->form == LINEAR ? program_input(p, name, DTYPE_F32, 3, (int64_t[]){c->n, c->w, channels})
                             : program_input(p, name, DTYPE_F32, 4, (int64_t[]){c->n, channels, c->h, c->w});
}

static void record(Program *p, const void *context) {
    const Case *c = context;
    const int channel = c->form == LINEAR ? 2 : 1;
    Tensor *x;
    if (c->data == CONCATENATED) {
        const int64_t part = c->ci / 3;
        x = t_cat(channel, input(p, c, "x0", part), input(p, c, "x1", c->ci - 2 * part), input(p, c, "x2", part));
    } else {
        x = input(p, c, "x", c->ci + (c->data == SLICED ? 4 : 0));
        if (c->data == SLICED) x = t_slice(x, channel, 3, c->ci);
    }
    Tensor *weight = c->form == CONV        ? program_weight(p, "weight", 4, (int64_t[]){c->co, c->ci, c->kh, c->kw})
                     : c->form == TRANSPOSE ? program_weight(p, "weight", 4, (int64_t[]){c->ci, c->co, c->kh, c->kw})
                                            : program_weight(p, "weight", 2, (int64_t[]){c->co, c->ci});
    Tensor *bias = c->bias ? program_weight(p, "bias", 1, (int64_t[]){c->co}) : NULL;
    Tensor *y = c->form == CONV        ? t_conv2d_at(x, weight, bias, c->options, T_HERE)
                : c->form == TRANSPOSE ? t_conv_transpose2d_at(x, weight, bias, c->options, T_HERE)
                                       : t_linear(x, weight, bias);
    /* A product with itself, so that the gradient that arrives depends on the weight too. */
    program_output(p, "y", t_mul(y, t_affine(y, 0.25, 1)));
}

static void forms(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        gradient_check(cases[i].what, record, .context = &cases[i], .most = 60, .seed = i);
}

/* One weight used twice, on maps of two sizes, with a slice of the result going one way and all of it another. */
static void record_shared(Program *p, const void *context) {
    (void)context;
    Tensor *weight = program_weight(p, "weight", 4, (int64_t[]){6, 6, 3, 3});
    Tensor *bias = program_weight(p, "bias", 1, (int64_t[]){6});
    Tensor *x = program_input(p, "x", DTYPE_F32, 4, (int64_t[]){1, 6, 7, 9});
    Tensor *y = t_gelu(t_conv2d(x, weight, bias, .stride = 2, .pad_h = 1, .pad_w = 1));
    Tensor *z = t_conv2d(y, weight, bias, .pad_h = 1, .pad_w = 1);
    program_output(p, "y", t_slice(y, 1, 1, 3));
    program_output(p, "z", t_add(z, y));
}

static void shared_weight(void **state) {
    (void)state;
    gradient_check("a weight used twice", record_shared, .most = 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(forms), cmocka_unit_test(shared_weight)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
