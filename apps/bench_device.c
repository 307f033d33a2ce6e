/* apps/bench_device.c - `panum bench --device cuda`: what S2M2 and a step of its training take on a GPU, as one
 * captured graph and kernel by kernel, against what its multiply-adds and its copies reach in the same run. Numbers for
 * weights follow from names and seeds: nothing is looked at but time and memory. */
#include "apps/bench_device.h"
#include "apps/lib/bench.h"
#include "apps/lib/gpu_report.h"
#include "apps/lib/train_device.h"
#include "apps/lib/train_graph.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cuda/kernels/peak.h"
#include "nn/init.h"
#include "nn/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 20, ROUNDS_MOST = 50, SINGLE_ROUNDS = 5, COPIED_MOST = 256 << 20 };

typedef struct {
    Bench *bench;
    Device device;
    bool json;
    int rounds;
} DeviceBench;

static int single_rounds(const DeviceBench *b) {
    return b->rounds < SINGLE_ROUNDS ? b->rounds : SINGLE_ROUNDS;
}

/* ---- copies ---- */

typedef struct {
    GpuStream *stream;
    GpuEvent *from, *to;
    void *a, *b, *host;
    size_t bytes;
} Copies;

/* Gigabytes a second of the fastest of some copies, read and written counted for those on the device. */
static int copy_rate(Gpu *gpu, const Copies *c, GpuDirection direction, int rounds, double *rate) {
    *rate = 0;
    void *to = direction == GPU_TO_HOST ? c->host : c->b;
    const void *from = direction == GPU_TO_DEVICE ? c->host : c->a;
    int code = 0;
    for (int i = 0; !code && i < rounds; i++) {
        double seconds = 0;
        code = gpu->call->record(c->stream, c->from);
        if (!code) code = gpu->call->copy(c->stream, to, from, c->bytes, direction);
        if (!code) code = gpu->call->record(c->stream, c->to);
        if (!code) code = gpu->call->event_finish(c->to);
        if (!code) code = gpu->call->seconds(c->from, c->to, &seconds);
        double now = seconds > 0 ? (direction == GPU_ON_DEVICE ? 2 : 1) * (double)c->bytes / seconds / 1e9 : 0;
        if (now > *rate) *rate = now;
    }
    return code;
}

static int bench_copies(DeviceBench *b) {
    Gpu *gpu = b->device.gpu;
    Copies c = {.bytes = gpu->facts.memory / 16 < COPIED_MOST ? gpu->facts.memory / 16 : COPIED_MOST};
    double on = 0, up = 0, down = 0;
    int code = gpu->call->memory(gpu, c.bytes, &c.a);
    if (!code) code = gpu->call->memory(gpu, c.bytes, &c.b);
    if (!code) code = gpu->call->pinned(gpu, c.bytes, &c.host);
    if (!code) memset(c.host, 1, c.bytes);
    if (!code) code = gpu->call->stream(gpu, &c.stream);
    if (!code) code = gpu->call->event(gpu, &c.from);
    if (!code) code = gpu->call->event(gpu, &c.to);
    if (!code) code = gpu->call->fill(c.stream, c.a, 1, c.bytes);
    if (!code) code = copy_rate(gpu, &c, GPU_ON_DEVICE, b->rounds, &on);
    if (!code) code = copy_rate(gpu, &c, GPU_TO_DEVICE, b->rounds, &up);
    if (!code) code = copy_rate(gpu, &c, GPU_TO_HOST, b->rounds, &down);
    b->bench->peak_gbytes = on;
    b->bench->gbytes_up = up;
    b->bench->gbytes_down = down;
    if (!code && !b->json)
        printf("copies of %zu MiB: %.0f GB/s on the device (read and written), %.1f to it, %.1f from it\n",
               c.bytes >> 20, on, up, down);
    gpu->call->event_drop(c.from), gpu->call->event_drop(c.to);
    gpu->call->stream_drop(c.stream);
    gpu->call->pinned_free(gpu, c.host);
    gpu->call->memory_free(gpu, c.a), gpu->call->memory_free(gpu, c.b);
    return code;
}

/* ---- multiply-adds ---- */

typedef struct {
    const char *kernel, *define;
    double flops; /* of a thread and a round */
} PeakKind;

