/* Every form of convolution, transposed convolution and linear, on every instruction set this machine has, against its
 * definition; the same bits for any number of threads; results through holes. */
#include "base/cpu.h"
#include "base/half.h"
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/conv_kernels.h"
#include "tensor/ops/conv_task.h"
#include "tensor/ops/ops.h"
#include "tests/lib/check.h"
#include "tests/lib/run_node.h"

#include <math.h>

static Pool *pools[4];
static const int pool_sizes[4] = {1, 2, 3, 5};

static int make_pools(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) pools[i] = pool_make(pool_sizes[i]);
    return 0;
}

static int drop_pools(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) pool_drop(pools[i]);
    return 0;
}

typedef enum { CONV, TRANSPOSE, LINEAR } Form;

typedef struct {
    Form form;
    int n, ci, h, w, co, kh, kw, stride, pad_h, pad_w;
    int segments; /* 1, or cut after the first channel, or after the first and the middle one */
    bool slice;   /* the data is a channel slice of a wider map */
    bool bias;
} Case;

static const Case cases[] = {
    /* sides from 1 to past two blocks; batch 2; channels that fill no vector */
    {CONV, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1},
    {CONV, 1, 1, 1, 1, 1, 3, 3, 1, 1, 1, 1, 0, 0},
    {CONV, 1, 2, 2, 3, 2, 3, 3, 1, 1, 1, 1, 0, 1},
    {CONV, 2, 3, 7, 8, 3, 3, 3, 1, 1, 1, 1, 0, 1},
    {CONV, 1, 9, 1, 33, 16, 1, 1, 1, 0, 0, 1, 0, 1},
    {CONV, 2, 9, 13, 14, 9, 1, 1, 1, 0, 0, 1, 1, 1},
    {CONV, 1, 16, 9, 15, 32, 3, 3, 1, 1, 1, 1, 0, 1},
    {CONV, 2, 16, 16, 17, 40, 3, 3, 1, 1, 1, 1, 1, 0},
    {CONV, 1, 33, 31, 33, 48, 3, 3, 1, 1, 1, 1, 0, 1},
    {CONV, 1, 130, 13, 16, 80, 3, 3, 1, 1, 1, 3, 0, 1},
    {CONV, 1, 258, 7, 15, 32, 3, 3, 1, 1, 1, 2, 1, 1},
    {CONV, 1, 128, 8, 31, 1, 3, 3, 1, 1, 1, 1, 0, 0},
    {CONV, 2, 128, 8, 13, 2, 3, 3, 1, 1, 1, 2, 0, 1},
    {CONV, 1, 64, 5, 17, 4, 1, 1, 1, 0, 0, 1, 0, 1},
    {CONV, 1, 16, 17, 33, 64, 5, 5, 2, 2, 2, 1, 0, 1},
    {CONV, 2, 24, 16, 17, 40, 3, 3, 2, 1, 1, 2, 0, 1},
    {CONV, 1, 20, 15, 14, 33, 3, 1, 1, 1, 0, 2, 0, 1},
    {CONV, 2, 20, 14, 15, 33, 1, 3, 1, 0, 1, 2, 1, 1},
    {CONV, 1, 70, 9, 17, 130, 3, 3, 1, 0, 0, 1, 0, 1},
    {CONV, 1, 5, 6, 7, 8, 3, 3, 1, 2, 2, 1, 0, 1},
    {CONV, 1, 3, 40, 70, 16, 1, 1, 1, 0, 0, 1, 0, 1},
    {CONV, 1, 64, 30, 60, 96, 3, 3, 1, 1, 1, 2, 0, 1},
    {CONV, 1, 40, 60, 60, 40, 3, 3, 1, 1, 1, 1, 0, 1},  /* more tiles than columns, and more than one part of them */
    {CONV, 1, 12, 66, 70, 150, 3, 3, 1, 1, 1, 2, 0, 1}, /* the same by panels, for F(6x6) */
    {TRANSPOSE, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1},
    {TRANSPOSE, 1, 1, 17, 33, 16, 3, 3, 1, 1, 1, 1, 0, 1},
    {TRANSPOSE, 2, 3, 9, 15, 16, 3, 3, 1, 1, 1, 1, 0, 1},
    {TRANSPOSE, 1, 48, 14, 31, 9, 1, 1, 1, 0, 0, 1, 0, 1},
    {TRANSPOSE, 2, 33, 8, 15, 64, 2, 2, 2, 0, 0, 1, 0, 1},
    {TRANSPOSE, 1, 40, 7, 33, 9, 2, 2, 2, 0, 0, 1, 1, 1},
    {TRANSPOSE, 1, 5, 3, 2, 3, 2, 2, 2, 0, 0, 1, 0, 0},
    {TRANSPOSE, 1, 6, 5, 7, 4, 4, 4, 2, 1, 1, 1, 0, 1}, /* no fast form: its definition, through holes too */
    {TRANSPOSE, 1, 6, 5, 7, 4, 3, 3, 3, 0, 1, 1, 0, 1},
    {TRANSPOSE, 1, 32, 12, 20, 32, 3, 3, 1, 1, 1, 1, 0, 1},
    {LINEAR, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1},
    {LINEAR, 2, 40, 1, 33, 48, 1, 1, 1, 0, 0, 1, 0, 1},
    {LINEAR, 3, 130, 1, 31, 80, 1, 1, 1, 0, 0, 3, 1, 0},
    {LINEAR, 1, 64, 1, 200, 600, 1, 1, 1, 0, 0, 1, 1, 1},
    {LINEAR, 1, 1024, 1, 29, 48, 1, 1, 1, 0, 0, 1, 0, 1}, /* rows 4 KiB apart are copied */
    {CONV, 1, 512, 5, 33, 16, 3, 3, 2, 1, 1, 1, 0, 1},
    {LINEAR, 1, 300, 1, 15, 9, 1, 1, 1, 0, 0, 2, 0, 1},
};
enum { CASES = sizeof cases / sizeof cases[0] };

