/* losses/losses.h - what training minimises: each loss is a function that records nodes and gives a tensor of shape
 * [1].
 *
 * Maps are (N,1,H,W), pictures (N,3,H,W) with values 0..1; means run over the whole batch. Disparity is everywhere
 * d = x_left - x_right in pixels of the maps it is given with, positive in front of the screen. A truth that is missing
 * is a weight of 0, never a special number (what lies under the 0 must be finite); a mean over nothing is 0.
 *
 * The cinematic losses are those of s2m2cinematic (DepthAuteur, b6c682a). The reference pulls one map to two signs:
 * its block matcher's target is -d, and its translucency warp looks to the wrong side, while photometric and anchor
 * terms want d. Ours has one sign; LOSS_REFERENCE reproduces the original for comparisons. Where else the two differ is
 * said at each loss. */
#ifndef PANUM_LOSSES_LOSSES_H
#define PANUM_LOSSES_LOSSES_H
#include "nn/match.h"
#include "tensor/ops/ops.h"

typedef enum { LOSS_OURS = 0, LOSS_REFERENCE } LossRule;

/* sum of weight * x / max(sum of weight, 1); weight of x's shape, without gradient. The floor of 1 is the reference's
 * and makes the mean of nothing 0; it also damps a mean over less than one pixel. (mean.c) */
Tensor *loss_weighted_mean(Tensor *x, Tensor *weight);

/* ---- cinematic ---- */

/* SSIM and absolute difference between the left picture and the right one moved by the disparity. (photometric.c) */
Tensor *loss_photometric(Tensor *disparity, Tensor *left, Tensor *right);

/* What a teacher says of each pixel; missing is confidence 0. */
typedef struct {
    Tensor *disparity, *confidence, *occlusion; /* occlusion: 1 seen by both eyes */
} Anchor;
typedef enum {
    ANCHOR_SIGNED = 0, /* the teacher knows both signs: every pixel counts with its weight */
    ANCHOR_POSITIVE,   /* it knows d >= 0 only (negatives came out as about 0): what is not above 2 px is free. The
                          reference's rule */
} AnchorTeacher;
/* Weighted absolute difference; the weight is confidence times occlusion. (anchor.c) */
Tensor *loss_anchor(Tensor *disparity, Anchor anchor, AnchorTeacher teacher);

/* Target and weight from tensor/ops/ncc.h: ncc_match for ours, ncc_match_reference for the reference, whose target has
 * the other sign. (sign_magnitude.c) */
typedef struct {
    Tensor *sign, *magnitude, *total; /* total = 0.3 sign + 0.7 magnitude */
} SignMagnitude;
SignMagnitude loss_sign_magnitude(Tensor *disparity, Tensor *target, Tensor *weight);

/* First differences of the disparity, damped where the picture has edges. (smoothness.c) */
Tensor *loss_smoothness(Tensor *disparity, Tensor *left);

/* The anchor once more, with more weight where a surface may be translucent. (translucency.c) */
typedef struct {
    Tensor *loss;
    Tensor *mask; /* (N,1,H,W), 0..1: how translucent it looks; no gradient */
} Translucency;
typedef struct {
    double boost; /* weight where the mask is 1; 0 means 3 */
    LossRule rule;
} TranslucencyOptions;
Translucency loss_translucency(Tensor *disparity, Tensor *left, Tensor *right, Anchor anchor,
                               TranslucencyOptions options);

/* The weighted total of a phase of the cinematic recipe. (cinematic.c) */
typedef struct {
    const char *name;
    double photometric, anchor, sign_magnitude, smoothness, translucency;
    double boost; /* of translucency; read when its weight is not 0 */
} CinematicWeights;
extern const CinematicWeights cinematic_phase_1, cinematic_phase_2, cinematic_phase_3;
extern const CinematicWeights cinematic_translucent; /* the reference's default of its combined class */
typedef struct {
    Tensor *left, *right; /* 0..1 */
    Anchor anchor;
    AnchorTeacher teacher;               /* ANCHOR_POSITIVE whatever is said here when the rule is the reference's */
    Tensor *match_target, *match_weight; /* of the block matcher that fits the rule */
    LossRule rule;
} CinematicInputs;
typedef struct {
    Tensor *total;
    Tensor *photometric, *anchor, *sign_magnitude, *smoothness,
        *translucency;        /* unweighted; NULL where the weight is 0 */
    Tensor *sign, *magnitude; /* the parts of sign_magnitude */
    Tensor *mask;             /* mean of the translucency mask; NULL as translucency */
} Cinematic;
Cinematic loss_cinematic(Tensor *disparity, CinematicInputs inputs, CinematicWeights weights);

/* ---- with truth: what S2M2 is trained with (nn/match.h: the stages) ---- */

/* Of the left picture, at its size. */
typedef struct {
    Tensor *disparity;
    Tensor *valid;           /* 1 where the disparity is known */
    Tensor *occlusion;       /* 1 seen by both eyes, 0 hidden from the right one or outside its picture */
    Tensor *occlusion_valid; /* 1 where that is known; NULL: as `valid` */
} MatchTruth;

/* |d - truth|, a weighted mean of all stages. (disparity.c) */
Tensor *loss_disparity(const MatchStages *stages, MatchTruth truth);
/* The transport plan's mass should lie near the truth. (concentration.c) */
typedef enum {
    CONCENTRATION_LINEAR = 0, /* max(1 - slack - mass, 0): the authors' */
    CONCENTRATION_LOG,        /* max(ln(1 - slack) - ln mass, 0): teaches more where the plan is far off */
} ConcentrationForm;
Tensor *loss_concentration(const MatchStages *stages, MatchTruth truth, ConcentrationForm form);
/* Cross entropy with whether both eyes see the point, over all stages that say. (occlusion.c) */
Tensor *loss_occlusion(const MatchStages *stages, MatchTruth truth);
/* Cross entropy with whether the stage's own disparity is less than 4 pixels off. (confidence.c) */
Tensor *loss_confidence(const MatchStages *stages, MatchTruth truth);

typedef struct {
    double disparity, concentration, occlusion, confidence;
    ConcentrationForm form;
} MatchingWeights;
extern const MatchingWeights matching_weights; /* chosen by us: the authors' are not known (matching.c) */
typedef struct {
    Tensor *total;
    Tensor *disparity, *concentration, *occlusion, *confidence; /* unweighted; NULL where the weight is 0 */
    Tensor *error; /* mean |d - truth| of the result, in pixels: for people; takes no part in the total */
} Matching;
Matching loss_matching(const MatchStages *stages, MatchTruth truth, MatchingWeights weights);
#endif
