/* Attention on the emulated device against the CPU: shapes, views, holes, the relative position term, scores that are
 * large, infinite or not numbers. */
#include "autograd/backward.h"
#include "base/half.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cuda/kernels/attention.h"
#include "nn/net.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/device_case.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/lib/attention_cases.h"
#include "tests/lib/backward_case.h"
#include "tests/lib/check.h"

#include <math.h>

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
        {1, 1, 1, 1, 1, false},     {2, 1, 1, 8, 2, false},    {1, 2, 3, 5, 1, false},    {2, 14, 33, 16, 1, true},
        {4, 5, 31, 20, 2, true},    {1, 9, 66, 40, 1, false},  {1, 3, 40, 150, 1, false}, {2, 3, 130, 64, 2, true},
        {1, 35, 65, 260, 1, false}, {1, 67, 70, 12, 1, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int way = 0; way < 2; way++) {
            char what[80];
            Program *program = attention_program(&cases[i], what);
            compare(what, program, (PlanWay){{0}, {.rung = way ? RUNG_PLAIN : RUNG_FAST}, {.order = (unsigned)i % 3}},
                    2e-6);
        }
}

static void test_views(void **state) {
    (void)state;
    for (int rows = 0; rows < 2; rows++)
        for (int way = 0; way < 2; way++)
            compare(rows ? "slices of a map, by rows" : "slices of a map", attention_views_program(rows, 4, 7),
                    (PlanWay){{0}, {.rung = way ? RUNG_PLAIN : RUNG_FAST}, {.order = 1}}, 2e-6);
}

static void test_relative(void **state) {
    (void)state;
    static const RelativeCase cases[] = {{1, 1, 1, 8, 1}, {2, 3, 4, 8, 2}, {1, 1, 19, 5, 1}, {1, 6, 7, 40, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int way = 0; way < 2; way++) {
            char what[80];
            Program *program = attention_relative_program(&cases[i], what);
            compare(what, program, (PlanWay){{0}, {.rung = way ? RUNG_PLAIN : RUNG_FAST}, {.order = (unsigned)i % 3}},
                    3e-6);
        }
}

/* A residual and an activation in the hole on store, and the result over the queries where there is no hole. */
static void test_holes(void **state) {
    (void)state;
    for (int interpret = 0; interpret < 2; interpret++)
        for (int way = 0; way < 2; way++) {
            Program *program = program_make();
            Tensor *x = program_input(program, "x", DTYPE_F32, 3, (int64_t[]){2, 11, 12});
            Tensor *q = t_affine(x, 2, 0.5), *over = t_attention(t_affine(x, 3, 0), x, x, .heads = 3);
            program_output(program, "over", t_attention(over, x, x, .heads = 1));
            program_output(program, "y", t_add(t_tanh(t_attention(q, x, x, .heads = 2)), x));
            compare_plan(interpret ? "holes, one a launch" : "holes", program,
                         (PlanWay){{.interpret = interpret}, {.rung = way ? RUNG_PLAIN : RUNG_FAST}, {.order = 1}},
                         3e-6);
            program_drop(program);
        }
}

/* ---- the gradient ---- */

/* All that the gradient of the last node gives. */
static void compare_gradient(const char *what, Program *program, PlanWay way, double bound) {
    const Node *node = program_node(program, program_nodes(program) - 1);
    const Backward b = backward_record(node, 1);
    for (int i = 0; i < node->inputs; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        program_output(program, name, b.d_input[i]);
    }
    compare_plan(what, program, way, bound);
    program_drop(program);
}

static void test_gradient(void **state) {
    (void)state;
    static const AttentionCase cases[] = {
        {1, 1, 1, 1, 1, false},  {2, 14, 33, 16, 1, true},  {4, 5, 31, 20, 2, true},   {1, 70, 66, 8, 2, false},
        {1, 9, 7, 40, 1, false}, {1, 3, 40, 150, 1, false}, {2, 3, 130, 64, 2, false}, {1, 35, 65, 30, 1, false},
    };
    char what[80];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int way = 0; way < 2; way++) {
            Program *program = attention_program(&cases[i], what);
            compare_gradient(what, program,
                             (PlanWay){{0}, {.rung = way ? RUNG_PLAIN : RUNG_FAST}, {.order = (unsigned)i % 3}}, 5e-7);
        }
    for (int way = 0; way < 2; way++)
        compare_gradient("slices of a map, by rows", attention_views_program(1, 4, 7),
                         (PlanWay){{0}, {.rung = way ? RUNG_PLAIN : RUNG_FAST}, {.order = 1}}, 5e-7);
}

