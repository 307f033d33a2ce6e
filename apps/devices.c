/* apps/devices.c - what this machine offers: processor, instruction set, threads, memory, GPUs. */
#include "apps/lib/device.h"
#include "apps/lib/options.h"
#include "apps/lib/run.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/json.h"
#include "base/pool.h"
#include "cuda/cache.h"
#include "cuda/driver.h"

#include <string.h>
#include <unistd.h>

typedef struct {
    bool json, cache, clear;
} DevicesOptions;

static const Option options[] = {
    {.name = "json",
     .kind = OPTION_FLAG,
     .at = offsetof(DevicesOptions, json),
     .group = "Output",
     .help = "one JSON object on standard output"},
    {.name = "cache",
     .kind = OPTION_FLAG,
     .at = offsetof(DevicesOptions, cache),
     .group = "Compiled kernels",
     .help = "say how many are kept, where, and how large they are"},
    {.name = "clear-cache",
     .kind = OPTION_FLAG,
     .at = offsetof(DevicesOptions, clear),
     .group = "Compiled kernels",
     .help = "remove them, and what is known of how GPUs did when they were tried; nothing else is touched"},
};

int app_devices(int argc, char **argv);
const Verb verb_devices = {
    .name = "devices",
    .operands = "",
    .summary = "show the processor, instruction set, threads, memory and GPUs of this machine",
    .description =
        "Says what the program found on this machine and what it will use. Threads are those this process may run "
        "on (its affinity), not those the machine has. Of a GPU it says what the driver says, and what makes code of "
        "the "
        "kernels: NVRTC, NVRTC and the driver by way of PTX, or the driver of those that come with panum; where "
        "something is missing, what to install.\n\n"
        "What is compiled is kept for the next time, 256 MiB at most and 180 days after its last use.",
    .least = 0,
    .most = 0,
    .run = app_devices,
    .options = options,
    .count = sizeof options / sizeof *options,
};

/* The field of /proc/meminfo in bytes, -1 when there is none. */
static int64_t meminfo(const char *field) {
    FILE *file = fopen("/proc/meminfo", "re");
    if (!file) return -1;
    char line[256];
    int64_t bytes = -1;
    size_t n = strlen(field);
    while (fgets(line, sizeof line, file)) {
        long long kib;
        if (strncmp(line, field, n) == 0 && line[n] == ':' && sscanf(line + n + 1, "%lld kB", &kib) == 1)
            bytes = (int64_t)kib * 1024;
    }
    fclose(file);
    return bytes;
}

enum { GPUS_MOST = 16 };

/* What there is to say about GPUs. Looking takes no memory of theirs. */
typedef struct {
    int gpus;
    GpuFacts gpu[GPUS_MOST];
    char why_none[1024]; /* "" when there are some */
} Gpus;

static void look_for_gpus(Gpus *g) {
    *g = (Gpus){0};
    if (cuda_count(NULL, &g->gpus)) snprintf(g->why_none, sizeof g->why_none, "%s", err_sentence());
    if (g->gpus > GPUS_MOST) g->gpus = GPUS_MOST;
    for (int i = 0; i < g->gpus; i++) {
        if (!cuda_facts(NULL, i, &g->gpu[i])) continue;
        snprintf(g->why_none, sizeof g->why_none, "%s", err_sentence());
        g->gpus = 0;
    }
}

static void print_compiler(const GpuFacts *f) {
    if (f->arch < GPU_ARCH_LEAST)
        printf("     too old to be used: sm_%d (Turing, 2018) is the least\n", GPU_ARCH_LEAST);
    else if (f->form == GPU_EMBEDDED)
        printf("     plain kernels that come with panum, slower than what a compiler makes for it: there is %s\n",
               f->compiler);
    else
        printf("     kernels are compiled for it by %s\n", f->compiler);
}

static const char *const forms[] = {
    [GPU_COMPILES] = "compiled", [GPU_COMPILES_PTX] = "ptx", [GPU_EMBEDDED] = "embedded"};