/* Rounds are doubled until a launch takes long enough for the clock; the fastest of some launches counts. */
static int measure_peak(const DeviceBench *b, PeakKind kind, double *gflops) {
    enum { BLOCKS = 8, THREADS = 256 };
    static const double enough = 2e-3;
    const GpuCalls *call = b->device.gpu->call;
    const GpuKernel *kernel;
    Copies c = {0};
    *gflops = 0;
    int code = kernel_store_get(b->device.kernels, "cuda/kernels/peak.cu", NULL, kind.define, kind.kernel, &kernel);
    if (!code) code = call->stream(b->device.gpu, &c.stream);
    if (!code) code = call->event(b->device.gpu, &c.from);
    if (!code) code = call->event(b->device.gpu, &c.to);
    const unsigned blocks = (unsigned)(BLOCKS * b->device.gpu->facts.multiprocessors);
    PeakArgs a = {.scale = 1, .rounds = 16};
    bool long_enough = false;
    for (int again = 0; !code && again < b->rounds; again += long_enough) {
        double seconds = 0, start = clock_seconds();
        code = call->record(c.stream, c.from);
        if (!code) code = call->launch(c.stream, kernel, (GpuLaunch){{blocks, 1, 1}, THREADS, 0}, &a, sizeof a);
        if (!code) code = call->record(c.stream, c.to);
        if (!code) code = call->event_finish(c.to);
        if (!code) code = call->seconds(c.from, c.to, &seconds);
        double now = seconds > 0 ? kind.flops * a.rounds * blocks * THREADS / seconds / 1e9 : 0;
        if (now > *gflops) *gflops = now;
        /* where the device's clock does not run (a dry run), ours ends it */
        if (!long_enough) long_enough = seconds >= enough || clock_seconds() - start >= 25 * enough;
        if (!long_enough) a.rounds *= 2;
    }
    call->event_drop(c.from), call->event_drop(c.to);
    call->stream_drop(c.stream);
    return code;
}

