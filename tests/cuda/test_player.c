/* Players: the same program here and on a device; runs that overlap; weights that change between runs; an external
 * block of weights that two plans share; and that nothing is allocated from the second run on. */
#include "base/mem.h"
#include "base/rng.h"
#include "exec/player.h"
#include "nn/net.h"
#include "nn/store.h"
#include "tensor/ops/ops.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/cuda/simt/test_device.h"
#include "tests/lib/check.h"

#include <math.h>

enum { ROWS = 9, WIDE = 21, RUNS = 6 };

typedef struct {
    Program *program;
    Tensor *x, *bytes, *y, *z;
    ParameterStore *store;
    WeightSource source;
} Net2;

static Net2 record(void) {
    Net2 n = {.program = program_make()};
    Net net = {n.program};
    n.x = program_input(n.program, "x", DTYPE_F32, 3, (int64_t[]){1, ROWS, WIDE});
    n.bytes = program_input(n.program, "bytes", DTYPE_U8, 3, (int64_t[]){1, ROWS, WIDE});
    NN_SCOPE(&net, "net") {
        Tensor *h = t_add(n.x, t_from_u8(n.bytes, 1.0 / 255, 0));
        h = t_gelu(nn_linear(&net, "a", h, 40, WITH_BIAS));
        n.y = nn_linear(&net, "b", h, WIDE, WITH_BIAS);
        n.z = t_softmax(n.y);
    }
    program_output(n.program, "y", n.y);
    program_output(n.program, "z", n.z);
    must(store_make_trainable(n.program, &n.store));
    n.source = store_source(n.store);
    return n;
}

static void end(Net2 *n) {
    program_drop(n->program);
    store_close(n->store);
}

static void set_weights(const Net2 *n, uint64_t seed) {
    const ParameterList *list = store_parameters(n->store);
    for (int64_t i = 0; i < list->block; i++) store_block(n->store)[i] = (float)(0.3 * rng_signed(seed, (uint64_t)i));
}

static void fill(const Net2 *n, const Player *p, uint64_t run) {
    float *x = player_data(p, n->x);
    uint8_t *bytes = player_data(p, n->bytes);
    for (int i = 0; i < ROWS * WIDE; i++) {
        x[i] = (float)rng_signed(run + 1, (uint64_t)i);
        bytes[i] = (uint8_t)(37 * i + (int)run);
    }
}

static void compare(const Net2 *n, const Player *there, const Player *here, const char *what) {
    const Tensor *const all[] = {n->y, n->z};
    double bound = 2e-6 * test_device_slack();
    for (int k = 0; k < 2; k++) {
        const float *a = player_data(there, all[k]), *b = player_data(here, all[k]);
        for (int i = 0; i < ROWS * WIDE; i++)
            if (!(fabs((double)a[i] - (double)b[i]) <= bound * fmax(1, fabs((double)b[i]))))
                fail_msg("%s: output %d[%d] is %.9g there and %.9g here", what, k, i, (double)a[i], (double)b[i]);
    }
}

static void run_here(const Net2 *n, Player *here, uint64_t run) {
    fill(n, here, run);
    must(player_run(here));
}

static void test_runs(void **state) {
    (void)state;
    for (int slots = 0; slots <= 2; slots++) {
        Net2 n = record();
        Gpu *gpu;
        Player *here, *there;
        must(test_device_open((Emulated){.order = (unsigned)slots}, &gpu));
        set_weights(&n, 3);
        PlayerOptions options = {.plan = {.exact = true}};
        must(player_make(n.program, &n.source, NULL, options, &here));
        assert_int_equal(player_device_bytes(here), 0);
        options.gpu = gpu;
        options.slots = slots;
        must(player_make(n.program, &n.source, NULL, options, &there));
        EmulatedUse made = test_device_use(gpu);
        if (!test_device_is_real()) assert_int_equal(made.memory_peak, player_device_bytes(there));
        uint64_t requests = 0;
        for (uint64_t run = 0; run < RUNS; run++) {
            if (run == RUNS / 2) { /* other weights from here on */
                set_weights(&n, 4);
                must(player_reload(here));
                must(player_reload(there));
            }
            run_here(&n, here, run);
            if (run == 1) requests = mem_use().requests;
            fill(&n, there, run);
            must(player_run(there));
            compare(&n, there, here, "one after another");
            if (run >= 1) assert_int_equal(mem_use().requests, requests);
        }
        assert_int_equal(test_device_use(gpu).allocations, made.allocations);
        player_drop(there), player_drop(here);
        assert_int_equal(test_device_use(gpu).memory, 0);
        gpu_close(gpu);
        end(&n);
    }
}

