#include "apps/lib/device_check.h"
#include "apps/selftest.h"

#include <stdio.h>

static int check_use(Self *self, const Device *device, DeviceUse use, const char *what) {
    DeviceCheck c;
    int code = device_check(device, use, &c);
    if (code == ERR_DEVICE) {
        self_check(self, false, what, "%s", err_sentence());
        return 0;
    }
    if (code) return code;
    device_keep_verdict(device, use, &c);
    char repeats[80];
    snprintf(repeats, sizeof repeats, "%s, run twice", what);
    self_check(self, c.worst <= c.allowed, what, "%d tensors, off by %.1e of their size at most (%s; %.0e is allowed)",
               c.tensors, c.worst, c.name, c.allowed);
    self_check(self, c.same == c.outputs, repeats, "%d of %d outputs have the same bits", c.same, c.outputs);
    return 0;
}

/* Those that come with the program, where others are compiled: what machines without a compiler run. */
static int check_kept(Self *self, DeviceChoice where) {
    Device device;
    where.kept = true;
    int code = device_open(where, DEVICE_UNTRIED, &device);
    if (code) return code;
    code = device.gpu ? check_use(self, &device, DEVICE_FORWARD, "the same without a compiler") : 0;
    device_close(&device);
    return code;
}

int selftest_device(Self *self, DeviceChoice where) {
    Device device;
    int code = device_open(where, DEVICE_UNTRIED, &device);
    if (code) return code;
    if (!device.gpu) return 0; /* auto, and there is none */
    const GpuFacts f = device.gpu->facts;
    self_check(self, true, "a GPU", "%s, sm_%d; kernels: %s", f.name, f.arch,
               f.form == GPU_EMBEDDED ? "those that come with panum" : f.compiler);
    code = check_use(self, &device, DEVICE_FORWARD, "s2m2-XS on the GPU");
    if (!code) code = check_use(self, &device, DEVICE_TRAINING, "its gradients on the GPU");
    device_close(&device);
    return code || f.form == GPU_EMBEDDED ? code : check_kept(self, where);
}
