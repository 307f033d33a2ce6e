/* cuda/kernels/attention.cu - attention by heads in f32, with and without S2M2's relative position term. The plain rung
 * of the ladder: it says what is computed.
 *
 *   s_j = scale q . k_j,  A_j = exp(s_j - max s) / sum of exp(s_k - max s),  o = sum of A_j v_j
 *   with the relative term: o += W (sum of A_j P_j) + b,  P_j = 1/2 [T_x[x - x_j + w - 1], T_y[y - y_j + h - 1]]
 *
 * Computes 6 keys x width flops a query and head (scores are formed twice), 4 more for each further 128 columns of a
 * head. Reads keys and values once a query: it is for small things and for comparison. The result is NaN where a score
 * is NaN or +infinity, and where all are -infinity. */
#include "cuda/device/pointwise.h"
#include "cuda/device/value.h"
#include "cuda/kernels/attention.h"

#define PLAIN_WARPS 4
#define PLAIN_COLUMNS 4 /* of each lane at a time */

DEVICE void store(float v, i64 row, i64 column, const AttentionArgs *a) {
#ifdef REGION_GENERATED
    region(row, column, v, &a->places);
#else
    ((Result *)a->o)[row * a->heads * a->width + column] = f32_result(v);
#endif
}

DEVICE float score_of(const float *q, const Value *k, int width) {
    float sum = 0;
    UNROLL_BY(4)
    for (int c = 0; c < width; c++) sum = fma_f32(q[c], value_f32(k[c]), sum);
    return sum;
}

/* Element `lane` of P for a query and a key. */
DEVICE float position_of(const Relative *r, int query, int key, int lane) {
    if (lane < ATTENTION_PE_HALF)
        return 0.5f * r->table_x[(query % r->w - key % r->w + r->w - 1) * ATTENTION_PE_HALF + lane];
    return 0.5f * r->table_y[(query / r->w - key / r->w + r->h - 1) * ATTENTION_PE_HALF + lane - ATTENTION_PE_HALF];
}

/* A warp a query and head. SHARED_REST: for each warp the query (it may be overwritten while it is still needed) and
 * the weights of 32 keys. grid: batches x queries x heads / 4 */
KERNEL_BLOCKS(attention_plain, PLAIN_WARPS * 32, 8, AttentionArgs, a) {
    SHARED_REST(float, rest);
    int at = block_x() * PLAIN_WARPS + warp_x(), row = at / a.heads, queries = (int)a.queries, keys = (int)a.keys;
    int batch = row / queries, query = row - batch * queries, other = (batch + a.shift) % (int)a.batches;
    int column = (at - row * a.heads) * a.width, lane = lane_x();
    if (batch >= a.batches) return; /* the whole warp; blocks do not meet */
    float *weights = rest + warp_x() * 32, *q = rest + PLAIN_WARPS * 32 + warp_x() * a.width;
    const Value *query_at = (const Value *)a.q.at + batch * a.q.batch + query * a.q.row + column;
    const Value *k = (const Value *)a.k.at + other * a.k.batch + column;
    const Value *v = (const Value *)a.v.at + other * a.v.batch + column;
    for (int c = lane; c < a.width; c += 32) q[c] = value_f32(query_at[c]) * a.scale;
    warp_sync();
    float largest = bits_f32(0xff800000u); /* -infinity */
    for (int j = lane; j < keys; j += 32) largest = max_f32(largest, score_of(q, k + j * a.k.row, a.width));
    largest = warp_max(largest);
    for (int first = 0; first < a.width; first += 32 * PLAIN_COLUMNS) {
        float total = 0, position = 0, sum[PLAIN_COLUMNS];
        UNROLL
        for (int n = 0; n < PLAIN_COLUMNS; n++) sum[n] = 0;
        for (int j0 = 0; j0 < keys; j0 += 32) {
            float weight = j0 + lane < keys ? exp_f32(score_of(q, k + (j0 + lane) * a.k.row, a.width) - largest) : 0;
            total += weight;
            weights[lane] = weight;
            warp_sync();
            UNROLL_BY(1)
            for (int i = 0; i < 32 && j0 + i < keys; i++) {
                const Value *value = v + (j0 + i) * a.v.row;
                UNROLL
                for (int n = 0; n < PLAIN_COLUMNS; n++) {
                    int c = first + n * 32 + lane;
                    if (c < a.width) sum[n] = fma_f32(weights[i], value_f32(value[c]), sum[n]);
                }
                if (a.relative.h)
                    position = fma_f32(weights[i], position_of(&a.relative, query, j0 + i, lane), position);
            }
            warp_sync(); /* the weights have been used */
        }
        total = warp_sum(total);
        if (a.relative.h) weights[lane] = position / total;
        warp_sync();
        UNROLL
        for (int n = 0; n < PLAIN_COLUMNS; n++) {
            int c = first + n * 32 + lane;
            if (c >= a.width) continue;
            float value = sum[n] / total;
            UNROLL_BY(1)
            for (int d = 0; a.relative.h && d < ATTENTION_PE_WIDTH; d++)
                value = fma_f32(a.relative.weight[c * ATTENTION_PE_WIDTH + d], weights[d], value);
            if (a.relative.h) value += a.relative.bias[c];
            store(value, row, column + c, &a);
        }
        warp_sync(); /* the position has been used */
    }
}
