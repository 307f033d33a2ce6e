/* cuda/kernels/transport_gradient.cu - how much of the plan of transport.cu lies in windows, and the gradient of both:
 * formulas in tensor/ops/transport_gradient.c. Nothing of size w x w is kept but E, on chip: vectors of each iteration
 * are. Should compute about 8 T + 20 flops an element; should read the scores twice, E 2 T + 3 times after that (fast
 * rung), and write the gradient once. */
#include "cuda/device/position.h"
#include "cuda/device/sinkhorn.h"

#define NONE (-3e8f)

DEVICE float map_at(const TransportMap *m, int h, int scale, int dy, int x) {
    int row = block_x() % h * scale + dy;
    return m->at[block_x() / h * m->pair + row * m->row + x * m->column];
}

/* The window's middle, i - round(D/factor), of pixel k of the factor x factor of left column i: a lane has that of k =
 * lane and of k = lane + 32. Halves are rounded up. */
typedef struct {
    float low, high;
} Candidates;

DEVICE float candidate_of(const TransportBackArgs *a, int i, int k) {
    const int f = a->factor;
    if (k >= f * f || !(map_at(&a->valid, a->transport.h, f, k / f, i * f + k % f) > 0)) return NONE;
    float d = map_at(&a->truth, a->transport.h, f, k / f, i * f + k % f) / (float)f;
    if (!(d > -4e6f && d < 4e6f)) return NONE; /* outside by more than any window, or not finite */
    int whole = floor_int(d);
    return (float)(i - whole - (d - (float)whole >= 0.5f));
}

DEVICE Candidates candidates_of(const TransportBackArgs *a, int i) {
    Candidates c = {candidate_of(a, i, lane_x()), candidate_of(a, i, lane_x() + 32)};
    return c;
}

/* Is column j in one of the windows? Of a warp, each lane with its own j. */
DEVICE int is_near(const TransportBackArgs *a, Candidates c, int j) {
    int near = 0;
    for (int k = 0; k < a->factor * a->factor; k++)
        if (abs_f32(warp_from(k < 32 ? c.low : c.high, k) - (float)j) <= (float)a->radius) near = 1;
    return near;
}

/* Of row i: sum_j E_ij b_j without the dustbin, and `some` of it in the windows; with `bits` also which columns those
 * are. Of a warp. */
DEVICE float sum_windows(const TransportBackArgs *args, const Row *r, int i, const float *b, float *some, u32 *bits) {
    const TransportArgs *a = &args->transport;
    Candidates c = candidates_of(args, i);
    float all = 0, part = 0;
    for (int start = 0; start < row_end(a, i); start += 32) {
        int j = start + lane_x(), inside = j < row_end(a, i);
        int near = is_near(args, c, j) && inside;
        float q = inside ? entry(a, r, i, j) * b[j] : 0;
        all += q;
        if (near) part += q;
        u32 all_near = warp_ballot(near);
        if (bits && lane_x() == 0) bits[start / 32] = all_near;
    }
    *some = warp_sum(part);
    return warp_sum(all);
}

DEVICE void mass_results(const TransportBackArgs *args, float *shared, int fast) {
    const TransportArgs *t = &args->transport;
    Row r = row_of(t, shared, TRANSPORT_VECTORS + fast * TRANSPORT_PARTS);
    float *a = shared + t->pitch, *b = a + t->pitch;
    solve(t, &r, a, b, 0, b + t->pitch, fast);
    for (int i = warp_x(); i < t->w; i += WARPS) {
        float some, all = sum_windows(args, &r, i, b, &some, 0);
        /* no window, no mass, also in a row whose scores are not numbers */
        if (lane_x() == 0) args->mass[(i64)block_x() * t->w + i] = some != 0 ? some / (all + b[t->w]) : 0;
    }
}

