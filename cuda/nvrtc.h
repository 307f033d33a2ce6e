/* cuda/nvrtc.h - kernel text to machine code, by NVRTC opened by name. */
#ifndef PANUM_CUDA_NVRTC_H
#define PANUM_CUDA_NVRTC_H
#include "cuda/gpu.h"

typedef struct Nvrtc Nvrtc;
/* `library` NULL: the usual names. ERR_DEVICE with what to install when there is none. One is opened once and kept. */
int nvrtc_open(const char *library, const Nvrtc **nvrtc);
void nvrtc_version(const Nvrtc *nvrtc, int *major, int *minor);
/* The architectures it makes code for, ascending; at most `most`. Returns how many. */
int nvrtc_architectures(const Nvrtc *nvrtc, int *arch, int most);

/* What is made for a device: code for its own architecture, or where that is not known, PTX for the newest older one,
 * which its driver makes code of. false: this NVRTC knows neither. */
typedef struct {
    int arch;
    bool ptx;
} CompileTarget;
bool nvrtc_target(const Nvrtc *nvrtc, int arch, CompileTarget *target);

/* Which library it is: its path as it was opened, and the file that is behind it. */
typedef struct {
    int64_t bytes, date; /* 0: not to be found out */
} NvrtcLibrary;
const char *nvrtc_path(const Nvrtc *nvrtc);
NvrtcLibrary nvrtc_library(const Nvrtc *nvrtc);
/* What every kernel is compiled with, beside the architecture, care and its definitions. */
extern const char nvrtc_options[];

typedef struct {
    void *code; /* a cubin, or PTX and a zero (nvrtc_target says which); the caller's (mem_free) */
    size_t bytes;
    char *log; /* the compiler's words, ptxas's report on each kernel among them; the caller's (mem_free) */
} Compiled;
typedef enum {
    COMPILE_PLAIN,
    COMPILE_STRICT, /* spilled registers and arrays in local memory are errors */
    COMPILE_PTX,    /* PTX in any case */
} CompileCare;
/* On failure *log may hold the compiler's words; the sentence has their first line. */
int nvrtc_compile(const Nvrtc *nvrtc, const GpuSource *source, int arch, CompileCare care, Compiled *compiled);
void compiled_free(Compiled *compiled);

/* What ptxas says of one kernel. A compilation without such a report for each kernel is not a success. */
typedef struct {
    char name[64];
    int registers, shared, stack, spill_stores, spill_loads; /* bytes but for the first */
} KernelReport;
int kernel_reports(const char *log, KernelReport *report, int most); /* how many there are */
#endif