/* Records the data operand: an input, or a channel slice of one that is 7 channels wider. */
static Tensor *record_data(Program *program, const Case *c, int channels, const char *name) {
    int64_t map[] = {c->n, channels + (c->slice ? 7 : 0), c->h, c->w}, tokens[] = {c->n, c->w, map[1]};
    Tensor *x = c->form == LINEAR ? program_input(program, name, DTYPE_F32, 3, tokens)
                                  : program_input(program, name, DTYPE_F32, 4, map);
    if (!c->slice) return x;
    /* A view made by hand, so that this test needs no other operator. */
    Tensor *view = program_alloc(program, sizeof *view);
    *view = *x;
    view->base = x;
    view->offset = 3;
    view->size[c->form == LINEAR ? 2 : 1] = channels;
    return view;
}

static Node *record_case(Program *program, const Case *c) {
    int64_t conv[] = {c->co, c->ci, c->kh, c->kw}, transpose[] = {c->ci, c->co, c->kh, c->kw},
            linear[] = {c->co, c->ci};
    int64_t bias_size[] = {c->co};
    Tensor *weight = program_weight(program, "weight", c->form == LINEAR ? 2 : 4,
                                    c->form == LINEAR ? linear
                                    : c->form == CONV ? conv
                                                      : transpose);
    Tensor *bias = c->bias ? program_weight(program, "bias", 1, bias_size) : NULL;
    Tensor *x = record_data(program, c, c->ci, "x");
    ConvOptions options = {c->stride, c->pad_h, c->pad_w};
    Tensor *y = c->form == LINEAR ? t_linear_at(x, weight, bias, T_HERE)
                : c->form == CONV ? t_conv2d_at(x, weight, bias, options, T_HERE)
                                  : t_conv_transpose2d_at(x, weight, bias, options, T_HERE);
    Node *node = y->node;
    if (c->segments > 1) { /* as the plan does when it removes a concatenation */
        int cut[] = {1, c->segments == 3 ? c->ci / 2 : c->ci - 1, c->ci - 1 - c->ci / 2};
        for (int s = 0; s < c->segments; s++) {
            char name[8];
            snprintf(name, sizeof name, "x%d", s);
            node->input[s] = record_data(program, c, cut[s], name);
        }
        node->input[c->segments] = weight;
        node->input[c->segments + 1] = bias;
        node->segments = c->segments;
        node->inputs = c->segments + 2;
    }
    return node;
}