/* Kernels promise one block: ptxas would rather spill a few registers than miss an occupancy that it has guessed. */
KERNEL_BLOCKS(transport_mass_plain, 32 * WARPS, 1, TransportBackArgs, args) {
    SHARED_REST(float, shared);
    mass_results(&args, shared, 0);
}
#ifndef PLAIN_ONLY
KERNEL_BLOCKS(transport_mass_fast, 32 * WARPS, 1, TransportBackArgs, args) {
    SHARED_REST(float, shared);
    mass_results(&args, shared, 1);
}
#endif

/* What the results take of row i of the plan: q_ij = all + (|j - k| <= 2) (near + slope (j - k)), or near in the
 * windows. */
typedef struct {
    float *k, *all, *near, *slope;
    u32 *bits; /* pitch/32 words a row */
    int windows;
} Asked;

DEVICE float asked_at(const TransportArgs *a, const Asked *q, int i, int j) {
    if (q->windows) return q->bits[i * (a->pitch / 32) + j / 32] >> (j % 32) & 1 ? q->near[i] : 0;
    float beside = (float)j - q->k[i];
    return q->all[i] + (abs_f32(beside) <= 2 ? q->near[i] + q->slope[i] * beside : 0);
}

/* Takes what is asked of row i, its last a_i, and s_i = sum_j p_ij q_ij. Of a warp. */
DEVICE void ask(const TransportBackArgs *args, const Row *r, int i, const float *b, const Asked *q, float *last_a,
                float *mean) {
    const TransportArgs *a = &args->transport;
    float own_a, s, near, slope = 0, all = 0;
    int k = 0;
    if (args->windows) {
        float some;
        own_a = 1 / (sum_windows(args, r, i, b, &some, q->bits + i * (a->pitch / 32)) + b[a->w]);
        near = map_at(&args->d_mass, a->h, 1, 0, i);
        s = near * some * own_a;
    } else {
        float inside = find_largest(a, r, i, b, &k);
        own_a = 1 / (inside + b[a->w]);
        float p = near_largest(a, r, i, k, b, own_a);
        float five = warp_sum(p), moment = warp_sum((float)(lane_x() - 2) * p), over = 1 / (five + ARGMAX_EPS);
        if (args->d_occlusion.at) all = map_at(&args->d_occlusion, a->h, 1, 0, i);
        if (args->d_disparity.at) slope = -map_at(&args->d_disparity, a->h, 1, 0, i) * over;
        /* j less its mean (k five + moment + eps)/(five + eps) is j - k + (eps (k - 1) - moment)/(five + eps) */
        near = slope * ((ARGMAX_EPS * (float)(k - 1) - moment) * over);
        if (args->d_confidence.at) near += map_at(&args->d_confidence, a->h, 1, 0, i);
        s = all * (inside * own_a) + near * five + slope * moment;
    }
    if (lane_x()) return;
    last_a[i] = own_a;
    mean[i] = s;
    q->near[i] = near;
    q->k[i] = (float)k;
    q->all[i] = all;
    q->slope[i] = slope;
}

/* With a, b of every iteration, x^t_j = b^t_j dv^t_j / m_j and y^t_i = a^t_i du^t_i / m_i (dustbins included) this is
 *   x^T_j = (b^T_j)^2/m_j sum_(i<w) a^T_i E_ij (q_ij - s_i)
 *   t = T-1..1:  y^t_i = -(a^t_i)^2/m_i sum_j E_ij x^(t+1)_j;  x^t_j = -(b^t_j)^2/m_j sum_i y^t_i E_ij
 *   dS_ij = E_ij (a^T_i b^T_j (q_ij - s_i) - sum_t a^(t-1)_i x^t_j - sum_(t<T) y^t_i b^t_j), 0 where masked. */
