/* Verbs on a GPU as a user meets them, with the fake driver, which takes everything and computes nothing: that
 * --device reaches the device, what is said and refused, and what `panum bench --device cuda --json` prints. */
#include "base/json.h"
#include "tests/lib/check.h"

#include <stdlib.h>

static char folder[400], program[4096];

static void make_place(void) {
    char out[4000], value[500];
    const char *build = getenv("PANUM_BUILD"), *panum = program;
    if (!realpath(panum_program(), program)) fail_msg("%s is not there", panum_program());
    snprintf(folder, sizeof folder, "%s", scratch_folder("verbs"));
    int code = run_command(out, sizeof out,
                           "cp '%s/tests/cuda/libcuda_fake.so' '%s/libcuda.so.1' && cp '%s/libcuda.so.1' "
                           "'%s/libnvrtc.so.13' && cd '%s' && %s demo -q -y --model sgm --width 96 -o pair/ && "
                           "%s model seed s2m2-XS -q -y -o s2m2-XS.safetensors && "
                           "%s pack pair/left.png pair/right.png --layout sbs -q -y -o sbs.png && mkdir -p set && "
                           "cp sbs.png set/frame_000001.png",
                           build ? build : "build", folder, folder, folder, folder, panum, panum, panum);
    if (code) fail_msg("%s", out);
    snprintf(value, sizeof value, "%s/cache", folder);
    setenv("XDG_CACHE_HOME", value, 1);
    setenv("PANUM_MODELS", folder, 1);
}

static int run(char *out, size_t size, const char *told, const char *command) {
    return run_command(out, size, "cd '%s' && FAKE_CUDA='%s' LD_LIBRARY_PATH=. %s %s", folder, told, program, command);
}

static void test_device_option(void **state) {
    (void)state;
    static const struct {
        const char *told, *command;
        int code;
        const char *words;
    } row[] = {
        {"", "demo --device cuda --model s2m2-XS --width 64 -y -o demo/", 0, "compiling"},
        {"", "demo --device cuda --model sgm -y -o demo/", 2,
         "--device cuda is for the s2m2 models; sgm runs on the CPU"},
        {"", "demo --device cuda:1 --model s2m2-XS --width 64 -y -o demo/", 5, "there is no GPU 1: the driver finds 1"},
        {"devices=0", "demo --device cuda --model s2m2-XS -y -o demo/", 5, "finds no GPU it can use"},
        {"devices=0", "demo --model s2m2-XS --width 64 -y -o demo/", 0, "on the CPU: the NVIDIA driver is there"},
        {"", "judge synthetic --count 1 --size 64x64 --device cuda --model s2m2-XS --model sgm", 0, "scene 0"},
        {"memory=2", "judge synthetic --count 1 --size 64x64 --device cuda --model s2m2-XS", 6, "the GPU has no room"},
        {"", "judge synthetic --device gpu", 2, "'gpu' is not auto, cpu, cuda or cuda:N"},
        {"", "gt set -o gt --per-film 1 --model s2m2-XS --device cuda", 1, "no frame was kept"},
        {"memory=2", "gt set -o gt3 --per-film 1 --model s2m2-XS --device cuda", 6, "the GPU has no room"},
        {"", "gt set -o gt2 --per-film 1 --range 1:9 --device cuda", 2, "sgm matches here, which runs on the CPU"},
        {"", "match pair/left.png pair/right.png --range 1:9 --device cuda -y -o x.pfm", 2, "leave --range out"},
        {"", "train stereo --overfit sbs.png --crop 64x64 --steps 1 --refine-iter 1 --device cuda:0", 0,
         "on Fake GPU: "},
        {"memory=2", "train stereo --overfit sbs.png --crop 64x64 --steps 1 --refine-iter 1 --device cuda", 6,
         "the GPU has no room"},
        {"arch=61", "train stereo --overfit sbs.png --crop 64x64 --steps 1 --refine-iter 1", 0,
         "on the CPU: Fake GPU is too old"},
        {"", "trace s2m2-XS 96x64 --kernels --arch 120", 0,
         "channels that do not lie in pieces of 16 bytes: no panels"},
        {"", "trace s2m2-XS 96x64 --kernels --embedded", 0, "on sm_90 without a compiler: 700 launches"},
        {"", "selftest --device cuda", 7, "the same without a compiler"},
        {"archs=0", "selftest --device cuda", 7, "Fake GPU, sm_86; kernels: those that come with panum"},
        {"", "devices --clear-cache", 0, "files removed"},
        {"", "bench --device cuda --only nothing --rounds 1", 2, "nothing that is measured on a GPU begins so"},
        {"devices=0", "bench --device auto --rounds 1", 5, "there is no GPU to measure"},
        {"", "bench --device cuda --interactive", 2, "--interactive is for the CPU"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        static char out[1 << 18];
        int code = run(out, sizeof out, row[i].told, row[i].command);
        if (code != row[i].code || !strstr(out, row[i].words))
            fail_msg("%s %s: exit %d, said:\n%s", row[i].told, row[i].command, code, out);
    }
}

/* The scheme of the CPU's object, with the device's name and peaks in place of the processor's. */
static void test_bench_json(void **state) {
    (void)state;
    static char out[1 << 17];
    assert_int_equal(
        run(out, sizeof out, "", "bench --device cuda --only \"s2m2-XS 64x32\" --rounds 2 --json 2>/dev/null"), 0);
    static const char *const wanted[] = {
        "version",     "gpu",       "arch",        "multiprocessors", "driver",
        "compiler",    "gbytes_up", "gbytes_down", "peak_gflops",     "peak_gflops_f16",
        "peak_gbytes", "rows",      "memory"};
    Json j;
    json_begin(&j, out, strlen(out), 8);
    assert_int_equal(json_next(&j), JSON_OBJECT);
    size_t key = 0;
    for (; json_next(&j) == JSON_KEY; key++) {
        assert_true(key < sizeof wanted / sizeof *wanted && json_is(&j, wanted[key]));
        assert_int_equal(json_skip(&j), 0);
    }
    assert_int_equal(key, sizeof wanted / sizeof *wanted);
    /* a launch takes 2 ms there: 16 flops x 2 a round, thread and 8 blocks of 24 multiprocessors */
    assert_non_null(strstr(out, "\"gpu\":\"Fake GPU\",\"arch\":86,"));
    assert_non_null(strstr(out, "{\"kernel\":\"s2m2-XS\",\"shape\":\"64x32\",\"ms_min\":"));
    assert_non_null(strstr(out, "{\"kernel\":\"layer_norm\",\"shape\":\"s2m2-XS 64x32\",\"ms_min\":130.0000,"));
    assert_non_null(strstr(out, "{\"network\":\"s2m2-XS 64x32\",\"working\":"));
    double flops = 0;
    sscanf(strstr(out, "\"peak_gflops\":"), "\"peak_gflops\":%lf", &flops);
    assert_true(flops == 12.6); /* 16 rounds in 2 ms */
}

int main(void) {
    make_place();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_device_option), cmocka_unit_test(test_bench_json)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
