/* cuda/compile.h - kernels compiled through the cache on disk, and many at a time by other processes: NVRTC compiles
 * one text after another inside a process, however many threads ask. */
#ifndef PANUM_CUDA_COMPILE_H
#define PANUM_CUDA_COMPILE_H
#include "cuda/nvrtc.h"

typedef struct {
    const char *cache;   /* folder of compiled kernels; NULL: nothing is kept */
    const char *program; /* to be run as `program KERNELS_WORD`, which calls compile_serve; NULL: no other processes */
    int processes;       /* at a time */
    /* Told before kernels are compiled that are in no cache, and how many; may be NULL. */
    void (*told)(int kernels, int arch);
} CompileHelp;

#define COMPILE_WORD "--compile-kernels"

/* From the cache, or compiled and put there. */
int compile_kernel(const Nvrtc *nvrtc, const CompileHelp *help, const GpuSource *source, int arch, Compiled *compiled);
/* Compiles what is not in the cache yet, in processes of their own if there are several. What does not compile is no
 * error here: compile_kernel has the sentence. */
int compile_ahead(const Nvrtc *nvrtc, const CompileHelp *help, const GpuSource *source, int count, int arch);
/* What such a process does: reads what to compile from a file descriptor until its end. */
int compile_serve(int file);
#endif