static void test_relative_gradient(void **state) {
    (void)state;
    static const RelativeCase cases[] = {{1, 1, 1, 8, 1}, {2, 3, 4, 8, 2}, {1, 1, 19, 5, 1}, {1, 6, 7, 40, 2}};
    char what[80];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int way = 0; way < 2; way++) {
            Program *program = attention_relative_program(&cases[i], what);
            compare_gradient(what, program,
                             (PlanWay){{0}, {.rung = way ? RUNG_PLAIN : RUNG_FAST}, {.order = (unsigned)i % 3}}, 1e-5);
        }
}

/* ---- kernels by themselves ---- */

/* One head of `queries` x `keys` tokens of `width`. */
typedef struct {
    int queries, keys, width;
    const float *q, *k, *v;
} Head;

/* o[queries][width] by the definition, in double but for the products: their overflow is part of the case. */
static void define_head(const Head *h, double *o) {
    double *weight = mem_array((size_t)h->keys, sizeof *weight);
    for (int i = 0; i < h->queries; i++) {
        double largest = -INFINITY, total = 0;
        for (int j = 0; j < h->keys; j++) {
            float score = 0;
            for (int c = 0; c < h->width; c++) score += h->q[i * h->width + c] * h->k[j * h->width + c];
            weight[j] = (double)score / sqrt(h->width);
            largest = fmax(largest, weight[j]);
        }
        for (int j = 0; j < h->keys; j++) total += weight[j] = exp(weight[j] - largest);
        for (int c = 0; c < h->width; c++) {
            double sum = 0;
            for (int j = 0; j < h->keys; j++) sum += weight[j] * (double)h->v[j * h->width + c];
            o[i * h->width + c] = sum / total;
        }
    }
    mem_free(weight);
}

typedef struct {
    const char *file, *kernel, *define;
    int threads, queries; /* of a block */
    size_t shared;
} Rung;

