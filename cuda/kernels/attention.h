/* cuda/kernels/attention.h - arguments of attention by heads (tensor/ops/attention.c). */
#ifndef PANUM_CUDA_KERNELS_ATTENTION_H
#define PANUM_CUDA_KERNELS_ATTENTION_H
#include "cuda/device/types.h"
#include "cuda/kernels/region.h"

enum { ATTENTION_PE_HALF = 16, ATTENTION_PE_WIDTH = 32 };

/* Tokens whose channels lie side by side: token i of batch b begins at b batch + i row. Their numbers are f32, or 16
 * bits where a kernel is compiled for that (device/value.h). */
typedef struct {
    const void *at;
    i64 batch, row;
} Tokens;

/* S2M2's relative term over a grid of h x w; h 0: there is none. */
typedef struct {
    const float *table_x, *table_y; /* [2w-1][16], [2h-1][16] */
    const float *weight, *bias;     /* [width][32], [width] */
    int h, w;
} Relative;

typedef struct {
    Tokens q, k, v;
    /* Rows of heads x width, one after another; may be q's, if those lie so too. Unused when a region stores. */
    void *o;
    i64 batches, queries, keys;
    int heads, width; /* of a head */
    int shift;        /* batch b of q meets batch (b + shift) mod batches of k and v */
    float scale;      /* 1/sqrt(width) */
    Relative relative;
    RegionPlaces places; /* of the region in the hole on store: its row is batch queries + query */
} AttentionArgs;

/* The gradient (tensor/ops/attention_gradient.c). Of scratch there are batches x heads x queries, one head's queries
 * after another: most, share and mean are a number each, so that A_ij = share exp(scale q . k - most) and dS = A (dA -
 * mean); with the relative term position and pull are 32 each: sum over j of A_ij P(i,j), and W^T do. */
typedef struct {
    Tokens q, k, v, d_out;
    void *dq, *dk, *dv;                           /* rows of heads x width, one after another; f32 or 16 bits */
    float *d_weight, *d_bias;                     /* [width][32], [width]; with the relative term */
    float *most, *share, *mean, *position, *pull; /* scratch */
    i64 batches, queries, keys;
    int heads, width, shift;
    float scale;
    Relative relative;
} AttentionBackArgs;

/* What attention_tiled.cu and attention_back_tiled.cu are compiled for: -DWIDTH, columns of a head and zeros up to a
 * multiple of 16 or 32; -DROWS, queries of a thread (8, 4 or 2); -DTHREADS; -DPIECES, where tokens can be copied by 16
 * bytes; -DRELATIVE. Sixteen threads work on a row of queries x keys. Keys come 64 at a time, in chunks of some
 * columns; values in chunks of some rows.  Shared memory, in floats: the queries (for the gradient a second tensor
 * beside them), two chunks, the weights, and sums by grid column and row. */
#define ATTENTION_KEYS 64
#define ATTENTION_LANES 16
#define ATTENTION_QUERIES(rows, threads) ((rows) * (threads) / ATTENTION_LANES)
#define ATTENTION_DEPTH(width) ((width) % 32 ? 16 : 32) /* columns of a chunk of keys */
#define ATTENTION_VALUES(width)                       \
    ((width) <= 32    ? 64                            \
     : (width) <= 64  ? 32                            \
     : (width) <= 128 ? 16                            \
     : (width) <= 256 ? 8                             \
                      : 4)   /* rows of one of values \
                              */
#define ATTENTION_CHUNK 2304 /* floats: 64 keys of 32 + 4 columns; values need less */
#define ATTENTION_WEIGHT_PITCH (ATTENTION_KEYS + 4)
#define ATTENTION_FLOATS(width, queries, grid) \
    ((queries) * ((width) + 4) + 2 * ATTENTION_CHUNK + (queries)*ATTENTION_WEIGHT_PITCH + (queries) * (grid))
#define ATTENTION_BACK_FLOATS(width, queries) (ATTENTION_FLOATS(width, queries, 0) + (queries) * ((width) + 4))

/* attention_mma.cu, for half-size tokens. */
#define ATTENTION_MMA_QUERIES 64
#define ATTENTION_MMA_WIDEST 512
#define ATTENTION_MMA_PARTS(width) ((width) > 256 ? 2 : 1) /* warps that share the columns of a row's results */
#define ATTENTION_MMA_ROWS(width) (ATTENTION_MMA_QUERIES / ATTENTION_MMA_PARTS(width)) /* queries of a block */
#define ATTENTION_MMA_KEYS(width) ((width) > 128 ? 32 : 64)
/* Bytes of shared memory: queries, keys and values with 8 columns more. */
#define ATTENTION_MMA_BYTES(width) ((ATTENTION_MMA_ROWS(width) + 2 * ATTENTION_MMA_KEYS(width)) * ((width) + 8) * 2)
/* attention_back_mma.cu: 64 rows of two tensors, and a tile of two others. */
#define ATTENTION_BACK_MMA_WIDEST 128
#define ATTENTION_BACK_MMA_KEYS(width) ((width) > 96 ? 16 : 32) /* what registers hold */
#define ATTENTION_BACK_MMA_BYTES(width) \
    ((2 * ATTENTION_MMA_QUERIES + 2 * ATTENTION_BACK_MMA_KEYS(width)) * ((width) + 8) * 2)
/* With the relative term, up to 256 columns, as many floats more: weights, what they fade by, and sums by grid column
 * and row. */
#define ATTENTION_MMA_WEIGHT_PITCH(width) (ATTENTION_MMA_KEYS(width) + 4)
#define ATTENTION_MMA_GRID_FLOATS(width, grid) (ATTENTION_MMA_QUERIES * (ATTENTION_MMA_WEIGHT_PITCH(width) + (grid)))
#endif
