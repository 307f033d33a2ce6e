#if defined(__AVX2__)
#include "tensor/ops/outer_simd.h"
#else
typedef int nothing_here; /* not this machine */
#endif
