/* exec/gpu_conv.c - convolutions on a GPU, straight and transposed. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/conv.h"
#include "tensor/ops/conv_node.h"

enum { TILE = 64 /* device/tile.h */ };

typedef enum { STRAIGHT, TRANSPOSED } ConvTurn;

/* Is any part of the map in 16 bits? Others may be f32 beside it. */
static bool any_half(const GpuPlan *p, const Node *node) {
    bool half = false;
    for (int s = 0; s < node->segments; s++) half = half || gpu_half(p, node->input[s]);
    return half;
}

/* Can conv_panel.cu read the maps? The weight can be packed for it. */
static bool panels_fit(const ConvArgs *a, const Tensor *weight, int piece) {
    bool fit = weight->base->kind == TENSOR_WEIGHT;
    for (int s = 0; fit && s < a->parts; s++) {
        const ConvPart *part = &a->part[s];
        fit = !part->f32 && part->by_c == 1 && part->channels % piece == 0 && part->channels < INT32_MAX / 2 &&
              gpu_panel_reads(part->at, piece, 3, (const int64_t[]){part->by_n, part->by_y, part->by_x});
    }
    return fit;
}

/* The weight as taps of output channels of input channels. */
static int pack(GpuPlan *p, const Step *step, const Tensor *weight, GpuPack to_type, ConvArgs *a) {
    const int64_t size[] = {a->kh, a->kw, a->columns, tensor_count(weight) / (a->kh * a->kw * a->columns)};
    const int64_t from[] = {a->weight_y, a->weight_x, a->weight_o, a->weight_c};
    const int64_t to[] = {a->kw * size[2] * size[3], size[2] * size[3], size[3], 1};
    CopyBoxArgs how = {.from = a->weight, .count = tensor_count(weight)};
    for (int k = 0; k < MOVE_AXES; k++) {
        const int axis = k - (MOVE_AXES - 4);
        how.size[k] = axis < 0 ? 1 : size[axis];
        how.from_stride[k] = axis < 0 ? 0 : from[axis];
        how.to_stride[k] = axis < 0 ? 0 : to[axis];
    }
    a->weight_y = to[0];
    a->weight_x = to[1];
    a->weight_o = to[2];
    a->weight_c = to[3];
    return gpu_pack(p, step, &how, to_type, &a->weight);
}

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
    const bool half = any_half(p, node), to_half = !step->strip && gpu_half(p, out);
    for (int s = 0; s < node->segments; s++) {
        const Tensor *part = node->input[s];
        a.part[s] = (ConvPart){gpu_address(p, part), part->size[1],   part->stride[0],           part->stride[2],
                               part->stride[3],      part->stride[1], half && !gpu_half(p, part)};
    }
    if (x->size[2] > INT32_MAX / 8 || x->size[3] > INT32_MAX / 8) return gpu_too_large(step);
    int code = gpu_region_places(p, step->strip, &a.places);
    const bool panels = gpu_rung(p) == RUNG_FAST && panels_fit(&a, weight, half ? 8 : 4);
    const bool as_it_is = !half && a.kh * a.kw == 1 && a.weight_c == 1 && (uintptr_t)a.weight % 16 == 0;
    if (half && weight->base->kind != TENSOR_WEIGHT) return gpu_no_kernel(node, " with a computed weight, in 16 bits,");
    if (!code && (half || (panels && !as_it_is))) code = pack(p, step, weight, half ? PACK_HALF : PACK_F32, &a);
    if (code) return code;
    if (gpu_rung(p) == RUNG_PLAIN)
        return gpu_launch(
            p, step, (GpuCode){"cuda/kernels/conv.cu", "conv_plain", step->strip, gpu_values(p, NULL, half, to_half)},
            (GpuGrid){.x = gpu_blocks(a.rows * a.columns, GPU_BLOCK)}, &a, sizeof a);
    if (!panels && gpu_rung(p) == RUNG_FAST)
        gpu_because(p, weight->base->kind != TENSOR_WEIGHT
                           ? "a weight that is computed: no panels"
                           : "channels that do not lie in pieces of 16 bytes: no panels");
    if (!panels)
        return gpu_launch(
            p, step, (GpuCode){"cuda/kernels/conv.cu", "conv_tiled", step->strip, gpu_values(p, NULL, half, to_half)},
            (GpuGrid){.x = gpu_blocks(a.rows, TILE), .y = gpu_blocks(a.columns, TILE)}, &a, sizeof a);
    const int64_t lattices = a.transposed ? (int64_t)a.stride * a.stride : 1;
    const int64_t rows = out->size[0] * gpu_blocks(a.out_h, a.transposed ? a.stride : 1) *
                         gpu_blocks(a.out_w, a.transposed ? a.stride : 1); /* of the largest lattice */
    const GpuPanel panel = gpu_panel(p, rows, a.columns, lattices);
    gpu_because(p, panel.why);
    return gpu_launch(
        p, step,
        (GpuCode){"cuda/kernels/conv_panel.cu", "conv_panel", step->strip, gpu_values(p, panel.define, half, to_half)},
        (GpuGrid){gpu_blocks(rows, panel.rows), gpu_blocks(a.columns, panel.columns), lattices, 0, 0}, &a, sizeof a);
}

static int launch_conv(GpuPlan *p, const Step *step) {
    return launch_turned(p, step, STRAIGHT);
}

static int launch_conv_transpose(GpuPlan *p, const Step *step) {
    return launch_turned(p, step, TRANSPOSED);
}

const GpuOperator gpu_conv_operators[] = {{"conv2d", launch_conv}, {"conv_transpose2d", launch_conv_transpose}, {0}};
#endif
