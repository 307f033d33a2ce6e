/* tests/cuda/simt/device_case.h - a device, a stream and a kernel file, for tests that launch kernels themselves. Every
 * buffer is a region of its own, so that reading or writing one past its end is seen. Failures of calls fail the test.
 */
#ifndef PANUM_TESTS_CUDA_SIMT_DEVICE_CASE_H
#define PANUM_TESTS_CUDA_SIMT_DEVICE_CASE_H
#include "cuda/gpu.h"
#include "cuda/texts.h"

typedef struct {
    Gpu *gpu;
    GpuStream *stream;
    GpuModule *module;
} DeviceCase;

/* Takes the device over; `file` is a kernel file below tests/cuda, read from the tree. */
DeviceCase device_case(Gpu *gpu, const char *file, const char *define);
void device_case_drop(DeviceCase *c);
void *case_room(DeviceCase *c, size_t bytes);                 /* device memory; NaNs on the emulated device */
void *case_up(DeviceCase *c, const void *from, size_t bytes); /* a copy of it */
void case_down(DeviceCase *c, void *to, const void *from, size_t bytes);
void case_free(DeviceCase *c, void *at);
/* Launches and waits; what comes back is the code of the run. */
int case_try(DeviceCase *c, const char *kernel, GpuLaunch how, const void *arguments, size_t bytes);
void case_run(DeviceCase *c, const char *kernel, GpuLaunch how, const void *arguments, size_t bytes);
#endif
