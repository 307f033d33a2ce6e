/* Attention's gradient, with and without the relative term: fast against definition; with PANUM_F64 (this file is built
 * so too) the definition against differences. */
#include "base/mem.h"
#include "tensor/ops/ops.h"
#include "tests/lib/backward_case.h"

#include <math.h>

static Tensor *input(Program *p, const char *name, int rank, const int64_t *size) {
    return program_input(p, name, DTYPE_F32, rank, size);
}
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
    static const struct {
        int64_t batch, queries, keys, width;
        int heads;
        bool swap;
    } CASES[] = {
        {1, 1, 1, 1, 1, false},      {2, 1, 1, 8, 2, false},     {1, 2, 3, 5, 1, false},      {2, 14, 32, 16, 1, true},
        {1, 15, 33, 10, 3, false},   {4, 13, 31, 20, 2, true},   {1, 29, 17, 40, 1, false},   {2, 46, 46, 64, 2, true},
        {70, 9, 11, 6, 3, true},     {1, 60, 255, 12, 2, false}, {2, 80, 80, 32, 1, true},    {1, 130, 70, 4, 8, false},
        {1, 20, 1300, 33, 1, false}, {1, 3, 40, 300, 1, false},  {1, 330, 330, 32, 2, false},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        if (F32_OR_F64(0, 1) && CASES[i].queries * CASES[i].keys * CASES[i].width * CASES[i].heads > 100000) continue;
        Program *p = program_make();
        const int64_t c = CASES[i].width * CASES[i].heads;
        Tensor *q = input(p, "q", 3, (int64_t[]){CASES[i].batch, CASES[i].queries, c});
        Tensor *k = input(p, "k", 3, (int64_t[]){CASES[i].batch, CASES[i].keys, c});
        Tensor *v = input(p, "v", 3, (int64_t[]){CASES[i].batch, CASES[i].keys, c});
        t_attention(q, k, v, .heads = CASES[i].heads, .swap_halves = CASES[i].swap);
        char what[80];
        snprintf(what, sizeof what, "%lld x %lld queries, %lld keys, %d heads of %lld%s", (long long)CASES[i].batch,
                 (long long)CASES[i].queries, (long long)CASES[i].keys, CASES[i].heads, (long long)CASES[i].width,
                 CASES[i].swap ? ", swapped" : "");
        check(what, p, 3e-6);
    }
}

/* Queries, keys and values as slices of one wide map, seen as tokens of the map and of its rows. */
static void views(void **state) {
    (void)state;
    for (int rows = 0; rows < 2; rows++) {
        Program *p = program_make();
        Tensor *map = input(p, "map", 4, (int64_t[]){2, 3 * 24 + 5, 4, 7}), *part[3];
        for (int i = 0; i < 3; i++) {
            Tensor *slice = t_slice(map, 1, 24 * i + (i ? 5 : 0), 24);
            part[i] = rows ? t_row_tokens(slice) : t_tokens(slice);
        }
        t_attention(part[0], part[1], part[2], .heads = 2, .swap_halves = true);
        check(rows ? "slices of a map, by rows" : "slices of a map", p, 3e-6);
    }
}

static void relative(void **state) {
    (void)state;
    static const struct {
        int64_t batch, h, w, width;
        int heads;
    } CASES[] = {{1, 1, 1, 8, 1},  {2, 3, 4, 8, 2},    {1, 1, 19, 5, 1},  {1, 37, 1, 16, 2},
                 {2, 8, 10, 8, 8}, {1, 11, 17, 40, 3}, {1, 15, 23, 32, 2}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        if (F32_OR_F64(0, 1) && CASES[i].h * CASES[i].w > 100) continue;
        Program *p = program_make();
        int64_t size[3] = {CASES[i].batch, CASES[i].h * CASES[i].w, CASES[i].width * CASES[i].heads};
        Tensor *q = input(p, "q", 3, size), *k = input(p, "k", 3, size), *v = input(p, "v", 3, size);
        Tensor *weight = program_weight(p, "pe.weight", 2, (int64_t[]){CASES[i].width, 32});
        Tensor *bias = program_weight(p, "pe.bias", 1, (int64_t[]){CASES[i].width});
        t_attention_relative(q, k, v, weight, bias, CASES[i].heads, CASES[i].h, CASES[i].w);
        char what[80];
        snprintf(what, sizeof what, "%lld grids of %lld x %lld, %d heads of %lld", (long long)CASES[i].batch,
                 (long long)CASES[i].h, (long long)CASES[i].w, CASES[i].heads, (long long)CASES[i].width);
        check(what, p, 5e-6);
    }
}

/* Scores of tens: nearly every weight is 0 or 1. And all scores equal. */
static void large_scores(void **state) {
    (void)state;
    for (int equal = 0; equal < 2; equal++) {
        Program *p = program_make();
        Tensor *q = input(p, "q", 3, (int64_t[]){1, 20, 16}), *k = input(p, "k", 3, (int64_t[]){1, 40, 16});
        Tensor *v = input(p, "v", 3, (int64_t[]){1, 40, 16});
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
