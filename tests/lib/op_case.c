#include "tests/lib/op_case.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/mem.h"
#include "tensor/op.h"

#include <math.h>

static double worst_of(const real *got, const real *want, int64_t n, int64_t *where) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(want[i]) && isnan(got[i])) continue;
        double error = fabs((double)got[i] - want[i]) / fmax(1, fabs(want[i]));
        if (got[i] == want[i]) error = 0; /* infinities too */
        if (!(error <= worst)) worst = isnan(error) ? INFINITY : error, *where = i;
    }
    return worst;
}

void check_fast(const char *what, Program *program, Runner *runner, double bound) {
    const Node *node = program_node(program, program_nodes(program) - 1);
    if (!node->op->run) return;
    real *want[NODE_OUTPUTS_MAX];
    runner_run(runner, (RunWay){.kind = RUN_DEFINITION});
    for (int i = 0; i < node->outputs; i++) want[i] = runner_copy(runner, node->output[i]);
    Pool *pool[3] = {NULL, pool_make(2), pool_make(3)};
    double worst = 0;
    const CpuLevel best = cpu_level();
    for (int level = CPU_BASE; level <= (int)best; level++) {
        cpu_limit((CpuLevel)level);
        real *first[NODE_OUTPUTS_MAX] = {NULL};
        enum { OVER_INPUT = HOLE_DIRECT + 1 };
        for (int hole = HOLE_NONE; hole <= OVER_INPUT; hole++)
            for (int threads = 0; threads < 3; threads++) {
                if (hole == OVER_INPUT ? !node->op->in_place : hole != HOLE_NONE && !node->op->store_hole) continue;
                runner_run(runner, (RunWay){.kind = RUN_FAST,
                                            .hole = hole == OVER_INPUT ? HOLE_NONE : (RunHole)hole,
                                            .over_input = hole == OVER_INPUT,
                                            .pool = pool[threads]});
                for (int i = 0; i < node->outputs; i++) {
                    const int64_t n = tensor_count(node->output[i]);
                    real *got = runner_copy(runner, node->output[i]);
                    int64_t where = 0;
                    double error = worst_of(got, want[i], n, &where);
                    if (error > worst) worst = error;
                    if (!(error <= bound))
                        fail_msg("%s at %s, %d threads, hole %d, output %d: element %lld is %.9g, defined as %.9g",
                                 what, cpu_level_name((CpuLevel)level), threads + 1, hole, i, (long long)where,
                                 (double)got[where], (double)want[i][where]);
                    if (!first[i]) {
                        first[i] = got;
                        continue;
                    }
                    if (memcmp(first[i], got, (size_t)n * sizeof *got) != 0)
                        fail_msg("%s at %s: %d threads with hole %d give other bits", what,
                                 cpu_level_name((CpuLevel)level), threads + 1, hole);
                    mem_free(got);
                }
            }
        for (int i = 0; i < node->outputs; i++) mem_free(first[i]);
    }
    cpu_limit(CPU_AVX512);
    for (int i = 0; i < node->outputs; i++) mem_free(want[i]);
    for (int i = 0; i < 3; i++)
        if (pool[i]) pool_drop(pool[i]);
    printf("  %-44s largest error %.1e (of %.0e)\n", what, worst, bound);
}

void check_fast_random(const char *what, Program *program, double bound) {
    Runner *runner = runner_make(program);
    runner_fill_all(runner, 20);
    check_fast(what, program, runner, bound);
    runner_drop(runner);
    program_drop(program);
}

Fixture fixture_open(const char *family) {
    char path[256];
    snprintf(path, sizeof path, "tests/fixtures/ops/%s.safetensors", family);
    Fixture fixture;
    if (weights_open(path, &fixture.file)) fail_msg("%s", err_sentence());
    return fixture;
}

void fixture_close(Fixture *fixture) {
    weights_close(fixture->file);
}

const WeightEntry *fixture_entry(const Fixture *fixture, const char *format, ...) {
    char name[256];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const WeightEntry *entry = weights_find(fixture->file, name);
    if (!entry) fail_msg("%s has no %s", weights_path(fixture->file), name);
    return entry;
}

double fixture_number(const Fixture *fixture, const char *name, const char *key, double otherwise) {
    char quoted[64];
    const char *text = weights_metadata(fixture->file, name);
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = text ? strstr(text, quoted) : NULL;
    if (!at) return otherwise;
    at += strlen(quoted);
    while (*at == ' ') at++;
    return strncmp(at, "true", 4) == 0 ? 1 : strncmp(at, "false", 5) == 0 ? 0 : strtod(at, NULL);
}

static float *entry_values(const Fixture *fixture, const WeightEntry *entry) {
    float *values = mem_array((size_t)entry->count, sizeof *values);
    assert_non_null(values);
    if (weights_read_f32(fixture->file, entry, values)) fail_msg("%s", err_sentence());
    return values;
}

static int64_t spoken_offset(const Tensor *t, int64_t index) {
    int64_t offset = 0;
    for (int axis = t->rank - 1; axis >= 0; axis--) {
        offset += index % t->size[axis] * t->stride[axis];
        index /= t->size[axis];
    }
    return offset;
}

void fixture_fill(const Fixture *fixture, const WeightEntry *entry, Runner *runner, const Tensor *t) {
    assert_int_equal(entry->count, tensor_count(t));
    float *values = entry_values(fixture, entry);
    real *to = runner_data(runner, t);
    for (int64_t i = 0; i < entry->count; i++) to[spoken_offset(t, i)] = values[i];
    mem_free(values);
}

void fixture_check(const Fixture *fixture, const WeightEntry *entry, Runner *runner, const Tensor *t, double bound) {
    assert_int_equal(entry->count, tensor_count(t));
    float *values = entry_values(fixture, entry);
    real *want = mem_array((size_t)entry->count, sizeof *want), *got = runner_copy(runner, t);
    assert_non_null(want);
    for (int64_t i = 0; i < entry->count; i++) want[i] = values[i];
    int64_t where = 0;
    double worst = worst_of(got, want, entry->count, &where);
    printf("  %-44s largest error %.1e (of %.0e) beside PyTorch\n", entry->name, worst, bound);
    if (!(worst <= bound))
        fail_msg("%s: element %lld is %.9g, not %.9g", entry->name, (long long)where, (double)got[where],
                 (double)want[where]);
    mem_free(values);
    mem_free(want);
    mem_free(got);
}
