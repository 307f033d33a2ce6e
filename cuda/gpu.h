/* cuda/gpu.h - the small interface behind which a GPU stands: memory, streams, events, modules made from source text,
 * launches, and captured graphs.
 *
 * Two devices stand behind it: the real one (cuda/driver.c: libcuda and libnvrtc, opened by name) and the emulated one
 * of the tests (tests/cuda/emulated.c), which runs the same kernel text on the CPU and watches it. Nothing above this
 * header can tell them apart.
 *
 * Every call returns 0 or an error code with its sentence (base/err.h). Work given to a stream runs later, in order;
 * streams are ordered by events only. A host buffer given to an asynchronous copy may not be read, written or freed
 * before the stream has got there; one from gpu_pinned makes the copy really asynchronous. After an illegal address, or
 * whatever else costs the driver its context, every later call fails with the same sentence: a new process is needed.
 *
 * One Gpu is for one host thread at a time. What is made from it is dropped before gpu_close. */
#ifndef PANUM_CUDA_GPU_H
#define PANUM_CUDA_GPU_H
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GPU_ARGUMENTS_MAX = 4096, GPU_HEADERS_MAX = 64, GPU_ARCH_LEAST = 75 /* Turing */ };

/* What makes machine code of kernels for a device. */
typedef enum {
    GPU_COMPILES,     /* a compiler that knows it */
    GPU_COMPILES_PTX, /* one that knows older ones only, and the driver: by way of PTX */
    GPU_EMBEDDED,     /* the driver alone, of the kernels that come with the program as PTX (cuda/kept.h) */
} GpuForm;

typedef struct {
    char name[128];
    int arch; /* 75, 80, 86, 89, 90, 100, 120: compute capability without the dot */
    int multiprocessors;
    size_t memory;         /* bytes */
    size_t shared_a_block; /* bytes that one block can have at most, when its kernel asks for it */
    GpuForm form;
    char compiler[256]; /* for people: "NVRTC 13.0", or why there is none and what to do */
    int driver;         /* what CUDA the driver knows: 13000 is 13.0; 0 on the emulated device */
} GpuFacts;

/* Kernel text. Headers are given beside it by the name it includes them by; NVRTC looks nowhere else. */
typedef struct {
    const char *name, *text; /* "cuda/kernels/matmul.cu" */
    int headers;
    const char *header_name[GPU_HEADERS_MAX], *header_text[GPU_HEADERS_MAX];
    const char *define; /* "-DTILE=64 -DHALF_IS_F16" or NULL: what the text is specialised by */
} GpuSource;

typedef struct {
    unsigned grid[3];
    unsigned threads; /* of a block; what its KERNEL says */
    size_t shared;    /* bytes of SHARED_REST */
} GpuLaunch;

typedef enum { GPU_TO_DEVICE, GPU_TO_HOST, GPU_ON_DEVICE } GpuDirection;

typedef struct Gpu Gpu;
typedef struct GpuStream GpuStream;
typedef struct GpuEvent GpuEvent;
typedef struct GpuModule GpuModule;
typedef struct GpuKernel GpuKernel; /* belongs to its module */
typedef struct GpuGraph GpuGraph;

typedef struct {
    void (*close)(Gpu *gpu);
    /* Device memory: a few large blocks, aligned to 256 bytes; the plan places tensors in them. ERR_MEMORY says how
     * much was asked for and how much is left. */
    int (*memory)(Gpu *gpu, size_t bytes, void **at);
    void (*memory_free)(Gpu *gpu, void *at);
    int (*memory_left)(Gpu *gpu, size_t *bytes);
    int (*pinned)(Gpu *gpu, size_t bytes, void **at);
    void (*pinned_free)(Gpu *gpu, void *at);

    int (*stream)(Gpu *gpu, GpuStream **stream);
    void (*stream_drop)(GpuStream *stream);
    int (*copy)(GpuStream *stream, void *to, const void *from, size_t bytes, GpuDirection direction);
    int (*fill)(GpuStream *stream, void *at, uint8_t value, size_t bytes);
    /* `arguments` are copied; they are one struct that both sides include. */
    int (*launch)(GpuStream *stream, const GpuKernel *kernel, GpuLaunch launch, const void *arguments, size_t bytes);
    int (*finish)(GpuStream *stream); /* waits until all of it is done */

    int (*event)(Gpu *gpu, GpuEvent **event);
    void (*event_drop)(GpuEvent *event);
    int (*record)(GpuStream *stream, GpuEvent *event); /* it happens when all before it in the stream is done */
    int (*await)(GpuStream *stream, GpuEvent *event);  /* what follows in `stream` waits for its latest record */
    int (*event_finish)(GpuEvent *event);
    int (*seconds)(GpuEvent *from, GpuEvent *to, double *seconds); /* both have happened */

    /* Told which modules will be asked for next; compiles those that are in no cache, many at a time if it can. NULL
     * where there is nothing to gain. */
    int (*prepare)(Gpu *gpu, const GpuSource *source, int count);
    int (*module)(Gpu *gpu, const GpuSource *source, GpuModule **module); /* compiles and loads */
    void (*module_drop)(GpuModule *module);
    int (*kernel)(GpuModule *module, const char *name, const GpuKernel **kernel);

    /* What is given to `stream` from capture to capture_end is kept instead of run, arguments included. */
    int (*capture)(GpuStream *stream);
    int (*capture_end)(GpuStream *stream, GpuGraph **graph);
    int (*graph_run)(GpuStream *stream, GpuGraph *graph);
    void (*graph_drop)(GpuGraph *graph);
} GpuCalls;

struct Gpu {
    const GpuCalls *call;
    GpuFacts facts;
};

static inline void gpu_close(Gpu *gpu) {
    if (gpu) gpu->call->close(gpu);
}
#endif
