/* Operators of stereo on the emulated device, forward and backward, against the CPU. */
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/lib/check.h"

#include <math.h>

/* A row-major volume of numbers within `scale`, or a slice of one, as matmul_nt makes it. */
static Tensor *volume(Program *p, int64_t n, int64_t h, int64_t w, int64_t m, int slice, double scale) {
    const int64_t more = slice ? 3 : 0;
    Tensor *x = program_input(p, "cv", DTYPE_F32, 1, (int64_t[]){n * h * w * (m + more)});
    x = t_reshape(t_affine(x, scale, 0), 4, (int64_t[]){n, h, w, m + more});
    return slice ? t_slice(x, 3, 1, m) : x;
}

/* A map of numbers within `scale`, or a slice of the channels of a wider one. */
static Tensor *map(Program *p, const char *name, int64_t n, int64_t c, int64_t h, int64_t w, int slice, double scale) {
    Tensor *x = t_affine(program_input(p, name, DTYPE_F32, 4, (int64_t[]){n, c + 2 * slice, h, w}), scale, 0);
    return slice ? t_slice(x, 1, 1, c) : x;
}

/* The gradients that the node of `y` records, as outputs; those of its results come as inputs, each a slice of a wider
 * one if `slice`. `results`: bit k says that something comes from result k. */
static void add_gradients(Program *p, const Tensor *y, unsigned results, int slice) {
    const Node *node = y->node;
    static int number;
    char name[24];
    Tensor *dy[NODE_OUTPUTS_MAX] = {NULL}, *d_input[NODE_INPUTS_MAX] = {NULL};
    for (int k = 0; k < node->outputs; k++) {
        const Tensor *of = node->output[k];
        if (!(results >> k & 1)) continue;
        snprintf(name, sizeof name, "dy %d", number++);
        const bool is_map = of->rank == 4 && (of->size[1] == 1 || of->stride[1] == 1);
        const int axis = is_map ? 1 : of->rank - 1;
        int64_t size[4], count = 1;
        for (int i = 0; i < of->rank; i++) count *= size[i] = of->size[i] + (i == axis ? 2 * slice : 0);
        Tensor *x = is_map ? program_input(p, name, DTYPE_F32, 4, size)
                           : t_reshape(program_input(p, name, DTYPE_F32, 1, &count), of->rank, size);
        dy[k] = slice ? t_slice(x, axis, 1, of->size[axis]) : x;
    }
    node->op->gradient(node, dy, d_input);
    for (int k = 0; k < node->inputs; k++) {
        if (!d_input[k]) continue;
        snprintf(name, sizeof name, "gradient %d", number++);
        program_output(p, name, d_input[k]);
    }
}

static void run(const char *what, Program *program, PlanWay way, double bound) {
    compare_plan(what, program, way, bound);
    program_drop(program);
}

static const size_t ROOM[] = {0, 0, 21000, 18000}; /* of shared memory, for 65 columns */
static const char *const FORMS[] = {"", ", plain", ", streamed", ", streamed, plain"};

