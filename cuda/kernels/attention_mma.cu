/* cuda/kernels/attention_mma.cu - attention by heads of half-size numbers on the tensor cores: products of f16 or bf16
 * (-DHALF_IS_F16, -DHALF_IS_BF16), everything else in f32. For -DWIDTH columns of a head, a multiple of 16 up to 256
 * or of 32 up to 512, and -DPIECES where tokens can be copied by 16 bytes.
 *
 * A block takes 64 queries of a head, a warp 16 of them; keys come 64 at a time (32 above 128 columns), values beside
 * them, and while one of the two is used the other is on its way. Scores, weights and results stay in registers: the
 * registers in which a product leaves scores are those in which the next one takes weights (Dao et al. 2022).
 * Above 256 columns a block takes 32 queries: two warps form the scores of the same 16, and each holds half of the
 * columns of their results, which is what registers have room for.
 *
 * Computes 4 queries x keys x width flops a head on the tensor cores, 6 above 256 columns, and an exponential for each
 * score. Reads queries once, keys and values once a block: 1/32 of a byte from L2 for a flop. The relative term
 * (-DRELATIVE; attend_grid.h) adds each weight to two sums on the ordinary units: 2 queries x keys additions a head,
 * from shared memory. Scores are sums of exact products in f32; weights, at most 1, and results are rounded once:
 * against exact attention of the same half-size q, k, v the error is below 2^-10 (f16) or 2^-7 (bf16) of the largest
 * |v|, and what sums in f32 add. A weight below 2^-25 in f16 is 0.
 *
 * NaN where a score is NaN or +infinity, and where all are -infinity, as in attention.cu. */
#ifndef WIDTH /* compiled by itself, as a test does */
#define WIDTH 64
#define PIECES
#define HALF_IS_F16
#define STORE_HALF
#endif
#include "cuda/device/pointwise.h"
#include "cuda/device/value.h"
#include "cuda/kernels/attention.h"
#ifdef RELATIVE
#include "cuda/device/attend_grid.h"
#endif

#ifndef BLOCKS /* sm_75 wants 2 above 96 columns: its copies go through registers */
#ifdef RELATIVE
#define BLOCKS (WIDTH > 64 ? 2 : 3)
#else
#define BLOCKS (WIDTH > 128 ? 2 : 3)
#endif
#endif
#define PARTS ATTENTION_MMA_PARTS(WIDTH)
#define OWN (WIDTH / PARTS)
#define QUERIES ATTENTION_MMA_ROWS(WIDTH)
#define THREADS 128
#define KEYS ATTENTION_MMA_KEYS(WIDTH)
#include "cuda/device/attend_mma.h"

#define STAGE_PITCH (WIDTH + 4) /* of results in f32 */

DEVICE void store(float v, i64 row, i64 column, const AttentionArgs *a) {
#ifdef REGION_GENERATED
    region(row, column, v, &a->places);
#else
    ((Result *)a->o)[row * a->heads * a->width + column] = f32_result(v);
#endif
}

/* A row's weights and what sums before them fade by, to shared memory: for the relative term. */
#ifdef RELATIVE
#define WEIGHT_PITCH ATTENTION_MMA_WEIGHT_PITCH(WIDTH)
DEVICE void leave_weights(float *p, float s[KEYS / 8][4], int half, float fade) {
    int lane = lane_x();
    UNROLL
    for (int n = 0; n < KEYS / 8; n++) {
        UNROLL
        for (int i = 0; i < 2; i++) p[8 * n + lane % 4 * 2 + i] = s[n][2 * half + i];
    }
    if (lane % 4 == 0) p[KEYS] = fade;
}
#endif

/* Scores of the first (half 0: elements 0 and 1) or second row (half 1: 2 and 3) of this lane become weights to the
 * largest so far; what was summed before fades, by what is returned. `here`: keys there are, from this lane's first on.
 */
DEVICE float soften(float s[KEYS / 8][4], float o[OWN / 8][4], float *most, float *total, int half, int here,
                    float by) {
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
    float fade = exp2_fast_f32(*most - shift), sum = *total * fade;
    *most = largest;
    UNROLL
    for (int n = 0; n < KEYS / 8; n++) {
        UNROLL
        for (int i = 0; i < 2; i++) {
            s[n][2 * half + i] = exp2_fast_f32(s[n][2 * half + i] * by - shift);
            sum += s[n][2 * half + i];
        }
    }
    *total = sum;
    UNROLL
    for (int n = 0; n < OWN / 8; n++) {
        o[n][2 * half] *= fade;
        o[n][2 * half + 1] *= fade;
    }
    return fade;
}

