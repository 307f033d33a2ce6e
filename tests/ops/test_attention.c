/* Attention: fast against definition, against PyTorch, against itself in simpler operators, and the traps; with
 * PANUM_F64 the definition in double. */
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/simple.h"
#include "tests/lib/attention_cases.h"
#include "tests/lib/op_case.h"

#include <math.h>

static void shapes(void **state) {
    (void)state;
    static const AttentionCase CASES[] = {
        {1, 1, 1, 1, 1, false},     {2, 1, 1, 8, 2, false},      {1, 2, 3, 5, 1, false},
        {2, 14, 32, 16, 1, true},   {1, 15, 33, 10, 3, false},   {4, 13, 31, 20, 2, true},
        {1, 29, 17, 40, 1, false},  {2, 46, 46, 64, 2, true},    {3, 92, 92, 64, 1, false},
        {1, 60, 255, 12, 2, false}, {1, 7, 256, 32, 1, false},   {1, 14, 257, 48, 1, false},
        {1, 31, 600, 96, 1, false}, {2, 184, 184, 128, 1, true}, {1, 5, 1025, 33, 1, false},
        {1, 3, 40, 300, 1, false},  {1, 330, 330, 32, 8, false}, {2, 700, 700, 16, 2, true},
        {70, 9, 11, 6, 3, true},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char what[80];
        Program *p = attention_program(&CASES[i], what);
        check_fast_random(what, p, 2e-6);
    }
}

static void views(void **state) {
    (void)state;
    for (int rows = 0; rows < 2; rows++) {
        Program *p = attention_views_program(rows, 6, 11);
        check_fast_random(rows ? "slices of a map, by rows" : "slices of a map", p, 2e-6);
    }
}

static void relative(void **state) {
    (void)state;
    static const RelativeCase CASES[] = {{1, 1, 1, 8, 1},    {2, 3, 4, 8, 2},    {1, 1, 19, 5, 1}, {1, 37, 1, 16, 2},
                                         {2, 15, 23, 32, 8}, {1, 16, 17, 40, 3}, {1, 9, 70, 20, 1}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char what[80];
        Program *p = attention_relative_program(&CASES[i], what);
        check_fast_random(what, p, 3e-6);
    }
}

/* Scores of hundreds, growing along the keys, so that the running maximum moves in every block of keys; all equal; and
 * far below what a float's exponent holds. */
static void large_scores(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        Program *p = program_make();
        Tensor *q = attention_input(p, "q", 3, (int64_t[]){1, 20, 32}),
               *k = attention_input(p, "k", 3, (int64_t[]){1, 900, 32});
        Tensor *v = attention_input(p, "v", 3, (int64_t[]){1, 900, 32});
        t_attention(q, k, v, .heads = 1);
        Runner *runner = runner_make(p);
        runner_fill_all(runner, 3);
        real *qs = runner_data(runner, q), *ks = runner_data(runner, k);
        for (int64_t i = 0; i < 20 * 32; i++) qs[i] = kind == 1 ? 0 : (real)(1 + (double)(i % 7));
        for (int64_t j = 0; j < 900; j++)
            for (int c = 0; c < 32; c++)
                ks[j * 32 + c] = (real)((kind == 2 ? -900.0 + (double)j : (double)j) / 4 + 0.01 * c);
        check_fast(kind == 0   ? "growing scores"
                   : kind == 1 ? "equal scores"
                               : "scores far below zero",
                   p, runner, 1e-4);
        runner_drop(runner);
        program_drop(p);
    }
}