/* The next run is filled and started while one is computed, and its outputs are read while the next is. */
static void test_overlapping(void **state) {
    (void)state;
    Net2 n = record();
    Gpu *gpu;
    Player *here, *there;
    must(test_device_open((Emulated){.order = 5}, &gpu));
    set_weights(&n, 3);
    PlayerOptions options = {.plan = {.exact = true}};
    must(player_make(n.program, &n.source, NULL, options, &here));
    options.gpu = gpu;
    options.slots = 2;
    must(player_make(n.program, &n.source, NULL, options, &there));
    for (uint64_t run = 0; run <= RUNS; run++) {
        if (run < RUNS) {
            must(player_await(there));
            fill(&n, there, run);
            must(player_start(there));
        }
        if (!run) continue;
        must(player_finish(there));
        run_here(&n, here, run - 1);
        compare(&n, there, here, "overlapping");
    }
    player_drop(there), player_drop(here);
    gpu_close(gpu);
    end(&n);
}

static int64_t place(const void *context, const Tensor *weight) {
    const ParameterList *list = store_parameters(((const Net2 *)context)->store);
    return list->at[parameters_find(list, weight->name)].offset * (int64_t)sizeof(float);
}

/* Two plans, one block of weights, one store of kernels: what is compiled for the first serves the second. */
static void test_shared(void **state) {
    (void)state;
    Net2 n = record();
    Gpu *gpu;
    Player *here, *there[2];
    must(test_device_open((Emulated){0}, &gpu));
    set_weights(&n, 3);
    must(player_make(n.program, &n.source, NULL, (PlayerOptions){.plan = {.exact = true}}, &here));
    size_t bytes = (size_t)store_parameters(n.store)->block * sizeof(float);
    GpuWeights weights = {.place = place, .context = &n};
    GpuStream *stream;
    KernelStore *kernels = kernel_store_make(gpu);
    must(gpu->call->memory(gpu, bytes, &weights.block));
    must(gpu->call->stream(gpu, &stream));
    PlayerOptions options = {.gpu = gpu, .on_gpu = {.weights = &weights, .kernels = kernels}};
    must(player_make(n.program, &n.source, NULL, options, &there[0]));
    int modules = kernel_store_modules(kernels);
    must(player_make(n.program, &n.source, NULL, options, &there[1]));
    assert_int_equal(kernel_store_modules(kernels), modules);
    for (uint64_t run = 0; run < 2; run++) {
        set_weights(&n, 10 + run);
        must(player_reload(here));
        must(gpu->call->copy(stream, weights.block, store_block(n.store), bytes, GPU_TO_DEVICE));
        must(gpu->call->finish(stream));
        run_here(&n, here, run);
        for (int k = 0; k < 2; k++) {
            fill(&n, there[k], run);
            must(player_run(there[k]));
            compare(&n, there[k], here, "shared");
        }
    }
    player_drop(there[0]), player_drop(there[1]), player_drop(here);
    kernel_store_drop(kernels);
    gpu->call->memory_free(gpu, weights.block);
    gpu->call->stream_drop(stream);
    assert_int_equal(test_device_use(gpu).memory, 0);
    gpu_close(gpu);
    end(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_runs), cmocka_unit_test(test_overlapping),
                                       cmocka_unit_test(test_shared)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
