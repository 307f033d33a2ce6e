#include "cuda/paper.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 256 };

typedef struct {
    Gpu gpu; /* first: a Gpu is one of these */
    size_t next;
} Paper;

struct GpuKernel {
    char name[64];
};
/* What has no contents of its own. */
struct GpuStream {
    int unused;
};
struct GpuEvent {
    int unused;
};
struct GpuModule {
    GpuKernel kernel;
};
struct GpuGraph {
    int unused;
};

static void close_paper(Gpu *gpu) {
    mem_free(gpu);
}

static int memory(Gpu *gpu, size_t bytes, void **at) {
    Paper *p = (Paper *)gpu;
    *at = (void *)(uintptr_t)p->next;
    p->next += (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    return 0;
}

static void memory_free(Gpu *gpu, void *at) {
    (void)gpu, (void)at;
}

static int memory_left(Gpu *gpu, size_t *bytes) {
    *bytes = gpu->facts.memory;
    return 0;
}

static int pinned(Gpu *gpu, size_t bytes, void **at) {
    (void)gpu;
    *at = mem_alloc(bytes);
    return *at ? 0 : (int)ERR_MEMORY;
}

static void pinned_free(Gpu *gpu, void *at) {
    (void)gpu;
    mem_free(at);
}

#define MAKE(Type, name)                     \
    static int name(Gpu *gpu, Type **made) { \
        (void)gpu;                           \
        *made = mem_zero(1, sizeof **made);  \
        return *made ? 0 : (int)ERR_MEMORY;  \
    }
MAKE(GpuStream, stream)
MAKE(GpuEvent, event)

static void stream_drop(GpuStream *at) {
    mem_free(at);
}
static void event_drop(GpuEvent *at) {
    mem_free(at);
}
static void module_drop(GpuModule *at) {
    mem_free(at);
}
static void graph_drop(GpuGraph *at) {
    mem_free(at);
}

static int copy(GpuStream *at, void *to, const void *from, size_t bytes, GpuDirection direction) {
    (void)at, (void)to, (void)from, (void)bytes, (void)direction;
    return 0;
}

static int fill(GpuStream *at, void *to, uint8_t value, size_t bytes) {
    (void)at, (void)to, (void)value, (void)bytes;
    return 0;
}

static int launch(GpuStream *at, const GpuKernel *kernel, GpuLaunch how, const void *arguments, size_t bytes) {
    (void)at, (void)kernel, (void)how, (void)arguments, (void)bytes;
    return 0;
}

static int stream_done(GpuStream *at) {
    (void)at;
    return 0;
}

static int event_done(GpuEvent *at) {
    (void)at;
    return 0;
}

static int with_event(GpuStream *at, GpuEvent *other) {
    (void)at, (void)other;
    return 0;
}

static int seconds(GpuEvent *from, GpuEvent *to, double *between) {
    (void)from, (void)to;
    *between = 0;
    return 0;
}

static int module_make(Gpu *gpu, const GpuSource *source, GpuModule **made) {
    (void)gpu, (void)source;
    *made = mem_zero(1, sizeof **made);
    return *made ? 0 : (int)ERR_MEMORY;
}

static int kernel_find(GpuModule *module, const char *name, const GpuKernel **kernel) {
    (void)name;
    *kernel = &module->kernel;
    return 0;
}

static int capture_end(GpuStream *at, GpuGraph **graph) {
    (void)at;
    *graph = mem_zero(1, sizeof **graph);
    return *graph ? 0 : (int)ERR_MEMORY;
}

static int graph_run(GpuStream *at, GpuGraph *graph) {
    (void)at, (void)graph;
    return 0;
}

/* CUDA C++ Programming Guide, technical specifications by compute capability: shared memory a block can have. */
static size_t shared_of(int arch) {
    switch (arch) {
    case 75:
        return 64 << 10;
    case 80:
    case 87:
        return 163 << 10;
    case 86:
    case 89:
    case 120:
    case 121:
        return 99 << 10;
    default:
        return 227 << 10;
    }
}

int paper_open(int arch, Gpu **gpu) {
    static const GpuCalls calls = {
        .close = close_paper,
        .memory = memory,
        .memory_free = memory_free,
        .memory_left = memory_left,
        .pinned = pinned,
        .pinned_free = pinned_free,
        .stream = stream,
        .stream_drop = stream_drop,
        .copy = copy,
        .fill = fill,
        .launch = launch,
        .finish = stream_done,
        .event = event,
        .event_drop = event_drop,
        .record = with_event,
        .await = with_event,
        .event_finish = event_done,
        .seconds = seconds,
        .module = module_make,
        .module_drop = module_drop,
        .kernel = kernel_find,
        .capture = stream_done,
        .capture_end = capture_end,
        .graph_run = graph_run,
        .graph_drop = graph_drop,
    };
    Paper *p = mem_zero(1, sizeof *p);
    *gpu = NULL;
    if (!p) return ERR_MEMORY;
    p->gpu = (Gpu){
        &calls, {.arch = arch, .multiprocessors = 132, .memory = (size_t)1 << 37, .shared_a_block = shared_of(arch)}};
    snprintf(p->gpu.facts.name, sizeof p->gpu.facts.name, "sm_%d on paper", arch);
    p->next = (size_t)1 << 40; /* where nothing of a process lies */
    *gpu = &p->gpu;
    return 0;
}