/* Largest difference over the root mean square of what is wanted: sums of random signs, so elements are alike. */
static double relative(const float *got, const float *want, int64_t count) {
    double square = 0, worst = 0;
    for (int64_t i = 0; i < count; i++) {
        double d = fabs((double)got[i] - (double)want[i]);
        if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
        square += (double)want[i] * (double)want[i];
    }
    return worst / sqrt(square / (double)count + 1e-30);
}

/* Direct sums of up to 2,322 products in f32: a random walk of roundings of 2^-24, sqrt(2322)/2 of them and a factor of
 * 4 for the worst element of thousands. Winograd multiplies roundings by its transforms: F(4x4) about twice, F(6x6)
 * ten times. */
static double bound(ConvAlgorithm algorithm) {
    switch (algorithm) {
    case CONV_WINOGRAD_4X4:
        return 3e-5;
    case CONV_WINOGRAD_6X6:
        return 1.2e-4;
    case CONV_WINOGRAD_2X2:
    case CONV_WINOGRAD_6X1:
    case CONV_WINOGRAD_1X6:
        return 3e-5;
    case CONV_WINOGRAD_4X1:
    case CONV_WINOGRAD_1X4:
        return 2e-5;
    default:
        return 1.5e-5;
    }
}

static double worst_seen[CONV_ALGORITHMS];

static void run_case(const Case *c, int index, ConvAlgorithm algorithm) {
    Program *program = program_make();
    assert_non_null(program);
    Node *node = record_case(program, c);
    conv_force(algorithm);
    const char *name = conv_algorithm(node, false, false);
    bool fits = strcmp(name, conv_algorithm_name[algorithm]) == 0;
    if (!fits && algorithm != CONV_DIRECT) {
        program_drop(program);
        return;
    }
    Runner *runner = runner_make(program);
    runner_fill_all(runner, 1000 + (uint64_t)index);
    const Tensor *y = node->output[0];
    int64_t count = tensor_count(y);
    runner_run(runner, (RunWay){.kind = RUN_DEFINITION, .pool = pools[1]});
    float *want = runner_copy(runner, y), *first = NULL;
    for (int i = 0; i < 4; i++)
        for (int hole = HOLE_NONE; hole <= HOLE_DIRECT; hole++) {
            if (hole != HOLE_NONE && i % 2) continue;
            runner_run(runner, (RunWay){.kind = RUN_FAST, .hole = (RunHole)hole, .pool = pools[i]});
            float *got = runner_copy(runner, y);
            if (!first) {
                double error = relative(got, want, count);
                if (error > worst_seen[algorithm]) worst_seen[algorithm] = error;
                if (!(error <= bound(algorithm)))
                    fail_msg("case %d, %s, %s: error %.2e, bound %.2e", index, conv_algorithm_name[algorithm],
                             cpu_level_name(conv_kernels()->level), error, bound(algorithm));
                first = got;
            } else {
                if (memcmp(first, got, (size_t)count * 4) != 0)
                    fail_msg("case %d, %s, %s: other bits with %d threads, hole %d", index,
                             conv_algorithm_name[algorithm], cpu_level_name(conv_kernels()->level), pool_sizes[i],
                             hole);
                mem_free(got);
            }
        }
    mem_free(first);
    mem_free(want);
    runner_drop(runner);
    program_drop(program);
}

