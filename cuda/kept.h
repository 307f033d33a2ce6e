/* cuda/kept.h - kernels that come with the program, as PTX for sm_75, which every driver makes code of for its device:
 * what a machine without NVRTC runs on, and one whose NVRTC does not know the GPU.
 *
 * They are every kernel file as it is, and once more with -DREGION_INTERPRETED where a pointwise region can be in its
 * hole, since no region is known when they are made: f32, the rungs that need no specialisation (RUNG_KEPT). `make
 * kept` writes them to cuda/kept.ptx.z with NVRTC; they are found by a hash over everything they were made of, so that
 * one whose text has changed since is not found rather than wrong, and tests/cuda/test_kept.c says so. */
#ifndef PANUM_CUDA_KEPT_H
#define PANUM_CUDA_KEPT_H
#include "cuda/gpu.h"

#define KEPT_REGION "-DREGION_INTERPRETED"
#define KEPT_PLAIN "-DPLAIN_ONLY" /* of transport's two rungs, the one that needs no number of columns */
enum { KEPT_ARCH = 75 };

typedef struct {
    const char *file, *define; /* NULL: as it is */
} KeptKernel;
extern const KeptKernel kept_kernels[];
extern const int kept_count;

/* What a source is found by: its text, the headers it includes, its definitions, the options. */
typedef struct {
    char hex[65];
} KeptKey;
KeptKey kept_key(const GpuSource *source);
/* The PTX of exactly this source, ended by a zero; NULL: it is not kept, or was made of another text. */
const char *kept_find(const GpuSource *source);

/* For those who make the file: `ptx` are the texts of kept_kernels, in order. The result is the caller's. */
uint8_t *kept_pack(const char *const *ptx, size_t *bytes);
#endif
