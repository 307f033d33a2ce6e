#ifdef __AVX2__
#define NAME peak_gflops_avx2
#define WIDTH 32
#include "apps/lib/peak_simd.h"
#else
#include "apps/lib/bench.h"
double peak_gflops_avx2(double seconds) {
    return peak_gflops_base(seconds);
}
#endif
