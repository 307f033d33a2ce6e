#include "cuda/driver.h"
#include "base/mem.h"
#include "cuda/calls.h"
#include "cuda/kept.h"
#include "cuda/nvrtc.h"
#include "cuda/sentences.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define DECLARE(name, symbol, arguments) DriverCode(*name) arguments;
typedef struct {
    char path[256];
    int version;
    DRIVER_CALLS(DECLARE)
} Driver;

enum { KERNELS_MAX = 64 };

typedef struct Device {
    Gpu gpu; /* first: a Gpu is one of these */
    const Driver *driver;
    int index;
    Context context;
    uint64_t number; /* of this opening, from 1 on */
    const Nvrtc *nvrtc;
    char nvrtc_path[256];
    CompileHelp compile;
    int lost; /* the code that cost the context, 0: all is well */
} Device;

struct GpuStream {
    Device *device;
    Stream stream;
};
struct GpuEvent {
    Device *device;
    Event event;
};
struct GpuKernel {
    char name[64];
    Function function;
    int shared; /* bytes of its own arrays, beside what a launch asks for */
};
struct GpuModule {
    Device *device;
    Module module;
    GpuKernel kernel[KERNELS_MAX];
    int kernels;
};
struct GpuGraph {
    Device *device;
    Graph graph;
    GraphExec exec;
};

static int say(int code, const char *what) {
    const CudaCode *c = cuda_code(code);
    return fail(code == 2 ? ERR_MEMORY : ERR_DEVICE, "%s: %s (CUDA error %d, %s)", what, c->sentence, code, c->name);
}

/* 0, or the sentence of what the driver answered; some answers are the last. */
static int check(Device *d, int code, const char *what) {
    if (!code) return 0;
    if (cuda_code(code)->lost) d->lost = code;
    return say(code, what);
}

/* The driver keeps a context for each thread of the host: whichever comes gets the device's. */
static _Thread_local uint64_t current;

static int enter(Device *d) {
    if (d->lost) return say(d->lost, "the GPU was lost earlier");
    if (current == d->number) return 0;
    int code = check(d, d->driver->context_set(d->context), d->gpu.facts.name);
    if (!code) current = d->number;
    return code;
}

/* Whether there is anything to give back; after a loss there is not, and the sentence of it stays. */
static bool can_drop(Device *d) {
    return !d->lost && !enter(d);
}

/* ---- opening ---- */

static int load(const char *path, Driver *driver) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *why = library ? "" : dlerror();
    if (!library && why && !strstr(why, "No such file"))
        return fail(ERR_DEVICE, "the NVIDIA driver cannot be loaded (%s); until then everything runs on the CPU", why);
    if (!library)
        return fail(ERR_DEVICE,
                    "there is no NVIDIA driver on this machine (%s is not found); without a GPU everything "
                    "runs on the CPU",
                    path);
    int (*version)(int *) = NULL;
    void *symbol = dlsym(library, "cuDriverGetVersion");
    memcpy(&version, &symbol, sizeof version);
    if (!version || version(&driver->version)) driver->version = 0;
    const struct {
        void *at;
        const char *name;
    } table[] = {
#define ROW(name, symbol, arguments) {&driver->name, #symbol},
        DRIVER_CALLS(ROW)};
    const char *absent = NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        void *function = dlsym(library, table[i].name);
        if (!function && !absent) absent = table[i].name;
        if (function) memcpy(table[i].at, &function, sizeof function);
    }
    if (driver->version && driver->version < CUDA_DRIVER_LEAST)
        return fail(ERR_DEVICE,
                    "the NVIDIA driver knows CUDA %d.%d and %d.0 is needed; install driver 525 or newer. Until then "
                    "everything runs on the CPU",
                    driver->version / 1000, driver->version % 1000 / 10, CUDA_DRIVER_LEAST / 1000);
    if (absent) return fail(ERR_DEVICE, "%s has no %s: it is too old, or no NVIDIA driver", path, absent);
    int code = driver->init(0);
    if (code) return say(code, "the NVIDIA driver does not start");
    snprintf(driver->path, sizeof driver->path, "%s", path);
    return 0;
}

static const char *driver_path(const CudaLibraries *libraries) {
    return libraries && libraries->driver ? libraries->driver : "libcuda.so.1";
}

bool cuda_present(const CudaLibraries *libraries) {
    void *library = dlopen(driver_path(libraries), RTLD_NOW | RTLD_LOCAL);
    if (library) dlclose(library);
    return library != NULL;
}

