/* cuda/kernels/attention_back_mma.cu - the gradient of attention by heads of half-size numbers on the tensor cores,
 * without the relative term: the fast rung of attention_back.cu for f16 or bf16 (-DHALF_IS_F16, -DHALF_IS_BF16). For
 * -DWIDTH columns of a head, a multiple of 16 up to 128, and -DPIECES where tokens can be copied by 16 bytes.
 *
 * Over the queries, 64 a block and 16 a warp, twice over all keys: first the largest score, the sum of weights and the
 * mean of dA, as they run; then dq_i = scale sum_j A_ij (dA_ij - mean_i) k_j. Over the keys, 64 a block, once over all
 * queries: dv_j = sum_i A_ij do_i, dk_j = scale sum_i A_ij (dA_ij - mean_i) q_i. Scores and dA stay in registers; what
 * a product leaves there the next one takes as its left operand. `most` is to base 2: A = share 2^(scale log2(e) q . k
 * - most).
 *
 * Computes 18 queries x keys x width flops a head on the tensor cores (nine products, as attention_back_tiled.cu) and 3
 * exponentials for a score. Sums are f32. A and A (dA - mean) are rounded to half size as operands, results once more:
 * below 2^-10 (f16) or 2^-7 (bf16) of what is summed. In f16 a weight below 2^-25 is 0, and an A (dA - mean) beyond
 * 65,504 infinite, which a loss scale sees. */
#ifndef WIDTH /* compiled by itself, as a test does */
#define WIDTH 32
#define PIECES
#define HALF_IS_F16
#define STORE_HALF
#endif
#include "cuda/device/value.h"
#include "cuda/kernels/attention.h"

#define THREADS 128
#define ROWS ATTENTION_MMA_QUERIES
#define KEYS ATTENTION_BACK_MMA_KEYS(WIDTH) /* or queries, of a tile */
#include "cuda/device/attend_mma.h"

#define LOG2_E 1.44269504f
#define BLOCKS (WIDTH > 32 ? 2 : 3)

DEVICE void clear(float s[KEYS / 8][4]) {
    UNROLL
    for (int n = 0; n < KEYS / 8; n++) {
        UNROLL
        for (int i = 0; i < 4; i++) s[n][i] = 0;
    }
}

DEVICE void clear_sums(float o[WIDTH / 8][4]) {
    UNROLL
    for (int n = 0; n < WIDTH / 8; n++) {
        UNROLL
        for (int i = 0; i < 4; i++) o[n][i] = 0;
    }
}

/* s = this warp's 16 rows of `left` times `right`^T */
DEVICE void score(float s[KEYS / 8][4], const u16 *left, const u16 *right) {
    clear(s);
    UNROLL_BY(2)
    for (int c = 0; c < DEPTHS; c++) {
        u32 part[4];
        load_left(part, left + warp_x() * 16 * PITCH + 16 * c);
        add_scores(s, part, right + 16 * c);
    }
}

/* o += s v, s rounded to half size */
DEVICE void add_weighted(float o[WIDTH / 8][4], float s[KEYS / 8][4], const u16 *v) {
    UNROLL
    for (int n = 0; n < KEYS / 16; n++) {
        u32 left[4] = {two_halves(s[2 * n][0], s[2 * n][1]), two_halves(s[2 * n][2], s[2 * n][3]),
                       two_halves(s[2 * n + 1][0], s[2 * n + 1][1]), two_halves(s[2 * n + 1][2], s[2 * n + 1][3])};
        add_values(o, left, v + 16 * n * PITCH);
    }
}

/* Sums of this lane's two rows from `first` on, times `by`. */
DEVICE void store_rows(void *to, float o[WIDTH / 8][4], float by, i64 batch, i64 count, int first, int column,
                       const AttentionBackArgs *a) {
    UNROLL
    for (int half = 0; half < 2; half++) {
        int row = first + warp_x() * 16 + lane_x() / 4 + 8 * half;
        UNROLL
        for (int n = 0; n < WIDTH / 8; n++) {
            UNROLL
            for (int i = 0; i < 2; i++) {
                int c = 8 * n + lane_x() % 4 * 2 + i;
                if (row < count && c < a->width)
                    ((Result *)to)[(batch * count + row) * a->heads * a->width + column + c] =
                        f32_result(o[n][2 * half + i] * by);
            }
        }
    }
}

