/* apps/lib/device.h - where a verb computes. */
#ifndef PANUM_APPS_LIB_DEVICE_H
#define PANUM_APPS_LIB_DEVICE_H
#include "apps/lib/device_choice.h"
#include "exec/player.h"

typedef struct {
    Gpu *gpu;             /* NULL: the CPU */
    KernelStore *kernels; /* what is compiled for it, for all programs that run there */
    DeviceKind asked;
} Device;
/* What it is wanted for. auto takes no GPU on trust: before the first use by this program, with this driver, a small
 * network is held against the CPU on it (apps/lib/device_check.h), and what came of it is kept beside the compiled
 * kernels. */
typedef enum {
    DEVICE_FORWARD,  /* matching */
    DEVICE_TRAINING, /* gradients too */
    DEVICE_UNTRIED,  /* looking at the device itself: nothing is held against it */
} DeviceUse;
/* Opens what was asked for. auto comes to the CPU when no GPU can be used, and says why in one line; nothing is said
 * where there is no NVIDIA driver at all, but from -v on. cuda fails with the reason instead. */
int device_open(DeviceChoice choice, DeviceUse use, Device *device);
/* Keeps what a check said of this device for the next `auto`. */
struct DeviceCheck;
void device_keep_verdict(const Device *device, DeviceUse use, const struct DeviceCheck *check);
/* Where compiled kernels and verdicts are kept: $XDG_CACHE_HOME/panum/kernels, or below ~/.cache. NULL: nowhere. */
const char *device_cache(void);
void device_close(Device *device); /* after everything made from it */
/* "NVIDIA H200, cuda:0" or "the CPU" */
const char *device_name(const Device *device);
PlayerOptions device_player(const Device *device); /* NULL: the CPU */

/* After a failure on a GPU: with auto, and where the CPU can do what the GPU could not (no memory, no kernel, no
 * compiler), says the reason in one line, closes the GPU and returns true: the caller begins again, on the CPU.
 * Otherwise the error stays as it is. */
bool device_fall_back(Device *device, int code);
#endif
