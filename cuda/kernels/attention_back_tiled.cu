/* cuda/kernels/attention_back_tiled.cu - the gradient of attention by heads in f32, without the relative term: the fast
 * rung of attention_back.cu, of the pieces of attend.h. Tokens and results may be in 16 bits.
 *
 * Over the queries, twice over all keys: first the largest score, the sum of weights and the mean of dA, as they run;
 * then dq_i = sum_j dS_ij k_j. Over the keys, once over all queries: dv_j = sum_i A_ij do_i, dk_j = sum_i dS_ij q_i.
 * Nothing of queries x keys leaves the chip. `most` is to base 2 here: A = share 2^(scale log2(e) q . k - most).
 *
 * Computes 18 queries x keys x width flops a head (nine products: 2 + 3 over the queries, 4 over the keys; one pass
 * with float atomics would be five) and 3 exponentials for a score. Reads from L2 8 (5 and 4 tensors a pass) x width
 * floats for each 32 queries (16 of heads above 128 columns) and key. */
#ifndef WIDTH /* compiled by itself, as a test does */
#define WIDTH 32
#define ROWS 4
#define THREADS 128
#define PIECES
#endif

#include "cuda/device/attend.h"

#define LOG2_E 1.44269504f

/* ---- over the queries ---- */

#define FIRST_CHUNKS (2 * KEY_CHUNKS)                 /* of 64 keys, the first time: columns of k, then of v */
#define SECOND_CHUNKS (2 * KEY_CHUNKS + VALUE_CHUNKS) /* and the second time tokens of k as well */

typedef struct {
    int second, tile, part;
} Place;

DEVICE Place place_of(int n, int tiles) {
    Place at;
    at.second = n >= tiles * FIRST_CHUNKS;
    n -= at.second ? tiles * FIRST_CHUNKS : 0;
    at.tile = at.second ? n / SECOND_CHUNKS : n / FIRST_CHUNKS;
    at.part = n - at.tile * (at.second ? SECOND_CHUNKS : FIRST_CHUNKS);
    return at;
}

DEVICE void fetch_place(float *to, Side k, Side v, Place at, int keys, int width) {
    int first = at.tile * KEYS;
    if (at.part < KEY_CHUNKS)
        fetch_columns(to, k, first, keys, at.part, width);
    else if (at.part < 2 * KEY_CHUNKS)
        fetch_columns(to, v, first, keys, at.part - KEY_CHUNKS, width);
    else
        fetch_rows(to, k, first, keys, at.part - 2 * KEY_CHUNKS, width);
}

DEVICE void clear(float s[ROWS][4]) {
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        UNROLL
        for (int c = 0; c < 4; c++) s[r][c] = 0;
    }
}

/* The first time: the running maximum, and sums of weights and of weights times dA that fade with it. */
DEVICE void add_to_mean(float s[ROWS][4], float d[ROWS][4], float *most, float *total, float *mean, int here,
                        float by) {
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
        float shift = largest == bits_f32(0xff800000u) ? 0 : largest;
        float fade = exp2_fast_f32(most[r] - shift);
        most[r] = largest;
        total[r] *= fade;
        mean[r] *= fade;
        UNROLL
        for (int c = 0; c < 4; c++) {
            float weight = exp2_fast_f32(s[r][c] * by - shift);
            total[r] += weight;
            mean[r] = fma_f32(weight, d[r][c], mean[r]);
        }
    }
}

