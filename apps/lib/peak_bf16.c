/* The bf16 peak of one thread: dot products of pairs on registers, as peak_simd.h does it for f32. */
#include "apps/lib/bench.h"
#if defined(__AVX512BF16__)
#include "apps/lib/run.h"
#include "base/clock.h"
#include <immintrin.h>

double peak_gflops_bf16(double seconds) {
    enum { SUMS = 12, STEPS = 20000 };
    __m512 sum[SUMS];
    __m512i a = _mm512_set1_epi16(0x3a83), b = _mm512_set1_epi16(0x3f7f); /* 0.001 and 0.996 in bf16 */
    for (int k = 0; k < SUMS; k++) sum[k] = _mm512_setzero_ps();
    double best = 0, start = clock_seconds();
    do {
        double t = clock_seconds();
        __asm__ volatile("" : "+v"(a), "+v"(b));
        for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 12
            for (int k = 0; k < SUMS; k++) sum[k] = _mm512_dpbf16_ps(sum[k], (__m512bh)a, (__m512bh)b);
        }
#pragma GCC unroll 12
        for (int k = 0; k < SUMS; k++) __asm__ volatile("" : "+v"(sum[k]));
        t = clock_seconds() - t;
        double rate = 4.0 * 16 * STEPS * SUMS / t * 1e-9; /* 16 lanes, a pair of multiply-adds each */
        if (rate > best) best = rate;
    } while (clock_seconds() - start < seconds);
    return best;
}
#else
double peak_gflops_bf16(double seconds) {
    (void)seconds;
    return 0;
}
#endif
