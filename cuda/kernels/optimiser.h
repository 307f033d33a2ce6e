/* cuda/kernels/optimiser.h - arguments of a step of training on flat blocks of f32 (nn/parameters.h): gradients
 * gathered from where the plan left them, their norm, and the change of the weights. */
#ifndef PANUM_CUDA_KERNELS_OPTIMISER_H
#define PANUM_CUDA_KERNELS_OPTIMISER_H
#include "cuda/device/types.h"

enum { OPTIMISER_PIECE = 4096, OPTIMISER_GROUPS = 17 };

/* Up to OPTIMISER_PIECE numbers of one tensor. NULL: no gradient, zeros. */
typedef struct {
    const float *from;
    i64 to; /* in the block */
    int count, unused;
} GradientPiece;

typedef struct {
    const GradientPiece *piece; /* one a block of threads */
    float *block;
    int add; /* 0: the first of several parts */
} GatherArgs;

/* Up to OPTIMISER_PIECE neighbours in the block with the options of one group; both are multiples of 16. */
typedef struct {
    i64 offset;
    int count, group;
} OptimiserTile;

typedef struct {
    const float *gradient;
    const OptimiserTile *tile;
    double *sum; /* by tile: of squares */
} SquaresArgs;

typedef struct {
    double norm; /* of the gradients times the scale, before clipping; NaN where the loss was no number */
    float scale; /* on gradients, clipping included */
    int skipped; /* nothing is to change */
} OptimiserVerdict;

typedef struct {
    const double *sum;
    const float *loss; /* of each part, `losses_apart` floats from one to the next */
    OptimiserVerdict *verdict;
    double scale, clip; /* one over loss scale and parts; 0: never */
    int tiles, losses, losses_apart;
} VerdictArgs;

typedef struct {
    float keep, step, shrink; /* nn/optim.h: OptimRate */
} OptimiserRate;

typedef struct {
    float *weight, *moment1, *moment2, *average; /* what the method does not have is NULL */
    const float *gradient;
    const OptimiserTile *tile;
    const OptimiserVerdict *verdict;
    float gain1, keep2, gain2, root, epsilon; /* AdamW */
    float momentum;                           /* SGD */
    float towards;                            /* the average's share of the new weights */
    OptimiserRate rate[OPTIMISER_GROUPS];     /* by group */
} UpdateArgs;
#endif
