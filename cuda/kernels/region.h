/* cuda/kernels/region.h - where the tensors of a pointwise region lie: operands and outputs in the order of its
 * StripProgram (tensor/ops/strip.h), strides in elements from row to row. And the region itself as a program, for
 * kernels that were compiled before it was known (-DREGION_INTERPRETED, device/interpret.h). */
#ifndef PANUM_CUDA_KERNELS_REGION_H
#define PANUM_CUDA_KERNELS_REGION_H
#include "cuda/device/types.h"

enum { REGION_OPERANDS = 12, REGION_OUTPUTS = 21, REGION_STEPS = 20 };

/* What device/pointwise.h offers, each with its arguments: x and y are values, p and q numbers. */
#define REGION_FUNCTIONS(X)         \
    X(relu, (x))                    \
    X(gelu, (x))                    \
    X(sigmoid, (x))                 \
    X(tanh, (x))                    \
    X(exp, (x))                     \
    X(log, (x))                     \
    X(square, (x))                  \
    X(sqrt, (x))                    \
    X(abs, (x))                     \
    X(affine, (x, p, q))            \
    X(clamp, (x, p, q))             \
    X(above, (x, p))                \
    X(at_least, (x, p))             \
    X(logit, (x, p))                \
    X(from_u8, (x, p, q))           \
    X(add, (x, y))                  \
    X(sub, (x, y))                  \
    X(mul, (x, y))                  \
    X(div, (x, y))                  \
    X(max, (x, y))                  \
    X(min, (x, y))                  \
    X(relu_gradient, (x, y))        \
    X(gelu_gradient, (x, y))        \
    X(sigmoid_gradient, (x, y))     \
    X(tanh_gradient, (x, y))        \
    X(sqrt_gradient, (x, y))        \
    X(abs_gradient, (x, y))         \
    X(clamp_gradient, (x, y, p, q)) \
    X(logit_gradient, (x, y, p))    \
    X(larger_gradient, (x, y))
#define REGION_NUMBERED(name, arguments) REGION_##name,
enum { REGION_FUNCTIONS(REGION_NUMBERED) REGION_FUNCTION_COUNT };
enum { REGION_FULL, REGION_ROW, REGION_COLUMN, REGION_SCALAR, REGION_TILE }; /* as OperandKind */

typedef struct {
    int kind, bytes; /* bytes: u8 instead of f32 */
} RegionOperand;
typedef struct {
    int function, a, b; /* b is a where there is no second one */
    float p, q;
} RegionStep;
typedef struct {
    int operands, steps, outputs;
    RegionOperand operand[REGION_OPERANDS];
    RegionStep step[REGION_STEPS];
    int output[REGION_OUTPUTS]; /* values: operands first, then steps */
} RegionCode;

typedef struct {
    const void *operand[REGION_OPERANDS];
    float *output[REGION_OUTPUTS]; /* or u16, as operands may be */
    i64 operand_stride[REGION_OPERANDS], output_stride[REGION_OUTPUTS];
    const RegionCode *code; /* NULL where the region is compiled */
} RegionPlaces;

/* A region alone, over rows x columns. */
typedef struct {
    RegionPlaces places;
    i64 rows, columns;
} RegionArgs;

#ifdef REGION_INTERPRETED
#define REGION_GENERATED
#include "cuda/device/interpret.h"
#endif
#endif
