/* tensor/ops/sgm_simd.h - the vector kernels of semi-global matching, included once per instruction set.
 *
 * The including file defines, for vectors of LANES bytes (Bytes) and half as many 16-bit values (Shorts):
 *   Mask, mask_of(n)           the first n lanes, n a multiple of 32
 *   load(p, m)                 bytes; 255 in lanes outside the mask
 *   store(p, m, v)
 *   fill(b), low(a, b), plus(a, b), minus(a, b)   broadcast, minimum, saturating sum and difference of bytes
 *   smallest(v)                the minimum of all lanes in every lane
 *   up(v, before), down(v, after)   every lane moved by one place up or down, the open end taken from the neighbour
 *   add_up(four, lo, hi)       lane-wise sums of four byte vectors as two Shorts in order
 *   ones_count(v)              bits set in each byte
 *   difference(a, b)           |a - b|
 *   halved(v)                  (v + 1) / 2
 *   load16(p), store16(p, v), fill16(s), low16(a, b), smallest16(v) (a scalar), sum16(a, b)
 *   less16(a, b), equal16(a, b) -> Choice; select16(choice, yes, no); first16(choice) (lane of the first, -1 if none)
 *   count16()                  0, 1, 2, ...
 * What each kernel computes is said by sgm_plain.c, and equal to it in every bit. */

static inline Bytes census_cost(const SgmFeatures *right, ptrdiff_t at, const Bytes census[4], Bytes level) {
    const Mask all = mask_of(LANES);
    Bytes bits = ones_count(census[0] ^ load(right->census[0] + at, all));
    for (int i = 1; i < 4; i++) bits = plus(bits, ones_count(census[i] ^ load(right->census[i] + at, all)));
    Bytes apart = difference(level, load(right->level + at, all));
    return plus(bits, halved(low(apart, fill(SGM_LEVEL_MAX))));
}

static void cost(const SgmFeatures *left, const SgmFeatures *right, int width, int lo, int count, int stride,
                 uint8_t *out) {
    for (int x = 0; x < width; x++, out += stride) {
        /* k in from..to-1 finds its match inside the other picture, at place `zero` + k */
        ptrdiff_t zero = (ptrdiff_t)width - 1 - x + lo;
        ptrdiff_t from = zero < 0 ? -zero : 0, to = width - zero < count ? width - zero : count;
        if (from > count) from = count;
        if (to < from) to = from;
        Bytes census[4], level = fill(left->level[x]);
        for (int i = 0; i < 4; i++) census[i] = fill(left->census[i][x]);
        for (ptrdiff_t k = from / LANES * LANES; k < to; k += LANES)
            store(out + k, mask_of(stride - k), census_cost(right, zero + k, census, level));
        memset(out, SGM_COST_OUTSIDE, (size_t)from);
        memset(out + to, SGM_COST_OUTSIDE, (size_t)(count - to));
        memset(out + count, 255, (size_t)(stride - count));
    }
}

