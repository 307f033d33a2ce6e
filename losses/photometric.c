/* losses/photometric.c - does the right picture, moved by the disparity, look like the left one?
 *
 * R(x) = right at x - d, linear along the row, held at the border; valid where 0 < x - d < W - 1. Per channel, with
 * 3x3 means m (zeros around, divided by 9 everywhere):
 *   s_L = max(m[L^2] - m[L]^2, 0), s_R likewise, s_LR = m[L R] - m[L] m[R]
 *   SSIM = (2 m[L] m[R] + 1e-4) (2 s_LR + 9e-4) / ((m[L]^2 + m[R]^2 + 1e-4) (s_L + s_R + 9e-4))
 *   e = 0.85 mean_c clamp((1 - SSIM)/2, 0, 1) + 0.15 mean_c |L - R|
 * loss = sum valid e / max(sum valid, 1). The gradient goes through R only (Wang et al. 2004 for SSIM; the mix is
 * Godard et al. 2017). Both rules of losses.h are the same here. */
#include "losses/losses.h"

#include <math.h>

#define SSIM_SHARE 0.85
#define SSIM_LUMINANCE 1e-4
#define SSIM_CONTRAST 9e-4

static Tensor *mean3(Tensor *x) {
    return t_avg_pool2d(x, .kernel = 3, .stride = 1, .pad = 1);
}

static Tensor *mean_channels(Tensor *x) {
    return t_affine(t_sum_channels(x), 1 / (double)x->size[1], 0);
}

/* max(m[x^2] - m[x]^2, 0); the difference may round below 0. */
static Tensor *variance(Tensor *x, Tensor *squared_mean) {
    return t_clamp(t_sub(mean3(t_square(x)), squared_mean), 0, INFINITY);
}

static Tensor *dissimilarity(Tensor *l, Tensor *r) {
    Tensor *ml = mean3(l), *mr = mean3(r), *product = t_mul(ml, mr);
    Tensor *ml2 = t_square(ml), *mr2 = t_square(mr);
    Tensor *covariance = t_sub(mean3(t_mul(l, r)), product);
    Tensor *above = t_mul(t_affine(product, 2, SSIM_LUMINANCE), t_affine(covariance, 2, SSIM_CONTRAST));
    Tensor *below = t_mul(t_affine(t_add(ml2, mr2), 1, SSIM_LUMINANCE),
                          t_affine(t_add(variance(l, ml2), variance(r, mr2)), 1, SSIM_CONTRAST));
    return t_clamp(t_affine(t_div(above, below), -0.5, 0.5), 0, 1);
}

Tensor *loss_photometric(Tensor *disparity, Tensor *left, Tensor *right) {
    WarpedRows warped = t_warp_rows(right, disparity, .border = true);
    Tensor *structure = mean_channels(dissimilarity(left, warped.picture));
    Tensor *difference = mean_channels(t_abs(t_sub(left, warped.picture)));
    Tensor *e = t_add(t_affine(structure, SSIM_SHARE, 0), t_affine(difference, 1 - SSIM_SHARE, 0));
    return loss_weighted_mean(e, warped.inside);
}
