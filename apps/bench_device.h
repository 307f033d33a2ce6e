/* apps/bench_device.h - the part of `panum bench` that measures a GPU. */
#ifndef PANUM_APPS_BENCH_DEVICE_H
#define PANUM_APPS_BENCH_DEVICE_H
#include "apps/lib/device.h"

/* Prints as it goes. `networks`: larger networks and batches too. */
int bench_device(DeviceChoice where, bool networks);
#endif
