/* The trainer of `panum train` on the emulated device, whole: S2M2-XS with samples from a loader, in parts, two steps,
 * beside the same on the CPU; a checkpoint of the device that the CPU goes on from, and one of the CPU for the device;
 * in f16, with "all", that going on from a checkpoint leaves no trace. Kernels are unwatched here: they are watched
 * where they are tested by themselves. */
#include "apps/lib/trainer.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tests/cuda/simt/plan_case.h"
#include "tests/cuda/simt/test_device.h"
#include "tests/lib/check.h"

#include <math.h>

enum { WIDE = 64, HIGH = 32 };
static int steps = 1; /* with the argument "all", as make test-emulated has it, 2 */

/* A pattern that the right eye sees two pixels further left, and its truth. */
static int make(void *context, uint64_t index, Sample *sample) {
    (void)context;
    int code = sample_reserve(sample, WIDE, HIGH);
    if (code) return code;
    for (int eye = 0; eye < 2; eye++) {
        SampleEye *e = eye ? &sample->right : &sample->left;
        for (int i = 0; i < WIDE * HIGH; i++) {
            int x = i % WIDE + 2 * eye, y = i / WIDE;
            for (int c = 0; c < 3; c++) {
                double v =
                    sin(0.3 * x + 0.2 * y * (c + 1) + (double)index) + rng_signed(index + 1, (uint64_t)(x + 97 * y));
                e->rgb[3 * i + c] = (uint8_t)(128 + 60 * v);
            }
            e->disparity[i] = 2, e->valid[i] = 1, e->occlusion[i] = x > 2;
        }
    }
    sample->occlusion_known = true;
    sample->right_known = false;
    return 0;
}

typedef struct {
    int batch;
    GpuStorage storage;
    LossScale scale;
} Way;
static const Way in_f32 = {2, GPU_F32, {.scale = 1}};

static void begin(Device *device, Pool *pool, Way way, Trainer **trainer) {
    const S2m2Size *size = s2m2_size("s2m2-XS");
    TrainerOptions options = {
        .graph = {.network = {.channels = size->channels, .blocks = size->blocks, .refine_iterations = 3},
                  .width = WIDE,
                  .height = HIGH,
                  .pairs = 1},
        .batch = way.batch,
        .optim = {.method = OPTIM_ADAMW, .clip = 1, .decay = 1e-4, .average = 0.999},
        .schedule = {.shape = RATE_CONSTANT, .rate = 1e-4, .steps = 100},
        .storage = way.storage,
        .loss_scale = way.scale,
        .seed = 1,
        .device = device};
    must(trainer_make(&options, pool, trainer));
}

/* The samples from where the trainer is. */
static Loader *load(Trainer *trainer) {
    Loader *loader;
    SampleSource source = {make, NULL};
    const LoaderOptions how = {.threads = 1, .position = (uint64_t)trainer_state(trainer)->position};
    must(loader_make(&loader, &source, &how));
    return loader;
}

static void save_and_restore(Trainer *from, Trainer *to, const char *name) {
    const char *folder = scratch_folder(name);
    const size_t bytes = (size_t)trainer_parameters(from)->block * sizeof(float);
    Checkpoint *checkpoint;
    must(trainer_save(from, folder, NULL, 0));
    must(checkpoint_newest(folder, NULL, &checkpoint));
    must(trainer_restore(to, checkpoint));
    checkpoint_close(checkpoint);
    assert_memory_equal(trainer_weights(to), trainer_weights(from), bytes);
    assert_memory_equal(trainer_best_guess(to), trainer_best_guess(from), bytes);
    assert_int_equal(trainer_state(to)->step, trainer_state(from)->step);
    assert_int_equal(trainer_state(to)->position, trainer_state(from)->position);
    assert_int_equal(optim_steps(trainer_optim(to)), optim_steps(trainer_optim(from)));
}

/* Root of the mean square of a difference, of that of how far the numbers have moved from where they began. */
static double apart(const float *a, const float *b, const float *from, int64_t count) {
    double square = 0, moved = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        square += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        moved += ((double)b[i] - (double)from[i]) * ((double)b[i] - (double)from[i]);
    }
    return sqrt(square / moved);
}

