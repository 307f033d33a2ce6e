/* Transport's gradient and the mass near known disparities: fast against definition; with PANUM_F64 (this file is built
 * so too) the definitions against differences; and by hand. */
#include "base/mem.h"
#include "tensor/ops/ops.h"
#include "tests/lib/backward_case.h"

#include <math.h>

static Tensor *volume(Program *p, int64_t n, int64_t h, int64_t w) {
    return t_reshape(program_input(p, "cv", DTYPE_F32, 1, (int64_t[]){n * h * w * w}), 4, (int64_t[]){n, h, w, w});
}
static const Node *last(Program *p) {
    return program_node(p, program_nodes(p) - 1);
}

/* Scores round `level` with a peak of `peak` along a diagonal, like a network's. */
static void fill_scores(Runner *runner, const Tensor *cv, double level, double spread, double peak) {
    runner_fill(runner, cv->base, 4, spread);
    real *s = runner_data(runner, cv);
    const int64_t h = cv->size[cv->rank - 3] * (cv->rank == 4 ? cv->size[0] : 1), w = cv->size[cv->rank - 1];
    for (int64_t y = 0; y < h; y++)
        for (int64_t i = 0; i < w; i++)
            for (int64_t j = 0; j < w; j++) s[(y * w + i) * w + j] += (real)(level + (i - j == y % 5 - 1 ? peak : 0));
}

static void check(const char *what, Program *p, Runner *runner, const Backward *b, double bound) {
    check_backward_fast(what, b, runner, bound);
    check_backward_differences(what, b, runner, 1e-6, 16, 1e-6);
    runner_drop(runner);
    program_drop(p);
}

