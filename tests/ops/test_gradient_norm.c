/* Gradients of layer_norm, group_norm and softmax: against differences in f64 (PANUM_F64), and fast against definition;
 * the kernels alone on shapes of more than one tile, on views, through holes, over their inputs. */
#include "autograd/backward.h"
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/norm_gradient.h"
#include "tests/lib/gradient_check.h"
#include "tests/lib/op_case.h"

typedef struct {
    int64_t n, c, h, w;
    int groups; /* 0: layer_norm; -1: softmax */
    bool weight, bias, slice;
} Case;

static void record(Program *p, const void *context) {
    const Case *k = context;
    Tensor *x = program_input(p, "x", DTYPE_F32, 4, (int64_t[]){k->n, k->c, k->h, k->w + (k->slice ? 3 : 0)});
    if (k->slice) x = t_slice(x, 3, 1, k->w);
    Tensor *weight = k->weight ? program_weight(p, "weight", 1, (int64_t[]){k->c}) : NULL;
    Tensor *bias = k->bias ? program_weight(p, "bias", 1, (int64_t[]){k->c}) : NULL;
    Tensor *y = k->groups > 0    ? t_group_norm(x, k->groups, weight, bias, 1e-3)
                : k->groups == 0 ? t_layer_norm(x, weight, bias, 1e-3)
                                 : t_softmax(x);
    program_output(p, "y", t_mul(y, t_affine(y, 0.25, 1)));
    program_output(p, "part", t_slice(y, 2, 0, 1));
}

static void check(const char *what, Case k) {
    gradient_check(what, record, .context = &k, .input = {{"x", -2, 2, false}}, .most = 60, .fast = 1e-4);
}

static void layer_norms(void **state) {
    (void)state;
    check("layer_norm", (Case){2, 7, 3, 5, 0, false, false, false});
    check("layer_norm, affine", (Case){1, 19, 3, 5, 0, true, true, false});
    check("layer_norm, scaled", (Case){1, 16, 3, 5, 0, true, false, true});
    check("layer_norm, shifted", (Case){1, 33, 2, 5, 0, false, true, true});
    check("layer_norm of 32", (Case){1, 32, 2, 5, 0, false, false, false});
    check("layer_norm of two", (Case){1, 2, 2, 5, 0, true, true, false});
}

static void group_norms(void **state) {
    (void)state;
    check("group_norm", (Case){2, 6, 3, 5, 2, true, true, false});
    check("group_norm of a slice", (Case){2, 24, 3, 5, 8, true, true, true});
    check("group_norm without parameters", (Case){1, 6, 3, 5, 1, false, false, false});
    check("group_norm, shifted", (Case){1, 33, 2, 5, 11, false, true, false});
}

static void softmaxes(void **state) {
    (void)state;
    check("softmax", (Case){2, 9, 3, 5, -1, false, false, false});
    check("softmax of a slice", (Case){2, 19, 3, 5, -1, false, false, true});
}

#ifndef PANUM_F64
static void kernels(void **state) {
    (void)state;
    static const int64_t CHANNELS[] = {1, 3, 16, 17, 32, 40, 130, 384};
    char what[64];
    for (size_t i = 0; i < sizeof CHANNELS / sizeof *CHANNELS; i++)
        for (int kind = 0; kind < 6; kind++) {
            const int64_t c = CHANNELS[i], groups = c % 8 == 0 ? 8 : 1;
            const int64_t h = 3, w = kind % 2 ? 11 : 50000 / c + 5; /* one tile, or more */
            Program *p = program_make();
            Tensor *x = program_input(p, "x", DTYPE_F32, 4, (int64_t[]){2, c, h, w + 2});
            Tensor *dy = program_input(p, "dy", DTYPE_F32, 4, (int64_t[]){2, c, h, w + 2}), *d[3];
            Tensor *weight = program_weight(p, "weight", 1, &c), *bias = program_weight(p, "bias", 1, &c);
            if (kind >= 2 && i % 2) x = t_slice(x, 3, 1, w), dy = t_slice(dy, 3, 2, w);
            if (kind < 2)
                t_softmax_gradient_at(x, dy, T_HERE);
            else
                norm_record_gradient(x, weight, bias, dy, kind < 4 ? 0 : (int)groups, 1e-5, d, T_HERE);
            const char *name = kind < 2 ? "softmax" : kind < 4 ? "layer_norm" : "group_norm";
            snprintf(what, sizeof what, "%s gradient of %lldx%lld", name, (long long)c, (long long)w);
            /* |x| < 1: with one channel, or groups of few numbers, 1/s is up to 300 and so are the errors */
            check_fast_random(what, p, c == 1 ? 1e-3 : 4e-5);
        }
}

/* A mean 1000 times the spread. */
static void far_from_zero(void **state) {
    (void)state;
    for (int group = 0; group < 2; group++) {
        Program *p = program_make();
        const int64_t c = 64;
        Tensor *x = program_input(p, "x", DTYPE_F32, 4, (int64_t[]){1, c, 20, 90}), *d[3];
        Tensor *dy = program_input(p, "dy", DTYPE_F32, 4, (int64_t[]){1, c, 20, 90});
        Tensor *weight = program_weight(p, "weight", 1, &c), *bias = program_weight(p, "bias", 1, &c);
        norm_record_gradient(x, weight, bias, dy, group ? 4 : 0, 1e-5, d, T_HERE);
        Runner *runner = runner_make(p);
        runner_fill_all(runner, 9);
        real *values = runner_data(runner, x);
        for (int64_t i = 0; i < tensor_count(x); i++) values[i] += 1000;
        check_fast(group ? "group_norm gradient at 1000" : "layer_norm gradient at 1000", p, runner, 1e-4);
        runner_drop(runner);
        program_drop(p);
    }
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_norms), cmocka_unit_test(group_norms),   cmocka_unit_test(softmaxes),
#ifndef PANUM_F64
        cmocka_unit_test(kernels),     cmocka_unit_test(far_from_zero),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
