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

/* a_i of some rows (kept unless NULL), and what they add to the column sums. Returns the sum of a_i. */
ALWAYS_INLINE float balance(const TransportRow *t, const float *e, int64_t line, int64_t first, int rows,
                            const float *b, float b_dustbin, float *sums, float *keep) {
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
        if (keep) keep[first + r] = own;
    }
    for (int64_t j = 0; j < columns; j += VW) {
        vf sum = v_load(sums + j);
        for (int r = 0; r < rows; r++) sum = v_fma(a[r], v_load(row + r * line + j), sum);
        v_store(sums + j, sum);
    }
    return total;
}

/* Of some rows, from the last b: sum_j E_ij b_j, and the column of the largest E_ij b_j, the first of equals. */
ALWAYS_INLINE void find_largest(const TransportRow *t, const float *e, int64_t line, int64_t first, int rows,
                                const float *b, float *inside, int64_t *column) {
    const int64_t columns = columns_of_group(t, first + rows - 1);
    vf sum[GROUP], most[GROUP], at[GROUP];
    for (int r = 0; r < rows; r++) sum[r] = at[r] = v_zero(), most[r] = v_set(-1.0f);
    for (int64_t j = 0; j < columns; j += VW) {
        const vf factor = v_load(b + j), here = columns_from(j);
        for (int r = 0; r < rows; r++) {
            vf q = v_load(e + (first + r) * line + j) * factor;
            sum[r] += q;
            at[r] = v_select(q > most[r], here, at[r]); /* the first of equals in each lane */
            most[r] = v_max(q, most[r]);
        }
    }
    for (int r = 0; r < rows; r++) {
        inside[r] = v_sum(sum[r]);
        /* the first of equals among the lanes: the least column of those that reach the largest */
        const float largest = v_largest(most[r]);
        column[r] = (int64_t)-v_largest(v_select(most[r] == v_set(largest), -at[r], v_set(-3e38f)));
    }
}

/* Sum of p over the five columns round k, and of (j - k) p, so that disparity loses no digits to the column number. */
ALWAYS_INLINE void near_largest(const TransportRow *t, const float *row, int64_t i, int64_t k, const float *b,
                                float share, float *near, float *moment) {
    *near = *moment = 0;
    for (int64_t o = -2; o <= 2; o++)
        if (k + o >= 0 && k + o < t->w && (!t->positive || k + o <= i)) {
            const float p = row[k + o] * b[k + o] * share;
            *near += p;
            *moment += (float)o * p;
        }
}

/* The results of some rows from the last a_i, which is not needed by itself: p_ij = E_ij b_j / (sum_j E_ij b_j + b_w).
 */
ALWAYS_INLINE void take_results(const TransportRow *t, const float *e, int64_t line, int64_t first, int rows,
                                const float *b, float b_dustbin, float *disparity, float *confidence,
                                float *occlusion) {
    float inside[GROUP];
    int64_t column[GROUP];
    find_largest(t, e, line, first, rows, b, inside, column);
    for (int r = 0; r < rows; r++) {
        const int64_t i = first + r, k = column[r];
        const float share = 1 / (inside[r] + b_dustbin);
        float near, moment;
        near_largest(t, e + i * line, i, k, b, share, &near, &moment);
        /* i - (k near + moment + eps)/(near + eps) */
        disparity[i] = (float)(i - k) - (moment + ARGMAX_EPS * (float)(1 - k)) / (near + ARGMAX_EPS);
        confidence[i] = near;
        occlusion[i] = inside[r] * share;
    }
}

/* E, the dustbin row of E, and the first column sums (a = 1). `shift` is scratch. */
ALWAYS_INLINE void take_e(const TransportRow *t, const float *scores, float *e, float *sums, float *dustbin,
                          float *shift) {
    const int64_t w = t->w, line = transport_line(w);
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
}

/* b of the columns from their sums (zero beyond w); returns sum_j b_j E_wj. */
ALWAYS_INLINE float take_b(const TransportRow *t, const float *sums, const float *dustbin, float *b) {
    vf dot = v_zero();
    for (int64_t j = 0; j < t->w; j += VW) {
        vf own = v_select(columns_from(j) < (float)t->w, 1.0f / v_load(sums + j), v_zero());
        v_store(b + j, own);
        dot = v_fma(own, v_load(dustbin + j), dot);
    }
    return v_sum(dot);
}

/* From the column sums to b, and while more iterations follow to a and the next sums. What is kept of iteration t = 1
 * .. T: b + (t-1) keep, a + (t-1) keep (not of the last), and in `bin` the two of the dustbins. keep 0: each overwrites
 * the one before, and no a. Returns the last b of the dustbin. */
