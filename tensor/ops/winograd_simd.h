/* tensor/ops/winograd_simd.h - the three transforms of Winograd's minimal filtering and the transposes of two of them,
 * which its gradient needs (Lavin and Gray, Fast Algorithms
 * for Convolutional Neural Networks, 2015), for three widths; conv_kernels.h tells their contracts.
 *
 * F(4,3) interpolates at 0, +-p, +-q and infinity. With M(x) = x (x^2-p^2) (x^2-q^2):
 *   B^T  row 0:   p^2 q^2 d0 - (p^2+q^2) d2 + d4             G  row 0:  g0 / (p^2 q^2)
 *        row +-p: (d4 - q^2 d2) +- p (d3 - q^2 d1)               row +-p: (g0 +- p g1 + p^2 g2) / (2 p^2 (p^2-q^2))
 *        row +-q: (d4 - p^2 d2) +- q (d3 - p^2 d1)               row +-q: (g0 +- q g1 + q^2 g2) / (2 q^2 (q^2-p^2))
 *        row inf: p^2 q^2 d1 - (p^2+q^2) d3 + d5                 row inf: g2
 *   A^T  row i:   [i=0] m0 + p^i (m1 + (-1)^i m2) + q^i (m3 + (-1)^i m4) + [i=3] m5
 * F(2,3) interpolates at 0, +-1 and infinity; F(6,3) at 0, +-1/2, +-1, +-2 and infinity. For it M(x) =
 * x (x^2-1/4) (x^2-1) (x^2-4), and since 1/2 and 2 are reciprocal, rows 0 and infinity of B^T need one multiplication:
 *   B^T  row 0:      (d6 - d0) + 21/4 (d2 - d4)
 *        row +-1/2:  (d6 - 5 d4 + 4 d2) +- 1/2 (d5 - 5 d3 + 4 d1)
 *        row +-1:    (d6 - 17/4 d4 + d2) +- (d5 - 17/4 d3 + d1)
 *        row +-2:    (d6 - 5/4 d4 + 1/4 d2) +- 2 (d5 - 5/4 d3 + 1/4 d1)
 *        row inf:    (d7 - d1) + 21/4 (d3 - d5)
 *
 * One patch of F(4x4) and one vector of channels: 36 loads, 36 stores, 168 additions and multiplications (and 72 moves
 * through L1, since 36 values do not fit the registers); the products for it are 36 multiply-adds per output column, so
 * at 128 columns the transforms are a tenth of the work, with F(6x6) a fifth. */
#include "tensor/ops/gemm_simd.h"

/* Where to interpolate: error on 128 channels against sums in double, over the rms of the result, as rms and largest
 * (direct sums in f32: 0.6e-6 and 0.5e-5).
 *
 * - F(4x4) at 1, 2, as usual: 2.3e-6 and 4.6e-5; at 1/2, 1: 2.3e-6 and 4.3e-5; at 3/4, 3/2: 1.1e-6 and 0.9e-5;
 *   at 2/3, 3/2: 1.0e-6 and 1.0e-5; at 5/8, 5/4: 1.2e-6 and 1.5e-5; at 1/2, 3/2: 1.3e-6 and 2.3e-5.
 *   3/4 and 3/2, with all their powers, are exact in f32.
 *
 * - F(6x6), of 1008 triples of small fractions, at 1/2, 1, 2, the best: 4.4e-6 and 5.2e-5; at 9/16, 1, 2: 4.6e-6; at
 *   1/2, 1, 3/2: 5.9e-6; at 5/8, 5/4, 7/4: 9.8e-6. Nearly all of it are roundings of the sums over channels, which
 *   A^T then adds up. */
#define WINOGRAD_P 0.75f
#define WINOGRAD_Q 1.5f
#define P2 (WINOGRAD_P * WINOGRAD_P)
#define Q2 (WINOGRAD_Q * WINOGRAD_Q)

