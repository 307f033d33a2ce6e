#if defined(__AVX512F__)
#include "tensor/ops/outer_simd.h"
#else
typedef int nothing_here; /* not this machine */
#endif
