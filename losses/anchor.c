/* losses/anchor.c - stay where a teacher is sure: t = confidence occlusion, sum t |d - anchor| / max(sum t, 1).
 *
 * With a teacher that clips at zero, t is 0 where its disparity is not above 2 px: there the truth may be anything
 * below. */
#include "losses/losses.h"

#define CLIPPED_BELOW 2.0 /* pixels, of whatever size the training picture has: the reference's constant */

Tensor *loss_anchor(Tensor *disparity, Anchor anchor, AnchorTeacher teacher) {
    Tensor *weight = t_mul(anchor.confidence, anchor.occlusion);
    if (teacher == ANCHOR_POSITIVE) weight = t_mul(weight, t_above(anchor.disparity, CLIPPED_BELOW));
    return loss_weighted_mean(t_abs(t_sub(disparity, anchor.disparity)), weight);
}