typedef struct {
    float b, a;
} Dustbin;
ALWAYS_INLINE float iterate(const TransportRow *t, const float *e, float *sums, const float *dustbin, float *b,
                            int64_t keep, float *a, Dustbin *bin) {
    const int64_t w = t->w, line = transport_line(w);
    float sum_dustbin = (float)w + 1;
    for (int iteration = 1;; iteration++, b += keep, a += keep) {
        const float b_dustbin = (float)w / sum_dustbin, dot = take_b(t, sums, dustbin, b);
        if (bin) bin[iteration].b = b_dustbin;
        if (iteration == t->iterations) return b_dustbin;
        const float a_dustbin = (float)w / (dot + b_dustbin);
        if (bin) bin[iteration].a = a_dustbin;
        for (int64_t j = 0; j < w; j += VW) v_store(sums + j, v_load(dustbin + j) * a_dustbin);
        sum_dustbin = a_dustbin;
        int64_t i = 0;
        for (; i + GROUP <= w; i += GROUP)
            sum_dustbin += balance(t, e, line, i, GROUP, b, b_dustbin, sums, keep ? a : NULL);
        for (; i < w; i++) sum_dustbin += balance(t, e, line, i, 1, b, b_dustbin, sums, keep ? a : NULL);
    }
}

static void transport_row(const TransportRow *t, const float *scores, float *work, float *disparity, float *confidence,
                          float *occlusion) {
    const int64_t w = t->w, line = transport_line(w);
    float *e = work, *sums = e + w * line, *b = sums + line, *dustbin = b + line, *shift = dustbin + line;
    take_e(t, scores, e, sums, dustbin, shift);
    const float b_dustbin = iterate(t, e, sums, dustbin, b, 0, NULL, NULL);
    int64_t i = 0;
    for (; i + GROUP <= w; i += GROUP)
        take_results(t, e, line, i, GROUP, b, b_dustbin, disparity, confidence, occlusion);
    for (; i < w; i++) take_results(t, e, line, i, 1, b, b_dustbin, disparity, confidence, occlusion);
}

/* q[j] = value in the union of the windows round row i's candidates, 0 elsewhere, to whole vectors. */
static void fill_windows(const TransportRow *t, const TransportLoss *near, int64_t i, float value, float *q) {
    memset(q, 0, (size_t)transport_line(t->w) * sizeof *q);
    for (int n = 0; n < near->candidates; n++) {
        const int64_t k = near->candidate[i * near->candidates + n];
        if (k == TRANSPORT_NONE) continue;
        for (int64_t j = k - near->radius; j <= k + near->radius; j++)
            if (j >= 0 && j < t->w) q[j] = value;
    }
}

static void transport_mass(const TransportRow *t, const float *scores, const TransportLoss *near, float *work,
                           float *mass) {
    const int64_t w = t->w, line = transport_line(w);
    float *e = work, *sums = e + w * line, *b = sums + line, *dustbin = b + line, *shift = dustbin + line;
    float *inside = shift + line;
    take_e(t, scores, e, sums, dustbin, shift);
    const float b_dustbin = iterate(t, e, sums, dustbin, b, 0, NULL, NULL);
    for (int64_t i = 0; i < w; i++) {
        vf all = v_zero(), some = v_zero();
        fill_windows(t, near, i, 1, inside);
        for (int64_t j = 0; j < columns_of_group(t, i); j += VW) {
            const vf q = v_load(e + i * line + j) * v_load(b + j);
            all += q;
            some = v_fma(q, v_load(inside + j), some);
        }
        mass[i] = v_sum(some) / (v_sum(all) + b_dustbin);
    }
}

/* ---- the gradient: formulas in transport_gradient.c ---- */

/* Everything by column or by row that the backward passes keep; index t - 1 for iteration t, `line` floats each. */
typedef struct {
    float *e, *sums, *dustbin, *shift;
    float *b, *x, *a, *u; /* b^t, b^t dv^t by column; a^t, a^t du^t by row */
    float *mean;          /* s_i */
    float *asked;         /* GROUP lines of q */
    int64_t line;
    Dustbin bin[16]; /* by t: b_w, a_w */
} Backward;