/* B^T along one axis, in place over vectors `s` apart; n is the patch size along it: 8, 6, 4 or 1 (nothing to do). */
INLINE void input_axis(vf *d, const int s, const int n) {
    if (n == 8) {
        vf d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s], d5 = d[5 * s], d6 = d[6 * s],
           d7 = d[7 * s];
        vf even_half = (d6 - 5 * d4) + 4 * d2, odd_half = 0.5f * d5 - 2.5f * d3 + 2 * d1;
        vf even_one = (d6 + d2) - 4.25f * d4, odd_one = (d5 + d1) - 4.25f * d3;
        vf even_two = (d6 - 1.25f * d4) + 0.25f * d2, odd_two = 2 * d5 - 2.5f * d3 + 0.5f * d1;
        d[0] = (d6 - d0) + 5.25f * (d2 - d4);
        d[s] = even_half + odd_half;
        d[2 * s] = even_half - odd_half;
        d[3 * s] = even_one + odd_one;
        d[4 * s] = even_one - odd_one;
        d[5 * s] = even_two + odd_two;
        d[6 * s] = even_two - odd_two;
        d[7 * s] = (d7 - d1) + 5.25f * (d3 - d5);
    } else if (n == 6) {
        vf d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s], d5 = d[5 * s];
        vf even_p = d4 - Q2 * d2, odd_p = WINOGRAD_P * (d3 - Q2 * d1);
        vf even_q = d4 - P2 * d2, odd_q = WINOGRAD_Q * (d3 - P2 * d1);
        d[0] = P2 * Q2 * d0 + (d4 - (P2 + Q2) * d2);
        d[s] = even_p + odd_p;
        d[2 * s] = even_p - odd_p;
        d[3 * s] = even_q + odd_q;
        d[4 * s] = even_q - odd_q;
        d[5 * s] = P2 * Q2 * d1 + (d5 - (P2 + Q2) * d3);
    } else if (n == 4) {
        vf d0 = d[0], d1 = d[s], d2 = d[2 * s], d3 = d[3 * s];
        d[0] = d0 - d2;
        d[s] = d2 + d1;
        d[2 * s] = d2 - d1;
        d[3 * s] = d3 - d1;
    }
}

/* A^T along one axis: n products `s` apart give n-2 outputs `to` apart. */
INLINE void output_axis(const vf *m, const int s, const int n, vf *o, const int to) {
    if (n == 8) {
        vf sum_half = m[s] + m[2 * s], difference_half = m[s] - m[2 * s];
        vf sum_one = m[3 * s] + m[4 * s], difference_one = m[3 * s] - m[4 * s];
        vf sum_two = m[5 * s] + m[6 * s], difference_two = m[5 * s] - m[6 * s];
        o[0] = (m[0] + sum_half) + (sum_one + sum_two);
        o[to] = 0.5f * difference_half + difference_one + 2 * difference_two;
        o[2 * to] = 0.25f * sum_half + sum_one + 4 * sum_two;
        o[3 * to] = 0.125f * difference_half + difference_one + 8 * difference_two;
        o[4 * to] = 0.0625f * sum_half + sum_one + 16 * sum_two;
        o[5 * to] = m[7 * s] + (0.03125f * difference_half + difference_one + 32 * difference_two);
    } else if (n == 6) {
        vf sum_p = m[s] + m[2 * s], difference_p = m[s] - m[2 * s];
        vf sum_q = m[3 * s] + m[4 * s], difference_q = m[3 * s] - m[4 * s];
        o[0] = m[0] + sum_p + sum_q;
        o[to] = WINOGRAD_P * difference_p + WINOGRAD_Q * difference_q;
        o[2 * to] = P2 * sum_p + Q2 * sum_q;
        o[3 * to] = m[5 * s] + (P2 * WINOGRAD_P * difference_p + Q2 * WINOGRAD_Q * difference_q);
    } else if (n == 4) {
        o[0] = m[0] + (m[s] + m[2 * s]);
        o[to] = (m[s] - m[2 * s]) + m[3 * s];
    } else {
        o[0] = m[0];
    }
}

