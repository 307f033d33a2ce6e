#include "tests/cuda/simt/emulated.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "cuda/kept.h"
#include "tests/cuda/simt/simt.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCKS_MAX = 200, KERNELS_MAX = 16, ALIGNMENT = 256, STATIC_SHARED_MAX = 48 << 10 };

typedef struct {
    void *at;
    size_t bytes;
} Block;

typedef struct Device {
    Gpu gpu; /* first: a Gpu is one of these */
    unsigned order;
    bool unwatched;
    Block block[BLOCKS_MAX];
    int blocks;
    EmulatedUse use;
    bool lost;
    char why[1024];
} Device;

struct GpuKernel {
    char name[64];
    SimtKernel run;
    int threads;
};

struct GpuModule {
    Device *device;
    void *library;
    GpuKernel kernel[KERNELS_MAX];
    int kernels;
};

typedef enum { WORK_COPY, WORK_FILL, WORK_LAUNCH, WORK_RECORD, WORK_AWAIT } WorkKind;

typedef struct Work {
    struct Work *next;
    WorkKind kind;
    GpuDirection direction;
    void *to;
    const void *from;
    size_t bytes;
    uint8_t value;
    uint64_t sum; /* of a host source when the copy was asked for */
    const GpuKernel *kernel;
    GpuLaunch launch;
    GpuEvent *event;
    int64_t number; /* of the event's record that is meant */
    char arguments[];
} Work;

typedef struct {
    Work *first, *last;
} Queue;

struct GpuStream {
    Device *device;
    Queue queue;
    GpuGraph *capture; /* what is being captured, or NULL */
};

struct GpuEvent {
    Device *device;
    GpuStream *stream; /* of the latest record */
    int64_t recorded, done;
    double at;
};

struct GpuGraph {
    Queue queue;
};

static int lost(Device *d) {
    return fail(ERR_DEVICE, "%s", d->why);
}

static int lose(Device *d, const char *why) {
    d->lost = true;
    snprintf(d->why, sizeof d->why, "%s", why);
    return lost(d);
}

/* ---- memory ---- */

static int memory(Gpu *gpu, size_t bytes, void **at) {
    Device *d = (Device *)gpu;
    *at = NULL;
    if (d->lost) return lost(d);
    size_t left = gpu->facts.memory - d->use.memory;
    if (bytes > left || d->blocks == BLOCKS_MAX)
        return fail(ERR_MEMORY, "the GPU has no room for %zu bytes: %zu are left", bytes, left);
    void *block = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + ALIGNMENT);
    if (!block) return fail(ERR_MEMORY, "no memory for %zu bytes of an emulated device", bytes);
    memset(block, 0xff, bytes);
    simt_region(block, bytes, "device memory");
    d->block[d->blocks++] = (Block){block, bytes};
    d->use.memory += bytes;
    d->use.allocations++;
    if (d->use.memory > d->use.memory_peak) d->use.memory_peak = d->use.memory;
    *at = block;
    return 0;
}

static void memory_free(Gpu *gpu, void *at) {
    Device *d = (Device *)gpu;
    for (int i = 0; i < d->blocks; i++) {
        if (d->block[i].at != at) continue;
        simt_region(at, 0, NULL);
        free(at);
        d->use.memory -= d->block[i].bytes;
        d->block[i] = d->block[--d->blocks];
        return;
    }
    BUG_IF(at, "memory_free of what memory did not give");
}

