#include "losses/losses.h"

#include <math.h>

Tensor *loss_weighted_mean(Tensor *x, Tensor *weight) {
    return t_div(t_sum(t_mul(x, weight)), t_clamp(t_sum(weight), 1, INFINITY));
}
