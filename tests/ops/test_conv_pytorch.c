/* conv2d, conv_transpose2d, linear and matmul_nt beside PyTorch's results (float64, rounded): the definition, and the
 * fast version on every level, with each algorithm that can compute the shape. */
#include "base/cpu.h"
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/conv_task.h"
#include "tensor/ops/ops.h"
#include "tests/lib/op_case.h"

typedef struct {
    const char *name;
    ConvOptions options;
} Case;

/* Records one case of a family: the operator is told by the family's name. */
typedef struct {
    Program *program;
    Runner *runner;
    Tensor *output;
} Recorded;

static Recorded record(const Fixture *fixture, const char *family, const Case *c) {
    Recorded r = {.program = program_make()};
    assert_non_null(r.program);
    bool product = strcmp(family, "correlation") == 0;
    const WeightEntry *x = fixture_entry(fixture, product ? "%s.left" : "%s.input", c->name), *w, *b = NULL;
    char name[64];
    snprintf(name, sizeof name, "%s.bias", c->name);
    /* Rank 4 would be a map: tokens with two leading axes take one. */
    bool tokens = strcmp(family, "linear") == 0 && x->rank == 4;
    int64_t merged[] = {x->size[0] * x->size[1], x->size[2], x->size[3]};
    Tensor *data = program_input(r.program, "x", DTYPE_F32, tokens ? 3 : x->rank, tokens ? merged : x->size);
    Tensor *weight, *bias = NULL;
    if (product) {
        /* (1,C,h,w) on both sides; rows of pixels are batches of tokens. */
        w = fixture_entry(fixture, "%s.right", c->name);
        weight = program_input(r.program, "w", DTYPE_F32, w->rank, w->size);
        r.output = t_matmul_nt(t_row_tokens(data), t_row_tokens(weight));
    } else {
        w = fixture_entry(fixture, "%s.weight", c->name);
        weight = program_weight(r.program, "w", w->rank, w->size);
        b = weights_find(fixture->file, name);
        if (b) bias = program_weight(r.program, "b", b->rank, b->size);
        r.output = strcmp(family, "linear") == 0   ? t_linear(data, weight, bias)
                   : strcmp(family, "conv2d") == 0 ? t_conv2d_at(data, weight, bias, c->options, T_HERE)
                                                   : t_conv_transpose2d_at(data, weight, bias, c->options, T_HERE);
    }
    r.runner = runner_make(r.program);
    fixture_fill(fixture, x, r.runner, data);
    fixture_fill(fixture, w, r.runner, weight);
    if (b) fixture_fill(fixture, b, r.runner, bias);
    return r;
}

static void run_family(const char *family, const Case *cases, int count) {
    Fixture fixture = fixture_open(family);
    for (int i = 0; i < count; i++) {
        Recorded r = record(&fixture, family, &cases[i]);
        const WeightEntry *want = fixture_entry(&fixture, "%s.output", cases[i].name);
        runner_run(r.runner, (RunWay){.kind = RUN_DEFINITION});
        fixture_check(&fixture, want, r.runner, r.output, 1e-7); /* sums in double: one rounding each */
        const CpuLevel best = cpu_level();
        for (int level = CPU_BASE; level <= (int)best; level++)
            for (int a = 0; a < CONV_ALGORITHMS; a++) {
                cpu_limit((CpuLevel)level);
                conv_force((ConvAlgorithm)a);
                bool product = strcmp(family, "correlation") == 0;
                if (product && a > 0) continue;
                if (!product && a > 0 && /* not for this shape */
                    strcmp(conv_algorithm(r.output->node, false, false), conv_algorithm_name[a]) != 0)
                    continue;
                runner_run(r.runner, (RunWay){.kind = RUN_FAST});
                /* Of max(1, |output|): up to 400 products, whose partial sums are several times the output; Winograd is
                 * worse by its transforms. */
                fixture_check(&fixture, want, r.runner, r.output, a >= CONV_WINOGRAD_4X4 ? 2e-5 : 6e-6);
            }
        cpu_limit(CPU_AVX512);
        conv_force(CONV_ALGORITHMS);
        runner_drop(r.runner);
        program_drop(r.program);
    }
    fixture_close(&fixture);
}

#define RUN(family, cases) run_family(family, cases, (int)(sizeof cases / sizeof cases[0]))

static void conv2d(void **state) {
    (void)state;
    static const Case cases[] = {
        {"k1", {1, 0, 0}},
        {"k1_nobias", {1, 0, 0}},
        {"k1_wide", {1, 0, 0}},
        {"k1x3", {1, 0, 1}},
        {"k1x3_wide", {1, 0, 1}},
        {"k3", {1, 1, 1}},
        {"k3_no_padding", {1, 0, 0}},
        {"k3_nobias", {1, 1, 1}},
        {"k3_odd_channels", {1, 1, 1}},
        {"k3_one_pixel", {1, 1, 1}},
        {"k3_one_row", {1, 1, 1}},
        {"k3_thin", {1, 1, 1}},
        {"k3_tiles", {1, 1, 1}},
        {"k3s2", {2, 1, 1}},
        {"k3s2_even", {2, 1, 1}},
        {"k3x1", {1, 1, 0}},
        {"k3x1_wide", {1, 1, 0}},
        {"k5s2", {2, 2, 2}},
        {"k5s2_even", {2, 2, 2}},
    };
    RUN("conv2d", cases);
}

static void conv_transpose2d(void **state) {
    (void)state;
    static const Case cases[] = {
        {"k1", {1, 0, 0}},     {"k2s2", {2, 0, 0}},       {"k2s2_wide", {2, 0, 0}},
        {"k3s1p1", {1, 1, 1}}, {"k3s1p1_one", {1, 1, 1}},
    };
    RUN("conv_transpose2d", cases);
}

static void linear(void **state) {
    (void)state;
    static const Case cases[] = {{.name = "nobias"}, {.name = "one_row"}, {.name = "square"}, {.name = "tokens"}};
    RUN("linear", cases);
}

static void correlation(void **state) {
    (void)state;
    static const Case cases[] = {{.name = "small"}, {.name = "wide"}};
    RUN("correlation", cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(conv2d), cmocka_unit_test(conv_transpose2d),
                                       cmocka_unit_test(linear), cmocka_unit_test(correlation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
