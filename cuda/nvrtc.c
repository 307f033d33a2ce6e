#include "cuda/nvrtc.h"
#include "base/mem.h"
#include "cuda/calls.h"
#include "cuda/sentences.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DECLARE(name, symbol, arguments) CompilerCode(*name) arguments;
struct Nvrtc {
    char path[256];
    NVRTC_CALLS(DECLARE)
};

static int load(const char *path, Nvrtc *nvrtc) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return fail(ERR_DEVICE, "%s", dlerror());
    const struct {
        void *at;
        const char *name;
    } table[] = {
#define ROW(name, symbol, arguments) {&nvrtc->name, #symbol},
        NVRTC_CALLS(ROW)};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        void *function = dlsym(library, table[i].name);
        if (!function) {
            dlclose(library);
            return fail(ERR_DEVICE, "%s has no %s: it is older than NVRTC 12, or something else", path, table[i].name);
        }
        memcpy(table[i].at, &function, sizeof function);
    }
    snprintf(nvrtc->path, sizeof nvrtc->path, "%s", path);
    return 0;
}

int nvrtc_open(const char *library, const Nvrtc **out) {
    static const char *const usual[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so",
                                        "/usr/local/cuda/lib64/libnvrtc.so"};
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static Nvrtc kept; /* never closed: it is 110 MB, and its threads do not like it */
    *out = NULL;
    int code = 0;
    pthread_mutex_lock(&mutex);
    if (!kept.version || (library && strcmp(library, kept.path) != 0)) {
        Nvrtc found = {0};
        code = ERR_DEVICE;
        if (library) code = load(library, &found);
        for (size_t i = 0; !library && code && i < sizeof usual / sizeof *usual; i++) code = load(usual[i], &found);
        if (!code) kept = found;
    }
    pthread_mutex_unlock(&mutex);
    if (!code) *out = &kept;
    if (code && library) return fail_prefix("NVRTC cannot be opened");
    if (code)
        return fail(ERR_DEVICE, "NVRTC, which compiles the kernels for a GPU, is not on this machine; install it "
                                "(package cuda-nvrtc, or pip install nvidia-cuda-nvrtc)");
    return 0;
}

void nvrtc_version(const Nvrtc *nvrtc, int *major, int *minor) {
    *major = *minor = 0;
    nvrtc->version(major, minor);
}

const char *nvrtc_path(const Nvrtc *nvrtc) {
    return nvrtc->path;
}

NvrtcLibrary nvrtc_library(const Nvrtc *nvrtc) {
    void *symbol;
    memcpy(&symbol, &nvrtc->version, sizeof symbol);
    Dl_info info;
    struct stat seen;
    if (!dladdr(symbol, &info) || !info.dli_fname || stat(info.dli_fname, &seen)) return (NvrtcLibrary){0, 0};
    return (NvrtcLibrary){seen.st_size, seen.st_mtime};
}

const char nvrtc_options[] = "--ptxas-options=-v";

enum { ARCHITECTURES_MAX = 64 };

int nvrtc_architectures(const Nvrtc *nvrtc, int *arch, int most) {
    int all[ARCHITECTURES_MAX], count = 0;
    if (nvrtc->architectures(&count) || count < 0 || count > ARCHITECTURES_MAX || nvrtc->architecture(all)) return 0;
    if (count > most) count = most;
    memcpy(arch, all, (size_t)count * sizeof *arch);
    return count;
}

bool nvrtc_target(const Nvrtc *nvrtc, int arch, CompileTarget *target) {
    int known[ARCHITECTURES_MAX], count = nvrtc_architectures(nvrtc, known, ARCHITECTURES_MAX);
    *target = (CompileTarget){0, true};
    for (int i = 0; i < count; i++)
        if (known[i] <= arch && known[i] >= target->arch) *target = (CompileTarget){known[i], known[i] != arch};
    return target->arch > 0;
}

/* The first line of the log that is an error, without its newline. */
static void first_error(const char *log, char *line, size_t size) {
    const char *at = strstr(log, "error");
    while (at && at > log && at[-1] != '\n') at--;
    snprintf(line, size, "%s", at ? at : "no word of why");
    line[strcspn(line, "\n")] = 0;
}

