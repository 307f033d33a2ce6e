#if defined(__AVX2__)
#include "tensor/ops/norm_gradient_simd.h"
#else
typedef int nothing_here; /* not this machine */
#endif
