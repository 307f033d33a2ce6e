/* cuda/kernels/attention_back.cu - the gradient of attention by heads, with and without the relative term. The plain
 * rung: it says what is computed, in f32 whatever tokens and results are in memory. With A and P as in attention.cu and
 * do the gradient of its result:
 *
 *   dA_ij = do_i . v_j + (W^T do_i) . P_ij       (the second term with the relative term only)
 *   dS_ij = scale A_ij (dA_ij - sum over k of A_ik dA_ik)
 *   dq_i = sum_j dS_ij k_j,  dk_j = sum_i dS_ij q_i,  dv_j = sum_i A_ij do_i
 *   dW = sum over i of do_i (sum_j A_ij P_ij)^T,  db = sum of do_i
 *
 * One kernel goes over the queries and leaves for each of them what A and dS are made from; a second one gathers over
 * the keys, a third over everything for W and b. Nothing is scattered: a run repeats bit for bit. Forward keeps
 * nothing. Computes 18 queries x keys x width flops a head (nine products), 8 more for each further 128 columns. */
#include "cuda/device/value.h"
#include "cuda/kernels/attention.h"

#define WARPS 4
#define COLUMNS 4 /* of each lane at a time */

DEVICE float dot_values(const Value *x, const Value *y, int n) {
    float sum = 0;
    UNROLL_BY(4)
    for (int c = 0; c < n; c++) sum = fma_f32(value_f32(x[c]), value_f32(y[c]), sum);
    return sum;
}

DEVICE float dot(const float *x, const float *y, int n) {
    float sum = 0;
    UNROLL_BY(4)
    for (int c = 0; c < n; c++) sum = fma_f32(x[c], y[c], sum);
    return sum;
}

/* pull . P for a query and a key */
DEVICE float pull_of(const Relative *r, const float *pull, int query, int key) {
    const float *x = r->table_x + (query % r->w - key % r->w + r->w - 1) * ATTENTION_PE_HALF;
    const float *y = r->table_y + (query / r->w - key / r->w + r->h - 1) * ATTENTION_PE_HALF;
    return 0.5f * (dot(pull, x, ATTENTION_PE_HALF) + dot(pull + ATTENTION_PE_HALF, y, ATTENTION_PE_HALF));
}

/* Element `lane` of P. */
DEVICE float position_of(const Relative *r, int query, int key, int lane) {
    int half = lane & (ATTENTION_PE_HALF - 1);
    if (lane < ATTENTION_PE_HALF)
        return 0.5f * r->table_x[(query % r->w - key % r->w + r->w - 1) * ATTENTION_PE_HALF + half];
    return 0.5f * r->table_y[(query / r->w - key / r->w + r->h - 1) * ATTENTION_PE_HALF + half];
}

/* A warp a query and head. grid: batches x heads x queries / 4 */
KERNEL(attention_back_queries, WARPS * 32, AttentionBackArgs, a) {
    SHARED(float, all, WARPS * 64);
    float *slope = all + warp_x() * 64, *pull = slope + 32;
    int queries = (int)a.queries, keys = (int)a.keys, lane = lane_x(), at = block_x() * WARPS + warp_x();
    int pair = at / queries, query = at - pair * queries, batch = pair / a.heads;
    int other = (batch + a.shift) % (int)a.batches, column = (pair - batch * a.heads) * a.width;
    if (batch >= a.batches) return; /* the whole warp; blocks do not meet */
    const Value *q = (const Value *)a.q.at + batch * a.q.batch + query * a.q.row + column;
    const Value *d_out = (const Value *)a.d_out.at + batch * a.d_out.batch + query * a.d_out.row + column;
    const Value *k = (const Value *)a.k.at + other * a.k.batch + column,
                *v = (const Value *)a.v.at + other * a.v.batch + column;
    if (a.relative.h) {
        float sum = 0;
        for (int c = 0; c < a.width; c++)
            sum = fma_f32(value_f32(d_out[c]), a.relative.weight[c * ATTENTION_PE_WIDTH + lane], sum);
        pull[lane] = a.pull[(i64)at * ATTENTION_PE_WIDTH + lane] = sum;
    }
    warp_sync();
    float most = bits_f32(0xff800000u), total = 0, mean = 0, position = 0; /* -infinity */
    for (int j = lane; j < keys; j += 32) most = max_f32(most, a.scale * dot_values(q, k + j * a.k.row, a.width));
    most = warp_max(most);
    for (int j = lane; j < keys; j += 32) {
        float weight = exp_f32(a.scale * dot_values(q, k + j * a.k.row, a.width) - most);
        float slope_of_weight = dot_values(d_out, v + j * a.v.row, a.width);
        if (a.relative.h) slope_of_weight += pull_of(&a.relative, pull, query, j);
        total += weight;
        mean = fma_f32(weight, slope_of_weight, mean);
    }
    float share = 1 / warp_sum(total);
    mean = warp_sum(mean) * share;
    if (lane == 0) {
        a.most[at] = most;
        a.share[at] = share;
        a.mean[at] = mean;
    }
    for (int first = 0; first < a.width; first += 32 * COLUMNS) {
        float sum[COLUMNS];
        UNROLL
        for (int n = 0; n < COLUMNS; n++) sum[n] = 0;
        for (int j0 = 0; j0 < keys; j0 += 32) {
            int j = j0 + lane;
            float weight = 0;
            slope[lane] = 0;
            if (j < keys) {
                weight = share * exp_f32(a.scale * dot_values(q, k + j * a.k.row, a.width) - most);
                float slope_of_weight = dot_values(d_out, v + j * a.v.row, a.width);
                if (a.relative.h) slope_of_weight += pull_of(&a.relative, pull, query, j);
                slope[lane] = a.scale * weight * (slope_of_weight - mean);
            }
            warp_sync();
            UNROLL_BY(1)
            for (int i = 0; i < 32 && j0 + i < keys; i++) {
                const Value *key = k + (j0 + i) * a.k.row;
                UNROLL
                for (int n = 0; n < COLUMNS; n++) {
                    int c = first + n * 32 + lane;
                    if (c < a.width) sum[n] = fma_f32(slope[i], value_f32(key[c]), sum[n]);
                }
            }
            warp_sync(); /* the slopes have been used */
            if (!a.relative.h || first) continue;
            slope[lane] = weight;
            warp_sync();
            UNROLL_BY(1)
            for (int i = 0; i < 32 && j0 + i < keys; i++)
                position = fma_f32(slope[i], position_of(&a.relative, query, j0 + i, lane), position);
            warp_sync();
        }
        UNROLL
        for (int n = 0; n < COLUMNS; n++) {
            int c = first + n * 32 + lane;
            i64 to = (batch * a.queries + query) * a.heads * a.width + column + c;
            if (c < a.width) ((Result *)a.dq)[to] = f32_result(sum[n]);
        }
    }
    if (a.relative.h) a.position[(i64)at * ATTENTION_PE_WIDTH + lane] = position;
}

