/* matmul and matmul_nt on every instruction set against their definition, with strided operands and holes. */
#include "base/cpu.h"
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/conv_kernels.h"
#include "tensor/ops/ops.h"
#include "tests/lib/check.h"
#include "tests/lib/run_node.h"

#include <math.h>

static const struct {
    int batches, m, n, k;
    bool slice;   /* both operands are slices of wider ones */
    bool strided; /* the first operand's k is strided (a transposed view) */
} cases[] = {
    {1, 1, 1, 1, 0, 0},     {2, 7, 9, 3, 0, 0},    {3, 33, 31, 17, 1, 0},
    {1, 15, 130, 40, 1, 0}, {20, 13, 8, 16, 0, 0}, {1, 470, 33, 20, 1, 0},
    {2, 16, 48, 130, 0, 1}, {1, 1, 40, 258, 0, 0}, {5, 57, 64, 33, 1, 1},
};

static Tensor *view_of(Program *program, Tensor *x, int rows, int columns, int64_t offset, bool transposed) {
    Tensor *view = program_alloc(program, sizeof *view);
    *view = *x;
    view->base = x;
    view->offset = offset;
    view->size[1] = rows;
    view->size[2] = columns;
    if (transposed) {
        view->stride[1] = x->stride[2];
        view->stride[2] = x->stride[1];
    }
    return view;
}

static void run_cases(CpuLevel level) {
    if (level > cpu_level()) {
        printf("skip: this machine has no %s\n", cpu_level_name(level));
        skip();
    }
    cpu_limit(level);
    Pool *pools[] = {NULL, pool_make(2), pool_make(3)};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int nt = 0; nt < 2; nt++) {
            Program *program = program_make();
            int m = cases[i].m, n = cases[i].n, k = cases[i].k, more = cases[i].slice ? 5 : 0;
            int64_t left[] = {cases[i].batches, m, k + more},
                    right[] = {cases[i].batches, nt ? n : k, (nt ? k : n) + more};
            if (cases[i].strided) {
                left[1] = k;
                left[2] = m + more;
            }
            Tensor *a =
                view_of(program, program_input(program, "a", DTYPE_F32, 3, left), m, k, more / 2, cases[i].strided);
            Tensor *b = view_of(program, program_input(program, "b", DTYPE_F32, 3, right), nt ? n : k, nt ? k : n,
                                more / 2, false);
            Tensor *y = nt ? t_matmul_nt(a, b) : t_matmul(a, b);
            Runner *runner = runner_make(program);
            runner_fill_all(runner, i);
            runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
            int64_t count = tensor_count(y);
            float *want = runner_copy(runner, y), *first = NULL;
            for (int p = 0; p < 3; p++)
                for (int hole = HOLE_NONE; hole <= HOLE_DIRECT; hole++) {
                    runner_run(runner, (RunWay){.kind = RUN_FAST, .hole = (RunHole)hole, .pool = pools[p]});
                    float *got = runner_copy(runner, y);
                    if (first)
                        assert_memory_equal(first, got, (size_t)count * 4);
                    else
                        for (int64_t e = 0; e < count; e++) /* |a|, |b| <= 1: k roundings of sums below sqrt(k) */
                            assert_true(fabsf(got[e] - want[e]) <= (float)k * 0x1p-22f);
                    if (first)
                        mem_free(got);
                    else
                        first = got;
                }
            mem_free(first);
            mem_free(want);
            runner_drop(runner);
            program_drop(program);
        }
    for (int p = 1; p < 3; p++) pool_drop(pools[p]);
    cpu_limit(CPU_AVX512);
}

static void test_base(void **state) {
    (void)state;
    run_cases(CPU_BASE);
}

static void test_avx2(void **state) {
    (void)state;
    run_cases(CPU_AVX2);
}

static void test_avx512(void **state) {
    (void)state;
    run_cases(CPU_AVX512);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base),
        cmocka_unit_test(test_avx2),
        cmocka_unit_test(test_avx512),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
