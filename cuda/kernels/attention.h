/* cuda/kernels/attention.h - arguments of attention by heads (tensor/ops/attention.c). */
#ifndef PANUM_CUDA_KERNELS_ATTENTION_H
#define PANUM_CUDA_KERNELS_ATTENTION_H
#include "cuda/device/types.h"
#include "cuda/kernels/region.h"

enum { ATTENTION_PE_HALF = 16, ATTENTION_PE_WIDTH = 32 };

/* Tokens whose channels lie side by side: token i of batch b begins at b batch + i row. */
typedef struct {
    const float *at;
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
    float
        *o; /* rows of heads x width, one after another; may be q's, if those lie so too; unused when a region stores */
    i64 batches, queries, keys;
    int heads, width; /* of a head */
    int shift;        /* batch b of q meets batch (b + shift) mod batches of k and v */
    float scale;      /* 1/sqrt(width) */
    Relative relative;
    RegionPlaces places; /* of the region in the hole on store: its row is batch queries + query */
} AttentionArgs;
#endif