/* ---- over the queries ---- */

/* The first time: the running maximum, and sums of weights and of weights times dA that fade with it. Half 0 is this
 * lane's first row, half 1 its second; `here`: keys there are, from this lane's first on. */
DEVICE void add_to_mean(float s[KEYS / 8][4], float d[KEYS / 8][4], float *most, float *total, float *mean, int half,
                        int here, float by) {
    float largest = MINUS_INFINITY;
    UNROLL
    for (int n = 0; n < KEYS / 8; n++) {
        UNROLL
        for (int i = 0; i < 2; i++) {
            if (8 * n + i >= here) s[n][2 * half + i] = MINUS_INFINITY;
            largest = max_f32(largest, s[n][2 * half + i]);
        }
    }
    largest = max_f32(*most, four_max(largest) * by);
    float shift = largest == MINUS_INFINITY ? 0 : largest; /* weights are then 0, not 0/0 */
    float fade = exp2_fast_f32(*most - shift), sum = *total * fade, product = *mean * fade;
    *most = largest;
    UNROLL
    for (int n = 0; n < KEYS / 8; n++) {
        UNROLL
        for (int i = 0; i < 2; i++) {
            float weight = exp2_fast_f32(s[n][2 * half + i] * by - shift);
            sum += weight;
            product = fma_f32(weight, d[n][2 * half + i], product);
        }
    }
    *total = sum;
    *mean = product;
}

/* grid: batches x heads x blocks of 64 queries, the last running fastest */
KERNEL_BLOCKS(attention_back_queries, THREADS, BLOCKS, AttentionBackArgs, a) {
    SHARED_REST(u16, q); /* queries, do, keys, values */
    u16 *d_out = q + ROWS * PITCH, *k = d_out + ROWS * PITCH, *v = k + KEYS * PITCH;
    int blocks = (int)((a.queries + ROWS - 1) / ROWS), pair = block_x() / blocks, batch = pair / a.heads;
    int other = (batch + a.shift) % (int)a.batches, column = (pair - batch * a.heads) * a.width;
    int first = (block_x() - pair * blocks) * ROWS, queries = (int)a.queries, keys = (int)a.keys, lane = lane_x();
    int tiles = (keys + KEYS - 1) / KEYS;
    float by = a.scale * LOG2_E;
    Side tq = side_of(a.q, batch, column), td = side_of(a.d_out, batch, column);
    Side tk = side_of(a.k, other, column), tv = side_of(a.v, other, column);
    float dq[WIDTH / 8][4], most[2] = {MINUS_INFINITY, MINUS_INFINITY}, total[2] = {0, 0}, mean[2] = {0, 0};
    clear_sums(dq);
    fetch(q, ROWS, tq, first, queries, a.width);
    fetch(d_out, ROWS, td, first, queries, a.width);
    fetch(k, KEYS, tk, 0, keys, a.width);
    copy_commit();
    for (int n = 0; n < 2 * tiles; n++) {
        float s[KEYS / 8][4], d[KEYS / 8][4];
        int second = n >= tiles, j = (second ? n - tiles : n) * KEYS, here = keys - j - lane % 4 * 2;
        fetch(v, KEYS, tv, j, keys, a.width);
        copy_commit();
        copy_wait(1);
        block_sync(); /* queries, do and keys are there */
        score(s, q, k);
        copy_wait(0);
        block_sync(); /* the values are there */
        score(d, d_out, v);
        if (!second) {
            add_to_mean(s, d, &most[0], &total[0], &mean[0], 0, here, by);
            add_to_mean(s, d, &most[1], &total[1], &mean[1], 1, here, by);
        } else {
            UNROLL
            for (int m = 0; m < KEYS / 8; m++) {
                UNROLL
                for (int e = 0; e < 4; e++) {
                    float weight = total[e / 2] * exp2_fast_f32(s[m][e] * by - most[e / 2]);
                    s[m][e] = 8 * m + e % 2 < here ? weight * (d[m][e] - mean[e / 2]) : 0;
                }
            }
            add_weighted(dq, s, k);
        }
        if (n == tiles - 1) {
            UNROLL
            for (int half = 0; half < 2; half++) {
                int row = warp_x() * 16 + lane / 4 + 8 * half;
                i64 at = (i64)pair * queries + first + row;
                total[half] = 1 / four_sum(total[half]);
                mean[half] = four_sum(mean[half]) * total[half];
                if (lane % 4 || first + row >= queries) continue;
                a.most[at] = most[half];
                a.share[at] = total[half];
                a.mean[at] = mean[half];
            }
        }
        block_sync(); /* keys and values have been used */
        if (n + 1 < 2 * tiles) fetch(k, KEYS, tk, (n + 1) % tiles * KEYS, keys, a.width);
        copy_commit();
    }
    copy_wait(0); /* of nothing, but every copy is waited for */
    store_rows(a.dq, dq, a.scale, batch, a.queries, first, column, &a);
}