/* bf16 products are exact in f32, so against operands that are bf16 already the sums differ by f32 roundings only. */
static void test_bf16(void **state) {
    (void)state;
    if (!bf16_kernels()) {
        printf("skip: this machine has no bf16 products\n");
        skip();
    }
    conv_force(CONV_DIRECT);
    double worst = 0;
    for (int i = 0; i < CASES; i++) {
        Program *program = program_make();
        Node *node = record_case(program, &cases[i]);
        if (strcmp(conv_algorithm(node, false, true), "implicit bf16") == 0) {
            Runner *runner = runner_make(program);
            runner_fill_all(runner, 77 + (uint64_t)i);
            for (int t = 0; t < program_tensors(program); t++) {
                const Tensor *tensor = program_tensor(program, t);
                if (tensor->base != tensor || tensor->kind == TENSOR_VALUE) continue;
                float *p = runner_data(runner, tensor);
                for (int64_t k = 0; k < tensor_count(tensor); k++) p[k] = bf16_to_f32(f32_to_bf16(p[k]));
            }
            int64_t count = tensor_count(node->output[0]);
            runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
            float *want = runner_copy(runner, node->output[0]);
            for (int hole = HOLE_NONE; hole <= HOLE_DIRECT; hole++) {
                runner_run(runner,
                           (RunWay){.kind = RUN_FAST, .hole = (RunHole)hole, .bf16 = true, .pool = pools[hole]});
                float *got = runner_copy(runner, node->output[0]);
                double error = relative(got, want, count);
                if (error > worst) worst = error;
                if (!(error <= bound(CONV_DIRECT))) fail_msg("case %d, bf16, hole %d: error %.2e", i, hole, error);
                mem_free(got);
            }
            mem_free(want);
            runner_drop(runner);
        }
        program_drop(program);
    }
    conv_force(CONV_ALGORITHMS);
    printf("bf16    implicit      largest error %.1e of the rms\n", worst);
}

static void run_level(CpuLevel level) {
    if (level > cpu_level()) {
        printf("skip: this machine has no %s\n", cpu_level_name(level));
        skip();
    }
    cpu_limit(level);
    memset(worst_seen, 0, sizeof worst_seen);
    for (int a = 0; a < CONV_ALGORITHMS; a++)
        for (int i = 0; i < CASES; i++) run_case(&cases[i], i, (ConvAlgorithm)a);
    conv_force(CONV_ALGORITHMS);
    cpu_limit(CPU_AVX512);
    for (int a = 0; a < CONV_ALGORITHMS; a++)
        printf("%-7s %-13s largest error %.1e of the rms\n", cpu_level_name(level), conv_algorithm_name[a],
               worst_seen[a]);
}

static void test_base(void **state) {
    (void)state;
    run_level(CPU_BASE);
}

static void test_avx2(void **state) {
    (void)state;
    run_level(CPU_AVX2);
}

static void test_avx512(void **state) {
    (void)state;
    run_level(CPU_AVX512);
}

/* exact never means Winograd; without it the usual layers of the networks get it. */
static void test_choice(void **state) {
    (void)state;
    Case c = {CONV, 1, 128, 120, 184, 128, 3, 3, 1, 1, 1, 1, 0, 1};
    conv_force(CONV_ALGORITHMS);
    Program *program = program_make();
    Node *node = record_case(program, &c);
    assert_string_equal(conv_algorithm(node, true, false), "implicit");
    assert_string_equal(conv_algorithm(node, false, false), "winograd 6x6");
    program_drop(program);
    /* Wide layers keep the more exact form; one axis has room for the longer one. */
    Case wide = {CONV, 1, 256, 120, 184, 256, 3, 3, 1, 1, 1, 1, 0, 1};
    Case column = {CONV, 1, 256, 120, 184, 128, 3, 1, 1, 1, 0, 1, 0, 1};
    program = program_make();
    assert_string_equal(conv_algorithm(record_case(program, &wide), false, false), "winograd 4x4");
    program_drop(program);
    program = program_make();
    assert_string_equal(conv_algorithm(record_case(program, &column), false, false), "winograd 6x1");
    program_drop(program);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base), cmocka_unit_test(test_avx2),   cmocka_unit_test(test_avx512),
        cmocka_unit_test(test_bf16), cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, make_pools, drop_pools);
}
