#if defined(__AVX2__)
#include "tensor/ops/strip_simd.h"
#else
typedef int panum_not_this_machine;
#endif
