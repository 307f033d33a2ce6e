/* cuda/sentences.h - what the codes of the driver and of NVRTC mean, for people. */
#ifndef PANUM_CUDA_SENTENCES_H
#define PANUM_CUDA_SENTENCES_H
#include "base/err.h"
#include <stdbool.h>

typedef struct {
    int code;
    const char *name;     /* as NVIDIA calls it, without CUDA_ERROR_ or NVRTC_ERROR_ */
    const char *sentence; /* what happened, and what to do where there is something */
    bool lost;            /* the context is gone with it: only a new process can use the GPU again */
} CudaCode;
const CudaCode *cuda_code(int code);  /* never NULL: an unknown code has a row that says so */
const CudaCode *nvrtc_code(int code); /* the same */
int cuda_codes(void);                 /* for tests: how many there are, */
const CudaCode *cuda_code_at(int index);
#endif
