/* exec/gpu_weight_gradient.c - the gradients of weights and biases of convolutions and linear layers on a GPU. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/weight_gradient.h"
#include "tensor/ops/weight_gradient.h"

#include <string.h>

enum {
    TILE = 64,           /* device/tile.h */
    BLOCKS_WANTED = 512, /* so many keep the largest GPUs busy; fixed, so that sums do not depend on the device */
    PART_LEAST = 256,    /* positions: below, adding the parts costs more than it brings */
};

/* Positions of a part, when `blocks` blocks are there for each part; a multiple of the depth of a tile. */
static int part_of(int64_t positions, int64_t blocks) {
    int64_t wanted = gpu_blocks(BLOCKS_WANTED, blocks), part = gpu_blocks(gpu_blocks(positions, wanted), 16) * 16;
    return (int)(part < PART_LEAST ? PART_LEAST : part);
}

/* Can its channels be read by 16 bytes, `piece` numbers? */
static bool in_pieces(const Placed *p, const void *at, int piece) {
    return (uintptr_t)at % 16 == 0 && p->channels % piece == 0 && p->image % piece == 0 && p->row % piece == 0 &&
           p->pixel % piece == 0;
}

/* The launch that sums the parts, and the one that adds them; where there is one part it goes to its place at once. */
static int launch_parts(GpuPlan *p, const Step *step, GpuCode code, GpuGrid grid, WeightGradientArgs *a, int64_t rows,
                        int64_t columns) {
    const int64_t taps = (int64_t)a->kh * a->kw, count = rows * columns * taps;
    AddPartsArgs add = {NULL, a->out, count, a->out_o, a->out_c, a->out_tap, a->parts, (int)rows, (int)columns};
    if (a->parts > 1) {
        a->out = gpu_scratch(p, (size_t)(count * a->parts) * sizeof(float));
        a->out_part = count;
        a->out_tap = rows * columns;
        a->out_o = columns;
        a->out_c = 1;
        add.from = a->out;
    }
    grid.z = a->parts;
    int failed = gpu_launch(p, step, code, grid, a, sizeof *a);
    if (failed || a->parts == 1) return failed;
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/weight_gradient.cu", "add_parts", NULL, NULL},
                      (GpuGrid){.x = gpu_blocks(count, GPU_BLOCK)}, &add, sizeof add);
}

static int launch_weight_gradient(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    WeightGradient task;
    weight_gradient_describe(node, &task);
    const int64_t taps = task.kh * task.kw, positions = task.n * task.out_h * task.out_w;
    if (positions > INT32_MAX - GPU_BLOCK || task.h > INT32_MAX / 8 || task.w > INT32_MAX / 8 ||
        task.co * task.ci > INT32_MAX || task.n * task.h * task.w > INT32_MAX)
        return gpu_too_large(step);
    static const char file[] = "cuda/kernels/weight_gradient.cu", mma[] = "cuda/kernels/weight_gradient_mma.cu";
    const bool plain = gpu_rung(p) == RUNG_PLAIN, dy_half = gpu_half(p, node->input[task.segments]);
    const char *slope = dy_half ? "-DSLOPE_HALF" : NULL;
    const void *dy = gpu_address(p, node->input[task.segments]);
    float *to = gpu_address(p, node->output[0]);
    const WeightGradientArgs all = {
        .dy = {dy, task.co, task.dy.image, task.dy.row, task.dy.pixel},
        .out_o = task.ci * taps,
        .out_c = taps,
        .out_tap = 1,
        .positions = (int)positions,
        .out_h = (int)task.out_h,
        .out_w = (int)task.out_w,
        .h = (int)task.h,
        .w = (int)task.w,
        .kh = (int)task.kh,
        .kw = (int)task.kw,
        .stride = (int)task.stride,
        .pad_h = (int)task.pad_h,
        .pad_w = (int)task.pad_w,
    };
    for (int s = 0; s < task.segments; s++) {
        const Placed *x = &task.x[s];
        const int64_t tiles = gpu_blocks(task.co, TILE) * gpu_blocks(x->channels, TILE);
        WeightGradientArgs a = all;
        a.x = (GradientMap){gpu_address(p, node->input[s]), x->channels, x->image, x->row, x->pixel};
        a.out = to;
        a.part = part_of(positions, tiles * taps);
        a.parts = (int)gpu_blocks(positions, a.part);
        to += x->channels * taps;
        const bool half = gpu_half(p, node->input[s]), both = half && dy_half;
        const bool pieces = in_pieces(x, a.x.at, both ? 8 : 4) && in_pieces(&task.dy, dy, both ? 8 : 4);
        a.wide = pieces && !half && !dy_half;
        GpuGrid grid = {.x = plain ? gpu_blocks(task.co * x->channels * taps, GPU_BLOCK) : tiles,
                        .y = plain ? 1 : taps};
        GpuCode code = {file, plain ? "weight_gradient_plain" : "weight_gradient_tiled", NULL,
                        gpu_values(p, slope, half, false)};
        if (!plain && both && pieces) code = (GpuCode){mma, "weight_gradient_mma", NULL, NULL};
        int failed = launch_parts(p, step, code, grid, &a, task.co, x->channels);
        if (failed) return failed;
    }
    if (node->outputs < 2) return 0;
    WeightGradientArgs a = all;
    const int64_t blocks = gpu_blocks(task.co, 32);
    a.kh = a.kw = 1;
    a.out = gpu_address(p, node->output[1]);
    a.out_o = 1;
    a.part = part_of(positions, blocks);
    a.parts = (int)gpu_blocks(positions, a.part);
    return launch_parts(p, step, (GpuCode){file, "bias_gradient", NULL, slope}, (GpuGrid){.x = blocks}, &a, task.co, 1);
}

const GpuOperator gpu_weight_gradient_operators[] = {
    {"conv2d_weight_gradient", launch_weight_gradient}, {"linear_weight_gradient", launch_weight_gradient}, {0}};
#endif
