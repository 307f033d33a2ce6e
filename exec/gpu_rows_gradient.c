/* exec/gpu_rows_gradient.c - the gradients of softmax and layer norm on a GPU. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/rows_gradient.h"
#include "tensor/ops/norm_gradient.h"
#include "tensor/ops/rows.h"

enum { WARPS = 8, SHARED_MOST = 48 * 1024, TILE_LEAST = 64, TILES_MOST = 1024 };

/* The last input is dy. */
static int launch_one(GpuPlan *p, const Step *step, const char *kernel, const StripProgram *region, GpuGrid grid,
                      const RowsGradientArgs *a) {
    const Node *node = step->node;
    const char *define = gpu_half(p, node->input[node->inputs - 1]) ? "-DSLOPE_HALF" : NULL;
    define = gpu_values(p, define, gpu_half(p, node->input[0]), a->dx && gpu_half(p, node->output[0]));
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/rows_gradient.cu", kernel, region, define}, grid, a, sizeof *a);
}

static RowsGradientArgs arguments(const GpuPlan *p, const Step *step, const Tensor *x, const Tensor *dy) {
    const Rows rows = rows_of(x);
    return (RowsGradientArgs){.x = gpu_address(p, x),
                              .dy = gpu_address(p, dy),
                              .dx = step->strip ? NULL : gpu_address(p, step->node->output[0]),
                              .x_places = gpu_row_places(x),
                              .dy_places = gpu_row_places(dy),
                              .rows = rows.count,
                              .channels = (int)rows.channels};
}

/* Inputs: what softmax gave, dy. */
static int launch_softmax_gradient(GpuPlan *p, const Step *step) {
    const Tensor *y = step->node->input[0];
    if (rows_of(y).channels > INT32_MAX / 64) return gpu_too_large(step);
    RowsGradientArgs a = arguments(p, step, y, step->node->input[1]);
    return launch_one(p, step, "softmax_gradient", NULL, (GpuGrid){.x = gpu_blocks(a.rows, WARPS)}, &a);
}

/* Inputs: x, weight or NULL, dy. */
static int launch_layer_norm_gradient(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const NormGradient *attributes = node->attributes;
    const Tensor *weight = node->input[1];
    if (rows_of(node->input[0]).channels > INT32_MAX / 64) return gpu_too_large(step);
    RowsGradientArgs a = arguments(p, step, node->input[0], node->input[2]);
    a.weight = weight ? gpu_address(p, weight) : NULL;
    a.eps = (float)attributes->eps;
    const bool sums = node->outputs > 1;
    float *d_weight = attributes->weight_place ? gpu_address(p, node->output[attributes->weight_place]) : NULL;
    float *d_bias = attributes->bias_place ? gpu_address(p, node->output[attributes->bias_place]) : NULL;
    int code = gpu_region_places(p, step->strip, &a.places);
    if (code) return code;
    const size_t shared = sums ? (size_t)(WARPS * 2 * a.channels) * sizeof(float) : 0;
    const GpuGrid by_row = {.x = gpu_blocks(a.rows, WARPS)};
    if (gpu_rung(p) == RUNG_PLAIN || shared > SHARED_MOST) {
        a.d_weight = d_weight, a.d_bias = d_bias;
        a.spread = gpu_scratch(p, (size_t)(2 * a.rows) * sizeof(float));
        if (sums) code = launch_one(p, step, "row_spreads", NULL, by_row, &a);
        if (sums && !code)
            code = launch_one(p, step, "layer_norm_gradient_sums", NULL,
                              (GpuGrid){.x = gpu_blocks(a.channels, GPU_BLOCK)}, &a);
        return code ? code : launch_one(p, step, "layer_norm_gradient_plain", step->strip, by_row, &a);
    }
    const int64_t least = gpu_blocks(a.rows, TILES_MOST);
    a.tile = least > TILE_LEAST ? least : TILE_LEAST;
    const int64_t tiles = gpu_blocks(a.rows, a.tile);
    if (sums) a.part = gpu_scratch(p, (size_t)(tiles * 2 * a.channels) * sizeof *a.part);
    code = launch_one(p, step, "layer_norm_gradient", step->strip, (GpuGrid){.x = tiles, .shared = shared}, &a);
    if (code || !sums) return code;
    return gpu_sum_tiles(p, step, a.part, tiles, 2 * a.channels, a.channels, d_weight, d_bias);
}

const GpuOperator gpu_rows_gradient_operators[] = {
    {"softmax_gradient", launch_softmax_gradient}, {"layer_norm_gradient", launch_layer_norm_gradient}, {0}};
#endif
