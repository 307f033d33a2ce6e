/* losses/differences.h - first differences of maps and pictures, as smoothness and translucency use them.
 *
 * Results are rank 2, where the pairs of neighbours lie without gaps: along x (N*H, W-1), along y (N, (H-1)*W). */
#ifndef PANUM_LOSSES_DIFFERENCES_H
#define PANUM_LOSSES_DIFFERENCES_H
#include "tensor/ops/ops.h"

typedef enum { ALONG_X, ALONG_Y } Along;
/* |x(next) - x| of a map (N,1,H,W). W (along x) or H (along y) must be at least 2. */
Tensor *absolute_difference(Tensor *map, Along along);
/* The mean of the same over the channels of a picture. */
Tensor *mean_absolute_difference(Tensor *picture, Along along);
#endif
