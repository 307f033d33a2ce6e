/* Norms and softmax, forward and backward, and sums on the emulated device against the CPU. */
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/lib/backward_case.h"

static Tensor *map(Program *program, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    return program_input(program, name, DTYPE_F32, 4, (int64_t[]){n, c, h, w});
}
static Tensor *vector(Program *program, const char *name, int64_t n) {
    return program_input(program, name, DTYPE_F32, 1, &n);
}

/* The operator's value and its gradients as outputs, `through` after the first: a region in the hole, where there is
 * one. */
static void value_and_gradients(Program *program, Tensor *y, Tensor *through) {
    static const char *const of[] = {"dx", "dweight", "dbias"};
    const Backward b = backward_record(y->node, 1);
    program_output(program, "y", y);
    for (int k = 0; k < y->node->inputs; k++) {
        if (!b.d_input[k]) continue;
        Tensor *d = b.d_input[k];
        program_output(program, of[k], k == 0 && through ? t_mul(t_affine(d, 0.5, 0.25), through) : d);
    }
}

static void compare_both(const char *what, Program *program, int i, double bound) {
    for (int rung = 0; rung < 2; rung++) {
        char text[100];
        snprintf(text, sizeof text, "%s rung %d", what, rung);
        compare_plan(text, program,
                     (PlanWay){{.interpret = (i + rung) % 2 == 1},
                               {.rung = rung ? RUNG_PLAIN : RUNG_FAST},
                               {.order = (unsigned)(i + rung) % 3}},
                     bound);
    }
    program_drop(program);
}

/* Groups of one channel, of some and of all; a mean that is far larger than the spread; a slice. */
static void test_group_norm(void **state) {
    (void)state;
    static const struct {
        int64_t n, c, h, w;
        int groups;
    } cases[] = {{1, 1, 1, 1, 1}, {2, 12, 5, 7, 3}, {1, 40, 9, 11, 40}, {3, 66, 4, 3, 1}, {1, 8, 50, 43, 2}};
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        char what[80];
        const int64_t c = cases[i].c;
        Program *program = program_make();
        Tensor *x = map(program, "x", cases[i].n, c + 4, cases[i].h, cases[i].w + 1);
        if (i % 2) x = t_affine(x, 0.01, 30);
        x = t_slice(t_slice(x, 1, 4, c), 3, 0, cases[i].w);
        Tensor *weight = i == 2 ? NULL : vector(program, "weight", c),
               *bias = i == 2 ? NULL : vector(program, "bias", c);
        value_and_gradients(program, t_group_norm(x, cases[i].groups, weight, bias, 1e-5), NULL);
        snprintf(what, sizeof what, "group norm %lldx%lldx%lldx%lld by %d,", (long long)cases[i].n, (long long)c,
                 (long long)cases[i].h, (long long)cases[i].w, cases[i].groups);
        compare_both(what, program, i, 1e-5);
    }
}

/* Rows of one channel, of less and more than a warp, and of more than the fast rung's shared memory takes; tokens, maps
 * and slices of both. */
static void test_layer_norm(void **state) {
    (void)state;
    static const int64_t cases[][4] = {{1, 1, 1, 1}, {2, 5, 3, 7}, {1, 33, 9, 8}, {1, 800, 1, 3}, {2, 64, 10, 13}};
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        const int64_t n = cases[i][0], c = cases[i][1], h = cases[i][2], w = cases[i][3];
        char what[80];
        Program *program = program_make();
        Tensor *x = map(program, "x", n, c + 1, h + 1, w + 2);
        x = t_slice(t_slice(t_slice(x, 1, 1, c), 2, 1, h), 3, 1, w);
        if (i == 2) x = program_input(program, "tokens", DTYPE_F32, 3, (int64_t[]){n, h * w, c});
        Tensor *weight = i == 1 ? NULL : vector(program, "weight", c),
               *bias = i == 4 ? NULL : vector(program, "bias", c);
        Tensor *through = i == 3 ? NULL : program_input(program, "z", DTYPE_F32, x->rank, x->size);
        value_and_gradients(program, t_layer_norm(x, weight, bias, 1e-5), through);
        snprintf(what, sizeof what, "layer norm %lldx%lldx%lldx%lld", (long long)n, (long long)c, (long long)h,
                 (long long)w);
        compare_both(what, program, i, 1e-5);
    }
}

static void test_softmax(void **state) {
    (void)state;
    static const int64_t cases[][4] = {{1, 1, 1, 2}, {2, 5, 3, 7}, {1, 70, 2, 5}};
    for (int i = 0; i < 3; i++) {
        const int64_t n = cases[i][0], c = cases[i][1], h = cases[i][2], w = cases[i][3];
        Program *program = program_make();
        Tensor *x = t_slice(map(program, "x", n, c + 2, h, w), 1, 1, c);
        value_and_gradients(program, t_softmax(t_affine(x, 3, 0)), NULL);
        compare_both("softmax", program, i, 2e-6);
    }
}

/* Dense maps, slices, volumes whose channels do not lie side by side, tokens, vectors; one value; more than one tile.
 */
static void test_sums(void **state) {
    (void)state;
    static const int64_t cases[][4] = {{1, 1, 1, 1}, {2, 5, 3, 7}, {1, 40, 8, 33}, {1, 1, 61, 85}, {3, 2, 50, 60}};
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
        const int64_t n = cases[i][0], c = cases[i][1], h = cases[i][2], w = cases[i][3];
        char what[80];
        Program *program = program_make();
        Tensor *x = map(program, "x", n, c + 1, h, w + 1), *part = t_slice(t_slice(x, 1, 1, c), 3, 0, w);
        Tensor *volume = t_reshape(vector(program, "volume", n * c * h * w), 4, ((int64_t[]){n, c, h, w}));
        Tensor *tokens = program_input(program, "tokens", DTYPE_F32, 3, (int64_t[]){n, h, c});
        Tensor *of[] = {x, part, volume, tokens, t_transpose(tokens), vector(program, "vector", c)};
        for (int k = 0; k < (int)(sizeof of / sizeof *of); k++) {
            char name[3][16];
            snprintf(name[0], 16, "all %d", k);
            snprintf(name[1], 16, "channels %d", k);
            snprintf(name[2], 16, "positions %d", k);
            program_output(program, name[0], t_sum(of[k]));
            program_output(program, name[1], t_sum_channels(of[k]));
            program_output(program, name[2], t_sum_positions(of[k]));
        }
        snprintf(what, sizeof what, "sums %lldx%lldx%lldx%lld", (long long)n, (long long)c, (long long)h, (long long)w);
        compare_plan(what, program, (PlanWay){{.interpret = i % 2}, {0}, {.order = (unsigned)i % 3}}, 1e-6);
        program_drop(program);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_group_norm), cmocka_unit_test(test_layer_norm),
                                       cmocka_unit_test(test_softmax), cmocka_unit_test(test_sums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
