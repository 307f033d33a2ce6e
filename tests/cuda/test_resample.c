/* Pooling and resizing on the emulated device against the CPU, forward and backward. */
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/lib/backward_case.h"

static Tensor *map(Program *program, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    return program_input(program, name, DTYPE_F32, 4, (int64_t[]){n, c, h, w});
}

/* The operator's value and gradients as outputs: what `t` was made by is the last operator recorded. */
static void value_and_gradients(Program *program, Tensor *t) {
    static const char *const of[] = {"dx", "dweight", "dbias"};
    const Backward b = backward_record(t->node, 1);
    program_output(program, "y", t);
    for (int k = 0; k < t->node->inputs; k++) {
        if (b.d_input[k]) program_output(program, of[k], b.d_input[k]);
    }
}

typedef Tensor *Record(Tensor *x, int64_t h, int64_t w);
static Tensor *halve(Tensor *x, int64_t h, int64_t w) {
    (void)h, (void)w;
    return t_avg_pool2(x);
}
static Tensor *twice(Tensor *x, int64_t h, int64_t w) {
    (void)h, (void)w;
    return t_upsample2_nearest(x);
}
static Tensor *adapt(Tensor *x, int64_t h, int64_t w) {
    return t_adaptive_avg_pool(x, h, w);
}
static Tensor *resize(Tensor *x, int64_t h, int64_t w) {
    return t_resize_bilinear(x, h, w);
}

static const struct {
    const char *name;
    Record *record;
    bool free_size;
} operators[] = {{"avg_pool2", halve, false},
                 {"upsample2_nearest", twice, false},
                 {"adaptive_avg_pool", adapt, true},
                 {"resize_bilinear", resize, true}};

/* Pictures, channels, rows and columns; rows and columns of the result where they are free. Slices: a border of one
 * pixel, and of one channel in front, around what is read. */
static const struct {
    int64_t n, c, h, w, out_h, out_w;
    bool slice;
} shapes[] = {{1, 1, 2, 3, 1, 1, false},  {2, 5, 7, 9, 3, 13, true},  {1, 33, 4, 5, 8, 10, false},
              {1, 3, 16, 17, 2, 2, true}, {1, 70, 3, 2, 1, 7, false}, {2, 4, 5, 64, 5, 64, false}};

static void test_sizes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int64_t n = shapes[i].n, c = shapes[i].c, h = shapes[i].h, w = shapes[i].w, in = shapes[i].slice ? 1 : 0;
        for (int rung = 0; rung < 2; rung++) {
            char what[80];
            for (size_t k = 0; k < sizeof operators / sizeof *operators; k++) {
                if (rung && !operators[k].free_size) continue; /* one rung alone */
                Program *program = program_make();
                Tensor *x = map(program, "x", n, c + in, h + 2 * in, w + 2 * in);
                if (in) x = t_slice(t_slice(t_slice(x, 1, 1, c), 2, 1, h), 3, 1, w);
                value_and_gradients(program, operators[k].record(x, shapes[i].out_h, shapes[i].out_w));
                snprintf(what, sizeof what, "%s %lldx%lldx%lldx%lld rung %d", operators[k].name, (long long)n,
                         (long long)c, (long long)h, (long long)w, rung);
                compare_plan(what, program,
                             (PlanWay){{.interpret = i % 2},
                                       {.rung = rung ? RUNG_PLAIN : RUNG_FAST, .launch_each = rung},
                                       {.order = (unsigned)i % 3}},
                             1e-6);
                program_drop(program);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
