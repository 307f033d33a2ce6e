/* tensor/ops/norm_gradient_simd.h - see norm_gradient.h; included once for each instruction level. */
#include "tensor/ops/norm_gradient.h"
#include "tensor/ops/simd_rows.h"
#include <math.h>

/* Mean and scale are computed anew, exactly as the layer itself does (map_simd.h): cheaper than keeping them. With
 * z = (x - mean) scale and g = dy weight: dx = (g - mean(g) - z mean(g z)) scale. */
ALWAYS_INLINE void layer_norm_row(int64_t n, const float *x, const float *weight, const float *dy, float eps, float *dx,
                                  float *d_weight, float *d_bias) {
    vf sum = v_zero(), rest = v_zero(), squares = v_zero(), along = v_zero(), product = v_zero();
    for (int64_t j = 0; j < n; j += VW) sum += get(x, j, n);
    const float over = 1 / (float)n, mean = v_sum(sum) * over;
    for (int64_t j = 0; j < n; j += VW) {
        vf d = clip(get(x, j, n) - mean, j, n), g = get(dy, j, n);
        if (weight) g *= get(weight, j, n);
        rest += d;
        squares = v_fma(d, d, squares);
        along += g;
        product = v_fma(g, d, product);
    }
    const float correction = v_sum(rest) * over, total = v_sum(along);
    const float scale = 1 / sqrtf(v_sum(squares) * over - correction * correction + eps);
    const float mean_g = total * over, mean_gz = (v_sum(product) - correction * total) * scale * over;
    for (int64_t j = 0; j < n; j += VW) {
        const vf z = (get(x, j, n) - mean - correction) * scale, d = get(dy, j, n);
        const vf g = weight ? d * get(weight, j, n) : d;
        if (d_weight) put(d_weight, j, n, v_fma(d, z, get(d_weight, j, n)));
        if (d_bias) put(d_bias, j, n, get(d_bias, j, n) + d);
        put(dx, j, n, (g - mean_g - z * mean_gz) * scale);
    }
}

static void layer_norm(int64_t rows, int64_t channels, const float *x, int64_t x_step, const float *weight,
                       const float *dy, int64_t dy_step, float eps, float *dx, int64_t dx_step, float *d_weight,
                       float *d_bias) {
    if (channels == 32 && !weight && !d_bias) /* the width of XS: everything unrolled */
        for (int64_t row = 0; row < rows; row++)
            layer_norm_row(32, x + row * x_step, NULL, dy + row * dy_step, eps, dx + row * dx_step, NULL, NULL);
    else
        for (int64_t row = 0; row < rows; row++)
            layer_norm_row(channels, x + row * x_step, weight, dy + row * dy_step, eps, dx + row * dx_step, d_weight,
                           d_bias);
}

/* Some vectors of channels at a time, so that whole cache lines of a row are used together. */
ALWAYS_INLINE void products_of(int vectors, int64_t rows, int64_t j, int64_t n, const float *x, int64_t x_step,
                               const float *centre, const float *dy, int64_t dy_step, float *sum, float *product) {
    vf total[2], products[2], middle[2];
    for (int v = 0; v < vectors; v++) {
        total[v] = products[v] = v_zero();
        middle[v] = get(centre, j + v * VW, n);
    }
    for (int64_t row = 0; row < rows; row++)
        for (int v = 0; v < vectors; v++) {
            vf d = get(dy + row * dy_step, j + v * VW, n);
            total[v] += d;
            products[v] = v_fma(d, get(x + row * x_step, j + v * VW, n) - middle[v], products[v]);
        }
    for (int v = 0; v < vectors; v++) {
        put(sum, j + v * VW, n, total[v]);
        put(product, j + v * VW, n, products[v]);
    }
}

static void products(int64_t rows, int64_t channels, const float *x, int64_t x_step, const float *centre,
                     const float *dy, int64_t dy_step, float *sum, float *product) {
    int64_t j = 0;
    for (; j + 2 * VW <= channels; j += 2 * VW)
        products_of(2, rows, j, channels, x, x_step, centre, dy, dy_step, sum, product);
    for (; j < channels; j += VW) products_of(1, rows, j, channels, x, x_step, centre, dy, dy_step, sum, product);
}

static void combine(int64_t rows, int64_t channels, const float *x, int64_t x_step, const float *centre,
                    const float *dy, int64_t dy_step, const float *scale, const float *slope, const float *shift,
                    float *dx, int64_t dx_step) {
    for (int64_t row = 0; row < rows; row++, x += x_step, dy += dy_step, dx += dx_step)
        for (int64_t j = 0; j < channels; j += VW)
            put(dx, j, channels,
                v_fma(get(dy, j, channels), get(scale, j, channels),
                      v_fma(get(x, j, channels) - get(centre, j, channels), get(slope, j, channels),
                            get(shift, j, channels))));
}

static void softmax(int64_t rows, int64_t channels, const float *y, int64_t y_step, const float *dy, int64_t dy_step,
                    float *dx, int64_t dx_step) {
    for (int64_t row = 0; row < rows; row++, y += y_step, dy += dy_step, dx += dx_step) {
        vf along = v_zero();
        for (int64_t j = 0; j < channels; j += VW) along = v_fma(get(y, j, channels), get(dy, j, channels), along);
        const float sum = v_sum(along);
        for (int64_t j = 0; j < channels; j += VW)
            put(dx, j, channels, get(y, j, channels) * (get(dy, j, channels) - sum));
    }
}

const NormGradientKernels SIMD_NAME(norm_gradient_kernels) = {
    .layer_norm = layer_norm,
    .products = products,
    .combine = combine,
    .softmax = softmax,
};