/* G along one axis: 3 taps (or 1) give n products. */
INLINE void weight_axis(const vf *g, const int s, const int n, vf *u, const int to) {
    if (n == 8) {
        const float scale_half = 32.0f / 45, scale_one = -2.0f / 9, scale_two = 1.0f / 90;
        vf even_half = scale_half * (g[0] + 0.25f * g[2 * s]), odd_half = scale_half * 0.5f * g[s];
        vf even_one = scale_one * (g[0] + g[2 * s]), odd_one = scale_one * g[s];
        vf even_two = scale_two * (g[0] + 4 * g[2 * s]), odd_two = scale_two * 2 * g[s];
        u[0] = -g[0];
        u[to] = even_half + odd_half;
        u[2 * to] = even_half - odd_half;
        u[3 * to] = even_one + odd_one;
        u[4 * to] = even_one - odd_one;
        u[5 * to] = even_two + odd_two;
        u[6 * to] = even_two - odd_two;
        u[7 * to] = g[2 * s];
    } else if (n == 6) {
        const float scale_p = 1 / (2 * P2 * (P2 - Q2)), scale_q = 1 / (2 * Q2 * (Q2 - P2));
        vf even_p = scale_p * g[0] + scale_p * P2 * g[2 * s], odd_p = scale_p * WINOGRAD_P * g[s];
        vf even_q = scale_q * g[0] + scale_q * Q2 * g[2 * s], odd_q = scale_q * WINOGRAD_Q * g[s];
        u[0] = (1 / (P2 * Q2)) * g[0];
        u[to] = even_p + odd_p;
        u[2 * to] = even_p - odd_p;
        u[3 * to] = even_q + odd_q;
        u[4 * to] = even_q - odd_q;
        u[5 * to] = g[2 * s];
    } else if (n == 4) {
        vf even = 0.5f * (g[0] + g[2 * s]), odd = 0.5f * g[s];
        u[0] = g[0];
        u[to] = even + odd;
        u[2 * to] = even - odd;
        u[3 * to] = g[2 * s];
    } else {
        u[0] = g[0];
    }
}

/* A along one axis, the transpose of output_axis: n-2 values `s` apart give n `to` apart. */
INLINE void spread_axis(const vf *o, const int s, const int n, vf *m, const int to) {
    if (n == 8) {
        vf even_half = o[0] + 0.25f * o[2 * s] + 0.0625f * o[4 * s];
        vf odd_half = 0.5f * o[s] + 0.125f * o[3 * s] + 0.03125f * o[5 * s];
        vf even_one = o[0] + o[2 * s] + o[4 * s], odd_one = o[s] + o[3 * s] + o[5 * s];
        vf even_two = o[0] + 4 * o[2 * s] + 16 * o[4 * s], odd_two = 2 * o[s] + 8 * o[3 * s] + 32 * o[5 * s];
        m[0] = o[0];
        m[to] = even_half + odd_half;
        m[2 * to] = even_half - odd_half;
        m[3 * to] = even_one + odd_one;
        m[4 * to] = even_one - odd_one;
        m[5 * to] = even_two + odd_two;
        m[6 * to] = even_two - odd_two;
        m[7 * to] = o[5 * s];
    } else if (n == 6) {
        vf even_p = o[0] + P2 * o[2 * s], odd_p = WINOGRAD_P * o[s] + P2 * WINOGRAD_P * o[3 * s];
        vf even_q = o[0] + Q2 * o[2 * s], odd_q = WINOGRAD_Q * o[s] + Q2 * WINOGRAD_Q * o[3 * s];
        m[0] = o[0];
        m[to] = even_p + odd_p;
        m[2 * to] = even_p - odd_p;
        m[3 * to] = even_q + odd_q;
        m[4 * to] = even_q - odd_q;
        m[5 * to] = o[3 * s];
    } else if (n == 4) {
        m[0] = o[0];
        m[to] = o[0] + o[s];
        m[2 * to] = o[0] - o[s];
        m[3 * to] = o[s];
    } else {
        m[0] = o[0];
    }
}

