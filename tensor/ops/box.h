/* tensor/ops/box.h - what avg_pool2d and its gradient keep; for tensor/ops/box.c and exec/gpu_box.c. */
#ifndef PANUM_TENSOR_OPS_BOX_H
#define PANUM_TENSOR_OPS_BOX_H
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t kernel, stride, pad;
    bool exclude_pad;
} BoxAttributes;
#endif