/* grid: batches x heads x blocks of queries, the last running fastest */
KERNEL_BLOCKS(attention_back_queries, THREADS, 3, AttentionBackArgs, a) {
    SHARED_REST(float, q);
    float *d_out = q + QUERIES * QUERY_PITCH, *chunk = d_out + QUERIES * QUERY_PITCH, *p = chunk + 2 * ATTENTION_CHUNK;
    int blocks = (int)((a.queries + QUERIES - 1) / QUERIES), pair = block_x() / blocks, batch = pair / a.heads;
    int other = (batch + a.shift) % (int)a.batches, column = (pair - batch * a.heads) * a.width;
    int first = (block_x() - pair * blocks) * QUERIES, queries = (int)a.queries, keys = (int)a.keys;
    int tiles = (keys + KEYS - 1) / KEYS, chunks = tiles * (FIRST_CHUNKS + SECOND_CHUNKS), lane = thread_x() % LANES;
    float by = a.scale * LOG2_E;
    Side tq = side_of(a.q, batch, column), td = side_of(a.d_out, batch, column);
    Side tk = side_of(a.k, other, column), tv = side_of(a.v, other, column);
    float dq[ROWS][COLUMNS], s[ROWS][4], d[ROWS][4], most[ROWS], total[ROWS], mean[ROWS];
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        most[r] = bits_f32(0xff800000u);
        total[r] = mean[r] = 0;
        UNROLL
        for (int n = 0; n < COLUMNS; n++) dq[r][n] = 0;
    }
    clear(s);
    clear(d);
    fetch(q, QUERY_PITCH, QUERIES, WIDTH, tq, first, queries, 0, a.width);
    fetch(d_out, QUERY_PITCH, QUERIES, WIDTH, td, first, queries, 0, a.width);
    fetch_place(chunk, tk, tv, place_of(0, tiles), keys, a.width);
    copy_commit();
    for (int n = 0; n < chunks; n++) {
        const float *here = chunk + n % 2 * ATTENTION_CHUNK;
        Place at = place_of(n, tiles);
        if (n + 1 < chunks)
            fetch_place(chunk + (n + 1) % 2 * ATTENTION_CHUNK, tk, tv, place_of(n + 1, tiles), keys, a.width);
        copy_commit();
        copy_wait(1);
        block_sync(); /* this chunk is there, and so are the slopes, if it is of tokens */
        if (at.part < KEY_CHUNKS)
            add_scores(s, q + at.part * DEPTH, here);
        else if (at.part < 2 * KEY_CHUNKS)
            add_scores(d, d_out + (at.part - KEY_CHUNKS) * DEPTH, here);
        else
            add_values(dq, p + (at.part - 2 * KEY_CHUNKS) * VALUES, here);
        if (at.part == 2 * KEY_CHUNKS - 1) {
            if (!at.second) {
                add_to_mean(s, d, most, total, mean, keys - at.tile * KEYS, by);
                if (at.tile == tiles - 1) {
                    UNROLL
                    for (int r = 0; r < ROWS; r++) {
                        i64 row = (i64)pair * queries + first + row_of(r);
                        total[r] = 1 / lanes_sum(total[r]);
                        mean[r] = lanes_sum(mean[r]) * total[r];
                        if (lane || first + row_of(r) >= queries) continue;
                        a.most[row] = most[r];
                        a.share[row] = total[r];
                        a.mean[row] = mean[r];
                    }
                }
            } else {
                UNROLL
                for (int r = 0; r < ROWS; r++) {
                    UNROLL
                    for (int c = 0; c < 4; c++) {
                        int exists = at.tile * KEYS + lane + LANES * c < keys;
                        float weight = total[r] * exp2_fast_f32(s[r][c] * by - most[r]);
                        p[row_of(r) * WEIGHT_PITCH + lane + LANES * c] =
                            exists ? a.scale * weight * (d[r][c] - mean[r]) : 0;
                    }
                }
            }
            clear(s);
            clear(d);
        }
        block_sync(); /* it has been used */
    }
    copy_wait(0); /* of nothing, but every copy is waited for */
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        UNROLL
        for (int n = 0; n < COLUMNS; n++) {
            int query = first + row_of(r), c = column_of(n);
            if (query < queries && c < a.width)
                ((Result *)a.dq)[(batch * a.queries + query) * a.heads * a.width + column + c] = f32_result(dq[r][n]);
        }
    }
}

/* ---- over the keys ---- */

#define KEYS_CHUNKS (2 * KEY_CHUNKS + 2 * VALUE_CHUNKS) /* of 64 queries: columns of q and do, tokens of do and q */

DEVICE void fetch_queries(float *to, Side q, Side d_out, int n, int queries, int width) {
    int first = n / KEYS_CHUNKS * KEYS, part = n % KEYS_CHUNKS;
    if (part < KEY_CHUNKS)
        fetch_columns(to, q, first, queries, part, width);
    else if (part < 2 * KEY_CHUNKS)
        fetch_columns(to, d_out, first, queries, part - KEY_CHUNKS, width);
    else if (part < 2 * KEY_CHUNKS + VALUE_CHUNKS)
        fetch_rows(to, d_out, first, queries, part - 2 * KEY_CHUNKS, width);
    else
        fetch_rows(to, q, first, queries, part - 2 * KEY_CHUNKS - VALUE_CHUNKS, width);
}

