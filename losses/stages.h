/* losses/stages.h - what the losses over all stages of a match share.
 *
 * A coarse map is compared with the truth at the picture's size: every coarse pixel with the factor^2 pixels under it.
 * So no truth has to be averaged over an edge, and the best a coarse pixel can do is their median (absolute difference)
 * or their share (cross entropy).
 *
 * A loss is the weighted mean of its stages' losses: result 1, the first estimate and the filled-in one INITIAL_SHARE,
 * refinement i of n REFINEMENT_DECAY^(n-i), as RAFT weighs its iterations. It does not grow with the refinements. */
#ifndef PANUM_LOSSES_STAGES_H
#define PANUM_LOSSES_STAGES_H
#include "losses/losses.h"

#define INITIAL_SHARE 0.5
#define REFINEMENT_DECAY 0.8

enum { MATCH_STAGES_MAX = MATCH_REFINEMENTS_MAX + 3 };

typedef struct {
    MatchMaps maps;
    int factor; /* pixels of the picture; 1 for the result */
    double share;
} MatchStage;

typedef struct {
    int count;
    MatchStage at[MATCH_STAGES_MAX];
} MatchStageList;

/* initial, filled, refined 1 .. n, full. */
MatchStageList match_stage_list(const MatchStages *stages);
/* A coarse map at the picture's size: each pixel repeated, times `scale`. */
Tensor *match_enlarge(Tensor *coarse, int factor, double scale);

/* Sums of share times loss, and at the end divided by the shares. Stages are added in order. */
typedef struct {
    Tensor *sum;
    double shares;
} StageMean;
void stage_mean_add(StageMean *mean, Tensor *loss, double share);
Tensor *stage_mean(const StageMean *mean);

/* -(y ln q + (1 - y) ln (1 - q)), q = eps + (1 - 2 eps) p: never infinite, and a p that is quite wrong still has a
 * gradient, which a clamp would take away. */
Tensor *cross_entropy(Tensor *probability, Tensor *yes);
#endif
