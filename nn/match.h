/* nn/match.h - what a stereo matcher estimates on its way from coarse to fine: filled by models/, read by losses/.
 *
 * Disparity d = x_left - x_right in pixels of the map it is in; occlusion 1 = seen by both eyes; confidence 0..1. */
#ifndef PANUM_NN_MATCH_H
#define PANUM_NN_MATCH_H
#include "tensor/ops/ops.h"

typedef struct {
    Tensor *disparity, *confidence, *occlusion; /* (B,1,h,w) each; a stage without one of them has NULL there */
} MatchMaps;

enum { MATCH_REFINEMENTS_MAX = 64 };

typedef struct {
    int factor;                 /* how many pixels of the picture one of the coarse maps is wide: 4 */
    Tensor *correlation;        /* (B,h,w,w): left column, right column; what the transport is made of */
    TransportOptions transport; /* as it was run */
    MatchMaps initial;          /* coarse: from the transport plan */
    MatchMaps filled;           /* coarse: disparity only, filled in from context where the plan was not sure */
    int refinements;
    MatchMaps refined[MATCH_REFINEMENTS_MAX]; /* coarse, in order */
    MatchMaps full;                           /* of the picture's size: what a match gives */
} MatchStages;
#endif
