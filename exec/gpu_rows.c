/* exec/gpu_rows.c - what works on the channels of each position, on a GPU: softmax, layer norm. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/rows.h"
#include "tensor/ops/norm_gradient.h"
#include "tensor/ops/rows.h"

#include <string.h>

/* Softmax of input 0, or layer norm with weight and bias as inputs 1 and 2: a warp a row, eight a block. */
static int launch_kernel(GpuPlan *p, const Step *step, const char *kernel) {
    const Node *node = step->node;
    const Tensor *x = node->input[0], *weight = node->inputs > 1 ? node->input[1] : NULL;
    const Tensor *bias = node->inputs > 2 ? node->input[2] : NULL;
    Rows from = rows_of(x);
    if (from.channels > INT32_MAX / 2) return gpu_too_large(step);
    RowsArgs a = {
        .x = gpu_address(p, x),
        .weight = weight ? gpu_address(p, weight) : NULL,
        .bias = bias ? gpu_address(p, bias) : NULL,
        .y = step->strip ? NULL : gpu_address(p, node->output[0]),
        .rows = from.count,
        .channels = (int)from.channels,
        .eps = !strcmp(kernel, "layer_norm") ? (float)norm_eps(node) : 0,
    };
    for (int k = 0; k < ROWS_AXES; k++) a.size[k] = 1;
    for (int k = 0; k < from.axes; k++) {
        a.size[ROWS_AXES - from.axes + k] = from.size[k];
        a.stride[ROWS_AXES - from.axes + k] = from.stride[k];
    }
    const int code = gpu_region_places(p, step->strip, &a.places);
    if (code) return code;
    return gpu_launch(p, step,
                      (GpuCode){"cuda/kernels/rows.cu", kernel, step->strip,
                                gpu_values(p, NULL, gpu_half(p, x), !step->strip && gpu_half(p, node->output[0]))},
                      (GpuGrid){.x = gpu_blocks(from.count, 8)}, &a, sizeof a);
}

static int launch_softmax(GpuPlan *p, const Step *step) {
    return launch_kernel(p, step, "softmax");
}

static int launch_layer_norm(GpuPlan *p, const Step *step) {
    return launch_kernel(p, step, "layer_norm");
}

const GpuOperator gpu_rows_operators[] = {{"softmax", launch_softmax}, {"layer_norm", launch_layer_norm}, {0}};
#endif
