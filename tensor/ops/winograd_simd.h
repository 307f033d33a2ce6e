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

/* Two-dimensional transforms go by columns into a buffer in L1 and from there by rows, in loops that are not unrolled:
 * 8 values and what becomes of them fit the registers, 64 do not, and code that keeps all of them in flight spends more
 * on spills than on sums. */
#if defined(__clang__)
#define IN_TURN _Pragma("clang loop unroll(disable)")
#else
#define IN_TURN _Pragma("GCC unroll 1")
#endif

/* Value (y, x) of a patch: n lanes from channel c on, VW of them unless `part`; zero where there is no pixel. */
INLINE vf patch_value(const int whole, const int part, const WinogradPatch *from, int64_t y, int64_t x, int64_t c,
                      int64_t n) {
    if (!whole && (y < from->top || y >= from->bottom || x < from->left || x >= from->right)) return v_zero();
    const float *p = from->at + (y - from->top) * from->row + (x - from->left) * from->pixel + c;
    return part ? v_load_first(p, n) : v_load(p);
}
INLINE void patch_store(const int part, float *to, vf value, int64_t n) {
    if (part)
        v_store_first(to, value, n);
    else
        v_store(to, value);
}

/* B^T d B of one vector of channels. */
INLINE void input_vector(const int ph, const int pw, const int whole, const int part, const WinogradPatch *from,
                         int64_t c, int64_t n, float *v, int64_t product) {
    vf d[8];
    if (ph == 1 || pw == 1) {
        UNROLL for (int i = 0; i < ph * pw; i++) d[i] =
            patch_value(whole, part, from, pw == 1 ? i : 0, pw == 1 ? 0 : i, c, n);
        input_axis(d, 1, ph * pw);
        UNROLL for (int i = 0; i < ph * pw; i++) patch_store(part, v + i * product + c, d[i], n);
        return;
    }
    vf half[64];
    IN_TURN for (int x = 0; x < pw; x++) {
        UNROLL for (int y = 0; y < ph; y++) d[y] = patch_value(whole, part, from, y, x, c, n);
        input_axis(d, 1, ph);
        UNROLL for (int y = 0; y < ph; y++) half[y * pw + x] = d[y];
    }
    IN_TURN for (int y = 0; y < ph; y++) {
        UNROLL for (int x = 0; x < pw; x++) d[x] = half[y * pw + x];
        input_axis(d, 1, pw);
        float *to = v + y * pw * product + c;
        UNROLL for (int x = 0; x < pw; x++) patch_store(part, to + x * product, d[x], n);
    }
}

INLINE int is_whole(const WinogradPatch *patch, const int height, const int width) {
    return patch->top == 0 && patch->left == 0 && patch->bottom == height && patch->right == width;
}

INLINE void input_body(const int ph, const int pw, const WinogradPatch *from, int64_t channels, float *v,
                       int64_t product) {
    int64_t c = 0;
    if (is_whole(from, ph, pw))
        for (; c + VW <= channels; c += VW) input_vector(ph, pw, 1, 0, from, c, VW, v, product);
    for (; c + VW <= channels; c += VW) input_vector(ph, pw, 0, 0, from, c, VW, v, product);
    if (c < channels) input_vector(ph, pw, 0, 1, from, c, channels - c, v, product);
}

/* A^T m A + bias of one vector of columns. */
INLINE void output_vector(const int ph, const int pw, const int whole, const int part, const float *m, int64_t product,
                          vf bias, const WinogradTile *to, int64_t j, int64_t n) {
    const int oh = ph == 1 ? 1 : ph - 2, ow = pw == 1 ? 1 : pw - 2;
    vf d[8], o[6];
    if (ph == 1 || pw == 1) {
        UNROLL for (int i = 0; i < ph * pw; i++) d[i] = v_load(m + i * product + j);
        output_axis(d, 1, ph * pw, o, 1);
        UNROLL for (int i = 0; i < oh * ow; i++) {
            if (!whole && i >= (pw == 1 ? to->height : to->width)) continue;
            patch_store(part, to->at + i * (pw == 1 ? to->row : to->pixel) + j, o[i] + bias, n);
        }
        return;
    }
    vf half[48];
    IN_TURN for (int x = 0; x < pw; x++) {
        const float *from = m + x * product + j;
        UNROLL for (int y = 0; y < ph; y++) d[y] = v_load(from + y * pw * product);
        output_axis(d, 1, ph, o, 1);
        UNROLL for (int y = 0; y < oh; y++) half[y * pw + x] = o[y];
    }
    const int64_t height = whole ? oh : to->height;
    IN_TURN for (int64_t y = 0; y < height; y++) {
        UNROLL for (int x = 0; x < pw; x++) d[x] = half[y * pw + x];
        output_axis(d, 1, pw, o, 1);
        float *row = to->at + y * to->row + j;
        UNROLL for (int x = 0; x < ow; x++) {
            if (whole || x < to->width) patch_store(part, row + x * to->pixel, o[x] + bias, n);
        }
    }
}

INLINE void output_body(const int ph, const int pw, const float *m, int64_t product, const float *bias, int64_t columns,
                        const WinogradTile *to) {
    const int whole = to->height == (ph == 1 ? 1 : ph - 2) && to->width == (pw == 1 ? 1 : pw - 2);
    int64_t j = 0;
    for (; j + VW <= columns; j += VW) {
        const vf b = bias ? v_load(bias + j) : v_zero();
        if (whole)
            output_vector(ph, pw, 1, 0, m, product, b, to, j, VW);
        else
            output_vector(ph, pw, 0, 0, m, product, b, to, j, VW);
    }
    if (j < columns) output_vector(ph, pw, 0, 1, m, product, bias ? v_load(bias + j) : v_zero(), to, j, columns - j);
}

