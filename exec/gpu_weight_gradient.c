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

static bool by_fours(const Placed *p, const void *at) {
    return (uintptr_t)at % 16 == 0 && p->channels % 4 == 0 && p->image % 4 == 0 && p->row % 4 == 0 && p->pixel % 4 == 0;
}

/* The launch that sums the parts, and the one that adds them; where there is one part it goes to its place at once. */
static int launch_parts(GpuPlan *p, const Step *step, const char *kernel, GpuGrid grid, WeightGradientArgs *a,
                        int64_t rows, int64_t columns) {
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
    int code =
        gpu_launch(p, step, (GpuCode){"cuda/kernels/weight_gradient.cu", kernel, NULL, NULL}, grid, a, sizeof *a);
    if (code || a->parts == 1) return code;
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
        a.wide = by_fours(x, a.x.at) && by_fours(&task.dy, dy);
        to += x->channels * taps;
        const bool plain = gpu_rung(p) == RUNG_PLAIN;
        GpuGrid grid = {.x = plain ? gpu_blocks(task.co * x->channels * taps, GPU_BLOCK) : tiles,
                        .y = plain ? 1 : taps};
        int code = launch_parts(p, step, plain ? "weight_gradient_plain" : "weight_gradient_tiled", grid, &a, task.co,
                                x->channels);
        if (code) return code;
    }
    if (node->outputs < 2) return 0;
    WeightGradientArgs a = all;
    const int64_t blocks = gpu_blocks(task.co, 32);
    a.kh = a.kw = 1;
    a.out = gpu_address(p, node->output[1]);
    a.out_o = 1;
    a.part = part_of(positions, blocks);
    a.parts = (int)gpu_blocks(positions, a.part);
    return launch_parts(p, step, "bias_gradient", (GpuGrid){.x = blocks}, &a, task.co, 1);
}

const GpuOperator gpu_weight_gradient_operators[] = {
    {"conv2d_weight_gradient", launch_weight_gradient}, {"linear_weight_gradient", launch_weight_gradient}, {0}};
#endif