static int memory_left(Gpu *gpu, size_t *bytes) {
    *bytes = gpu->facts.memory - ((Device *)gpu)->use.memory;
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

/* ---- work ---- */

static void append(Queue *queue, Work *work) {
    work->next = NULL;
    if (queue->last)
        queue->last->next = work;
    else
        queue->first = work;
    queue->last = work;
}

static void clear(Queue *queue) {
    while (queue->first) {
        Work *next = queue->first->next;
        free(queue->first);
        queue->first = next;
    }
    queue->last = NULL;
}

/* Into the stream, or into what it captures. */
static int give(GpuStream *stream, Work model, const void *arguments, size_t bytes) {
    Device *d = stream->device;
    if (d->lost) return lost(d);
    Work *work = malloc(sizeof *work + bytes);
    if (!work) return fail(ERR_MEMORY, "no memory for a list of work");
    *work = model;
    work->bytes = arguments ? bytes : model.bytes;
    if (arguments) memcpy(work->arguments, arguments, bytes);
    append(stream->capture ? &stream->capture->queue : &stream->queue, work);
    return 0;
}

static int run_until(GpuStream *stream, const GpuEvent *event, int64_t number);

static int run(GpuStream *stream, const Work *w) {
    Device *d = stream->device;
    char text[1024];
    d->gpu.facts.driver = 0;
    switch (w->kind) {
    case WORK_COPY:
        d->use.copies++;
        if (w->direction == GPU_TO_DEVICE && fnv1a64(w->from, w->bytes) != w->sum)
            return lose(d,
                        "a host buffer was changed before its copy to the device had run: wait for the stream first");
        memmove(w->to, w->from, w->bytes);
        return 0;
    case WORK_FILL:
        memset(w->to, w->value, w->bytes);
        return 0;
    case WORK_LAUNCH: {
        d->use.launches++;
        SimtLaunch how = {w->kernel->name,
                          {w->launch.grid[0], w->launch.grid[1], w->launch.grid[2]},
                          w->launch.threads,
                          w->launch.shared,
                          d->gpu.facts.shared_a_block,
                          d->order,
                          d->unwatched};
        if (!simt_run(w->kernel->run, w->arguments, w->bytes, how)) return 0;
        snprintf(text, sizeof text, "%s", simt_error);
        return lose(d, text);
    }
    case WORK_RECORD:
        w->event->done = w->number;
        w->event->at = 1e-6 * (double)(d->use.launches + d->use.copies); /* time here is work done */
        return 0;
    case WORK_AWAIT:
        return w->event->done < w->number ? run_until(w->event->stream, w->event, w->number) : 0;
    }
    return 0;
}

/* Runs the stream until it is empty, or as far as the event's record. */
static int run_until(GpuStream *stream, const GpuEvent *event, int64_t number) {
    while (stream->queue.first && !(event && event->done >= number)) {
        Work *work = stream->queue.first;
        stream->queue.first = work->next;
        if (!work->next) stream->queue.last = NULL;
        int code = run(stream, work);
        free(work);
        if (code) {
            clear(&stream->queue);
            return code;
        }
    }
    return 0;
}

static int stream_make(Gpu *gpu, GpuStream **stream) {
    *stream = mem_zero(1, sizeof **stream);
    if (!*stream) return ERR_MEMORY;
    (*stream)->device = (Device *)gpu;
    return 0;
}

static void stream_drop(GpuStream *stream) {
    if (!stream) return;
    run_until(stream, NULL, 0);
    clear(&stream->queue);
    mem_free(stream);
}

static int copy(GpuStream *stream, void *to, const void *from, size_t bytes, GpuDirection direction) {
    Device *d = stream->device;
    if (d->lost) return lost(d);
    if (!bytes) return 0;
    if ((direction != GPU_TO_HOST && !simt_known(to, bytes)) ||
        (direction != GPU_TO_DEVICE && !simt_known(from, bytes)))
        return lose(d, "a copy touches memory that is not the device's");
    Work work = {.kind = WORK_COPY, .direction = direction, .to = to, .from = from, .bytes = bytes};
    if (direction == GPU_TO_DEVICE) work.sum = fnv1a64(from, bytes);
    int code = give(stream, work, NULL, 0);
    if (!code && direction == GPU_TO_HOST && !stream->capture) memset(to, 0xff, bytes);
    return code;
}

static int fill(GpuStream *stream, void *at, uint8_t value, size_t bytes) {
    if (stream->device->lost) return lost(stream->device);
    if (!bytes) return 0;
    if (!simt_known(at, bytes)) return lose(stream->device, "a fill touches memory that is not the device's");
    return give(stream, (Work){.kind = WORK_FILL, .to = at, .value = value, .bytes = bytes}, NULL, 0);
}

static int launch(GpuStream *stream, const GpuKernel *kernel, GpuLaunch how, const void *arguments, size_t bytes) {
    Device *d = stream->device;
    if (bytes > GPU_ARGUMENTS_MAX) return fail(ERR_DEVICE, "%s: %zu bytes of arguments", kernel->name, bytes);
    if ((int)how.threads != kernel->threads)
        return fail(ERR_DEVICE, "%s: launched with %u threads a block, written for %d", kernel->name, how.threads,
                    kernel->threads);
    if (!how.grid[0] || !how.grid[1] || !how.grid[2] || how.grid[0] > 0x7fffffffu || how.grid[1] > 65535 ||
        how.grid[2] > 65535)
        return fail(ERR_DEVICE, "%s: a grid of %u x %u x %u blocks cannot be launched", kernel->name, how.grid[0],
                    how.grid[1], how.grid[2]);
    if (how.shared > d->gpu.facts.shared_a_block)
        return fail(ERR_DEVICE, "%s: %zu bytes of shared memory, this device has %zu for a block", kernel->name,
                    how.shared, d->gpu.facts.shared_a_block);
    return give(stream, (Work){.kind = WORK_LAUNCH, .kernel = kernel, .launch = how}, arguments, bytes);
}

static int finish(GpuStream *stream) {
    Device *d = stream->device;
    return d->lost ? lost(d) : run_until(stream, NULL, 0);
}

/* ---- events ---- */

static int event_make(Gpu *gpu, GpuEvent **event) {
    *event = mem_zero(1, sizeof **event);
    if (!*event) return ERR_MEMORY;
    (*event)->device = (Device *)gpu;
    return 0;
}

static void event_drop(GpuEvent *event) {
    mem_free(event);
}

static int record(GpuStream *stream, GpuEvent *event) {
    event->stream = stream;
    return give(stream, (Work){.kind = WORK_RECORD, .event = event, .number = ++event->recorded}, NULL, 0);
}

static int await(GpuStream *stream, GpuEvent *event) {
    if (!event->recorded) return 0; /* as the driver: an event never recorded has happened */
    return give(stream, (Work){.kind = WORK_AWAIT, .event = event, .number = event->recorded}, NULL, 0);
}

static int event_finish(GpuEvent *event) {
    if (event->device->lost) return lost(event->device);
    return event->done < event->recorded ? run_until(event->stream, event, event->recorded) : 0;
}

static int seconds(GpuEvent *from, GpuEvent *to, double *out) {
    if (!from->done || !to->done) return fail(ERR_DEVICE, "time between events that have not happened");
    *out = to->at - from->at;
    return 0;
}

/* ---- modules ---- */

static int command(const char *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int command(const char *log, const char *format, ...) {
    char text[2000], said[600] = "";
    va_list v;
    va_start(v, format);
    vsnprintf(text, sizeof text, format, v);
    va_end(v);
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, " >'%s' 2>&1", log);
    if (system(text) == 0) return 0;
    FILE *file = fopen(log, "re");
    char line[500];
    while (file && fgets(line, sizeof line, file))
        if (!said[0] && strstr(line, "error:")) snprintf(said, sizeof said, "%s", line);
    if (file) fclose(file);
    said[strcspn(said, "\n")] = 0;
    return fail(ERR_DEVICE, "a kernel does not compile: %s (%s)", said, log);
}

static int put(const char *folder, const char *name, const char *text) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        mkdir(path, 0777);
        *p = '/';
    }
    Out *out;
    int code = out_open(path, OUT_OVERWRITE, &out);
    if (code) return code;
    out_write(out, text, strlen(text));
    return out_commit(&out);
}