/* NaN where the definition has it and nowhere else; a report names the row. */
static void check_head(const char *what, const Head *h, const Rung *rung, unsigned order, double bound) {
    Gpu *gpu;
    must(emulated_open((Emulated){.order = order}, &gpu));
    DeviceCase d = device_case(gpu, rung->file, rung->define);
    const size_t n = (size_t)(h->queries * h->width), m = (size_t)(h->keys * h->width);
    double *want = mem_array(n, sizeof *want);
    float *got = mem_array(n, sizeof *got);
    define_head(h, want);
    AttentionArgs a = {.q = {case_up(&d, h->q, n * sizeof(float)), 0, h->width},
                       .k = {case_up(&d, h->k, m * sizeof(float)), 0, h->width},
                       .v = {case_up(&d, h->v, m * sizeof(float)), 0, h->width},
                       .o = case_room(&d, n * sizeof(float)),
                       .batches = 1,
                       .queries = h->queries,
                       .keys = h->keys,
                       .heads = 1,
                       .width = h->width,
                       .scale = (float)(1 / sqrt(h->width))};
    case_run(&d, rung->kernel,
             (GpuLaunch){{(unsigned)((h->queries + rung->queries - 1) / rung->queries), 1, 1},
                         (unsigned)rung->threads,
                         rung->shared},
             &a, sizeof a);
    case_down(&d, got, a.o, n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        if (isnan(want[i]) ? !isnan(got[i]) : !(fabs((double)got[i] - want[i]) <= bound * fmax(1, fabs(want[i]))))
            fail_msg("%s, %s: row %d is %.9g, not %.9g", what, rung->kernel, (int)i / h->width, (double)got[i],
                     want[i]);
    mem_free(want), mem_free(got);
    device_case_drop(&d);
}

static void test_infinite(void **state) {
    (void)state;
    enum { QUERIES = 6, KEYS = 70, WIDTH = 4 };
    static const Rung rungs[] = {
        {"cuda/kernels/attention.cu", "attention_plain", NULL, 128, 4, 4 * (32 + WIDTH) * sizeof(float)},
        {"cuda/kernels/attention_tiled.cu", "attention_tiled", "-DWIDTH=16 -DROWS=8 -DTHREADS=128 -DPIECES", 128, 64,
         ATTENTION_FLOATS(16, 64, 0) * sizeof(float)}};
    static const char *const name[] = {"64 keys of -infinity, then others", "nothing but -infinity",
                                       "a key that is NaN", "growing scores"};
    for (int kind = 0; kind < 4; kind++)
        for (int r = 0; r < 2; r++) {
            float q[QUERIES * WIDTH] = {0}, k[KEYS * WIDTH] = {0}, v[KEYS * WIDTH];
            q[0] = 1e30f, q[WIDTH] = -1e30f, q[3 * WIDTH + 1] = NAN, q[4 * WIDTH] = 2e30f, q[5 * WIDTH + 1] = 1;
            for (int j = 0; j < KEYS; j++) {
                k[j * WIDTH] = kind == 3 ? 1e-28f * (float)j : j < 64 || kind == 1 ? -1e30f : 1e-30f * (float)j;
                if (kind == 1) k[j * WIDTH + 1] = -3e38f;
                for (int c = 0; c < WIDTH; c++) v[j * WIDTH + c] = (float)rng_signed(3, (uint64_t)(j * WIDTH + c));
            }
            if (kind == 2) k[5 * WIDTH + 2] = NAN;
            check_head(name[kind], &(Head){QUERIES, KEYS, WIDTH, q, k, v}, &rungs[r], (unsigned)kind % 3, 2e-6);
        }
}

/* ---- half-size numbers on the tensor cores ---- */

static uint16_t to_bf16(float v) {
    return f32_to_bf16(v);
}
static float from_bf16(uint16_t v) {
    return bf16_to_f32(v);
}

typedef struct {
    const char *define;
    uint16_t (*to)(float);
    float (*from)(uint16_t);
    double bound; /* of |difference| / largest |v| */
} Half;
static const Half halves[] = {{"-DHALF_IS_F16", f32_to_f16, f16_to_f32, 1.0 / 1024},
                              {"-DHALF_IS_BF16", to_bf16, from_bf16, 1.0 / 128}};

typedef struct {
    int queries, keys, width, padded;
    const char *pieces; /* "" or " -DPIECES" */
    unsigned order;
    int arch;
    double scores; /* of what size */
} HalfCase;

static void check_half(const HalfCase *c, const Half *half) {
    char define[80];
    snprintf(define, sizeof define, "%s -DSTORE_HALF -DWIDTH=%d%s", half->define, c->padded, c->pieces);
    Gpu *gpu;
    must(emulated_open((Emulated){.order = c->order, .arch = c->arch}, &gpu));
    DeviceCase d = device_case(gpu, "cuda/kernels/attention_mma.cu", define);
    const size_t n = (size_t)(c->queries * c->width), m = (size_t)(c->keys * c->width), count[3] = {n, m, m};
    float *x[3];
    u16 *h[3], *at[3], *got = mem_array(n, sizeof *got);
    double *want = mem_array(n, sizeof *want), worst = 0;
    for (int k = 0; k < 3; k++) {
        x[k] = mem_array(count[k], sizeof(float)), h[k] = mem_array(count[k], sizeof(u16));
        for (size_t i = 0; i < count[k]; i++) {
            h[k][i] = half->to((float)(rng_signed((uint64_t)k, i) * (k < 2 ? c->scores : 1)));
            x[k][i] = half->from(h[k][i]);
        }
        at[k] = case_up(&d, h[k], count[k] * sizeof(u16));
    }
    define_head(&(Head){c->queries, c->keys, c->width, x[0], x[1], x[2]}, want);
    AttentionArgs a = {.q = {at[0], 0, c->width},
                       .k = {at[1], 0, c->width},
                       .v = {at[2], 0, c->width},
                       .o = case_room(&d, n * sizeof(u16)),
                       .batches = 1,
                       .queries = c->queries,
                       .keys = c->keys,
                       .heads = 1,
                       .width = c->width,
                       .scale = (float)(1 / sqrt(c->width))};
    case_run(&d, "attention_mma",
             (GpuLaunch){{(unsigned)((c->queries - 1) / ATTENTION_MMA_ROWS(c->padded) + 1), 1, 1},
                         128,
                         ATTENTION_MMA_BYTES((size_t)c->padded)},
             &a, sizeof a);
    case_down(&d, got, a.o, n * sizeof(u16));
    for (size_t i = 0; i < n; i++) {
        const double e = fabs((double)half->from(got[i]) - want[i]);
        if (!(e <= half->bound))
            fail_msg("%s: row %d column %d is %g, not %g", define, (int)i / c->width, (int)i % c->width,
                     (double)half->from(got[i]), want[i]);
        worst = fmax(worst, e);
    }
    printf("  %-40s %3d x %3d of %3d: largest difference %.1e\n", define, c->queries, c->keys, c->width, worst);
    for (int k = 0; k < 3; k++) mem_free(x[k]), mem_free(h[k]);
    mem_free(got), mem_free(want);
    device_case_drop(&d);
}

static void test_halves(void **state) {
    (void)state;
    static const HalfCase cases[] = {
        {1, 1, 16, 16, " -DPIECES", 0, 75, 1},     {67, 70, 32, 32, " -DPIECES", 1, 80, 2},
        {20, 130, 24, 32, " -DPIECES", 2, 80, 8},  {33, 65, 13, 16, "", 0, 75, 1},
        {17, 40, 144, 144, " -DPIECES", 1, 80, 1}, {35, 37, 264, 288, " -DPIECES", 2, 80, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int type = 0; type < 2; type++)
            if (cases[i].arch >= 80 || type == 0) check_half(&cases[i], &halves[type]);
}

/* In plans: rows of a map, heads that do not divide by 8 columns, in every kernel. */
static void test_half_plans(void **state) {
    (void)state;
    for (int way = 0; way < 3; way++) {
        Program *program = program_make();
        Tensor *x = program_input(program, "x", DTYPE_F32, 3, (int64_t[]){2, 33, 24});
        Tensor *q = t_affine(x, 2, 0.5), *k = t_affine(x, -1.5, 0.25), *v = t_affine(x, 1, -0.125);
        Tensor *o = t_attention(q, k, v, .heads = way == 1 ? 2 : 3, .swap_halves = true);
        o = t_attention(t_affine(o, 2, 0), k, v, .heads = 1);
        program_output(program, "y", t_add(t_tanh(o), x));
        compare_plan("f16", program,
                     (PlanWay){{.halves = gpu_halves, .interpret = way == 2},
                               {.rung = way == 1 ? RUNG_PLAIN : RUNG_FAST, .storage = GPU_F16},
                               {.order = (unsigned)way}},
                     4e-3);
        program_drop(program);
    }
}

/* The gradient of half-size tokens: on tensor cores, heads that do not divide by 8 columns, several tiles of keys and
 * of queries, halves exchanged; and heads too wide for that. */
static void test_half_gradient(void **state) {
    (void)state;
    static const struct {
        int batches, queries, keys, width, heads;
        bool swap;
        GpuStorage storage;
        int arch; /* 0: any */
    } cases[] = {{2, 67, 70, 16, 2, true, GPU_F16, 0},
                 {2, 3, 34, 16, 1, true, GPU_BF16, 0},
                 {1, 5, 9, 13, 1, false, GPU_F16, 75},
                 {1, 35, 66, 40, 1, false, GPU_F16, 0},
                 {1, 2, 3, 136, 1, false, GPU_F16, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const char *const names[] = {"q", "k", "v"};
        const int64_t tokens[] = {cases[i].queries, cases[i].keys, cases[i].keys};
        char what[80];
        Program *program = program_make();
        Tensor *x[3], *t[3];
        for (int k = 0; k < 3; k++) {
            x[k] = program_input(program, names[k], DTYPE_F32, 3,
                                 (int64_t[]){cases[i].batches, tokens[k], cases[i].width * cases[i].heads});
            t[k] = t_affine(x[k], 1.5 - k, 0.25);
        }
        Tensor *y = t_tanh(t_attention(t[0], t[1], t[2], .heads = cases[i].heads, .swap_halves = cases[i].swap));
        Tensor *dy = program_input(program, "dy", DTYPE_F32, 3, y->size);
        must(backward(y, &(BackwardOptions){.seed = dy, .inputs = true}));
        for (int k = 0; k < 3; k++) {
            char name[8];
            snprintf(name, sizeof name, "d%s", names[k]);
            program_output(program, name, gradient_of(x[k]));
        }
        snprintf(what, sizeof what, "half gradient %d x %d of %d", cases[i].queries, cases[i].keys, cases[i].width);
        compare_plan(what, program,
                     (PlanWay){{.halves = gpu_halves},
                               {.storage = cases[i].storage},
                               {.order = (unsigned)i % 3, .arch = cases[i].arch}},
                     cases[i].storage == GPU_F16 ? 4e-3 : 3e-2);
        program_drop(program);
    }
}

/* The relative term on tensor cores: one and several blocks of keys and of queries, rows of the grid shorter and longer
 * than a block, heads whose columns are pieces of 16 bytes and not; and too little shared memory for it, so that the
 * f32 rung reads halves. */
static void test_half_relative(void **state) {
    (void)state;
    static const struct {
        int64_t batch, h, w, width;
        int heads;
        GpuStorage storage;
        size_t shared;
    } cases[] = {{2, 3, 4, 8, 2, GPU_F16, 0},
                 {1, 7, 11, 20, 1, GPU_F16, 0},
                 {1, 2, 70, 8, 2, GPU_BF16, 0},
                 {1, 2, 70, 8, 2, GPU_F16, 44000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int64_t width = cases[i].width, tokens = cases[i].h * cases[i].w, c = width * cases[i].heads;
        Program *program = program_make();
        Net net = {program};
        Tensor *x = program_input(program, "x", DTYPE_F32, 3, (int64_t[]){cases[i].batch, tokens, c});
        Tensor *q = t_affine(x, 2, 0.5), *k = t_affine(x, -1.5, 0.25), *v = t_affine(x, 1, -0.125);
        Tensor *weight = nn_parameter(&net, "weight", 2, (int64_t[]){width, 32});
        Tensor *bias = nn_parameter(&net, "bias", 1, &width);
        program_output(program, "o",
                       t_attention_relative(q, k, v, weight, bias, cases[i].heads, cases[i].h, cases[i].w));
        compare_plan(cases[i].shared ? "relative in 16 bits, f32 rung" : "relative in 16 bits", program,
                     (PlanWay){{.halves = gpu_halves},
                               {.storage = cases[i].storage},
                               {.order = (unsigned)i % 3, .shared_a_block = cases[i].shared}},
                     cases[i].storage == GPU_F16 ? 2e-3 : 1.6e-2);
        program_drop(program);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes),           cmocka_unit_test(test_views),
                                       cmocka_unit_test(test_relative),         cmocka_unit_test(test_holes),
                                       cmocka_unit_test(test_infinite),         cmocka_unit_test(test_halves),
                                       cmocka_unit_test(test_half_plans),       cmocka_unit_test(test_half_gradient),
                                       cmocka_unit_test(test_half_relative),    cmocka_unit_test(test_gradient),
                                       cmocka_unit_test(test_relative_gradient)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