static int compile(const Nvrtc *nvrtc, Program program, const GpuSource *source, CompileTarget to, CompileCare care,
                   Compiled *compiled) {
    const int arch = to.arch;
    enum { OPTIONS_MAX = 24 };
    char target[48], defines[512], line[400];
    const char *option[OPTIONS_MAX] = {target};
    int options = 1;
    snprintf(target, sizeof target, "--gpu-architecture=%s_%d", to.ptx ? "compute" : "sm", arch);
    if (!to.ptx) option[options++] = nvrtc_options;
    if (care == COMPILE_STRICT) {
        option[options++] = "--ptxas-options=--warn-on-spills";
        option[options++] = "--ptxas-options=--warn-on-local-memory-usage";
        option[options++] = "--ptxas-options=--warning-as-error";
    }
    snprintf(defines, sizeof defines, "%s", source->define ? source->define : "");
    for (char *rest = defines, *word; (word = strtok_r(rest, " ", &rest));) {
        BUG_IF(options == OPTIONS_MAX, "too many definitions for a kernel");
        option[options++] = word;
    }
    int code = nvrtc->compile(program, options, option);
    size_t bytes = 0;
    if (nvrtc->log_size(program, &bytes)) bytes = 0;
    compiled->log = mem_zero(bytes + 1, 1);
    if (!compiled->log) return ERR_MEMORY;
    if (bytes) nvrtc->log(program, compiled->log);
    if (code) {
        first_error(compiled->log, line, sizeof line);
        return fail(ERR_DEVICE, "%s for sm_%d: %s (%s)", source->name, arch, nvrtc_code(code)->sentence, line);
    }
    code = (to.ptx ? nvrtc->ptx_size : nvrtc->code_size)(program, &compiled->bytes);
    if (code || !compiled->bytes)
        return fail(ERR_DEVICE, "%s for sm_%d: no code came out (%s)", source->name, arch, nvrtc_code(code)->sentence);
    compiled->code = mem_alloc(compiled->bytes);
    if (!compiled->code) return ERR_MEMORY;
    code = (to.ptx ? nvrtc->ptx : nvrtc->code)(program, compiled->code);
    if (code) return fail(ERR_DEVICE, "%s for sm_%d: %s", source->name, arch, nvrtc_code(code)->sentence);
    return 0;
}

int nvrtc_compile(const Nvrtc *nvrtc, const GpuSource *source, int arch, CompileCare care, Compiled *compiled) {
    *compiled = (Compiled){0};
    int known[ARCHITECTURES_MAX], count = nvrtc_architectures(nvrtc, known, ARCHITECTURES_MAX), major, minor;
    CompileTarget to;
    nvrtc_version(nvrtc, &major, &minor);
    if (!nvrtc_target(nvrtc, arch, &to))
        return fail(ERR_DEVICE, "NVRTC %d.%d makes no code for this GPU (sm_%d), only for sm_%d to sm_%d; %s", major,
                    minor, arch, count ? known[0] : 0, count ? known[count - 1] : 0,
                    count && arch < known[0] ? "install NVRTC 12, which still does" : "install a newer NVRTC");
    Program program;
    int code =
        nvrtc->create(&program, source->text, source->name, source->headers, source->header_text, source->header_name);
    if (code) return fail(ERR_DEVICE, "%s: %s", source->name, nvrtc_code(code)->sentence);
    if (care == COMPILE_PTX) to.ptx = true;
    code = compile(nvrtc, program, source, to, care, compiled);
    nvrtc->destroy(&program);
    return code;
}

void compiled_free(Compiled *compiled) {
    mem_free(compiled->code);
    mem_free(compiled->log);
    *compiled = (Compiled){0};
}

/* The number that ends right before `what` in text, -1 when it is not there. */
static int number_before(const char *text, const char *end, const char *what) {
    const char *at = strstr(text, what);
    int value = 0;
    if (!at || at >= end) return -1;
    while (at > text && at[-1] >= '0' && at[-1] <= '9') at--;
    return sscanf(at, "%d", &value) == 1 ? value : -1;
}

int kernel_reports(const char *log, KernelReport *report, int most) {
    static const char begin[] = "Compiling entry function '";
    int count = 0;
    for (const char *at = strstr(log, begin); at && count < most;) {
        const char *next = strstr(at + 1, begin), *end = next ? next : at + strlen(at);
        KernelReport r = {.registers = -1};
        sscanf(at + sizeof begin - 1, "%63[^']", r.name);
        r.registers = number_before(at, end, " registers");
        r.stack = number_before(at, end, " bytes stack frame");
        r.spill_stores = number_before(at, end, " bytes spill stores");
        r.spill_loads = number_before(at, end, " bytes spill loads");
        r.shared = number_before(at, end, " bytes smem");
        if (r.shared < 0) r.shared = 0; /* a kernel without has no such words */
        if (r.registers >= 0 && r.stack >= 0 && r.spill_stores >= 0 && r.spill_loads >= 0) report[count++] = r;
        at = next;
    }
    return count;
}
