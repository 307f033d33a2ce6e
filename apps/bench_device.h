/* apps/bench_device.h - the part of `panum bench` that measures a GPU. */
#ifndef PANUM_APPS_BENCH_DEVICE_H
#define PANUM_APPS_BENCH_DEVICE_H
#include "apps/lib/device.h"

typedef struct {
    bool networks;    /* larger networks and batches too */
    bool json;        /* one object at the end instead of tables as it goes (apps/lib/bench.h) */
    const char *only; /* NULL: everything; else what begins so: "s2m2-XS 640x480", "train" */
    int rounds;       /* 0: 20 */
} DeviceBenchOptions;
int bench_device(DeviceChoice where, DeviceBenchOptions options);
#endif
