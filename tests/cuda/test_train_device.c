/* Training on a device against training here: ten steps of each method on a small net, in parts, with groups, clipping,
 * an average and a step that must be skipped; going on on the other device; and that nothing is allocated on the way.
 */
#include "apps/lib/train_device.h"
#include "autograd/backward.h"
#include "base/mem.h"
#include "base/rng.h"
#include "nn/net.h"
#include "nn/store.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/cuda/simt/test_device.h"
#include "tests/lib/check.h"

#include <math.h>

enum { ROWS = 5, IN = 33, HIDDEN = 130, PARTS = 3, STEPS = 10, BAD_STEP = 4 }; /* IN x HIDDEN is more than a piece */

/* y = tanh(x a + b) c;  loss = mean (y - target)^2, which is a product with `mean`. */
typedef struct {
    Program *program;
    Tensor *x, *target, *mean, *seed, *loss;
    Tensor **gradient;
    const Tensor *scalar[2];
    ParameterStore *store;
    Optim *optim;
    Plan *plan;
    float *gradients;    /* here */
    TrainDevice *device; /* or there */
    KernelStore *kernels;
} Training;

static void record(Training *t) {
    t->program = program_make();
    Net net = {t->program};
    t->x = program_input(t->program, "x", DTYPE_F32, 3, (int64_t[]){1, ROWS, IN});
    t->target = program_input(t->program, "target", DTYPE_F32, 3, (int64_t[]){1, ROWS, 1});
    t->mean = program_input(t->program, "mean", DTYPE_F32, 3, (int64_t[]){1, 1, ROWS});
    t->seed = program_input(t->program, "seed", DTYPE_F32, 3, (int64_t[]){1, 1, 1});
    NN_SCOPE(&net, "net") {
        Tensor *a = nn_parameter(&net, "slow", 3, (int64_t[]){1, IN, HIDDEN});
        Tensor *b = nn_parameter(&net, "bias", 3, (int64_t[]){1, ROWS, HIDDEN});
        Tensor *c = nn_parameter(&net, "last", 3, (int64_t[]){1, HIDDEN, 1});
        Tensor *d = nn_parameter(&net, "frozen", 3, (int64_t[]){1, ROWS, 1});
        Tensor *y = t_add(t_matmul(t_tanh(t_add(t_matmul(t->x, a), b)), c), d);
        t->loss = t_matmul(t->mean, t_square(t_sub(y, t->target)));
    }
    program_output(t->program, "loss", t->loss);
    must(backward(t->loss, &(BackwardOptions){.seed = t->seed}));
    must(store_make_trainable(t->program, &t->store));
    const ParameterList *list = store_parameters(t->store);
    t->gradient = mem_zero((size_t)list->count, sizeof *t->gradient);
    for (int i = 0; i < program_tensors(t->program); i++) {
        const Tensor *w = program_tensor(t->program, i);
        if (w->kind != TENSOR_WEIGHT || w->base != w) continue;
        Tensor *g = gradient_of(w);
        t->gradient[parameters_find(list, w->name)] = g;
        if (g) program_output(t->program, w->name, g);
    }
    t->scalar[0] = t->scalar[1] = t->loss;
}

static void begin(Training *t, const OptimOptions *options, Gpu *gpu) {
    *t = (Training){0};
    record(t);
    const ParameterList *list = store_parameters(t->store);
    float *weights = store_block(t->store);
    for (int k = 0; k < list->count; k++)
        for (int64_t i = 0; i < list->at[k].count; i++)
            weights[list->at[k].offset + i] = (float)(0.2 * rng_signed((uint64_t)k + 1, (uint64_t)i));
    must(optim_make(list, options, weights, &t->optim));
    WeightSource source = store_source(t->store);
    must(plan_make(t->program, &source, NULL, (PlanOptions){.exact = true, .shape_only = gpu != NULL}, &t->plan));
    t->gradients = mem_zero((size_t)list->block, sizeof(float));
    if (!gpu) return;
    t->kernels = kernel_store_make(gpu);
    TrainDeviceOptions o = {t->program, t->plan,   GPU_F32, t->kernels, list,     t->gradient,
                            t->seed,    t->scalar, 2,       PARTS,      t->optim, weights};
    must(train_device_make(gpu, &o, &t->device));
}

static void end(Training *t) {
    train_device_drop(t->device);
    kernel_store_drop(t->kernels);
    plan_drop(t->plan);
    optim_drop(t->optim);
    program_drop(t->program);
    store_close(t->store);
    mem_free(t->gradient), mem_free(t->gradients);
}

/* The samples of a part. One step has a number that is none. */
static void fill(const Training *t, HostPlaces to, int step, int part) {
    float *x = to.at(to.context, t->x), *target = to.at(to.context, t->target), *mean = to.at(to.context, t->mean);
    uint64_t seed = (uint64_t)(100 + step * PARTS + part);
    for (int i = 0; i < ROWS * IN; i++) x[i] = (float)rng_signed(seed, (uint64_t)i);
    for (int i = 0; i < ROWS; i++) target[i] = (float)sin(x[i * IN] + x[i * IN + 1]), mean[i] = 1.0f / ROWS;
    if (step == BAD_STEP && part == 1) target[2] = INFINITY;
}