/* A d A^T of one vector of channels. */
INLINE void spread_vector(const int ph, const int pw, const int whole, const int part, const WinogradPatch *from,
                          int64_t c, int64_t n, float *v, int64_t product) {
    const int oh = ph == 1 ? 1 : ph - 2, ow = pw == 1 ? 1 : pw - 2;
    vf d[6], m[8];
    if (ph == 1 || pw == 1) {
        UNROLL for (int i = 0; i < oh * ow; i++) d[i] =
            patch_value(whole, part, from, pw == 1 ? i : 0, pw == 1 ? 0 : i, c, n);
        spread_axis(d, 1, ph * pw, m, 1);
        UNROLL for (int i = 0; i < ph * pw; i++) patch_store(part, v + i * product + c, m[i], n);
        return;
    }
    vf half[48];
    IN_TURN for (int x = 0; x < ow; x++) {
        UNROLL for (int y = 0; y < oh; y++) d[y] = patch_value(whole, part, from, y, x, c, n);
        spread_axis(d, 1, ph, m, 1);
        UNROLL for (int y = 0; y < ph; y++) half[y * ow + x] = m[y];
    }
    IN_TURN for (int y = 0; y < ph; y++) {
        UNROLL for (int x = 0; x < ow; x++) d[x] = half[y * ow + x];
        spread_axis(d, 1, pw, m, 1);
        float *to = v + y * pw * product + c;
        UNROLL for (int x = 0; x < pw; x++) patch_store(part, to + x * product, m[x], n);
    }
}

INLINE void spread_body(const int ph, const int pw, const WinogradPatch *from, int64_t channels, float *v,
                        int64_t product) {
    int64_t c = 0;
    if (is_whole(from, ph == 1 ? 1 : ph - 2, pw == 1 ? 1 : pw - 2))
        for (; c + VW <= channels; c += VW) spread_vector(ph, pw, 1, 0, from, c, VW, v, product);
    for (; c + VW <= channels; c += VW) spread_vector(ph, pw, 0, 0, from, c, VW, v, product);
    if (c < channels) spread_vector(ph, pw, 0, 1, from, c, channels - c, v, product);
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

static void winograd_spread(WinogradKind kind, const WinogradPatch *from, int64_t channels, float *v, int64_t product) {
    if (kind == WINOGRAD_4X4)
        spread_body(6, 6, from, channels, v, product);
    else if (kind == WINOGRAD_6X6)
        spread_body(8, 8, from, channels, v, product);
    else if (kind == WINOGRAD_6X1)
        spread_body(8, 1, from, channels, v, product);
    else if (kind == WINOGRAD_1X6)
        spread_body(1, 8, from, channels, v, product);
    else if (kind == WINOGRAD_2X2)
        spread_body(4, 4, from, channels, v, product);
    else if (kind == WINOGRAD_4X1)
        spread_body(6, 1, from, channels, v, product);
    else
        spread_body(1, 6, from, channels, v, product);
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

static void winograd_input(WinogradKind kind, const WinogradPatch *from, int64_t channels, float *v, int64_t product) {
    if (kind == WINOGRAD_4X4)
        input_body(6, 6, from, channels, v, product);
    else if (kind == WINOGRAD_6X6)
        input_body(8, 8, from, channels, v, product);
    else if (kind == WINOGRAD_6X1)
        input_body(8, 1, from, channels, v, product);
    else if (kind == WINOGRAD_1X6)
        input_body(1, 8, from, channels, v, product);
    else if (kind == WINOGRAD_2X2)
        input_body(4, 4, from, channels, v, product);
    else if (kind == WINOGRAD_4X1)
        input_body(6, 1, from, channels, v, product);
    else
        input_body(1, 6, from, channels, v, product);
}

static void winograd_output(WinogradKind kind, const float *m, int64_t product, const float *bias, int64_t columns,
                            const WinogradTile *to) {
    if (kind == WINOGRAD_4X4)
        output_body(6, 6, m, product, bias, columns, to);
    else if (kind == WINOGRAD_6X6)
        output_body(8, 8, m, product, bias, columns, to);
    else if (kind == WINOGRAD_6X1)
        output_body(8, 1, m, product, bias, columns, to);
    else if (kind == WINOGRAD_1X6)
        output_body(1, 8, m, product, bias, columns, to);
    else if (kind == WINOGRAD_2X2)
        output_body(4, 4, m, product, bias, columns, to);
    else if (kind == WINOGRAD_4X1)
        output_body(6, 1, m, product, bias, columns, to);
    else
        output_body(1, 6, m, product, bias, columns, to);
}

/* The table of this level. */
#define CONV_KERNELS_OF(cpu)                                                                                  \
    {                                                                                                         \
        .level = cpu, .vector = VW, .rows = BLOCK_ROWS, .block = block, .winograd_weights = winograd_weights, \
        .winograd_input = winograd_input, .winograd_output = winograd_output, .few = few, .panel = panel,     \
        .winograd_spread = winograd_spread, .winograd_gather = winograd_gather, .add_doubled = add_doubled,   \
    }