/* G^T along one axis, the transpose of weight_axis: n products `s` apart give 3 taps (or 1) `to` apart. */
INLINE void gather_axis(const vf *u, const int s, const int n, vf *g, const int to) {
    if (n == 8) {
        const float scale_half = 32.0f / 45, scale_one = -2.0f / 9, scale_two = 1.0f / 90;
        vf sum_half = scale_half * (u[s] + u[2 * s]), difference_half = scale_half * (u[s] - u[2 * s]);
        vf sum_one = scale_one * (u[3 * s] + u[4 * s]), difference_one = scale_one * (u[3 * s] - u[4 * s]);
        vf sum_two = scale_two * (u[5 * s] + u[6 * s]), difference_two = scale_two * (u[5 * s] - u[6 * s]);
        g[0] = (sum_half - u[0]) + (sum_one + sum_two);
        g[to] = 0.5f * difference_half + difference_one + 2 * difference_two;
        g[2 * to] = (0.25f * sum_half + u[7 * s]) + (sum_one + 4 * sum_two);
    } else if (n == 6) {
        const float scale_p = 1 / (2 * P2 * (P2 - Q2)), scale_q = 1 / (2 * Q2 * (Q2 - P2));
        vf sum_p = scale_p * (u[s] + u[2 * s]), difference_p = scale_p * (u[s] - u[2 * s]);
        vf sum_q = scale_q * (u[3 * s] + u[4 * s]), difference_q = scale_q * (u[3 * s] - u[4 * s]);
        g[0] = (1 / (P2 * Q2)) * u[0] + (sum_p + sum_q);
        g[to] = WINOGRAD_P * difference_p + WINOGRAD_Q * difference_q;
        g[2 * to] = u[5 * s] + (P2 * sum_p + Q2 * sum_q);
    } else if (n == 4) {
        vf sum = 0.5f * (u[s] + u[2 * s]);
        g[0] = u[0] + sum;
        g[to] = 0.5f * (u[s] - u[2 * s]);
        g[2 * to] = u[3 * s] + sum;
    } else {
        g[0] = u[0];
    }
}

INLINE void weights_body(const int ph, const int pw, const float *panel, int64_t channels, int64_t first, int64_t last,
                         int64_t width, float *u, int64_t product) {
    const int th = ph == 1 ? 1 : 3, tw = pw == 1 ? 1 : 3;
    for (int64_t c = first; c < last; c++)
        for (int64_t j = 0; j < width; j += VW) {
            vf g[9], rows[24], out[64];
            UNROLL for (int t = 0; t < th * tw; t++) g[t] = v_load(panel + (t * channels + c) * width + j);
            UNROLL for (int x = 0; x < tw; x++) weight_axis(g + x, tw, ph, rows + x, tw);
            UNROLL for (int y = 0; y < ph; y++) weight_axis(rows + y * tw, 1, pw, out + y * pw, 1);
            for (int e = 0; e < ph * pw; e++) {
                float *at = u + e * product + c * width + j;
                __builtin_prefetch(at + 4 * width, 1, 3);
                v_store(at, out[e]);
            }
        }
}

INLINE void input_body(const int ph, const int pw, const float *const *pixel, int64_t channels, float *v,
                       int64_t product) {
    int64_t c = 0;
    for (; c + VW <= channels; c += VW) {
        vf d[64];
        UNROLL for (int x = 0; x < pw; x++) {
            UNROLL for (int y = 0; y < ph; y++) d[y * pw + x] = v_load(pixel[y * pw + x] + c);
            input_axis(d + x, pw, ph);
        }
        UNROLL for (int y = 0; y < ph; y++) {
            input_axis(d + y * pw, 1, pw);
            UNROLL for (int x = 0; x < pw; x++) v_store(v + (y * pw + x) * product + c, d[y * pw + x]);
        }
    }
    if (c == channels) return;
    vf d[64];
    for (int e = 0; e < ph * pw; e++) d[e] = v_load_first(pixel[e] + c, channels - c);
    for (int x = 0; x < pw; x++) input_axis(d + x, pw, ph);
    for (int y = 0; y < ph; y++) input_axis(d + y * pw, 1, pw);
    for (int e = 0; e < ph * pw; e++) v_store_first(v + e * product + c, d[e], channels - c);
}