static const double loss_scale = 8, rate = 0.02;

static OptimStep step_here(Training *t, int step, double *loss) {
    const ParameterList *list = store_parameters(t->store);
    HostPlaces places = plan_places(t->plan);
    *loss = 0;
    for (int part = 0; part < PARTS; part++) {
        fill(t, places, step, part);
        *(float *)plan_data(t->plan, t->seed) = (float)loss_scale;
        must(plan_run(t->plan));
        *loss += (double)*(float *)plan_data(t->plan, t->loss);
        for (int k = 0; k < list->count; k++)
            for (int64_t i = 0; i < list->at[k].count; i++) {
                const float *g = t->gradient[k] ? plan_data(t->plan, t->gradient[k]) : NULL;
                float *to = &t->gradients[list->at[k].offset + i];
                *to = (part ? *to : 0) + (g ? g[i] : 0);
            }
    }
    double scale = isfinite(*loss) ? 1 / (loss_scale * PARTS) : NAN;
    return optim_step(t->optim, NULL, store_block(t->store), t->gradients, scale, rate);
}

static void send(Training *t, int step, int part) {
    must(train_device_await(t->device));
    fill(t, train_device_places(t->device), step, part);
    must(train_device_send(t->device));
}

/* The first part of `step` has been sent; that of the next is when it returns. */
static OptimStep step_there(Training *t, int step, double *loss) {
    for (int part = 0; part < PARTS; part++) {
        must(train_device_part(t->device, part, loss_scale));
        if (part + 1 < PARTS) send(t, step, part + 1);
    }
    must(train_device_update(t->device, 1 / (loss_scale * PARTS), rate));
    send(t, step + 1, 0);
    TrainDeviceStep done;
    must(train_device_finish(t->device, &done));
    *loss = 0;
    for (int part = 0; part < PARTS; part++) {
        *loss += (double)done.scalar[2 * part];
        assert_memory_equal(&done.scalar[2 * part], &done.scalar[2 * part + 1], 4);
    }
    return done.done;
}

/* Largest difference of two blocks, of the largest number in them. */
static double difference(const float *a, const float *b, int64_t count) {
    double most = 1e-30, worst = 0;
    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs((double)b[i]));
    for (int64_t i = 0; i < count; i++) {
        double e = fabs((double)a[i] - (double)b[i]);
        if (!(e <= worst)) worst = e; /* a NaN too */
    }
    return worst / most;
}

static void compare(const char *what, Training *there, Training *here, double bound) {
    int64_t count = store_parameters(here->store)->block;
    must(train_device_fetch(there->device));
    double worst[1 + OPTIM_BLOCKS] = {difference(store_block(there->store), store_block(here->store), count)};
    for (int b = 0; b < OPTIM_BLOCKS; b++) {
        const float *x = optim_block(there->optim, b), *y = optim_block(here->optim, b);
        assert_int_equal(x != NULL, y != NULL);
        if (x) worst[b + 1] = difference(x, y, count);
    }
    printf("  %-28s weights %.1e, moments %.1e %.1e, average %.1e\n", what, worst[0], worst[1], worst[2], worst[3]);
    for (int i = 0; i <= OPTIM_BLOCKS; i++)
        if (!(worst[i] <= bound)) fail_msg("%s: block %d differs by %g", what, i, worst[i]);
    assert_int_equal(optim_steps(there->optim), optim_steps(here->optim));
}

static const OptimGroup groups[] = {{.patterns = "*slow*", .rate = 0.25, .decay = 0.1},
                                    {.patterns = "*bias*", .rate = 1, .decay = 0},
                                    {.patterns = "*frozen*", .frozen = true}};

static void take_over(Training *to, Training *from) {
    size_t bytes = (size_t)store_parameters(to->store)->block * sizeof(float);
    memcpy(store_block(to->store), store_block(from->store), bytes);
    for (int b = 0; b < OPTIM_BLOCKS; b++)
        if (optim_block(to->optim, b)) memcpy(optim_block(to->optim, b), optim_block(from->optim, b), bytes);
    optim_set_steps(to->optim, optim_steps(from->optim));
}

