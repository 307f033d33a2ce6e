/* tests/cuda/emulated_driver.c - a libcuda, and an NVRTC in the same file, behind which stands the emulated device.
 *
 * With it under the names that the program opens, the real back end (cuda/driver.c, cuda/nvrtc.c, cuda/compile.c,
 * cuda/cache.c) runs whole without a GPU, results included: tests/cuda/test_emulated_driver.c, and `make test-gpu-dry`,
 * which is `make test-gpu` on it. What the real driver insists on, this one does: a context in every thread that calls,
 * shared memory asked for before it is used, grids within limits, nothing that takes memory or waits while a stream is
 * captured, no more of an event than was recorded. What it refuses it says on stderr.
 *
 * "Machine code" is the text itself with its headers and definitions, which cuModuleLoadData gives to the C compiler.
 * In a test program, which has the emulated device in it, that one is used; `panum` gets the one linked in here.
 * $EMULATED_CUDA says what the device is: "arch=90 memory=1024 shared=227 multiprocessors=4 unwatched=1", memory in
 * MiB, shared memory of a block in KiB. */
#include "cuda/calls.h"
#include "tests/cuda/simt/emulated.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    INVALID_CONTEXT = 201,
    NO_BINARY = 209,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    LAUNCH_FAILED = 719,
    SHARED_UNASKED = 48 << 10,
    FUNCTIONS_MOST = 64,
    OPTIONS_BYTES = 1024
};

struct CUctx_st {
    int unused;
};
struct CUfunc_st {
    const GpuKernel *kernel;
    size_t shared_most; /* of SHARED_REST */
};
struct CUmod_st {
    GpuModule *module;
    struct CUfunc_st function[FUNCTIONS_MOST];
    int functions;
};
struct CUevent_st {
    GpuEvent *event;
    bool recorded;
};

static Gpu *gpu;
static struct CUctx_st context;
static _Thread_local Context current;

static int told(const char *name, int otherwise) {
    const char *all = getenv("EMULATED_CUDA"), *at = all ? strstr(all, name) : NULL;
    return at && at[strlen(name)] == '=' ? atoi(at + strlen(name) + 1) : otherwise;
}

/* Whatever the device refuses: the driver's code for it. */
static DriverCode answer(int code) {
    GpuStream *stream;
    if (!code) return 0;
    fprintf(stderr, "emulated driver: %s\n", err_sentence());
    if (code == ERR_MEMORY) return OUT_OF_MEMORY;
    if (gpu->call->stream(gpu, &stream)) return LAUNCH_FAILED; /* nothing works any more */
    gpu->call->stream_drop(stream);
    return INVALID_VALUE;
}

static DriverCode refuse(DriverCode code, const char *why) {
    fprintf(stderr, "emulated driver: %s\n", why);
    return code;
}

#define CALL(symbol, arguments)  \
    DriverCode symbol arguments; \
    DriverCode symbol arguments
#define IN_CONTEXT \
    if (!current) return refuse(INVALID_CONTEXT, "a call from a thread without a context")

static void *pointer(Address at) {
    return (void *)(size_t)at;
}
static GpuStream *of(Stream stream) {
    return (GpuStream *)(void *)stream;
}

/* ---- the device ---- */

CALL(cuDriverGetVersion, (int *version)) {
    *version = 13000;
    return 0;
}
CALL(cuInit, (unsigned flags)) {
    /* kernels look for the words of the device in all that the program has opened */
    Dl_info self;
    static const char here;
    if (dladdr(&here, &self)) dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
    Emulated facts = {.arch = told("arch", 80),
                      .memory = (size_t)told("memory", 1024) << 20,
                      .shared_a_block = (size_t)told("shared", 99) << 10,
                      .multiprocessors = told("multiprocessors", 4),
                      .unwatched = told("unwatched", 0)};
    if (flags) return INVALID_VALUE;
    return gpu ? 0 : answer(emulated_open(facts, &gpu));
}
CALL(cuDeviceGetCount, (int *count)) {
    *count = 1;
    return gpu ? 0 : NOT_INITIALIZED;
}
CALL(cuDeviceGet, (DeviceNumber * device, int index)) {
    *device = index;
    return index ? INVALID_VALUE : 0;
}
CALL(cuDeviceGetName, (char *name, int size, DeviceNumber device)) {
    (void)device;
    snprintf(name, (size_t)size, "Emulated GPU");
    return 0;
}
CALL(cuDeviceGetAttribute, (int *value, DeviceAttribute attribute, DeviceNumber device)) {
    (void)device;
    switch (attribute) {
    case ATTRIBUTE_MAJOR:
        *value = gpu->facts.arch / 10;
        return 0;
    case ATTRIBUTE_MINOR:
        *value = gpu->facts.arch % 10;
        return 0;
    case ATTRIBUTE_MULTIPROCESSORS:
        *value = gpu->facts.multiprocessors;
        return 0;
    case ATTRIBUTE_SHARED_OPT_IN:
        *value = (int)gpu->facts.shared_a_block;
        return 0;
    default:
        return refuse(INVALID_VALUE, "an attribute of a device that this one does not know");
    }
}
CALL(cuDeviceTotalMem_v2, (size_t * bytes, DeviceNumber device)) {
    (void)device;
    *bytes = gpu->facts.memory;
    return 0;
}
CALL(cuDevicePrimaryCtxRetain, (Context * made, DeviceNumber device)) {
    *made = &context;
    return device ? INVALID_VALUE : 0;
}
CALL(cuDevicePrimaryCtxRelease_v2, (DeviceNumber device)) {
    return device ? INVALID_VALUE : 0;
}
CALL(cuCtxSetCurrent, (Context of_thread)) {
    current = of_thread;
    return 0;
}

