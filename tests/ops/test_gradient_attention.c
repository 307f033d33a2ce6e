/* Attention's gradient, with and without the relative term: fast against definition; with PANUM_F64 (this file is built
 * so too) the definition against differences. */
#include "base/mem.h"
#include "tensor/ops/ops.h"
#include "tests/lib/attention_cases.h"
#include "tests/lib/backward_case.h"

#include <math.h>

static const Node *last(Program *p) {
    return program_node(p, program_nodes(p) - 1);
}
static void check(const char *what, Program *p, double bound) {
    const Backward b = backward_record(last(p), 1);
    Runner *runner = runner_make(p);
    runner_fill_all(runner, 20);
    check_backward_fast(what, &b, runner, bound);
    check_backward_differences(what, &b, runner, 1e-5, 10, 1e-6);
    runner_drop(runner);
    program_drop(p);
}

static void shapes(void **state) {
    (void)state;
    static const AttentionCase CASES[] = {
        {1, 1, 1, 1, 1, false},      {2, 1, 1, 8, 2, false},     {1, 2, 3, 5, 1, false},      {2, 14, 32, 16, 1, true},
        {1, 15, 33, 10, 3, false},   {4, 13, 31, 20, 2, true},   {1, 29, 17, 40, 1, false},   {2, 46, 46, 64, 2, true},
        {70, 9, 11, 6, 3, true},     {1, 60, 255, 12, 2, false}, {2, 80, 80, 32, 1, true},    {1, 130, 70, 4, 8, false},
        {1, 20, 1300, 33, 1, false}, {1, 3, 40, 300, 1, false},  {1, 330, 330, 32, 2, false},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        if (F32_OR_F64(0, 1) && CASES[i].queries * CASES[i].keys * CASES[i].width * CASES[i].heads > 100000) continue;
        char what[80];
        Program *p = attention_program(&CASES[i], what);
        check(what, p, 3e-6);
    }
}

static void views(void **state) {
    (void)state;
    for (int rows = 0; rows < 2; rows++) {
        Program *p = attention_views_program(rows, 4, 7);
        check(rows ? "slices of a map, by rows" : "slices of a map", p, 3e-6);
    }
}

static void relative(void **state) {
    (void)state;
    static const RelativeCase CASES[] = {{1, 1, 1, 8, 1},  {2, 3, 4, 8, 2},    {1, 1, 19, 5, 1},  {1, 37, 1, 16, 2},
                                         {2, 8, 10, 8, 8}, {1, 11, 17, 40, 3}, {1, 15, 23, 32, 2}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        if (F32_OR_F64(0, 1) && CASES[i].h * CASES[i].w > 100) continue;
        char what[80];
        Program *p = attention_relative_program(&CASES[i], what);
        check(what, p, 5e-6);
    }
}

/* Scores of tens: nearly every weight is 0 or 1. And all scores equal. */
static void large_scores(void **state) {
    (void)state;
    for (int equal = 0; equal < 2; equal++) {
        Program *p = program_make();
        Tensor *q = attention_input(p, "q", 3, (int64_t[]){1, 20, 16}),
               *k = attention_input(p, "k", 3, (int64_t[]){1, 40, 16});
        Tensor *v = attention_input(p, "v", 3, (int64_t[]){1, 40, 16});
        t_attention(q, k, v, .heads = 1);
        const Backward b = backward_record(last(p), 1);
        Runner *runner = runner_make(p);
        runner_fill_all(runner, 3);
        runner_fill(runner, q, 8, equal ? 0 : 8);
        runner_fill(runner, k, 9, 8);
        check_backward_fast(equal ? "equal scores" : "scores of tens", &b, runner, 2e-5);
        check_backward_differences(equal ? "equal scores" : "scores of tens", &b, runner, 1e-6, 10, 1e-5);
        runner_drop(runner);
        program_drop(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(shapes), cmocka_unit_test(views), cmocka_unit_test(relative),
                                       cmocka_unit_test(large_scores)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