/* `vectors` is a constant wherever this is inlined with one, and then the path along the row stays in registers. */
static inline __attribute__((always_inline)) void span_of(const SgmSpan *s, int vectors) {
    enum { MOST = SGM_RANGE_MAX / LANES };
    const Bytes ones = fill(255), p1 = fill(s->p1);
    const Mask full = mask_of(LANES), tail = mask_of(s->stride - (vectors - 1) * LANES);
    Bytes along[MOST];
    for (int v = 0; v < vectors; v++) along[v] = load(s->along + v * LANES, v + 1 < vectors ? full : tail);
    uint8_t *state[3], *end[3];
    for (int path = 0; path < 3; path++) {
        state[path] = s->slots[path] + (size_t)s->slot[path] * s->state;
        end[path] = s->slots[path] + (size_t)s->ring * s->state;
    }
    for (int x = s->first; x < s->first + s->count; x++) {
        const uint8_t *pixel_cost = s->cost + x * s->step;
        Bytes value[4][MOST], least = ones, p2 = fill(s->p2[0][x]);
        for (int v = 0; v < vectors; v++) {
            Bytes beside =
                low(up(along[v], v ? along[v - 1] : ones), down(along[v], v + 1 < vectors ? along[v + 1] : ones));
            Bytes best = low(low(along[v], p2), plus(beside, p1));
            value[0][v] = plus(best, load(pixel_cost + v * LANES, v + 1 < vectors ? full : tail));
            least = low(least, value[0][v]);
        }
        least = smallest(least);
        for (int v = 0; v < vectors; v++) along[v] = minus(value[0][v], least);
        for (int path = 0; path < 3; path++) {
            uint8_t *at = state[path];
            p2 = fill(s->p2[path + 1][x]);
            least = ones;
            for (int v = 0; v < vectors; v++) {
                Mask mask = v + 1 < vectors ? full : tail;
                uint8_t *p = at + v * LANES;
                Bytes beside = low(load(p - 1, mask), load(p + 1, mask));
                Bytes best = low(low(load(p, mask), p2), plus(beside, p1));
                value[path + 1][v] = plus(best, load(pixel_cost + v * LANES, mask));
                least = low(least, value[path + 1][v]);
            }
            least = smallest(least);
            for (int v = 0; v < vectors; v++)
                store(at + v * LANES, v + 1 < vectors ? full : tail, minus(value[path + 1][v], least));
            at += s->state;
            state[path] = at == end[path] ? s->slots[path] : at;
        }
        uint16_t *sum = s->sum + x * s->step;
        const uint16_t *before = s->before ? s->before + x * s->step : NULL;
        for (int v = 0; v < vectors; v++) {
            Shorts lo, hi;
            Bytes four[4] = {value[0][v], value[1][v], value[2][v], value[3][v]};
            add_up(four, &lo, &hi);
            int here = v * LANES, there = here + LANES / 2;
            if (before) lo = sum16(lo, load16(before + here));
            store16(sum + here, lo);
            if (there >= s->stride) break;
            if (before) hi = sum16(hi, load16(before + there));
            store16(sum + there, hi);
        }
    }
    for (int v = 0; v < vectors; v++) store(s->along + v * LANES, v + 1 < vectors ? full : tail, along[v]);
}

static void paths(const SgmSpan *s) {
    int vectors = (s->stride + LANES - 1) / LANES;
    switch (vectors) {
    case 1:
        span_of(s, 1);
        break;
    case 2:
        span_of(s, 2);
        break;
    case 3:
        span_of(s, 3);
        break;
    case 4:
        span_of(s, 4);
        break;
    default:
        span_of(s, vectors);
    }
}

static void choose(const uint16_t *sum, int width, int lo, int count, int stride, const SgmWinners *w) {
    enum { HALF = LANES / 2 };
    const Shorts ones = fill16(UINT16_MAX), places = count16(), limit = fill16((uint16_t)count);
    for (int x = 0; x < width; x++, sum += stride) {
        ptrdiff_t zero = (ptrdiff_t)width - 1 - x + lo;
        bool inside = zero < width && zero + count > 0;
        Shorts least = ones;
        for (int k = 0; k < count; k += HALF) {
            Shorts here = sum16(places, fill16((uint16_t)k)), value = load16(sum + k);
            if (k + HALF > count) value = select16(less16(here, limit), value, ones);
            least = low16(least, value);
            if (!inside) continue;
            /* beyond the ends of the row these land in the arrays' margins */
            Shorts known = load16(w->right_sum + zero + k);
            Choice better = less16(value, known);
            store16(w->right_sum + zero + k, low16(known, value));
            store16(w->right_best + zero + k, select16(better, here, load16(w->right_best + zero + k)));
        }
        uint16_t winner = smallest16(least);
        Shorts all = fill16(winner);
        int best = 0;
        for (int k = 0; k < count; k += HALF) {
            int lane = first16(equal16(load16(sum + k), all));
            if (lane < 0) continue;
            best = k + lane;
            break;
        }
        /* the second best: places best-1..best+1, and those past the range, count as 65535 */
        Shorts first = fill16((uint16_t)(best - 1)), three = fill16(3), second = ones;
        for (int k = 0; k < count; k += HALF) {
            Shorts here = sum16(places, fill16((uint16_t)k)), value = load16(sum + k);
            value = select16(less16(here - first, three), ones, value);
            if (k + HALF > count) value = select16(less16(here, limit), value, ones);
            second = low16(second, value);
        }
        uint16_t next = smallest16(second);
        w->best[x] = (uint16_t)best;
        w->margin[x] = (uint16_t)(next == UINT16_MAX ? UINT16_MAX : next - winner);
    }
}