INLINE void output_body(const int ph, const int pw, const float *m, int64_t product, const float *bias, int64_t columns,
                        float *const *out) {
    const int oh = ph == 1 ? 1 : ph - 2, ow = pw == 1 ? 1 : pw - 2;
    for (int64_t j = 0; j < columns; j += VW) {
        vf d[8], rows[48], o[36];
        vf b = bias ? v_load(bias + j) : v_zero();
        UNROLL for (int x = 0; x < pw; x++) {
            UNROLL for (int y = 0; y < ph; y++) d[y] = v_load(m + (y * pw + x) * product + j);
            output_axis(d, 1, ph, rows + x, pw);
        }
        UNROLL for (int y = 0; y < oh; y++) {
            output_axis(rows + y * pw, 1, pw, o + y * ow, 1);
        }
        if (columns - j >= VW) {
            UNROLL for (int i = 0; i < oh * ow; i++) if (out[i]) v_store(out[i] + j, o[i] + b);
        } else {
            for (int i = 0; i < oh * ow; i++)
                if (out[i]) v_store_first(out[i] + j, o[i] + b, columns - j);
        }
    }
}

/* Of one vector of channels: A d A^T. */
INLINE void spread_vector(const int ph, const int pw, const vf *d, vf *m) {
    const int oh = ph == 1 ? 1 : ph - 2, ow = pw == 1 ? 1 : pw - 2;
    vf rows[48];
    UNROLL for (int y = 0; y < oh; y++) spread_axis(d + y * ow, 1, pw, rows + y * pw, 1);
    UNROLL for (int x = 0; x < pw; x++) spread_axis(rows + x, pw, ph, m + x, pw);
}

INLINE void spread_body(const int ph, const int pw, const float *const *pixel, int64_t channels, float *v,
                        int64_t product) {
    const int oh = ph == 1 ? 1 : ph - 2, ow = pw == 1 ? 1 : pw - 2;
    int64_t c = 0;
    for (; c + VW <= channels; c += VW) {
        vf d[36], m[64];
        UNROLL for (int e = 0; e < oh * ow; e++) d[e] = v_load(pixel[e] + c);
        spread_vector(ph, pw, d, m);
        for (int e = 0; e < ph * pw; e++) v_store(v + e * product + c, m[e]);
    }
    if (c == channels) return;
    vf d[36], m[64];
    for (int e = 0; e < oh * ow; e++) d[e] = v_load_first(pixel[e] + c, channels - c);
    spread_vector(ph, pw, d, m);
    for (int e = 0; e < ph * pw; e++) v_store_first(v + e * product + c, m[e], channels - c);
}

INLINE void gather_body(const int ph, const int pw, const float *m, int64_t product, int64_t columns, float *tap,
                        int64_t tap_stride) {
    const int th = ph == 1 ? 1 : 3, tw = pw == 1 ? 1 : 3;
    for (int64_t j = 0; j < columns; j += VW) {
        vf d[8], rows[24], g[9];
        UNROLL for (int x = 0; x < pw; x++) {
            UNROLL for (int y = 0; y < ph; y++) d[y] = v_load(m + (y * pw + x) * product + j);
            gather_axis(d, 1, ph, rows + x, pw);
        }
        UNROLL for (int y = 0; y < th; y++) gather_axis(rows + y * pw, 1, pw, g + y * tw, 1);
        UNROLL for (int t = 0; t < th * tw; t++) v_store(tap + t * tap_stride + j, g[t]);
    }
}

static void winograd_spread(WinogradKind kind, const float *const *pixel, int64_t channels, float *v, int64_t product) {
    if (kind == WINOGRAD_4X4)
        spread_body(6, 6, pixel, channels, v, product);
    else if (kind == WINOGRAD_6X6)
        spread_body(8, 8, pixel, channels, v, product);
    else if (kind == WINOGRAD_6X1)
        spread_body(8, 1, pixel, channels, v, product);
    else if (kind == WINOGRAD_1X6)
        spread_body(1, 8, pixel, channels, v, product);
    else if (kind == WINOGRAD_2X2)
        spread_body(4, 4, pixel, channels, v, product);
    else if (kind == WINOGRAD_4X1)
        spread_body(6, 1, pixel, channels, v, product);
    else
        spread_body(1, 6, pixel, channels, v, product);
}

