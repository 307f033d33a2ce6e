/* Gradients of pooling, resizing, lookup and convex upsampling: fast against definition; with PANUM_F64 (this file is
 * built so too) the definitions against differences of the operators'. */
#include "base/mem.h"
#include "tensor/ops/ops.h"
#include "tests/lib/backward_case.h"

#include <math.h>

static Tensor *map(Program *p, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    return program_input(p, name, DTYPE_F32, 4, (int64_t[]){n, c, h, w});
}
/* A row-major volume, as matmul_nt makes it, seen as (n,h,w,m). */
static Tensor *volume(Program *p, int64_t n, int64_t h, int64_t w, int64_t m) {
    return t_reshape(program_input(p, "cv", DTYPE_F32, 1, (int64_t[]){n * h * w * m}), 4, (int64_t[]){n, h, w, m});
}
static const Node *last(Program *p) {
    return program_node(p, program_nodes(p) - 1);
}
static void check(const char *what, Program *p, Runner *runner, const Backward *b, double bound) {
    check_backward_fast(what, b, runner, bound);
    check_backward_differences(what, b, runner, 1e-6, 12, 1e-6);
    runner_drop(runner);
    program_drop(p);
}

static void resampling(void **state) {
    (void)state;
    static const struct {
        int64_t n, c, h, w;
    } CASES[] = {{1, 1, 1, 1}, {2, 3, 5, 7}, {1, 9, 8, 6}, {1, 17, 3, 9}, {1, 33, 6, 4}, {1, 1, 33, 50}};
    static const char *const KIND[] = {"avg_pool2",     "adaptive_avg_pool", "bilinear x2",     "bilinear up",
                                       "bilinear down", "nearest x2",        "bilinear far up", "bilinear to one"};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (int kind = 0; kind < 8; kind++)
            for (int slice = 0; slice < 2; slice++) {
                const int64_t h = CASES[i].h, w = CASES[i].w;
                if (kind == 0 && (h < 2 || w < 2)) continue;
                Program *p = program_make();
                Tensor *x = map(p, "x", CASES[i].n, CASES[i].c + 5 * slice, h, w);
                if (slice) x = t_slice(x, 1, 2, CASES[i].c);
                if (kind == 0) t_avg_pool2(x);
                if (kind == 1) t_adaptive_avg_pool(x, (h + 1) / 2, (w + 2) / 3);
                if (kind == 2) t_resize_bilinear(x, 2 * h, 2 * w);
                if (kind == 3) t_resize_bilinear(x, 3 * h + 1, 5 * w + 2);
                if (kind == 4) t_resize_bilinear(x, (h + 2) / 3, (w + 1) / 2);
                if (kind == 5) t_upsample2_nearest(x);
                if (kind == 6) t_resize_bilinear(x, 17, w);
                if (kind == 7) t_resize_bilinear(x, 1, 1);
                const Backward b = backward_record(last(p), 1);
                Runner *runner = runner_make(p);
                runner_fill_all(runner, 6);
                char what[80];
                snprintf(what, sizeof what, "%s of %lldx%lldx%lldx%lld%s", KIND[kind], (long long)CASES[i].n,
                         (long long)CASES[i].c, (long long)h, (long long)w, slice ? ", a slice" : "");
                check(what, p, runner, &b, 1e-6);
            }
}

/* dy as a slice of channels of a wider map, which is how the gradient of a concatenation comes. */
static void sliced_dy(void **state) {
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        Program *p = program_make();
        Tensor *x = map(p, "x", 2, 6, 8, 10), *y = NULL;
        if (kind == 0) y = t_avg_pool2(x);
        if (kind == 1) y = t_adaptive_avg_pool(x, 3, 4);
        if (kind == 2) y = t_resize_bilinear(x, 16, 20);
        if (kind == 3) y = t_upsample2_nearest(x);
        if (kind == 4) y = t_avg_pool2d(x, .kernel = 3, .stride = 1, .pad = 1);
        if (kind == 5) y = t_avg_pool2d(x, .kernel = 4, .stride = 2);
        Tensor *wide = map(p, "wide", 2, 11, y->size[2], y->size[3]);
        Backward b = {.program = p, .node = y->node, .dy = {t_slice(wide, 1, 3, 6)}};
        b.node->op->gradient(b.node, b.dy, b.d_input);
        Runner *runner = runner_make(p);
        runner_fill_all(runner, 6);
        check(b.node->op->name, p, runner, &b, 1e-6);
    }
}

