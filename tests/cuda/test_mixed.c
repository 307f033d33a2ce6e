/* Mixed precision: programs with their gradients in 16 bits on the emulated device against the f32 CPU, by the names of
 * the parameters; steps of S2M2 with every loss, planned; ten steps of AdamW in f16 beside f32; a loss scale that is
 * far too large. bf16 and the plain rungs with the argument "all", as make test-emulated and make operators have it. */
#include "apps/lib/train_device.h"
#include "apps/lib/train_graph.h"
#include "autograd/backward.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cuda/paper.h"
#include "exec/steps.h"
#include "nn/net.h"
#include "nn/store.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/cuda/simt/seen.h"
#include "tests/cuda/simt/test_device.h"
#include "tests/lib/check.h"

#include <math.h>
#include <string.h>

/* ---- a network of every operator that has a gradient of weights or of tokens ---- */

typedef struct {
    Program *program;
    Tensor *x, *seed, *loss;
} Network;

static Network record(int64_t h, int64_t w, int64_t channels) {
    Network n = {.program = program_make()};
    Net net = {n.program};
    n.x = program_input(n.program, "x", DTYPE_F32, 4, (int64_t[]){2, 3, h, w});
    n.seed = program_input(n.program, "seed", DTYPE_F32, 1, (int64_t[]){1});
    NN_SCOPE(&net, "net") {
        Tensor *a = t_relu(nn_conv3(&net, "a", n.x, channels)); /* x is f32, what comes back is not */
        Tensor *b = t_conv2d(a, nn_parameter(&net, "b", 4, (int64_t[]){2 * channels, channels, 3, 3}), NULL,
                             .stride = 2, .pad_h = 1, .pad_w = 1);
        Tensor *tokens = t_tokens(t_gelu(b));
        Tensor *norm = nn_layer_norm(&net, "n", tokens);
        Tensor *q = nn_linear(&net, "q", norm, 2 * channels, WITHOUT_BIAS);
        Tensor *k = nn_linear(&net, "k", norm, 2 * channels, WITHOUT_BIAS);
        Tensor *v = nn_linear(&net, "v", norm, 2 * channels, WITHOUT_BIAS);
        tokens = t_add(tokens, t_attention(q, k, v, .heads = 3));
        tokens = t_add(tokens, nn_linear(&net, "l", t_gelu(nn_layer_norm(&net, "m", tokens)), 2 * channels, WITH_BIAS));
        Tensor *scores = t_matmul_nt(tokens, norm);
        Tensor *gathered = t_matmul(t_softmax(t_affine(scores, 0.1, 0)), tokens);
        Tensor *u = t_conv_transpose2d(t_map(t_add(tokens, gathered), 2, h / 2, w / 2),
                                       nn_parameter(&net, "u", 4, (int64_t[]){2 * channels, channels, 2, 2}), NULL,
                                       .stride = 2);
        Tensor *odd = t_tanh(nn_conv3(&net, "odd", t_cat(1, a, u), 13)); /* channels by no pieces of 16 bytes */
        n.loss = t_mean(t_square(t_affine(nn_conv1(&net, "y", odd, 1), 1, -0.5)));
    }
    program_output(n.program, "loss", n.loss);
    must(backward(n.loss, &(BackwardOptions){.seed = n.seed}));
    for (int i = program_tensors(n.program) - 1; i >= 0; i--) {
        const Tensor *t = program_tensor(n.program, i);
        char name[80];
        if (t->kind != TENSOR_WEIGHT || t->base != t) continue;
        snprintf(name, sizeof name, "grad.%s", t->name);
        program_output(n.program, name, gradient_of(t));
    }
    return n;
}

static void fill_pictures(float *to, int64_t count, int step) {
    for (int64_t i = 0; i < count; i++) to[i] = (float)rng_signed((uint64_t)step + 9, (uint64_t)i);
}

/* Lengths of b and of a - b. */
static void lengths(const float *a, const float *b, int64_t count, double *length, double *off) {
    double square = 0, apart = 0;
    for (int64_t i = 0; i < count; i++) {
        const double e = (double)a[i] - (double)b[i];
        square += (double)b[i] * (double)b[i];
        apart += e * e;
    }
    *length = sqrt(square), *off = sqrt(apart);
}

/* Every output: how far off it is, of its own length or a thousandth of that of all of them. Scaled by a power of two,
 * as a loss scale is: what comes back is `scale` times the gradients. */
