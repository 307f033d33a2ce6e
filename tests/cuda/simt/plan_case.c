#include "tests/cuda/simt/plan_case.h"
#include "base/mem.h"
#include "base/rng.h"
#include "nn/store.h"
#include "tests/cuda/simt/seen.h"
#include "tests/cuda/simt/test_device.h"
#include "tests/lib/check.h"

#include <math.h>

void must(int code) {
    if (code) fail_msg("%s", err_sentence());
}

static void fill(const Tensor *t, const float *odd, void *to) {
    for (int64_t i = 0; i < tensor_count(t); i++) {
        double v = rng_signed((uint64_t)t->id + 5, (uint64_t)i);
        if (t->dtype == DTYPE_U8)
            ((uint8_t *)to)[i] = (uint8_t)(128 + 127 * v);
        else
            ((float *)to)[i] = (float)v;
    }
    if (odd && t->dtype == DTYPE_F32) ((float *)to)[tensor_count(t) / 3] = *odd;
}

/* `odd`: NULL, there is none. */
static void compare(const char *what, Program *program, PlanWay way, const float *odd, double bound) {
    ParameterStore *store;
    must(store_make_seeded(&store));
    WeightSource source = store_source(store);
    Plan *cpu, *shape;
    way.plan.exact = true;
    PlanOptions on_cpu = way.plan;
    on_cpu.halves = NULL;
    on_cpu.definitions = odd != NULL;
    must(plan_make(program, &source, NULL, on_cpu, &cpu));
    PlanOptions only_shape = way.plan;
    only_shape.shape_only = true;
    must(plan_make(program, &source, NULL, only_shape, &shape));
    Gpu *gpu;
    GpuPlan *plan;
    must(test_device_open(way.device, &gpu));
    must(gpu_plan_make(shape, &source, gpu, way.gpu, &plan));
    EmulatedUse made = test_device_use(gpu);
    GpuPlanFacts facts = gpu_plan_facts(plan);
    bool emulated = !test_device_is_real();
    bound *= test_device_slack();
    if (emulated)
        assert_int_equal(made.memory_peak, facts.block + facts.weights + facts.extra); /* the plan's promise */
    assert_int_equal(facts.block, plan_facts(shape).bytes);
    for (int i = 0; i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->kind != TENSOR_INPUT || t->base != t) continue;
        void *data = plan_data(cpu, t);
        fill(t, odd, data);
        must(gpu_plan_write(plan, t, data));
    }
    must(plan_run(cpu));
    uint64_t requests = 0;
    for (int run = 0; run < 2; run++) {
        must(gpu_plan_run(plan));
        if (run == 0) requests = mem_use().requests;
    }
    assert_int_equal(mem_use().requests, requests); /* nothing is asked for from the second run on */
    EmulatedUse done = test_device_use(gpu);
    assert_int_equal(done.allocations, made.allocations);
    if (emulated) assert_int_equal(done.launches - made.launches, 2 * facts.launches);
    double worst = 0;
    for (int i = 0; i < program_outputs(program); i++) {
        const char *name;
        const Tensor *t = program_output_at(program, i, &name);
        int64_t n = tensor_count(t);
        float *got = mem_array((size_t)n, sizeof *got);
        const float *want = plan_data(cpu, t);
        must(gpu_plan_read(plan, t, got));
        for (int64_t k = 0; k < n; k++) {
            if (odd && (isnan(want[k]) ? isnan(got[k]) : got[k] == want[k])) continue;
            double e = fabs((double)got[k] - (double)want[k]) / fmax(1, fabs((double)want[k]));
            if (!(e <= bound))
                fail_msg("%s: %s[%lld] is %.9g on the device and %.9g on the CPU", what, name, (long long)k,
                         (double)got[k], (double)want[k]);
            worst = fmax(worst, e);
        }
        mem_free(got);
    }
    printf("  %-36s %2d launches, largest difference %.1e\n", what, facts.launches, worst);
    operators_seen(shape, way.gpu.storage);
    gpu_plan_drop(plan);
    assert_int_equal(test_device_use(gpu).memory, 0);
    gpu_close(gpu);
    plan_drop(cpu), plan_drop(shape);
    store_close(store);
}

void compare_plan(const char *what, Program *program, PlanWay way, double bound) {
    compare(what, program, way, NULL, bound);
}

void compare_plan_odd(const char *what, Program *program, PlanWay way, float odd, double bound) {
    compare(what, program, way, &odd, bound);
}
