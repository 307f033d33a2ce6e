#include "tests/lib/backward_case.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tensor/ops/ops.h"

#include <math.h>

Backward backward_record(const Node *node, unsigned outputs) {
    Backward b = {.program = node->program, .node = node};
    for (int k = 0; k < node->outputs; k++) {
        const Tensor *y = node->output[k];
        char name[8];
        snprintf(name, sizeof name, "dy%d", k);
        if (!(outputs >> k & 1)) continue;
        /* an input of rank 4 lies channels-last, a volume does not: its dy is a view of a flat input */
        if (y->rank == 4 && y->size[1] != 1 && y->stride[1] != 1)
            b.dy[k] = t_reshape(program_input(b.program, name, DTYPE_F32, 1, (int64_t[]){tensor_count(y)}), 4, y->size);
        else
            b.dy[k] = program_input(b.program, name, DTYPE_F32, y->rank, y->size);
    }
    assert_non_null(node->op->gradient);
    node->op->gradient(node, b.dy, b.d_input);
    for (int k = 0; k < node->inputs; k++)
        if (b.d_input[k]) assert_true(tensor_same_shape(b.d_input[k], node->input[k]));
    return b;
}

#ifndef PANUM_F64
void check_backward_fast(const char *what, const Backward *b, Runner *runner, double bound) {
    static const int THREADS[] = {1, 2, 5};
    real *want[NODE_INPUTS_MAX] = {NULL};
    runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
    for (int k = 0; k < b->node->inputs; k++)
        if (b->d_input[k]) want[k] = runner_copy(runner, b->d_input[k]);
    double worst = 0;
    const CpuLevel best = cpu_level();
    for (int level = CPU_BASE; level <= (int)best; level++) {
        cpu_limit((CpuLevel)level);
        real *first[NODE_INPUTS_MAX] = {NULL};
        for (int t = 0; t < 3; t++) {
            Pool *pool = THREADS[t] > 1 ? pool_make(THREADS[t]) : NULL;
            runner_run(runner, (RunWay){.kind = RUN_FAST, .pool = pool});
            if (pool) pool_drop(pool);
            for (int k = 0; k < b->node->inputs; k++) {
                if (!b->d_input[k]) continue;
                const int64_t n = tensor_count(b->d_input[k]);
                real *got = runner_copy(runner, b->d_input[k]);
                double scale = 1;
                for (int64_t i = 0; i < n; i++) scale = fmax(scale, fabs((double)want[k][i]));
                for (int64_t i = 0; i < n; i++) {
                    const double error = fabs((double)got[i] - want[k][i]) / scale;
                    if (!(error <= bound))
                        fail_msg("%s at %s, %d threads, gradient of input %d: element %lld is %.9g, defined as %.9g",
                                 what, cpu_level_name((CpuLevel)level), THREADS[t], k, (long long)i, (double)got[i],
                                 (double)want[k][i]);
                    if (error > worst) worst = error;
                }
                if (first[k] && memcmp(first[k], got, (size_t)n * sizeof *got) != 0)
                    fail_msg("%s at %s, gradient of input %d: %d threads give other bits", what,
                             cpu_level_name((CpuLevel)level), k, THREADS[t]);
                if (first[k])
                    mem_free(got);
                else
                    first[k] = got;
            }
        }
        for (int k = 0; k < b->node->inputs; k++) mem_free(first[k]);
    }
    cpu_limit(CPU_AVX512);
    for (int k = 0; k < b->node->inputs; k++) mem_free(want[k]);
    printf("  %-52s largest error %.1e (of %.0e)\n", what, worst, bound);
}

void check_backward_differences(const char *what, const Backward *b, Runner *runner, double step, int elements,
                                double bound) {
    (void)what, (void)b, (void)runner, (void)step, (void)elements, (void)bound;
}
#else
void check_backward_fast(const char *what, const Backward *b, Runner *runner, double bound) {
    (void)what, (void)b, (void)runner, (void)bound;
}

static double loss_of(const Backward *b, Runner *runner) {
    double sum = 0;
    runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
    for (int k = 0; k < b->node->outputs; k++) {
        if (!b->dy[k]) continue;
        real *dy = runner_copy(runner, b->dy[k]), *y = runner_copy(runner, b->node->output[k]);
        for (int64_t i = 0; i < tensor_count(b->dy[k]); i++) sum += dy[i] * y[i];
        mem_free(dy);
        mem_free(y);
    }
    return sum;
}

static int64_t place_in(const Tensor *t, int64_t index) {
    int64_t at = 0;
    for (int axis = t->rank - 1; axis >= 0; axis--) {
        at += index % t->size[axis] * t->stride[axis];
        index /= t->size[axis];
    }
    return at;
}

/* x moved by `step` along element `only`, or along the whole direction when it is -1. */
static void move(const Tensor *x, real *data, const real *kept, const real *direction, int64_t only, double step) {
    for (int64_t i = 0; i < tensor_count(x); i++)
        data[place_in(x, i)] = kept[i] + (only < 0 ? step * direction[i] : i == only ? step : 0);
}

void check_backward_differences(const char *what, const Backward *b, Runner *runner, double step, int elements,
                                double bound) {
    double worst = 0;
    for (int k = 0; k < b->node->inputs; k++) {
        const Tensor *x = b->node->input[k];
        if (!x || !b->d_input[k]) continue;
        const int64_t n = tensor_count(x);
        runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
        real *kept = runner_copy(runner, x), *gradient = runner_copy(runner, b->d_input[k]),
             *direction = mem_array((size_t)n, sizeof *direction), *data = runner_data(runner, x);
        double along = 0, size = 0;
        for (int64_t i = 0; i < n; i++) {
            direction[i] = rng_signed(77 + (uint64_t)k, (uint64_t)i);
            along += direction[i] * gradient[i];
            size += fabs(gradient[i]);
        }
        for (int t = -1; t < elements && t < n; t++) {
            const int64_t only = t < 0 ? -1 : n <= elements ? t : (int64_t)(rng_u64(5, (uint64_t)t) % (uint64_t)n);
            move(x, data, kept, direction, only, step);
            const double above = loss_of(b, runner);
            move(x, data, kept, direction, only, -step);
            const double below = loss_of(b, runner);
            const double found = (above - below) / (2 * step), want = only < 0 ? along : gradient[only];
            const double rounding = 4e-15 * (1 + fabs(above)) / step; /* of the two losses */
            const double error = fabs(found - want), scale = fabs(want) + size / (double)n;
            if (!(error <= bound * scale + rounding))
                fail_msg("%s: gradient of input %d, %s %lld: %.12g, by differences %.12g", what, k,
                         only < 0 ? "along a direction" : "element", (long long)only, want, found);
            if (error > rounding && error > worst * scale) worst = error / scale;
        }
        move(x, data, kept, direction, -1, 0);
        mem_free(kept);
        mem_free(gradient);
        mem_free(direction);
    }
    printf("  %-52s differences within %.1e (of %.0e)\n", what, worst, bound);
}
#endif
