/* cuda/region.h - a pointwise region (tensor/ops/strip.h) as the text of a device function, and the modules of what has
 * been compiled.
 *
 * The text goes before that of a kernel: before region.cu it is a kernel of its own, before matmul.cu it is what is
 * done with each result instead of storing it. It depends on the region's structure and numbers, never on sizes:
 * strides and places are arguments. */
#ifndef PANUM_CUDA_REGION_H
#define PANUM_CUDA_REGION_H
#include "cuda/gpu.h"
#include "cuda/kernels/region.h"
#include "tensor/ops/strip.h"

/* The function alone; the caller's (mem_free). NULL: no memory. */
char *region_text(const StripProgram *region);
/* Where its tensors lie: `data` gives the device address of a tensor's first element. */
void region_places(const StripProgram *region, void *(*data)(const void *context, const Tensor *t), const void *context,
                   RegionPlaces *places);

/* The region as a program, for kernels that interpret it. false: it reads or writes 16-bit numbers, which they cannot.
 */
bool region_code(const StripProgram *region, RegionCode *code);

/* Compiled modules by their text, each made once. First everything that will be needed is named, then it is built
 * together, so that a device that can compiles many at a time (GpuCalls.prepare). One store may serve several plans. */
typedef struct KernelStore KernelStore;
KernelStore *kernel_store_make(Gpu *gpu); /* NULL: no memory */
void kernel_store_drop(KernelStore *store);
/* Names a kernel file of the tree, with a region before it (NULL: none), specialised by `define` as GpuSource's
 * ("-DTILE=64"; NULL: by nothing). *entry is its number in the store. */
int kernel_store_want(KernelStore *store, const char *file, const StripProgram *region, const char *define, int *entry);
/* Compiles and loads all that is named and not there yet. */
int kernel_store_build(KernelStore *store);
/* The kernel `name` of an entry that has been built. */
int kernel_store_kernel(KernelStore *store, int entry, const char *name, const GpuKernel **kernel);
/* The three at once. */
int kernel_store_get(KernelStore *store, const char *file, const StripProgram *region, const char *define,
                     const char *name, const GpuKernel **kernel);
int kernel_store_modules(const KernelStore *store); /* how many it has */
#endif