static const char compiler[] = "cc -std=gnu11 -fPIC -fno-strict-aliasing -ffp-contract=off "
                               "-DEMULATED_WORDS='\"tests/cuda/simt/words.h\"'";

static const char *watch_of(bool unwatched) {
    if (!unwatched) return "-O1 -g -fsanitize=thread,undefined -fno-sanitize-recover=undefined";
#ifdef __x86_64__
    if (__builtin_cpu_supports("fma")) return "-O2 -mfma"; /* rounds as the function of libm does */
#endif
    return "-O2";
}

static int build(const GpuSource *source, int arch, const char *watch, const char *library, const char *folder) {
    static const char *const own[] = {"tests/cuda/simt/words.h", "tests/cuda/simt/simt.h"};
    char log[600];
    snprintf(log, sizeof log, "%s/log", folder);
    int code = put(folder, source->name, source->text);
    for (int i = 0; !code && i < source->headers; i++)
        code = put(folder, source->header_name[i], source->header_text[i]);
    for (size_t i = 0; !code && i < sizeof own / sizeof *own; i++) {
        uint8_t *bytes;
        size_t size;
        code = file_read(own[i], 1 << 20, &bytes, &size);
        if (code) return code;
        char *text = mem_alloc(size + 1);
        if (!text) return ERR_MEMORY;
        memcpy(text, bytes, size);
        text[size] = 0;
        code = put(folder, own[i], text);
        mem_free(text);
        mem_free(bytes);
    }
    if (code) return code;
    code =
        command(log, "%s %s -Wall -Wextra -Wvla -Werror -DEMULATED_ARCH=%d %s -I'%s' -x c -c '%s/%s' -o '%s/kernel.o'",
                compiler, watch, arch, source->define ? source->define : "", folder, folder, source->name, folder);
    /* linked without the sanitizers: simt.c is they */
    if (!code) code = command(log, "%s -shared '%s/kernel.o' -o '%s/kernel.so'", compiler, folder, folder);
    if (!code) code = command(log, "mv '%s/kernel.so' '%s'", folder, library);
    char sweep[700]; /* after a failure the folder stays, to be looked at */
    snprintf(sweep, sizeof sweep, "rm -rf '%s'", folder);
    if (!code && system(sweep) != 0) code = fail(ERR_DEVICE, "%s cannot be removed", folder);
    return code;
}