/* q_ij = d(loss)/d(p_ij) of row i; k is the column of its largest p. */
static void ask(const TransportRow *t, const TransportLoss *loss, const float *row, int64_t i, int64_t k,
                const float *b, float share, float *q) {
    if (loss->candidate) {
        fill_windows(t, loss, i, loss->d_mass[i], q);
        return;
    }
    float near, moment;
    near_largest(t, row, i, k, b, share, &near, &moment);
    const float all = loss->d_occlusion ? loss->d_occlusion[i] : 0, over = 1 / (near + ARGMAX_EPS);
    const float confidence = loss->d_confidence ? loss->d_confidence[i] : 0;
    const float disparity = loss->d_disparity ? -loss->d_disparity[i] * over : 0;
    /* j less the mean: o + k - (k near + moment + eps)/(near + eps) */
    const float centre = (ARGMAX_EPS * (float)(k - 1) - moment) * over;
    for (int64_t j = 0; j < t->w; j += VW) v_store(q + j, v_set(all));
    for (int64_t o = -2; o <= 2; o++)
        if (k + o >= 0 && k + o < t->w) q[k + o] += confidence + disparity * ((float)o + centre);
}

/* The last iteration: q of some rows, their s_i = sum_j p_ij q_ij, a_i, and what they add to the columns:
 * sums_j += a_i E_ij (q_ij - s_i). Returns the sum of a_i s_i. */
ALWAYS_INLINE float back_results(const TransportRow *t, const TransportLoss *loss, Backward *w, int64_t first, int rows,
                                 const float *b, float b_dustbin, float *a) {
    const int64_t columns = columns_of_group(t, first + rows - 1);
    const float *row = w->e + first * w->line;
    float inside[GROUP], total = 0;
    int64_t k[GROUP];
    vf dot[GROUP], share[GROUP], mean[GROUP];
    find_largest(t, w->e, w->line, first, rows, b, inside, k);
    for (int r = 0; r < rows; r++) {
        a[first + r] = 1 / (inside[r] + b_dustbin);
        ask(t, loss, row + r * w->line, first + r, k[r], b, a[first + r], w->asked + r * w->line);
        dot[r] = v_zero();
    }
    for (int64_t j = 0; j < columns; j += VW) {
        const vf factor = v_load(b + j);
        for (int r = 0; r < rows; r++)
            dot[r] = v_fma(v_load(row + r * w->line + j) * factor, v_load(w->asked + r * w->line + j), dot[r]);
    }
    for (int r = 0; r < rows; r++) {
        const float own = a[first + r], s = v_sum(dot[r]) * own;
        w->mean[first + r] = s;
        total += own * s;
        share[r] = v_set(own), mean[r] = v_set(s);
    }
    for (int64_t j = 0; j < columns; j += VW) {
        vf sum = v_load(w->sums + j);
        for (int r = 0; r < rows; r++)
            sum = v_fma(share[r] * v_load(row + r * w->line + j), v_load(w->asked + r * w->line + j) - mean[r], sum);
        v_store(w->sums + j, sum);
    }
    return total;
}

/* An earlier one: a_i du_i = -a_i^2 (sum_j E_ij x_j + `rest`) of some rows, and what they add to the columns. Returns
 * their sum. */
ALWAYS_INLINE float back_balance(const TransportRow *t, Backward *w, int64_t first, int rows, const float *x,
                                 float rest, const float *a, float *u) {
    const int64_t columns = columns_of_group(t, first + rows - 1);
    const float *row = w->e + first * w->line;
    vf dot[GROUP], own[GROUP];
    float total = 0;
    for (int r = 0; r < rows; r++) dot[r] = v_zero();
    for (int64_t j = 0; j < columns; j += VW) {
        const vf factor = v_load(x + j);
        for (int r = 0; r < rows; r++) dot[r] = v_fma(v_load(row + r * w->line + j), factor, dot[r]);
    }
    for (int r = 0; r < rows; r++) {
        const float value = -a[first + r] * a[first + r] * (v_sum(dot[r]) + rest);
        u[first + r] = value;
        total += value;
        own[r] = v_set(value);
    }
    for (int64_t j = 0; j < columns; j += VW) {
        vf sum = v_load(w->sums + j);
        for (int r = 0; r < rows; r++) sum = v_fma(own[r], v_load(row + r * w->line + j), sum);
        v_store(w->sums + j, sum);
    }
    return total;
}