static void shapes(void **state) {
    (void)state;
    static const struct {
        int64_t n, h, w;
        int iterations;
        unsigned outputs;
        double level, spread, peak;
    } CASES[] = {{1, 1, 1, 3, 7, 0, 1, 0},   {2, 2, 2, 3, 7, 0, 1, 0},    {1, 3, 5, 1, 7, 0, 2, 0},
                 {1, 3, 7, 2, 7, 0, 2, 3},   {2, 3, 17, 3, 1, 0, 2, 4},   {2, 3, 17, 3, 2, 0, 2, 4},
                 {2, 3, 17, 3, 4, 0, 2, 4},  {1, 2, 33, 3, 7, 3, 3, 6},   {1, 2, 20, 5, 5, 3, 3, 6},
                 {1, 2, 19, 10, 7, 0, 1, 2}, {1, 4, 48, 3, 7, 20, 4, 12}, {1, 2, 96, 3, 7, 115, 3, 10}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (int positive = 0; positive < 2; positive++) {
            if (F32_OR_F64(0, 1) && CASES[i].w > 50) continue; /* definitions take long */
            Program *p = program_make();
            Tensor *cv = volume(p, CASES[i].n, CASES[i].h, CASES[i].w);
            t_transport(cv, .positive = positive, .iterations = CASES[i].iterations);
            const Backward b = backward_record(last(p), CASES[i].outputs);
            Runner *runner = runner_make(p);
            runner_fill_all(runner, 30);
            fill_scores(runner, cv, CASES[i].level, CASES[i].spread, CASES[i].peak);
            char what[96];
            snprintf(what, sizeof what, "transport %lldx%lldx%lld, %d iterations, from %u%s", (long long)CASES[i].n,
                     (long long)CASES[i].h, (long long)CASES[i].w, CASES[i].iterations, CASES[i].outputs,
                     positive ? ", positive" : "");
            check(what, p, runner, &b, CASES[i].level > 50 ? 1e-4 : 1e-5);
        }
}

/* A volume of rank 3, a view of a wider one. */
static void views(void **state) {
    (void)state;
    Program *p = program_make();
    Tensor *whole = program_input(p, "whole", DTYPE_F32, 3, (int64_t[]){3, 11, 16});
    t_transport(t_slice(whole, 2, 3, 11), .positive = true);
    const Backward b = backward_record(last(p), 7);
    Runner *runner = runner_make(p);
    runner_fill_all(runner, 8);
    runner_fill(runner, whole, 8, 4);
    check("transport of a slice of columns", p, runner, &b, 1e-5);
}

static void mass(void **state) {
    (void)state;
    static const struct {
        int64_t n, h, w;
        int factor, radius;
    } CASES[] = {{1, 1, 1, 1, 0}, {1, 2, 5, 1, 1}, {2, 3, 17, 4, 2}, {1, 2, 33, 2, 0}, {1, 3, 20, 4, 3}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (int positive = 0; positive < 2; positive++) {
            const int64_t n = CASES[i].n, h = CASES[i].h, w = CASES[i].w, f = CASES[i].factor;
            char what[96];
            snprintf(what, sizeof what, "mass %lldx%lldx%lld, factor %d, radius %d%s", (long long)n, (long long)h,
                     (long long)w, (int)f, CASES[i].radius, positive ? ", positive" : "");
            for (int pass = 0; pass < 2; pass++) {
                Program *p = program_make();
                Tensor *cv = volume(p, n, h, w);
                Tensor *d = program_input(p, "d", DTYPE_F32, 4, (int64_t[]){n, 1, h * f, w * f});
                Tensor *valid = program_input(p, "valid", DTYPE_F32, 4, (int64_t[]){n, 1, h * f, w * f});
                t_transport_mass(cv, d, valid, .transport.positive = positive, .factor = (int)f,
                                 .radius = CASES[i].radius);
                Backward b = {0};
                if (pass) b = backward_record(last(p), 1);
                Runner *runner = runner_make(p);
                runner_fill_all(runner, 30);
                runner_fill(runner, d, 3, (double)(w * f) * 0.6);
                ((real *)runner_data(runner, d))[h * f * w * f / 2] = NAN;
                fill_scores(runner, cv, 2, 2, 4);
                if (pass) {
                    check(what, p, runner, &b, 1e-5);
                    continue;
                }
                check_fast(what, p, runner, 1e-5);
                runner_drop(runner);
                program_drop(p);
            }
        }
}

/* The whole row as a window is occlusion's sum; the window of the arg max is confidence; a window that holds nothing
 * is 0. d = i - j: positive disparities lie to the left in the right picture. */
static void mass_by_hand(void **state) {
    (void)state;
    enum { H = 2, W = 12 };
    Program *p = program_make();
    Tensor *cv = volume(p, 1, H, W), *d = program_input(p, "d", DTYPE_F32, 4, (int64_t[]){1, 1, H, W});
    Tensor *valid = program_input(p, "valid", DTYPE_F32, 4, (int64_t[]){1, 1, H, W});
    Transport t = t_transport(cv);
    Tensor *all = t_transport_mass(cv, d, valid, .radius = 2 * W), *near = t_transport_mass(cv, d, valid, .radius = 2);
    Runner *runner = runner_make(p);
    runner_fill_all(runner, 1);
    fill_scores(runner, cv, 0, 0.5, 14); /* row 0: j = i + 1, row 1: j = i */
    real *pixel = runner_data(runner, valid), *own = runner_data(runner, d);
    for (int i = 0; i < H * W; i++) pixel[i] = i != W + 4, own[i] = (real)(i < W ? -1.3 : 0.4);
    own[W + 7] = 100;
    for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++) {
        runner_run(runner, (RunWay){.kind = (RunKind)kind});
        const real *sum = runner_data(runner, t.occlusion), *five = runner_data(runner, t.confidence),
                   *whole = runner_data(runner, all), *some = runner_data(runner, near);
        for (int i = 0; i < H * W; i++) {
            const bool known = i != W + 4;
            if (i == W - 1 || i == W + 7) continue; /* its match is outside; its disparity is another's */
            assert_true(fabs(whole[i] - (known ? sum[i] : 0)) < 1e-6);
            assert_true(fabs(some[i] - (known ? five[i] : 0)) < 1e-6);
        }
        assert_true(some[W + 7] == 0);
    }
    runner_drop(runner);
    program_drop(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(views), cmocka_unit_test(mass),
                                       cmocka_unit_test(mass_by_hand)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
