/* cuda/kernels/transport.h - arguments of optimal transport over image rows. Offsets are in floats. */
#ifndef PANUM_CUDA_KERNELS_TRANSPORT_H
#define PANUM_CUDA_KERNELS_TRANSPORT_H
#include "cuda/device/types.h"

/* A block has one image row: row block_x % h of pair block_x / h. Shared memory holds vectors of `pitch` floats, and
 * behind them, if on_chip, w x w more. Results are dense: [pair][h][w]. */
typedef struct {
    const float *scores; /* row-major: columns side by side */
    i64 pair, row, line; /* from a pair, an image row, a left column to the next */
    float *disparity, *confidence, *occlusion;
    int h, w, pitch, iterations, positive, on_chip;
} TransportArgs;

/* More than w (the dustbin's place), and whole cache lines. */
static inline int transport_pitch(int w) {
    return w / 32 * 32 + 32;
}
#endif
