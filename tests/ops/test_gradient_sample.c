/* Box filters, grid sampling and warping along rows: forward fast against definition, gradients fast against
 * definition; with PANUM_F64 (this file is built so too) gradients against differences of the definition. */
#include "base/mem.h"
#include "tensor/ops/ops.h"
#include "tests/lib/backward_case.h"

#include <math.h>

static Tensor *map(Program *p, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    return program_input(p, name, DTYPE_F32, 4, (int64_t[]){n, c, h, w});
}
static const Node *last(Program *p) {
    return program_node(p, program_nodes(p) - 1);
}

/* Gradient of the program's last node, both checks; drops runner and program. */
static void check_gradient(const char *what, Program *p, Runner *runner, const Backward *b, double bound) {
    check_backward_fast(what, b, runner, bound);
    check_backward_differences(what, b, runner, 1e-7, 12, 1e-5); /* small: interpolation has corners */
    runner_drop(runner);
    program_drop(p);
}

static void boxes(void **state) {
    (void)state;
    static const struct {
        int64_t n, c, h, w;
        int kernel, stride, pad;
    } CASES[] = {{1, 1, 1, 1, 1, 1, 0},   {2, 3, 5, 7, 3, 1, 1},   {1, 3, 12, 9, 5, 1, 2}, {1, 1, 20, 33, 11, 1, 5},
                 {1, 17, 9, 6, 2, 1, 1},  {1, 2, 11, 11, 4, 1, 0}, {1, 1, 9, 14, 2, 2, 0}, {2, 5, 13, 10, 3, 2, 1},
                 {1, 1, 10, 10, 2, 3, 0}, {1, 4, 7, 8, 7, 1, 3},   {1, 3, 70, 90, 9, 1, 4}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (int kind = 0; kind < 4; kind++) {
            const bool slice = kind & 1, exclude = kind >> 1;
            char what[80];
            snprintf(what, sizeof what, "box %d/%d+%d of %lldx%lldx%lldx%lld%s%s", CASES[i].kernel, CASES[i].stride,
                     CASES[i].pad, (long long)CASES[i].n, (long long)CASES[i].c, (long long)CASES[i].h,
                     (long long)CASES[i].w, slice ? ", a slice" : "", exclude ? ", padding excluded" : "");
            for (int pass = 0; pass < 2; pass++) {
                Program *p = program_make();
                Tensor *x = map(p, "x", CASES[i].n, CASES[i].c + 4 * slice, CASES[i].h, CASES[i].w);
                if (slice) x = t_slice(x, 1, 3, CASES[i].c);
                t_avg_pool2d(x, .kernel = CASES[i].kernel, .stride = CASES[i].stride, .pad = CASES[i].pad,
                             .exclude_pad = exclude);
                if (pass == 0) {
                    check_fast_random(what, p, 1e-6);
                    continue;
                }
                const Backward b = backward_record(last(p), 1);
                Runner *runner = runner_make(p);
                runner_fill_all(runner, 4);
                check_gradient(what, p, runner, &b, 1e-6);
            }
        }
}

/* What SSIM and block matching ask of a mean: a constant stays itself inside, borders lose what is outside; a small
 * spread on a large level survives 300 rows. */
static void box_values(void **state) {
    (void)state;
    Program *p = program_make();
    Tensor *x = map(p, "x", 1, 1, 300, 20), *y = t_avg_pool2d(x, .kernel = 11, .stride = 1, .pad = 5);
    Runner *runner = runner_make(p);
    real *data = runner_data(runner, x);
    for (int64_t i = 0; i < 300 * 20; i++) data[i] = (real)(1000 + (double)(i % 2));
    for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++) {
        runner_run(runner, (RunWay){.kind = (RunKind)kind});
        const real *got = runner_data(runner, y);
        assert_true(fabs(got[150 * 20 + 10] - 1000.5) <
                    5e-3 + 1e-4 * 1000); /* 11 columns are not evenly odd and even */
        for (int64_t i = 5; i < 295; i++) assert_true(got[i * 20 + 10] == got[5 * 20 + 10]);
        assert_true(fabs(got[0] - 1000.5 * 36 / 121) < 0.2);
    }
    runner_drop(runner);
    program_drop(p);
}