static void print_gpus(const Gpus *g) {
    char line[1024];
    if (!g->gpus) printf("gpu: none: %s\n", g->why_none);
    for (int i = 0; i < g->gpus; i++) {
        const GpuFacts *f = &g->gpu[i];
        printf("gpu: %s (cuda:%d)\n", err_printable(line, sizeof line, f->name), i);
        printf("     sm_%d, %d multiprocessors, %s, %zu KB of shared memory a block; driver for CUDA %d.%d\n", f->arch,
               f->multiprocessors, show_bytes((double)f->memory), f->shared_a_block >> 10, f->driver / 1000,
               f->driver % 1000 / 10);
        print_compiler(f);
    }
}

static void print_gpus_json(const Gpus *g) {
    char text[1200];
    printf("\"gpus\":[");
    for (int i = 0; i < g->gpus; i++) {
        const GpuFacts *f = &g->gpu[i];
        printf("%s{\"name\":%s,\"arch\":%d,\"multiprocessors\":%d,\"memory_bytes\":%zu,\"shared_bytes\":%zu,"
               "\"driver\":%d,\"kernels\":\"%s\"",
               i ? "," : "", json_quote(text, sizeof text, f->name), f->arch, f->multiprocessors, f->memory,
               f->shared_a_block, f->driver, f->arch < GPU_ARCH_LEAST ? "none" : forms[f->form]);
        printf(",\"compiler\":%s}", json_quote(text, sizeof text, f->compiler));
    }
    const char *note = g->why_none;
    printf("],\"gpu_note\":%s", note[0] ? json_quote(text, sizeof text, note) : "null");
}

static void look_at_cache(const DevicesOptions *o) {
    static const CacheLimits nothing = {0, 0};
    char line[2100], folder[2200];
    CacheSum stay, gone;
    const char *path = device_cache();
    cache_prune(path, o->clear ? &nothing : NULL, &stay, &gone);
    if (o->json) {
        printf(",\"cache\":{\"folder\":%s,\"files\":%lld,\"bytes\":%lld,\"removed_files\":%lld}",
               path ? json_quote(folder, sizeof folder, path) : "null", (long long)stay.files, (long long)stay.bytes,
               (long long)gone.files);
        return;
    }
    printf("compiled kernels: %lld files, %s in %s\n", (long long)stay.files, show_bytes((double)stay.bytes),
           path ? err_printable(line, sizeof line, path) : "no folder: neither XDG_CACHE_HOME nor HOME is set");
    if (o->clear) printf("     %lld files removed, %s\n", (long long)gone.files, show_bytes((double)gone.bytes));
}

int app_devices(int argc, char **argv) {
    DevicesOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_devices, argc, argv, &o, &parsed);
    if (rc) return rc;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE), online = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t memory = pages > 0 && page > 0 ? (int64_t)pages * page : -1, available = meminfo("MemAvailable");
    const char *level = cpu_level_name(cpu_level());
    Gpus gpus;
    look_for_gpus(&gpus);
    err_clear();
    if (o.json) {
        char model[256];
        printf("{\"cpu\":%s,\"instructions\":\"%s\",\"bf16\":%s,\"threads\":%d,\"threads_online\":%ld,\"memory_bytes\":"
               "%lld,"
               "\"memory_available_bytes\":%lld,\"cuda\":%s,",
               json_quote(model, sizeof model, cpu_model()), level, cpu_has_bf16() ? "true" : "false", pool_cpus(),
               online, (long long)memory, (long long)available,
               gpus.gpus && gpus.gpu[0].arch >= GPU_ARCH_LEAST ? "true" : "false");
        print_gpus_json(&gpus);
        if (o.cache || o.clear) look_at_cache(&o);
        printf("}\n");
    } else {
        printf("cpu: %s\n", cpu_model());
        printf("     %s instructions%s, %d of %ld threads\n", level,
               cpu_has_bf16() ? " with bf16 products" : ", no bf16 products", pool_cpus(), online);
        if (memory > 0 && available > 0)
            printf("     %s of memory, %s available\n", show_bytes((double)memory), show_bytes((double)available));
        print_gpus(&gpus);
        if (o.cache || o.clear) look_at_cache(&o);
    }
    parsed_free(&parsed);
    return 0;
}
