/* tensor/ops/attention_simd.h - see attention_kernels.h; included once for each instruction level. */
#include "tensor/ops/attention_kernels.h"
#include "tensor/ops/simd_math.h"
#include "tensor/ops/simd_transpose.h"
#include <math.h>

/* Queries in a block: with panels of two vectors, 28 of 32 registers hold sums, or 12 of 16. */
#if VW == 16
enum { ROWS = 14 };
#else
enum { ROWS = 6 };
#endif
enum { PANEL = 2 * VW, SCORE_STRIDE = ATTENTION_KEYS + 16 };

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* c (+)= a b: a is rows x depth with a_stride, b depth x (vectors * VW) packed, c rows with c_stride. */
ALWAYS_INLINE void product(int rows, int vectors, const float *a, int64_t a_stride, int64_t depth, const float *b,
                           int64_t b_stride, float *c, int64_t c_stride, bool add) {
    vf sum[ROWS][2];
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) sum[r][v] = v_zero();
    for (int64_t p = 0; p < depth; p++) {
        vf right[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) right[v] = v_load(b + p * b_stride + v * VW);
#pragma GCC unroll 14
        for (int r = 0; r < rows; r++) {
            vf left = v_set(a[r * a_stride + p]);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) sum[r][v] = v_fma(left, right[v], sum[r][v]);
        }
    }
#pragma GCC unroll 14
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            float *to = c + r * c_stride + v * VW;
            v_store(to, add ? v_load(to) + sum[r][v] : sum[r][v]);
        }
}

typedef void (*Product)(const float *a, int64_t a_stride, int64_t depth, const float *b, int64_t b_stride, float *c,
                        int64_t c_stride, bool add);

#define PRODUCT(R)                                                                                                 \
    static void product_##R##x1(const float *a, int64_t a_stride, int64_t depth, const float *b, int64_t b_stride, \
                                float *c, int64_t c_stride, bool add) {                                            \
        product(R, 1, a, a_stride, depth, b, b_stride, c, c_stride, add);                                          \
    }                                                                                                              \
    static void product_##R##x2(const float *a, int64_t a_stride, int64_t depth, const float *b, int64_t b_stride, \
                                float *c, int64_t c_stride, bool add) {                                            \
        product(R, 2, a, a_stride, depth, b, b_stride, c, c_stride, add);                                          \
    }
PRODUCT(1)
PRODUCT(2)
PRODUCT(3)
PRODUCT(4)
PRODUCT(5)
PRODUCT(6)
#if VW == 16
PRODUCT(7)
PRODUCT(8)
PRODUCT(9)
PRODUCT(10)
PRODUCT(11)
PRODUCT(12)
PRODUCT(13)
PRODUCT(14)
#endif

static const Product PRODUCTS[ROWS][2] = {
    {product_1x1, product_1x2},   {product_2x1, product_2x2},   {product_3x1, product_3x2},
    {product_4x1, product_4x2},   {product_5x1, product_5x2},   {product_6x1, product_6x2},
#if VW == 16
    {product_7x1, product_7x2},   {product_8x1, product_8x2},   {product_9x1, product_9x2},
    {product_10x1, product_10x2}, {product_11x1, product_11x2}, {product_12x1, product_12x2},
    {product_13x1, product_13x2}, {product_14x1, product_14x2},
#endif
};

static int64_t columns_of(int64_t width) {
    return attention_padded(width, VW);
}

/* panels[j/PANEL][c][j%PANEL] = k[j][c], zeros beyond the last key; the last panel may be one vector wide. */
static void pack_keys(const float *k, int64_t stride, int64_t keys, int64_t width, float *panels) {
    for (int64_t j = 0; j < keys; j += VW) {
        const int64_t panel = j / PANEL * PANEL, count = keys - j < VW ? keys - j : VW;
        const int64_t wide = keys - panel > VW ? PANEL : VW;
        float *to = panels + panel * width + (j - panel);
        if (wide == PANEL && j == panel && keys - j < PANEL) /* nothing may be left undefined beyond the last key */
            for (int64_t c = 0; c < width; c++) v_store(to + c * wide + VW, v_zero());
        for (int64_t c = 0; c < width; c += VW) {
            const int64_t columns = width - c < VW ? width - c : VW;
            vf row[VW];
            for (int64_t i = 0; i < VW; i++) {
                const float *from = k + (j + i) * stride + c;
                row[i] = i >= count ? v_zero() : columns == VW ? v_load(from) : v_load_part(from, columns);
            }
            v_transpose(row);
            for (int64_t i = 0; i < columns; i++) v_store(to + (c + i) * wide, row[i]);
        }
    }
}