/* ---- memory ---- */

CALL(cuMemGetInfo_v2, (size_t * left, size_t *all)) {
    IN_CONTEXT;
    *all = gpu->facts.memory;
    return answer(gpu->call->memory_left(gpu, left));
}
CALL(cuMemAlloc_v2, (Address * at, size_t bytes)) {
    IN_CONTEXT;
    void *made;
    if (!bytes) return INVALID_VALUE;
    DriverCode code = answer(gpu->call->memory(gpu, bytes, &made));
    *at = (Address)(size_t)made;
    return code;
}
CALL(cuMemFree_v2, (Address at)) {
    IN_CONTEXT;
    gpu->call->memory_free(gpu, pointer(at));
    return 0;
}
CALL(cuMemHostAlloc, (void **at, size_t bytes, unsigned flags)) {
    IN_CONTEXT;
    return flags || !bytes ? INVALID_VALUE : answer(gpu->call->pinned(gpu, bytes, at));
}
CALL(cuMemFreeHost, (void *at)) {
    IN_CONTEXT;
    gpu->call->pinned_free(gpu, at);
    return 0;
}
CALL(cuMemcpyHtoDAsync_v2, (Address to, const void *from, size_t bytes, Stream stream)) {
    IN_CONTEXT;
    return answer(gpu->call->copy(of(stream), pointer(to), from, bytes, GPU_TO_DEVICE));
}
CALL(cuMemcpyDtoHAsync_v2, (void *to, Address from, size_t bytes, Stream stream)) {
    IN_CONTEXT;
    return answer(gpu->call->copy(of(stream), to, pointer(from), bytes, GPU_TO_HOST));
}
CALL(cuMemcpyDtoDAsync_v2, (Address to, Address from, size_t bytes, Stream stream)) {
    IN_CONTEXT;
    return answer(gpu->call->copy(of(stream), pointer(to), pointer(from), bytes, GPU_ON_DEVICE));
}
CALL(cuMemsetD8Async, (Address at, unsigned char value, size_t bytes, Stream stream)) {
    IN_CONTEXT;
    return answer(gpu->call->fill(of(stream), pointer(at), value, bytes));
}

/* ---- order ---- */

CALL(cuStreamCreate, (Stream * stream, unsigned flags)) {
    IN_CONTEXT;
    GpuStream *made;
    if (flags != STREAM_NON_BLOCKING) return INVALID_VALUE;
    DriverCode code = answer(gpu->call->stream(gpu, &made));
    *stream = (Stream)(void *)made;
    return code;
}
CALL(cuStreamDestroy_v2, (Stream stream)) {
    IN_CONTEXT;
    gpu->call->stream_drop(of(stream));
    return 0;
}
CALL(cuStreamSynchronize, (Stream stream)) {
    IN_CONTEXT;
    return answer(gpu->call->finish(of(stream)));
}
CALL(cuStreamWaitEvent, (Stream stream, Event event, unsigned flags)) {
    IN_CONTEXT;
    return flags ? INVALID_VALUE : answer(gpu->call->await(of(stream), event->event));
}
CALL(cuEventCreate, (Event * event, unsigned flags)) {
    IN_CONTEXT;
    if (flags) return INVALID_VALUE;
    *event = calloc(1, sizeof **event);
    return *event ? answer(gpu->call->event(gpu, &(*event)->event)) : OUT_OF_MEMORY;
}
CALL(cuEventDestroy_v2, (Event event)) {
    IN_CONTEXT;
    gpu->call->event_drop(event->event);
    free(event);
    return 0;
}
CALL(cuEventRecord, (Event event, Stream stream)) {
    IN_CONTEXT;
    event->recorded = true;
    return answer(gpu->call->record(of(stream), event->event));
}
CALL(cuEventSynchronize, (Event event)) {
    IN_CONTEXT;
    return answer(gpu->call->event_finish(event->event));
}
CALL(cuEventElapsedTime, (float *milliseconds, Event from, Event to)) {
    IN_CONTEXT;
    double seconds = 0;
    if (!from->recorded || !to->recorded) return refuse(INVALID_HANDLE, "time between events that were not recorded");
    DriverCode code = answer(gpu->call->seconds(from->event, to->event, &seconds));
    *milliseconds = (float)(1e3 * seconds);
    return code;
}

