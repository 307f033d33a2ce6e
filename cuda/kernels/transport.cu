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
 * from L2, which costs an SM about what the value does; nothing but vectors lies in shared memory, so several rows
 * share an SM. Sums run in one order in both forms, so they agree to the last bit.
 *
 * The plain rung reads E twice an iteration: a warp a row for sums over columns, a thread a column for sums over rows.
 * Computes 4 flops an element, iteration and side. */
#include "cuda/device/device.h"
#include "cuda/kernels/transport.h"

#define ARGMAX_EPS 1e-4f
#define WARPS 8 /* of a block */

typedef struct {
    const float *s; /* scores of this image row */
    float *c, *e;   /* e: NULL in the streamed form */
} Row;

/* Vectors in shared memory: c, then what the kernel wants, then E. */
DEVICE Row row_of(const TransportArgs *a, float *shared, int vectors) {
    Row r = {a->scores + block_x() / a->h * a->pair + block_x() % a->h * a->row, shared,
             a->on_chip ? shared + vectors * a->pitch : 0};
    return r;
}

/* i and j below w, not masked */
DEVICE float entry(const TransportArgs *a, const Row *r, int i, int j) {
    return r->e ? r->e[i * a->w + j] : exp_f32(r->s[i * a->line + j] - r->c[j]);
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
        for (int i = column_start(a, j); r->e && i < a->w && j < a->w; i++)
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

KERNEL(transport_plain, 32 * WARPS, TransportArgs, args) {
    SHARED_REST(float, shared);
    Row r = row_of(&args, shared, 3);
    float *a = shared + args.pitch, *b = a + args.pitch;
    take_e(&args, &r);
    iterate(&args, &r, a, b, 0);
    for (int i = warp_x(); i < args.w; i += WARPS) {
        int k;
        float inside = find_largest(&args, &r, i, b, &k), share = 1 / (inside + b[args.w]);
        float p = near_largest(&args, &r, i, k, b, share);
        float near = warp_sum(p), moment = warp_sum((float)(lane_x() - 2) * p);
        if (lane_x()) continue;
        i64 at = (i64)block_x() * args.w + i;
        /* i - (k near + moment + eps)/(near + eps) */
        args.disparity[at] = (float)(i - k) - (moment + ARGMAX_EPS * (float)(1 - k)) / (near + ARGMAX_EPS);
        args.confidence[at] = near;
        args.occlusion[at] = inside * share;
    }
}
