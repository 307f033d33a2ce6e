/* losses/occlusion.c - cross entropy between the occlusion maps of all stages (stages.h) and the truth: 1 where both
 * eyes see the point. The first estimate's is the sum over a row of the plan (the authors train it so); cross entropy
 * is our choice. */
#include "losses/stages.h"

Tensor *loss_occlusion(const MatchStages *stages, MatchTruth truth) {
    const MatchStageList list = match_stage_list(stages);
    Tensor *known = truth.occlusion_valid ? truth.occlusion_valid : truth.valid;
    StageMean mean = {0};
    for (int i = 0; i < list.count; i++) {
        const MatchStage *s = &list.at[i];
        if (!s->maps.occlusion) continue;
        Tensor *seen = match_enlarge(s->maps.occlusion, s->factor, 1);
        stage_mean_add(&mean, loss_weighted_mean(cross_entropy(seen, truth.occlusion), known), s->share);
    }
    return stage_mean(&mean);
}
