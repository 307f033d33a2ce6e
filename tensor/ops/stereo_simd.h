/* tensor/ops/stereo_simd.h - see stereo_kernels.h; included once for each instruction level. */
#include "tensor/ops/simd_math.h"
#include "tensor/ops/simd_transpose.h"
#include "tensor/ops/stereo_kernels.h"
#include <math.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* to[i] = a[i] + b[i], b NULL: a copy. `to` may be a; it may overlap b only where b lies behind it. */
ALWAYS_INLINE void add_lines(int64_t n, const float *a, const float *b, float *to) {
    int64_t i = 0;
    for (; i + VW <= n; i += VW) v_store(to + i, b ? v_load(a + i) + v_load(b + i) : v_load(a + i));
    for (; i < n; i++) to[i] = b ? a[i] + b[i] : a[i];
}

static void box(int64_t n, int64_t k, int64_t step, float *x, float *sums) {
    const int64_t wanted = n - (k - 1) * step;
    int64_t taken = 0; /* neighbours already in the sums; x holds sums of `length` neighbours */
    for (int64_t length = 1, digits = k;; length *= 2) {
        if (digits & 1) {
            add_lines(wanted, x + taken * step, taken ? sums : NULL, sums);
            taken += length;
        }
        digits /= 2;
        if (!digits) return;
        add_lines(n - (2 * length - 1) * step, x, x + length * step, x);
    }
}

ALWAYS_INLINE vf get(const float *p, int64_t n) {
    return n >= VW ? v_load(p) : v_load_part(p, n);
}
ALWAYS_INLINE void put(float *p, int64_t n, vf v) {
    if (n >= VW)
        v_store(p, v);
    else
        v_store_part(p, v, n);
}

static void weighted_rows(int64_t count, const float *share, int64_t columns, int64_t channels, const float *rows,
                          int64_t row_step, int64_t x_step, float *to) {
    if (x_step == channels) channels *= columns, columns = 1;
    for (int64_t column = 0; column < columns; column++, rows += x_step, to += channels)
        for (int64_t j = 0; j < channels; j += VW) {
            vf sum = v_zero();
            for (int64_t k = 0; k < count; k++)
                sum = v_fma(v_set(share[k]), get(rows + k * row_step + j, channels - j), sum);
            put(to + j, channels - j, sum);
        }
}

/* Positions look at the same pair for a while: what goes to a pair is summed in registers, and a place is written once,
 * when the pairs have moved past it. */
ALWAYS_INLINE void spread_channels(int64_t n, int64_t columns, int64_t channels, const float *line,
                                   const ResizeColumn *where, int64_t w, float *to) {
    vf from = v_zero(), next = v_zero();
    int64_t at = 0; /* `from` and `next` belong to places at and at + 1 */
    for (int64_t column = 0; column < columns; column++) {
        const ResizeColumn u = where[column];
        for (; at < u.from; at++) {
            put(to + at * channels, n, from);
            from = next, next = v_zero();
        }
        const vf value = get(line + column * channels, n);
        if (u.next == u.from) { /* the last place */
            from += value;
            continue;
        }
        from = v_fma(value, v_set(1 - u.part), from);
        next = v_fma(value, v_set(u.part), next);
    }
    for (; at < w; at++) {
        put(to + at * channels, n, from);
        from = next, next = v_zero();
    }
}

static void spread_row(int64_t columns, int64_t channels, const float *line, const ResizeColumn *where, int64_t w,
                       float *to) {
    for (int64_t j = 0; j < channels; j += VW)
        spread_channels(channels - j, columns, channels, line + j, where, w, to + j);
}

static void lookup_back(int64_t w, int64_t m, int step, int coarse, const float *disparity, int64_t disparity_step,
                        const float *dout, int64_t dout_step, float *dcv, int64_t dcv_step) {
    enum { SPAN = LOOKUP_TAPS + 1 };
    for (int64_t i = 0; i < w; i++, dout += dout_step) {
        float *line = dcv + i / coarse * dcv_step;
        const double position = ((double)i - disparity[i * disparity_step]) / step, whole = floor(position);
        /* also positions that are not finite */
        if (!(whole >= -(SPAN + 0.0) && whole <= (double)m + LOOKUP_RADIUS)) continue;
        const float part = (float)(position - whole);
        const int64_t first = (int64_t)whole - LOOKUP_RADIUS;
        float own[SPAN]; /* entry first + k gets the right share of tap k - 1 and the left share of tap k */
        own[0] = dout[0] * (1 - part);
        for (int k = 1; k < LOOKUP_TAPS; k++) own[k] = dout[k - 1] * part + dout[k] * (1 - part);
        own[LOOKUP_TAPS] = dout[LOOKUP_TAPS - 1] * part;
        if (first >= 0 && first + SPAN <= m)
            for (int k = 0; k < SPAN; k++) line[first + k] += own[k];
        else
            for (int64_t k = first < 0 ? -first : 0; k < SPAN && first + k < m; k++) line[first + k] += own[k];
    }
}

