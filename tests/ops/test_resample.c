/* Pooling and resizing: fast against definition, and against PyTorch. With PANUM_F64 the definitions in double. */
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tests/lib/op_case.h"

static Tensor *map(Program *p, int64_t n, int64_t c, int64_t h, int64_t w) {
    return program_input(p, "x", DTYPE_F32, 4, (int64_t[]){n, c, h, w});
}

static void shapes(void **state) {
    (void)state;
    static const struct {
        int64_t n, c, h, w;
    } CASES[] = {{1, 1, 1, 1},  {2, 3, 5, 7},  {1, 9, 8, 6},    {1, 16, 4, 2},
                 {2, 17, 3, 9}, {1, 33, 6, 4}, {1, 64, 30, 41}, {1, 1, 33, 50}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (int kind = 0; kind < 6; kind++) {
            static const char *const KIND[] = {"avg_pool2",   "adaptive_avg_pool", "bilinear x2",
                                               "bilinear up", "bilinear down",     "nearest x2"};
            const int64_t h = CASES[i].h, w = CASES[i].w;
            for (int slice = 0; slice < 2; slice++) {
                if (kind == 0 && (h < 2 || w < 2)) continue;
                Program *p = program_make();
                Tensor *x =
                    slice ? t_slice(t_slice(t_slice(map(p, CASES[i].n, CASES[i].c + 5, h + 3, w + 4), 1, 2, CASES[i].c),
                                            2, 1, h),
                                    3, 3, w)
                          : map(p, CASES[i].n, CASES[i].c, h, w);
                if (kind == 0) t_avg_pool2(x);
                if (kind == 1) t_adaptive_avg_pool(x, (h + 1) / 2, (w + 2) / 3);
                if (kind == 2) t_resize_bilinear(x, 2 * h, 2 * w);
                if (kind == 3) t_resize_bilinear(x, 3 * h + 1, 5 * w + 2);
                if (kind == 4) t_resize_bilinear(x, (h + 2) / 3, (w + 1) / 2);
                if (kind == 5) t_upsample2_nearest(x);
                char what[80];
                snprintf(what, sizeof what, "%s of %lldx%lldx%lldx%lld%s", KIND[kind], (long long)CASES[i].n,
                         (long long)CASES[i].c, (long long)h, (long long)w, slice ? ", a slice" : "");
                check_fast_random(what, p, 1e-6);
            }
        }
}

static void pytorch(void **state) {
    (void)state;
    static const char *const NAMES[] = {
        "pool2",          "pool2_odd",        "pool2_wide",        "adaptive",      "adaptive_even",
        "adaptive_one",   "adaptive_padding", "bilinear2",         "bilinear2_one", "bilinear2_row",
        "bilinear2_wide", "bilinear_to",      "bilinear_from_one", "nearest2",      "nearest4"};
    Fixture f = fixture_open("pool_resize");
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        const WeightEntry *in = fixture_entry(&f, "%s.input", NAMES[i]),
                          *out = fixture_entry(&f, "%s.output", NAMES[i]);
        Program *p = program_make();
        Tensor *x = program_input(p, "x", DTYPE_F32, 4, in->size), *y;
        if (strncmp(NAMES[i], "pool2", 5) == 0)
            y = t_avg_pool2(x);
        else if (strncmp(NAMES[i], "adaptive", 8) == 0)
            y = t_adaptive_avg_pool(x, out->size[2], out->size[3]);
        else if (strncmp(NAMES[i], "bilinear", 8) == 0)
            y = t_resize_bilinear(x, out->size[2], out->size[3]);
        else
            y = t_upsample2_nearest(x);
        if (strcmp(NAMES[i], "nearest4") == 0) y = t_upsample2_nearest(y);
        Runner *runner = runner_make(p);
        fixture_fill(&f, in, runner, x);
        for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++) {
            runner_run(runner, (RunWay){.kind = (RunKind)kind});
            fixture_check(&f, out, runner, y, F32_OR_F64(5e-7, 6.1e-8));
        }
        runner_drop(runner);
        program_drop(p);
    }
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(pytorch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
