/* cuda/device/sums.h - sums over the threads of a block, in double, in a fixed order. */
#ifndef PANUM_CUDA_DEVICE_SUMS_H
#define PANUM_CUDA_DEVICE_SUMS_H
#include "cuda/device/device.h"

#define SUM_THREADS 256

/* The sum of every thread's v, for all of a block of SUM_THREADS; halves are added to halves. `s` is shared, of as
 * many; it may be used again at once. All threads meet here. */
DEVICE double block_sum(double v, double *s) {
    int t = thread_x();
    s[t] = v;
    block_sync();
    for (int half = SUM_THREADS / 2; half; half /= 2) {
        if (t < half) s[t] += s[t + half];
        block_sync();
    }
    double sum = s[0];
    block_sync();
    return sum;
}
#endif
