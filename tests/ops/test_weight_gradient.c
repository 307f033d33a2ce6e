/* The kernels of the weight's gradient alone: fast versions beside the definition at every level, for 1, 2, 3 and 5
 * threads bit for bit, with segments, views, strides, and shapes that leave vectors, blocks, chunks and parts partly
 * filled. That the definition is the derivative of the convolution is shown by test_gradient_conv.c. */
#include "base/cpu.h"
#include "base/mem.h"
#include "tensor/op.h"
#include "tensor/ops/conv_node.h"
#include "tensor/ops/conv_task.h"
#include "tensor/ops/weight_gradient.h"
#include "tests/lib/check.h"
#include "tests/lib/run_node.h"

#include <math.h>

typedef struct {
    int n, ci, h, w, co, kh, kw, stride, pad_h, pad_w;
    int segments; /* 1, or cut after the first channel, or after the first and the middle one */
    bool slice;   /* both maps are channel slices of wider ones */
    bool bias;
} Case;

static const Case cases[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1},      {1, 1, 1, 1, 1, 3, 3, 1, 1, 1, 1, 0, 1},
    {1, 2, 2, 3, 3, 3, 3, 1, 1, 1, 1, 0, 0},      {2, 3, 7, 8, 5, 3, 3, 1, 1, 1, 1, 0, 1},
    {2, 9, 13, 14, 17, 1, 1, 1, 0, 0, 1, 1, 1},   {1, 33, 31, 33, 48, 3, 3, 1, 1, 1, 1, 0, 1},
    {1, 130, 13, 16, 80, 3, 3, 1, 1, 1, 3, 0, 1}, {2, 40, 9, 21, 1, 3, 3, 1, 1, 1, 1, 0, 0},
    {2, 2, 9, 21, 64, 3, 3, 1, 1, 1, 1, 0, 1},    {1, 16, 17, 33, 64, 5, 5, 2, 2, 2, 1, 0, 1},
    {2, 24, 16, 17, 40, 3, 3, 2, 1, 1, 2, 0, 1},  {1, 20, 15, 14, 33, 3, 1, 1, 1, 0, 2, 0, 1},
    {2, 20, 14, 15, 33, 1, 3, 1, 0, 1, 2, 1, 1},  {1, 70, 9, 17, 30, 3, 3, 1, 0, 0, 1, 0, 1},
    {1, 5, 6, 7, 8, 3, 3, 1, 2, 2, 1, 0, 1},      {1, 6, 11, 10, 7, 2, 2, 2, 0, 0, 1, 0, 1},
    {1, 6, 11, 13, 7, 3, 3, 3, 0, 1, 1, 0, 1},    {1, 3, 5, 4, 8, 1, 1, 2, 0, 0, 1, 0, 1},
    {1, 32, 50, 61, 32, 3, 3, 1, 1, 1, 1, 0, 1},                                               /* several parts */
    {2, 16, 60, 70, 9, 1, 1, 1, 0, 0, 1, 1, 1},   {1, 32, 300, 1, 96, 3, 1, 1, 1, 0, 1, 0, 1}, /* columns of one */
    {1, 96, 12, 20, 200, 3, 3, 1, 1, 1, 2, 0, 1}, /* few positions: rows are shared out */
};

/* By kind, the last direct: roundings of sums of random signs, multiplied by the transforms as those of conv2d are. */
static const double bounds[WINOGRAD_KINDS + 1] = {
    [WINOGRAD_4X4] = 3e-5, [WINOGRAD_2X2] = 1e-5, [WINOGRAD_4X1] = 1e-5, [WINOGRAD_1X4] = 1e-5,
    [WINOGRAD_6X6] = 1e-4, [WINOGRAD_6X1] = 3e-5, [WINOGRAD_1X6] = 3e-5, [WINOGRAD_KINDS] = 5e-6,
};

static Tensor *map(Program *p, const char *name, const Case *c, int64_t channels, int64_t h, int64_t w) {
    Tensor *x = program_input(p, name, DTYPE_F32, 4, (int64_t[]){c->n, channels + (c->slice ? 7 : 0), h, w});
    return c->slice ? t_slice(x, 1, 3, channels) : x;
}

static double relative(const real *got, const real *want, int64_t count) {
    double square = 0, worst = 0;
    for (int64_t i = 0; i < count; i++) {
        double d = fabs((double)got[i] - (double)want[i]);
        if (!(d <= worst)) worst = isnan(d) ? INFINITY : d;
        square += (double)want[i] * (double)want[i];
    }
    return worst / sqrt(square / (double)count + 1e-30);
}

