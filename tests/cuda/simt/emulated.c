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

enum { BLOCKS_MAX = 200, PINNED_MAX = 64, STREAMS_MAX = 16, KERNELS_MAX = 16, ALIGNMENT = 256, POISON = 0xff };

/* How much of each stream's work is known to come before something: entry s counts what was given to stream s. */
typedef struct {
    uint32_t of[STREAMS_MAX];
} Clock;

/* Work that has run, by the epoch (simt.h) in which it began. */
typedef struct {
    uint32_t epoch, count; /* count: which of its stream's */
    int stream;
    char name[56];
} Past;

typedef struct {
    void *at;
    size_t bytes;
} Block;

typedef struct Device {
    Gpu gpu; /* first: a Gpu is one of these */
    unsigned order;
    bool unwatched;
    Block block[BLOCKS_MAX], pinned[PINNED_MAX];
    int blocks, pinneds;
    GpuStream *stream[STREAMS_MAX];
    int streams; /* as many places of `stream` have been used */
    int capturing;
    Clock host; /* what the host has waited for */
    Past *past;
    int pasts, past_room;
    EmulatedUse use;
    bool lost;
    char why[1024];
} Device;

struct GpuKernel {
    char name[64];
    SimtKernel run;
    int threads, bytes; /* of a block; of its arguments */
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
    uint64_t sum;       /* of a host source when the copy was asked for */
    bool shared_target; /* another copy writes there too */
    Clock before;       /* what comes before it, itself included */
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
    int index;
    Queue queue;
    Clock clock;       /* of what has been given to it */
    GpuGraph *capture; /* what is being captured, or NULL */
};

struct GpuEvent {
    Device *device;
    GpuStream *stream; /* of the latest record */
    int64_t recorded, done;
    Clock clock; /* of the latest record */
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

/* While a stream is captured the driver refuses what takes memory or waits, and the capture is lost with it. */
static int not_captured(Device *d, const char *what) {
    char why[200];
    if (!d->capturing || d->lost) return 0;
    snprintf(why, sizeof why, "%s while a stream is captured, which a GPU refuses", what);
    return lose(d, why);
}

static bool overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes) {
    return (const char *)a < (const char *)b + b_bytes && (const char *)b < (const char *)a + a_bytes;
}

/* Whether a copy or fill that has not run yet uses these bytes. */
static bool under_way(const Device *d, const void *at, size_t bytes) {
    for (int i = 0; i < d->streams; i++)
        for (const Work *w = d->stream[i] ? d->stream[i]->queue.first : NULL; w; w = w->next)
            if ((w->kind == WORK_COPY &&
                 (overlap(w->to, w->bytes, at, bytes) || overlap(w->from, w->bytes, at, bytes))) ||
                (w->kind == WORK_FILL && overlap(w->to, w->bytes, at, bytes)))
                return true;
    return false;
}

/* ---- memory ---- */

static int memory(Gpu *gpu, size_t bytes, void **at) {
    Device *d = (Device *)gpu;
    *at = NULL;
    if (d->lost) return lost(d);
    if (not_captured(d, "memory is taken")) return err_code();
    size_t left = gpu->facts.memory - d->use.memory;
    if (bytes > left || d->blocks == BLOCKS_MAX)
        return fail(ERR_MEMORY, "the GPU has no room for %zu bytes: %zu are left", bytes, left);
    void *block = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + ALIGNMENT);
    if (!block) return fail(ERR_MEMORY, "no memory for %zu bytes of an emulated device", bytes);
    memset(block, POISON, bytes);
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
        if (!d->lost && under_way(d, at, d->block[i].bytes))
            (void)lose(d, "device memory was freed while a copy or fill that uses it is under way");
        (void)not_captured(d, "memory is freed");
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
    Device *d = (Device *)gpu;
    *at = NULL;
    if (d->lost) return lost(d);
    if (not_captured(d, "pinned memory is taken")) return err_code();
    if (d->pinneds == PINNED_MAX) return fail(ERR_MEMORY, "no more than %d pieces of pinned memory", PINNED_MAX);
    *at = mem_alloc(bytes);
    if (!*at) return ERR_MEMORY;
    d->pinned[d->pinneds++] = (Block){*at, bytes};
    return 0;
}

