/* The trainer of `panum train` on the emulated device, whole: S2M2-XS with samples from a loader, in parts, two steps,
 * beside the same on the CPU; and a checkpoint of the device that the CPU goes on from. Kernels are unwatched here:
 * they are watched where they are tested by themselves. */
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

static void begin(Device *device, Pool *pool, Trainer **trainer, Loader **loader) {
    const S2m2Size *size = s2m2_size("s2m2-XS");
    TrainerOptions options = {
        .graph = {.network = {.channels = size->channels, .blocks = size->blocks, .refine_iterations = 3},
                  .width = WIDE,
                  .height = HIGH,
                  .pairs = 1},
        .batch = 2,
        .optim = {.method = OPTIM_ADAMW, .clip = 1, .decay = 1e-4, .average = 0.999},
        .schedule = {.shape = RATE_CONSTANT, .rate = 1e-4, .steps = 100},
        .loss_scale = {.scale = 1},
        .seed = 1,
        .device = device};
    SampleSource source = {make, NULL};
    must(trainer_make(&options, pool, trainer));
    must(loader_make(loader, &source, &(LoaderOptions){.threads = 1}));
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
    begin(NULL, pool, &here, &loader[0]);
    begin(&device, pool, &there, &loader[1]);
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

    const char *folder = scratch_folder("trainer_there");
    Checkpoint *checkpoint;
    must(trainer_save(there, folder, NULL, 0));
    must(checkpoint_newest(folder, NULL, &checkpoint));
    must(trainer_restore(here, checkpoint));
    checkpoint_close(checkpoint);
    assert_memory_equal(trainer_weights(here), trainer_weights(there), bytes);
    assert_memory_equal(trainer_best_guess(here), trainer_best_guess(there), bytes);
    assert_int_equal(trainer_state(here)->step, steps);
    assert_int_equal(optim_steps(trainer_optim(here)), steps);
    mem_free(began);
    loader_drop(loader[0]), loader_drop(loader[1]);
    trainer_drop(here), trainer_drop(there);
    assert_int_equal(test_device_use(device.gpu).memory, 0);
    device_close(&device);
    pool_drop(pool);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "all") == 0) steps = 2;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
