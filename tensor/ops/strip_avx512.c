#if defined(__AVX512F__)
#include "tensor/ops/strip_simd.h"
#else
typedef int panum_not_this_machine;
#endif
