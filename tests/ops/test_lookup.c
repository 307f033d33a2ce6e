/* Correlation lookup and the pairs of its coarse level: fast against definition, PyTorch's three behaviours, the edges.
 * With PANUM_F64 the definitions in double. */
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tests/lib/op_case.h"

#include <math.h>

static void shapes(void **state) {
    (void)state;
    static const struct {
        int64_t n, h, w, m;
        int step, coarse;
        bool half_pixel, rank4;
    } CASES[] = {
        {1, 3, 20, 20, 1, 1, false, false},   {2, 3, 7, 7, 1, 1, false, false},   {1, 4, 50, 25, 2, 1, false, false},
        {2, 4, 50, 50, 1, 1, true, false},    {1, 6, 30, 15, 2, 2, true, false},  {1, 1, 1, 1, 1, 1, false, false},
        {1, 2, 300, 300, 1, 1, false, false}, {1, 6, 30, 15, 2, 2, false, false}, {3, 5, 12, 12, 1, 1, false, true},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const int64_t n = CASES[i].n, h = CASES[i].h, w = CASES[i].w, m = CASES[i].m, coarse = CASES[i].coarse;
        Program *p = program_make();
        Tensor *cv = program_input(p, "cv", DTYPE_F32, 3, (int64_t[]){n * h / coarse, w / coarse, m + 3});
        Tensor *d = program_input(p, "d", DTYPE_F32, 4, (int64_t[]){n, 2, h, w});
        t_lookup(t_slice(cv, 2, 2, m), t_slice(d, 1, 1, 1), .step = CASES[i].step, .half_pixel = CASES[i].half_pixel);
        Runner *runner = runner_make(p);
        runner_fill(runner, cv, 1, 100);
        runner_fill(runner, d, 2, (double)w);
        real *values = runner_data(runner, d);
        for (int64_t k = 0; k < tensor_count(d); k += 5) values[k] = floorf((float)values[k]); /* whole positions */
        if (w > 1) values[1] = (real)NAN, values[3] = (real)INFINITY, values[5] = (real)-1e30;
        char what[80];
        snprintf(what, sizeof what, "lookup %lldx%lldx%lld of %lld, step %d%s%s", (long long)n, (long long)h,
                 (long long)w, (long long)m, CASES[i].step, CASES[i].half_pixel ? ", half pixel" : "",
                 coarse > 1 ? ", every second row" : "");
        check_fast(what, p, runner, 1e-5); /* of values to 100 */
        runner_drop(runner);
        program_drop(p);
    }
    for (int64_t m = 2; m < 70; m += 9) {
        Program *p = program_make();
        t_pool_pairs(t_slice(program_input(p, "cv", DTYPE_F32, 3, (int64_t[]){9, 11, m + 2}), 2, 1, m));
        char what[40];
        snprintf(what, sizeof what, "pool_pairs of %lld", (long long)m);
        check_fast_random(what, p, 1e-7);
    }
}

/* Values fade to zero over one cell beyond both ends, and the position of the coarse level is (i-d)/2 without a shift.
 */
static void edges(void **state) {
    (void)state;
    enum { W = 6 };
    for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++)
        for (int step = 1; step <= 2; step++) {
            Program *p = program_make();
            Tensor *cv = program_input(p, "cv", DTYPE_F32, 3, (int64_t[]){1, W, W / step});
            Tensor *d = program_input(p, "d", DTYPE_F32, 4, (int64_t[]){1, 1, 1, W});
            Tensor *y = t_lookup(cv, d, .step = step);
            Runner *runner = runner_make(p);
            for (int i = 0; i < W; i++)
                for (int j = 0; j < W / step; j++)
                    ((real *)runner_data(runner, cv))[i * (W / step) + j] = (real)(j + 1);
            for (int i = 0; i < W; i++) ((real *)runner_data(runner, d))[i] = (real)0.25;
            runner_run(runner, (RunWay){.kind = (RunKind)kind});
            real *got = runner_copy(runner, y);
            for (int i = 0; i < W; i++)
                for (int e = -4; e <= 4; e++) {
                    double x = (i - 0.25) / step + e, m = W / step, want = 0;
                    if (x > -1 && x < 0)
                        want = x + 1; /* value 1 at 0, fading to 0 at -1 */
                    else if (x >= 0 && x <= m - 1)
                        want = x + 1;
                    else if (x > m - 1 && x < m)
                        want = m * (m - x);
                    assert_true(fabs(got[(e + 4) * W + i] - want) < 1e-6);
                }
            mem_free(got);
            runner_drop(runner);
            program_drop(p);
        }
}

static void pytorch(void **state) {
    (void)state;
    static const char *const NAMES[] = {"r3", "r3_odd", "r2", "r1"};
    Fixture f = fixture_open("lookup");
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        const WeightEntry *cv_entry = fixture_entry(&f, "%s.cv", NAMES[i]),
                          *d_entry = fixture_entry(&f, "%s.d", NAMES[i]);
        const bool r1 = strcmp(NAMES[i], "r1") == 0, half = r1 || strcmp(NAMES[i], "r2") == 0;
        const WeightEntry *coarse_entry = r1 ? fixture_entry(&f, "r1.coarse") : NULL;
        Program *p = program_make();
        Tensor *cv = program_input(p, "cv", DTYPE_F32, 3, cv_entry->size + 1);
        Tensor *coarse = r1 ? program_input(p, "coarse", DTYPE_F32, 3, coarse_entry->size + 1) : t_pool_pairs(cv);
        Tensor *d = program_input(p, "d", DTYPE_F32, 4, d_entry->size);
        Tensor *level[2] = {t_lookup(cv, d, .step = 1, .half_pixel = half),
                            t_lookup(coarse, d, .step = 2, .half_pixel = half)};
        Runner *runner = runner_make(p);
        fixture_fill(&f, cv_entry, runner, cv);
        fixture_fill(&f, d_entry, runner, d);
        if (r1) fixture_fill(&f, coarse_entry, runner, coarse);
        for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++) {
            runner_run(runner, (RunWay){.kind = (RunKind)kind});
            for (int k = 0; k < 2; k++)
                fixture_check(&f, fixture_entry(&f, "%s.level%d", NAMES[i], k + 1), runner, level[k],
                              2e-6); /* of values to 16 */
        }
        runner_drop(runner);
        program_drop(p);
    }
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(edges), cmocka_unit_test(pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