/* A warp a key and head. grid: batches x heads x keys / 4 */
KERNEL(attention_back_keys, WARPS * 32, AttentionBackArgs, a) {
    SHARED(float, all, WARPS * 64);
    float *weights = all + warp_x() * 64, *slope = weights + 32;
    int queries = (int)a.queries, keys = (int)a.keys, lane = lane_x(), at = block_x() * WARPS + warp_x();
    int pair = at / keys, key = at - pair * keys, batch = pair / a.heads, head = pair - batch * a.heads;
    int other = (batch + (int)a.batches - a.shift) % (int)a.batches, column = head * a.width;
    if (batch >= a.batches) return; /* the whole warp; blocks do not meet */
    const Value *q = (const Value *)a.q.at + other * a.q.batch + column,
                *d_out = (const Value *)a.d_out.at + other * a.d_out.batch + column;
    const Value *k = (const Value *)a.k.at + batch * a.k.batch + key * a.k.row + column;
    const Value *v = (const Value *)a.v.at + batch * a.v.batch + key * a.v.row + column;
    i64 first_query = (i64)(other * a.heads + head) * queries;
    for (int first = 0; first < a.width; first += 32 * COLUMNS) {
        float dk[COLUMNS], dv[COLUMNS];
        UNROLL
        for (int n = 0; n < COLUMNS; n++) dk[n] = dv[n] = 0;
        for (int i0 = 0; i0 < queries; i0 += 32) {
            int i = i0 + lane;
            weights[lane] = slope[lane] = 0;
            if (i < queries) {
                i64 row = first_query + i;
                float weight = a.share[row] * exp_f32(a.scale * dot_values(q + i * a.q.row, k, a.width) - a.most[row]);
                float slope_of_weight = dot_values(d_out + i * a.d_out.row, v, a.width);
                if (a.relative.h) slope_of_weight += pull_of(&a.relative, a.pull + row * ATTENTION_PE_WIDTH, i, key);
                weights[lane] = weight;
                slope[lane] = a.scale * weight * (slope_of_weight - a.mean[row]);
            }
            warp_sync();
            UNROLL_BY(1)
            for (int r = 0; r < 32 && i0 + r < queries; r++) {
                UNROLL
                for (int n = 0; n < COLUMNS; n++) {
                    int c = first + n * 32 + lane;
                    if (c >= a.width) continue;
                    dk[n] = fma_f32(slope[r], value_f32(q[(i0 + r) * a.q.row + c]), dk[n]);
                    dv[n] = fma_f32(weights[r], value_f32(d_out[(i0 + r) * a.d_out.row + c]), dv[n]);
                }
            }
            warp_sync(); /* they have been used */
        }
        UNROLL
        for (int n = 0; n < COLUMNS; n++) {
            int c = first + n * 32 + lane;
            i64 to = (batch * a.keys + key) * a.heads * a.width + column + c;
            if (c >= a.width) continue;
            ((Result *)a.dk)[to] = f32_result(dk[n]);
            ((Result *)a.dv)[to] = f32_result(dv[n]);
        }
    }
}

/* A block a row of dW and its element of db: its eight warps take every eighth query of all heads and batches, and
 * their sums are added in order. grid: width */
KERNEL(attention_back_position, 256, AttentionBackArgs, a) {
    SHARED(float, weights, 256);
    SHARED(float, biases, 8);
    int lane = lane_x(), queries = (int)a.queries, rows = (int)a.batches * a.heads * queries;
    float weight = 0, bias = 0;
    for (int row = warp_x(); row < rows; row += 8) {
        int pair = row / queries, query = row - pair * queries, batch = pair / a.heads;
        int column = (pair - batch * a.heads) * a.width + block_x();
        float d = value_f32(((const Value *)a.d_out.at)[batch * a.d_out.batch + query * a.d_out.row + column]);
        weight = fma_f32(d, a.position[(i64)row * ATTENTION_PE_WIDTH + lane], weight);
        bias += d;
    }
    weights[thread_x()] = weight;
    if (lane == 0) biases[warp_x()] = bias;
    block_sync();
    if (warp_x()) return; /* the whole warp; nobody waits again */
    for (int n = 1; n < 8; n++) {
        weight += weights[n * 32 + lane];
        bias += biases[n];
    }
    a.d_weight[block_x() * ATTENTION_PE_WIDTH + lane] = weight;
    if (lane == 0) a.d_bias[block_x()] = bias;
}
