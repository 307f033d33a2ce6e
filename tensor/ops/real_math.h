/* tensor/ops/real_math.h - elementary functions over `real`, for the plain-C definitions: the float functions in the
 * program, the double ones in the f64 build of the tests. (No <tgmath.h>: it hides which of the two is called.) */
#ifndef PANUM_TENSOR_OPS_REAL_MATH_H
#define PANUM_TENSOR_OPS_REAL_MATH_H
#include "tensor/tensor.h"
#include <math.h>

#ifdef PANUM_F64
#define REAL_FUNCTION(name) name
#else
#define REAL_FUNCTION(name) name##f
#endif
static inline real real_exp(real x) {
    return REAL_FUNCTION(exp)(x);
}
static inline real real_log(real x) {
    return REAL_FUNCTION(log)(x);
}
static inline real real_tanh(real x) {
    return REAL_FUNCTION(tanh)(x);
}
static inline real real_erf(real x) {
    return REAL_FUNCTION(erf)(x);
}
static inline real real_sqrt(real x) {
    return REAL_FUNCTION(sqrt)(x);
}
static inline real real_abs(real x) {
    return REAL_FUNCTION(fabs)(x);
}
static inline real real_floor(real x) {
    return REAL_FUNCTION(floor)(x);
}
#endif