/* ---- graphs ---- */

CALL(cuStreamBeginCapture_v2, (Stream stream, CaptureMode mode)) {
    IN_CONTEXT;
    return mode != CAPTURE_THREAD_LOCAL ? INVALID_VALUE : answer(gpu->call->capture(of(stream)));
}
CALL(cuStreamEndCapture, (Stream stream, Graph *graph)) {
    IN_CONTEXT;
    GpuGraph *made;
    DriverCode code = answer(gpu->call->capture_end(of(stream), &made));
    *graph = (Graph)(void *)made;
    return code;
}
CALL(cuGraphInstantiateWithFlags, (GraphExec * exec, Graph graph, unsigned long long flags)) {
    IN_CONTEXT;
    *exec = (GraphExec)(void *)graph;
    return flags ? INVALID_VALUE : 0;
}
CALL(cuGraphUpload, (GraphExec exec, Stream stream)) {
    IN_CONTEXT;
    return exec && stream ? 0 : INVALID_VALUE;
}
CALL(cuGraphLaunch, (GraphExec exec, Stream stream)) {
    IN_CONTEXT;
    return answer(gpu->call->graph_run(of(stream), (GpuGraph *)(void *)exec));
}
CALL(cuGraphExecDestroy, (GraphExec exec)) {
    IN_CONTEXT;
    return exec ? 0 : INVALID_VALUE;
}
CALL(cuGraphDestroy, (Graph graph)) {
    IN_CONTEXT;
    gpu->call->graph_drop((GpuGraph *)(void *)graph);
    return 0;
}

/* ---- kernel text as "machine code": its length, the architecture, then texts that end with a zero ---- */

static const char magic[8] = "emulated";
typedef struct {
    char magic[8];
    size_t bytes;
    int arch, headers;
} Code;

struct NvrtcProgram {
    char *code;
    size_t bytes;
    char said[200];
};

static bool add(Program p, const void *data, size_t bytes) {
    char *grown = realloc(p->code, p->bytes + bytes);
    if (!grown) return false;
    memcpy(grown + p->bytes, data, bytes);
    p->code = grown;
    p->bytes += bytes;
    return true;
}
static bool add_text(Program p, const char *text) {
    return add(p, text, strlen(text) + 1);
}
static const char *next_text(const char **at) {
    const char *text = *at;
    *at += strlen(text) + 1;
    return text;
}

CALL(cuModuleLoadData, (Module * module, const void *image)) {
    IN_CONTEXT;
    Code code;
    memcpy(&code, image, sizeof code);
    if (memcmp(code.magic, magic, sizeof magic) != 0 || (code.arch > 0 && code.arch != gpu->facts.arch) ||
        -code.arch > gpu->facts.arch)
        return refuse(NO_BINARY, "a module that is not of this device");
    const char *at = (const char *)image + sizeof code;
    GpuSource source = {.headers = code.headers};
    source.name = next_text(&at);
    source.text = next_text(&at);
    for (int i = 0; i < code.headers; i++) {
        source.header_name[i] = next_text(&at);
        source.header_text[i] = next_text(&at);
    }
    source.define = next_text(&at);
    if (!source.define[0]) source.define = NULL;
    *module = calloc(1, sizeof **module);
    return *module ? answer(gpu->call->module(gpu, &source, &(*module)->module)) : OUT_OF_MEMORY;
}
CALL(cuModuleUnload, (Module module)) {
    IN_CONTEXT;
    gpu->call->module_drop(module->module);
    free(module);
    return 0;
}
CALL(cuModuleGetFunction, (Function * function, Module module, const char *name)) {
    IN_CONTEXT;
    if (module->functions == FUNCTIONS_MOST) return OUT_OF_MEMORY;
    Function f = *function = &module->function[module->functions];
    f->shared_most = SHARED_UNASKED;
    if (gpu->call->kernel(module->module, name, &f->kernel)) return refuse(NOT_FOUND, err_sentence());
    module->functions++;
    return 0;
}
CALL(cuFuncGetAttribute, (int *value, FunctionAttribute attribute, Function function)) {
    IN_CONTEXT;
    *value = 0; /* what a kernel's own arrays take shows when it runs, and is counted then */
    return function && attribute == FUNCTION_SHARED ? 0 : INVALID_VALUE;
}
CALL(cuFuncSetAttribute, (Function function, FunctionAttribute attribute, int value)) {
    IN_CONTEXT;
    if (attribute != FUNCTION_SHARED_MOST || value < 0 || (size_t)value > gpu->facts.shared_a_block)
        return refuse(INVALID_VALUE, "more shared memory is asked for than a block can have");
    function->shared_most = (size_t)value;
    return 0;
}
CALL(cuLaunchKernel, (Function function, unsigned x, unsigned y, unsigned z, unsigned tx, unsigned ty, unsigned tz,
                      unsigned shared, Stream stream, void **arguments, void **extra)) {
    IN_CONTEXT;
    if (ty != 1 || tz != 1 || extra || !arguments) return INVALID_VALUE;
    if (shared > function->shared_most)
        return refuse(INVALID_VALUE, "a launch with more shared memory than its kernel has asked for");
    return answer(gpu->call->launch(of(stream), function->kernel, (GpuLaunch){{x, y, z}, tx, shared}, arguments[0],
                                    emulated_argument_bytes(function->kernel)));
}

