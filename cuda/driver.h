/* cuda/driver.h - the real device: libcuda and libnvrtc, opened by name while running. Nothing of the toolkit is needed
 * to build; their few types and constants are declared in driver.c and nvrtc.c. */
#ifndef PANUM_CUDA_DRIVER_H
#define PANUM_CUDA_DRIVER_H
#include "cuda/compile.h"
#include "cuda/gpu.h"

/* Which libraries to open. NULL: the usual names (libcuda.so.1; libnvrtc.so.13, .12, and below /usr/local/cuda). Tests
 * name a driver that fails as told. */
typedef struct {
    const char *driver, *nvrtc;
    CompileHelp compile; /* its texts outlive the device */
    bool kept;           /* do without a compiler, although there may be one (cuda/kept.h) */
} CudaLibraries;

enum { CUDA_DRIVER_LEAST = 12000 }; /* CUDA 12.0, driver 525: the oldest whose calls are used here */

/* Is there a driver at all, of whatever age? */
bool cuda_present(const CudaLibraries *libraries);
/* Opens the driver and counts devices: 0 devices without any NVIDIA driver is an error too. ERR_DEVICE says why: no
 * driver, one too old, a stub of the toolkit instead of a driver, no device. */
int cuda_count(const CudaLibraries *libraries, int *devices);
int cuda_open(const CudaLibraries *libraries, int index, Gpu **gpu);
/* What a device is, without making a context on it (which takes some hundred MB of its memory). */
int cuda_facts(const CudaLibraries *libraries, int index, GpuFacts *facts);
#endif
