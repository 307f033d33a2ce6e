/* tensor/ops/conv_kernels.h - the inner loops of convolution and matrix products, one table for each instruction set.
 * What calls them: conv_direct.c (implicit matrix product), conv_winograd.c, matmul.c. Inside tensor/ops only.
 *
 * Words. A *panel* is `width` neighbouring output columns of a weight matrix, laid out k by k: panel[k*width + column];
 * width is one or two vectors, columns past the last are zero. A *stretch* is a run of k for which the `rows` operands
 * lie at one distance from each other, so that they are read in place by broadcast loads. A block is at most `rows`
 * output rows by one panel; its accumulators stay in registers over all stretches. */
#ifndef PANUM_TENSOR_OPS_CONV_KERNELS_H
#define PANUM_TENSOR_OPS_CONV_KERNELS_H
#include "base/cpu.h"
#include <stdint.h>

typedef struct {
    const float *a; /* first row's operand for k0 */
    int64_t step;   /* floats from a row to the next */
    int64_t k0, k;  /* the stretch covers k0 .. k0+k-1 of the panel */
} Stretch;

/* The small Winograd algorithms, by the outputs and taps of one tile. */
typedef enum {
    WINOGRAD_4X4, /* F(4x4,3x3): 36 products for 16 outputs, 4 times fewer than direct */
    WINOGRAD_2X2, /* F(2x2,3x3): 16 for 4, 2.25 times fewer */
    WINOGRAD_4X1, /* F(4,3) down columns, for 3x1 kernels: 6 for 4, twice fewer */
    WINOGRAD_1X4, /* F(4,3) along rows, for 1x3 kernels */
    WINOGRAD_6X6, /* F(6x6,3x3): 64 for 36, 5.06 times fewer, and four times the error of 4x4 */
    WINOGRAD_6X1, /* F(6,3) down columns: 8 for 6, 2.25 times fewer */
    WINOGRAD_1X6, /* F(6,3) along rows */
    WINOGRAD_KINDS,
} WinogradKind;

typedef struct {
    int tile_h, tile_w;   /* outputs */
    int patch_h, patch_w; /* inputs, and products: tile + taps - 1 */
} WinogradSize;
extern const WinogradSize winograd_size[WINOGRAD_KINDS];

/* What a transform reads: the rows top..bottom-1 and columns left..right-1 of a patch exist, the rest of it lies
 * outside the map and counts as zero. */
typedef struct {
    const float *at;    /* its pixel (top, left) */
    int64_t row, pixel; /* strides in floats */
    int64_t top, bottom, left, right;
} WinogradPatch;

/* Where the outputs of a tile go: the first `height` rows and `width` columns of them. */
typedef struct {
    float *at;
    int64_t row, pixel;
    int64_t height, width;
} WinogradTile;

/* What becomes of a block's sums. */
typedef enum {
    BLOCK_SET,
    BLOCK_ADD, /* to what is there; whole vectors of columns only */
    BLOCK_PAST /* past the caches where c and c_stride are multiples of a vector, else as SET; whole vectors only. For
                  results that memory has to take anyway: it is not read first. stored_past() before others read */
} BlockStore;

typedef struct {
    CpuLevel level;
    int vector; /* floats of a vector */
    int rows;   /* most rows of a block */
    /* c[row*c_stride + column] = bias[column] + sum over the stretches; 1..rows rows, 1 or 2 vectors of columns of
     * which the first `columns` are stored. bias NULL is zero; otherwise it has whole vectors. */
    void (*block)(int64_t rows, int vectors, const Stretch *stretch, int64_t stretches, const float *panel,
                  const float *bias, float *c, int64_t c_stride, int64_t columns, BlockStore store);
    /* U = G g G^T for every (channel, column) of one panel of direct weights, [tap][channel][width] ->
     * [product][channel] [width]; products are `product` floats apart. Channels first..last-1 only. */
    void (*winograd_weights)(WinogradKind kind, const float *panel, int64_t channels, int64_t first, int64_t last,
                             int64_t width, float *u, int64_t product);
    /* V = B^T d B of one patch of `channels` channels; v gets the products, `product` floats apart. */
    void (*winograd_input)(WinogradKind kind, const WinogradPatch *from, int64_t channels, float *v, int64_t product);
    /* y = A^T m A + bias of one tile and `columns` columns. m is read in whole vectors, bias too (NULL is zero). */
    void (*winograd_output)(WinogradKind kind, const float *m, int64_t product, const float *bias, int64_t columns,
                            const WinogradTile *to);
    /* For the gradient of weights. v = A d A^T of the gradients of one tile's outputs, which lie as a patch does; and
     * taps = G^T m G of `columns` columns, read and written in whole vectors. */
    void (*winograd_spread)(WinogradKind kind, const WinogradPatch *from, int64_t channels, float *v, int64_t product);
    void (*winograd_gather)(WinogradKind kind, const float *m, int64_t product, int64_t columns, float *tap,
                            int64_t tap_stride);
    /* Few outputs: c[row*c_stride + o] = bias[o] + sums, lanes run over k, each vector of operands is used for all
     * outputs. weights[o*weight_stride + k]; at most FEW_OUTPUTS of them. */
    void (*few)(int64_t rows, const Stretch *stretch, int64_t stretches, const float *weights, int64_t weight_stride,
                int64_t outputs, const float *bias, float *c, int64_t c_stride);
    /* to[i] += the pixels x .. x+count-1 of one row of a map enlarged to twice its size, bilinearly with half-pixel
     * centres. `near` and `far` are the rows of the map that have 3/4 and 1/4 of the weight, `width` pixels `pixel`
     * floats apart; results lie `stride` apart. */
    void (*add_doubled)(const float *near, const float *far, int64_t pixel, int64_t width, int64_t x, int64_t count,
                        int64_t columns, float *to, int64_t stride);
    /* Lays a computed matrix out as a panel: panel[k*width + j] = b[k*k_stride + j*j_stride] for j < columns, zero up
     * to width. Fast when one of the strides is 1. */
    void (*panel)(const float *b, int64_t k_stride, int64_t j_stride, int64_t k, int64_t columns, int64_t width,
                  float *panel);
} ConvKernels;

enum { FEW_OUTPUTS = 4 };

/* Products of bf16 pairs, summed in f32 (vdpbf16ps: two products a lane, both rounded as one). A 4-byte element of
 * operands and panels holds the k-th pair, and all counts of k are counts of pairs; else as `block` above. */
typedef struct {
    void (*block)(int64_t rows, int vectors, const Stretch *stretch, int64_t stretches, const float *panel,
                  const float *bias, float *c, int64_t c_stride, int64_t columns, BlockStore store);
    void (*convert)(const float *from, int64_t count, uint16_t *to); /* round to nearest even */
} Bf16Kernels;

/* The table of cpu_level(). */
const ConvKernels *conv_kernels(void);
/* NULL where the processor has none. Blocks are those of the AVX-512 table. */
const Bf16Kernels *bf16_kernels(void);

extern const ConvKernels conv_kernels_base, conv_kernels_avx2, conv_kernels_avx512;
extern const Bf16Kernels bf16_kernels_avx512;
#endif
