#define NAME peak_gflops_base
#define WIDTH 16
#include "apps/lib/peak_simd.h"