/* Nine numbers a pixel become nine vectors of VW pixels and back: as convex_pixels in map_simd.h does. */
enum { NINE = 9, SQUARED = VW == 16 ? VW : NINE / VW * VW };

ALWAYS_INLINE void convex_back_pixels(int64_t count, int64_t columns, int factor, bool clipped, const float *rows,
                                      int64_t row_step, const float *logits, int64_t logit_step, const float *dy,
                                      int64_t dy_step, float *dlogits, float *shares) {
    vf p[SQUARED + 1], x[NINE], g[SQUARED + 1];
    for (int first = 0; first < SQUARED; first += VW) {
        for (int pixel = 0; pixel < VW; pixel++) {
            const float *from = logits + pixel * logit_step + first;
            p[first + pixel] = pixel >= count ? v_zero() : VW > NINE ? v_load_part(from, NINE) : v_load(from);
        }
        v_transpose(p + first);
    }
    float gathered[VW] = {0};
    if (SQUARED < NINE) {
        for (int pixel = 0; pixel < count; pixel++) gathered[pixel] = logits[pixel * logit_step + NINE - 1];
        p[SQUARED] = v_load(gathered);
    }
    for (int pixel = 0; pixel < count; pixel++) gathered[pixel] = dy[pixel * dy_step];
    for (int64_t pixel = count; pixel < VW; pixel++) gathered[pixel] = 0;
    const vf own = v_load(gathered);
    vf most = p[0], sum = v_zero(), y = v_zero(), mean = v_zero(), kept = v_zero();
    for (int k = 1; k < NINE; k++) most = v_max(most, p[k]);
    for (int k = 0; k < NINE; k++) {
        p[k] = v_exp2_small((p[k] - most) * 1.44269504f);
        sum += p[k];
    }
    const vf share = 1.0f / sum;
    for (int k = 0; k < NINE; k++) {
        p[k] *= share;
        x[k] = get(rows + k / 3 * row_step + k % 3 * factor, count);
        g[k] = clipped ? v_max(v_zero(), p[k] - 0.1f) : p[k]; /* the weights, divided below */
        kept += g[k];
    }
    const vf scale = clipped ? 1.0f / kept : v_set(1);
    for (int k = 0; k < NINE; k++) {
        const vf weight = g[k] * scale;
        y = v_fma(weight, x[k], y);
        float *to = shares + k * columns;
        put(to, count, v_fma(weight, own, get(to, count)));
    }
    for (int k = 0; k < NINE; k++) {
        const vf here = own * scale * (x[k] - y); /* without clipping y takes nothing away from dlogits */
        g[k] = clipped ? v_select(g[k] > v_zero(), here, v_zero()) : here;
        mean = v_fma(p[k], g[k], mean);
    }
    for (int k = 0; k < NINE; k++) g[k] = p[k] * (g[k] - mean);
    for (int k = NINE; k < SQUARED; k++) g[k] = v_zero();
    if (SQUARED < NINE) {
        v_store(gathered, g[SQUARED]);
        for (int pixel = 0; pixel < count; pixel++) dlogits[pixel * NINE + NINE - 1] = gathered[pixel];
    }
    for (int first = 0; first < SQUARED; first += VW) {
        v_transpose(g + first);
        for (int pixel = 0; pixel < count && pixel < VW; pixel++)
            put(dlogits + pixel * NINE + first, VW > NINE ? NINE : VW, g[first + pixel]);
    }
}

static void convex_back(int64_t columns, int factor, bool clipped, const float *rows, int64_t row_step,
                        const float *logits, int64_t logit_step, const float *dy, int64_t dy_step, float *dlogits,
                        float *shares) {
    int64_t x = 0;
    for (; x + VW <= columns; x += VW)
        convex_back_pixels(VW, columns, factor, clipped, rows + x, row_step, logits + x * logit_step, logit_step,
                           dy + x * dy_step, dy_step, dlogits + x * NINE, shares + x);
    if (x < columns)
        convex_back_pixels(columns - x, columns, factor, clipped, rows + x, row_step, logits + x * logit_step,
                           logit_step, dy + x * dy_step, dy_step, dlogits + x * NINE, shares + x);
}

const StereoKernels SIMD_NAME(stereo_kernels) = {
    .box = box,
    .weighted_rows = weighted_rows,
    .spread_row = spread_row,
    .lookup_back = lookup_back,
    .convex_back = convex_back,
};
