/* cuda/kernels/attention_tiled.cu - attention by heads in f32 on the ordinary units: the fast rung of attention.cu. A
 * block takes some queries of a head (16 to 64) and meets the keys 64 at a time; scores become weights to the running
 * maximum ("online" softmax, Milakov and Gimelshein 2018; Dao et al. 2022), so no table of queries x keys exists but in
 * shared memory, 64 columns of it.
 *
 * A thread holds ROWS x 4 scores and ROWS x WIDTH/16 results in registers. Keys and values go through two buffers:
 * while one chunk is used, the next is on its way.
 *
 * Computes 4 queries x keys x width flops a head, and an exponential for each score. Reads queries once, and keys and
 * values once a block: with 64 queries a block, 0.125 bytes from L2 for a flop. Shared memory: ROWS x 4 multiply-adds
 * for each ROWS + 4 loads of 16 bytes. The largest weight of a row is 1 at any time; what is below 2^-126 of it is 0.
 *
 * The result is NaN where a score is NaN or +infinity, and where all are -infinity, as in attention.cu. */
#include "cuda/device/pointwise.h"

#ifndef WIDTH /* compiled by itself, as a test does */
#define WIDTH 32
#define ROWS 8
#define THREADS 128
#define PIECES
#endif

#include "cuda/device/attend.h"
#include "cuda/device/attend_grid.h"

#define CHUNKS (KEY_CHUNKS + VALUE_CHUNKS) /* of 64 keys */

DEVICE void store(float v, i64 row, i64 column, const AttentionArgs *a) {
#ifdef REGION_GENERATED
    region(row, column, v, &a->places);
#else
    ((Result *)a->o)[row * a->heads * a->width + column] = f32_result(v);
#endif
}

/* Chunk n of the keys and values, in the order in which they are used. */
DEVICE void fetch_chunk(float *to, Side k, Side v, int n, int keys, int width) {
    int first = n / CHUNKS * KEYS, part = n % CHUNKS;
    if (part < KEY_CHUNKS)
        fetch_columns(to, k, first, keys, part, width);
    else
        fetch_rows(to, v, first, keys, part - KEY_CHUNKS, width);
}

/* Scores become weights to the largest so far; what was summed before fades. */
DEVICE void soften(float s[ROWS][4], float o[ROWS][COLUMNS], float *most, float *total, float *p, int here, float by) {
    int lane = thread_x() % LANES;
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        float largest = bits_f32(0xff800000u); /* -infinity */
        UNROLL
        for (int c = 0; c < 4; c++) {
            if (lane + LANES * c >= here) s[r][c] = bits_f32(0xff800000u);
            largest = max_f32(largest, s[r][c]);
        }
        largest = max_f32(most[r], lanes_max(largest) * by);
        /* while there is nothing but -infinity, weights are 0, not 0/0 */
        float shift = largest == bits_f32(0xff800000u) ? 0 : largest;
        float fade = exp2_fast_f32(most[r] - shift);
        most[r] = largest;
        total[r] *= fade;
        UNROLL
        for (int c = 0; c < 4; c++) {
            float weight = exp2_fast_f32(s[r][c] * by - shift);
            p[row_of(r) * WEIGHT_PITCH + lane + LANES * c] = weight;
            total[r] += weight;
            s[r][c] = 0;
        }
        UNROLL
        for (int n = 0; n < COLUMNS; n++) o[r][n] *= fade;
#ifdef RELATIVE
        if (lane == 0) p[row_of(r) * WEIGHT_PITCH + KEYS] = fade;
#endif
    }
}