/* ---- over the keys ---- */

/* grid: batches x heads x blocks of 64 keys, the last running fastest */
KERNEL_BLOCKS(attention_back_keys, THREADS, BLOCKS, AttentionBackArgs, a) {
    SHARED_REST(u16, k); /* keys, values, queries, do */
    u16 *v = k + ROWS * PITCH, *q = v + ROWS * PITCH, *d_out = q + KEYS * PITCH;
    int blocks = (int)((a.keys + ROWS - 1) / ROWS), pair = block_x() / blocks, batch = pair / a.heads;
    int other = (batch + (int)a.batches - a.shift) % (int)a.batches, head = pair - batch * a.heads;
    int column = head * a.width, first = (block_x() - pair * blocks) * ROWS, lane = lane_x();
    int queries = (int)a.queries, keys = (int)a.keys;
    float by = a.scale * LOG2_E;
    i64 row0 = (i64)(other * a.heads + head) * queries; /* of the queries' numbers */
    Side tq = side_of(a.q, other, column), td = side_of(a.d_out, other, column);
    Side tk = side_of(a.k, batch, column), tv = side_of(a.v, batch, column);
    float dk[WIDTH / 8][4], dv[WIDTH / 8][4];
    clear_sums(dk);
    clear_sums(dv);
    fetch(k, ROWS, tk, first, keys, a.width);
    fetch(v, ROWS, tv, first, keys, a.width);
    fetch(q, KEYS, tq, 0, queries, a.width);
    copy_commit();
    for (int i = 0; i < queries; i += KEYS) {
        float s[KEYS / 8][4], d[KEYS / 8][4];
        fetch(d_out, KEYS, td, i, queries, a.width);
        copy_commit();
        copy_wait(1);
        block_sync(); /* keys, values and queries are there */
        score(s, k, q);
        copy_wait(0);
        block_sync(); /* do is there */
        score(d, v, d_out);
        UNROLL
        for (int m = 0; m < KEYS / 8; m++) { /* s becomes A, d becomes A (dA - mean) */
            UNROLL
            for (int c = 0; c < 2; c++) {
                int query = i + 8 * m + lane % 4 * 2 + c;
                float most = 0, share = 0, mean = 0;
                if (query < queries)
                    most = a.most[row0 + query], share = a.share[row0 + query], mean = a.mean[row0 + query];
                UNROLL
                for (int e = c; e < 4; e += 2) {
                    s[m][e] = query < queries ? share * exp2_fast_f32(s[m][e] * by - most) : 0;
                    d[m][e] = query < queries ? s[m][e] * (d[m][e] - mean) : 0;
                }
            }
        }
        add_weighted(dv, s, d_out);
        add_weighted(dk, d, q);
        block_sync(); /* queries and do have been used */
        if (i + KEYS < queries) fetch(q, KEYS, tq, i + KEYS, queries, a.width);
        copy_commit();
    }
    copy_wait(0); /* of nothing, but every copy is waited for */
    store_rows(a.dk, dk, a.scale, batch, a.keys, first, column, &a);
    store_rows(a.dv, dv, 1, batch, a.keys, first, column, &a);
}