static int bench_peaks(DeviceBench *b) {
    static const PeakKind f32 = {"peak_f32", NULL, 2.0 * PEAK_CHAINS};
    static const PeakKind half = {"peak_half", "-DHALF_IS_F16", PEAK_PRODUCTS * 2.0 * 16 * 8 * 16 / 32};
    int code = measure_peak(b, f32, &b->bench->peak_gflops);
    if (!code && b->device.gpu->facts.form != GPU_EMBEDDED) code = measure_peak(b, half, &b->bench->peak_gflops_half);
    if (!code && !b->json)
        printf("peak %.0f GFLOP/s in f32, %.0f in f16 on tensor cores, measured just now\n\n", b->bench->peak_gflops,
               b->bench->peak_gflops_half);
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

typedef struct {
    double time[ROUNDS_MOST], made; /* seconds; made: until it was ready */
    int times;
    size_t before; /* bytes of the device's memory that were free before anything was made */
} Taken;

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A row for the whole, one for each kernel, one of memory; and the same for people. */
static int tell(const DeviceBench *b, const char *what, const char *shape, GpuPlan *gpu, const Plan *plan,
                size_t promised, Taken *taken) {
    KernelLine line[KERNEL_LINES_MAX];
    Bench *bench = b->bench;
    const PlanFacts p = plan_facts(plan);
    const GpuPlanFacts g = gpu_plan_facts(gpu);
    size_t left = 0;
    int code = b->device.gpu->call->memory_left(b->device.gpu, &left);
    if (code) return code;
    qsort(taken->time, (size_t)taken->times, sizeof *taken->time, by_value);
    const double best = taken->time[0], median = taken->time[taken->times / 2];
    const BenchRow *whole = bench_add(bench, what, shape, p.flops, p.traffic, 1e3 * best, 1e3 * median);
    char label[64];
    snprintf(label, sizeof label, "%s %s", what, shape);
    int lines = gpu_report_lines(gpu, plan, line);
    for (int k = 0; k < lines && line[k].seconds > 0 && bench->count < BENCH_ROWS_MAX; k++) {
        const double ms = 1e3 * line[k].seconds;
        BenchRow *row = bench_add(bench, line[k].kernel, label, line[k].flops, line[k].bytes, ms, ms);
        row->half = line[k].define && strstr(line[k].define, "LOAD_HALF");
        snprintf(row->note, sizeof row->note, "%d launches%s%s", line[k].launches, line[k].define ? ", " : "",
                 line[k].define ? line[k].define : "");
    }
    const double measured = (double)(taken->before > left ? taken->before - left : 0);
    if (bench->memory_count < BENCH_MEMORY_MAX) {
        BenchMemory *m = &bench->memory[bench->memory_count++];
        *m = (BenchMemory){.working = (double)g.block,
                           .weights = (double)g.weights,
                           .packed = (double)(promised - g.block - g.weights),
                           .measured = measured};
        snprintf(m->what, sizeof m->what, "%s", label);
    }
    if (b->json) return 0;
    printf("%s: %.3f ms (median %.3f) as a graph of %d launches, %.0f GFLOP/s, %.0f GB/s, %.0f %% of what bounds it; "
           "ready "
           "after %.1f s\n",
           label, 1e3 * best, 1e3 * median, g.launches, p.flops / best / 1e9, p.traffic / best / 1e9,
           100 * bench_share(bench, whole), taken->made);
    printf("%.0f MiB of its memory promised, %.0f taken with the code of its kernels\n", (double)promised / 1048576,
           measured / 1048576);
    gpu_report_kernels(gpu, plan, stdout);
    printf("\n");
    return 0;
}

static int time_forward(const DeviceBench *b, const char *what, const char *shape, Program *program,
                        const WeightSource *source) {
    Plan *plan;
    GpuPlan *gpu = NULL;
    Taken taken = {0};
    double began = clock_seconds();
    int code = plan_make(program, source, NULL, (PlanOptions){.shape_only = true}, &plan);
    if (code) return code;
    code = b->device.gpu->call->memory_left(b->device.gpu, &taken.before);
    if (!code) code = gpu_plan_make(plan, source, b->device.gpu, (GpuPlanOptions){.kernels = b->device.kernels}, &gpu);
    taken.made = clock_seconds() - began;
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
    for (int i = 0; !code && i < b->rounds; i++) {
        double start = clock_seconds();
        code = gpu_plan_run(gpu);
        taken.time[taken.times++] = clock_seconds() - start;
    }
    if (!code) code = gpu_plan_measure(gpu, single_rounds(b));
    if (!code) {
        GpuPlanFacts g = gpu_plan_facts(gpu);
        code = tell(b, what, shape, gpu, plan, g.block + g.weights + g.extra, &taken);
    }
    gpu_plan_drop(gpu);
    plan_drop(plan);
    return code;
}

/* Is it among what --only asks for? */
static bool wanted(const DeviceBench *b, const char *what, const char *shape) {
    char label[128];
    snprintf(label, sizeof label, "%s %s", what, shape);
    return bench_wants(b->bench, label);
}

static int bench_forward(const DeviceBench *b, const char *name, int width, int height) {
    char shape[32];
    snprintf(shape, sizeof shape, "%dx%d", width, height);
    if (!wanted(b, name, shape)) return 0;
    const S2m2Size *size = s2m2_size(name);
    Program *program = program_make();
    ParameterStore *store = NULL;
    int code = program ? store_make_seeded(&store) : (int)ERR_MEMORY;
    if (!code) {
        Net net = {program};
        Tensor *pictures = program_input(program, "pictures", DTYPE_U8, 4, (int64_t[]){2, 3, height, width});
        s2m2(&net, pictures, (S2m2Options){.channels = size->channels, .blocks = size->blocks, .refine_iterations = 3});
        WeightSource source = store_source(store);
        code = time_forward(b, name, shape, program, &source);
    }
    store_close(store);
    program_drop(program);
    return code;
}

/* ---- a step of training: forward, backward, AdamW, as `panum train` runs it but for the samples ---- */

static int time_steps(const DeviceBench *b, const char *what, const char *shape, TrainDevice *d,
                      const TrainGraph *graph, const Plan *plan, Taken *taken) {
    int code = 0;
    HostPlaces to = train_device_places(d);
    for (int i = 0; !code && i < b->rounds + 2; i++) {
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
        if (i >= 2) taken->time[taken->times++] = took; /* the first two fill their slots */
    }
    GpuPlan *gpu = train_device_plan(d);
    if (!code) code = gpu_plan_measure(gpu, single_rounds(b));
    return code ? code : tell(b, what, shape, gpu, plan, train_device_bytes(d), taken);
}

/* In 16 bits the rows end in -f16 or -bf16. */
static int bench_training(const DeviceBench *b, const char *name, int width, int height, int pairs,
                          GpuStorage storage) {
    static const char *const ends[] = {"", "-f16", "-bf16"};
    char what[32], shape[48];
    if (storage == GPU_BF16 && b->device.gpu->facts.arch < 80) return 0;
    snprintf(what, sizeof what, "train-%s%s", name, ends[storage]);
    snprintf(shape, sizeof shape, "%dx%d, %d pair%s", width, height, pairs, pairs == 1 ? "" : "s");
    if (!wanted(b, what, shape)) return 0;
    Taken taken = {0};
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
    const PlanOptions shapes = {.shape_only = true, .halves = storage == GPU_F32 ? NULL : gpu_halves};
    if (!code) code = plan_make(graph.program, &source, NULL, shapes, &plan);
    OptimOptions adamw = {.method = OPTIM_ADAMW, .decay = 1e-4, .clip = 1, .average = 0.999};
    if (!code) code = optim_make(list, &adamw, store_block(store), &optim);
    const Tensor *scalar[] = {graph.loss};
    TrainDeviceOptions there = {.program = graph.program,
                                .plan = plan,
                                .storage = storage,
                                .kernels = b->device.kernels,
                                .list = list,
                                .gradient = graph.gradient,
                                .seed = graph.seed,
                                .scalar = scalar,
                                .scalars = 1,
                                .parts = 1,
                                .optim = optim,
                                .weights = store_block(store)};
    if (!code) code = b->device.gpu->call->memory_left(b->device.gpu, &taken.before);
    if (!code) code = train_device_make(b->device.gpu, &there, &d);
    taken.made = clock_seconds() - began;
    if (!code) code = time_steps(b, what, shape, d, &graph, plan, &taken);
done:
    train_device_drop(d);
    plan_drop(plan);
    optim_drop(optim);
    graph_drop(&graph);
    store_close(store);
    return code;
}

/* Small pictures say what launches cost; the others are those of the CPU's rows. */
static int bench_all(DeviceBench *b, bool networks) {
    int code = bench_copies(b);
    if (!code) code = bench_peaks(b);
    if (!code) code = bench_forward(b, "s2m2-XS", 64, 32);
    if (!code) code = bench_forward(b, "s2m2-XS", 640, 480);
    if (!code) code = bench_forward(b, "s2m2-XS", 1920, 1056);
    for (int s = GPU_F32; !code && s <= GPU_BF16; s++) code = bench_training(b, "s2m2-XS", 256, 128, 4, (GpuStorage)s);
    if (!code && networks) code = bench_forward(b, "s2m2-S", 736, 480);
    if (!code && networks) code = bench_forward(b, "s2m2-L", 736, 480);
    for (int s = GPU_F32; !code && networks && s <= GPU_F16; s++) {
        code = bench_training(b, "s2m2-XS", 256, 128, 16, (GpuStorage)s);
        if (!code) code = bench_training(b, "s2m2-S", 320, 256, 4, (GpuStorage)s);
    }
    return code;
}

int bench_device(DeviceChoice where, DeviceBenchOptions options) {
    DeviceBench b = {.json = options.json, .rounds = options.rounds ? options.rounds : ROUNDS};
    int code = device_open(where, DEVICE_UNTRIED, &b.device);
    if (code) return code;
    if (!b.device.gpu) return fail(ERR_DEVICE, "there is no GPU to measure; leave --device out to measure the CPU");
    const GpuFacts *f = &b.device.gpu->facts;
    b.bench = mem_alloc(sizeof *b.bench);
    if (!b.bench) {
        device_close(&b.device);
        return ERR_MEMORY;
    }
    bench_begin(b.bench, options.only);
    b.bench->gpu = f;
    if (!b.json) printf("%s: sm_%d, %d multiprocessors, %s\n", f->name, f->arch, f->multiprocessors, f->compiler);
    code = bench_all(&b, options.networks);
    if (!code && !b.bench->count)
        code = fail(ERR_USAGE, "--only %s: nothing that is measured on a GPU begins so", options.only);
    if (!code && b.json) bench_print_json(b.bench, stdout);
    mem_free(b.bench);
    device_close(&b.device);
    return code;
}
