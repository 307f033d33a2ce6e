/* The kernels of semi-global matching in plain C: their definition, and what runs where there is nothing faster. */
#include "base/cpu.h"
#include "tensor/ops/sgm_inner.h"

#include <stdlib.h>
#include <string.h>

static inline int least(int a, int b) {
    return a < b ? a : b;
}

static int bits(const SgmFeatures *row, int x) {
    return row->census[0][x] | row->census[1][x] << 8 | row->census[2][x] << 16 | row->census[3][x] << 24;
}

static void cost(const SgmFeatures *left, const SgmFeatures *right, int width, int lo, int count, int stride,
                 uint8_t *out) {
    for (int x = 0; x < width; x++, out += stride) {
        int census = bits(left, x);
        for (int k = 0; k < count; k++) {
            int mirrored = width - 1 - x + lo + k;
            out[k] = SGM_COST_OUTSIDE;
            if (mirrored < 0 || mirrored >= width) continue;
            int difference = abs(left->level[x] - right->level[mirrored]);
            out[k] = (uint8_t)(__builtin_popcount((unsigned)(census ^ bits(right, mirrored))) +
                               (least(difference, SGM_LEVEL_MAX) + 1) / 2);
        }
        memset(out + count, 255, (size_t)(stride - count));
    }
}

/* One path, one pixel: replaces the state by the next, relative to its minimum; adds what it is worth before that
 * minimum is taken off (sums of different pixels are compared by the left-right check). */
static void step(uint8_t *state, const uint8_t *pixel_cost, int stride, int p1, int p2, uint16_t *sum) {
    uint8_t next[SGM_RANGE_MAX];
    int smallest = 255;
    for (int k = 0; k < stride; k++) {
        int value = least(state[k], least(least(state[k - 1], state[k + 1]) + p1, p2)) + pixel_cost[k];
        next[k] = (uint8_t)least(value, 255);
        smallest = least(smallest, next[k]);
        sum[k] = (uint16_t)(sum[k] + next[k]);
    }
    for (int k = 0; k < stride; k++) state[k] = (uint8_t)(next[k] - smallest);
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
