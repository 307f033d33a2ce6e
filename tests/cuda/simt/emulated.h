/* tests/cuda/simt/emulated.h - a device behind cuda/gpu.h that is this processor, and watches.
 *
 * Kernel text is given to the C compiler as it would be to NVRTC (only the headers that came with it are found) and run
 * by simt.c. Work given to a stream runs as late as order permits: when somebody waits for it, and then only what must
 * be. Accesses of two streams to one place, one of them a write, that no event and no waiting of the host orders are
 * reported, whatever came out. Until a copy to the host has run its target holds NaNs; a source that the host changes
 * before its copy has run is reported, and so is a target that it writes to, memory that is freed with a copy under
 * way, and what a driver refuses while a stream is captured. Fresh device memory holds NaNs. What the watchers report
 * ends the device as an illegal address would: the sentence names file and line.
 *
 * One at a time; compiled kernels are kept below $PANUM_BUILD/simt by what they were made of. */
#ifndef PANUM_TESTS_CUDA_SIMT_EMULATED_H
#define PANUM_TESTS_CUDA_SIMT_EMULATED_H
#include "cuda/gpu.h"

typedef struct {
    int arch;              /* 0: 80 */
    size_t memory;         /* bytes of device memory; 0: 1 GB */
    size_t shared_a_block; /* bytes; 0: 99 KB, what sm_86, 89 and 120 have */
    int multiprocessors;   /* 0: 4 */
    GpuForm form;          /* GPU_EMBEDDED: only what comes with the program may be asked for */
    unsigned order;        /* of threads: 0 forwards, 1 backwards, else the seed of a shuffle */
    bool unwatched; /* loads and stores are not looked at, which is several times faster: for whole networks, whose
                       kernels are watched where they are tested by themselves */
} Emulated;
int emulated_open(Emulated facts, Gpu **gpu);
void emulated_order(Gpu *gpu, unsigned order); /* from now on */

typedef struct {
    size_t memory, memory_peak; /* bytes of device memory now and at most */
    int64_t allocations, launches, copies, modules;
} EmulatedUse;
EmulatedUse emulated_use(const Gpu *gpu);
size_t emulated_argument_bytes(const GpuKernel *kernel); /* of its argument struct */
#endif
