/* losses/translucency.c - glass, smoke, reflections: follow the anchor there more than elsewhere.
 *
 * Three cues, all constants for the gradient:
 *   low      = [confidence < 0.4] [occlusion > 0.5]: seen by both eyes, yet the teacher is unsure
 *   mismatch = [mean_c |L - Rt| > 0.08]: what the disparity finds in the right picture looks different
 *   edge     = [|d_x| + |d_y| > 2] [mean_c |L_x| + mean_c |L_y| < 0.1]: the disparity jumps, the picture does not
 *              (first differences, 0 in the last column and row)
 * m = 5x5 mean (zeros around, divided by 25) of clamp(0.4 low + 0.4 mismatch + 0.2 edge, 0, 1);
 * loss = sum g (1 + (boost - 1) m) |d - anchor| / max(sum g, 1).
 *
 * Ours: Rt = right at x - d, as in photometric.c; g = [confidence > 0.05], so that nothing is taught where there is no
 * truth. The reference: Rt = right at x + d (W-1)/W, the other side; g = [confidence > 0.05 or m > 0.3]. */
#include "losses/differences.h"
#include "losses/losses.h"

#define UNSURE 0.4
#define SEEN 0.5
#define MISMATCH 0.08
#define JUMP 2.0 /* pixels */
#define FLAT 0.1
#define TRUSTED 0.05
#define TRANSLUCENT 0.3
#define BOOST 3.0

static Tensor *below(Tensor *x, double limit) {
    return t_affine(t_at_least(x, limit), -1, 1);
}

/* Differences along x and y added on the grid of the map. */
static Tensor *both_ways(Tensor *x, Tensor *y, const Tensor *map) {
    x = t_reshape(t_pad_zeros(x, 1, 0, map->size[3]), 4, map->size);
    y = t_reshape(t_pad_zeros(y, 1, 0, map->size[2] * map->size[3]), 4, map->size);
    return t_add(x, y);
}

static Tensor *edge_cue(Tensor *disparity, Tensor *left) {
    if (disparity->size[2] < 2 || disparity->size[3] < 2) return t_affine(disparity, 0, 0);
    Tensor *jump =
        both_ways(absolute_difference(disparity, ALONG_X), absolute_difference(disparity, ALONG_Y), disparity);
    Tensor *change =
        both_ways(mean_absolute_difference(left, ALONG_X), mean_absolute_difference(left, ALONG_Y), disparity);
    return t_mul(t_above(jump, JUMP), below(change, FLAT));
}

static Tensor *mismatch_cue(Tensor *disparity, Tensor *left, Tensor *right, LossRule rule) {
    const double w = (double)disparity->size[3];
    Tensor *shift = rule == LOSS_REFERENCE ? t_affine(disparity, -(w - 1) / w, 0) : disparity;
    Tensor *moved = t_warp_rows(right, shift, .border = true).picture;
    Tensor *difference = t_sum_channels(t_abs(t_sub(left, moved)));
    return t_above(t_affine(difference, 1 / (double)left->size[1], 0), MISMATCH);
}

Translucency loss_translucency(Tensor *disparity, Tensor *left, Tensor *right, Anchor anchor,
                               TranslucencyOptions options) {
    const double boost = options.boost != 0 ? options.boost : BOOST;
    Tensor *constant = t_detach(disparity);
    Tensor *low = t_mul(below(anchor.confidence, UNSURE), t_above(anchor.occlusion, SEEN));
    Tensor *cues =
        t_add(t_add(t_affine(low, 0.4, 0), t_affine(mismatch_cue(constant, left, right, options.rule), 0.4, 0)),
              t_affine(edge_cue(constant, left), 0.2, 0));
    Tensor *mask = t_avg_pool2d(t_clamp(cues, 0, 1), .kernel = 5, .stride = 1, .pad = 2);
    mask = t_clamp(mask, 0, 1);
    Tensor *counted = t_above(anchor.confidence, TRUSTED);
    if (options.rule == LOSS_REFERENCE) counted = t_max(counted, t_above(mask, TRANSLUCENT));
    Tensor *distance = t_mul(t_abs(t_sub(disparity, anchor.disparity)), t_affine(mask, boost - 1, 1));
    return (Translucency){loss_weighted_mean(distance, counted), mask};
}