static void test_steps(void **state) {
    (void)state;
    Device device = {0};
    Trainer *here, *there;
    Loader *loader[2];
    Pool *pool = pool_make(1);
    must(test_device_open((Emulated){.memory = (size_t)1 << 29, .unwatched = true}, &device.gpu));
    device.kernels = kernel_store_make(device.gpu);
    begin(NULL, pool, in_f32, &here);
    begin(&device, pool, in_f32, &there);
    loader[0] = load(here), loader[1] = load(there);
    const ParameterList *list = trainer_parameters(here);
    size_t bytes = (size_t)list->block * sizeof(float);
    float *began = mem_alloc(bytes);
    memcpy(began, trainer_weights(here), bytes);
    assert_memory_equal(began, trainer_weights(there), bytes);
    printf("  %.1f MiB of device memory\n", (double)trainer_device_bytes(there) / 1048576);
    int64_t allocations = test_device_use(device.gpu).allocations;
    for (int step = 0; step < steps; step++) {
        TrainerStep a, b;
        must(trainer_step(there, loader[1], &a));
        must(trainer_step(here, loader[0], &b));
        printf("  step %d: loss %.6f there and %.6f here, norm %.5f and %.5f\n", step, a.loss, b.loss, a.norm, b.norm);
        assert_false(a.skipped || b.skipped);
        if (!(fabs(a.loss - b.loss) <= 1e-3 * fabs(b.loss)) || !(fabs(a.norm - b.norm) <= 1e-2 * b.norm))
            fail_msg("step %d differs", step);
        /* what was taken ahead is not part of how far it has come */
        assert_int_equal(trainer_state(there)->position, trainer_state(here)->position);
    }
    assert_int_equal(test_device_use(device.gpu).allocations, allocations);
    must(trainer_sync(there));
    /* AdamW's first steps are as large for a small gradient as for a large one, so rounding may turn some around */
    double weights = apart(trainer_weights(there), trainer_weights(here), began, list->block);
    double average = apart(trainer_best_guess(there), trainer_best_guess(here), began, list->block);
    printf("  weights %.1e apart of how far they moved, average %.1e\n", weights, average);
    assert_true(weights < 0.1 && average < 0.1);

    save_and_restore(there, here, "trainer_there");
    assert_int_equal(trainer_state(here)->step, steps);
    assert_int_equal(optim_steps(trainer_optim(here)), steps);
    /* and back, after something that the device has not seen */
    must(trainer_take_weights(here, began));
    save_and_restore(here, there, "trainer_here");
    mem_free(began);
    if (steps > 1) {
        TrainerStep a, b;
        must(trainer_step(there, loader[1], &a));
        must(trainer_step(here, loader[0], &b));
        assert_true(fabs(a.loss - b.loss) <= 1e-4 * fabs(b.loss) && fabs(a.norm - b.norm) <= 1e-2 * b.norm);
    }
    loader_drop(loader[0]), loader_drop(loader[1]);
    trainer_drop(here), trainer_drop(there);
    assert_int_equal(test_device_use(device.gpu).memory, 0);
    device_close(&device);
    pool_drop(pool);
}

/* In f16: a training that goes on from a checkpoint has the bits of one that was never stopped, its loss scale too; the
 * CPU goes on in f32 and with no scale, and what it leaves begins with a scale of its own again. */
static void test_f16(void **state) {
    (void)state;
    static const Way in_f16 = {1, GPU_F16, {.scale = 65536, .patience = 2}}, on_the_cpu = {1, GPU_F32, {.scale = 1}};
    Device device = {0};
    Trainer *unbroken, *resumed, *here;
    Pool *pool = pool_make(1);
    TrainerStep a, b;
    must(test_device_open((Emulated){.memory = (size_t)1 << 29, .unwatched = true}, &device.gpu));
    device.kernels = kernel_store_make(device.gpu);
    begin(&device, pool, in_f16, &unbroken);
    begin(&device, pool, in_f16, &resumed);
    begin(NULL, pool, on_the_cpu, &here);
    Loader *loader[2] = {load(unbroken), NULL};
    const size_t bytes = (size_t)trainer_parameters(here)->block * sizeof(float);
    must(trainer_step(unbroken, loader[0], &a));
    assert_false(a.skipped);
    save_and_restore(unbroken, resumed, "trainer_f16");
    LossScale scale = trainer_scale(resumed);
    assert_true(scale.scale == 65536 && scale.good == 1);
    loader[1] = load(resumed);
    must(trainer_step(unbroken, loader[0], &a));
    must(trainer_step(resumed, loader[1], &b));
    assert_memory_equal(&a.loss, &b.loss, sizeof a.loss);
    assert_memory_equal(&a.norm, &b.norm, sizeof a.norm);
    must(trainer_sync(unbroken));
    must(trainer_sync(resumed));
    assert_memory_equal(trainer_weights(unbroken), trainer_weights(resumed), bytes);
    assert_memory_equal(trainer_best_guess(unbroken), trainer_best_guess(resumed), bytes);
    scale = trainer_scale(resumed);
    assert_true(scale.scale == 131072 && scale.good == 0);
    printf("  f16: loss %.6f, norm %.5f, the same bits after a checkpoint\n", b.loss, b.norm);

    save_and_restore(resumed, here, "trainer_f16");
    scale = trainer_scale(here);
    assert_true(scale.scale == 1 && scale.good == 0);
    save_and_restore(here, resumed, "trainer_f16_here");
    scale = trainer_scale(resumed);
    assert_true(scale.scale == 65536 && scale.good == 0);
    Trainer *refused;
    TrainerOptions options = {.batch = 1, .graph = {.pairs = 1}, .storage = GPU_F16};
    assert_int_equal(trainer_make(&options, pool, &refused), ERR_USAGE);
    assert_non_null(strstr(err_sentence(), "training in f16 needs a GPU; on the CPU it is f32"));
    loader_drop(loader[0]), loader_drop(loader[1]);
    trainer_drop(unbroken), trainer_drop(resumed), trainer_drop(here);
    device_close(&device);
    pool_drop(pool);
}

int main(int argc, char **argv) {
    const char *asked = argc > 1 ? argv[1] : "";
    const bool all = !strcmp(asked, "all"), only_f16 = !strcmp(asked, "f16");
    if (all) steps = 2;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps)}, f16[] = {cmocka_unit_test(test_f16)};
    int failed = only_f16 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
    if (all || only_f16) failed += cmocka_run_group_tests(f16, NULL, NULL);
    return failed;
}
