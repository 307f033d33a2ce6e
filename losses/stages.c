#include "losses/stages.h"
#include "base/err.h"

#include <math.h>

#define PROBABILITY_EPS 1e-4

MatchStageList match_stage_list(const MatchStages *stages) {
    MatchStageList list = {0};
    list.at[list.count++] = (MatchStage){stages->initial, stages->factor, INITIAL_SHARE};
    list.at[list.count++] = (MatchStage){stages->filled, stages->factor, INITIAL_SHARE};
    for (int i = 0; i < stages->refinements; i++)
        list.at[list.count++] =
            (MatchStage){stages->refined[i], stages->factor, pow(REFINEMENT_DECAY, stages->refinements - 1 - i)};
    list.at[list.count++] = (MatchStage){stages->full, 1, 1};
    return list;
}

Tensor *match_enlarge(Tensor *coarse, int factor, double scale) {
    BUG_IF(factor < 1 || (factor & (factor - 1)), "a stage %d times smaller than the picture", factor);
    Tensor *map = scale == 1 ? coarse : t_affine(coarse, scale, 0);
    for (; factor > 1; factor /= 2) map = t_upsample2_nearest(map);
    return map;
}

void stage_mean_add(StageMean *mean, Tensor *loss, double share) {
    Tensor *part = t_affine(loss, share, 0);
    mean->sum = mean->sum ? t_add(mean->sum, part) : part;
    mean->shares += share;
}

Tensor *stage_mean(const StageMean *mean) {
    return t_affine(mean->sum, 1 / mean->shares, 0);
}

Tensor *cross_entropy(Tensor *probability, Tensor *yes) {
    Tensor *q = t_affine(probability, 1 - 2 * PROBABILITY_EPS, PROBABILITY_EPS);
    Tensor *if_yes = t_mul(yes, t_log(q));
    Tensor *if_no = t_mul(t_affine(yes, -1, 1), t_log(t_affine(q, -1, 1)));
    return t_affine(t_add(if_yes, if_no), -1, 0);
}