/* The emulated device asks for it where nothing is compiled, which this NVRTC rules out; test programs have it. */
const char *kept_find(const GpuSource *source) __attribute__((weak));
const char *kept_find(const GpuSource *source) {
    (void)source;
    return NULL;
}

/* ---- NVRTC ---- */

#define COMPILER(symbol, arguments) \
    CompilerCode symbol arguments;  \
    CompilerCode symbol arguments
static const int architectures[] = {75, 80, 86, 89, 90, 100, 120};

COMPILER(nvrtcVersion, (int *major, int *minor)) {
    *major = 13, *minor = 0;
    return 0;
}
COMPILER(nvrtcGetNumSupportedArchs, (int *count)) {
    *count = (int)(sizeof architectures / sizeof *architectures);
    return 0;
}
COMPILER(nvrtcGetSupportedArchs, (int *each)) {
    memcpy(each, architectures, sizeof architectures);
    return 0;
}
COMPILER(nvrtcCreateProgram, (Program * program, const char *text, const char *name, int headers,
                              const char *const *header_text, const char *const *header_name)) {
    Code code = {.headers = headers};
    Program p = *program = calloc(1, sizeof *p);
    memcpy(code.magic, magic, sizeof magic);
    bool good = p && add(p, &code, sizeof code) && add_text(p, name) && add_text(p, text);
    for (int i = 0; good && i < headers; i++) good = add_text(p, header_name[i]) && add_text(p, header_text[i]);
    return good ? 0 : 1;
}
COMPILER(nvrtcCompileProgram, (Program program, int options, const char *const *option)) {
    char define[OPTIONS_BYTES] = "";
    int arch = 0;
    for (int i = 0; i < options; i++) {
        size_t n = strlen(define);
        if (!strncmp(option[i], "--gpu-architecture=sm_", 22))
            arch = atoi(option[i] + 22);
        else if (!strncmp(option[i], "--gpu-architecture=compute_", 27))
            arch = -atoi(option[i] + 27); /* for it and whatever is newer */
        else if (!strncmp(option[i], "-D", 2) && n + strlen(option[i]) + 2 < sizeof define)
            snprintf(define + n, sizeof define - n, "%s%s", n ? " " : "", option[i]);
        else if (strncmp(option[i], "--ptxas-options=-", 17) != 0) {
            snprintf(program->said, sizeof program->said, "error: option %s is not known\n", option[i]);
            return 5;
        }
    }
    if (!arch || !add_text(program, define)) return 1;
    memcpy(program->code + offsetof(Code, arch), &arch, sizeof arch);
    memcpy(program->code + offsetof(Code, bytes), &program->bytes, sizeof program->bytes);
    return 0;
}
COMPILER(nvrtcGetProgramLogSize, (Program program, size_t *bytes)) {
    *bytes = strlen(program->said) + 1;
    return 0;
}
COMPILER(nvrtcGetProgramLog, (Program program, char *log)) {
    memcpy(log, program->said, strlen(program->said) + 1);
    return 0;
}
COMPILER(nvrtcGetCUBINSize, (Program program, size_t *bytes)) {
    *bytes = program->bytes;
    return 0;
}
COMPILER(nvrtcGetCUBIN, (Program program, char *code)) {
    memcpy(code, program->code, program->bytes);
    return 0;
}
COMPILER(nvrtcGetPTXSize, (Program program, size_t *bytes)) {
    return nvrtcGetCUBINSize(program, bytes);
}
COMPILER(nvrtcGetPTX, (Program program, char *ptx)) {
    return nvrtcGetCUBIN(program, ptx);
}
COMPILER(nvrtcDestroyProgram, (Program * program)) {
    free((*program)->code);
    free(*program);
    *program = NULL;
    return 0;
}
