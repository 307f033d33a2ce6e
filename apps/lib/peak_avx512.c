#ifdef __AVX512F__
#define NAME peak_gflops_avx512
#define WIDTH 64
#include "apps/lib/peak_simd.h"
#else
#include "apps/lib/bench.h"
double peak_gflops_avx512(double seconds) {
    return peak_gflops_base(seconds);
}
#endif
