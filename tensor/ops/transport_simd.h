/* tensor/ops/transport_simd.h - see transport_kernels.h; included once for each instruction level. */
#include "tensor/ops/simd_math.h"
#include "tensor/ops/transport_kernels.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define LOG2_E 1.44269504f
#define ARGMAX_EPS 1e-4f

enum { GROUP = 4 }; /* rows taken together, so that what is by column is loaded and stored once for all of them */

/* Numbers of the columns first .. first + VW - 1. */
static inline vf columns_from(int64_t first) {
    static const float number[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vf lane;
    memcpy(&lane, number, sizeof lane);
    return lane + (float)first;
}

/* Columns of a group of rows that may hold anything but zero: with the mask those up to the last row's own. */
static inline int64_t columns_of_group(const TransportRow *t, int64_t last) {
    return t->positive ? last + 1 : t->w;
}

static inline vf load_scores(const TransportRow *t, const float *row, int64_t j) {
    return t->w - j >= VW ? v_load(row + j) : v_load_part(row + j, t->w - j);
}

/* largest[j] = max(largest[j], S_ij) over rows first .. first+rows-1. Columns beyond w see zeros, which change nothing.
 */
ALWAYS_INLINE void take_maxima(const TransportRow *t, const float *scores, int64_t first, int rows, float *largest) {
    const int64_t columns = columns_of_group(t, first + rows - 1);
    for (int64_t j = 0; j < columns; j += VW) {
        vf most = v_load(largest + j);
        for (int r = 0; r < rows; r++) {
            vf s = load_scores(t, scores + (first + r) * t->stride, j);
            /* a masked score must not count; 0 does, and never matters */
            if (t->positive && j + VW > first + 1) s = v_select(columns_from(j) <= (float)(first + r), s, v_zero());
            most = v_max(most, s);
        }
        v_store(largest + j, most);
    }
}

/* E_ij = exp(S_ij - largest_j), zero where masked and beyond w, and its sums by column. `shift` is -largest log2 e. */
ALWAYS_INLINE void take_exponentials(const TransportRow *t, const float *scores, int64_t first, int rows, float *e,
                                     int64_t line, const float *shift, float *sums) {
    const int64_t columns = columns_of_group(t, first + rows - 1);
    for (int64_t j = 0; j < columns; j += VW) {
        const vf offset = v_load(shift + j);
        vf sum = v_load(sums + j);
        const bool edge = j + VW > t->w || (t->positive && j + VW > first + 1);
        for (int r = 0; r < rows; r++) {
            vf x = v_exp2_small(v_fma(load_scores(t, scores + (first + r) * t->stride, j), v_set(LOG2_E), offset));
            if (edge) {
                const int64_t last = t->positive && first + r < t->w ? first + r : t->w - 1;
                x = v_select(columns_from(j) <= (float)last, x, v_zero());
            }
            v_store(e + (first + r) * line + j, x);
            sum += x;
        }
        v_store(sums + j, sum);
    }
}

/* a_i of some rows, and what they add to the column sums. Returns the sum of a_i. */
ALWAYS_INLINE float balance(const TransportRow *t, const float *e, int64_t line, int64_t first, int rows,
                            const float *b, float b_dustbin, float *sums) {
    const int64_t columns = columns_of_group(t, first + rows - 1);
    const float *row = e + first * line;
    vf dot[GROUP], a[GROUP];
    for (int r = 0; r < rows; r++) dot[r] = v_zero();
    for (int64_t j = 0; j < columns; j += VW) {
        const vf factor = v_load(b + j);
        for (int r = 0; r < rows; r++) dot[r] = v_fma(v_load(row + r * line + j), factor, dot[r]);
    }
    float total = 0;
    for (int r = 0; r < rows; r++) {
        const float own = 1 / (v_sum(dot[r]) + b_dustbin);
        total += own;
        a[r] = v_set(own);
    }
    for (int64_t j = 0; j < columns; j += VW) {
        vf sum = v_load(sums + j);
        for (int r = 0; r < rows; r++) sum = v_fma(a[r], v_load(row + r * line + j), sum);
        v_store(sums + j, sum);
    }
    return total;
}

/* The results of some rows from the last a_i, which is not needed by itself: p_ij = E_ij b_j / (sum_j E_ij b_j + b_w).
 */
ALWAYS_INLINE void take_results(const TransportRow *t, const float *e, int64_t line, int64_t first, int rows,
                                const float *b, float b_dustbin, float *disparity, float *confidence,
                                float *occlusion) {
    const int64_t columns = columns_of_group(t, first + rows - 1);
    vf sum[GROUP], most[GROUP], at[GROUP];
    for (int r = 0; r < rows; r++) sum[r] = at[r] = v_zero(), most[r] = v_set(-1.0f);
    for (int64_t j = 0; j < columns; j += VW) {
        const vf factor = v_load(b + j), column = columns_from(j);
        for (int r = 0; r < rows; r++) {
            vf q = v_load(e + (first + r) * line + j) * factor;
            sum[r] += q;
            at[r] = v_select(q > most[r], column, at[r]); /* the first of equals in each lane */
            most[r] = v_max(q, most[r]);
        }
    }
    for (int r = 0; r < rows; r++) {
        const int64_t i = first + r;
        const float *row = e + i * line;
        const float inside = v_sum(sum[r]), share = 1 / (inside + b_dustbin), largest = v_largest(most[r]);
        /* the first of equals among the lanes: the least column of those that reach the largest */
        const int64_t k = (int64_t)-v_largest(v_select(most[r] == v_set(largest), -at[r], v_set(-3e38f)));
        float near = 0, moment = 0; /* round k, so that disparity loses no digits to the column number */
        for (int64_t o = -2; o <= 2; o++)
            if (k + o >= 0 && k + o < t->w && (!t->positive || k + o <= i)) {
                const float p = row[k + o] * b[k + o] * share;
                near += p;
                moment += (float)o * p;
            }
        /* i - (k near + moment + eps)/(near + eps) */
        disparity[i] = (float)(i - k) - (moment + ARGMAX_EPS * (float)(1 - k)) / (near + ARGMAX_EPS);
        confidence[i] = near;
        occlusion[i] = inside * share;
    }
}

void SIMD_NAME(transport_row)(const TransportRow *t, const float *scores, float *work, float *disparity,
                              float *confidence, float *occlusion) {
    const int64_t w = t->w, line = transport_line(w);
    /* By column: sums, then their reciprocals b; the dustbin row of E; the exponents' shift. */
    float *e = work, *sums = e + w * line, *b = sums + line, *dustbin = b + line, *shift = dustbin + line;
    memset(shift, 0, (size_t)line * sizeof *shift);
    int64_t i = 0;
    for (; i + GROUP <= w; i += GROUP) take_maxima(t, scores, i, GROUP, shift);
    for (; i < w; i++) take_maxima(t, scores, i, 1, shift);
    for (int64_t j = 0; j < w; j += VW) {
        vf own = v_load(shift + j) * -LOG2_E, last = v_exp2_small(own);
        last = v_select(columns_from(j) < (float)w, last, v_zero());
        v_store(shift + j, own);
        v_store(dustbin + j, last);
        v_store(sums + j, last);
    }
    for (i = 0; i + GROUP <= w; i += GROUP) take_exponentials(t, scores, i, GROUP, e, line, shift, sums);
    for (; i < w; i++) take_exponentials(t, scores, i, 1, e, line, shift, sums);
    float sum_dustbin = (float)w + 1;
    for (int iteration = 1;; iteration++) {
        const float b_dustbin = (float)w / sum_dustbin;
        vf dot = v_zero();
        for (int64_t j = 0; j < w; j += VW) {
            /* a sum is zero beyond w only */
            vf own = v_select(columns_from(j) < (float)w, 1.0f / v_load(sums + j), v_zero());
            v_store(b + j, own);
            dot = v_fma(own, v_load(dustbin + j), dot);
        }
        i = 0;
        if (iteration == t->iterations) {
            for (; i + GROUP <= w; i += GROUP)
                take_results(t, e, line, i, GROUP, b, b_dustbin, disparity, confidence, occlusion);
            for (; i < w; i++) take_results(t, e, line, i, 1, b, b_dustbin, disparity, confidence, occlusion);
            return;
        }
        const float a_dustbin = (float)w / (v_sum(dot) + b_dustbin);
        for (int64_t j = 0; j < w; j += VW) v_store(sums + j, v_load(dustbin + j) * a_dustbin);
        sum_dustbin = a_dustbin;
        for (; i + GROUP <= w; i += GROUP) sum_dustbin += balance(t, e, line, i, GROUP, b, b_dustbin, sums);
        for (; i < w; i++) sum_dustbin += balance(t, e, line, i, 1, b, b_dustbin, sums);
    }
}
