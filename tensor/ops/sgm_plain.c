/* The kernels of semi-global matching in plain C: their definition, and what runs where there is nothing faster. */
#include "base/cpu.h"
#include "tensor/ops/sgm_inner.h"

#include <stdlib.h>
#include <string.h>

static inline int least(int a, int b) {
    return a < b ? a : b;
}

/* Bytes throughout, so that a compiler can keep them bytes in its vectors. */
static inline uint8_t lower(uint8_t a, uint8_t b) {
    return a < b ? a : b;
}
static inline uint8_t saturating_sum(uint8_t a, uint8_t b) {
    uint8_t sum = (uint8_t)(a + b);
    return sum < a ? 255 : sum;
}

static inline uint8_t bits_set(uint8_t v) {
    v = (uint8_t)(v - ((v >> 1) & 0x55));
    v = (uint8_t)((v & 0x33) + ((v >> 2) & 0x33));
    return (uint8_t)((v + (v >> 4)) & 0x0f);
}

/* Adds to n costs the bits in which one census byte differs from those of the right pixels. */
static void add_bits(uint8_t left, const uint8_t *restrict right, int n, uint8_t *restrict out) {
    for (int k = 0; k < n; k++) out[k] = (uint8_t)(out[k] + bits_set(left ^ right[k]));
}

/* Starts n costs with half the level difference. */
static void start_levels(uint8_t left, const uint8_t *restrict right, int n, uint8_t *restrict out) {
    for (int k = 0; k < n; k++) {
        uint8_t apart = left < right[k] ? (uint8_t)(right[k] - left) : (uint8_t)(left - right[k]);
        out[k] = (uint8_t)((lower(apart, SGM_LEVEL_MAX) + 1) >> 1);
    }
}

static void cost(const SgmFeatures *left, const SgmFeatures *right, int width, int lo, int count, int stride,
                 uint8_t *out) {
    for (int x = 0; x < width; x++, out += stride) {
        /* disparity lo + k finds its match at mirrored place zero + k, inside the picture for k in from..to-1 */
        int zero = width - 1 - x + lo, from = zero < 0 ? least(-zero, count) : 0, to = least(width - zero, count);
        memset(out, SGM_COST_OUTSIDE, (size_t)count);
        memset(out + count, 255, (size_t)(stride - count));
        if (to <= from) continue;
        start_levels(left->level[x], right->level + zero + from, to - from, out + from);
        for (int i = 0; i < 4; i++) add_bits(left->census[i][x], right->census[i] + zero + from, to - from, out + from);
    }
}

/* One path, one pixel: replaces the state by the next, relative to its minimum; adds what it is worth before that
 * minimum is taken off (sums of different pixels are compared by the left-right check). */
static void step(uint8_t *restrict state, const uint8_t *restrict pixel_cost, int stride, uint8_t p1, uint8_t p2,
                 uint16_t *restrict sum) {
    uint8_t next[SGM_RANGE_MAX], smallest = 255;
    for (int k = 0; k < stride; k++) {
        uint8_t beside = saturating_sum(lower(state[k - 1], state[k + 1]), p1);
        next[k] = saturating_sum(lower(lower(state[k], beside), p2), pixel_cost[k]);
    }
    for (int k = 0; k < stride; k++) smallest = lower(smallest, next[k]);
    for (int k = 0; k < stride; k++) state[k] = (uint8_t)(next[k] - smallest);
    for (int k = 0; k < stride; k++) sum[k] = (uint16_t)(sum[k] + next[k]);
}

static void paths(const SgmSpan *s) {
    int slot[3] = {s->slot[0], s->slot[1], s->slot[2]};
    for (int x = s->first; x < s->first + s->count; x++) {
        const uint8_t *pixel_cost = s->cost + x * s->step;
        uint16_t *sum = s->sum + x * s->step;
        if (!s->before)
            memset(sum, 0, (size_t)s->stride * sizeof *sum);
        else if (s->before != s->sum)
            memcpy(sum, s->before + x * s->step, (size_t)s->stride * sizeof *sum);
        step(s->along, pixel_cost, s->stride, s->p1, s->p2[0][x], sum);
        for (int path = 0; path < 3; path++) {
            uint8_t *state = s->slots[path] + (size_t)slot[path] * s->state;
            step(state, pixel_cost, s->stride, s->p1, s->p2[path + 1][x], sum);
            slot[path] = slot[path] + 1 == s->ring ? 0 : slot[path] + 1;
        }
    }
}

static void choose(const uint16_t *sum, int width, int lo, int count, int stride, const SgmWinners *w) {
    for (int x = 0; x < width; x++, sum += stride) {
        int best = 0, second = UINT16_MAX;
        for (int k = 1; k < count; k++)
            if (sum[k] < sum[best]) best = k;
        for (int k = 0; k < count; k++)
            if (abs(k - best) > 1) second = least(second, sum[k]);
        w->best[x] = (uint16_t)best;
        w->margin[x] = (uint16_t)(second == UINT16_MAX ? UINT16_MAX : second - sum[best]);
        for (int k = 0; k < count; k++) {
            int mirrored = width - 1 - x + lo + k;
            if (mirrored < 0 || mirrored >= width || sum[k] >= w->right_sum[mirrored]) continue;
            w->right_sum[mirrored] = sum[k];
            w->right_best[mirrored] = (uint16_t)k;
        }
    }
}

const SgmKernels sgm_kernels_plain = {cost, paths, choose};

const SgmKernels *sgm_kernels(void) {
#if defined(__x86_64__)
    if (cpu_level() >= CPU_AVX512) return &sgm_kernels_avx512;
    if (cpu_level() >= CPU_AVX2) return &sgm_kernels_avx2;
#endif
    return &sgm_kernels_plain;
}
