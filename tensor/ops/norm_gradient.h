/* tensor/ops/norm_gradient.h - what layer_norm, group_norm and softmax record backwards, and the vector parts of it.
 * Inside tensor/ops only. */
#ifndef PANUM_TENSOR_OPS_NORM_GRADIENT_H
#define PANUM_TENSOR_OPS_NORM_GRADIENT_H
#include "base/cpu.h"
#include "tensor/ops/ops.h"

/* d[0] gets the gradient of x, d[1] and d[2] those of weight and bias, when these are not NULL. groups 0: layer_norm.
 */
void norm_record_gradient(Tensor *x, Tensor *weight, Tensor *bias, Tensor *dy, int groups, double eps, Tensor **d,
                          T_AT);
/* Attributes of a layer_norm_gradient or group_norm_gradient. */
typedef struct {
    double eps;
    int groups;                   /* 0: layer_norm */
    int weight_place, bias_place; /* which outputs they are; 0: none */
} NormGradient;

/* Of a layer_norm or group_norm; for exec/gpu_*.c. Groups are 0 for layer_norm. */
double norm_eps(const Node *node);
int norm_groups(const Node *node);
/* y is what the softmax gave. */
Tensor *t_softmax_gradient_at(Tensor *y, Tensor *dy, T_AT);

/* Rows are positions; steps in floats from row to row. */
typedef struct {
    /* dx of each row; adds sum of dy z and of dy to d_weight and d_bias (either may be NULL; weight NULL is ones). dx
     * may lie on x or dy. */
    void (*layer_norm)(int64_t rows, int64_t channels, const float *x, int64_t x_step, const float *weight,
                       const float *dy, int64_t dy_step, float eps, float *dx, int64_t dx_step, float *d_weight,
                       float *d_bias);
    /* Of each channel over the rows: the sum of dy, and of dy (x - centre). */
    void (*products)(int64_t rows, int64_t channels, const float *x, int64_t x_step, const float *centre,
                     const float *dy, int64_t dy_step, float *sum, float *product);
    /* dx = dy scale + (x - centre) slope + shift, each by channel. */
    void (*combine)(int64_t rows, int64_t channels, const float *x, int64_t x_step, const float *centre,
                    const float *dy, int64_t dy_step, const float *scale, const float *slope, const float *shift,
                    float *dx, int64_t dx_step);
    /* dx = y (dy - sum of y dy); dx may lie on y or dy. */
    void (*softmax)(int64_t rows, int64_t channels, const float *y, int64_t y_step, const float *dy, int64_t dy_step,
                    float *dx, int64_t dx_step);
} NormGradientKernels;

const NormGradientKernels *norm_gradient_kernels(CpuLevel level);
extern const NormGradientKernels norm_gradient_kernels_base, norm_gradient_kernels_avx2, norm_gradient_kernels_avx512;
#endif