/* A driver that works is opened once and kept. */
static int open_driver(const CudaLibraries *libraries, const Driver **out) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static Driver kept;
    const char *path = driver_path(libraries);
    int code = 0;
    pthread_mutex_lock(&mutex);
    if (strcmp(path, kept.path) != 0) {
        Driver found = {0};
        code = load(path, &found);
        if (!code) kept = found;
    }
    pthread_mutex_unlock(&mutex);
    *out = code ? NULL : &kept;
    return code;
}

int cuda_count(const CudaLibraries *libraries, int *devices) {
    const Driver *driver;
    *devices = 0;
    int code = open_driver(libraries, &driver);
    if (code) return code;
    code = driver->device_count(devices);
    if (code) return say(code, "the NVIDIA driver cannot count its GPUs");
    return *devices > 0 ? 0 : say(100, "the NVIDIA driver is there");
}

/* Who makes code of kernels for it. Nothing is compiled yet. */
static void find_compiler(const CudaLibraries *libraries, GpuFacts *facts) {
    const Nvrtc *nvrtc;
    CompileTarget to;
    int major = 0, minor = 0;
    char *text = facts->compiler;
    const size_t size = sizeof facts->compiler;
    facts->form = GPU_EMBEDDED;
    if (libraries && libraries->kept) {
        snprintf(text, size, "no compiler in use");
    } else if (nvrtc_open(libraries ? libraries->nvrtc : NULL, &nvrtc)) {
        snprintf(text, size, "no NVRTC on this machine (install package cuda-nvrtc, or pip install nvidia-cuda-nvrtc)");
        err_clear();
    } else if (nvrtc_version(nvrtc, &major, &minor), !nvrtc_target(nvrtc, facts->arch, &to)) {
        snprintf(text, size, "no code for sm_%d from NVRTC %d.%d (an older NVRTC still makes it)", facts->arch, major,
                 minor);
    } else if (to.ptx) {
        facts->form = GPU_COMPILES_PTX;
        snprintf(text, size, "NVRTC %d.%d, which knows sm_%d and older: it makes PTX, and the driver the rest", major,
                 minor, to.arch);
    } else {
        facts->form = GPU_COMPILES;
        snprintf(text, size, "NVRTC %d.%d", major, minor);
    }
}

static int facts_of(const Driver *driver, const CudaLibraries *libraries, int index, int *device, GpuFacts *facts) {
    int major = 0, minor = 0, shared = 0;
    *facts = (GpuFacts){.driver = driver->version};
    int code = driver->device_get(device, index);
    if (!code) code = driver->device_name(facts->name, sizeof facts->name, *device);
    if (!code) code = driver->device_memory(&facts->memory, *device);
    if (!code) code = driver->device_attribute(&major, ATTRIBUTE_MAJOR, *device);
    if (!code) code = driver->device_attribute(&minor, ATTRIBUTE_MINOR, *device);
    if (!code) code = driver->device_attribute(&facts->multiprocessors, ATTRIBUTE_MULTIPROCESSORS, *device);
    if (!code) code = driver->device_attribute(&shared, ATTRIBUTE_SHARED_OPT_IN, *device);
    facts->name[sizeof facts->name - 1] = 0;
    facts->arch = 10 * major + minor;
    facts->shared_a_block = (size_t)(shared > 0 ? shared : 0);
    if (!code) find_compiler(libraries, facts);
    return code ? say(code, "the GPU does not say what it is") : 0;
}

int cuda_facts(const CudaLibraries *libraries, int index, GpuFacts *facts) {
    const Driver *driver;
    int device, code = open_driver(libraries, &driver);
    return code ? code : facts_of(driver, libraries, index, &device, facts);
}

/* ---- memory ---- */

static int memory_left(Gpu *gpu, size_t *bytes) {
    Device *d = (Device *)gpu;
    size_t all;
    *bytes = 0;
    return check(d, d->driver->memory_info(bytes, &all), "the GPU's memory");
}

static int memory(Gpu *gpu, size_t bytes, void **at) {
    Device *d = (Device *)gpu;
    Address address = 0;
    *at = NULL;
    if (enter(d)) return err_code();
    int code = d->driver->memory(&address, bytes ? bytes : 1);
    if (code == 2) {
        size_t left;
        if (memory_left(gpu, &left)) left = 0;
        return fail(ERR_MEMORY,
                    "the GPU has no room for %.0f MiB: %.0f MiB of its %.0f MiB are free; close other programs that "
                    "use it, or work on smaller pictures",
                    (double)bytes / 1048576, (double)left / 1048576, (double)gpu->facts.memory / 1048576);
    }
    *at = (void *)(uintptr_t)address;
    return check(d, code, "memory of the GPU");
}

