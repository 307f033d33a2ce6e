/* tensor/ops/attention_gradient_simd.h - the gradient of one head; part of attention_simd.h, whose products and
 * position sums it uses.
 *
 * Some dozen queries at a time: their weights P and products dP = do v^T fill two tables of queries x keys (in L2, in
 * L1 for rows of a picture), dS = P (dP - D) takes the place of dP, and then dq = dS k is written, dk += dS^T q and dv
 * += P^T do are added up. P is computed again from q and k: forward keeps nothing.
 *
 * Should compute: 10 T S e flops for a head (five products), and T S exponentials. Should move: q, k, v, do once, dq,
 * dk, dv once; keys, values and the two sums (20 S e bytes) are read from L2 once for each block of queries. */

/* c (+)= a^T b: a is depth x rows with a_stride, b depth x (vectors * VW) with b_stride, c rows with c_stride. */
ALWAYS_INLINE void product_of_transposed(int rows, int vectors, const float *a, int64_t a_stride, int64_t depth,
                                         const float *b, int64_t b_stride, float *c, int64_t c_stride, bool add) {
    vf sum[ROWS][2];
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) sum[r][v] = add ? v_load(c + r * c_stride + v * VW) : v_zero();
    for (int64_t p = 0; p < depth; p++) {
        vf right[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) right[v] = v_load(b + p * b_stride + v * VW);
#pragma GCC unroll 14
        for (int r = 0; r < rows; r++) {
            vf left = v_set(a[p * a_stride + r]);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) sum[r][v] = v_fma(left, right[v], sum[r][v]);
        }
    }
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) v_store(c + r * c_stride + v * VW, sum[r][v]);
}

#define TRANSPOSED(R)                                                                                                 \
    static void transposed_##R##x1(const float *a, int64_t a_stride, int64_t depth, const float *b, int64_t b_stride, \
                                   float *c, int64_t c_stride, bool add) {                                            \
        product_of_transposed(R, 1, a, a_stride, depth, b, b_stride, c, c_stride, add);                               \
    }                                                                                                                 \
    static void transposed_##R##x2(const float *a, int64_t a_stride, int64_t depth, const float *b, int64_t b_stride, \
                                   float *c, int64_t c_stride, bool add) {                                            \
        product_of_transposed(R, 2, a, a_stride, depth, b, b_stride, c, c_stride, add);                               \
    }
TRANSPOSED(1)
TRANSPOSED(2)
TRANSPOSED(3)
TRANSPOSED(4)
TRANSPOSED(5)
TRANSPOSED(6)
#if VW == 16
TRANSPOSED(7)
TRANSPOSED(8)
TRANSPOSED(9)
TRANSPOSED(10)
TRANSPOSED(11)
TRANSPOSED(12)
TRANSPOSED(13)
TRANSPOSED(14)
#endif

static const Product TRANSPOSED_PRODUCTS[ROWS][2] = {
    {transposed_1x1, transposed_1x2},   {transposed_2x1, transposed_2x2},   {transposed_3x1, transposed_3x2},
    {transposed_4x1, transposed_4x2},   {transposed_5x1, transposed_5x2},   {transposed_6x1, transposed_6x2},
#if VW == 16
    {transposed_7x1, transposed_7x2},   {transposed_8x1, transposed_8x2},   {transposed_9x1, transposed_9x2},
    {transposed_10x1, transposed_10x2}, {transposed_11x1, transposed_11x2}, {transposed_12x1, transposed_12x2},
    {transposed_13x1, transposed_13x2}, {transposed_14x1, transposed_14x2},
#endif
};

/* Products of any size from those of a block: c [rows][columns] of whole vectors; `panels`: b is packed by panels of
 * `depth` lines (pack_keys), otherwise its rows are b_stride apart. */
