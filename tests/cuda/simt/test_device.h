/* tests/cuda/simt/test_device.h - the device that tests run on: the emulated one, or the GPU that $PANUM_TEST_GPU names
 * (cuda, cuda:1; `make test-gpu` sets it). */
#ifndef PANUM_TESTS_CUDA_SIMT_TEST_DEVICE_H
#define PANUM_TESTS_CUDA_SIMT_TEST_DEVICE_H
#include "tests/cuda/simt/emulated.h"

/* What `facts` limits is limited on the emulated device only. */
int test_device_open(Emulated facts, Gpu **gpu);
/* Whether tests run on a GPU. emulated_use and emulated_order are not for it. */
bool test_device_is_real(void);
EmulatedUse test_device_use(const Gpu *gpu); /* of a GPU: zeros */
/* How much more a bound allows there: sums are contracted, and functions are the GPU's (cuda/device/machine.h). */
double test_device_slack(void);
#endif
