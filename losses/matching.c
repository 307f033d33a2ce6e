/* losses/matching.c - the total of what S2M2 is trained with: disparity, concentration, occlusion, confidence. */
#include "losses/losses.h"

/* By size: early on a disparity is some pixels off and the others are between 0.3 and 1. Concentration, of which the
 * authors say that it leads the first stage, counts as much as those pixels. */
const MatchingWeights matching_weights = {.disparity = 1, .concentration = 5, .occlusion = 1, .confidence = 1};

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