static void memory_free(Gpu *gpu, void *at) {
    Device *d = (Device *)gpu;
    if (at && can_drop(d)) d->driver->memory_free((Address)(uintptr_t)at);
}

static int pinned(Gpu *gpu, size_t bytes, void **at) {
    Device *d = (Device *)gpu;
    *at = NULL;
    if (enter(d)) return err_code();
    return check(d, d->driver->pinned(at, bytes ? bytes : 1, 0), "memory for copies to and from the GPU");
}

static void pinned_free(Gpu *gpu, void *at) {
    Device *d = (Device *)gpu;
    if (at && can_drop(d)) d->driver->pinned_free(at);
}

/* ---- streams and events ---- */

static int stream_make(Gpu *gpu, GpuStream **stream) {
    Device *d = (Device *)gpu;
    *stream = NULL;
    if (enter(d)) return err_code();
    GpuStream *made = mem_zero(1, sizeof *made);
    if (!made) return ERR_MEMORY;
    made->device = d;
    int code = check(d, d->driver->stream(&made->stream, STREAM_NON_BLOCKING), "a stream of the GPU");
    if (code)
        mem_free(made);
    else
        *stream = made;
    return code;
}

static void stream_drop(GpuStream *stream) {
    if (!stream) return;
    if (can_drop(stream->device)) stream->device->driver->stream_drop(stream->stream);
    mem_free(stream);
}

static int copy(GpuStream *stream, void *to, const void *from, size_t bytes, GpuDirection direction) {
    Device *d = stream->device;
    if (enter(d)) return err_code();
    if (!bytes) return 0;
    Address there = (Address)(uintptr_t)to, here = (Address)(uintptr_t)from;
    int code = 0;
    switch (direction) {
    case GPU_TO_DEVICE:
        code = d->driver->copy_up(there, from, bytes, stream->stream);
        break;
    case GPU_TO_HOST:
        code = d->driver->copy_down(to, here, bytes, stream->stream);
        break;
    case GPU_ON_DEVICE:
        code = d->driver->copy_across(there, here, bytes, stream->stream);
        break;
    }
    return check(d, code, "a copy to or from the GPU");
}

static int fill(GpuStream *stream, void *at, uint8_t value, size_t bytes) {
    Device *d = stream->device;
    if (enter(d)) return err_code();
    if (!bytes) return 0;
    return check(d, d->driver->fill((Address)(uintptr_t)at, value, bytes, stream->stream), "filling the GPU's memory");
}

static int finish(GpuStream *stream) {
    Device *d = stream->device;
    if (enter(d)) return err_code();
    return check(d, d->driver->stream_finish(stream->stream), "the GPU's work");
}

static int event_make(Gpu *gpu, GpuEvent **event) {
    Device *d = (Device *)gpu;
    *event = NULL;
    if (enter(d)) return err_code();
    GpuEvent *made = mem_zero(1, sizeof *made);
    if (!made) return ERR_MEMORY;
    made->device = d;
    int code = check(d, d->driver->event(&made->event, 0), "an event of the GPU");
    if (code)
        mem_free(made);
    else
        *event = made;
    return code;
}

static void event_drop(GpuEvent *event) {
    if (!event) return;
    if (can_drop(event->device)) event->device->driver->event_drop(event->event);
    mem_free(event);
}

static int record(GpuStream *stream, GpuEvent *event) {
    Device *d = stream->device;
    if (enter(d)) return err_code();
    return check(d, d->driver->event_record(event->event, stream->stream), "an event of the GPU");
}

static int await(GpuStream *stream, GpuEvent *event) {
    Device *d = stream->device;
    if (enter(d)) return err_code();
    return check(d, d->driver->stream_await(stream->stream, event->event, 0), "an event of the GPU");
}

static int event_finish(GpuEvent *event) {
    Device *d = event->device;
    if (enter(d)) return err_code();
    return check(d, d->driver->event_finish(event->event), "the GPU's work");
}

