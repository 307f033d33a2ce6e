/* Pooling, resizing, windows, moves and grid sampling on the emulated device against the CPU, forward and backward. */
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/lib/backward_case.h"

static Tensor *map(Program *program, const char *name, int64_t n, int64_t c, int64_t h, int64_t w) {
    return program_input(program, name, DTYPE_F32, 4, (int64_t[]){n, c, h, w});
}

/* The operator's value and gradients as outputs: what `t` was made by is the last operator recorded. */
static void value_and_gradients(Program *program, Tensor *t) {
    static const char *const of[] = {"dx", "dplace"};
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

/* Windows, strides and padding of many kinds, both ways of counting; through the window, and in two launches. */
static void test_windows(void **state) {
    (void)state;
    static const struct {
        int64_t n, c, h, w;
        AvgPoolOptions window;
    } cases[] = {{1, 1, 3, 4, {.kernel = 1}},
                 {2, 3, 7, 9, {.kernel = 3, .stride = 1, .pad = 1}},
                 {1, 5, 12, 8, {.kernel = 4}},
                 {2, 2, 11, 13, {.kernel = 5, .stride = 2, .pad = 2, .exclude_pad = true}},
                 {1, 34, 9, 8, {.kernel = 7, .stride = 3, .pad = 1}},
                 {1, 1, 30, 33, {.kernel = 11, .stride = 1, .pad = 5, .exclude_pad = true}}};
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++)
        for (int rung = 0; rung < 2; rung++) {
            char what[80];
            const int64_t c = cases[i].c, h = cases[i].h, w = cases[i].w;
            Program *program = program_make();
            Tensor *x = t_slice(t_slice(map(program, "x", cases[i].n, c + 1, h + 1, w), 1, 1, c), 2, 0, h);
            value_and_gradients(program, t_avg_pool2d_at(x, cases[i].window, T_HERE));
            snprintf(what, sizeof what, "window of %d, stride %d, rung %d", cases[i].window.kernel,
                     cases[i].window.stride, rung);
            compare_plan(what, program,
                         (PlanWay){{.interpret = rung == 0},
                                   {.rung = rung ? RUNG_PLAIN : RUNG_FAST},
                                   {.order = (unsigned)i % 3}},
                         1e-6);
            program_drop(program);
        }
}

/* Zeros along each axis of maps, tokens and volumes, one number, and copies between orders. */
static void test_moves(void **state) {
    (void)state;
    for (int large = 0; large < 2; large++) {
        const int64_t n = 1 + large, c = large ? 5 : 1, h = large ? 6 : 2, w = large ? 50 : 1;
        Program *program = program_make();
        Tensor *x = map(program, "x", n, c, h, w + 2), *part = t_slice(x, 3, 1, w);
        Tensor *tokens = program_input(program, "tokens", DTYPE_F32, 3, (int64_t[]){n, h, c});
        Tensor *flat = program_input(program, "flat", DTYPE_F32, 1, (int64_t[]){n * c * h * w});
        Tensor *volume = t_reshape(flat, 4, ((int64_t[]){n, c, h, w}));
        Tensor *of[] = {part, tokens, volume};
        for (int k = 0; k < 3; k++)
            for (int axis = 0; axis < of[k]->rank; axis++) {
                char name[32];
                snprintf(name, sizeof name, "around %d of %d", axis, k);
                program_output(program, name,
                               t_pad_zeros(of[k], axis, axis ? 2 : 0, of[k]->size[axis] + (axis ? 3 : 1)));
            }
        program_output(program, "filled", t_mul(t_fill(x, -1.5), x));
        program_output(program, "dense", t_dense(part, volume));
        program_output(program, "back", t_dense(volume, x));
        program_output(program, "together", t_cat(2, part, volume));
        compare_plan("moves", program, (PlanWay){{.interpret = large}, {0}, {.order = 1}}, 0);
        program_drop(program);
    }
}

/* Places inside, at the edges and far outside the picture; both rules outside, both of corners. */
static void test_sampling(void **state) {
    (void)state;
    static const int64_t cases[][6] = {{1, 1, 1, 1, 1, 1}, {2, 3, 7, 9, 5, 40}, {1, 37, 12, 8, 3, 5}};
    for (int i = 0; i < 12; i++) {
        const int64_t *size = cases[i / 4];
        char what[80];
        Program *program = program_make();
        Tensor *x = t_slice(map(program, "x", size[0], size[1] + 2, size[2], size[3]), 1, 1, size[1]);
        Tensor *grid = t_affine(map(program, "grid", size[0], 2, size[4], size[5]), 1.4, 0.05);
        const GridSampleOptions options = {.border = i % 2, .align_corners = i / 2 % 2};
        value_and_gradients(program, t_grid_sample_at(x, grid, options, T_HERE));
        snprintf(what, sizeof what, "sampling %d%s%s", i / 4, options.border ? ", border" : "",
                 options.align_corners ? ", corners" : "");
        compare_plan(what, program, (PlanWay){{.interpret = i % 2}, {0}, {.order = (unsigned)i % 3}}, 2e-5);
        program_drop(program);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_windows),
                                       cmocka_unit_test(test_moves), cmocka_unit_test(test_sampling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
