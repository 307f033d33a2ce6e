/* exec/gpu_box.c - means over square windows on a GPU, and their gradient. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/box.h"
#include "tensor/ops/box.h"

enum { PLAIN_MOST = 4 /* windows up to this are gone through as they are */ };

static int launch_box(GpuPlan *p, const Step *step, bool backward) {
    const Tensor *x = step->node->input[0], *out = step->node->output[0], *map = backward ? out : x;
    const BoxAttributes *box = step->node->attributes;
    for (int k = 2; k < 4; k++)
        if (map->size[k] + box->pad + box->kernel >= BOX_SIDE || box->stride >= BOX_SIDE) return gpu_too_large(step);
    if (out->size[3] * out->size[1] > INT32_MAX / 2) return gpu_too_large(step);
    BoxArgs a = {
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
        .map_h = (int)map->size[2],
        .map_w = (int)map->size[3],
        .kernel = (int)box->kernel,
        .stride = (int)box->stride,
        .pad = (int)box->pad,
        .exclude_pad = box->exclude_pad,
        .backward = backward,
    };
    GpuCode code = {"cuda/kernels/box.cu", "box_plain", NULL, gpu_values(p, NULL, gpu_half(p, x), gpu_half(p, out))};
    GpuGrid grid = {.x = gpu_blocks(out->size[3] * out->size[1], GPU_BLOCK), .y = out->size[2], .z = out->size[0]};
    if (gpu_rung(p) != RUNG_PLAIN && box->kernel <= PLAIN_MOST) gpu_because(p, "a small window");
    if (gpu_rung(p) == RUNG_PLAIN || box->kernel <= PLAIN_MOST) return gpu_launch(p, step, code, grid, &a, sizeof a);
    a.sums = gpu_scratch(p, (size_t)(out->size[0] * x->size[2] * out->size[3] * out->size[1]) * sizeof(float));
    code.kernel = "box_rows";
    grid.y = x->size[2];
    int result = gpu_launch(p, step, code, grid, &a, sizeof a);
    code.kernel = "box_columns";
    grid.y = out->size[2];
    return result ? result : gpu_launch(p, step, code, grid, &a, sizeof a);
}

static int launch_avg_pool2d(GpuPlan *p, const Step *step) {
    return launch_box(p, step, false);
}

static int launch_avg_pool2d_backward(GpuPlan *p, const Step *step) {
    return launch_box(p, step, true);
}

const GpuOperator gpu_box_operators[] = {
    {"avg_pool2d", launch_avg_pool2d}, {"avg_pool2d_backward", launch_avg_pool2d_backward}, {0}};
#endif
