/* losses/concentration.c - probabilistic mode concentration: the mass that the transport plan gives to the
 * neighbourhoods of the true matches (tensor/ops/ops.h: t_transport_mass).
 *
 * Under a coarse pixel lie factor^2 pixels of the picture; their disparities, divided by the factor and rounded, are
 * its candidates, equal ones counted once. S = the plan's mass within RADIUS columns of any of them; loss = mean of
 * max(1 - S - SLACK, 0) over the coarse pixels that have a candidate: the authors' form. Its gradient is that of S, so
 * where a plan still gives the truth no more than its share by chance, about (2 RADIUS + 1)/w, it is as small as that;
 * the logarithm, max(ln(1 - SLACK) - ln S, 0), asks for the same and has the gradient of S divided by S.
 *
 * Chosen by us: RADIUS 1 (a match between two columns has both, and the first estimate looks 2 far); only what both
 * eyes see has a candidate, since what is hidden should lie in the dustbin, as loss_occlusion says; and SLACK 0.25, so
 * that the loss can be 0: after three iterations of Sinkhorn even perfect scores leave a sixth to a fifth of a row's
 * mass in the dustbin (S <= 0.83 where wrong candidates score 0, 0.80 where they score -10, for widths 9 to 240:
 * computed), and with less slack scores would be pushed up for ever. */
#include "losses/stages.h"

#include <math.h>

enum { RADIUS = 1 };
#define SLACK 0.25
#define LEAST_MASS 1e-4 /* added inside both logarithms: a mass may be 0 */

Tensor *loss_concentration(const MatchStages *stages, MatchTruth truth, ConcentrationForm form) {
    Tensor *known = truth.occlusion_valid ? t_mul(truth.valid, truth.occlusion_valid) : truth.valid;
    Tensor *matched = t_above(t_mul(known, truth.occlusion), 0.5);
    Tensor *mass = t_transport_mass(stages->correlation, truth.disparity, matched, .transport = stages->transport,
                                    .radius = RADIUS, .factor = stages->factor);
    Tensor *any = t_above(t_avg_pool2d(matched, .kernel = stages->factor), 0);
    Tensor *missing;
    if (form == CONCENTRATION_LINEAR)
        missing = t_affine(mass, -1, 1 - SLACK);
    else
        missing = t_affine(t_log(t_affine(mass, 1, LEAST_MASS)), -1, log(1 - SLACK + LEAST_MASS));
    return loss_weighted_mean(t_relu(missing), any);
}
