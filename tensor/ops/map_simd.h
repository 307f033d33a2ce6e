/* tensor/ops/map_simd.h - see map_kernels.h; included once for each instruction level. */
#include "tensor/ops/map_kernels.h"
#include "tensor/ops/simd_math.h"
#include "tensor/ops/simd_rows.h"
#include "tensor/ops/simd_transpose.h"
#include <math.h>

/* Mean first, then squares of what is left, and the mean of what is left as a correction of the first (Chan, Golub and
 * LeVeque 1983): exact to rounding even when the mean is far larger than the spread. */
ALWAYS_INLINE void layer_norm_row(int64_t n, const float *x, const float *weight, const float *bias, float eps,
                                  float *y) {
    vf sum = v_zero(), rest = v_zero(), squares = v_zero();
    for (int64_t j = 0; j < n; j += VW) sum += get(x, j, n);
    const float over = 1 / (float)n, mean = v_sum(sum) * over;
    for (int64_t j = 0; j < n; j += VW) {
        vf d = clip(get(x, j, n) - mean, j, n);
        rest += d;
        squares = v_fma(d, d, squares);
    }
    const float correction = v_sum(rest) * over;
    const float scale = 1 / sqrtf(v_sum(squares) * over - correction * correction + eps);
    for (int64_t j = 0; j < n; j += VW) {
        vf z = (get(x, j, n) - mean - correction) * scale;
        if (weight) z *= get(weight, j, n);
        if (bias) z += get(bias, j, n);
        put(y, j, n, z);
    }
}

static void layer_norm(int64_t rows, int64_t channels, const float *x, int64_t x_step, const float *weight,
                       const float *bias, float eps, float *y, int64_t y_step) {
    if (channels == 128) /* the width of S: everything unrolled */
        for (int64_t row = 0; row < rows; row++)
            layer_norm_row(128, x + row * x_step, weight, bias, eps, y + row * y_step);
    else
        for (int64_t row = 0; row < rows; row++)
            layer_norm_row(channels, x + row * x_step, weight, bias, eps, y + row * y_step);
}

static void softmax(int64_t rows, int64_t channels, const float *x, int64_t x_step, float *y, int64_t y_step) {
    for (int64_t row = 0; row < rows; row++, x += x_step, y += y_step) {
        vf most = v_set(-INFINITY), sum = v_zero();
        for (int64_t j = 0; j < channels; j += VW) {
            vf v = get(x, j, channels);
            most = v_max(
                most, channels - j >= VW ? v : v_select(v_bits(clip(v_set(1), j, channels)) != 0, v, v_set(-INFINITY)));
        }
        const float largest = v_largest(most);
        for (int64_t j = 0; j < channels; j += VW) {
            vf e = clip(v_exp(get(x, j, channels) - largest), j, channels);
            put(y, j, channels, e);
            sum += e;
        }
        const float share = 1 / v_sum(sum);
        for (int64_t j = 0; j < channels; j += VW) put(y, j, channels, get(y, j, channels) * share);
    }
}

/* Some vectors of channels at a time, so that whole cache lines of a row are used together. */
ALWAYS_INLINE void moments_of(int vectors, int64_t rows, int64_t j, int64_t n, const float *x, int64_t x_step,
                              float *mean, float *rest_of_mean, float *squares) {
    const float over = 1 / (float)rows;
    vf sum[4], rest[4], square[4];
    for (int v = 0; v < vectors; v++) sum[v] = rest[v] = square[v] = v_zero();
    for (int64_t row = 0; row < rows; row++)
        for (int v = 0; v < vectors; v++) sum[v] += get(x + row * x_step, j + v * VW, n);
    for (int v = 0; v < vectors; v++) sum[v] *= over;
    for (int64_t row = 0; row < rows; row++)
        for (int v = 0; v < vectors; v++) {
            vf d = get(x + row * x_step, j + v * VW, n) - sum[v];
            rest[v] += d;
            square[v] = v_fma(d, d, square[v]);
        }
    for (int v = 0; v < vectors; v++) {
        put(mean, j + v * VW, n, sum[v]);
        put(rest_of_mean, j + v * VW, n, rest[v] * over);
        put(squares, j + v * VW, n, square[v] - rest[v] * rest[v] * over);
    }
}

