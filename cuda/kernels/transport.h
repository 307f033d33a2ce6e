/* cuda/kernels/transport.h - arguments of optimal transport over image rows. Offsets are in floats. */
#ifndef PANUM_CUDA_KERNELS_TRANSPORT_H
#define PANUM_CUDA_KERNELS_TRANSPORT_H
#include "cuda/device/types.h"

/* A block has one image row: row block_x % h of pair block_x / h. Shared memory holds vectors of `pitch` floats
 * (more than w: the dustbin comes last; a multiple of 32), and behind them, if on_chip, w x w more. Results are dense:
 * [pair][h][w]. */
typedef struct {
    const float *scores; /* row-major: columns side by side */
    i64 pair, row, line; /* from a pair, an image row, a left column to the next */
    float *disparity, *confidence, *occlusion;
    int h, w, pitch, iterations, positive, on_chip;
} TransportArgs;

/* One number a left column, or a pixel: map[pair][row][column] by strides. */
typedef struct {
    const float *at; /* NULL: none */
    i64 pair, row, column;
} TransportMap;

/* transport_mass, and the gradients of it and of transport: from what the three results get, or from masses in windows
 * of radius columns round the disparities `truth` of the factor x factor pixels where `valid` is positive. The vectors
 * of the gradient are those of every iteration, then (in windows) a bit a column for each row. */
typedef struct {
    TransportArgs transport;
    TransportMap d_disparity, d_confidence, d_occlusion, truth, valid, d_mass;
    float *mass;     /* [pair][h][w] */
    float *d_scores; /* [pair][h][w][w] */
    int radius, factor, windows;
} TransportBackArgs;

/* Vectors in shared memory: c, a, b; or for the gradient c, a^0..a^T, b^1..b^T, x^1..x^T, y^1..y^(T-1), s, and four
 * that say what is asked of a row; in the fast rung then so many for sums of parts of the rows. */
enum { TRANSPORT_VECTORS = 3, TRANSPORT_PARTS = 8 };
#define TRANSPORT_BACK_VECTORS(iterations) (4 * (iterations) + 6)

#endif
