/* losses/matching.c - the total of what S2M2 is trained with: disparity, concentration, occlusion, confidence. */
#include "base/err.h"
#include "losses/losses.h"

/* Chosen by us. The disparity is in pixels, some at first and below one later; the logarithm of the mass begins near 3,
 * the two cross entropies below 1. The authors say that concentration leads the first stage: so it does, most of all at
 * first. Their own form of it needs a larger weight (about 5 for the same size) and moves slowly as long as the plan is
 * far off (concentration.c). */
const MatchingWeights matching_weights = {
    .disparity = 1, .concentration = 1, .occlusion = 1, .confidence = 1, .form = CONCENTRATION_LOG};

static Tensor *weighted(Tensor *loss, double weight) {
    return loss ? t_affine(loss, weight, 0) : NULL;
}

static Tensor *sum(Tensor *a, Tensor *b) {
    return a && b ? t_add(a, b) : a ? a : b;
}

Matching loss_matching(const MatchStages *stages, MatchTruth truth, MatchingWeights w) {
    BUG_IF(w.disparity == 0 && w.concentration == 0 && w.occlusion == 0 && w.confidence == 0, "a loss of nothing");
    Matching m = {.disparity = w.disparity != 0 ? loss_disparity(stages, truth) : NULL,
                  .concentration = w.concentration != 0 ? loss_concentration(stages, truth, w.form) : NULL,
                  .occlusion = w.occlusion != 0 ? loss_occlusion(stages, truth) : NULL,
                  .confidence = w.confidence != 0 ? loss_confidence(stages, truth) : NULL};
    m.error = loss_weighted_mean(t_abs(t_sub(t_detach(stages->full.disparity), truth.disparity)), truth.valid);
    m.total = sum(sum(weighted(m.disparity, w.disparity), weighted(m.concentration, w.concentration)),
                  sum(weighted(m.occlusion, w.occlusion), weighted(m.confidence, w.confidence)));
    return m;
}