static void moments(int64_t rows, int64_t channels, const float *x, int64_t x_step, float *mean, float *rest_of_mean,
                    float *squares) {
    int64_t j = 0;
    for (; j + 4 * VW <= channels; j += 4 * VW)
        moments_of(4, rows, j, channels, x, x_step, mean, rest_of_mean, squares);
    for (; j < channels; j += VW) moments_of(1, rows, j, channels, x, x_step, mean, rest_of_mean, squares);
}

static void normalise(int64_t rows, int64_t channels, const float *x, int64_t x_step, const float *centre,
                      const float *scale, const float *shift, float *y, int64_t y_step) {
    for (int64_t row = 0; row < rows; row++, x += x_step, y += y_step)
        for (int64_t j = 0; j < channels; j += VW)
            put(y, j, channels,
                v_fma(get(x, j, channels) - get(centre, j, channels), get(scale, j, channels),
                      get(shift, j, channels)));
}

static void average(int64_t columns, int64_t channels, const float *above, const float *below, int64_t x_step,
                    float *y) {
    for (int64_t column = 0; column < columns; column++, above += 2 * x_step, below += 2 * x_step, y += channels)
        for (int64_t j = 0; j < channels; j += VW)
            put(y, j, channels,
                ((get(above, j, channels) + get(above + x_step, j, channels)) +
                 (get(below, j, channels) + get(below + x_step, j, channels))) *
                    0.25f);
}

/* y = x + part (next - x) */
ALWAYS_INLINE void blend(int64_t n, const float *x, const float *next, float part, float *y) {
    for (int64_t j = 0; j < n; j += VW) {
        vf a = get(x, j, n);
        put(y, j, n, v_fma(get(next, j, n) - a, v_set(part), a));
    }
}

static void resize_row(int64_t w, int64_t channels, const float *above, const float *below, int64_t x_step, float part,
                       const ResizeColumn *columns, float *work, float *y) {
    float *column[2] = {work, work + channels};
    int32_t held[2] = {-1, -1}; /* which source columns are there */
    for (int64_t j = 0; j < w; j++, y += channels) {
        const ResizeColumn *u = columns + j;
        if (held[1] == u->from) { /* the next has become the first */
            float *swap = column[0];
            column[0] = column[1], column[1] = swap;
            held[0] = held[1], held[1] = -1;
        }
        const int32_t wanted[2] = {u->from, u->next};
        for (int k = 0; k < 2; k++) {
            if (held[k] == wanted[k]) continue;
            held[k] = wanted[k];
            blend(channels, above + held[k] * x_step, below + held[k] * x_step, part, column[k]);
        }
        blend(channels, column[0], column[1], u->part, y);
    }
}

static void pairs(int64_t n, const float *x, float *y) {
    int64_t k = 0;
    for (; k + VW <= n; k += VW) {
        vf a = v_load(x + 2 * k), b = v_load(x + 2 * k + VW);
#define EVEN(lane, unused) (2 * (lane))
#define ODD(lane, unused) (2 * (lane) + 1)
        vf even = __builtin_shufflevector(a, b, LANES(EVEN, 0)), odd = __builtin_shufflevector(a, b, LANES(ODD, 0));
        v_store(y + k, (even + odd) * 0.5f);
    }
    for (; k < n; k++) y[k] = (x[2 * k] + x[2 * k + 1]) * 0.5f;
}

/* Nine logits a pixel become nine vectors of VW pixels: by squares of VW x VW as far as they go (at VW 16 by one that
 * is not quite filled), the ninth by hand. */
enum { NINE = 9, SQUARED = VW == 16 ? VW : NINE / VW * VW };

