/* cuda/device/pointwise.h - the functions of tensor/ops/pointwise.c as words, one for each row of its table: what the
 * text of a region or of a hole is made of. Names are FN_ + the row's name; x and y are the operands, p and q the
 * numbers. */
#ifndef PANUM_CUDA_DEVICE_POINTWISE_H
#define PANUM_CUDA_DEVICE_POINTWISE_H
#include "cuda/device/device.h"

DEVICE float fn_relu(float x) {
    return x < 0 ? 0 : x; /* NaN stays NaN, and -infinity becomes 0 */
}
DEVICE float fn_gelu(float x) {
    return x / 2 * (1 + erf_f32(x * 0.70710678118654752440f));
}
DEVICE float fn_sigmoid(float x) {
    return 1 / (1 + exp_f32(-x));
}
DEVICE float fn_tanh(float x) {
    return tanh_f32(x);
}
DEVICE float fn_exp(float x) {
    return exp_f32(x);
}
DEVICE float fn_log(float x) {
    return log_f32(x);
}
DEVICE float fn_square(float x) {
    return x * x;
}
DEVICE float fn_sqrt(float x) {
    return sqrt_f32(x);
}
DEVICE float fn_abs(float x) {
    return abs_f32(x);
}
DEVICE float fn_affine(float x, float p, float q) {
    return p * x + q;
}
DEVICE float fn_clamp(float x, float p, float q) {
    return x < p ? p : x > q ? q : x;
}
DEVICE float fn_above(float x, float p) {
    return x > p ? 1.f : 0.f;
}
DEVICE float fn_at_least(float x, float p) {
    return x >= p ? 1.f : 0.f;
}
DEVICE float fn_logit(float x, float p) {
    float c = x < p ? p : x > 1 - p ? 1 - p : x;
    return log_f32(c / (1 - c));
}
DEVICE float fn_from_u8(float x, float p, float q) {
    return p * x + q;
}
DEVICE float fn_add(float x, float y) {
    return x + y;
}
DEVICE float fn_sub(float x, float y) {
    return x - y;
}
DEVICE float fn_mul(float x, float y) {
    return x * y;
}
DEVICE float fn_div(float x, float y) {
    return x / y;
}
DEVICE float fn_max(float x, float y) {
    return x > y || x != x ? x : y;
}
DEVICE float fn_min(float x, float y) {
    return x < y || x != x ? x : y;
}
DEVICE float fn_relu_gradient(float x, float y) {
    return y > 0 ? x : 0;
}
DEVICE float fn_gelu_gradient(float x, float y) {
    float below = (1 + erf_f32(y * 0.70710678118654752440f)) / 2;
    return x * (below + y * (exp_f32(-y * y / 2) * 0.39894228040143267794f)); /* 1/sqrt(2 pi) */
}
DEVICE float fn_sigmoid_gradient(float x, float y) {
    return x * (y * (1 - y));
}
DEVICE float fn_tanh_gradient(float x, float y) {
    return x * (1 - y * y);
}
DEVICE float fn_sqrt_gradient(float x, float y) {
    return x / (y + y);
}
DEVICE float fn_abs_gradient(float x, float y) {
    return y > 0 ? x : y < 0 ? -x : 0;
}
DEVICE float fn_clamp_gradient(float x, float y, float p, float q) {
    return y >= p && y <= q ? x : 0;
}
DEVICE float fn_logit_gradient(float x, float y, float p) {
    return y >= p && y <= 1 - p ? x / (y * (1 - y)) : 0;
}
DEVICE float fn_larger_gradient(float x, float y) {
    return y > 0 ? x : y == 0 ? x / 2 : 0;
}
#endif
