/* tests/cuda/simt/as_driver.c - the whole program on the emulated device: build/tests/cuda/panum_emulated is panum,
 * linked so (-Wl,--wrap) that what asks cuda/driver.h for a GPU gets the emulated one. What is printed, planned, kept
 * and refused is then what a user of a GPU gets; only the numbers of seconds mean nothing. */
#include "cuda/driver.h"
#include "tests/cuda/simt/emulated.h"

bool __wrap_cuda_present(const CudaLibraries *libraries);
int __wrap_cuda_count(const CudaLibraries *libraries, int *devices);
int __wrap_cuda_open(const CudaLibraries *libraries, int index, Gpu **gpu);
int __wrap_cuda_facts(const CudaLibraries *libraries, int index, GpuFacts *facts);

bool __wrap_cuda_present(const CudaLibraries *libraries) {
    (void)libraries;
    return true;
}

int __wrap_cuda_count(const CudaLibraries *libraries, int *devices) {
    (void)libraries;
    *devices = 1;
    return 0;
}

int __wrap_cuda_open(const CudaLibraries *libraries, int index, Gpu **gpu) {
    if (index) return fail(ERR_DEVICE, "there is no GPU %d: one is emulated", index);
    return emulated_open(
        (Emulated){.unwatched = true, .form = libraries && libraries->kept ? GPU_EMBEDDED : GPU_COMPILES}, gpu);
}

int __wrap_cuda_facts(const CudaLibraries *libraries, int index, GpuFacts *facts) {
    Gpu *gpu;
    int code = __wrap_cuda_open(libraries, index, &gpu);
    if (code) return code;
    *facts = gpu->facts;
    gpu_close(gpu);
    return 0;
}
