/* cuda/kernels/transport.cu - optimal transport over each row of a correlation volume, and the soft arg-max on its
 * plan. The work is in device/sinkhorn.h; formulas and their source in tensor/ops/transport.c. */
#include "cuda/device/sinkhorn.h"

DEVICE void transport_results(const TransportArgs *args, float *shared, int fast) {
    Row r = row_of(args, shared, TRANSPORT_VECTORS + fast * TRANSPORT_PARTS);
    float *a = shared + args->pitch, *b = a + args->pitch;
    solve(args, &r, a, b, 0, b + args->pitch, fast);
    for (int i = warp_x(); i < args->w; i += WARPS) {
        int k;
        float inside = find_largest(args, &r, i, b, &k), share = 1 / (inside + b[args->w]);
        float p = near_largest(args, &r, i, k, b, share);
        float near = warp_sum(p), moment = warp_sum((float)(lane_x() - 2) * p);
        if (lane_x()) continue;
        const i64 at = (i64)block_x() * args->w + i;
        /* i - (k near + moment + eps)/(near + eps) */
        args->disparity[at] = (float)(i - k) - (moment + ARGMAX_EPS * (float)(1 - k)) / (near + ARGMAX_EPS);
        args->confidence[at] = near;
        args->occlusion[at] = inside * share;
    }
}

/* Kernels promise one block: ptxas would rather spill a few registers than miss an occupancy that it has guessed. */
KERNEL_BLOCKS(transport_plain, 32 * WARPS, 1, TransportArgs, args) {
    SHARED_REST(float, shared);
    transport_results(&args, shared, 0);
}
#ifndef PLAIN_ONLY
KERNEL_BLOCKS(transport_fast, 32 * WARPS, 1, TransportArgs, args) {
    SHARED_REST(float, shared);
    transport_results(&args, shared, 1);
}
#endif