static void compare(const char *what, Network n, PlanWay way, float scale, double bound) {
    ParameterStore *store;
    Plan *cpu, *shape;
    Gpu *gpu;
    GpuPlan *plan;
    must(store_make_seeded(&store));
    WeightSource source = store_source(store);
    way.plan.exact = true;
    must(plan_make(n.program, &source, NULL, way.plan, &cpu));
    way.plan.shape_only = true;
    way.plan.halves = gpu_halves;
    must(plan_make(n.program, &source, NULL, way.plan, &shape));
    must(test_device_open(way.device, &gpu));
    must(gpu_plan_make(shape, &source, gpu, way.gpu, &plan));
    fill_pictures(plan_data(cpu, n.x), tensor_count(n.x), 0);
    *(float *)plan_data(cpu, n.seed) = 1;
    must(gpu_plan_write(plan, n.x, plan_data(cpu, n.x)));
    must(gpu_plan_write(plan, n.seed, &scale));
    must(plan_run(cpu));
    must(gpu_plan_run(plan));
    double all = 0, worst = 0, length, off;
    const char *name, *worst_name = "";
    for (int i = 1; i < program_outputs(n.program); i++) {
        const Tensor *t = program_output_at(n.program, i, &name);
        lengths(plan_data(cpu, t), plan_data(cpu, t), tensor_count(t), &length, &off);
        all += length * length;
    }
    for (int i = 0; i < program_outputs(n.program); i++) {
        const Tensor *t = program_output_at(n.program, i, &name);
        const int64_t count = tensor_count(t);
        float *got = mem_array((size_t)count, sizeof *got);
        must(gpu_plan_read(plan, t, got));
        for (int64_t k = 0; i && k < count; k++) got[k] /= scale;
        lengths(got, plan_data(cpu, t), count, &length, &off);
        const double error = off / fmax(length, 1e-3 * sqrt(all));
        if (!(error <= bound)) fail_msg("%s: %s is off by %.1e of its length", what, name, error);
        if (error > worst) worst = error, worst_name = name;
        mem_free(got);
    }
    int halves = 0, values = 0;
    for (int i = 0; i < program_tensors(n.program); i++) {
        const Tensor *t = program_tensor(n.program, i);
        if (t->base != t || t->kind != TENSOR_VALUE || plan_place(shape, t) < 0) continue;
        values++, halves += plan_half(shape, t);
    }
    printf("  %-20s %3d launches, %2d of %2d values in 16 bits, %d gradients, worst %s %.1e\n", what,
           gpu_plan_facts(plan).launches, halves, values, program_outputs(n.program) - 1, worst_name, worst);
    operators_seen(shape, way.gpu.storage);
    gpu_plan_drop(plan);
    gpu_close(gpu);
    plan_drop(cpu), plan_drop(shape);
    store_close(store);
    program_drop(n.program);
}

/* A number is rounded to 11 bits (f16) or 8 (bf16) each time it is stored, some ten times on the way there and back;
 * rounding errors are independent, so they add up as their root: 2^-12 sqrt(20) = 1.1e-3, 2^-9 sqrt(20) = 8.7e-3, and
 * a few times that where a gradient is a difference of larger ones. */
static void test_gradients(void **state) {
    (void)state;
    compare("f16", record(6, 10, 24), (PlanWay){{0}, {.storage = GPU_F16}, {0}}, 1024, 6e-3);
}

static void test_more_gradients(void **state) {
    (void)state;
    compare("bf16", record(4, 8, 24), (PlanWay){{0}, {.storage = GPU_BF16}, {.order = 1}}, 1, 5e-2);
    compare("f16, plain rungs", record(4, 6, 24),
            (PlanWay){{.interpret = true}, {.rung = RUNG_PLAIN, .storage = GPU_F16}, {.order = 7}}, 1024, 6e-3);
}

/* ---- training of S2M2 ---- */

/* What a gradient of a weight goes through is f32: sums of several are not rounded on the way. */
static void check_weight_gradients(const Program *program, const Plan *plan) {
    int gradients = 0;
    for (int i = 0; i < program_nodes(program); i++) {
        const Node *node = program_node(program, i);
        for (int k = 0; k < node->inputs; k++) {
            const Node *from = node->input[k] ? node->input[k]->base->node : NULL;
            if (!from || !strstr(from->op->name, "_weight_gradient")) continue;
            assert_false(plan_half(plan, node->input[k]->base) || plan_half(plan, node->output[0]->base));
            gradients++;
        }
    }
    assert_true(gradients > 50);
}