static void lookups(void **state) {
    (void)state;
    static const struct {
        int64_t n, h, w, m;
        int step, coarse;
    } CASES[] = {{1, 1, 1, 1, 1, 1}, {2, 3, 7, 7, 1, 1},   {1, 2, 11, 5, 2, 1},
                 {1, 3, 4, 2, 2, 1}, {1, 4, 30, 30, 1, 1}, {1, 4, 12, 6, 2, 2}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (int half = 0; half < 2; half++)
            for (int whole = 0; whole < 2; whole++) {
                const int64_t h = CASES[i].h, w = CASES[i].w, m = CASES[i].m, coarse = CASES[i].coarse;
                if (half && m == 1) continue;
                Program *p = program_make();
                Tensor *cv = volume(p, CASES[i].n, h / coarse, w / coarse, m);
                if (whole) cv = t_reshape(cv, 3, (int64_t[]){CASES[i].n * h / coarse, w / coarse, m});
                Tensor *d = map(p, "d", CASES[i].n, 1 + whole, h, w), *own = whole ? t_slice(d, 1, 1, 1) : d;
                t_lookup(cv, own, .step = CASES[i].step, .half_pixel = half);
                const Backward b = backward_record(last(p), 1);
                Runner *runner = runner_make(p);
                runner_fill_all(runner, 6);
                runner_fill(runner, d, 5, (double)(w + 4));
                char what[80];
                snprintf(what, sizeof what, "lookup in %lldx%lldx%lldx%lld, step %d%s", (long long)CASES[i].n,
                         (long long)h, (long long)w, (long long)m, CASES[i].step, half ? ", half pixel" : "");
                check(what, p, runner, &b, 2e-6);
            }
}

static void pairs(void **state) {
    (void)state;
    static const int64_t SIZES[][4] = {{1, 1, 1, 2}, {2, 3, 4, 9}, {1, 4, 5, 40}, {1, 5, 3, 33}};
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++)
        for (int even = 0; even < 2; even++) {
            Program *p = program_make();
            Tensor *cv = volume(p, SIZES[i][0], SIZES[i][1], SIZES[i][2], SIZES[i][3]);
            if (even)
                t_even_pairs(cv);
            else
                t_pool_pairs(cv);
            const Backward b = backward_record(last(p), 1);
            Runner *runner = runner_make(p);
            runner_fill_all(runner, 6);
            check(even ? "even pairs" : "pairs", p, runner, &b, 1e-7);
        }
}

static void convex(void **state) {
    (void)state;
    static const int64_t SIZES[][2] = {{1, 1}, {1, 5}, {3, 1}, {2, 7}, {5, 16}, {4, 33}};
    static const int FACTORS[] = {1, 2, 4};
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++)
        for (int k = 0; k < 3; k++)
            for (int clipped = 0; clipped < 2; clipped++)
                for (int slice = 0; slice < 2; slice++) {
                    const int64_t h = SIZES[i][0], w = SIZES[i][1], f = FACTORS[k], more = 3 * slice;
                    Program *p = program_make();
                    Tensor *x = map(p, "x", 2, 1 + more, h, w), *m = map(p, "m", 2, 9 + more, f * h, f * w);
                    t_convex_upsample(slice ? t_slice(x, 1, 1, 1) : x, slice ? t_slice(m, 1, 2, 9) : m,
                                      .factor = (int)f, .clipped = clipped);
                    const Backward b = backward_record(last(p), 1);
                    Runner *runner = runner_make(p);
                    runner_fill_all(runner, 1);
                    runner_fill(runner, x, 1, 3);
                    runner_fill(runner, m, 2, clipped ? 2 : 5);
                    char what[80];
                    snprintf(what, sizeof what, "convex x%d of %lldx%lld%s%s", (int)f, (long long)h, (long long)w,
                             clipped ? ", clipped" : "", slice ? ", slices" : "");
                    check(what, p, runner, &b, 3e-6);
                }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(resampling), cmocka_unit_test(sliced_dy),
                                       cmocka_unit_test(lookups), cmocka_unit_test(pairs), cmocka_unit_test(convex)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
