/* cuda/texts.h - the text of everything below cuda/device and cuda/kernels that NVRTC is to read, put into the program
 * by tools/embed.sh. */
#ifndef PANUM_CUDA_TEXTS_H
#define PANUM_CUDA_TEXTS_H
#include "cuda/gpu.h"

typedef struct {
    const char *name, *text; /* by its path in the tree, which is how it is included */
} CudaText;
extern const CudaText cuda_texts[];
extern const int cuda_text_count;

/* `text` under `name`, with every header that a kernel may include. Nothing is copied. */
GpuSource cuda_source(const char *name, const char *text, const char *define);
/* The same for a kernel file of the tree; it is the program's fault when there is none of that name. */
GpuSource cuda_kernel_source(const char *name, const char *define);
#endif
