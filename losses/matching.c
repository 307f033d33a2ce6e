/* losses/matching.c - the total of what S2M2 is trained with: disparity, concentration, occlusion, confidence. */
#include "losses/losses.h"

/* Chosen by us. The disparity is in pixels, some at first and below one later; the logarithm of the mass begins near 3,
 * the two cross entropies below 1. The authors say that concentration leads the first stage: so it does, most of all at
 * first. Their own form of it needs a larger weight (about 5 for the same size) and moves slowly as long as the plan is
 * far off (concentration.c). */
const MatchingWeights matching_weights = {
    .disparity = 1, .concentration = 1, .occlusion = 1, .confidence = 1, .form = CONCENTRATION_LOG};

Matching loss_matching(const MatchStages *stages, MatchTruth truth, MatchingWeights weights) {
    Matching m = {.disparity = loss_disparity(stages, truth),
                  .concentration = loss_concentration(stages, truth, weights.form),
                  .occlusion = loss_occlusion(stages, truth),
                  .confidence = loss_confidence(stages, truth)};
    m.error = loss_weighted_mean(t_abs(t_sub(t_detach(stages->full.disparity), truth.disparity)), truth.valid);
    m.total =
        t_add(t_add(t_affine(m.disparity, weights.disparity, 0), t_affine(m.concentration, weights.concentration, 0)),
              t_add(t_affine(m.occlusion, weights.occlusion, 0), t_affine(m.confidence, weights.confidence, 0)));
    return m;
}