static void pinned_free(Gpu *gpu, void *at) {
    Device *d = (Device *)gpu;
    for (int i = 0; i < d->pinneds; i++) {
        if (d->pinned[i].at != at) continue;
        if (!d->lost && under_way(d, at, d->pinned[i].bytes))
            (void)lose(d, "pinned memory was freed while a copy that uses it is under way");
        mem_free(at);
        d->pinned[i] = d->pinned[--d->pinneds];
        return;
    }
    BUG_IF(at, "pinned_free of what pinned did not give");
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

static void join(Clock *a, const Clock *b) {
    for (int i = 0; i < STREAMS_MAX; i++)
        if (b->of[i] > a->of[i]) a->of[i] = b->of[i];
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
    if (!stream->capture) {
        join(&stream->clock, &d->host);
        if (work->kind == WORK_AWAIT) join(&stream->clock, &work->event->clock);
        stream->clock.of[stream->index]++;
        if (work->kind == WORK_RECORD) work->event->clock = stream->clock;
        work->before = stream->clock;
    }
    append(stream->capture ? &stream->capture->queue : &stream->queue, work);
    return 0;
}

static int run_until(GpuStream *stream, const GpuEvent *event, int64_t number);

/* ---- order between streams ---- */

static const Work *running;
static const Device *running_on;

static const char *unordered(uint32_t epoch) {
    int low = 0, high = running_on->pasts; /* the last that began no later */
    while (low < high) {
        int middle = (low + high) / 2;
        if (running_on->past[middle].epoch <= epoch)
            low = middle + 1;
        else
            high = middle;
    }
    const Past *p = low ? &running_on->past[low - 1] : NULL;
    return p && running->before.of[p->stream] < p->count ? p->name : NULL;
}

/* Says what is unordered with w, and keeps w for those after it. */
static int begin_work(GpuStream *stream, const Work *w) {
    Device *d = stream->device;
    running = w, running_on = d;
    simt_unordered = unordered;
    simt_unordered_from = UINT32_MAX;
    if (d->unwatched || d->streams < 2) return 0;
    /* What the host has waited for comes before all that it gives from now on; so, when w comes after it too and no
     * other stream has work from before, nothing will ask for it again. */
    int kept = 0;
    bool others = false;
    for (int i = 0; i < d->streams; i++)
        others = others || (d->stream[i] && d->stream[i] != stream && d->stream[i]->queue.first);
    for (int i = 0; i < d->pasts; i++) {
        const Past *p = &d->past[i];
        if (others || d->host.of[p->stream] < p->count || w->before.of[p->stream] < p->count) d->past[kept++] = *p;
    }
    d->pasts = kept;
    for (int i = 0; i < d->pasts && simt_unordered_from == UINT32_MAX; i++)
        if (w->before.of[d->past[i].stream] < d->past[i].count) simt_unordered_from = d->past[i].epoch;
    if (d->pasts == d->past_room) {
        Past *grown = realloc(d->past, (size_t)(d->past_room + 256) * sizeof *grown);
        if (!grown) return fail(ERR_MEMORY, "no memory for what an emulated device has done");
        d->past = grown;
        d->past_room += 256;
    }
    Past *p = &d->past[d->pasts++];
    *p = (Past){.epoch = simt_next_epoch(), .count = w->before.of[stream->index], .stream = stream->index};
    static const char *const names[] = {"a copy to the device", "a copy to the host", "a copy on the device"};
    snprintf(p->name, sizeof p->name, "%s",
             w->kind == WORK_LAUNCH ? w->kernel->name
             : w->kind == WORK_FILL ? "a fill"
                                    : names[w->direction]);
    return 0;
}

static bool is_poison(const void *at, size_t bytes) {
    const uint8_t *byte = at;
    for (size_t i = 0; i < bytes; i++)
        if (byte[i] != POISON) return false;
    return true;
}

/* A copy to the host has run: others that are to write there find its bytes instead of the poison. */
static void tell_targets(Device *d, const Work *done) {
    for (int i = 0; i < d->streams; i++)
        for (Work *w = d->stream[i] ? d->stream[i]->queue.first : NULL; w; w = w->next)
            if (w->kind == WORK_COPY && w->direction == GPU_TO_HOST && overlap(w->to, w->bytes, done->to, done->bytes))
                w->shared_target = true;
}

/* A copy or fill touches device memory. Where nothing is watched, or one stream orders everything, it only has to be
 * there. */
static int touch(Device *d, const void *at, size_t bytes, int kind) {
    if (d->unwatched || d->streams < 2)
        return simt_known(at, bytes) ? 0 : lose(d, "a copy or fill touches memory that is not the device's any more");
    return simt_host_access(at, bytes, kind) ? lose(d, simt_error) : 0;
}

static int copy_now(GpuStream *stream, const Work *w) {
    Device *d = stream->device;
    d->use.copies++;
    if (w->direction == GPU_TO_DEVICE && fnv1a64(w->from, w->bytes) != w->sum)
        return lose(d, "a host buffer was changed before its copy to the device had run: wait for the stream first");
    if (w->direction == GPU_TO_HOST && !w->shared_target && !is_poison(w->to, w->bytes))
        return lose(d, "a host buffer was written while a copy to it was under way: wait for the stream first");
    if (w->direction != GPU_TO_DEVICE && touch(d, w->from, w->bytes, SIMT_READ)) return err_code();
    if (w->direction != GPU_TO_HOST && touch(d, w->to, w->bytes, SIMT_WRITE)) return err_code();
    memmove(w->to, w->from, w->bytes);
    if (w->direction == GPU_TO_HOST) tell_targets(d, w);
    return 0;
}

static int run(GpuStream *stream, const Work *w) {
    Device *d = stream->device;
    char text[1024];
    if (w->kind != WORK_RECORD && w->kind != WORK_AWAIT && begin_work(stream, w)) return err_code();
    switch (w->kind) {
    case WORK_COPY:
        return copy_now(stream, w);
    case WORK_FILL:
        if (touch(d, w->to, w->bytes, SIMT_WRITE)) return err_code();
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
    Device *d = (Device *)gpu;
    int index = 0;
    *stream = NULL;
    if (d->lost) return lost(d);
    while (index < d->streams && d->stream[index]) index++;
    if (index == STREAMS_MAX) return fail(ERR_DEVICE, "an emulated device has %d streams", STREAMS_MAX);
    GpuStream *made = mem_zero(1, sizeof *made);
    if (!made) return ERR_MEMORY;
    made->device = d;
    made->index = index;
    d->stream[index] = *stream = made;
    if (index == d->streams) d->streams++;
    return 0;
}

static void stream_drop(GpuStream *stream) {
    if (!stream) return;
    Device *d = stream->device;
    if (!d->lost) run_until(stream, NULL, 0);
    clear(&stream->queue);
    join(&d->host, &stream->clock); /* all of it has run */
    d->stream[stream->index] = NULL;
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
    if (!code && direction == GPU_TO_HOST && !stream->capture) memset(to, POISON, bytes);
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
    if (bytes > GPU_ARGUMENTS_MAX || bytes != (size_t)kernel->bytes)
        return fail(ERR_DEVICE, "%s: %zu bytes of arguments, its own are %d", kernel->name, bytes, kernel->bytes);
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
    if (d->lost) return lost(d);
    if (stream->capture) return not_captured(d, "a stream is waited for");
    int code = run_until(stream, NULL, 0);
    if (!code) join(&d->host, &stream->clock);
    return code;
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
    int code = event->done < event->recorded ? run_until(event->stream, event, event->recorded) : 0;
    if (!code) join(&event->device->host, &event->clock);
    return code;
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
    if (!unwatched)
        return "-O1 -g -fsanitize=thread,undefined,float-cast-overflow "
               "-fno-sanitize-recover=undefined,float-cast-overflow";
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
    if (not_captured(d, "a module is loaded")) return err_code();
    Sha256 hash;
    uint8_t digest[32];
    char hex[65], arch[16], library[400], folder[400];
    snprintf(arch, sizeof arch, "%d", gpu->facts.arch);
    const char *build_folder = getenv("PANUM_BUILD");
    sha256_begin(&hash);
    add_text(&hash, compiler), add_text(&hash, watch_of(d->unwatched)), add_text(&hash, arch);
    add_text(&hash, source->name), add_text(&hash, source->text);
    for (int i = 0; i < source->headers; i++)
        add_text(&hash, source->header_name[i]), add_text(&hash, source->header_text[i]);
    if (source->define) add_text(&hash, source->define);
    for (int i = 0; i < 2; i++) { /* the words themselves */
        uint8_t *bytes;
        size_t size;
        if (file_read(i ? "tests/cuda/simt/simt.h" : "tests/cuda/simt/words.h", 1 << 20, &bytes, &size))
            return fail(ERR_DEVICE, "tests/cuda/simt is not here: run the tests from the root of the tree");
        sha256_add(&hash, bytes, size);
        mem_free(bytes);
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
    char symbol[80], bytes_symbol[80];
    snprintf(symbol, sizeof symbol, "%s_threads", name);
    snprintf(bytes_symbol, sizeof bytes_symbol, "%s_bytes", name);
    union {
        void *object;
        SimtKernel function;
    } run = {dlsym(module->library, name)};
    const int *threads = dlsym(module->library, symbol), *bytes = dlsym(module->library, bytes_symbol);
    *out = NULL;
    if (!run.object || !threads || !bytes) return fail(ERR_DEVICE, "there is no kernel %s in this module", name);
    for (int i = 0; i < module->kernels; i++)
        if (!strcmp(module->kernel[i].name, name)) *out = &module->kernel[i];
    if (*out) return 0;
    BUG_IF(module->kernels == KERNELS_MAX, "more than %d kernels in a module", KERNELS_MAX);
    GpuKernel *k = &module->kernel[module->kernels++];
    snprintf(k->name, sizeof k->name, "%s", name);
    k->run = run.function;
    k->threads = *threads;
    k->bytes = *bytes;
    *out = k;
    return 0;
}

/* ---- graphs ---- */

static void graph_drop(GpuGraph *graph) {
    if (!graph) return;
    clear(&graph->queue);
    mem_free(graph);
}

static int capture(GpuStream *stream) {
    BUG_IF(stream->capture, "a capture inside a capture");
    stream->capture = mem_zero(1, sizeof *stream->capture);
    stream->device->capturing += stream->capture != NULL;
    return stream->capture ? 0 : (int)ERR_MEMORY;
}

static int capture_end(GpuStream *stream, GpuGraph **graph) {
    *graph = stream->capture;
    stream->capture = NULL;
    stream->device->capturing--;
    if (!stream->device->lost) return 0;
    graph_drop(*graph);
    *graph = NULL;
    return lost(stream->device);
}

static int graph_run(GpuStream *stream, GpuGraph *graph) {
    for (const Work *w = graph->queue.first; w; w = w->next) {
        Work model = *w;
        if (w->kind == WORK_COPY && w->direction == GPU_TO_DEVICE) model.sum = fnv1a64(w->from, w->bytes);
        if (w->kind == WORK_COPY && w->direction == GPU_TO_HOST) memset(w->to, POISON, w->bytes);
        bool with = w->kind == WORK_LAUNCH;
        int code = give(stream, model, with ? w->arguments : NULL, with ? w->bytes : 0);
        if (code) return code;
    }
    return 0;
}

/* ---- the device ---- */

static void device_close(Gpu *gpu) {
    Device *d = (Device *)gpu;
    d->capturing = 0;
    while (d->blocks) memory_free(gpu, d->block[0].at);
    while (d->pinneds) pinned_free(gpu, d->pinned[0].at);
    free(d->past);
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

size_t emulated_argument_bytes(const GpuKernel *kernel) {
    return (size_t)kernel->bytes;
}

EmulatedUse emulated_use(const Gpu *gpu) {
    return ((const Device *)gpu)->use;
}