/* The gradient of some rows of scores. `iterations` is that of t, in the common case as a constant. */
ALWAYS_INLINE void back_scores(const TransportRow *t, const TransportLoss *loss, const Backward *w, int64_t first,
                               int rows, int iterations, float *d_scores) {
    const int64_t columns = columns_of_group(t, first + rows - 1), last = iterations - 1;
    const float *row = w->e + first * w->line, *b = w->b + last * w->line, *a = w->a + last * w->line;
    int64_t k[GROUP] = {0};
    float inside[GROUP];
    if (!loss->candidate) find_largest(t, w->e, w->line, first, rows, b, inside, k);
    for (int r = 0; r < rows; r++)
        ask(t, loss, row + r * w->line, first + r, k[r], b, a[first + r], w->asked + r * w->line);
    for (int64_t j = 0; j < columns; j += VW) {
        const vf factor = v_load(b + j);
        for (int r = 0; r < rows; r++) {
            const int64_t i = first + r;
            vf sum = (v_load(w->asked + r * w->line + j) - w->mean[i]) * factor * a[i];
            for (int64_t n = 0; n < iterations; n++) {
                const float before = n ? w->a[(n - 1) * w->line + i] : 1;
                sum -= v_load(w->x + n * w->line + j) * before;
                if (n < last) sum -= v_load(w->b + n * w->line + j) * w->u[n * w->line + i];
            }
            sum *= v_load(row + r * w->line + j);
            float *to = d_scores + i * t->w + j;
            if (t->w - j >= VW)
                v_store(to, sum);
            else
                v_store_part(to, sum, t->w - j);
        }
    }
    const int64_t rest = (columns + VW - 1) / VW * VW; /* masked for all of these rows */
    for (int r = 0; rest < t->w && r < rows; r++)
        memset(d_scores + (first + r) * t->w + rest, 0, (size_t)(t->w - rest) * sizeof *d_scores);
}

static void transport_backward(const TransportRow *t, const float *scores, const TransportLoss *loss, float *work,
                               float *d_scores) {
    const int64_t n = t->w, line = transport_line(n), T = t->iterations;
    Backward w = {.e = work, .line = line};
    w.sums = w.e + n * line, w.dustbin = w.sums + line, w.shift = w.dustbin + line;
    w.b = w.shift + line, w.x = w.b + T * line, w.a = w.x + T * line, w.u = w.a + T * line;
    w.mean = w.u + T * line, w.asked = w.mean + line;
    take_e(t, scores, w.e, w.sums, w.dustbin, w.shift);
    iterate(t, w.e, w.sums, w.dustbin, w.b, line, w.a, w.bin);

    /* x^T */
    const float *b = w.b + (T - 1) * line;
    float d_dustbin = 0; /* dv of the dustbin column */
    memset(w.sums, 0, (size_t)line * sizeof *w.sums);
    int64_t i = 0;
    for (; i + GROUP <= n; i += GROUP)
        d_dustbin -= back_results(t, loss, &w, i, GROUP, b, w.bin[T].b, w.a + (T - 1) * line);
    for (; i < n; i++) d_dustbin -= back_results(t, loss, &w, i, 1, b, w.bin[T].b, w.a + (T - 1) * line);
    d_dustbin *= w.bin[T].b;
    for (int64_t j = 0; j < n; j += VW) {
        const vf own = v_load(b + j);
        v_store(w.x + (T - 1) * line + j, own * own * v_load(w.sums + j));
    }
    for (int64_t step = T - 1; step >= 1; step--) { /* u^step and x^step from x^(step+1) */
        const float *x = w.x + step * line, *a = w.a + (step - 1) * line;
        float *u = w.u + (step - 1) * line, total = 0;
        const float rest = w.bin[step + 1].b * d_dustbin / (float)n, a_dustbin = w.bin[step].a;
        vf dot = v_zero();
        for (int64_t j = 0; j < n; j += VW) dot = v_fma(v_load(w.dustbin + j), v_load(x + j), dot);
        const float u_dustbin = -a_dustbin * a_dustbin * (v_sum(dot) + rest) / (float)n;
        for (int64_t j = 0; j < n; j += VW) v_store(w.sums + j, v_load(w.dustbin + j) * u_dustbin);
        i = 0;
        for (; i + GROUP <= n; i += GROUP) total += back_balance(t, &w, i, GROUP, x, rest, a, u);
        for (; i < n; i++) total += back_balance(t, &w, i, 1, x, rest, a, u);
        d_dustbin = -w.bin[step].b * (total + u_dustbin);
        b = w.b + (step - 1) * line;
        for (int64_t j = 0; j < n; j += VW) {
            const vf own = v_load(b + j);
            v_store(w.x + (step - 1) * line + j, -own * own * v_load(w.sums + j));
        }
    }
    i = 0;
    if (T == 3)
        for (; i + GROUP <= n; i += GROUP) back_scores(t, loss, &w, i, GROUP, 3, d_scores);
    for (; i + GROUP <= n; i += GROUP) back_scores(t, loss, &w, i, GROUP, (int)T, d_scores);
    for (; i < n; i++) back_scores(t, loss, &w, i, 1, (int)T, d_scores);
}

const TransportKernels SIMD_NAME(transport_kernels) = {
    .row = transport_row,
    .mass = transport_mass,
    .backward = transport_backward,
};
