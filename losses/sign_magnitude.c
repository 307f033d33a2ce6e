/* losses/sign_magnitude.c - the disparity should have the sign, and the size, that block matching finds.
 *
 * Active is where the match has a weight c > 0. With s = sign of the target n there:
 *   sign      = sum active max(0, -d s) / max(sum active, 1)     (no margin; a target of 0 asks for no sign)
 *   magnitude = sum active c |d - n| / max(sum active, 1)
 * Both rules of losses.h are the same here: what differs is the target. The reference's matcher gives
 * n = x_right - x_left, so that there the loss is smallest at -d. */
#include "losses/losses.h"

#define SIGN_SHARE 0.3
#define MAGNITUDE_SHARE 0.7

SignMagnitude loss_sign_magnitude(Tensor *disparity, Tensor *target, Tensor *weight) {
    Tensor *active = t_above(weight, 0);
    Tensor *sign = t_sub(t_above(target, 0), t_above(t_affine(target, -1, 0), 0));
    Tensor *hinge = t_relu(t_mul(t_affine(disparity, -1, 0), sign));
    Tensor *distance = t_mul(weight, t_abs(t_sub(disparity, target)));
    SignMagnitude loss = {loss_weighted_mean(hinge, active), loss_weighted_mean(distance, active), NULL};
    loss.total = t_add(t_affine(loss.sign, SIGN_SHARE, 0), t_affine(loss.magnitude, MAGNITUDE_SHARE, 0));
    return loss;
}
