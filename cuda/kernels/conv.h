/* cuda/kernels/conv.h - arguments of the f32 convolutions. */
#ifndef PANUM_CUDA_KERNELS_CONV_H
#define PANUM_CUDA_KERNELS_CONV_H
#include "cuda/device/types.h"
#include "cuda/kernels/region.h"

enum { CONV_SEGMENTS = 8 };

/* A part of the map's channels; strides in elements. Its numbers are as device/value.h says; or f32 beside parts in 16
 * bits, such as a disparity beside features, for conv_plain and conv_tiled. */
typedef struct {
    const void *at;
    i64 channels, by_n, by_y, by_x, by_c;
    int f32;
} ConvPart;

/* out[n,y,x][o] = bias[o] + sum over parts, taps (ky,kx), channels c of map[n,y',x'][c] weight[o,c,ky,kx], where
 *   straight:   y' = y stride - pad_h + ky
 *   transposed: y' = (y + pad_h - ky) / stride when that is whole
 * and nothing is added where (y',x') lies outside the map. Rows of the product are the pixels of out, in order. */
typedef struct {
    ConvPart part[CONV_SEGMENTS];
    const void *weight;
    const float *bias; /* NULL: none */
    void *out;         /* rows of `columns`, out_row apart; unused when a region stores */
    i64 rows, columns, out_row;
    i64 weight_o, weight_c, weight_y, weight_x;
    int parts, transposed;
    int out_h, out_w, h, w, kh, kw, stride, pad_h, pad_w;
    RegionPlaces places; /* of the region in the hole on store */
} ConvArgs;
#endif