/* grid: batches x heads x blocks of queries, the last running fastest */
KERNEL_BLOCKS(attention_tiled, THREADS, THREADS == 256 ? 2 : 3, AttentionArgs, a) {
    SHARED_REST(float, q);
    float *chunk = q + QUERIES * QUERY_PITCH, *p = chunk + 2 * ATTENTION_CHUNK;
    int blocks = (int)((a.queries + QUERIES - 1) / QUERIES), pair = block_x() / blocks, batch = pair / a.heads;
    int other = (batch + a.shift) % (int)a.batches, column = (pair - batch * a.heads) * a.width;
    int first = (block_x() - pair * blocks) * QUERIES, queries = (int)a.queries, keys = (int)a.keys;
    int chunks = (keys + KEYS - 1) / KEYS * CHUNKS;
    Side tq = side_of(a.q, batch, column), tk = side_of(a.k, other, column), tv = side_of(a.v, other, column);
    float o[ROWS][COLUMNS], s[ROWS][4], most[ROWS], total[ROWS];
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        most[r] = bits_f32(0xff800000u);
        total[r] = 0;
        UNROLL
        for (int n = 0; n < COLUMNS; n++) o[r][n] = 0;
        UNROLL
        for (int c = 0; c < 4; c++) s[r][c] = 0;
    }
#ifdef RELATIVE
    float *sums = p + QUERIES * WEIGHT_PITCH;
    int grid = a.relative.w + a.relative.h;
    for (int i = thread_x(); i < QUERIES * grid; i += THREADS) sums[i] = 0;
#endif
    fetch(q, QUERY_PITCH, QUERIES, WIDTH, tq, first, queries, 0, a.width);
    fetch_chunk(chunk, tk, tv, 0, keys, a.width);
    copy_commit();
    for (int n = 0; n < chunks; n++) {
        const float *here = chunk + n % 2 * ATTENTION_CHUNK;
        int tile = n / CHUNKS, part = n % CHUNKS;
        if (n + 1 < chunks) fetch_chunk(chunk + (n + 1) % 2 * ATTENTION_CHUNK, tk, tv, n + 1, keys, a.width);
        copy_commit();
        copy_wait(1);
        block_sync(); /* this chunk is there, and so are the weights, if it is of values */
        if (part < KEY_CHUNKS)
            add_scores(s, q + part * DEPTH, here);
        else
            add_values(o, p + (part - KEY_CHUNKS) * VALUES, here);
        if (part == KEY_CHUNKS - 1) {
            soften(s, o, most, total, p, keys - tile * KEYS, a.scale * 1.44269504f); /* exponentials are to base 2 */
#ifdef RELATIVE
            warp_sync(); /* a row belongs to sixteen threads of one warp */
            UNROLL_BY(1)
            for (int r = 0; r < ROWS; r++) {
                const float *weights = p + row_of(r) * WEIGHT_PITCH;
                int left = keys - tile * KEYS;
                add_to_grid(sums + row_of(r) * grid, weights, weights[KEYS], tile * KEYS, left < KEYS ? left : KEYS,
                            &a.relative, thread_x() % LANES, LANES);
            }
#endif
        }
        block_sync(); /* it has been used */
    }
    copy_wait(0); /* of nothing, but every copy is waited for */

    /* Results leave through the place of the queries: rows of neighbouring columns. */
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        float share = 1 / lanes_sum(total[r]);
        UNROLL
        for (int n = 0; n < COLUMNS; n++) q[row_of(r) * QUERY_PITCH + column_of(n)] = o[r][n] * share;
#ifdef RELATIVE
        if (thread_x() % LANES == 0) p[row_of(r) * WEIGHT_PITCH + KEYS] = share;
#endif
    }
#ifdef RELATIVE
    warp_sync();
    UNROLL_BY(1)
    for (int r = 0; r < ROWS; r++) {
        float *own = p + row_of(r) * WEIGHT_PITCH;
        if (first + row_of(r) < queries)
            position_of(own, sums + row_of(r) * grid, own[KEYS], first + row_of(r), &a.relative, thread_x() % LANES);
    }
#endif
    block_sync();
    UNROLL_BY(1)
    for (int i = thread_x(); i < QUERIES * WIDTH; i += THREADS) {
        int row = i / WIDTH, c = i % WIDTH;
        if (first + row >= queries || c >= a.width) continue;
        float v = q[row * QUERY_PITCH + c];
#ifdef RELATIVE
        v = with_position(v, p + row * WEIGHT_PITCH, c, &a.relative);
#endif
        store(v, batch * a.queries + first + row, column + c, &a);
    }
}
