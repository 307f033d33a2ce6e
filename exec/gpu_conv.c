/* exec/gpu_conv.c - convolutions on a GPU, straight and transposed. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/conv.h"
#include "tensor/ops/conv_node.h"

enum { TILE = 64 /* device/tile.h */ };

typedef enum { STRAIGHT, TRANSPOSED } ConvTurn;

/* Inputs as linear's; the weight is [Co,Ci,kh,kw], of a transposed one [Ci,Co,kh,kw]. */
static int launch_turned(GpuPlan *p, const Step *step, ConvTurn turn) {
    const Node *node = step->node;
    const Tensor *weight = conv_weight(node), *bias = conv_bias(node), *x = node->input[0], *out = node->output[0];
    const ConvOptions *options = &((const ConvAttributes *)node->attributes)->options;
    if (node->segments > CONV_SEGMENTS) return gpu_no_kernel(node, " of so many parts");
    int o_axis = turn == TRANSPOSED ? 1 : 0;
    ConvArgs a = {
        .parts = node->segments,
        .weight = gpu_address(p, weight),
        .bias = bias ? gpu_address(p, bias) : NULL,
        .out = step->strip ? NULL : gpu_address(p, out),
        .rows = out->size[0] * out->size[2] * out->size[3],
        .columns = out->size[1],
        .out_row = out->size[1],
        .weight_o = weight->stride[o_axis],
        .weight_c = weight->stride[1 - o_axis],
        .weight_y = weight->stride[2],
        .weight_x = weight->stride[3],
        .transposed = turn == TRANSPOSED,
        .out_h = (int)out->size[2],
        .out_w = (int)out->size[3],
        .h = (int)x->size[2],
        .w = (int)x->size[3],
        .kh = (int)weight->size[2],
        .kw = (int)weight->size[3],
        .stride = options->stride,
        .pad_h = options->pad_h,
        .pad_w = options->pad_w,
    };
    for (int s = 0; s < node->segments; s++) {
        const Tensor *part = node->input[s];
        a.part[s] = (ConvPart){gpu_address(p, part), part->size[1],   part->stride[0],
                               part->stride[2],      part->stride[3], part->stride[1]};
    }
    if (x->size[2] > INT32_MAX / 8 || x->size[3] > INT32_MAX / 8) return gpu_too_large(step);
    if (step->strip) region_places(step->strip, gpu_address, p, &a.places);
    GpuCode code = {"cuda/kernels/conv.cu", "conv_tiled", step->strip, NULL};
    GpuGrid grid = {.x = gpu_blocks(a.rows, TILE), .y = gpu_blocks(a.columns, TILE)};
    if (gpu_rung(p) == RUNG_PLAIN) {
        code.kernel = "conv_plain";
        grid.x = gpu_blocks(a.rows * a.columns, GPU_BLOCK);
        grid.y = 1;
    }
    return gpu_launch(p, step, code, grid, &a, sizeof a);
}

static int launch_conv(GpuPlan *p, const Step *step) {
    return launch_turned(p, step, STRAIGHT);
}

static int launch_conv_transpose(GpuPlan *p, const Step *step) {
    return launch_turned(p, step, TRANSPOSED);
}

const GpuOperator gpu_conv_operators[] = {{"conv2d", launch_conv}, {"conv_transpose2d", launch_conv_transpose}, {0}};
#endif