static void add_text(Sha256 *hash, const char *text) {
    sha256_add(hash, text, strlen(text) + 1);
}

static int module_make(Gpu *gpu, const GpuSource *source, GpuModule **out) {
    Device *d = (Device *)gpu;
    *out = NULL;
    if (d->lost) return lost(d);
    if (gpu->facts.form == GPU_EMBEDDED && !kept_find(source))
        return fail(ERR_DEVICE, "%s %s is not kept", source->name, source->define ? source->define : "");
    Sha256 hash;
    uint8_t digest[32];
    char hex[65], arch[16], library[400], folder[400], words[32] = "";
    snprintf(arch, sizeof arch, "%d", gpu->facts.arch);
    const char *build_folder = getenv("PANUM_BUILD");
    sha256_begin(&hash);
    add_text(&hash, compiler), add_text(&hash, watch_of(d->unwatched)), add_text(&hash, arch);
    add_text(&hash, source->name), add_text(&hash, source->text);
    for (int i = 0; i < source->headers; i++)
        add_text(&hash, source->header_name[i]), add_text(&hash, source->header_text[i]);
    if (source->define) add_text(&hash, source->define);
    struct stat seen; /* the words themselves, by size and date */
    for (int i = 0; i < 2; i++) {
        if (stat(i ? "tests/cuda/simt/simt.h" : "tests/cuda/simt/words.h", &seen))
            return fail(ERR_DEVICE, "tests/cuda/simt is not here: run the tests from the root of the tree");
        snprintf(words, sizeof words, "%lld %lld", (long long)seen.st_size, (long long)seen.st_mtime);
        add_text(&hash, words);
    }
    sha256_end(&hash, digest);
    sha256_hex(digest, hex);
    if (!build_folder) build_folder = "build";
    snprintf(library, sizeof library, "%s%s/simt/%.16s.so", build_folder[0] == '/' ? "" : "./", build_folder, hex);
    snprintf(folder, sizeof folder, "%s/simt/%.16s.%d", build_folder, hex, (int)getpid());
    if (access(library, R_OK)) {
        d->use.modules++;
        int code = build(source, gpu->facts.arch, watch_of(d->unwatched), library, folder);
        if (code) return code;
    }
    GpuModule *module = mem_zero(1, sizeof *module);
    if (!module) return ERR_MEMORY;
    module->device = d;
    module->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!module->library) {
        mem_free(module);
        return fail(ERR_DEVICE, "a compiled kernel cannot be opened: %s", dlerror());
    }
    *out = module;
    return 0;
}

