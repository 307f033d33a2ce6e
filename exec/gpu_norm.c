/* exec/gpu_norm.c - group norm and its gradient on a GPU. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/norm.h"
#include "tensor/ops/norm_gradient.h"

/* Positions that one thread goes through: as few as keep the parts of a picture within TILES_MOST. By the shape alone.
 */
enum { TILE_LEAST = 32, TILES_MOST = 1024 };

static int64_t tile_of(const Tensor *x) {
    const int64_t tile = gpu_blocks(x->size[2] * x->size[3], TILES_MOST);
    return tile > TILE_LEAST ? tile : TILE_LEAST;
}

static size_t part_floats(const Tensor *x, int parts) {
    return (size_t)(x->size[0] * gpu_blocks(x->size[2] * x->size[3], tile_of(x)) * parts * x->size[1]);
}

/* What both directions have in common; false: too large. */
static bool fill_arguments(GpuPlan *p, const Step *step, int parts, int tables, int groups, double eps,
                           GroupNormArgs *a) {
    const Tensor *x = step->node->input[0], *weight = step->node->input[1];
    if (x->size[2] * x->size[3] > INT32_MAX / 2 || x->size[3] * x->size[1] > INT32_MAX / 2) return false;
    const size_t floats = part_floats(x, parts);
    float *scratch = gpu_scratch(p, (floats + (size_t)(x->size[0] * tables * x->size[1])) * sizeof *scratch);
    *a = (GroupNormArgs){
        .x = gpu_address(p, x),
        .weight = weight ? gpu_address(p, weight) : NULL,
        .y = gpu_address(p, step->node->output[0]),
        .part = scratch,
        .table = scratch ? scratch + floats : NULL,
        .x_picture = x->stride[0],
        .x_row = x->stride[2],
        .x_column = x->stride[3],
        .pictures = (int)x->size[0],
        .h = (int)x->size[2],
        .w = (int)x->size[3],
        .channels = (int)x->size[1],
        .groups = groups,
        .eps = (float)eps,
        .share = 1 / (double)(x->size[2] * x->size[3] * (x->size[1] / groups)),
        .tile = (int)tile_of(x),
        .tiles = (int)gpu_blocks(x->size[2] * x->size[3], tile_of(x)),
    };
    return true;
}

static int launch_one(GpuPlan *p, const Step *step, const char *kernel, GpuGrid grid, const GroupNormArgs *a) {
    const char *values = gpu_values(p, NULL, gpu_half(p, step->node->input[0]), gpu_half(p, step->node->output[0]));
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/norm.cu", kernel, NULL, values}, grid, a, sizeof *a);
}

static GpuGrid by_group(const GroupNormArgs *a) {
    return (GpuGrid){.x = a->groups, .y = a->pictures};
}
static GpuGrid by_tile(const GroupNormArgs *a) {
    return (GpuGrid){.x = gpu_blocks((int64_t)a->tiles * a->channels, GPU_BLOCK), .y = a->pictures};
}
static GpuGrid by_element(const GroupNormArgs *a) {
    return (GpuGrid){.x = gpu_blocks((int64_t)a->w * a->channels, GPU_BLOCK), .y = a->h, .z = a->pictures};
}

static int launch_group_norm(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    GroupNormArgs a;
    if (!fill_arguments(p, step, PARTS_FORWARD, TABLES_FORWARD, norm_groups(node), norm_eps(node), &a))
        return gpu_too_large(step);
    a.bias = node->input[2] ? gpu_address(p, node->input[2]) : NULL;
    if (gpu_rung(p) == RUNG_PLAIN) return launch_one(p, step, "group_norm_plain", by_group(&a), &a);
    int code = launch_one(p, step, "group_moments", by_tile(&a), &a);
    if (!code) code = launch_one(p, step, "group_spread", by_group(&a), &a);
    return code ? code : launch_one(p, step, "group_normalise", by_element(&a), &a);
}

/* Inputs: x, weight or NULL, dy. What lies on x or dy, dx, is written last. */
static int launch_group_norm_gradient(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const NormGradient *attributes = node->attributes;
    const Tensor *dy = node->input[2];
    GroupNormArgs a;
    if (!fill_arguments(p, step, PARTS_BACKWARD, TABLES_BACKWARD, attributes->groups, attributes->eps, &a))
        return gpu_too_large(step);
    a.dy = gpu_address(p, dy);
    a.dy_picture = dy->stride[0], a.dy_row = dy->stride[2], a.dy_column = dy->stride[3];
    if (attributes->weight_place) a.d_weight = gpu_address(p, node->output[attributes->weight_place]);
    if (attributes->bias_place) a.d_bias = gpu_address(p, node->output[attributes->bias_place]);
    if (gpu_rung(p) == RUNG_PLAIN)
        return launch_one(p, step, "group_norm_gradient_plain", (GpuGrid){.x = a.groups}, &a);
    int code = launch_one(p, step, "group_gradient_moments", by_tile(&a), &a);
    if (!code) code = launch_one(p, step, "group_gradient_spread", by_group(&a), &a);
    if (!code) code = launch_one(p, step, "group_gradient_join", by_group(&a), &a);
    if (!code && node->outputs > 1)
        code = launch_one(p, step, "group_gradient_weights", (GpuGrid){.x = gpu_blocks(a.channels, GPU_BLOCK)}, &a);
    return code ? code : launch_one(p, step, "group_gradient_combine", by_element(&a), &a);
}

const GpuOperator gpu_norm_operators[] = {
    {"group_norm", launch_group_norm}, {"group_norm_gradient", launch_group_norm_gradient}, {0}};
#endif
