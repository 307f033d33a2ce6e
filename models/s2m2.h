/* models/s2m2.h - S2M2, scalable stereo matching (Min et al., ICCV 2025), signed.
 *
 * Input: pictures (2B,3,H,W) of 0..255, u8 or f32, left ones first, H and W multiples of 32 (data/pad.h pads and crops
 * as the reference does). Outputs (B,1,H,W): disparity d = x_left - x_right in pixels of the left picture, positive in
 * front; occlusion 1 = visible in both eyes; confidence = probability that the error is below 4 px. */
#ifndef PANUM_MODELS_S2M2_H
#define PANUM_MODELS_S2M2_H
#include "nn/match.h"
#include "nn/net.h"

/* Three behaviours were released with one set of weights (commits: tools/ref/README.md). R1, October 2025: the lookup
 * reads at half-pixel positions, the coarse volume has every second row and column, upsampling weights are clipped. R2,
 * January 2026: the half-pixel positions only. R3, April 2026: none of these. */
typedef enum { S2M2_R3 = 0, S2M2_R2, S2M2_R1 } S2m2Behaviour;

typedef struct {
    int channels;             /* C: 128 S, 192 M, 256 L, 384 XL; 32 XS (ours) */
    int blocks;               /* T, multi-resolution transformer blocks: 1 S, 2 M, 3 L and XL; 1 XS */
    int refine_iterations;    /* local refinements; the reference uses 3; 0 to MATCH_REFINEMENTS_MAX */
    bool positive;            /* only d >= 0 (the reference's use_positivity) */
    bool cinematic_occlusion; /* s2m2cinematic: a match beyond the right edge is hidden too */
    bool output_upsample;     /* maps of twice the size */
    S2m2Behaviour behaviour;
} S2m2Options;

typedef struct {
    Tensor *disparity, *occlusion, *confidence;
} S2m2Output;

/* Records the network and makes these its outputs, by the names of the fields. */
S2m2Output s2m2(Net *net, Tensor *pictures, S2m2Options options);
/* The same nodes; gives every estimate on the way too, for training. `full` are the outputs. */
MatchStages s2m2_stages(Net *net, Tensor *pictures, S2m2Options options);

typedef struct {
    const char *name; /* "s2m2-S" */
    int channels, blocks;
} S2m2Size;
/* XS, S, M, L, XL. */
extern const S2m2Size s2m2_sizes[5];
const S2m2Size *s2m2_size(const char *name); /* "s2m2-S" or "S", NULL when unknown */
#endif
