/* cuda/kernels/transport.cu - optimal transport over each row of a correlation volume, and the soft arg-max on its
 * plan: always f32. The problem stands in tensor/ops/transport.c; that the iterations need no logarithms and no sum can
 * underflow, in transport_kernels.h.
 *
 * Here the dustbins are row w and column w of one matrix, with marginals m = 1, and w at the dustbins:
 *   E_ij = exp(S_ij - c_j), c_j = max(0, max_i S_ij), c_w = 0, S = 0 in a dustbin; 0 where masked
 *   a = 1; repeat: b_j = m_j / sum_i a_i E_ij;  a_i = m_i / sum_j E_ij b_j        (i and j from 0 to w)
 * and p_ij = a_i E_ij b_j. The last a is taken with the results, and not of the dustbin.
 *
 * Two forms. On chip: E lies in shared memory, so the scores come twice (the second time from L2) and each element
 * costs one exponential. Streamed: E is made anew from the scores whenever it is read, an exponential for each value
 * from L2, which costs an SM about what the value does; nothing but vectors lies in shared memory. Sums run in one
 * order in both forms, so they agree to the last bit.
 *
 * The plain rung reads E twice an iteration: a warp a row for sums over columns, a thread a column for sums over rows.
 * The fast one reads it once: a warp takes a row into registers, sums it to a_i, and adds a_i E_ij to sums by column,
 * which are in registers as well, of its rows; the warps' sums are added at the end in a fixed order. It knows the
 * width, in units of 32 columns, as COLUMNS. Should compute 4 flops an element and iteration; should read the scores
 * twice and E T times after that (the plain rung: 2 T), from shared memory or, with an exponential each, from L2. */
#include "cuda/device/position.h"
#include "cuda/kernels/transport.h"

/* Kernels promise one block: ptxas would rather spill a few registers than miss an occupancy that it has guessed. */
#define ARGMAX_EPS 1e-4f
#define WARPS 16 /* of a block */
#ifndef COLUMNS
#define COLUMNS 16
#endif

typedef struct {
    const float *s; /* scores of this image row */
    float *c, *e;
    int on_chip; /* e is there */
} Row;

/* Vectors in shared memory: c, then what the kernel wants, then E. */
DEVICE Row row_of(const TransportArgs *a, float *shared, int vectors) {
    Row r = {a->scores + block_x() / a->h * a->pair + block_x() % a->h * a->row, shared, shared + vectors * a->pitch,
             a->on_chip};
    return r;
}

/* i and j below w, not masked */
DEVICE float entry(const TransportArgs *a, const Row *r, int i, int j) {
    return r->on_chip ? r->e[i * a->w + j] : exp_f32(r->s[i * a->line + j] - r->c[j]);
}

DEVICE float marginal(const TransportArgs *a, int k) {
    return k < a->w ? 1.f : (float)a->w;
}

/* First column of row i that is masked; first row of column j that is not. */
DEVICE int row_end(const TransportArgs *a, int i) {
    return a->positive && i < a->w ? i + 1 : a->w;
}
DEVICE int column_start(const TransportArgs *a, int j) {
    return a->positive && j < a->w ? j : 0;
}

/* c, and E in the form on chip. The block meets at the end. */
DEVICE void take_e(const TransportArgs *a, const Row *r) {
    for (int j = thread_x(); j <= a->w; j += 32 * WARPS) {
        float most = 0;
        for (int i = column_start(a, j); i < a->w && j < a->w; i++) most = max_f32(most, r->s[i * a->line + j]);
        r->c[j] = most;
        for (int i = column_start(a, j); r->on_chip && i < a->w && j < a->w; i++)
            r->e[i * a->w + j] = exp_f32(r->s[i * a->line + j] - most);
    }
    block_sync();
}

/* sum_i v_i E_ij, i from 0 to w: of one thread */
DEVICE float column_sum(const TransportArgs *a, const Row *r, int j, const float *v) {
    float sum = v[a->w] * exp_f32(-r->c[j]);
    for (int i = column_start(a, j); i < a->w; i++) sum += v[i] * (j < a->w ? entry(a, r, i, j) : 1);
    return sum;
}

/* sum_j E_ij v_j, j from 0 to w: of a warp */
DEVICE float row_sum(const TransportArgs *a, const Row *r, int i, const float *v) {
    float sum = 0;
    for (int j = lane_x(); j < row_end(a, i); j += 32) sum += v[j] * (i < a->w ? entry(a, r, i, j) : exp_f32(-r->c[j]));
    return warp_sum(sum) + v[a->w];
}

