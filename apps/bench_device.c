/* apps/bench_device.c - `panum bench --device cuda`: what S2M2 and a step of its training take on a GPU, as one
 * captured graph and kernel by kernel, beside what its copies reach in the same run. Numbers for weights follow from
 * names and seeds: nothing is looked at but time. */
#include "apps/bench_device.h"
#include "apps/lib/gpu_report.h"
#include "apps/lib/train_device.h"
#include "apps/lib/train_graph.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "nn/init.h"
#include "nn/store.h"

#include <stdio.h>
#include <string.h>

enum { ROUNDS = 20, SINGLE_ROUNDS = 5, COPIED = 256 << 20 };

/* ---- copies ---- */

typedef struct {
    GpuStream *stream;
    GpuEvent *from, *to;
    void *a, *b, *host;
} Copies;

/* Gigabytes a second of the fastest of some copies, read and written counted for those on the device. */
static int copy_rate(Gpu *gpu, const Copies *c, GpuDirection direction, double *rate) {
    *rate = 0;
    void *to = direction == GPU_TO_HOST ? c->host : c->b;
    const void *from = direction == GPU_TO_DEVICE ? c->host : c->a;
    int code = 0;
    for (int i = 0; !code && i < ROUNDS; i++) {
        double seconds = 0;
        code = gpu->call->record(c->stream, c->from);
        if (!code) code = gpu->call->copy(c->stream, to, from, COPIED, direction);
        if (!code) code = gpu->call->record(c->stream, c->to);
        if (!code) code = gpu->call->event_finish(c->to);
        if (!code) code = gpu->call->seconds(c->from, c->to, &seconds);
        double now = seconds > 0 ? (direction == GPU_ON_DEVICE ? 2 : 1) * (double)COPIED / seconds / 1e9 : 0;
        if (now > *rate) *rate = now;
    }
    return code;
}

static int bench_copies(Gpu *gpu) {
    Copies c = {0};
    double on = 0, up = 0, down = 0;
    int code = gpu->call->memory(gpu, COPIED, &c.a);
    if (!code) code = gpu->call->memory(gpu, COPIED, &c.b);
    if (!code) code = gpu->call->pinned(gpu, COPIED, &c.host);
    if (!code) memset(c.host, 1, COPIED);
    if (!code) code = gpu->call->stream(gpu, &c.stream);
    if (!code) code = gpu->call->event(gpu, &c.from);
    if (!code) code = gpu->call->event(gpu, &c.to);
    if (!code) code = gpu->call->fill(c.stream, c.a, 1, COPIED);
    if (!code) code = copy_rate(gpu, &c, GPU_ON_DEVICE, &on);
    if (!code) code = copy_rate(gpu, &c, GPU_TO_DEVICE, &up);
    if (!code) code = copy_rate(gpu, &c, GPU_TO_HOST, &down);
    if (!code)
        printf("copies of %d MiB: %.0f GB/s on the device (read and written), %.1f to it, %.1f from it\n\n",
               COPIED >> 20, on, up, down);
    gpu->call->event_drop(c.from), gpu->call->event_drop(c.to);
    gpu->call->stream_drop(c.stream);
    gpu->call->pinned_free(gpu, c.host);
    gpu->call->memory_free(gpu, c.a), gpu->call->memory_free(gpu, c.b);
    return code;
}

/* ---- a network forward ---- */

static void fill_input(const Tensor *x, void *data) {
    for (int64_t k = 0; k < tensor_count(x); k++) {
        if (x->dtype == DTYPE_U8)
            ((uint8_t *)data)[k] = (uint8_t)(rng_u64(1, (uint64_t)k) >> 56);
        else
            ((float *)data)[k] = 1;
    }
}

