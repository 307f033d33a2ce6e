/* losses/confidence.c - cross entropy between the confidence maps of all stages (stages.h) and whether the disparity of
 * the same stage is less than 4 pixels of the picture off (the authors' target). The target is a constant: a disparity
 * is not moved to make its confidence right. Cross entropy is our choice. */
#include "losses/stages.h"

#define CLOSE 4.0 /* pixels */

Tensor *loss_confidence(const MatchStages *stages, MatchTruth truth) {
    const MatchStageList list = match_stage_list(stages);
    StageMean mean = {0};
    for (int i = 0; i < list.count; i++) {
        const MatchStage *s = &list.at[i];
        if (!s->maps.confidence) continue;
        Tensor *d = match_enlarge(t_detach(s->maps.disparity), s->factor, s->factor);
        Tensor *close = t_affine(t_at_least(t_abs(t_sub(d, truth.disparity)), CLOSE), -1, 1);
        Tensor *sure = match_enlarge(s->maps.confidence, s->factor, 1);
        stage_mean_add(&mean, loss_weighted_mean(cross_entropy(sure, close), truth.valid), s->share);
    }
    return stage_mean(&mean);
}