static void pytorch(void **state) {
    (void)state;
    static const char *const NAMES[] = {"one_head",     "two_heads", "odd_width", "eight_heads", "cross_lengths",
                                        "single_token", "peaked",    "long",      "width_128"};
    Fixture f = fixture_open("attention");
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        const WeightEntry *entry[3] = {fixture_entry(&f, "%s.q", NAMES[i]), fixture_entry(&f, "%s.k", NAMES[i]),
                                       fixture_entry(&f, "%s.v", NAMES[i])};
        Program *p = program_make();
        Tensor *in[3];
        for (int k = 0; k < 3; k++) in[k] = attention_input(p, entry[k]->name, 3, entry[k]->size);
        Tensor *out = t_attention(in[0], in[1], in[2], .heads = (int)fixture_number(&f, NAMES[i], "heads", 0));
        Runner *runner = runner_make(p);
        for (int k = 0; k < 3; k++) fixture_fill(&f, entry[k], runner, in[k]);
        runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
        fixture_check(&f, fixture_entry(&f, "%s.output", NAMES[i]), runner, out, 1e-6);
        runner_run(runner, (RunWay){.kind = RUN_FAST});
        fixture_check(&f, fixture_entry(&f, "%s.output", NAMES[i]), runner, out, 2e-5);
        runner_drop(runner);
        program_drop(p);
    }
    fixture_close(&f);
}

/* The whole self-attention of the reference with its position term. */
static void pytorch_relative(void **state) {
    (void)state;
    static const char *const NAMES[] = {"small", "one_row", "one_column", "eight_heads"};
    static const char *const WEIGHTS[] = {"q.weight",       "k.weight",     "v.weight",   "v.bias",
                                          "pe_proj.weight", "pe_proj.bias", "proj.weight"};
    Fixture f = fixture_open("position_attention");
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        const WeightEntry *x_entry = fixture_entry(&f, "%s.input", NAMES[i]), *entry[7];
        Program *p = program_make();
        Tensor *x = attention_input(p, "x", 3, x_entry->size), *weight[7];
        for (int k = 0; k < 7; k++) {
            entry[k] = fixture_entry(&f, "%s.%s", NAMES[i], WEIGHTS[k]);
            weight[k] = program_weight(p, WEIGHTS[k], entry[k]->rank, entry[k]->size);
        }
        Tensor *heads = t_attention_relative(
            t_linear(x, weight[0], NULL), t_linear(x, weight[1], NULL), t_linear(x, weight[2], weight[3]), weight[4],
            weight[5], (int)fixture_number(&f, NAMES[i], "heads", 0), (int64_t)fixture_number(&f, NAMES[i], "rows", 0),
            (int64_t)fixture_number(&f, NAMES[i], "columns", 0));
        Tensor *out = t_linear(heads, weight[6], NULL);
        Runner *runner = runner_make(p);
        fixture_fill(&f, x_entry, runner, x);
        for (int k = 0; k < 7; k++) fixture_fill(&f, entry[k], runner, weight[k]);
        for (int kind = RUN_DEFINITION; kind <= RUN_FAST; kind++) {
            runner_run(runner, (RunWay){.kind = (RunKind)kind});
            fixture_check(&f, fixture_entry(&f, "%s.output", NAMES[i]), runner, out, F32_OR_F64(1e-5, 1e-7));
        }
        runner_drop(runner);
        program_drop(p);
    }
    fixture_close(&f);
}

static void simpler_operators(void **state) {
    (void)state;
    for (int swap = 0; swap < 2; swap++) {
        Program *p = program_make();
        Tensor *q = attention_input(p, "q", 3, (int64_t[]){2, 21, 24}),
               *k = attention_input(p, "k", 3, (int64_t[]){2, 13, 24});
        Tensor *v = attention_input(p, "v", 3, (int64_t[]){2, 13, 24});
        AttentionOptions options = {.heads = 3, .swap_halves = swap};
        Tensor *one = t_attention_at(q, k, v, options, T_HERE), *two = t_attention_simple(q, k, v, options);
        Runner *runner = runner_make(p);
        runner_fill_all(runner, 5);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(views),
        cmocka_unit_test(relative),
        cmocka_unit_test(large_scores),
        cmocka_unit_test(pytorch),
        cmocka_unit_test(pytorch_relative),
        cmocka_unit_test(simpler_operators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