static void tell_plan(const char *what, GpuPlan *gpu, const Plan *plan, double made, double best, double mean) {
    GpuPlanFacts g = gpu_plan_facts(gpu);
    PlanFacts p = plan_facts(plan);
    printf("%s: %.3f ms (mean %.3f) as a graph of %d launches, %.0f GFLOP/s, %.0f GB/s; %.0f MiB of its memory, ready "
           "after %.1f s\n",
           what, 1e3 * best, 1e3 * mean, g.launches, p.flops / best / 1e9, p.traffic / best / 1e9,
           (double)(g.block + g.weights + g.extra) / 1048576, made);
}

static int time_forward(const char *what, Program *program, const WeightSource *source, const Device *device) {
    Plan *plan;
    GpuPlan *gpu = NULL;
    double began = clock_seconds(), best = 1e9, sum = 0;
    int code = plan_make(program, source, NULL, (PlanOptions){.shape_only = true}, &plan);
    if (code) return code;
    code = gpu_plan_make(plan, source, device->gpu, (GpuPlanOptions){.kernels = device->kernels}, &gpu);
    double made = clock_seconds() - began;
    for (int i = 0; !code && i < program_tensors(program); i++) {
        const Tensor *t = program_tensor(program, i);
        if (t->kind != TENSOR_INPUT || t->base != t) continue;
        void *data = mem_alloc(tensor_bytes(t));
        if (!data) code = ERR_MEMORY;
        if (!code) fill_input(t, data);
        if (!code) code = gpu_plan_write(gpu, t, data);
        mem_free(data);
    }
    if (!code) code = gpu_plan_run(gpu);
    for (int i = 0; !code && i < ROUNDS; i++) {
        double start = clock_seconds();
        code = gpu_plan_run(gpu);
        double took = clock_seconds() - start;
        if (took < best) best = took;
        sum += took;
    }
    if (!code) code = gpu_plan_measure(gpu, SINGLE_ROUNDS);
    if (!code) {
        tell_plan(what, gpu, plan, made, best, sum / ROUNDS);
        gpu_report_kernels(gpu, plan, stdout);
        printf("\n");
    }
    gpu_plan_drop(gpu);
    plan_drop(plan);
    return code;
}

static int bench_forward(const char *name, int width, int height, const Device *device) {
    const S2m2Size *size = s2m2_size(name);
    Program *program = program_make();
    ParameterStore *store = NULL;
    int code = program ? store_make_seeded(&store) : (int)ERR_MEMORY;
    if (!code) {
        char what[64];
        Net net = {program};
        Tensor *pictures = program_input(program, "pictures", DTYPE_U8, 4, (int64_t[]){2, 3, height, width});
        s2m2(&net, pictures, (S2m2Options){.channels = size->channels, .blocks = size->blocks, .refine_iterations = 3});
        WeightSource source = store_source(store);
        snprintf(what, sizeof what, "%s %dx%d", name, width, height);
        code = time_forward(what, program, &source, device);
    }
    store_close(store);
    program_drop(program);
    return code;
}

/* ---- a step of training: forward, backward, AdamW, as `panum train` runs it but for the samples ---- */

static int time_steps(const char *what, TrainDevice *d, const TrainGraph *graph, const Plan *plan, double made) {
    double best = 1e9, sum = 0;
    int code = 0;
    HostPlaces to = train_device_places(d);
    for (int i = 0; !code && i <= ROUNDS; i++) {
        TrainDeviceStep step;
        double start = clock_seconds();
        code = train_device_await(d);
        to = train_device_places(d);
        for (int k = 0; !code && k < program_tensors(graph->program); k++) {
            const Tensor *t = program_tensor(graph->program, k);
            if (t->kind == TENSOR_INPUT && t->base == t && t != graph->seed && i < 2)
                fill_input(t, to.at(to.context, t));
        }
        if (!code) code = train_device_send(d);
        if (!code) code = train_device_part(d, 0, 1);
        if (!code) code = train_device_update(d, 1, 1e-4);
        if (!code) code = train_device_finish(d, &step);
        if (!code && step.done.skipped)
            code = fail(ERR_FAILED, "a training step of the benchmark had a loss of %g and gradients of norm %g",
                        (double)step.scalar[0], step.done.norm);
        double took = clock_seconds() - start;
        if (i < 2) continue; /* the first two fill their slots */
        if (took < best) best = took;
        sum += took;
    }
    GpuPlan *gpu = train_device_plan(d);
    if (!code) code = gpu_plan_measure(gpu, SINGLE_ROUNDS);
    if (code) return code;
    tell_plan(what, gpu, plan, made, best, sum / (ROUNDS - 1));
    printf("%.0f pairs a second; %.0f MiB of its memory with gradients and optimiser\n", graph->options.pairs / best,
           (double)train_device_bytes(d) / 1048576);
    gpu_report_kernels(gpu, plan, stdout);
    printf("\n");
    return 0;
}