static void plan_step_of(const CinematicWeights *films, LossRule rule, GpuStorage storage, int arch) {
    const S2m2Size *xs = s2m2_size("XS");
    GraphOptions o = {.network = {.channels = xs->channels,
                                  .blocks = xs->blocks,
                                  .refine_iterations = 3,
                                  .cinematic_occlusion = films != NULL},
                      .part = GRAPH_LOSSES,
                      .width = 128,
                      .height = 96,
                      .pairs = 1,
                      .cinematic = films,
                      .rule = rule};
    TrainGraph graph;
    must(graph_record(&o, NULL, &graph));
    ParameterList *list = parameters_of(graph.program);
    graph_drop(&graph);
    o.part = GRAPH_TRAIN;
    must(graph_record(&o, list, &graph));
    ParameterStore *store;
    must(store_make_seeded(&store));
    WeightSource source = store_source(store);
    Plan *plan, *f32;
    Gpu *gpu;
    GpuPlan *on_gpu;
    must(plan_make(graph.program, NULL, NULL, (PlanOptions){.shape_only = true}, &f32));
    must(plan_make(graph.program, NULL, NULL, (PlanOptions){.shape_only = true, .halves = gpu_halves}, &plan));
    must(paper_open(arch, &gpu));
    must(gpu_plan_make(plan, &source, gpu, (GpuPlanOptions){.storage = storage}, &on_gpu));
    check_weight_gradients(graph.program, plan);
    const double share = (double)plan_facts(plan).bytes / (double)plan_facts(f32).bytes;
    printf("  sm_%d: %d launches, %.2f of the memory of f32\n", arch, gpu_plan_facts(on_gpu).launches, share);
    assert_true(share < 0.55);
    gpu_plan_drop(on_gpu);
    gpu_close(gpu);
    plan_drop(plan), plan_drop(f32);
    graph_drop(&graph);
    parameters_drop(list);
    store_close(store);
}

/* Every loss: each operator of a step has a kernel that takes what it is given, and nearly all of it is in 16 bits. */
static void test_losses(void **state) {
    (void)state;
    plan_step_of(NULL, LOSS_OURS, GPU_F16, 75);
    plan_step_of(NULL, LOSS_OURS, GPU_BF16, 80);
    plan_step_of(&cinematic_phase_3, LOSS_OURS, GPU_BF16, 90);
    plan_step_of(&cinematic_phase_1, LOSS_REFERENCE, GPU_F16, 120);
}

/* ---- steps ---- */

enum { STEPS = 10, SCALE_PATIENCE = 4 };
static const double rate = 2e-3, sound_scale = 1024, absurd_scale = 1e30;

typedef struct {
    Network n;
    ParameterStore *store;
    Optim *optim;
    Plan *plan;
    Tensor **gradient;
    float *gradients;    /* here */
    TrainDevice *device; /* or there */
    KernelStore *kernels;
} Training;

static void begin(Training *t, Gpu *gpu) {
    *t = (Training){.n = record(4, 6, 24)};
    must(store_make_trainable(t->n.program, &t->store));
    const ParameterList *list = store_parameters(t->store);
    float *weights = store_block(t->store);
    t->gradient = mem_zero((size_t)list->count, sizeof *t->gradient);
    t->gradients = mem_zero((size_t)list->block, sizeof(float));
    for (int k = 0; k < list->count; k++) {
        char name[80];
        snprintf(name, sizeof name, "grad.%s", list->at[k].name);
        t->gradient[k] = program_find(t->n.program, name);
        for (int64_t i = 0; i < list->at[k].count; i++)
            weights[list->at[k].offset + i] = (float)(0.15 * rng_signed((uint64_t)k + 1, (uint64_t)i));
    }
    must(optim_make(list, &(OptimOptions){.method = OPTIM_ADAMW, .clip = 1, .average = 0.9}, weights, &t->optim));
    WeightSource source = store_source(t->store);
    must(plan_make(t->n.program, &source, NULL,
                   (PlanOptions){.exact = true, .shape_only = gpu != NULL, .halves = gpu ? gpu_halves : NULL},
                   &t->plan));
    if (!gpu) return;
    t->kernels = kernel_store_make(gpu);
    const Tensor *scalar[] = {t->n.loss};
    must(train_device_make(gpu,
                           &(TrainDeviceOptions){.program = t->n.program,
                                                 .plan = t->plan,
                                                 .storage = GPU_F16,
                                                 .kernels = t->kernels,
                                                 .list = list,
                                                 .gradient = t->gradient,
                                                 .seed = t->n.seed,
                                                 .scalar = scalar,
                                                 .scalars = 1,
                                                 .parts = 1,
                                                 .optim = t->optim,
                                                 .weights = weights},
                           &t->device));
}

static void end(Training *t) {
    train_device_drop(t->device);
    kernel_store_drop(t->kernels);
    plan_drop(t->plan);
    optim_drop(t->optim);
    store_close(t->store);
    program_drop(t->n.program);
    mem_free(t->gradient), mem_free(t->gradients);
}