static void multiply(int64_t rows, int64_t columns, const float *a, int64_t a_stride, int64_t depth, const float *b,
                     int64_t b_stride, bool panels, float *c, int64_t c_stride) {
    for (int64_t r = 0; r < rows; r += ROWS) {
        const Product *products = PRODUCTS[(rows - r < ROWS ? rows - r : ROWS) - 1];
        for (int64_t j = 0; j < columns; j += PANEL) {
            const int64_t wide = columns - j > VW ? PANEL : VW;
            products[wide > VW](a + r * a_stride, a_stride, depth, panels ? b + j * depth : b + j,
                                panels ? wide : b_stride, c + r * c_stride + j, c_stride, false);
        }
    }
}
static void multiply_transposed(int64_t rows, int64_t columns, const float *a, int64_t a_stride, int64_t depth,
                                const float *b, int64_t b_stride, float *c, int64_t c_stride, bool add) {
    for (int64_t r = 0; r < rows; r += ROWS) {
        const Product *products = TRANSPOSED_PRODUCTS[(rows - r < ROWS ? rows - r : ROWS) - 1];
        for (int64_t j = 0; j < columns; j += PANEL)
            products[columns - j > VW](a + r, a_stride, depth, b + j, b_stride, c + r * c_stride + j, c_stride, add);
    }
}

/* to[r][c] = from[r][c] * by, zeros from width to columns. */
static void copy_scaled(int64_t rows, int64_t width, int64_t columns, const float *from, int64_t from_stride, float by,
                        float *to, int64_t to_stride) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c += VW) {
            const float *at = from + r * from_stride + c;
            v_store(to + r * to_stride + c, (width - c >= VW ? v_load(at) : v_load_part(at, width - c)) * by);
        }
}
/* The same to rows of `width` floats, nothing behind them touched. */
static void store_scaled(int64_t rows, int64_t width, const float *from, int64_t from_stride, float by, float *to,
                         int64_t to_stride) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < width; c += VW) {
            const vf value = v_load(from + r * from_stride + c) * by;
            if (width - c >= VW)
                v_store(to + r * to_stride + c, value);
            else
                v_store_part(to + r * to_stride + c, value, width - c);
        }
}

/* Scores to base 2 become weights that sum to 1; what is beyond the last key, some 1e-38. */
static void weigh(float *row, int64_t keys, int64_t padded) {
    for (int64_t j = keys; j < padded; j++) row[j] = -3e38f;
    vf most = v_load(row), sum = v_zero();
    for (int64_t j = VW; j < padded; j += VW) most = v_max(most, v_load(row + j));
    const vf shift = v_set(v_largest(most));
    for (int64_t j = 0; j < padded; j += VW) {
        const vf e = v_exp2_small(v_load(row + j) - shift);
        v_store(row + j, e);
        sum += e;
    }
    scale_row(row, padded, 1 / v_sum(sum));
}

/* What the relative term adds to dP: for a key in grid column x and row y, by_column[x] + by_row[y], each half of g .
 * T[offset] with g = Wpe^T do. */
static void position_products(const AttentionBack *head, int64_t query, const float *d_out, float *by_column,
                              float *by_row) {
    enum { VECTORS = ATTENTION_PE_HALF / VW, STEP = ATTENTION_PE_HALF, WIDTH = 2 * ATTENTION_PE_HALF };
    vf g[2 * VECTORS];
    for (int v = 0; v < 2 * VECTORS; v++) g[v] = v_zero();
    for (int64_t c = 0; c < head->width; c++)
        for (int v = 0; v < 2 * VECTORS; v++)
            g[v] = v_fma(v_set(d_out[c]), v_load(head->pe_weight + c * WIDTH + v * VW), g[v]);
    for (int side = 0; side < 2; side++) {
        const int64_t n = side ? head->h : head->w, at = side ? query / head->w : query % head->w;
        const float *row = (side ? head->table_y : head->table_x) + (at + n - 1) * STEP;
        float *to = side ? by_row : by_column;
        for (int64_t i = 0; i < n; i++, row -= STEP) {
            vf sum = v_zero();
            for (int v = 0; v < VECTORS; v++) sum = v_fma(g[side * VECTORS + v], v_load(row + v * VW), sum);
            to[i] = 0.5f * v_sum(sum);
        }
    }
}

