#include "tests/cuda/simt/test_device.h"
#include "apps/lib/device.h"
#include "base/pool.h"
#include "cuda/driver.h"
#include "tests/lib/check.h"

static const char *wanted(void) {
    const char *name = getenv("PANUM_TEST_GPU");
    return name && *name ? name : NULL;
}

bool test_device_is_real(void) {
    return wanted() != NULL;
}

EmulatedUse test_device_use(const Gpu *gpu) {
    return test_device_is_real() ? (EmulatedUse){0} : emulated_use(gpu);
}

double test_device_slack(void) {
    return test_device_is_real() ? 8 : 1;
}

int test_device_open(Emulated facts, Gpu **gpu) {
    static char folder[600];
    DeviceChoice choice;
    if (!wanted()) return emulated_open(facts, gpu);
    if (!device_choice(wanted(), &choice) || choice.kind != DEVICE_CUDA)
        fail_msg("PANUM_TEST_GPU=%s is not cuda or cuda:N", wanted());
    const char *build = getenv("PANUM_BUILD");
    snprintf(folder, sizeof folder, "%s/kernels", build ? build : "build");
    CudaLibraries libraries = {.kept = facts.form == GPU_EMBEDDED,
                               .compile = {folder, panum_program(), pool_cpus(), NULL}};
    return cuda_open(&libraries, choice.index, gpu);
}
