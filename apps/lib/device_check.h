/* apps/lib/device_check.h - is a GPU right? A small S2M2-XS on it against the CPU: every kernel that matching needs,
 * and on request every one that training needs. */
#ifndef PANUM_APPS_LIB_DEVICE_CHECK_H
#define PANUM_APPS_LIB_DEVICE_CHECK_H
#include "apps/lib/device.h"

typedef struct DeviceCheck {
    int tensors;    /* compared */
    double worst;   /* of any tensor: root of the mean square of its differences, of that of its values */
    char name[200]; /* that tensor */
    double allowed;
    int outputs, same; /* of two runs: how many there are, and how many have the same bits */
    bool good;         /* worst <= allowed, and all repeat */
} DeviceCheck;
/* DEVICE_FORWARD: the maps of a pair of pictures; DEVICE_TRAINING: the gradients of every parameter. An error is a
 * device that cannot do it at all. */
int device_check(const Device *device, DeviceUse use, DeviceCheck *check);
#endif
