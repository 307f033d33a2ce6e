/* tensor/weight_source.h - how a plan gets the numbers of a program's weights, without knowing where they come from. */
#ifndef PANUM_TENSOR_WEIGHT_SOURCE_H
#define PANUM_TENSOR_WEIGHT_SOURCE_H
#include "tensor/tensor.h"

/* nn/store.h implements it. Both return NULL with the error set on failure. */
typedef struct WeightSource {
    void *context;
    /* Row-major values of a weight tensor, valid as long as the source. */
    const real *(*values)(void *context, const Tensor *weight);
    /* A packed copy kept under `key`; `fill` is called at most once per key. The plan may fill it anew when the values
     * have changed. */
    void *(*packed)(void *context, const char *key, size_t bytes, void (*fill)(void *fill_context, void *packed),
                    void *fill_context);
} WeightSource;
#endif