/* Both forms of transport, the whole problem in shared memory, and streamed where that is too small; both rungs. */
static void test_transport(void **state) {
    (void)state;
    static const struct {
        int64_t n, h, w;
        int iterations, positive, slice;
        unsigned results;
        double scale;
    } CASES[] = {{1, 1, 1, 3, 0, 0, 7, 1},   {2, 2, 5, 3, 1, 1, 7, 3},   {1, 2, 31, 1, 0, 0, 1, 30},
                 {2, 1, 32, 3, 1, 0, 2, 5},  {1, 1, 65, 10, 0, 1, 7, 8}, {1, 1, 40, 2, 1, 0, 5, 12},
                 {1, 1, 260, 3, 0, 0, 7, 4}, {1, 1, 512, 1, 0, 0, 7, 4}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (int form = 0; form < 4; form++) {
            const int64_t w = CASES[i].w;
            if (form && w > 65) continue; /* wider code of the fast rung; the widest has no room on chip */
            if (form / 2 && w < 64) continue;
            Program *p = program_make();
            Tensor *cv = volume(p, CASES[i].n, CASES[i].h, w, w, CASES[i].slice, CASES[i].scale);
            Transport t = t_transport(cv, .iterations = CASES[i].iterations, .positive = CASES[i].positive);
            program_output(p, "disparity", t.disparity);
            program_output(p, "confidence", t.confidence);
            program_output(p, "occlusion", t.occlusion);
            add_gradients(p, t.disparity, CASES[i].results, CASES[i].slice);
            if (CASES[i].n == 1 && !CASES[i].slice)
                program_output(p, "one pair", t_transport(t_reshape(cv, 3, cv->size + 1)).occlusion);
            char what[80];
            snprintf(what, sizeof what, "transport %lldx%lldx%lld%s", (long long)CASES[i].n, (long long)CASES[i].h,
                     (long long)w, FORMS[form]);
            run(what, p,
                (PlanWay){{0},
                          {.rung = form % 2 ? RUNG_PLAIN : RUNG_FAST},
                          {.order = (unsigned)i, .shared_a_block = ROOM[form]}},
                3e-5);
        }
}

/* Masses in windows round given disparities, and their gradient. */
static void test_mass(void **state) {
    (void)state;
    static const struct {
        int64_t n, h, w;
        int factor, radius, positive;
    } CASES[] = {{1, 1, 1, 1, 0, 0}, {2, 2, 5, 4, 1, 1}, {1, 1, 33, 8, 2, 0}, {1, 1, 64, 3, 0, 1}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (int form = 0; form < 4; form++) {
            const int64_t n = CASES[i].n, h = CASES[i].h, w = CASES[i].w, f = CASES[i].factor;
            const int slice = (int)i % 2;
            if (form / 2 && w < 64) continue;
            Program *p = program_make();
            Tensor *truth = map(p, "truth", n, 1, h * f, w * f, slice, (double)(w * f) / 2);
            Tensor *valid = map(p, "valid", n, 1, h * f, w * f, slice, 1);
            Tensor *mass = t_transport_mass(volume(p, n, h, w, w, slice, 4), truth, valid, .radius = CASES[i].radius,
                                            .factor = (int)f, .transport = {.positive = CASES[i].positive});
            program_output(p, "mass", mass);
            add_gradients(p, mass, 1, slice);
            char what[80];
            snprintf(what, sizeof what, "mass %lldx%lldx%lld, factor %lld%s", (long long)n, (long long)h, (long long)w,
                     (long long)f, FORMS[form]);
            run(what, p,
                (PlanWay){{0},
                          {.rung = form % 2 ? RUNG_PLAIN : RUNG_FAST},
                          {.order = (unsigned)i, .shared_a_block = form / 2 ? 17000 : 0}},
                2e-5);
        }
}

static void test_lookup(void **state) {
    (void)state;
    static const struct {
        int64_t n, h, w, m;
        int step, coarse;
    } CASES[] = {{1, 1, 1, 1, 1, 1}, {2, 3, 7, 7, 1, 1},   {1, 2, 11, 5, 2, 1},
                 {1, 3, 4, 2, 3, 1}, {1, 2, 41, 41, 1, 1}, {1, 4, 12, 6, 2, 2}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        for (int slice = 0; slice < 2; slice++) {
            const int64_t n = CASES[i].n, h = CASES[i].h, w = CASES[i].w, m = CASES[i].m, coarse = CASES[i].coarse;
            Program *p = program_make();
            Tensor *cv = volume(p, n, h / coarse, w / coarse, m, slice, 1);
            Tensor *d = map(p, "d", n, 1, h, w, slice, (double)w + 4);
            for (int half = 0; half < (m > 1 ? 2 : 1); half++) {
                Tensor *y = t_lookup(cv, d, .step = CASES[i].step, .half_pixel = half);
                program_output(p, half ? "half" : "y", y);
                add_gradients(p, y, 1, slice);
            }
            /* -infinity, and numbers that are none: read zero */
            Tensor *infinite = t_lookup(cv, t_log(t_relu(d)), .step = CASES[i].step);
            program_output(p, "infinite", infinite);
            add_gradients(p, infinite, 1, 0);
            Tensor *none = t_lookup(cv, t_sqrt(d), .step = CASES[i].step, .half_pixel = m > 1);
            program_output(p, "none", none);
            add_gradients(p, none, 1, 0);
            char what[80];
            snprintf(what, sizeof what, "lookup %lldx%lldx%lldx%lld by %d%s", (long long)n, (long long)h, (long long)w,
                     (long long)m, CASES[i].step, slice ? ", slices" : "");
            run(what, p, (PlanWay){{0}, {0}, {.order = (unsigned)i}}, 5e-5);
        }
}

static void test_pairs(void **state) {
    (void)state;
    static const int64_t SIZES[][4] = {{1, 1, 1, 2}, {2, 3, 4, 9}, {1, 4, 5, 70}};
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++)
        for (int slice = 0; slice < 2; slice++) {
            Program *p = program_make();
            Tensor *cv = volume(p, SIZES[i][0], SIZES[i][1], SIZES[i][2], SIZES[i][3], slice, 1);
            Tensor *pool = t_pool_pairs(cv), *even = t_even_pairs(cv);
            program_output(p, "pool", pool);
            program_output(p, "even", even);
            add_gradients(p, pool, 1, slice);
            add_gradients(p, even, 1, slice);
            program_output(p, "column", t_column_index(cv));
            if (!slice) {
                const int64_t rows[3] = {SIZES[i][0] * SIZES[i][1], SIZES[i][2], SIZES[i][3]};
                Tensor *of_rows = t_pool_pairs(t_reshape(cv, 3, rows));
                program_output(p, "rows", of_rows);
                add_gradients(p, of_rows, 1, 0);
            }
            run("pairs", p, (PlanWay){{0}, {0}, {.order = (unsigned)i}}, 1e-7);
        }
}

static void test_convex(void **state) {
    (void)state;
    static const int64_t SIZES[][2] = {{1, 1}, {1, 5}, {3, 1}, {5, 16}, {4, 33}};
    static const int FACTORS[] = {1, 2, 4};
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++)
        for (int k = 0; k < 3; k++) {
            const int64_t h = SIZES[i][0], w = SIZES[i][1], f = FACTORS[k];
            const int slice = (int)i % 2;
            Program *p = program_make();
            for (int clipped = 0; clipped < 2; clipped++) {
                char name[2][20];
                snprintf(name[0], sizeof name[0], "x%d", clipped), snprintf(name[1], sizeof name[1], "m%d", clipped);
                Tensor *x = map(p, name[0], 2, 1, h, w, slice, 3);
                Tensor *m = map(p, name[1], 2, 9, f * h, f * w, slice, clipped ? 2 : 8);
                Tensor *y = t_convex_upsample(x, m, .factor = (int)f, .clipped = clipped);
                program_output(p, clipped ? "clipped" : "y", y);
                add_gradients(p, y, 1, slice);
            }
            char what[80];
            snprintf(what, sizeof what, "convex x%lld of %lldx%lld", (long long)f, (long long)h, (long long)w);
            run(what, p, (PlanWay){{0}, {0}, {.order = (unsigned)k}}, 3e-6);
        }
}

static void test_warp(void **state) {
    (void)state;
    static const int64_t SIZES[][4] = {{1, 1, 1, 1}, {2, 3, 2, 7}, {1, 5, 1, 300}, {1, 1, 1, 1100}};
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        const int64_t n = SIZES[i][0], c = SIZES[i][1], h = SIZES[i][2], w = SIZES[i][3];
        Program *p = program_make();
        for (int border = 0; border < 2; border++)
            for (int slice = 0; slice < 2; slice++) {
                Tensor *x = map(p, slice ? "wide" : "x", n, c, h, w, slice, 1);
                Tensor *d = map(p, slice ? "wide d" : "d", n, 1, h, w, slice, 9);
                Tensor *of[3] = {d, t_log(t_relu(d)), t_sqrt(d)}; /* -infinity; numbers that are none */
                for (int k = 0; k < 3; k++) {
                    char name[2][24];
                    snprintf(name[0], sizeof name[0], "y %d%d%d", border, slice, k);
                    snprintf(name[1], sizeof name[1], "inside %d%d%d", border, slice, k);
                    WarpedRows y = t_warp_rows(x, of[k], .border = border);
                    program_output(p, name[0], y.picture);
                    program_output(p, name[1], y.inside);
                    add_gradients(p, y.picture, 1, slice);
                }
            }
        char what[80];
        snprintf(what, sizeof what, "warp %lldx%lldx%lldx%lld", (long long)n, (long long)c, (long long)h, (long long)w);
        run(what, p, (PlanWay){{0}, {0}, {.order = (unsigned)i}}, 3e-6);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_transport), cmocka_unit_test(test_mass),
                                       cmocka_unit_test(test_lookup),    cmocka_unit_test(test_pairs),
                                       cmocka_unit_test(test_convex),    cmocka_unit_test(test_warp)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
