/* The kernels of semi-global matching in plain C: their definition, and what runs where there is nothing faster. */
#include "tensor/ops/sgm_inner.h"

#include <stdlib.h>
#include <string.h>

static inline int least(int a, int b) {
    return a < b ? a : b;
}

static void cost(const SgmFeatures *left, const SgmFeatures *right, int width, int lo, int count, int stride,
                 uint8_t *out) {
    for (int x = 0; x < width; x++, out += stride) {
        uint64_t census = left->census[x];
        int grey = left->grey[x];
        for (int k = 0; k < count; k++) {
            int other = x - (lo + k);
            if (other < 0 || other >= width) {
                out[k] = SGM_COST_OUTSIDE;
                continue;
            }
            int mirrored = width - 1 - other;
            int bits = __builtin_popcountll(census ^ right->census[mirrored]);
            int difference = abs(grey - right->grey[mirrored]);
            out[k] = (uint8_t)(bits + least(difference, SGM_GREY_MAX));
        }
        memset(out + count, 255, (size_t)(stride - count));
    }
}

/* One path, one pixel: replaces the state before by the new one, both relative to their minimum; adds what it is worth
 * before that minimum is taken off (sums of different pixels are compared by the left-right check). */
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
    size_t slot_bytes = (size_t)s->stride + SGM_PAD;
    for (int i = 0; i < s->count; i++) {
        int x = s->first + i;
        const uint8_t *pixel_cost = s->cost + x * s->cost_step;
        const uint16_t *start = s->before ? s->before + x * s->cost_step : NULL;
        uint16_t *sum = s->sum + x * s->cost_step;
        for (int k = 0; k < s->stride; k++) sum[k] = start ? start[k] : 0;
        for (int path = 0; path < 4; path++) {
            uint8_t *state = path ? s->slots[path - 1] + SGM_PAD + (size_t)slot[path - 1] * slot_bytes : s->along;
            step(state, pixel_cost, s->stride, s->p1, s->p2[path][x], sum);
        }
        for (int path = 0; path < 3; path++) slot[path] = slot[path] + 1 == s->ring ? 0 : slot[path] + 1;
    }
}

static void choose(const uint16_t *sum, int width, int lo, int count, int stride, int16_t *best, uint16_t *second,
                   int16_t *right_best, uint16_t *scratch) {
    for (int x = 0; x < width; x++) right_best[x] = -1, scratch[x] = UINT16_MAX;
    for (int x = 0; x < width; x++, sum += stride) {
        int winner = 0;
        for (int k = 1; k < count; k++)
            if (sum[k] < sum[winner]) winner = k;
        int next = UINT16_MAX;
        for (int k = 0; k < count; k++)
            if (abs(k - winner) > 1) next = least(next, sum[k]);
        best[x] = (int16_t)winner;
        second[x] = (uint16_t)next;
        for (int k = 0; k < count; k++) {
            int other = x - (lo + k);
            if (other < 0 || other >= width || sum[k] >= scratch[other]) continue;
            scratch[other] = sum[k];
            right_best[other] = (int16_t)k;
        }
    }
}

const SgmKernels sgm_kernels_plain = {cost, paths, choose};