/* grid: batches x heads x blocks of keys, the last running fastest */
KERNEL_BLOCKS(attention_back_keys, THREADS, WIDTH > 64 ? 2 : 3, AttentionBackArgs, a) {
    SHARED_REST(float, k);
    float *v = k + QUERIES * QUERY_PITCH, *chunk = v + QUERIES * QUERY_PITCH, *p = chunk + 2 * ATTENTION_CHUNK;
    int blocks = (int)((a.keys + QUERIES - 1) / QUERIES), pair = block_x() / blocks, batch = pair / a.heads;
    int other = (batch + (int)a.batches - a.shift) % (int)a.batches, head = pair - batch * a.heads;
    int column = head * a.width, first = (block_x() - pair * blocks) * QUERIES;
    int queries = (int)a.queries, keys = (int)a.keys, lane = thread_x() % LANES;
    int chunks = (queries + KEYS - 1) / KEYS * KEYS_CHUNKS;
    float by = a.scale * LOG2_E;
    i64 row0 = (i64)(other * a.heads + head) * queries; /* of the queries' numbers */
    Side tq = side_of(a.q, other, column), td = side_of(a.d_out, other, column);
    Side tk = side_of(a.k, batch, column), tv = side_of(a.v, batch, column);
    float dk[ROWS][COLUMNS], dv[ROWS][COLUMNS], s[ROWS][4], d[ROWS][4];
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        UNROLL
        for (int n = 0; n < COLUMNS; n++) dk[r][n] = dv[r][n] = 0;
    }
    clear(s);
    clear(d);
    fetch(k, QUERY_PITCH, QUERIES, WIDTH, tk, first, keys, 0, a.width);
    fetch(v, QUERY_PITCH, QUERIES, WIDTH, tv, first, keys, 0, a.width);
    fetch_queries(chunk, tq, td, 0, queries, a.width);
    copy_commit();
    for (int n = 0; n < chunks; n++) {
        const float *here = chunk + n % 2 * ATTENTION_CHUNK;
        int tile = n / KEYS_CHUNKS, part = n % KEYS_CHUNKS;
        if (n + 1 < chunks) fetch_queries(chunk + (n + 1) % 2 * ATTENTION_CHUNK, tq, td, n + 1, queries, a.width);
        copy_commit();
        copy_wait(1);
        block_sync(); /* this chunk is there, and so are weights or slopes, if it is of tokens */
        if (part < KEY_CHUNKS)
            add_scores(s, k + part * DEPTH, here);
        else if (part < 2 * KEY_CHUNKS)
            add_scores(d, v + (part - KEY_CHUNKS) * DEPTH, here);
        else if (part < 2 * KEY_CHUNKS + VALUE_CHUNKS)
            add_values(dv, p + (part - 2 * KEY_CHUNKS) * VALUES, here);
        else
            add_values(dk, p + (part - 2 * KEY_CHUNKS - VALUE_CHUNKS) * VALUES, here);
        if (part == 2 * KEY_CHUNKS - 1) { /* s becomes A, d becomes dS */
            UNROLL
            for (int c = 0; c < 4; c++) {
                int query = tile * KEYS + lane + LANES * c;
                float most = 0, share = 0, mean = 0;
                if (query < queries)
                    most = a.most[row0 + query], share = a.share[row0 + query], mean = a.mean[row0 + query];
                UNROLL
                for (int r = 0; r < ROWS; r++) {
                    s[r][c] = query < queries ? share * exp2_fast_f32(s[r][c] * by - most) : 0;
                    d[r][c] = query < queries ? a.scale * s[r][c] * (d[r][c] - mean) : 0;
                    p[row_of(r) * WEIGHT_PITCH + lane + LANES * c] = s[r][c];
                }
            }
            clear(s);
        }
        if (part == 2 * KEY_CHUNKS + VALUE_CHUNKS - 1) {
            warp_sync(); /* a row belongs to sixteen threads of one warp, which have used its weights */
            UNROLL
            for (int r = 0; r < ROWS; r++) {
                UNROLL
                for (int c = 0; c < 4; c++) p[row_of(r) * WEIGHT_PITCH + lane + LANES * c] = d[r][c];
            }
            clear(d);
        }
        block_sync(); /* it has been used */
    }
    copy_wait(0); /* of nothing, but every copy is waited for */
    UNROLL
    for (int r = 0; r < ROWS; r++) {
        UNROLL
        for (int n = 0; n < COLUMNS; n++) {
            int key = first + row_of(r), c = column_of(n);
            i64 to = (batch * a.keys + key) * a.heads * a.width + column + c;
            if (key >= keys || c >= a.width) continue;
            ((Result *)a.dk)[to] = f32_result(dk[r][n]);
            ((Result *)a.dv)[to] = f32_result(dv[r][n]);
        }
    }
}
