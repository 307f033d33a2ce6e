/* exec/gpu_resample.c - maps at another size on a GPU: pooling, resizing, and their gradients. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/resample.h"

static int launch_kernel(GpuPlan *p, const Step *step, const char *kernel, bool a_block_a_cell) {
    const Tensor *x = step->node->input[0], *out = step->node->output[0];
    for (int k = 2; k < 4; k++)
        if (x->size[k] >= RESAMPLE_SIDE || out->size[k] >= RESAMPLE_SIDE) return gpu_too_large(step);
    if (out->size[3] * out->size[1] > INT32_MAX / 2) return gpu_too_large(step);
    ResampleArgs a = {
        .x = gpu_address(p, x),
        .y = gpu_address(p, out),
        .x_picture = x->stride[0],
        .x_row = x->stride[2],
        .x_column = x->stride[3],
        .x_channel = x->stride[1],
        .channels = (int)out->size[1],
        .in_h = (int)x->size[2],
        .in_w = (int)x->size[3],
        .out_h = (int)out->size[2],
        .out_w = (int)out->size[3],
    };
    GpuGrid grid = {.x = a_block_a_cell ? out->size[3] * gpu_blocks(out->size[1], 32)
                                        : gpu_blocks(out->size[3] * out->size[1], GPU_BLOCK),
                    .y = out->size[2],
                    .z = out->size[0]};
    const char *values = gpu_values(p, NULL, gpu_half(p, x), gpu_half(p, out));
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/resample.cu", kernel, NULL, values}, grid, &a, sizeof a);
}

/* The operator's kernel has its name. */
static int launch_same_name(GpuPlan *p, const Step *step) {
    return launch_kernel(p, step, step->node->op->name, false);
}

/* Few results of many places each are too few threads: a block each instead. */
static int launch_adaptive(GpuPlan *p, const Step *step) {
    enum { PLACES = 64 };
    const Tensor *x = step->node->input[0], *out = step->node->output[0];
    if (gpu_rung(p) == RUNG_FAST && x->size[2] * x->size[3] >= PLACES * out->size[2] * out->size[3])
        return launch_kernel(p, step, "adaptive_avg_pool_wide", true);
    return launch_same_name(p, step);
}

const GpuOperator gpu_resample_operators[] = {{"avg_pool2", launch_same_name},
                                              {"avg_pool2_backward", launch_same_name},
                                              {"adaptive_avg_pool", launch_adaptive},
                                              {"adaptive_avg_pool_backward", launch_same_name},
                                              {"resize_bilinear", launch_same_name},
                                              {"resize_bilinear_backward", launch_same_name},
                                              {"upsample2_nearest", launch_same_name},
                                              {"upsample2_nearest_backward", launch_same_name},
                                              {0}};
#endif
