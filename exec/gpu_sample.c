/* exec/gpu_sample.c - a picture read at other places on a GPU, and its gradients. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/sample.h"
#include "tensor/ops/sample_node.h"

enum { SIDE = 1 << 22 };

static SampleMap map_of(const GpuPlan *p, const Tensor *t) {
    return (SampleMap){gpu_address(p, t), t->stride[0], t->stride[1], t->stride[2], t->stride[3]};
}

/* `like`: a map of the picture's size and channels. */
static int fill_arguments(const GpuPlan *p, const Step *step, const Tensor *like, const Tensor *grid, SampleArgs *a) {
    const SampleAttributes *attributes = step->node->attributes;
    if (like->size[2] > SIDE || like->size[3] > SIDE || grid->size[2] > SIDE || grid->size[3] > SIDE ||
        like->size[1] * (like->size[3] + grid->size[3]) > INT32_MAX / 2)
        return gpu_too_large(step);
    *a = (SampleArgs){.grid = map_of(p, grid),
                      .y = gpu_address(p, step->node->output[0]),
                      .pictures = (int)like->size[0],
                      .channels = (int)like->size[1],
                      .h = (int)like->size[2],
                      .w = (int)like->size[3],
                      .rows = (int)grid->size[2],
                      .columns = (int)grid->size[3],
                      .stretches = (int)gpu_blocks(grid->size[3], SAMPLE_STRETCH),
                      .border = attributes->border,
                      .align_corners = attributes->align_corners};
    return 0;
}

/* `from`: what has the type of x and dy. */
static int launch_one(GpuPlan *p, const Step *step, const char *kernel, GpuGrid grid, const SampleArgs *a,
                      const Tensor *from) {
    const char *values = gpu_values(p, NULL, gpu_half(p, from), gpu_half(p, step->node->output[0]));
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/sample.cu", kernel, NULL, values}, grid, a, sizeof *a);
}

/* Inputs: picture, grid; of the gradient by the grid dy too. */
static int launch_grid_sample(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    SampleArgs a;
    int code = fill_arguments(p, step, node->input[0], node->input[1], &a);
    if (code) return code;
    a.x = map_of(p, node->input[0]);
    return launch_one(
        p, step, "grid_sample",
        (GpuGrid){.x = gpu_blocks((int64_t)a.columns * a.channels, GPU_BLOCK), .y = a.rows, .z = a.pictures}, &a,
        node->input[0]);
}

static int launch_backward_grid(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    SampleArgs a;
    int code = fill_arguments(p, step, node->input[0], node->input[1], &a);
    if (code) return code;
    a.x = map_of(p, node->input[0]);
    a.dy = map_of(p, node->input[2]);
    return launch_one(p, step, "grid_sample_backward_grid",
                      (GpuGrid){.x = gpu_blocks(a.columns, 8), .y = a.rows, .z = a.pictures}, &a, node->input[0]);
}

/* Inputs: grid, dy. */
static int launch_backward_picture(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    SampleArgs a;
    int code = fill_arguments(p, step, node->output[0], node->input[0], &a);
    if (code) return code;
    const int64_t lines = (int64_t)a.pictures * a.rows;
    a.dy = map_of(p, node->input[1]);
    a.row = gpu_scratch(p, (size_t)(lines * (1 + a.stretches)) * sizeof *a.row);
    if (a.row) a.stretch = a.row + lines;
    code = launch_one(p, step, "sample_reach", (GpuGrid){.x = gpu_blocks(a.stretches, 8), .y = a.rows, .z = a.pictures},
                      &a, node->input[1]);
    if (!code)
        code =
            launch_one(p, step, "sample_row_reach", (GpuGrid){.x = gpu_blocks(lines, GPU_BLOCK)}, &a, node->input[1]);
    if (code) return code;
    return launch_one(p, step, "grid_sample_backward_picture",
                      (GpuGrid){.x = gpu_blocks((int64_t)a.w * a.channels, GPU_BLOCK), .y = a.h, .z = a.pictures}, &a,
                      node->input[1]);
}

const GpuOperator gpu_sample_operators[] = {{"grid_sample", launch_grid_sample},
                                            {"grid_sample_backward_grid", launch_backward_grid},
                                            {"grid_sample_backward_picture", launch_backward_picture},
                                            {0}};
#endif
