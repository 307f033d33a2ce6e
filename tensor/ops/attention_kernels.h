/* tensor/ops/attention_kernels.h - the vector part of attention.c: packing of one head, and one block of queries.
 *
 * For a head of e columns, S keys and a block of up to 14 queries the kernel forms the scores of up to ATTENTION_KEYS
 * keys at a time (in L1), turns them into 2^(score - running maximum), and adds their product with the values to the
 * result: the "online" softmax (Milakov and Gimelshein 2018; Dao et al. 2022). No table of T x S exists anywhere.
 *
 * Should compute: 4 T S e flops for a head, and T S exponentials of about 10 instructions for 16. Should move: q, k, v
 * and the result once; k and v panels (8 S e bytes) are read from L2 once for each block of queries. */
#ifndef PANUM_TENSOR_OPS_ATTENTION_KERNELS_H
#define PANUM_TENSOR_OPS_ATTENTION_KERNELS_H
#include "base/cpu.h"
#include <stddef.h>
#include <stdint.h>

enum {
    ATTENTION_ROWS = 14,  /* most queries in a block, at any level */
    ATTENTION_KEYS = 256, /* most keys scored at a time */
    ATTENTION_PAD = 32,   /* keys are padded to a multiple of this, head columns to half of it, at any level */
    ATTENTION_PE_HALF = 16,
    ATTENTION_PE_DEPTH = 2 * ATTENTION_PE_HALF + 1, /* position values and a one for the bias */
};

/* One head of one batch, packed. */
typedef struct {
    const float *q; /* first query of the head */
    int64_t q_stride;
    int64_t keys, width; /* S, e */
    float scale;         /* of scores: log2(e) / sqrt(width), since exponentials are to base 2 */
    const float *key_panels;
    const float *v; /* the values where they are, if the width is whole vectors of every level; else NULL, and */
    int64_t v_stride;
    const float *value_panels; /* packed */
    /* The relative term; h 0 without. */
    int64_t h, w;
    const float *table_x, *table_y, *pe_panels;
} AttentionHead;

/* One head of one batch, and what is wanted of its gradient (attention_gradient.c). Rows of q, k, v and d_out are
 * `*_stride` floats apart, rows of dq, dk and dv d_stride. */
typedef struct {
    const float *q, *k, *v, *d_out;
    int64_t q_stride, k_stride, v_stride, d_out_stride;
    int64_t queries, keys, width;
    float scale; /* 1/sqrt(width) */
    float *dq, *dk, *dv;
    int64_t d_stride;
    /* The relative term; h 0 without. */
    int64_t h, w;
    const float *table_x, *table_y, *pe_weight; /* [width][32] */
    float *d_position;                          /* [width][ATTENTION_PE_DEPTH]: of the weights, and last of the bias */
} AttentionBack;

typedef struct {
    int rows; /* most queries in a block */
    /* Floats of one row of results and of value panels: the width padded to whole vectors. */
    int64_t (*columns)(int64_t width);
    void (*pack_keys)(const float *k, int64_t stride, int64_t keys, int64_t width, float *panels);
    void (*pack_values)(const float *v, int64_t stride, int64_t keys, int64_t width, float *panels);
    void (*pack_position)(const float *weight, const float *bias, int64_t width, float *panels);
    /* Queries first .. first+rows-1 into the rows of out, columns(width) of each, normalised. `work` is
     * attention_work_floats(...), its contents of no meaning before and after. */
    void (*block)(const AttentionHead *head, int64_t first, int rows, float *work, float *out, int64_t out_stride);
    /* All of a head's gradient. `work` is attention_back_floats(...), its contents of no meaning. */
    void (*backward)(const AttentionBack *head, float *work);
} AttentionKernels;

const AttentionKernels *attention_kernels(CpuLevel level);
extern const AttentionKernels attention_kernels_base, attention_kernels_avx2, attention_kernels_avx512;

/* Floats at any level, so that scratch is a function of shapes only. */
static inline int64_t attention_padded(int64_t n, int64_t unit) {
    return (n + unit - 1) / unit * unit;
}
static inline int64_t attention_key_floats(int64_t keys, int64_t width) {
    return attention_padded(keys, ATTENTION_PAD) * width;
}
static inline int64_t attention_value_floats(int64_t keys, int64_t width) {
    return keys * attention_padded(width, ATTENTION_PAD / 2);
}
/* Between the scaled queries of a block: an odd number of cache lines, or 14 rows would share a few sets of the cache.
 */
static inline int64_t attention_query_stride(int64_t width) {
    return attention_padded(width, 32) + 16;
}
static inline int64_t attention_work_floats(int64_t width, int64_t h, int64_t w) {
    return ATTENTION_ROWS * (attention_query_stride(width) + (ATTENTION_KEYS + 16) + attention_padded(w, 16) +
                             attention_padded(h, 16)) +
           16;
}

/* Between rows of a table of weights, one for each key: whole panels, an odd number of cache lines. */
static inline int64_t attention_table_stride(int64_t keys) {
    return attention_padded(keys, ATTENTION_PAD) + 16;
}
/* Queries whose two rows of that table are held at a time: 512 KiB, and no fewer than a block. */
static inline int64_t attention_table_rows(int64_t keys) {
    const int64_t rows = 65536 / attention_table_stride(keys);
    return rows > 4 * ATTENTION_ROWS ? 4 * ATTENTION_ROWS : rows < ATTENTION_ROWS ? ATTENTION_ROWS : rows;
}
static inline int64_t attention_back_floats(int64_t keys, int64_t width, int64_t h, int64_t w) {
    const int64_t rows = attention_table_rows(keys), columns = attention_padded(width, 16);
    return 2 * attention_key_floats(keys, width) + 3 * keys * columns +
           rows * (2 * attention_query_stride(width) + 2 * attention_table_stride(keys) + columns) +
           (h ? 2 * (attention_padded(w, 16) + attention_padded(h, 16)) + (rows + columns) * 48 : 0) + 64;
}
#endif