static void run_case(const char *what, OptimOptions options, unsigned order) {
    Gpu *gpu;
    Training here, there;
    must(test_device_open((Emulated){.order = order}, &gpu));
    begin(&here, &options, NULL);
    begin(&there, &options, gpu);
    EmulatedUse made = test_device_use(gpu);
    uint64_t requests = 0;
    send(&there, 0, 0);
    for (int step = 0; step < STEPS; step++) {
        double a, b;
        OptimStep x = step_there(&there, step, &a);
        if (step == 1) requests = mem_use().requests;
        if (step > 1) assert_int_equal(mem_use().requests, requests);
        OptimStep y = step_here(&here, step, &b);
        assert_int_equal(x.skipped, step == BAD_STEP);
        assert_int_equal(y.skipped, step == BAD_STEP);
        if (x.skipped) continue;
        if (!(fabs(a - b) <= 1e-5 * fabs(b)) || !(fabs(x.norm - y.norm) <= 1e-5 * y.norm))
            fail_msg("%s, step %d: loss %g and %g, norm %g and %g", what, step, a, b, x.norm, y.norm);
        requests = mem_use().requests;
    }
    assert_int_equal(test_device_use(gpu).allocations, made.allocations);
    if (!test_device_is_real())
        assert_int_equal(made.memory_peak, train_device_bytes(there.device)); /* what it says it takes */
    compare(what, &there, &here, 1e-4);

    /* on from there here, and from here there: each as if it had never moved */
    Training moved;
    begin(&moved, &options, NULL);
    take_over(&moved, &there);
    take_over(&there, &here);
    must(train_device_put(there.device));
    double loss;
    for (int step = STEPS; step < STEPS + 3; step++) {
        step_here(&moved, step, &loss);
        step_here(&here, step, &loss);
        step_there(&there, step, &loss);
    }
    compare("  gone on there", &there, &here, 1e-4);
    take_over(&there, &moved);
    must(train_device_put(there.device));
    compare("  gone on here", &there, &here, 1e-4);
    end(&here), end(&there), end(&moved);
    assert_int_equal(test_device_use(gpu).memory, 0);
    gpu_close(gpu);
}

static void test_adamw(void **state) {
    (void)state;
    run_case(
        "adamw",
        (OptimOptions){.method = OPTIM_ADAMW, .decay = 0.01, .clip = 0.5, .average = 0.9, .group = groups, .groups = 3},
        1);
    run_case("adamw, nothing else", (OptimOptions){.method = OPTIM_ADAMW}, 5);
}

static void test_sgd(void **state) {
    (void)state;
    run_case("sgd with momentum", (OptimOptions){.method = OPTIM_SGD, .momentum = 0.9, .decay = 0.01, .clip = 1}, 0);
    run_case("sgd", (OptimOptions){.method = OPTIM_SGD, .average = 0.99, .group = groups, .groups = 3}, 7);
}

/* What was sent ahead and is not wanted any more leaves no trace. */
static void test_discard(void **state) {
    (void)state;
    Gpu *gpu;
    Training here, there;
    OptimOptions options = {.method = OPTIM_ADAMW, .clip = 1};
    double loss;
    must(test_device_open((Emulated){0}, &gpu));
    begin(&here, &options, NULL);
    begin(&there, &options, gpu);
    send(&there, 0, 0);
    for (int step = 0; step < 3; step++) {
        step_here(&here, step, &loss);
        step_there(&there, step, &loss);
        train_device_discard(there.device);
        if (step == 1) send(&there, 77, 0), train_device_discard(there.device);
        send(&there, step + 1, 0);
    }
    compare("discarded", &there, &here, 1e-4);
    end(&here), end(&there);
    gpu_close(gpu);
}

/* All memory that the device has, but for crumbs. */
typedef struct {
    void *block[400];
    int blocks;
} Ballast;

static void take_all(Gpu *gpu, Ballast *b) {
    size_t left;
    b->blocks = 0;
    must(gpu->call->memory_left(gpu, &left));
    for (size_t each = left; each >= 1024 && b->blocks < 180;) {
        if (gpu->call->memory(gpu, each, &b->block[b->blocks]))
            each /= 2;
        else
            b->blocks++;
    }
}

static void give_back(Gpu *gpu, Ballast *b) {
    while (b->blocks) gpu->call->memory_free(gpu, b->block[--b->blocks]);
}

/* Without room it says so, leaves nothing behind, and works once there is some. */
static void test_no_memory(void **state) {
    (void)state;
    Gpu *gpu;
    Training t, here;
    OptimOptions options = {.method = OPTIM_ADAMW};
    must(test_device_open((Emulated){.memory = 4 << 20}, &gpu));
    begin(&t, &options, gpu); /* kernels are there, and there is room */
    train_device_drop(t.device);
    Ballast ballast;
    take_all(gpu, &ballast);
    TrainDeviceOptions o = {t.program, t.plan, GPU_F32, t.kernels, store_parameters(t.store), t.gradient, t.seed,
                            t.scalar,  2,      PARTS,   t.optim,   store_block(t.store)};
    assert_int_equal(train_device_make(gpu, &o, &t.device), ERR_MEMORY);
    printf("  %s\n", err_sentence());
    assert_non_null(strstr(err_sentence(), "no room"));
    assert_null(t.device);
    give_back(gpu, &ballast);
    assert_int_equal(test_device_use(gpu).memory, 0);
    must(train_device_make(gpu, &o, &t.device));
    double loss;
    begin(&here, &options, NULL);
    send(&t, 0, 0);
    step_there(&t, 0, &loss);
    step_here(&here, 0, &loss);
    compare("after it had no memory", &t, &here, 1e-4);
    end(&t), end(&here);
    gpu_close(gpu);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_adamw), cmocka_unit_test(test_sgd),
                                       cmocka_unit_test(test_discard), cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
