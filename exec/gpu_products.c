/* exec/gpu_products.c - matrix products on a GPU: matmul, linear and its input gradient. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/matmul.h"

enum { TILE = 64 /* device/tile.h */ };

/* The kernel of the ladder and its grid, once everything else is in the arguments. */
static int launch_product(GpuPlan *p, const Step *step, int64_t batches, MatmulArgs *a) {
    if (step->strip) region_places(step->strip, gpu_address, p, &a->places);
    GpuCode code = {"cuda/kernels/matmul.cu", "matmul_tiled", step->strip, NULL};
    GpuGrid grid = {.x = gpu_blocks(a->m, TILE), .y = gpu_blocks(a->n, TILE), .z = batches};
    if (gpu_rung(p) == RUNG_PLAIN) {
        code.kernel = "matmul_plain";
        grid.x = gpu_blocks(a->m * a->n, GPU_BLOCK);
        grid.y = 1;
    }
    return gpu_launch(p, step, code, grid, a, sizeof *a);
}

/* matmul: k is axis 1 of the second operand; matmul_nt: axis 2. */
static int launch_batches(GpuPlan *p, const Step *step, int k_axis) {
    const Tensor *left = step->node->input[0], *right = step->node->input[1], *out = step->node->output[0];
    MatmulArgs a = {
        .segment = {{gpu_address(p, left), left->size[2], {0, 0, left->stride[1]}, left->stride[2]}},
        .segments = 1,
        .b = gpu_address(p, right),
        .c = step->strip ? NULL : gpu_address(p, out),
        .m = out->size[1],
        .n = out->size[2],
        .rows = {1, out->size[1]},
        .a_batch = left->stride[0],
        .b_batch = right->stride[0],
        .c_batch = out->stride[0],
        .b_column = right->stride[3 - k_axis],
        .b_step = right->stride[k_axis],
        .c_row = out->stride[1],
    };
    return launch_product(p, step, out->size[0], &a);
}

/* Inputs: the segments of x, the weight [Co,Ci], the bias or NULL. The leading axes are the rows: the last two as
 * digits of their own, what is before them as the first, which the shape rule has made dense. */
static int launch_dense(GpuPlan *p, const Step *step, int k_axis) {
    const Node *node = step->node;
    const Tensor *weight = node->input[node->segments], *bias = node->input[node->segments + 1];
    const Tensor *out = node->output[0];
    int last = out->rank - 1;
    if (node->segments > MATMUL_SEGMENTS) return gpu_no_kernel(node, " of so many parts");
    MatmulArgs a = {
        .segments = node->segments,
        .b = gpu_address(p, weight),
        .bias = bias ? gpu_address(p, bias) : NULL,
        .c = step->strip ? NULL : gpu_address(p, out),
        .m = tensor_count(out) / out->size[last],
        .n = out->size[last],
        .rows = {last >= 2 ? out->size[last - 2] : 1, last >= 1 ? out->size[last - 1] : 1},
        .b_column = weight->stride[1 - k_axis],
        .b_step = weight->stride[k_axis],
        .c_row = out->size[last],
    };
    for (int s = 0; s < node->segments; s++) {
        const Tensor *x = node->input[s];
        a.segment[s] = (MatmulSegment){gpu_address(p, x),
                                       x->size[last],
                                       {last >= 3 ? x->stride[last - 3] : 0, last >= 2 ? x->stride[last - 2] : 0,
                                        last >= 1 ? x->stride[last - 1] : 0},
                                       x->stride[last]};
    }
    return launch_product(p, step, 1, &a);
}

static int launch_matmul(GpuPlan *p, const Step *step) {
    return launch_batches(p, step, 1);
}

static int launch_matmul_nt(GpuPlan *p, const Step *step) {
    return launch_batches(p, step, 2);
}

static int launch_linear(GpuPlan *p, const Step *step) {
    return launch_dense(p, step, 1);
}

static int launch_linear_input_gradient(GpuPlan *p, const Step *step) {
    return launch_dense(p, step, 0);
}

const GpuOperator gpu_products_operators[] = {{"linear", launch_linear},
                                              {"linear_input_gradient", launch_linear_input_gradient},
                                              {"matmul", launch_matmul},
                                              {"matmul_nt", launch_matmul_nt},
                                              {0}};
#endif
