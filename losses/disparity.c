/* losses/disparity.c - absolute difference to the truth, in pixels of the picture, over all stages (stages.h).
 *
 * Known of the authors' (s2m2.md has no more): of the kind L1, with a term for the first estimate and a sum over the
 * refinements. Chosen by us: the shares; the comparison of coarse maps with every pixel under them; and that the first
 * estimate is compared only where it lies within its reach. It is a mean over five candidates round the plan's largest
 * entry, so it cannot move by more than two coarse pixels: where the truth is farther, the right candidate is another,
 * and that is for concentration.c to teach; a pull to the edge of the wrong peak would only blur the plan. Of
 * refinements and the result the error is bent: a wall that is 30 pixels off pulls all its pixels one way, the next
 * picture's the other way, and small errors, which a refinement can mend with what it looks up, drowned in that. Not so
 * where one eye alone sees: nothing is looked up there, and guesses that were let go ended hundreds of pixels off. */
#include "losses/stages.h"

enum { REACH = 2 }; /* coarse pixels */
#define BEND 8.0    /* pixels of the picture */

/* BEND ln(1 + e/BEND): the error itself while it is small; its slope is a half at BEND, a fifth at 30 pixels. */
static Tensor *bent(Tensor *error) {
    return t_affine(t_log(t_affine(error, 1 / BEND, 1)), BEND, 0);
}

Tensor *loss_disparity(const MatchStages *stages, MatchTruth truth) {
    const MatchStageList list = match_stage_list(stages);
    Tensor *seen = truth.occlusion_valid ? t_mul(truth.occlusion, truth.occlusion_valid) : truth.occlusion;
    StageMean mean = {0};
    for (int i = 0; i < list.count; i++) {
        const MatchStage *s = &list.at[i];
        Tensor *d = match_enlarge(s->maps.disparity, s->factor, s->factor);
        Tensor *error = t_abs(t_sub(d, truth.disparity)), *weight = truth.valid;
        if (s->maps.disparity == stages->initial.disparity)
            weight = t_mul(weight, t_affine(t_above(error, REACH * s->factor), -1, 1));
        else if (s->maps.disparity != stages->filled.disparity)
            error = t_add(error, t_mul(seen, t_sub(bent(error), error)));
        stage_mean_add(&mean, loss_weighted_mean(error, weight), s->share);
    }
    return stage_mean(&mean);
}
