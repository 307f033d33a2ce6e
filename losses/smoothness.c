/* losses/smoothness.c - disparity changes where the picture does:
 * mean |d_x| exp(-mean_c |L_x|) + mean |d_y| exp(-mean_c |L_y|), first differences, each mean over its own grid
 * (W-1 columns, H-1 rows). Not divided by the mean disparity, so it is in pixels; both rules are the same. */
#include "losses/differences.h"
#include "losses/losses.h"

Tensor *loss_smoothness(Tensor *disparity, Tensor *left) {
    Tensor *total = NULL;
    for (int along = ALONG_X; along <= ALONG_Y; along++) {
        if (disparity->size[along == ALONG_X ? 3 : 2] < 2) continue; /* no neighbours */
        Tensor *damping = t_exp(t_affine(mean_absolute_difference(left, (Along)along), -1, 0));
        Tensor *mean = t_mean(t_mul(absolute_difference(disparity, (Along)along), damping));
        total = total ? t_add(total, mean) : mean;
    }
    return total ? total : t_affine(t_sum(disparity), 0, 0);
}
