/* losses/concentration.c - probabilistic mode concentration: the mass that the transport plan gives to the
 * neighbourhoods of the true matches (tensor/ops/ops.h: t_transport_mass).
 *
 * Under a coarse pixel lie factor^2 pixels of the picture; their disparities, divided by the factor and rounded, are
 * its candidates, equal ones counted once. S = the plan's mass within RADIUS columns of any of them; loss = mean of
 * max(1 - S - SLACK, 0) over the coarse pixels that have a candidate: the authors' form. Chosen by us: RADIUS 1 (a
 * match between two columns has both, and the first estimate looks 2 far); SLACK 0.05 (scores need not grow without
 * end); only what both eyes see has a candidate, since what is hidden should lie in the dustbin, as loss_occlusion
 * says. */
#include "losses/stages.h"

enum { RADIUS = 1 };
#define SLACK 0.05

Tensor *loss_concentration(const MatchStages *stages, MatchTruth truth) {
    Tensor *known = truth.occlusion_valid ? t_mul(truth.valid, truth.occlusion_valid) : truth.valid;
    Tensor *matched = t_above(t_mul(known, truth.occlusion), 0.5);
    Tensor *mass = t_transport_mass(stages->correlation, truth.disparity, matched, .transport = stages->transport,
                                    .radius = RADIUS, .factor = stages->factor);
    Tensor *any = t_above(t_avg_pool2d(matched, .kernel = stages->factor), 0);
    return loss_weighted_mean(t_relu(t_affine(mass, -1, 1 - SLACK)), any);
}