ALWAYS_INLINE void convex_pixels(int64_t count, int factor, bool clipped, const float *rows, int64_t row_step,
                                 const float *logits, int64_t logit_step, float *y) {
    vf m[SQUARED + 1];
    for (int first = 0; first < SQUARED; first += VW) {
        for (int pixel = 0; pixel < VW; pixel++) {
            const float *from = logits + pixel * logit_step + first;
            m[first + pixel] = pixel >= count ? v_zero() : VW > NINE ? v_load_part(from, NINE) : v_load(from);
        }
        v_transpose(m + first);
    }
    if (SQUARED < NINE) {
        float last[VW] = {0};
        for (int pixel = 0; pixel < count; pixel++) last[pixel] = logits[pixel * logit_step + NINE - 1];
        m[SQUARED] = v_load(last);
    }
    vf most = m[0], sum = v_zero(), value = v_zero();
    for (int k = 1; k < NINE; k++) most = v_max(most, m[k]);
    for (int k = 0; k < NINE; k++) {
        m[k] = v_exp2_small((m[k] - most) * 1.44269504f);
        sum += m[k];
    }
    if (clipped) {
        const vf share = 1.0f / sum;
        sum = v_zero();
        for (int k = 0; k < NINE; k++) {
            m[k] = v_max(v_zero(), v_fma(m[k], share, v_set(-0.1f)));
            sum += m[k];
        }
    }
    for (int k = 0; k < NINE; k++) {
        const float *neighbour = rows + k / 3 * row_step + k % 3 * factor;
        value = v_fma(m[k], count == VW ? v_load(neighbour) : v_load_part(neighbour, count), value);
    }
    value /= sum;
    if (count == VW)
        v_store(y, value);
    else
        v_store_part(y, value, count);
}

static void convex(int64_t columns, int factor, bool clipped, const float *rows, int64_t row_step, const float *logits,
                   int64_t logit_step, float *y) {
    int64_t x = 0;
    for (; x + VW <= columns; x += VW)
        convex_pixels(VW, factor, clipped, rows + x, row_step, logits + x * logit_step, logit_step, y + x);
    if (x < columns)
        convex_pixels(columns - x, factor, clipped, rows + x, row_step, logits + x * logit_step, logit_step, y + x);
}

static void lookup(int64_t w, int64_t m, int step, int coarse, const float *cv, int64_t cv_step, const float *disparity,
                   int64_t disparity_step, float *y) {
    for (int64_t i = 0; i < w; i++, y += LOOKUP_TAPS) {
        const float *line = cv + i / coarse * cv_step;
        const double position = ((double)i - disparity[i * disparity_step]) / step, whole = floor(position);
        const float part = (float)(position - whole);
        if (whole >= LOOKUP_RADIUS && whole + LOOKUP_RADIUS + 1 < (double)m) {
            const float *at = line + (int64_t)whole - LOOKUP_RADIUS;
            int k = 0;
            for (; k + VW <= LOOKUP_TAPS; k += VW)
                v_store(y + k, v_fma(v_load(at + k + 1), v_set(part), v_load(at + k) * (1 - part)));
            if (VW <= LOOKUP_TAPS) {
                for (; k < LOOKUP_TAPS; k++) y[k] = at[k] * (1 - part) + at[k + 1] * part;
                continue;
            }
            v_store_part(
                y, v_fma(v_load_part(at + 1, LOOKUP_TAPS), v_set(part), v_load_part(at, LOOKUP_TAPS) * (1 - part)),
                LOOKUP_TAPS);
        } else {
            /* also positions that are not finite */
            const bool near = whole >= -(LOOKUP_RADIUS + 1) && whole <= (double)m + LOOKUP_RADIUS;
            for (int e = 0; e < LOOKUP_TAPS; e++)
                y[e] = near ? lookup_tap(line, m, (int64_t)whole + e - LOOKUP_RADIUS, part) : 0;
        }
    }
}

const MapKernels SIMD_NAME(map_kernels) = {
    .layer_norm = layer_norm,
    .softmax = softmax,
    .moments = moments,
    .normalise = normalise,
    .average = average,
    .resize_row = resize_row,
    .pairs = pairs,
    .convex = convex,
    .lookup = lookup,
};