static void run_case(int index, int kind, double bound, double *worst) {
    const Case *c = &cases[index];
    Program *p = program_make();
    assert_non_null(p);
    const int64_t out_h = (c->h + 2 * c->pad_h - c->kh) / c->stride + 1,
                  out_w = (c->w + 2 * c->pad_w - c->kw) / c->stride + 1;
    Tensor *x = map(p, "x", c, c->ci, c->h, c->w), *dy = map(p, "dy", c, c->co, out_h, out_w);
    Tensor *weight = program_weight(p, "weight", 4, (int64_t[]){c->co, c->ci, c->kh, c->kw}), *bias = NULL;
    Tensor *d = t_weight_gradient_at(x, dy, weight, (ConvOptions){c->stride, c->pad_h, c->pad_w},
                                     c->bias ? &bias : NULL, T_HERE);
    Node *node = d->node;
    weight_gradient_force(kind);
    if (c->segments > 1) { /* as the plan does when it removes a concatenation */
        const int cut[] = {1, c->segments == 3 ? c->ci / 2 : c->ci - 1, c->ci - 1 - c->ci / 2};
        for (int s = 0; s < c->segments; s++) {
            char name[8];
            snprintf(name, sizeof name, "x%d", s);
            node->input[s] = map(p, name, c, cut[s], c->h, c->w);
        }
        node->input[c->segments] = dy;
        node->segments = c->segments;
        node->inputs = c->segments + 1;
    }
    Runner *runner = runner_make(p);
    runner_fill_all(runner, 100 + (uint64_t)index);
    runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
    real *want[2] = {runner_copy(runner, d), bias ? runner_copy(runner, bias) : NULL};
    const CpuLevel best = cpu_level();
    for (int level = CPU_BASE; level <= (int)best; level++) {
        real *first[2] = {NULL, NULL};
        cpu_limit((CpuLevel)level);
        static const int threads[] = {1, 2, 3, 5};
        for (int t = 0; t < 4; t++) {
            Pool *pool = pool_make(threads[t]);
            runner_run(runner, (RunWay){.kind = RUN_FAST, .pool = pool});
            pool_drop(pool);
            for (int k = 0; k < 1 + (bias != NULL); k++) {
                const Tensor *to = k ? bias : d;
                real *got = runner_copy(runner, to);
                const double error = relative(got, want[k], tensor_count(to));
                if (error > *worst) *worst = error;
                if (!(error <= (k ? bounds[WINOGRAD_KINDS] : bound)))
                    fail_msg("case %d, %s: %s is off by %.2e of its rms", index, cpu_level_name((CpuLevel)level),
                             k ? "the bias" : "the weight", error);
                if (!first[k]) {
                    first[k] = got;
                    continue;
                }
                if (memcmp(first[k], got, (size_t)tensor_count(to) * sizeof *got) != 0)
                    fail_msg("case %d, %s: %d threads give other bits", index, cpu_level_name((CpuLevel)level),
                             threads[t]);
                mem_free(got);
            }
        }
        for (int k = 0; k < 2; k++) mem_free(first[k]);
    }
    cpu_limit(CPU_AVX512);
    for (int k = 0; k < 2; k++) mem_free(want[k]);
    runner_drop(runner);
    program_drop(p);
}

/* Every way of computing them, where it fits the shape. */
static void weights(void **state) {
    (void)state;
    for (int kind = 0; kind <= WINOGRAD_KINDS; kind++) {
        double worst = 0;
        for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++) {
            const Case *c = &cases[i];
            const bool three_h = kind == WINOGRAD_KINDS || winograd_size[kind].patch_h > 1,
                       three_w = kind == WINOGRAD_KINDS || winograd_size[kind].patch_w > 1;
            if (kind < WINOGRAD_KINDS && (c->stride != 1 || c->kh != (three_h ? 3 : 1) || c->kw != (three_w ? 3 : 1)))
                continue;
            run_case(i, kind, bounds[kind], &worst);
        }
        printf("  %-14s largest error %.1e of the rms (of %.0e)\n",
               kind < WINOGRAD_KINDS ? conv_algorithm_name[CONV_WINOGRAD_4X4 + kind] : "direct", worst, bounds[kind]);
    }
    weight_gradient_force(-1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
