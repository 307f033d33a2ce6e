/* layer_norm, group_norm and softmax: fast against definition, against PyTorch, and far from zero. With PANUM_F64 the
 * definitions in double. */
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tests/lib/op_case.h"

#include <math.h>

static Tensor *tokens(Program *p, int64_t b, int64_t t, int64_t c) {
    return program_input(p, "x", DTYPE_F32, 3, (int64_t[]){b, t, c});
}
static Tensor *map(Program *p, int64_t n, int64_t c, int64_t h, int64_t w) {
    return program_input(p, "x", DTYPE_F32, 4, (int64_t[]){n, c, h, w});
}
static Tensor *vector(Program *p, const char *name, int64_t n) {
    return program_weight(p, name, 1, &n);
}

static void layer_norms(void **state) {
    (void)state;
    static const int64_t CHANNELS[] = {1, 2, 7, 8, 15, 16, 17, 24, 33, 64, 128, 129, 256, 384};
    for (size_t i = 0; i < sizeof CHANNELS / sizeof CHANNELS[0]; i++)
        for (int affine = 0; affine < 2; affine++) {
            const int64_t c = CHANNELS[i];
            Program *p = program_make();
            Tensor *x = tokens(p, 2, 700 / c + 3, c);
            t_layer_norm(x, affine ? vector(p, "w", c) : NULL, affine ? vector(p, "b", c) : NULL, 1e-5);
            char what[64];
            snprintf(what, sizeof what, "layer_norm of %lld%s", (long long)c, affine ? ", affine" : "");
            check_fast_random(what, p, 2e-6);
        }
    Program *p = program_make();
    t_layer_norm(t_row_tokens(t_slice(t_slice(map(p, 2, 40, 5, 9), 1, 3, 24), 3, 2, 6)), NULL, NULL, 1e-5);
    check_fast_random("layer_norm of a slice's rows", p, 2e-6);
    p = program_make();
    t_layer_norm(t_slice(map(p, 2, 24, 50, 90), 2, 1, 47), NULL, NULL, 1e-5);
    check_fast_random("layer_norm of a map's middle", p, 2e-6);
}

static void group_norms(void **state) {
    (void)state;
    static const struct {
        int64_t n, c, h, w;
        int groups;
    } CASES[] = {{1, 1, 1, 1, 1},     {2, 16, 5, 7, 8},   {1, 24, 3, 11, 8}, {2, 6, 4, 4, 1},
                 {1, 128, 40, 63, 8}, {3, 8, 9, 1000, 8}, {1, 40, 30, 70, 4}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        Program *p = program_make();
        Tensor *x = map(p, CASES[i].n, CASES[i].c, CASES[i].h, CASES[i].w);
        t_group_norm(x, CASES[i].groups, vector(p, "w", CASES[i].c), i ? vector(p, "b", CASES[i].c) : NULL, 1e-5);
        char what[64];
        snprintf(what, sizeof what, "group_norm %lldx%lldx%lldx%lld by %d", (long long)CASES[i].n,
                 (long long)CASES[i].c, (long long)CASES[i].h, (long long)CASES[i].w, CASES[i].groups);
        check_fast_random(what, p, 2e-6);
    }
    Program *p = program_make();
    t_group_norm(t_slice(t_slice(map(p, 2, 40, 61, 90), 1, 3, 32), 3, 2, 80), 8, NULL, NULL, 1e-5);
    check_fast_random("group_norm of a slice", p, 2e-6);
}

/* A mean 1000 times the spread: the result still has five digits. */
static void far_from_zero(void **state) {
    (void)state;
    for (int group = 0; group < 2; group++) {
        Program *p = program_make();
        Tensor *x = map(p, 1, 64, 20, 30);
        group ? t_group_norm(x, 4, NULL, NULL, 1e-5) : t_layer_norm(x, NULL, NULL, 1e-5);
        Runner *runner = runner_make(p);
        runner_fill(runner, x, 9, 1);
        real *values = runner_data(runner, x);
        for (int64_t i = 0; i < tensor_count(x); i++) values[i] += 1000;
        check_fast(group ? "group_norm at 1000" : "layer_norm at 1000", p, runner, 1e-5);
        runner_drop(runner);
        program_drop(p);
    }
}

