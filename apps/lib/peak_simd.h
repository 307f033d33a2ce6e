/* apps/lib/peak_simd.h - the multiply-add peak of one thread; included once per instruction level with NAME and WIDTH
 * (bytes of a vector) set. Sixteen independent sums hide the latency of a fused multiply-add (4 cycles, 2 a cycle). */
#include "apps/lib/bench.h"
#include "apps/lib/run.h"
#include "base/clock.h"

#include <stdint.h>

typedef float Vector __attribute__((vector_size(WIDTH)));
#if defined(__x86_64__)
#define KEEP(x) __asm__ volatile("" : "+x"(x))
#elif defined(__aarch64__)
#define KEEP(x) __asm__ volatile("" : "+w"(x))
#else
#define KEEP(x) __asm__ volatile("" : "+m"(x))
#endif

enum { SUMS = 12, STEPS = 20000 };

double NAME(double seconds) {
    Vector sum[SUMS], a, b;
    for (int i = 0; i < (int)(WIDTH / sizeof(float)); i++) a[i] = 0.999f, b[i] = 1e-3f;
    for (int k = 0; k < SUMS; k++) sum[k] = b;
    double best = 0, start = clock_seconds();
    do {
        double t = clock_seconds();
        KEEP(a);
        KEEP(b);
        for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 12
            for (int k = 0; k < SUMS; k++) sum[k] = sum[k] * a + b;
        }
#pragma GCC unroll 12
        for (int k = 0; k < SUMS; k++) KEEP(sum[k]);
        t = clock_seconds() - t;
        double rate = 2.0 * STEPS * SUMS * (double)(WIDTH / sizeof(float)) / t * 1e-9;
        if (rate > best) best = rate;
    } while (clock_seconds() - start < seconds);
    return best;
}
