/* apps/lib/device_choice.h - the option --device auto|cpu|cuda|cuda:N. What it opens is apps/lib/device.h. */
#ifndef PANUM_APPS_LIB_DEVICE_CHOICE_H
#define PANUM_APPS_LIB_DEVICE_CHOICE_H
#include "apps/lib/options.h"

#define OPTION_DEVICE(Type, field, section)                                                                            \
    {                                                                                                                  \
        .name = "device", .kind = OPTION_TEXT, .value = "WHERE", .standard = "auto", .at = offsetof(Type, field),      \
        .group = section,                                                                                              \
        .help = "where the network runs: cpu, cuda (an NVIDIA GPU), cuda:N (the N-th, from 0), or auto: a GPU if one " \
                "can be used, else the CPU"                                                                            \
    }

typedef enum { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA } DeviceKind;
typedef struct {
    DeviceKind kind;
    int index; /* of a GPU */
    bool kept; /* the kernels that come with the program, although others could be compiled (cuda/kept.h) */
} DeviceChoice;
/* false: the text is no device. NULL is auto. */
bool device_choice(const char *text, DeviceChoice *choice);
/* The same for an option of that name: ERR_USAGE. */
int device_option(const Verb *verb, const char *text, DeviceChoice *choice);
#endif