static void module_drop(GpuModule *module) {
    if (!module) return;
    dlclose(module->library);
    mem_free(module);
}

static int kernel_find(GpuModule *module, const char *name, const GpuKernel **out) {
    char symbol[80];
    snprintf(symbol, sizeof symbol, "%s_threads", name);
    union {
        void *object;
        SimtKernel function;
    } run = {dlsym(module->library, name)};
    const int *threads = dlsym(module->library, symbol);
    *out = NULL;
    if (!run.object || !threads) return fail(ERR_DEVICE, "there is no kernel %s in this module", name);
    for (int i = 0; i < module->kernels; i++)
        if (!strcmp(module->kernel[i].name, name)) *out = &module->kernel[i];
    if (*out) return 0;
    BUG_IF(module->kernels == KERNELS_MAX, "more than %d kernels in a module", KERNELS_MAX);
    GpuKernel *k = &module->kernel[module->kernels++];
    snprintf(k->name, sizeof k->name, "%s", name);
    k->run = run.function;
    k->threads = *threads;
    *out = k;
    return 0;
}

/* ---- graphs ---- */

static int capture(GpuStream *stream) {
    BUG_IF(stream->capture, "a capture inside a capture");
    stream->capture = mem_zero(1, sizeof *stream->capture);
    return stream->capture ? 0 : (int)ERR_MEMORY;
}

static int capture_end(GpuStream *stream, GpuGraph **graph) {
    *graph = stream->capture;
    stream->capture = NULL;
    return 0;
}

static int graph_run(GpuStream *stream, GpuGraph *graph) {
    for (const Work *w = graph->queue.first; w; w = w->next) {
        Work model = *w;
        if (w->kind == WORK_COPY && w->direction == GPU_TO_DEVICE) model.sum = fnv1a64(w->from, w->bytes);
        if (w->kind == WORK_COPY && w->direction == GPU_TO_HOST) memset(w->to, 0xff, w->bytes);
        bool with = w->kind == WORK_LAUNCH;
        int code = give(stream, model, with ? w->arguments : NULL, with ? w->bytes : 0);
        if (code) return code;
    }
    return 0;
}

static void graph_drop(GpuGraph *graph) {
    if (!graph) return;
    clear(&graph->queue);
    mem_free(graph);
}

/* ---- the device ---- */

static void device_close(Gpu *gpu) {
    Device *d = (Device *)gpu;
    while (d->blocks) memory_free(gpu, d->block[0].at);
    mem_free(d);
}

int emulated_open(Emulated facts, Gpu **gpu) {
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
        .module = module_make,
        .module_drop = module_drop,
        .kernel = kernel_find,
        .capture = capture,
        .capture_end = capture_end,
        .graph_run = graph_run,
        .graph_drop = graph_drop,
    };
    Device *d = mem_zero(1, sizeof *d);
    *gpu = (Gpu *)d;
    if (!d) return ERR_MEMORY;
    d->gpu = (Gpu){&calls,
                   {.name = "emulated device",
                    .arch = facts.arch ? facts.arch : 80,
                    .form = facts.form,
                    .compiler = "the C compiler of the tests",
                    .multiprocessors = facts.multiprocessors ? facts.multiprocessors : 4,
                    .memory = facts.memory ? facts.memory : (size_t)1 << 30,
                    .shared_a_block = facts.shared_a_block ? facts.shared_a_block : 99 << 10}};
    d->order = facts.order;
    d->unwatched = facts.unwatched;
    return 0;
}

void emulated_order(Gpu *gpu, unsigned order) {
    ((Device *)gpu)->order = order;
}

EmulatedUse emulated_use(const Gpu *gpu) {
    return ((const Device *)gpu)->use;
}
