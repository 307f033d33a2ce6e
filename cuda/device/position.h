/* cuda/device/position.h - where a disparity points, whole columns and the part between two, in f32 without losing
 * digits to the column number: x - d itself would leave no more than 15 bits for the part at column 480. */
#ifndef PANUM_CUDA_DEVICE_POSITION_H
#define PANUM_CUDA_DEVICE_POSITION_H
#include "cuda/device/device.h"

#define POSITION_LIMIT 536870912.f /* 2^29: beyond it everything is outside every picture */

/* Not for a NaN either. */
DEVICE int position_is_near(float d) {
    return d > -POSITION_LIMIT && d < POSITION_LIMIT;
}

DEVICE int floor_int(float v) { /* |v| < 2^31 */
    int whole = (int)v;
    return (float)whole > v ? whole - 1 : whole;
}

/* floor(column - d), and how far beyond it the position lies: 0..1, rounded once. d is near. */
DEVICE int position_of(int column, float d, float *part) {
    int whole = floor_int(d);
    float over = d - (float)whole;
    *part = over > 0 ? 1 - over : 0;
    return column - whole - (over > 0);
}
#endif