static int seconds(GpuEvent *from, GpuEvent *to, double *out) {
    Device *d = from->device;
    float milliseconds = 0;
    if (enter(d)) return err_code();
    int code = check(d, d->driver->event_time(&milliseconds, from->event, to->event), "the GPU's clock");
    *out = 1e-3 * (double)milliseconds;
    return code;
}

/* ---- kernels ---- */

static int find_nvrtc(Device *d) {
    return d->nvrtc ? 0 : nvrtc_open(d->nvrtc_path[0] ? d->nvrtc_path : NULL, &d->nvrtc);
}

static int prepare(Gpu *gpu, const GpuSource *source, int count) {
    Device *d = (Device *)gpu;
    if (enter(d)) return err_code();
    if (gpu->facts.form == GPU_EMBEDDED) return 0;
    int code = find_nvrtc(d);
    return code ? code : compile_ahead(d->nvrtc, &d->compile, source, count, gpu->facts.arch);
}

/* The code of a source: compiled, from the cache, or among what comes with the program; `compiled` owns what was made.
 */
static int find_code(Device *d, const GpuSource *source, Compiled *compiled, const void **code) {
    *compiled = (Compiled){0};
    if (d->gpu.facts.form == GPU_EMBEDDED) {
        *code = kept_find(source);
        if (*code) return 0;
        return fail(ERR_DEVICE, "%s%s%s does not come compiled with the program, and there is %s", source->name,
                    source->define ? " " : "", source->define ? source->define : "", d->gpu.facts.compiler);
    }
    int failed = find_nvrtc(d);
    if (!failed) failed = compile_kernel(d->nvrtc, &d->compile, source, d->gpu.facts.arch, compiled);
    *code = compiled->code;
    return failed;
}

static int module_make(Gpu *gpu, const GpuSource *source, GpuModule **out) {
    Device *d = (Device *)gpu;
    Compiled compiled;
    const void *machine_code;
    *out = NULL;
    if (enter(d)) return err_code();
    int code = find_code(d, source, &compiled, &machine_code);
    GpuModule *module = code ? NULL : mem_zero(1, sizeof *module);
    if (!code && !module) code = ERR_MEMORY;
    if (!code) {
        module->device = d;
        code = check(d, d->driver->module(&module->module, machine_code), source->name);
    }
    compiled_free(&compiled);
    if (code)
        mem_free(module);
    else
        *out = module;
    return code;
}

static void module_drop(GpuModule *module) {
    if (!module) return;
    if (can_drop(module->device)) module->device->driver->module_drop(module->module);
    mem_free(module);
}

static int kernel_find(GpuModule *module, const char *name, const GpuKernel **kernel) {
    Device *d = module->device;
    *kernel = NULL;
    if (enter(d)) return err_code();
    for (int i = 0; i < module->kernels; i++)
        if (!strcmp(module->kernel[i].name, name)) *kernel = &module->kernel[i];
    if (*kernel) return 0;
    BUG_IF(module->kernels == KERNELS_MAX, "more than %d kernels in a module", KERNELS_MAX);
    GpuKernel *k = &module->kernel[module->kernels];
    snprintf(k->name, sizeof k->name, "%s", name);
    /* It may ask for all that a block can have. That it does so once, and not with each launch, matters to graphs: what
     * a later launch asks for is not to take away what an earlier one was captured with. */
    int code = d->driver->function(&k->function, module->module, name);
    if (!code) code = d->driver->function_attribute(&k->shared, FUNCTION_SHARED, k->function);
    if (!code)
        code = d->driver->function_set(k->function, FUNCTION_SHARED_MOST, (int)d->gpu.facts.shared_a_block - k->shared);
    if (code) return check(d, code, name);
    module->kernels++;
    *kernel = k;
    return 0;
}

static int launch(GpuStream *stream, const GpuKernel *kernel, GpuLaunch how, const void *arguments, size_t bytes) {
    Device *d = stream->device;
    BUG_IF(bytes > GPU_ARGUMENTS_MAX, "%s: %zu bytes of arguments", kernel->name, bytes);
    if (enter(d)) return err_code();
    if (how.shared + (size_t)kernel->shared > d->gpu.facts.shared_a_block)
        return fail(ERR_DEVICE, "%s: %zu bytes of shared memory, this device has %zu for a block", kernel->name,
                    how.shared + (size_t)kernel->shared, d->gpu.facts.shared_a_block);
    char copied[GPU_ARGUMENTS_MAX] __attribute__((aligned(16)));
    memcpy(copied, arguments, bytes);
    void *list[] = {copied};
    return check(d,
                 d->driver->launch(kernel->function, how.grid[0], how.grid[1], how.grid[2], how.threads, 1, 1,
                                   (unsigned)how.shared, stream->stream, list, NULL),
                 kernel->name);
}

