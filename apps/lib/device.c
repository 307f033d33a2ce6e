#include "apps/lib/device.h"
#include "apps/lib/run.h"
#include "base/pool.h"
#include "cuda/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool device_choice(const char *text, DeviceChoice *choice) {
    *choice = (DeviceChoice){DEVICE_AUTO, 0};
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

/* Where compiled kernels are kept: $XDG_CACHE_HOME/panum/kernels, or below ~/.cache. NULL: nowhere. */
static const char *cache_folder(void) {
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
    CudaLibraries libraries = {.compile = {cache_folder(), "/proc/self/exe", pool_cpus(), told}};
    int code = cuda_open(&libraries, choice.index, &device->gpu);
    if (code) return code;
    device->kernels = kernel_store_make(device->gpu);
    if (device->kernels) return 0;
    device_close(device);
    return ERR_MEMORY;
}

int device_open(DeviceChoice choice, Device *device) {
    *device = (Device){.asked = choice.kind};
    if (choice.kind == DEVICE_CPU) return 0;
    int code = open_gpu(choice, device);
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
