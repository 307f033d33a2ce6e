/* What --device auto does with a GPU that this program has not used yet: a small network is held against the CPU, and
 * what came of it is kept. With the fake driver, which computes nothing, the whole program; with the emulated device
 * (linked in here as the driver) what is kept and believed. `test_trust all` (make test-emulated) also lets the whole
 * program try the emulated device and go on with it. */
#include "apps/lib/device_check.h"
#include "base/mem.h"
#include "cuda/cache.h"
#include "tests/lib/check.h"

#include <math.h>

static char folder[400], command[4096];

/* The fake driver and its NVRTC under their usual names, a cache of our own, and a pair with weights. */
static void make_place(void) {
    char out[4000];
    const char *build = getenv("PANUM_BUILD");
    snprintf(folder, sizeof folder, "%s", scratch_folder("trust"));
    assert_int_equal(run_command(out, sizeof out,
                                 "rm -rf '%s/cache' && cp '%s/tests/cuda/libcuda_fake.so' '%s/libcuda.so.1' && "
                                 "cp '%s/libcuda.so.1' '%s/libnvrtc.so.13' && "
                                 "%s demo -q -y --model sgm --width 64 -o '%s/pair/' && "
                                 "%s model seed s2m2-XS -q -y -o '%s/XS.safetensors'",
                                 folder, build ? build : "build", folder, folder, folder, panum_program(), folder,
                                 panum_program(), folder),
                     0);
    char cache[500];
    snprintf(cache, sizeof cache, "%s/cache", folder);
    setenv("XDG_CACHE_HOME", cache, 1);
}

static const char *match_with(const char *program, const char *told, const char *options) {
    snprintf(command, sizeof command,
             "FAKE_CUDA='%s' LD_LIBRARY_PATH='%s' %s match '%s/pair/left.png' '%s/pair/right.png' --model s2m2-XS "
             "--weights '%s/XS.safetensors' -y -o '%s/map.pfm' %s",
             told, folder, program, folder, folder, folder, folder, options);
    return command;
}

static bool has(const char *text, const char *words) {
    return strstr(text, words) != NULL;
}

/* Each in turn, with what the ones before have left. */
static void test_fake(void **state) {
    (void)state;
    static const struct {
        const char *told, *options;
        int code;
        const char *words, *not ;
    } row[] = {
        {"", "", 0, "held against the CPU first, once", "#"},
        {"", "", 0, "on the CPU: Fake GPU does not compute what the CPU does", "held against"},
        {"", "--device cpu", 0, "s2m2-XS", "Fake GPU"},
        {"version=13010", "", 0, "held against the CPU first", "#"}, /* another driver is another device */
        {"arch=90", "", 0, "held against the CPU first", "#"},
        {"archs=0", "", 0, "plain kernels that come with panum", "compiling"},
        {"archs=0", "", 0, "on the CPU: Fake GPU does not compute what the CPU does", "held against"},
        {"archs=0", "--device cuda --precision f16", 5, "16 bits a number on Fake GPU need a compiler", "compiling"},
        {"arch=61", "", 0, "on the CPU: Fake GPU is too old (sm_61)", "held against"},
        {"arch=61", "--device cuda", 5, "is too old (sm_61)", "on the CPU:"},
        {"arch=89 memory=2", "", 0, "on the CPU: the GPU has no room", "#"}, /* no verdict: it may have room later */
        {"arch=89", "", 0, "held against the CPU first", "#"},
        {"arch=75 finish=700", "", 0, "on the CPU: the GPU's work", "#"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char out[8000];
        int code = run_command(out, sizeof out, "%s", match_with(panum_program(), row[i].told, row[i].options));
        if (code != row[i].code || !has(out, row[i].words) || has(out, row[i].not ))
            fail_msg("%s %s: exit %d, said:\n%s", row[i].told, row[i].options, code, out);
    }
}

/* What was kept is believed, for each use by itself; what is damaged is not. */
static void test_kept(void **state) {
    (void)state;
    Device device;
    const DeviceChoice cuda = {.kind = DEVICE_CUDA}, automatic = {.kind = DEVICE_AUTO};
    assert_int_equal(device_open(cuda, DEVICE_FORWARD, &device), 0);
    assert_non_null(device.gpu);
    DeviceCheck check = {.good = true};
    device_keep_verdict(&device, DEVICE_FORWARD, &check);
    check = (DeviceCheck){.worst = INFINITY, .name = "grad.x", .outputs = 2, .same = 1};
    device_keep_verdict(&device, DEVICE_TRAINING, &check);
    device_close(&device);
    assert_int_equal(device_open(automatic, DEVICE_FORWARD, &device), 0);
    assert_non_null(device.gpu);
    device_close(&device);
    assert_int_equal(device_open(automatic, DEVICE_TRAINING, &device), 0);
    assert_null(device.gpu);
    assert_string_equal(device_name(&device), "the CPU");
    device_close(&device);
    assert_int_equal(device_open(automatic, DEVICE_UNTRIED, &device), 0);
    assert_non_null(device.gpu);
    device_close(&device);
    assert_int_equal(device_open((DeviceChoice){.kind = DEVICE_CUDA, .index = 1}, DEVICE_FORWARD, &device), ERR_DEVICE);
}

static void test_emulated(void **state) {
    (void)state;
    char out[8000], program[600];
    const char *build = getenv("PANUM_BUILD");
    snprintf(program, sizeof program, "%s/tests/cuda/panum_emulated", build ? build : "build");
    assert_int_equal(run_command(out, sizeof out, "rm -rf '%s/cache'", folder), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run_command(out, sizeof out, "%s", match_with(program, "", "-v")), 0);
        assert_true(has(out, "held against") == (i == 0));
        assert_true(has(out, "MiB of emulated device") && !has(out, "on the CPU"));
    }
    assert_int_equal(run_command(out, sizeof out, "%s selftest --device cuda", program), 0);
    assert_true(has(out, "ok     its gradients on the GPU, run twice"));
}

int main(int argc, char **argv) {
    make_place();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fake), cmocka_unit_test(test_kept)};
    const struct CMUnitTest more[] = {cmocka_unit_test(test_emulated)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (argc > 1 && strcmp(argv[1], "all") == 0) failed += cmocka_run_group_tests(more, NULL, NULL);
    return failed;
}
