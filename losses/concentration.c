/* losses/concentration.c - probabilistic mode concentration: the mass that the transport plan gives to the
 * neighbourhoods of the true matches (tensor/ops/ops.h: t_transport_mass).
 *
 * Under a coarse pixel lie factor^2 pixels of the picture; their disparities, divided by the factor and rounded, are
 * its candidates, equal ones counted once. S = the plan's mass within RADIUS columns of any of them; loss = mean of
 * max(1 - S - SLACK, 0) over the coarse pixels that have a candidate: the authors' form.
 *
 * Chosen by us: RADIUS 1 (a match between two columns has both, and the first estimate looks 2 far); only what both
 * eyes see has a candidate, since what is hidden should lie in the dustbin, as loss_occlusion says; and SLACK 0.25, so
 * that the loss can be 0: after three iterations of Sinkhorn even perfect scores leave a sixth to a fifth of a row's
 * mass in the dustbin (S <= 0.83 where wrong candidates score 0, 0.80 where they score -10, for widths 9 to 240:
 * computed), and with less slack scores would be pushed up for ever. */
#include "losses/stages.h"

enum { RADIUS = 1 };
#define SLACK 0.25

Tensor *loss_concentration(const MatchStages *stages, MatchTruth truth) {
    Tensor *known = truth.occlusion_valid ? t_mul(truth.valid, truth.occlusion_valid) : truth.valid;
    Tensor *matched = t_above(t_mul(known, truth.occlusion), 0.5);
    Tensor *mass = t_transport_mass(stages->correlation, truth.disparity, matched, .transport = stages->transport,
                                    .radius = RADIUS, .factor = stages->factor);
    Tensor *any = t_above(t_avg_pool2d(matched, .kernel = stages->factor), 0);
    return loss_weighted_mean(t_relu(t_affine(mass, -1, 1 - SLACK)), any);
}