static void attention_backward(const AttentionBack *head, float *work) {
    enum { POSITION = 48 }; /* floats of a row of position sums: 33 and zeros */
    const int64_t keys = head->keys, width = head->width, columns = columns_of(width);
    const int64_t query_stride = attention_query_stride(width), table_stride = attention_table_stride(keys);
    const int64_t most = attention_table_rows(keys) / ROWS * ROWS, padded = attention_padded(keys, VW);
    const int64_t grid_w = attention_padded(head->w, 16), grid_h = attention_padded(head->h, 16);
    float *key_panels = work, *value_panels = key_panels + attention_key_floats(keys, width);
    float *key_rows = value_panels + attention_key_floats(keys, width);
    float *dk = key_rows + keys * columns, *dv = dk + keys * columns;
    float *queries = dv + keys * columns, *d_out = queries + most * query_stride;
    float *weights = d_out + most * query_stride, *d_scores = weights + most * table_stride;
    float *dq = d_scores + most * table_stride, *by_column = dq + most * columns, *by_row = by_column + grid_w;
    float *sum_columns = by_row + grid_h, *sum_rows = sum_columns + grid_w;
    float *position = sum_rows + grid_h, *d_position = position + most * POSITION;
    const AttentionHead grid = {.h = head->h, .w = head->w, .table_x = head->table_x, .table_y = head->table_y};

    pack_keys(head->k, head->k_stride, keys, width, key_panels);
    pack_keys(head->v, head->v_stride, keys, width, value_panels);
    copy_scaled(keys, width, columns, head->k, head->k_stride, 1, key_rows, columns);
    for (int64_t first = 0; first < head->queries; first += most) {
        const int64_t rows = head->queries - first < most ? head->queries - first : most;
        copy_scaled(rows, width, columns, head->q + first * head->q_stride, head->q_stride, head->scale * 1.44269504f,
                    queries, query_stride);
        copy_scaled(rows, width, columns, head->d_out + first * head->d_out_stride, head->d_out_stride, 1, d_out,
                    query_stride);
        multiply(rows, padded, queries, query_stride, width, key_panels, 0, true, weights, table_stride);
        multiply(rows, padded, d_out, query_stride, width, value_panels, 0, true, d_scores, table_stride);
        for (int64_t r = 0; r < rows; r++) {
            float *p = weights + r * table_stride, *d = d_scores + r * table_stride;
            weigh(p, keys, padded);
            if (head->h) {
                position_products(head, first + r, d_out + r * query_stride, by_column, by_row);
                for (int64_t y = 0; y < head->h; y++)
                    for (int64_t x = 0; x < head->w; x++) d[y * head->w + x] += by_column[x] + by_row[y];
                memset(sum_columns, 0, (size_t)(grid_w + grid_h) * sizeof *sum_columns);
                add_to_grid(p, 0, keys, head->w, sum_columns, sum_rows);
                float *own = position + r * POSITION;
                memset(own, 0, POSITION * sizeof *own);
                position_of(&grid, first + r, sum_columns, sum_rows, 0.5f, own);
            }
            vf dot = v_zero();
            for (int64_t j = 0; j < padded; j += VW) dot = v_fma(v_load(p + j), v_load(d + j), dot);
            const vf mean = v_set(v_sum(dot));
            for (int64_t j = 0; j < padded; j += VW) v_store(d + j, v_load(p + j) * (v_load(d + j) - mean));
        }
        multiply(rows, columns, d_scores, table_stride, keys, key_rows, columns, false, dq, columns);
        store_scaled(rows, width, dq, columns, head->scale, head->dq + first * head->d_stride, head->d_stride);
        multiply_transposed(keys, columns, d_scores, table_stride, rows, queries, query_stride, dk, columns, first > 0);
        multiply_transposed(keys, columns, weights, table_stride, rows, d_out, query_stride, dv, columns, first > 0);
        if (head->h)
            multiply_transposed(width, POSITION, d_out, query_stride, rows, position, POSITION, d_position, POSITION,
                                first > 0);
    }
    store_scaled(keys, width, dk, columns, 0.69314718f, head->dk, head->d_stride); /* queries were times log2 e */
    store_scaled(keys, width, dv, columns, 1, head->dv, head->d_stride);
    for (int64_t c = 0; head->h && c < width; c++)
        memcpy(head->d_position + c * ATTENTION_PE_DEPTH, d_position + c * POSITION,
               ATTENTION_PE_DEPTH * sizeof *d_position);
}
