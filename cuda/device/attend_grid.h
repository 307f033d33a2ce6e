/* cuda/device/attend_grid.h - S2M2's relative position term of attention, in the fast rungs: tokens lie on a grid of h
 * x w, and sum_j A_ij [T_x(x_i - x_j), T_y(y_i - y_j)] needs of the weights only their sums by the grid column and by
 * the grid row of their keys. A row of weights is worked on by `lanes` threads of one warp, of which this one is
 * `lane`. */
#ifndef PANUM_CUDA_DEVICE_ATTEND_GRID_H
#define PANUM_CUDA_DEVICE_ATTEND_GRID_H
#include "cuda/device/device.h"
#include "cuda/kernels/attention.h"

/* A row's sums, w by column and h by row, fade by `fade`; the weights p of `here` keys from key `first` on are added.
 */
DEVICE void add_to_grid(float *sums, const float *p, float fade, int first, int here, const Relative *g, int lane,
                        int lanes) {
    int column = first % g->w;
    for (int x = lane; x < g->w; x += lanes) {
        float sum = sums[x] * fade;
        for (int j = x >= column ? x - column : x - column + g->w; j < here; j += g->w) sum += p[j];
        sums[x] = sum;
    }
    for (int y = lane; y < g->h; y += lanes) {
        float sum = sums[g->w + y] * fade;
        int from = y * g->w - first, to = from + g->w < here ? from + g->w : here;
        for (int j = from > 0 ? from : 0; j < to; j++) sum += p[j];
        sums[g->w + y] = sum;
    }
}

/* Elements `lane` and 16 + lane of share/2 [sum_x sums[x] T_x(x_i - x), sum_y sums[y] T_y(y_i - y)] into p, for one of
 * sixteen threads. */
DEVICE void position_of(float *p, const float *sums, float share, int query, const Relative *g, int lane) {
    const float *x = g->table_x + (query % g->w + g->w - 1) * ATTENTION_PE_HALF + lane;
    const float *y = g->table_y + (query / g->w + g->h - 1) * ATTENTION_PE_HALF + lane;
    float by_x = 0, by_y = 0;
    for (int i = 0; i < g->w; i++) by_x = fma_f32(sums[i], x[-i * ATTENTION_PE_HALF], by_x);
    for (int i = 0; i < g->h; i++) by_y = fma_f32(sums[g->w + i], y[-i * ATTENTION_PE_HALF], by_y);
    p[lane] = 0.5f * share * by_x;
    p[ATTENTION_PE_HALF + lane] = 0.5f * share * by_y;
}

/* v of column c of a head, and what the weights of the term make of a row's p. */
DEVICE float with_position(float v, const float *p, int c, const Relative *g) {
    const float *weight = g->weight + c * ATTENTION_PE_WIDTH;
    UNROLL_BY(4)
    for (int d = 0; d < ATTENTION_PE_WIDTH; d++) v = fma_f32(weight[d], p[d], v);
    return v + g->bias[c];
}
#endif
