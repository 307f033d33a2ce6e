/* losses/cinematic.c - the weighted totals of the cinematic recipe, by phase. */
#include "losses/losses.h"

const CinematicWeights cinematic_phase_1 = {"phase 1", 1, 0.3, 1, 0.1, 0, 0};
const CinematicWeights cinematic_phase_2 = {"phase 2", 1, 0.2, 1, 0.05, 0, 0};
const CinematicWeights cinematic_phase_3 = {"phase 3", 1, 0.2, 1, 0.05, 0.05, 1.5};
const CinematicWeights cinematic_translucent = {"translucent", 1, 0.2, 0.5, 0.05, 0.5, 3};

static Tensor *add_weighted(Tensor *total, Tensor *loss, double weight) {
    Tensor *part = t_affine(loss, weight, 0);
    return total ? t_add(total, part) : part;
}

Cinematic loss_cinematic(Tensor *disparity, CinematicInputs in, CinematicWeights weights) {
    Cinematic c = {0};
    const AnchorTeacher teacher = in.rule == LOSS_REFERENCE ? ANCHOR_POSITIVE : in.teacher;
    if (weights.photometric != 0) {
        c.photometric = loss_photometric(disparity, in.left, in.right);
        c.total = add_weighted(c.total, c.photometric, weights.photometric);
    }
    if (weights.anchor != 0) {
        c.anchor = loss_anchor(disparity, in.anchor, teacher);
        c.total = add_weighted(c.total, c.anchor, weights.anchor);
    }
    if (weights.sign_magnitude != 0) {
        SignMagnitude s = loss_sign_magnitude(disparity, in.match_target, in.match_weight);
        c.sign_magnitude = s.total, c.sign = s.sign, c.magnitude = s.magnitude;
        c.total = add_weighted(c.total, c.sign_magnitude, weights.sign_magnitude);
    }
    if (weights.smoothness != 0) {
        c.smoothness = loss_smoothness(disparity, in.left);
        c.total = add_weighted(c.total, c.smoothness, weights.smoothness);
    }
    if (weights.translucency != 0) {
        Translucency t =
            loss_translucency(disparity, in.left, in.right, in.anchor, (TranslucencyOptions){weights.boost, in.rule});
        c.translucency = t.loss, c.mask = t_mean(t.mask);
        c.total = add_weighted(c.total, c.translucency, weights.translucency);
    }
    if (!c.total) c.total = t_affine(t_sum(disparity), 0, 0);
    return c;
}
