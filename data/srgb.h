/* data/srgb.h - the transfer curve of sRGB (IEC 61966-2-1): stored value 0..1 and linear light 0..1. */
#ifndef PANUM_DATA_SRGB_H
#define PANUM_DATA_SRGB_H
#include <math.h>

static inline double srgb_to_linear(double stored) {
    return stored <= 0.04045 ? stored / 12.92 : pow((stored + 0.055) / 1.055, 2.4);
}
static inline double srgb_from_linear(double linear) {
    return linear <= 0.0031308 ? 12.92 * linear : 1.055 * pow(linear, 1 / 2.4) - 0.055;
}
#endif