/* a^0 = 1, b^1, a^1, ... b^T: a^t at a + t keep, b^t at b + (t-1) keep; with keep = 0 each lies over the one before.
 * The block meets at the end. */
DEVICE void iterate(const TransportArgs *args, const Row *r, float *a, float *b, int keep) {
    for (int i = thread_x(); i <= args->w; i += 32 * WARPS) a[i] = 1;
    block_sync();
    for (int t = 1;; t++, b += keep) {
        for (int j = thread_x(); j <= args->w; j += 32 * WARPS) b[j] = marginal(args, j) / column_sum(args, r, j, a);
        block_sync();
        if (t == args->iterations) return;
        a += keep;
        for (int i = warp_x(); i <= args->w; i += WARPS) {
            float sum = row_sum(args, r, i, b);
            if (lane_x() == 0) a[i] = marginal(args, i) / sum;
        }
        block_sync();
    }
}

/* ---- the fast rung's passes ---- */

/* E of row i in this lane's columns lane + 32 k, dustbins included; 0 where masked and beyond. */
DEVICE void load_row(const TransportArgs *a, const Row *r, int i, float e[COLUMNS]) {
    UNROLL
    for (int k = 0; k < COLUMNS; k++) {
        int j = lane_x() + 32 * k;
        e[k] = j == a->w ? 1 : 0;
        if (j < row_end(a, i)) e[k] = i < a->w ? entry(a, r, i, j) : exp_f32(-r->c[j]);
    }
}

/* Of column j, the sum (the largest) of v over all warps, in a fixed order. Seen by thread j % (32 WARPS) alone until
 * the block meets. `parts` are TRANSPORT_PARTS vectors. */
DEVICE void collect(const TransportArgs *a, const float v[COLUMNS], float *parts, float *sums, int largest) {
    float *own = parts + warp_x() % TRANSPORT_PARTS * a->pitch + lane_x();
    for (int half = 1; half >= 0; half--) {
        UNROLL
        for (int k = 0; k < COLUMNS; k++) {
            if (warp_x() / TRANSPORT_PARTS != half || lane_x() + 32 * k >= a->pitch) continue;
            if (half)
                own[32 * k] = v[k];
            else
                own[32 * k] = largest ? max_f32(own[32 * k], v[k]) : own[32 * k] + v[k];
        }
        block_sync();
    }
    for (int j = thread_x(); j <= a->w; j += 32 * WARPS) {
        float sum = parts[j];
        for (int part = 1; part < TRANSPORT_PARTS; part++)
            sum = largest ? max_f32(sum, parts[part * a->pitch + j]) : sum + parts[part * a->pitch + j];
        sums[j] = sum;
    }
}

/* One pass: to_i = m_i / sum_j E_ij from_j, or -(given_i)^2/m_i of that sum; then sums_j = sum_i to_i E_ij, as collect
 * leaves them. */
DEVICE void pass(const TransportArgs *a, const Row *r, const float *from, const float *given, float *to, float *parts,
                 float *sums) {
    float p[COLUMNS], v[COLUMNS], e[COLUMNS];
    UNROLL
    for (int k = 0; k < COLUMNS; k++) {
        p[k] = lane_x() + 32 * k <= a->w ? from[lane_x() + 32 * k] : 0;
        v[k] = 0;
    }
    for (int i = warp_x(); i <= a->w; i += WARPS) {
        float sum = 0;
        load_row(a, r, i, e);
        UNROLL
        for (int k = 0; k < COLUMNS; k++) sum += e[k] * p[k];
        sum = warp_sum(sum);
        float own = given ? -given[i] * given[i] / marginal(a, i) * sum : marginal(a, i) / sum;
        if (lane_x() == 0) to[i] = own;
        UNROLL
        for (int k = 0; k < COLUMNS; k++) v[k] += own * e[k];
    }
    collect(a, v, parts, sums, 0);
}