static void winograd_gather(WinogradKind kind, const float *m, int64_t product, int64_t columns, float *tap,
                            int64_t tap_stride) {
    if (kind == WINOGRAD_4X4)
        gather_body(6, 6, m, product, columns, tap, tap_stride);
    else if (kind == WINOGRAD_6X6)
        gather_body(8, 8, m, product, columns, tap, tap_stride);
    else if (kind == WINOGRAD_6X1)
        gather_body(8, 1, m, product, columns, tap, tap_stride);
    else if (kind == WINOGRAD_1X6)
        gather_body(1, 8, m, product, columns, tap, tap_stride);
    else if (kind == WINOGRAD_2X2)
        gather_body(4, 4, m, product, columns, tap, tap_stride);
    else if (kind == WINOGRAD_4X1)
        gather_body(6, 1, m, product, columns, tap, tap_stride);
    else
        gather_body(1, 6, m, product, columns, tap, tap_stride);
}

static void winograd_weights(WinogradKind kind, const float *panel, int64_t channels, int64_t first, int64_t last,
                             int64_t width, float *u, int64_t product) {
    if (kind == WINOGRAD_4X4)
        weights_body(6, 6, panel, channels, first, last, width, u, product);
    else if (kind == WINOGRAD_6X6)
        weights_body(8, 8, panel, channels, first, last, width, u, product);
    else if (kind == WINOGRAD_6X1)
        weights_body(8, 1, panel, channels, first, last, width, u, product);
    else if (kind == WINOGRAD_1X6)
        weights_body(1, 8, panel, channels, first, last, width, u, product);
    else if (kind == WINOGRAD_2X2)
        weights_body(4, 4, panel, channels, first, last, width, u, product);
    else if (kind == WINOGRAD_4X1)
        weights_body(6, 1, panel, channels, first, last, width, u, product);
    else
        weights_body(1, 6, panel, channels, first, last, width, u, product);
}

static void winograd_input(WinogradKind kind, const float *const *pixel, int64_t channels, float *v, int64_t product) {
    if (kind == WINOGRAD_4X4)
        input_body(6, 6, pixel, channels, v, product);
    else if (kind == WINOGRAD_6X6)
        input_body(8, 8, pixel, channels, v, product);
    else if (kind == WINOGRAD_6X1)
        input_body(8, 1, pixel, channels, v, product);
    else if (kind == WINOGRAD_1X6)
        input_body(1, 8, pixel, channels, v, product);
    else if (kind == WINOGRAD_2X2)
        input_body(4, 4, pixel, channels, v, product);
    else if (kind == WINOGRAD_4X1)
        input_body(6, 1, pixel, channels, v, product);
    else
        input_body(1, 6, pixel, channels, v, product);
}

static void winograd_output(WinogradKind kind, const float *m, int64_t product, const float *bias, int64_t columns,
                            float *const *out) {
    if (kind == WINOGRAD_4X4)
        output_body(6, 6, m, product, bias, columns, out);
    else if (kind == WINOGRAD_6X6)
        output_body(8, 8, m, product, bias, columns, out);
    else if (kind == WINOGRAD_6X1)
        output_body(8, 1, m, product, bias, columns, out);
    else if (kind == WINOGRAD_1X6)
        output_body(1, 8, m, product, bias, columns, out);
    else if (kind == WINOGRAD_2X2)
        output_body(4, 4, m, product, bias, columns, out);
    else if (kind == WINOGRAD_4X1)
        output_body(6, 1, m, product, bias, columns, out);
    else
        output_body(1, 6, m, product, bias, columns, out);
}

/* The table of this level. */
#define CONV_KERNELS_OF(cpu)                                                                                  \
    {                                                                                                         \
        .level = cpu, .vector = VW, .rows = BLOCK_ROWS, .block = block, .winograd_weights = winograd_weights, \
        .winograd_input = winograd_input, .winograd_output = winograd_output, .few = few, .panel = panel,     \
        .winograd_spread = winograd_spread, .winograd_gather = winograd_gather,                               \
    }