static int bench_training(const char *name, int width, int height, int pairs, const Device *device) {
    const S2m2Size *size = s2m2_size(name);
    GraphOptions options = {.network = {.channels = size->channels, .blocks = size->blocks, .refine_iterations = 3},
                            .width = width,
                            .height = height,
                            .pairs = pairs,
                            .part = GRAPH_FORWARD};
    TrainGraph graph = {0};
    ParameterStore *store = NULL;
    Optim *optim = NULL;
    Plan *plan = NULL;
    TrainDevice *d = NULL;
    int code = graph_record(&options, NULL, &graph);
    if (!code) code = store_make_trainable(graph.program, &store);
    if (code) goto done;
    const ParameterList *list = store_parameters(store);
    init_parameters(graph.program, list, 1, store_block(store));
    graph_drop(&graph);
    options.part = GRAPH_TRAIN;
    code = graph_record(&options, list, &graph);
    WeightSource source = store_source(store);
    double began = clock_seconds();
    if (!code) code = plan_make(graph.program, &source, NULL, (PlanOptions){.shape_only = true}, &plan);
    OptimOptions adamw = {.method = OPTIM_ADAMW, .decay = 1e-4, .clip = 1, .average = 0.999};
    if (!code) code = optim_make(list, &adamw, store_block(store), &optim);
    const Tensor *scalar[] = {graph.loss};
    TrainDeviceOptions there = {.program = graph.program,
                                .plan = plan,
                                .kernels = device->kernels,
                                .list = list,
                                .gradient = graph.gradient,
                                .seed = graph.seed,
                                .scalar = scalar,
                                .scalars = 1,
                                .parts = 1,
                                .optim = optim,
                                .weights = store_block(store)};
    if (!code) code = train_device_make(device->gpu, &there, &d);
    char what[80];
    snprintf(what, sizeof what, "a step of training %s, %d pair%s of %dx%d", name, pairs, pairs == 1 ? "" : "s", width,
             height);
    if (!code) code = time_steps(what, d, &graph, plan, clock_seconds() - began);
done:
    train_device_drop(d);
    plan_drop(plan);
    optim_drop(optim);
    graph_drop(&graph);
    store_close(store);
    return code;
}

int bench_device(DeviceChoice where, bool networks) {
    Device device;
    int code = device_open(where, DEVICE_UNTRIED, &device);
    if (code) return code;
    if (!device.gpu) return fail(ERR_DEVICE, "there is no GPU to measure; leave --device out to measure the CPU");
    const GpuFacts *f = &device.gpu->facts;
    printf("%s: sm_%d, %d multiprocessors\n", f->name, f->arch, f->multiprocessors);
    code = bench_copies(device.gpu);
    if (!code) code = bench_forward("s2m2-XS", 640, 480, &device);
    if (!code) code = bench_forward("s2m2-XS", 1920, 1056, &device);
    if (!code) code = bench_training("s2m2-XS", 256, 128, 4, &device);
    if (!code && networks) code = bench_forward("s2m2-S", 736, 480, &device);
    if (!code && networks) code = bench_forward("s2m2-L", 736, 480, &device);
    if (!code && networks) code = bench_training("s2m2-XS", 256, 128, 16, &device);
    if (!code && networks) code = bench_training("s2m2-S", 320, 256, 4, &device);
    device_close(&device);
    return code;
}