static void softmaxes(void **state) {
    (void)state;
    static const int64_t CHANNELS[] = {1, 2, 4, 9, 15, 16, 17, 37, 184, 481};
    for (size_t i = 0; i < sizeof CHANNELS / sizeof CHANNELS[0]; i++)
        for (int scale = 1; scale < 1000; scale *= 100) {
            Program *p = program_make();
            Tensor *x = tokens(p, 3, 50, CHANNELS[i]);
            t_softmax(x);
            Runner *runner = runner_make(p);
            runner_fill(runner, x, 5, scale);
            ((real *)runner_data(runner, x))[CHANNELS[i] - 1] = CHANNELS[i] > 1 ? (real)-INFINITY : 0;
            char what[64];
            snprintf(what, sizeof what, "softmax of %lld to %d", (long long)CHANNELS[i], scale);
            check_fast(what, p, runner, 1e-6);
            runner_drop(runner);
            program_drop(p);
        }
    Program *p = program_make();
    t_softmax(t_slice(map(p, 2, 13, 6, 9), 3, 2, 5));
    check_fast_random("softmax of a map's middle", p, 1e-6);
}

static void pytorch(void **state) {
    (void)state;
    static const struct {
        const char *family, *name;
    } CASES[] = {{"layer_norm", "plain"},
                 {"layer_norm", "affine"},
                 {"layer_norm", "wide"},
                 {"layer_norm", "far_from_zero"},
                 {"layer_norm", "tiny_variance"},
                 {"group_norm", "eight"},
                 {"group_norm", "three_each"},
                 {"group_norm", "far_from_zero"},
                 {"group_norm", "one"},
                 {"softmax", "last"},
                 {"softmax", "channels"},
                 {"softmax", "peaked"},
                 {"softmax", "one"},
                 {"softmax", "long"}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        Fixture f = fixture_open(CASES[i].family);
        const char *name = CASES[i].name;
        const WeightEntry *x_entry = fixture_entry(&f, "%s.input", name), *entry[2] = {NULL, NULL};
        Program *p = program_make();
        Tensor *x = program_input(p, "x", DTYPE_F32, x_entry->rank, x_entry->size), *weight[2] = {NULL, NULL}, *y;
        if (fixture_number(&f, name, "affine", 0) > 0)
            for (int k = 0; k < 2; k++) {
                entry[k] = fixture_entry(&f, "%s.%s", name, k ? "bias" : "weight");
                weight[k] = vector(p, k ? "b" : "w", entry[k]->count);
            }
        if (strcmp(CASES[i].family, "softmax") == 0)
            y = t_softmax(x);
        else if (strcmp(CASES[i].family, "layer_norm") == 0)
            y = t_layer_norm(x, weight[0], weight[1], 1e-5);
        else
            y = t_group_norm(x, (int)fixture_number(&f, name, "groups", 0), weight[0], weight[1], 1e-5);
        Runner *runner = runner_make(p);
        fixture_fill(&f, x_entry, runner, x);
        for (int k = 0; k < 2; k++)
            if (entry[k]) fixture_fill(&f, entry[k], runner, weight[k]);
        for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++) {
            runner_run(runner, (RunWay){.kind = (RunKind)kind});
            fixture_check(&f, fixture_entry(&f, "%s.output", name), runner, y,
                          F32_OR_F64(kind == RUN_DEFINITION ? 2e-7 : 2e-6, 6.1e-8));
        }
        runner_drop(runner);
        program_drop(p);
        fixture_close(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(layer_norms), cmocka_unit_test(group_norms),
                                       cmocka_unit_test(far_from_zero), cmocka_unit_test(softmaxes),
                                       cmocka_unit_test(pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