/* ---- graphs ---- */

static int capture(GpuStream *stream) {
    Device *d = stream->device;
    if (enter(d)) return err_code();
    return check(d, d->driver->capture(stream->stream, CAPTURE_THREAD_LOCAL), "capturing a graph");
}

static void graph_drop(GpuGraph *graph) {
    if (!graph) return;
    if (can_drop(graph->device)) {
        if (graph->exec) graph->device->driver->graph_exec_drop(graph->exec);
        if (graph->graph) graph->device->driver->graph_drop(graph->graph);
    }
    mem_free(graph);
}

static int capture_end(GpuStream *stream, GpuGraph **out) {
    Device *d = stream->device;
    *out = NULL;
    if (enter(d)) return err_code();
    GpuGraph *graph = mem_zero(1, sizeof *graph);
    Graph captured = NULL;
    int code = d->driver->capture_end(stream->stream, &captured); /* always: the stream must not stay captured */
    if (!graph) {
        if (captured) d->driver->graph_drop(captured);
        return ERR_MEMORY;
    }
    graph->device = d;
    graph->graph = captured;
    if (!code) code = d->driver->graph_make(&graph->exec, captured, 0);
    if (!code) code = d->driver->graph_upload(graph->exec, stream->stream); /* its memory is taken now, not later */
    if (code) {
        graph_drop(graph);
        return check(d, code, "capturing a graph");
    }
    *out = graph;
    return 0;
}

static int graph_run(GpuStream *stream, GpuGraph *graph) {
    Device *d = stream->device;
    if (enter(d)) return err_code();
    return check(d, d->driver->graph_run(graph->exec, stream->stream), "a captured graph");
}

/* ---- the device ---- */

static void device_close(Gpu *gpu) {
    Device *d = (Device *)gpu;
    if (d->context) d->driver->context_release(d->index);
    mem_free(d);
}

int cuda_open(const CudaLibraries *libraries, int index, Gpu **gpu) {
    static const GpuCalls calls = {
        .close = device_close,
        .memory = memory,
        .memory_free = memory_free,
        .memory_left = memory_left,
        .pinned = pinned,
        .pinned_free = pinned_free,
        .stream = stream_make,
        .stream_drop = stream_drop,
        .copy = copy,
        .fill = fill,
        .launch = launch,
        .finish = finish,
        .event = event_make,
        .event_drop = event_drop,
        .record = record,
        .await = await,
        .event_finish = event_finish,
        .seconds = seconds,
        .prepare = prepare,
        .module = module_make,
        .module_drop = module_drop,
        .kernel = kernel_find,
        .capture = capture,
        .capture_end = capture_end,
        .graph_run = graph_run,
        .graph_drop = graph_drop,
    };
    static _Atomic uint64_t openings;
    const Driver *driver;
    int count;
    *gpu = NULL;
    int code = cuda_count(libraries, &count);
    if (code) return code;
    if (index < 0 || index >= count)
        return fail(ERR_DEVICE, "there is no GPU %d: the driver finds %d, counted from 0", index, count);
    code = open_driver(libraries, &driver);
    if (code) return code;
    Device *d = mem_zero(1, sizeof *d);
    if (!d) return ERR_MEMORY;
    d->gpu.call = &calls;
    d->driver = driver;
    if (libraries) d->compile = libraries->compile;
    if (libraries && libraries->nvrtc) snprintf(d->nvrtc_path, sizeof d->nvrtc_path, "%s", libraries->nvrtc);
    code = facts_of(driver, libraries, index, &d->index, &d->gpu.facts);
    if (!code && d->gpu.facts.arch < GPU_ARCH_LEAST)
        code = fail(ERR_DEVICE, "%s is too old (sm_%d): sm_%d (Turing, 2018) is the least; use the CPU",
                    d->gpu.facts.name, d->gpu.facts.arch, GPU_ARCH_LEAST);
    if (!code) code = check(d, driver->context_retain(&d->context, d->index), d->gpu.facts.name);
    d->number = ++openings;
    if (!code) code = enter(d);
    if (code) {
        device_close(&d->gpu);
        return code;
    }
    *gpu = &d->gpu;
    return 0;
}
