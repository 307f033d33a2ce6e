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
/* Opens what was asked for. auto comes to the CPU when no GPU can be used, and says why in one line; nothing is said
 * where there is no NVIDIA driver at all, but from -v on. cuda fails with the reason instead. */
int device_open(DeviceChoice choice, Device *device);
void device_close(Device *device); /* after everything made from it */
/* "NVIDIA H200, cuda:0" or "the CPU" */
const char *device_name(const Device *device);
PlayerOptions device_player(const Device *device); /* NULL: the CPU */

/* After a failure on a GPU: with auto, and where the CPU can do what the GPU could not (no memory, no kernel, no
 * compiler), says the reason in one line, closes the GPU and returns true: the caller begins again, on the CPU.
 * Otherwise the error stays as it is. */
bool device_fall_back(Device *device, int code);
#endif
