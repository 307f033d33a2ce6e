/* apps/devices.c - what this machine offers: processor, instruction set, threads, memory. */
#include "apps/lib/options.h"
#include "apps/lib/run.h"
#include "base/cpu.h"
#include "base/err.h"
#include "base/json.h"
#include "base/pool.h"

#include <string.h>
#include <unistd.h>

typedef struct {
    bool json;
} DevicesOptions;

static const Option options[] = {
    {.name = "json",
     .kind = OPTION_FLAG,
     .at = offsetof(DevicesOptions, json),
     .group = "Output",
     .help = "one JSON object on standard output"},
};

int app_devices(int argc, char **argv);
const Verb verb_devices = {
    .name = "devices",
    .operands = "",
    .summary = "show the processor, instruction set, threads and memory that will be used",
    .description =
        "Says what the program found on this machine and what it will use. Threads are those this process may run "
        "on (its affinity), not those the machine has.",
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

int app_devices(int argc, char **argv) {
    DevicesOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_devices, argc, argv, &o, &parsed);
    if (rc) return rc;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE), online = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t memory = pages > 0 && page > 0 ? (int64_t)pages * page : -1, available = meminfo("MemAvailable");
    const char *level = cpu_level_name(cpu_level());
    if (o.json) {
        char model[256];
        printf("{\"cpu\":%s,\"instructions\":\"%s\",\"bf16\":%s,\"threads\":%d,\"threads_online\":%ld,\"memory_bytes\":"
               "%lld,"
               "\"memory_available_bytes\":%lld,\"cuda\":false}\n",
               json_quote(model, sizeof model, cpu_model()), level, cpu_has_bf16() ? "true" : "false", pool_cpus(),
               online, (long long)memory, (long long)available);
    } else {
        printf("cpu: %s\n", cpu_model());
        printf("     %s instructions%s, %d of %ld threads\n", level,
               cpu_has_bf16() ? " with bf16 products" : ", no bf16 products", pool_cpus(), online);
        if (memory > 0 && available > 0)
            printf("     %s of memory, %s available\n", show_bytes((double)memory), show_bytes((double)available));
        printf("gpu: not used: this build has no CUDA back end yet, everything runs on the CPU\n");
    }
    parsed_free(&parsed);
    return 0;
}