/* panels[c/PANEL][j][c%PANEL] = v[j][c], zeros beyond the last column; the last panel may be one vector wide. */
static void pack_values(const float *v, int64_t stride, int64_t keys, int64_t width, float *panels) {
    for (int64_t first = 0; first < width; first += PANEL) {
        const int64_t count = width - first < PANEL ? width - first : PANEL, wide = count > VW ? PANEL : VW;
        for (int64_t j = 0; j < keys; j++, panels += wide) {
            const float *from = v + j * stride + first;
            if (count == wide) {
                for (int64_t c = 0; c < wide; c += VW) v_store(panels + c, v_load(from + c));
            } else {
                memset(panels, 0, (size_t)wide * sizeof *panels);
                memcpy(panels, from, (size_t)count * sizeof *panels);
            }
        }
    }
}

/* panels[c/PANEL][d][c%PANEL] = weight[c][d] for d < 32, bias[c] for d = 32, zeros beyond the last column. */
static void pack_position(const float *weight, const float *bias, int64_t width, float *panels) {
    const int64_t columns = columns_of(width);
    for (int64_t first = 0; first < columns; first += PANEL) {
        const int64_t wide = columns - first > VW ? PANEL : VW;
        for (int64_t d = 0; d < ATTENTION_PE_DEPTH; d++)
            for (int64_t c = first; c < first + wide; c++)
                *panels++ = c >= width                   ? 0
                            : d + 1 < ATTENTION_PE_DEPTH ? weight[c * (ATTENTION_PE_DEPTH - 1) + d]
                                                         : bias[c];
    }
}