/* What take_e and iterate do. */
DEVICE void iterate_fast(const TransportArgs *args, const Row *r, float *a, float *b, int keep, float *parts) {
    float v[COLUMNS], e[COLUMNS];
    UNROLL
    for (int k = 0; k < COLUMNS; k++) v[k] = 0;
    for (int i = warp_x(); i < args->w; i += WARPS) {
        UNROLL
        for (int k = 0; k < COLUMNS; k++)
            if (lane_x() + 32 * k < row_end(args, i)) v[k] = max_f32(v[k], r->s[i * args->line + lane_x() + 32 * k]);
    }
    collect(args, v, parts, r->c, 1);
    block_sync();
    Row fresh = {r->s, r->c, r->e, 0};
    UNROLL
    for (int k = 0; k < COLUMNS; k++) v[k] = 0;
    for (int i = warp_x(); i <= args->w; i += WARPS) {
        load_row(args, &fresh, i, e);
        if (lane_x() == 0) a[i] = 1;
        UNROLL
        for (int k = 0; k < COLUMNS; k++) {
            int j = lane_x() + 32 * k;
            v[k] += e[k];
            if (r->on_chip && i < args->w && j < row_end(args, i)) r->e[i * args->w + j] = e[k];
        }
    }
    collect(args, v, parts, b, 0);
    for (int t = 1;; t++) {
        for (int j = thread_x(); j <= args->w; j += 32 * WARPS) b[j] = marginal(args, j) / b[j];
        block_sync();
        if (t == args->iterations) return;
        a += keep;
        pass(args, r, b, 0, a, parts, b + keep);
        b += keep;
    }
}

DEVICE void solve(const TransportArgs *args, const Row *r, float *a, float *b, int keep, float *parts, int fast) {
    if (fast) {
        iterate_fast(args, r, a, b, keep, parts);
    } else {
        take_e(args, r);
        iterate(args, r, a, b, keep);
    }
}

/* ---- results ---- */

/* Of row i: sum_j E_ij b_j without the dustbin, and the column of the largest, the first of equals. Of a warp. */
DEVICE float find_largest(const TransportArgs *a, const Row *r, int i, const float *b, int *column) {
    float sum = 0, most = -1, at = 0; /* columns are exact in a float */
    for (int j = lane_x(); j < row_end(a, i); j += 32) {
        float q = entry(a, r, i, j) * b[j];
        sum += q;
        if (q > most) most = q, at = (float)j;
    }
    UNROLL
    for (int m = 16; m; m >>= 1) {
        float other = warp_xor(most, m), there = warp_xor(at, m);
        if (other > most || (other == most && there < at)) most = other, at = there;
    }
    *column = (int)at;
    return warp_sum(sum);
}

/* p_ij of column j = k - 2 + lane, in lanes 0 to 4; 0 elsewhere and outside. */
DEVICE float near_largest(const TransportArgs *a, const Row *r, int i, int k, const float *b, float share) {
    int j = k - 2 + lane_x();
    return lane_x() < 5 && j >= 0 && j < row_end(a, i) ? entry(a, r, i, j) * b[j] * share : 0;
}

DEVICE void transport_results(const TransportArgs *args, float *shared, int fast) {
    Row r = row_of(args, shared, TRANSPORT_VECTORS + fast * TRANSPORT_PARTS);
    float *a = shared + args->pitch, *b = a + args->pitch;
    solve(args, &r, a, b, 0, b + args->pitch, fast);
    for (int i = warp_x(); i < args->w; i += WARPS) {
        int k;
        float inside = find_largest(args, &r, i, b, &k), share = 1 / (inside + b[args->w]);
        float p = near_largest(args, &r, i, k, b, share);
        float near = warp_sum(p), moment = warp_sum((float)(lane_x() - 2) * p);
        if (lane_x()) continue;
        const i64 at = (i64)block_x() * args->w + i;
        /* i - (k near + moment + eps)/(near + eps) */
        args->disparity[at] = (float)(i - k) - (moment + ARGMAX_EPS * (float)(1 - k)) / (near + ARGMAX_EPS);
        args->confidence[at] = near;
        args->occlusion[at] = inside * share;
    }
}

KERNEL_BLOCKS(transport_plain, 32 * WARPS, 1, TransportArgs, args) {
    SHARED_REST(float, shared);
    transport_results(&args, shared, 0);
}
KERNEL_BLOCKS(transport_fast, 32 * WARPS, 1, TransportArgs, args) {
    SHARED_REST(float, shared);
    transport_results(&args, shared, 1);
}

/* ---- masses in windows, and the gradient: formulas in tensor/ops/transport_gradient.c ---- */

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
        if (lane_x() == 0) args->mass[(i64)block_x() * t->w + i] = some / (all + b[t->w]);
    }
}

KERNEL_BLOCKS(transport_mass_plain, 32 * WARPS, 1, TransportBackArgs, args) {
    SHARED_REST(float, shared);
    mass_results(&args, shared, 0);
}
KERNEL_BLOCKS(transport_mass_fast, 32 * WARPS, 1, TransportBackArgs, args) {
    SHARED_REST(float, shared);
    mass_results(&args, shared, 1);
}

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
KERNEL_BLOCKS(transport_backward_fast, 32 * WARPS, 1, TransportBackArgs, args) {
    SHARED_REST(float, shared);
    backward_results(&args, shared, 1);
}