static void grid_sampling(void **state) {
    (void)state;
    static const struct {
        int64_t n, c, h, w, to_h, to_w;
        double reach;
    } CASES[] = {{1, 1, 1, 1, 2, 3, 1.5},
                 {2, 3, 5, 7, 4, 6, 1.4},
                 {1, 5, 9, 4, 13, 11, 1.1},
                 {1, 1, 6, 8, 6, 8, 3.0},
                 {1, 3, 40, 60, 50, 70, 1.2}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (int kind = 0; kind < 8; kind++) {
            const bool border = kind & 1, align = kind >> 1 & 1, slice = kind >> 2;
            char what[96];
            snprintf(what, sizeof what, "grid %lldx%lldx%lldx%lld to %lldx%lld%s%s%s", (long long)CASES[i].n,
                     (long long)CASES[i].c, (long long)CASES[i].h, (long long)CASES[i].w, (long long)CASES[i].to_h,
                     (long long)CASES[i].to_w, border ? ", border" : "", align ? ", corners" : "",
                     slice ? ", slices" : "");
            for (int pass = 0; pass < 2; pass++) {
                Program *p = program_make();
                Tensor *x = map(p, "x", CASES[i].n, CASES[i].c + slice, CASES[i].h, CASES[i].w);
                Tensor *grid = map(p, "grid", CASES[i].n, 2 + 3 * slice, CASES[i].to_h, CASES[i].to_w), *whole = grid;
                if (slice) x = t_slice(x, 1, 1, CASES[i].c), grid = t_slice(grid, 1, 2, 2);
                t_grid_sample(x, grid, .border = border, .align_corners = align);
                Backward b = {0};
                if (pass) b = backward_record(last(p), 1);
                Runner *runner = runner_make(p);
                runner_fill_all(runner, 9);
                runner_fill(runner, whole, 3, CASES[i].reach);
                if (pass) {
                    check_gradient(what, p, runner, &b, 2e-6);
                    continue;
                }
                check_fast(what, p, runner, 1e-6);
                runner_drop(runner);
                program_drop(p);
            }
        }
}

static void warping(void **state) {
    (void)state;
    static const struct {
        int64_t n, c, h, w;
        double reach;
    } CASES[] = {{1, 1, 1, 1, 1.5}, {2, 3, 5, 7, 4}, {1, 5, 3, 19, 30}, {1, 3, 30, 90, 12}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (int kind = 0; kind < 4; kind++) {
            const bool border = kind & 1, slice = kind >> 1;
            char what[96];
            snprintf(what, sizeof what, "warp %lldx%lldx%lldx%lld%s%s", (long long)CASES[i].n, (long long)CASES[i].c,
                     (long long)CASES[i].h, (long long)CASES[i].w, border ? ", border" : "", slice ? ", slices" : "");
            for (int pass = 0; pass < 2; pass++) {
                Program *p = program_make();
                Tensor *x = map(p, "x", CASES[i].n, CASES[i].c + 2 * slice, CASES[i].h, CASES[i].w);
                Tensor *d = map(p, "d", CASES[i].n, 1 + slice, CASES[i].h, CASES[i].w), *whole = d;
                if (slice) x = t_slice(x, 1, 2, CASES[i].c), d = t_slice(d, 1, 1, 1);
                t_warp_rows(x, d, .border = border);
                Backward b = {0};
                if (pass) b = backward_record(last(p), 1);
                Runner *runner = runner_make(p);
                runner_fill_all(runner, 9);
                runner_fill(runner, whole, 3, CASES[i].reach);
                if (pass) {
                    check_gradient(what, p, runner, &b, 2e-6);
                    continue;
                }
                check_fast(what, p, runner, 1e-6);
                runner_drop(runner);
                program_drop(p);
            }
        }
}

/* Signs and borders by hand: x(j) = 10 j, so that the warped value at column i is 10 (i - d) and its derivative by d is
 * -10; +d looks to the left. */
static void warp_by_hand(void **state) {
    (void)state;
    enum { W = 6 };
    static const double D[W] = {0, 0.25, -1.5, 3, 5.5, -1};
    static const double ZEROS[W] = {0, 7.5, 35, 0, 0, 0}, BORDER[W] = {0, 7.5, 35, 0, 0, 50};
    /* column 4 reads at -1.5 (nothing), column 5 at 6 (outside) */
    static const double SLOPE_ZEROS[W] = {-10, -10, -10, -10, 0, 0}, SLOPE_BORDER[W] = {0, -10, -10, 0, 0, 0};
    static const double INSIDE[W] = {0, 1, 1, 0, 0, 0};
    for (int border = 0; border < 2; border++)
        for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++) {
            Program *p = program_make();
            Tensor *x = map(p, "x", 1, 1, 1, W), *d = map(p, "d", 1, 1, 1, W);
            WarpedRows y = t_warp_rows(x, d, .border = border);
            const Backward b = backward_record(last(p), 1);
            Runner *runner = runner_make(p);
            for (int j = 0; j < W; j++) {
                ((real *)runner_data(runner, x))[j] = (real)(10 * j);
                ((real *)runner_data(runner, d))[j] = (real)D[j];
                ((real *)runner_data(runner, b.dy[0]))[j] = 1;
            }
            runner_run(runner, (RunWay){.kind = (RunKind)kind});
            double total = 0;
            for (int j = 0; j < W; j++) {
                assert_true(fabs(((real *)runner_data(runner, y.picture))[j] - (border ? BORDER : ZEROS)[j]) < 1e-5);
                assert_true(((real *)runner_data(runner, y.inside))[j] == INSIDE[j]);
                assert_true(fabs(((real *)runner_data(runner, b.d_input[1]))[j] -
                                 (border ? SLOPE_BORDER : SLOPE_ZEROS)[j]) < 1e-5);
                total += ((real *)runner_data(runner, b.d_input[0]))[j];
            }
            assert_true(fabs(total - (border ? 6 : 4)) < 1e-5); /* weights of each place that is read sum to one */
            runner_drop(runner);
            program_drop(p);
        }
}

/* Positions that are not numbers read nothing and move nothing. */
static void not_numbers(void **state) {
    (void)state;
    Program *p = program_make();
    Tensor *x = map(p, "x", 1, 2, 3, 4), *grid = map(p, "grid", 1, 2, 1, 3);
    Tensor *y = t_grid_sample(x, grid, .align_corners = true);
    const Backward b = backward_record(last(p), 1);
    Runner *runner = runner_make(p);
    runner_fill_all(runner, 2);
    real *g = runner_data(runner, grid);
    g[0] = NAN, g[1] = 0, g[2] = 0, g[3] = INFINITY, g[4] = -INFINITY, g[5] = NAN;
    for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++) {
        runner_run(runner, (RunWay){.kind = (RunKind)kind});
        for (int i = 0; i < 6; i++) assert_true(((real *)runner_data(runner, y))[i] == 0);
        for (int i = 0; i < 6; i++) assert_true(((real *)runner_data(runner, b.d_input[1]))[i] == 0);
        for (int i = 0; i < 24; i++) assert_true(((real *)runner_data(runner, b.d_input[0]))[i] == 0);
    }
    runner_drop(runner);
    program_drop(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(boxes),         cmocka_unit_test(box_values),
                                       cmocka_unit_test(grid_sampling), cmocka_unit_test(warping),
                                       cmocka_unit_test(warp_by_hand),  cmocka_unit_test(not_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
