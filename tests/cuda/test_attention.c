/* Attention on the emulated device against the CPU: shapes, views, holes, the relative position term, scores that are
 * large, infinite or not numbers. */
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/lib/attention_cases.h"
#include "tests/lib/check.h"

/* The last node's output becomes the program's. */
static void compare(const char *what, Program *program, PlanWay way, double bound) {
    const Node *node = program_node(program, program_nodes(program) - 1);
    program_output(program, "o", node->output[0]);
    compare_plan(what, program, way, bound);
    program_drop(program);
}

static void test_shapes(void **state) {
    (void)state;
    static const AttentionCase cases[] = {
        {1, 1, 1, 1, 1, false},  {2, 1, 1, 8, 2, false},   {1, 2, 3, 5, 1, false},    {2, 14, 33, 16, 1, true},
        {4, 5, 31, 20, 2, true}, {1, 9, 66, 40, 1, false}, {1, 3, 40, 150, 1, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char what[80];
        Program *program = attention_program(&cases[i], what);
        compare(what, program, (PlanWay){{0}, {.rung = RUNG_PLAIN}, {.order = (unsigned)i % 3}}, 2e-6);
    }
}

static void test_views(void **state) {
    (void)state;
    for (int rows = 0; rows < 2; rows++)
        compare(rows ? "slices of a map, by rows" : "slices of a map", attention_views_program(rows, 4, 7),
                (PlanWay){{0}, {.rung = RUNG_PLAIN}, {.order = 1}}, 2e-6);
}

static void test_relative(void **state) {
    (void)state;
    static const RelativeCase cases[] = {{1, 1, 1, 8, 1}, {2, 3, 4, 8, 2}, {1, 1, 19, 5, 1}, {1, 6, 7, 40, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char what[80];
        Program *program = attention_relative_program(&cases[i], what);
        compare(what, program, (PlanWay){{0}, {.rung = RUNG_PLAIN}, {.order = (unsigned)i % 3}}, 3e-6);
    }
}

/* A residual and an activation in the hole on store, and the result over the queries where there is no hole. */
static void test_holes(void **state) {
    (void)state;
    for (int interpret = 0; interpret < 2; interpret++) {
        Program *program = program_make();
        Tensor *x = program_input(program, "x", DTYPE_F32, 3, (int64_t[]){2, 11, 12});
        Tensor *q = t_affine(x, 2, 0.5), *over = t_attention(t_affine(x, 3, 0), x, x, .heads = 3);
        program_output(program, "over", t_attention(over, x, x, .heads = 1));
        program_output(program, "y", t_add(t_tanh(t_attention(q, x, x, .heads = 2)), x));
        compare_plan(interpret ? "holes, one a launch" : "holes", program,
                     (PlanWay){{.interpret = interpret}, {.rung = RUNG_PLAIN}, {.order = 1}}, 3e-6);
        program_drop(program);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_views),
                                       cmocka_unit_test(test_relative), cmocka_unit_test(test_holes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
