/* Convex upsampling: fast against definition, PyTorch, itself in simpler operators, and its borders; with PANUM_F64 the
 * definition in double. */
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/simple.h"
#include "tests/lib/op_case.h"

#include <math.h>

static void shapes(void **state) {
    (void)state;
    static const int64_t SIZES[][2] = {{1, 1}, {1, 5}, {3, 1}, {2, 7}, {5, 16}, {4, 33}};
    static const int FACTORS[] = {1, 2, 3, 4};
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++)
        for (int k = 0; k < 4; k++)
            for (int clipped = 0; clipped < 2; clipped++)
                for (int slice = 0; slice < 2; slice++) {
                    const int64_t h = SIZES[i][0], w = SIZES[i][1], f = FACTORS[k], more = 3 * slice;
                    Program *p = program_make();
                    Tensor *x = program_input(p, "x", DTYPE_F32, 4, (int64_t[]){2, 1 + more, h, w});
                    Tensor *m = program_input(p, "m", DTYPE_F32, 4, (int64_t[]){2, 9 + more, f * h, f * w});
                    t_convex_upsample(slice ? t_slice(x, 1, 1, 1) : x, slice ? t_slice(m, 1, 2, 9) : m,
                                      .factor = (int)f, .clipped = clipped);
                    Runner *runner = runner_make(p);
                    runner_fill(runner, x, 1, 20);
                    runner_fill(runner, m, 2, clipped ? 2 : 8);
                    char what[80];
                    snprintf(what, sizeof what, "convex x%d of %lldx%lld%s%s", (int)f, (long long)h, (long long)w,
                             clipped ? ", clipped" : "", slice ? ", slices" : "");
                    check_fast(what, p, runner, 3e-6);
                    runner_drop(runner);
                    program_drop(p);
                }
}

/* A constant stays itself whatever the weights, and the border is repeated, not zero. */
static void constant(void **state) {
    (void)state;
    Program *p = program_make();
    Tensor *x = program_input(p, "x", DTYPE_F32, 4, (int64_t[]){1, 1, 3, 4});
    Tensor *m = program_input(p, "m", DTYPE_F32, 4, (int64_t[]){1, 9, 12, 16});
    Tensor *y = t_convex_upsample(x, m, .factor = 4);
    Runner *runner = runner_make(p);
    runner_fill_all(runner, 3);
    for (int i = 0; i < 12; i++) ((real *)runner_data(runner, x))[i] = -7.5;
    for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++) {
        runner_run(runner, (RunWay){.kind = (RunKind)kind});
        for (int i = 0; i < 12 * 16; i++) assert_true(fabs(((real *)runner_data(runner, y))[i] + 7.5) < 2e-6);
    }
    runner_drop(runner);
    program_drop(p);
}

static void simpler_operators(void **state) {
    (void)state;
    for (int clipped = 0; clipped < 2; clipped++) {
        Program *p = program_make();
        Tensor *x = program_input(p, "x", DTYPE_F32, 4, (int64_t[]){1, 1, 3, 5});
        Tensor *m = program_input(p, "m", DTYPE_F32, 4, (int64_t[]){1, 9, 12, 20});
        ConvexOptions options = {.factor = 4, .clipped = clipped};
        Tensor *one = t_convex_upsample_at(x, m, options, T_HERE), *two = t_convex_upsample_simple(x, m, options);
        Runner *runner = runner_make(p);
        runner_fill_all(runner, 8);
        runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
        real *a = runner_copy(runner, one), *b = runner_copy(runner, two);
        for (int64_t i = 0; i < tensor_count(one); i++)
            assert_true(fabs((double)a[i] - b[i]) < F32_OR_F64(1e-6, 1e-14));
        mem_free(a);
        mem_free(b);
        runner_drop(runner);
        program_drop(p);
    }
}

static void pytorch(void **state) {
    (void)state;
    static const char *const NAMES[] = {"x4", "x4_one", "x4_peaked", "x4_r1", "x1", "x1_doubled", "x1_r1"};
    Fixture f = fixture_open("upsample");
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        const WeightEntry *in = fixture_entry(&f, "%s.input", NAMES[i]),
                          *logits = fixture_entry(&f, "%s.logits", NAMES[i]);
        Program *p = program_make();
        Tensor *x = program_input(p, "x", DTYPE_F32, 4, in->size),
               *m = program_input(p, "m", DTYPE_F32, 4, logits->size), *wide = m;
        ConvexOptions options = {.factor = (int)fixture_number(&f, NAMES[i], "factor", 1),
                                 .clipped = strstr(NAMES[i], "r1") != NULL};
        if (strcmp(NAMES[i], "x1_doubled") == 0) {
            wide = t_resize_bilinear(m, 2 * logits->size[2], 2 * logits->size[3]);
            options.factor = 2;
        }
        Tensor *y = t_convex_upsample_at(x, wide, options, T_HERE);
        Runner *runner = runner_make(p);
        fixture_fill(&f, in, runner, x);
        fixture_fill(&f, logits, runner, m);
        for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++) {
            runner_run(runner, (RunWay){.kind = (RunKind)kind});
            fixture_check(&f, fixture_entry(&f, "%s.output", NAMES[i]), runner, y,
                          kind == RUN_DEFINITION ? 5e-7 : 1e-5);
        }
        runner_drop(runner);
        program_drop(p);
    }
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(constant),
                                       cmocka_unit_test(simpler_operators), cmocka_unit_test(pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