DEVICE void backward_results(const TransportBackArgs *args, float *shared, int fast) {
    const TransportArgs *t = &args->transport;
    const int pitch = t->pitch, T = t->iterations, w = t->w;
    const int vectors = TRANSPORT_BACK_VECTORS(T) + fast * TRANSPORT_PARTS;
    float *a = shared + pitch, *last_a = a + T * pitch, *b = last_a + pitch, *last_b = b + (T - 1) * pitch;
    float *x = b + T * pitch, *last_x = x + (T - 1) * pitch, *y = x + T * pitch, *mean = y + (T - 1) * pitch;
    float *parts = mean + 5 * pitch;
    Asked q = {mean + pitch, mean + 2 * pitch, mean + 3 * pitch, mean + 4 * pitch, (u32 *)(shared + vectors * pitch),
               args->windows};
    Row r = row_of(t, shared, vectors);
    if (args->windows) r.e += w * (pitch / 32); /* the bits lie before */
    solve(t, &r, a, b, pitch, parts, fast);
    for (int i = warp_x(); i < w; i += WARPS) ask(args, &r, i, last_b, &q, last_a, mean);
    block_sync();
    if (fast) { /* what is asked of whole rows here, what is asked beside k or in windows below */
        float v[COLUMNS], e[COLUMNS];
        UNROLL
        for (int k = 0; k < COLUMNS; k++) v[k] = 0;
        for (int i = warp_x(); i < w; i += WARPS) {
            const float own = last_a[i] * (q.all[i] - mean[i]);
            load_row(t, &r, i, e);
            UNROLL
            for (int k = 0; k < COLUMNS; k++) v[k] += own * e[k];
        }
        collect(t, v, parts, last_x, 0);
    }
    for (int j = thread_x(); j <= w; j += 32 * WARPS) {
        float sum = fast ? last_x[j] : 0;
        for (int i = column_start(t, j); i < w; i++) {
            float asked = (j < w ? asked_at(t, &q, i, j) : 0) - (fast ? q.all[i] : mean[i]);
            if (asked != 0) sum += last_a[i] * asked * (j < w ? entry(t, &r, i, j) : 1);
        }
        last_x[j] = last_b[j] * last_b[j] / marginal(t, j) * sum;
    }
    block_sync();
    for (int step = T - 2; step >= 0; step--) { /* y^(step+1), then x^(step+1) */
        const float *own_a = a + (step + 1) * pitch, *own_b = b + step * pitch, *next_x = x + (step + 1) * pitch;
        float *own_x = x + step * pitch, *own_y = y + step * pitch;
        if (fast) {
            pass(t, &r, next_x, own_a, own_y, parts, own_x);
        } else {
            for (int i = warp_x(); i <= w; i += WARPS) {
                float sum = row_sum(t, &r, i, next_x);
                if (lane_x() == 0) own_y[i] = -own_a[i] * own_a[i] / marginal(t, i) * sum;
            }
            block_sync();
        }
        for (int j = thread_x(); j <= w; j += 32 * WARPS)
            own_x[j] = -own_b[j] * own_b[j] / marginal(t, j) * (fast ? own_x[j] : column_sum(t, &r, j, own_y));
        block_sync();
    }
    for (int i = warp_x(); i < w; i += WARPS) {
        float *to = args->d_scores + ((i64)block_x() * w + i) * w;
        for (int j = lane_x(); j < w; j += 32) {
            float sum = 0;
            if (j < row_end(t, i)) {
                sum = last_a[i] * last_b[j] * (asked_at(t, &q, i, j) - mean[i]);
                for (int k = 0; k < T; k++) sum -= a[k * pitch + i] * x[k * pitch + j];
                for (int k = 0; k < T - 1; k++) sum -= y[k * pitch + i] * b[k * pitch + j];
                sum *= entry(t, &r, i, j);
            }
            to[j] = sum;
        }
    }
}

KERNEL_BLOCKS(transport_backward_plain, 32 * WARPS, 1, TransportBackArgs, args) {
    SHARED_REST(float, shared);
    backward_results(&args, shared, 0);
}
#ifndef PLAIN_ONLY
KERNEL_BLOCKS(transport_backward_fast, 32 * WARPS, 1, TransportBackArgs, args) {
    SHARED_REST(float, shared);
    backward_results(&args, shared, 1);
}
#endif