static OptimStep step_here(Training *t, int step, double *loss) {
    const ParameterList *list = store_parameters(t->store);
    fill_pictures(plan_data(t->plan, t->n.x), tensor_count(t->n.x), step);
    *(float *)plan_data(t->plan, t->n.seed) = 1;
    must(plan_run(t->plan));
    *loss = (double)*(float *)plan_data(t->plan, t->n.loss);
    for (int k = 0; k < list->count; k++)
        memcpy(t->gradients + list->at[k].offset, plan_data(t->plan, t->gradient[k]),
               (size_t)list->at[k].count * sizeof(float));
    const OptimStep step_done = optim_step(t->optim, NULL, store_block(t->store), t->gradients, 1, rate);
    plan_repack(t->plan);
    return step_done;
}

static OptimStep step_there(Training *t, int step, const LossScale *scale, double *loss) {
    must(train_device_await(t->device));
    HostPlaces places = train_device_places(t->device);
    fill_pictures(places.at(places.context, t->n.x), tensor_count(t->n.x), step);
    must(train_device_send(t->device));
    must(train_device_part(t->device, 0, scale->scale));
    must(train_device_update(t->device, 1 / scale->scale, rate));
    TrainDeviceStep done;
    must(train_device_finish(t->device, &done));
    *loss = (double)done.scalar[0];
    return done.done;
}

/* Ten steps in f16 beside f32. First the loss scale is far too large: nothing but the scale changes. */
static void test_steps(void **state) {
    (void)state;
    Gpu *gpu;
    Training here, there;
    must(test_device_open((Emulated){.unwatched = true}, &gpu));
    begin(&here, NULL);
    begin(&there, gpu);
    const ParameterList *list = store_parameters(here.store);
    const size_t bytes = (size_t)list->block * sizeof(float);
    float *began = mem_alloc(bytes);
    memcpy(began, store_block(here.store), bytes);

    LossScale scale = {.scale = absurd_scale, .patience = SCALE_PATIENCE};
    double a, b, worst = 0;
    OptimStep there_step = step_there(&there, 0, &scale, &a);
    assert_true(there_step.skipped && !isfinite(there_step.norm) && isfinite(a));
    loss_scale_update(&scale, there_step.skipped);
    assert_true(scale.scale == absurd_scale / 2);
    must(train_device_fetch(there.device));
    assert_memory_equal(store_block(there.store), began, bytes);
    assert_memory_equal(optim_block(there.optim, OPTIM_AVERAGE), began, bytes);
    for (int64_t i = 0; i < list->block; i++)
        assert_true(optim_block(there.optim, OPTIM_MOMENT1)[i] == 0 && optim_block(there.optim, OPTIM_MOMENT2)[i] == 0);
    assert_int_equal(optim_steps(there.optim), 0);

    scale = (LossScale){.scale = sound_scale, .patience = SCALE_PATIENCE};
    for (int step = 0; step < STEPS; step++) {
        there_step = step_there(&there, step, &scale, &a);
        loss_scale_update(&scale, there_step.skipped);
        const OptimStep here_step = step_here(&here, step, &b);
        assert_false(there_step.skipped || here_step.skipped);
        const double off = fabs(a - b) / b, norm = fabs(there_step.norm - here_step.norm) / here_step.norm;
        if (!(off <= 1e-2) || !(norm <= 5e-2))
            fail_msg("step %d: loss %g and %g, norm %g and %g", step, a, b, there_step.norm, here_step.norm);
        worst = fmax(worst, off);
    }
    assert_true(scale.scale == sound_scale * 4); /* twice four good steps in a row, and two more */
    must(train_device_fetch(there.device));
    /* AdamW's first steps are as large for a small gradient as for a large one: rounding turns some of them around */
    double moved, apart;
    for (int64_t i = 0; i < list->block; i++) here.gradients[i] = store_block(here.store)[i] - began[i];
    for (int64_t i = 0; i < list->block; i++) began[i] = store_block(there.store)[i] - began[i];
    lengths(began, here.gradients, list->block, &moved, &apart);
    printf("  ten steps: losses differ by %.1e at most, weights by %.1e of how far they have moved\n", worst,
           apart / moved);
    assert_true(apart / moved < 0.1);
    mem_free(began);
    end(&here), end(&there);
    assert_int_equal(test_device_use(gpu).memory, 0);
    gpu_close(gpu);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_losses), cmocka_unit_test(test_gradients),
                                       cmocka_unit_test(test_steps)};
    const struct CMUnitTest more[] = {cmocka_unit_test(test_more_gradients)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (argc > 1 && strcmp(argv[1], "all") == 0) failed += cmocka_run_group_tests(more, NULL, NULL);
    return failed;
}
