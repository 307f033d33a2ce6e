/* apps/selftest.h - between the checks of `panum selftest` and those of them that need a GPU (selftest_device.c). */
#ifndef PANUM_APPS_SELFTEST_H
#define PANUM_APPS_SELFTEST_H
#include "apps/lib/device_choice.h"

typedef struct Self Self;
/* One line for each check; `good` decides. Evidence follows. */
void self_check(Self *self, bool good, const char *what, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* A network and its gradients on a GPU against the CPU, and that they repeat bit for bit. */
int selftest_device(Self *self, DeviceChoice where);
#endif