/* Lanes whose number is below n. */
static inline vi lanes_below(int64_t n) {
    static const int32_t number[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vi lane;
    memcpy(&lane, number, sizeof lane);
    return lane < (int32_t)n;
}

/* sum_columns[x] += weights[j] and sum_rows[y] += weights[j] for key j = y w + x. Reads and rewrites up to a vector
 * beyond what it adds to: there is room behind both. */
static void add_to_grid(const float *weights, int64_t first, int64_t count, int64_t w, float *sum_columns,
                        float *sum_rows) {
    int64_t y = first / w, x = first % w;
    while (count > 0) {
        const int64_t run = w - x < count ? w - x : count;
        float *columns = sum_columns + x;
        vf total = v_zero();
        for (int64_t i = 0; i < run; i += VW) {
            vf e = v_load(weights + i);
            if (run - i < VW) e = (vf)(v_bits(e) & lanes_below(run - i));
            v_store(columns + i, v_load(columns + i) + e);
            total += e;
        }
        sum_rows[y] += v_sum(total);
        weights += run, count -= run;
        y++, x = 0;
    }
}

/* half_share times [sum_x columns[x] T_x(query column - x), sum_y rows[y] T_y(query row - y), 1] into position. */
static void position_of(const AttentionHead *head, int64_t query, const float *sum_columns, const float *sum_rows,
                        float half_share, float *position) {
    enum { VECTORS = ATTENTION_PE_HALF / VW, STEP = ATTENTION_PE_HALF };
    for (int side = 0; side < 2; side++) {
        const int64_t n = side ? head->h : head->w, at = side ? query / head->w : query % head->w;
        const float *row = (side ? head->table_y : head->table_x) + (at + n - 1) * STEP;
        const float *sums = side ? sum_rows : sum_columns;
        vf even[VECTORS], odd[VECTORS]; /* two sums: one alone would wait for itself */
        for (int v = 0; v < VECTORS; v++) even[v] = odd[v] = v_zero();
        int64_t i = 0;
        for (; i + 2 <= n; i += 2, row -= 2 * STEP)
            for (int v = 0; v < VECTORS; v++) {
                even[v] = v_fma(v_set(sums[i]), v_load(row + v * VW), even[v]);
                odd[v] = v_fma(v_set(sums[i + 1]), v_load(row - STEP + v * VW), odd[v]);
            }
        for (int v = 0; v < VECTORS; v++) {
            if (i < n) even[v] = v_fma(v_set(sums[i]), v_load(row + v * VW), even[v]);
            v_store(position + side * STEP + v * VW, (even[v] + odd[v]) * half_share);
        }
    }
    position[2 * STEP] = 1; /* times the bias */
}

static void scale_row(float *row, int64_t count, float by) {
    for (int64_t c = 0; c < count; c += VW) v_store(row + c, v_load(row + c) * by);
}

static void attention_block(const AttentionHead *head, int64_t first, int rows, float *work, float *out,
                            int64_t out_stride) {
    const int64_t width = head->width, columns = columns_of(width), query_stride = attention_query_stride(width);
    const int64_t grid_w = attention_padded(head->w, 16), grid_h = attention_padded(head->h, 16);
    const Product *products = PRODUCTS[rows - 1];
    float *queries = work, *scores = queries + ROWS * query_stride;
    float *sum_columns = scores + ROWS * SCORE_STRIDE, *sum_rows = sum_columns + ROWS * grid_w;
    float largest[ROWS], total[ROWS];
    for (int r = 0; r < rows; r++)
        for (int64_t c = 0; c < width; c++)
            queries[r * query_stride + c] = head->q[(first + r) * head->q_stride + c] * head->scale;
    if (head->h) memset(sum_columns, 0, (size_t)(ROWS * (grid_w + grid_h)) * sizeof *sum_columns);

    /* Blocks of keys as even as can be, in whole panels. */
    const int64_t blocks = (head->keys + ATTENTION_KEYS - 1) / ATTENTION_KEYS;
    const int64_t block = attention_padded((head->keys + blocks - 1) / blocks, PANEL);
    for (int64_t start = 0; start < head->keys; start += block) {
        const int64_t count = head->keys - start < block ? head->keys - start : block;
        const int64_t padded = attention_padded(count, VW);
        for (int64_t j = 0; j < padded; j += PANEL)
            products[padded - j > VW](queries, query_stride, width, head->key_panels + (start + j) * width,
                                      padded - j > VW ? PANEL : VW, scores + j, SCORE_STRIDE, false);
        for (int r = 0; r < rows; r++) {
            float *row = scores + r * SCORE_STRIDE;
            for (int64_t j = count; j < padded; j++) row[j] = -3e38f;
            vf most = v_load(row);
            for (int64_t j = VW; j < padded; j += VW) most = v_max(most, v_load(row + j));
            const float before = start ? largest[r] : -3e38f, here = v_largest(most),
                        now = here > before ? here : before;
            vf sum = v_zero();
            const vf shift = v_set(now);
            for (int64_t j = 0; j < padded; j += VW) {
                vf e = v_exp2_small(v_load(row + j) - shift);
                v_store(row + j, e);
                sum += e;
            }
            if (start && now > before) {
                const float fade = exp2f(before - now);
                total[r] *= fade;
                scale_row(out + r * out_stride, columns, fade);
                if (head->h) {
                    scale_row(sum_columns + r * grid_w, grid_w, fade);
                    scale_row(sum_rows + r * grid_h, grid_h, fade);
                }
            }
            total[r] = (start ? total[r] : 0) + v_sum(sum);
            largest[r] = now;
            if (head->h) add_to_grid(row, start, count, head->w, sum_columns + r * grid_w, sum_rows + r * grid_h);
        }
        for (int64_t c = 0; c < columns; c += PANEL) {
            const int64_t wide = columns - c > VW ? PANEL : VW;
            products[wide > VW](scores, SCORE_STRIDE, count,
                                head->v ? head->v + start * head->v_stride + c
                                        : head->value_panels + c * head->keys + start * wide,
                                head->v ? head->v_stride : wide, out + c, out_stride, start != 0);
        }
    }
    for (int r = 0; r < rows; r++) {
        const float share = 1 / total[r];
        scale_row(out + r * out_stride, columns, share);
        if (head->h)
            position_of(head, first + r, sum_columns + r * grid_w, sum_rows + r * grid_h, 0.5f * share,
                        scores + r * SCORE_STRIDE);
    }
    for (int64_t c = 0; head->h && c < columns; c += PANEL) {
        const int64_t wide = columns - c > VW ? PANEL : VW;
        products[wide > VW](scores, SCORE_STRIDE, ATTENTION_PE_DEPTH, head->pe_panels + c * ATTENTION_PE_DEPTH, wide,
                            out + c, out_stride, true);
    }
}

#include "tensor/ops/attention_gradient_simd.h"

const AttentionKernels SIMD_NAME(attention_kernels) = {
    .rows = ROWS,
    .columns = columns_of,
    .pack_keys = pack_keys,
    .pack_values = pack_values,
    .pack_position = pack_position,
    .block = attention_block,
    .backward = attention_backward,
};
