/* cuda/device/sinkhorn.h - the iterations of optimal transport over a row of a correlation volume, by a block, and the
 * largest of each row of the plan: always f32. The problem stands in tensor/ops/transport.c; that the iterations need
 * no logarithms and no sum can underflow, in transport_kernels.h.
 *
 * Here the dustbins are row w and column w of one matrix, with marginals m = 1, and w at the dustbins:
 *   E_ij = exp(S_ij - c_j), c_j = max(0, max_i S_ij), c_w = 0, S = 0 in a dustbin; 0 where masked
 *   a = 1; repeat: b_j = m_j / sum_i a_i E_ij;  a_i = m_i / sum_j E_ij b_j        (i and j from 0 to w)
 * and p_ij = a_i E_ij b_j. The last a is taken with the results, and not of the dustbin.
 *
 * Two forms. On chip: E lies in shared memory, so the scores come twice (the second time from L2) and each element
 * costs one exponential. Streamed: E is made anew from the scores whenever it is read, an exponential for each value
 * from L2, which costs an SM about what the value does; nothing but vectors lies in shared memory. Sums run in one
 * order in both forms.
 *
 * The plain rung reads E twice an iteration: a warp a row for sums over columns, a thread a column for sums over rows.
 * The fast one reads it once: a warp takes a row into registers, sums it to a_i, and adds a_i E_ij to sums by column,
 * which are in registers as well, of its rows; the warps' sums are added at the end in a fixed order. It knows the
 * width, in units of 32 columns, as COLUMNS. Should compute 4 flops an element and iteration; should read the scores
 * twice and E T times after that (the plain rung: 2 T), from shared memory or, with an exponential each, from L2. */
#ifndef PANUM_CUDA_DEVICE_SINKHORN_H
#define PANUM_CUDA_DEVICE_SINKHORN_H
#include "cuda/device/device.h"
#include "cuda/kernels/transport.h"

#define ARGMAX_EPS 1e-4f
#ifndef COLUMNS
#define COLUMNS 16
#endif
#ifndef WARPS
#define WARPS 16 /* of a block */
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
    for (int turn = 0; turn < WARPS / TRANSPORT_PARTS; turn++) {
        UNROLL
        for (int k = 0; k < COLUMNS; k++) {
            if (warp_x() / TRANSPORT_PARTS != turn || lane_x() + 32 * k >= a->pitch) continue;
            if (turn == 0)
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
#endif
