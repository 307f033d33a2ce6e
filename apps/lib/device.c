#include "apps/lib/device.h"
#include "apps/lib/device_check.h"
#include "apps/lib/run.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/pool.h"
#include "cuda/cache.h"
#include "cuda/driver.h"
#include "cuda/texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool device_choice(const char *text, DeviceChoice *choice) {
    *choice = (DeviceChoice){.kind = DEVICE_AUTO};
    if (!text || !strcmp(text, "auto")) return true;
    choice->kind = DEVICE_CPU;
    if (!strcmp(text, "cpu")) return true;
    choice->kind = DEVICE_CUDA;
    if (!strcmp(text, "cuda")) return true;
    int used = 0;
    return sscanf(text, "cuda:%3d%n", &choice->index, &used) == 1 && !text[used] && choice->index >= 0 &&
           text[5] >= '0' && text[5] <= '9';
}

int device_option(const Verb *verb, const char *text, DeviceChoice *choice) {
    if (device_choice(text, choice)) return 0;
    return usage_error(verb, "--device: '%s' is not auto, cpu, cuda or cuda:N", show_path(text));
}

const char *device_cache(void) {
    static char folder[2048];
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (cache && cache[0] == '/')
        n = snprintf(folder, sizeof folder, "%s/panum/kernels", cache);
    else if (home && home[0] == '/')
        n = snprintf(folder, sizeof folder, "%s/.cache/panum/kernels", home);
    return n > 0 && (size_t)n < sizeof folder ? folder : NULL;
}

static void told(int kernels, int arch) {
    say("compiling %d kernels for sm_%d; they are kept for the next time", kernels, arch);
}

static int open_gpu(DeviceChoice choice, Device *device) {
    CudaLibraries libraries = {.kept = choice.kept, .compile = {device_cache(), "/proc/self/exe", pool_cpus(), told}};
    int code = cuda_open(&libraries, choice.index, &device->gpu);
    if (code) return code;
    const GpuFacts *f = &device->gpu->facts;
    if (f->form == GPU_EMBEDDED && !choice.kept)
        say("%s: plain kernels that come with panum, slower than what a compiler makes for it: there is %s", f->name,
            f->compiler);
    else if (f->form == GPU_COMPILES_PTX)
        say_more(1, "%s: %s", f->name, f->compiler);
    device->kernels = kernel_store_make(device->gpu);
    if (device->kernels) return 0;
    device_close(device);
    return ERR_MEMORY;
}

/* ---- how a device did when it was tried ---- */

static void add_text(Sha256 *hash, const char *text) {
    sha256_add(hash, text, strlen(text) + 1);
}

/* By all that decides what it computes: the device, its driver, the compiler, and the text of every kernel. */
static CacheKey verdict_key(const GpuFacts *f, DeviceUse use) {
    CacheKey key = {.kind = CACHE_VERDICT};
    char numbers[160];
    uint8_t digest[32];
    Sha256 hash;
    const Nvrtc *nvrtc;
    int major = 0, minor = 0;
    NvrtcLibrary library = {0, 0};
    if (nvrtc_open(NULL, &nvrtc) == 0) {
        nvrtc_version(nvrtc, &major, &minor);
        library = nvrtc_library(nvrtc);
    }
    err_clear();
    snprintf(numbers, sizeof numbers, "verdict 1 use %d sm_%d of %d driver %d form %d nvrtc %d.%d %lld %lld", (int)use,
             f->arch, f->multiprocessors, f->driver, (int)f->form, major, minor, (long long)library.bytes,
             (long long)library.date);
    sha256_begin(&hash);
    add_text(&hash, PANUM_VERSION);
    add_text(&hash, numbers);
    add_text(&hash, f->name);
    for (int i = 0; i < cuda_text_count; i++) add_text(&hash, cuda_texts[i].text);
    sha256_end(&hash, digest);
    sha256_hex(digest, key.hex);
    return key;
}

static const char good[] = "good";

/* "good", or the sentence of why not. */
static void word_on(const Device *device, const DeviceCheck *check, char *text, size_t size) {
    if (check->good)
        snprintf(text, size, "%s", good);
    else
        snprintf(
            text, size,
            "%s does not compute what the CPU does (%s is off by %.1e of its size, %d of %d outputs repeat), so it "
            "is not used; panum selftest --device cuda tries it again, --device cuda takes it all the same",
            device->gpu->facts.name, check->name, check->worst, check->same, check->outputs);
}

void device_keep_verdict(const Device *device, DeviceUse use, const DeviceCheck *check) {
    char text[600];
    const char *folder = device_cache();
    if (!cache_usable(folder)) return;
    const CacheKey key = verdict_key(&device->gpu->facts, use);
    word_on(device, check, text, sizeof text);
    cache_write(folder, &key, text, strlen(text));
}

/* 0: it has computed, here or earlier, what the CPU does. */
static int try_once(const Device *device, DeviceUse use) {
    char text[600];
    void *kept = NULL;
    size_t bytes = 0;
    DeviceCheck check;
    const char *folder = device_cache();
    const CacheKey key = verdict_key(&device->gpu->facts, use);
    bool known = cache_usable(folder) && cache_read(folder, &key, &kept, &bytes);
    if (known) snprintf(text, sizeof text, "%.*s", (int)(bytes < sizeof text ? bytes : sizeof text - 1), (char *)kept);
    mem_free(kept);
    if (!known) {
        say("%s has not been used by this program yet: %s held against the CPU first, once", device->gpu->facts.name,
            use == DEVICE_TRAINING ? "a small network and its gradients are" : "a small network is");
        int code = device_check(device, use, &check);
        if (code) return code;
        word_on(device, &check, text, sizeof text);
        device_keep_verdict(device, use, &check);
    }
    return strcmp(text, good) ? fail(ERR_DEVICE, "%s", text) : 0;
}

/* ---- opening ---- */

int device_open(DeviceChoice choice, DeviceUse use, Device *device) {
    *device = (Device){.asked = choice.kind};
    if (choice.kind == DEVICE_CPU) return 0;
    int code = open_gpu(choice, device);
    if (!code && choice.kind == DEVICE_AUTO && use != DEVICE_UNTRIED) {
        code = try_once(device, use);
        if (code) device_close(device);
    }
    if (!code || choice.kind == DEVICE_CUDA) return code;
    if (cuda_present(NULL))
        say("on the CPU: %s", err_sentence());
    else
        say_more(1, "on the CPU: %s", err_sentence());
    err_clear();
    return 0;
}

void device_close(Device *device) {
    kernel_store_drop(device->kernels);
    gpu_close(device->gpu);
    device->kernels = NULL;
    device->gpu = NULL;
}

const char *device_name(const Device *device) {
    return device->gpu ? device->gpu->facts.name : "the CPU";
}

PlayerOptions device_player(const Device *device) {
    if (!device) return (PlayerOptions){0};
    return (PlayerOptions){.gpu = device->gpu, .on_gpu = {.kernels = device->kernels}};
}

bool device_fall_back(Device *device, int code) {
    bool can = code == ERR_DEVICE || code == ERR_MEMORY;
    if (!device->gpu || device->asked != DEVICE_AUTO || !can) return false;
    say("on the CPU from here on: %s", err_sentence());
    err_clear();
    device_close(device);
    return true;
}