/* grid: batches x heads x blocks of QUERIES, the last running fastest */
KERNEL_BLOCKS(attention_mma, THREADS, BLOCKS, AttentionArgs, a) {
    SHARED_REST(u16, q); /* the queries, then the keys, then the values; in the end the results in their place */
    SHARED_REST(float, stage);
    u16 *k = q + QUERIES * PITCH, *v = k + KEYS * PITCH;
    int blocks = (int)((a.queries + QUERIES - 1) / QUERIES), pair = block_x() / blocks, batch = pair / a.heads;
    int other = (batch + a.shift) % (int)a.batches, column = (pair - batch * a.heads) * a.width, lane = lane_x();
    int row0 = warp_x() / PARTS * 16, column0 = warp_x() % PARTS * OWN; /* this warp's results in the block's */
    int first = (block_x() - pair * blocks) * QUERIES, queries = (int)a.queries, keys = (int)a.keys;
    float by = a.scale * 1.44269504f; /* exponentials are to base 2 */
    Side tq = side_of(a.q, batch, column), tk = side_of(a.k, other, column), tv = side_of(a.v, other, column);
    float o[OWN / 8][4], most[2] = {MINUS_INFINITY, MINUS_INFINITY}, total[2] = {0, 0};
    UNROLL
    for (int n = 0; n < OWN / 8; n++) {
        UNROLL
        for (int i = 0; i < 4; i++) o[n][i] = 0;
    }
#ifdef RELATIVE
    /* of this warp's rows */
    int grid = a.relative.w + a.relative.h;
    float *p = stage + ATTENTION_MMA_BYTES(WIDTH) / 4 + row0 * WEIGHT_PITCH;
    float *sums = stage + ATTENTION_MMA_BYTES(WIDTH) / 4 + QUERIES * WEIGHT_PITCH + row0 * grid;
    for (int i = lane; i < 16 * grid; i += 32) sums[i] = 0;
#endif
    fetch(q, QUERIES, tq, first, queries, a.width);
    fetch(k, KEYS, tk, 0, keys, a.width);
    copy_commit();
    for (int j = 0; j < keys; j += KEYS) {
        float s[KEYS / 8][4];
        UNROLL
        for (int n = 0; n < KEYS / 8; n++) {
            UNROLL
            for (int i = 0; i < 4; i++) s[n][i] = 0;
        }
        fetch(v, KEYS, tv, j, keys, a.width);
        copy_commit();
        copy_wait(1);
        block_sync(); /* queries and keys are there */
        UNROLL_BY(2)
        for (int c = 0; c < DEPTHS; c++) {
            u32 left[4];
            load_left(left, q + row0 * PITCH + 16 * c);
            add_scores(s, left, k + 16 * c);
        }
        block_sync(); /* the keys have been used */
        if (j + KEYS < keys) fetch(k, KEYS, tk, j + KEYS, keys, a.width);
        copy_commit();
        UNROLL
        for (int half = 0; half < 2; half++) {
            float fade = soften(s, o, &most[half], &total[half], half, keys - j - lane % 4 * 2, by);
#ifdef RELATIVE
            leave_weights(p + (lane / 4 + 8 * half) * WEIGHT_PITCH, s, half, fade);
#else
            (void)fade;
#endif
        }
#ifdef RELATIVE
        warp_sync(); /* two lanes add up each row of the warp's sixteen */
        add_to_grid(sums + lane / 2 * grid, p + lane / 2 * WEIGHT_PITCH, p[lane / 2 * WEIGHT_PITCH + KEYS], j,
                    keys - j < KEYS ? keys - j : KEYS, &a.relative, lane % 2, 2);
#endif
        copy_wait(1);
        block_sync(); /* the values are there */
        UNROLL
        for (int n = 0; n < KEYS / 16; n++) {
            u32 left[4] = {two_halves(s[2 * n][0], s[2 * n][1]), two_halves(s[2 * n][2], s[2 * n][3]),
                           two_halves(s[2 * n + 1][0], s[2 * n + 1][1]), two_halves(s[2 * n + 1][2], s[2 * n + 1][3])};
            add_values(o, left, v + 16 * n * PITCH + column0);
        }
        block_sync(); /* they have been used */
    }
    copy_wait(0); /* of nothing, but every copy is waited for */
    UNROLL
    for (int half = 0; half < 2; half++) {
        float share = 1 / four_sum(total[half]);
        float *to = stage + (row0 + lane / 4 + 8 * half) * STAGE_PITCH + column0 + lane % 4 * 2;
        UNROLL
        for (int n = 0; n < OWN / 8; n++) {
            to[8 * n] = o[n][2 * half] * share;
            to[8 * n + 1] = o[n][2 * half + 1] * share;
        }
#ifdef RELATIVE
        if (lane % 4 == 0) p[(lane / 4 + 8 * half) * WEIGHT_PITCH + KEYS] = share;
#endif
    }
#ifdef RELATIVE
    warp_sync();
    UNROLL_BY(1)
    for (int r = lane / 16; r < 16; r += 2) {
        int query = first + row0 + r;
        if (query < queries)
            position_of(p + r * WEIGHT_PITCH, sums + r * grid, p[r * WEIGHT_PITCH + KEYS], query, &a.relative,
                        lane % 16);
    }
#endif
    block_sync();
    UNROLL_BY(1)
    for (int i = thread_x(); i < QUERIES * WIDTH; i += THREADS) {
        int row = i / WIDTH, c = i % WIDTH;
        if (first + row >= queries || c >= a.width) continue;
        float v = stage[row * STAGE_PITCH + c];
#ifdef RELATIVE
        v = with_position(v, stage + ATTENTION_MMA_BYTES(WIDTH) / 4 + row * WEIGHT_PITCH, c, &a.relative);
#endif
        store(v, batch * a.queries + first + row, column + c, &a);
    }
}
