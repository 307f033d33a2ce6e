/* exec/gpu_products.c - matrix products on a GPU: matmul, linear and its input gradient. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/matmul.h"

enum { TILE = 64 /* device/tile.h */ };

GpuPanel gpu_panel(const GpuPlan *p, int64_t rows, int64_t columns, int64_t times) {
    static const char few[] = "smaller panels, so that every multiprocessor has one";
    static const GpuPanel panel[] = {{128, 128, NULL, NULL},
                                     {128, 64, "-DPANEL_ROWS=128 -DPANEL_COLUMNS=64", few},
                                     {64, 64, "-DPANEL_ROWS=64 -DPANEL_COLUMNS=64", few}};
    static const GpuPanel narrow = {128, 64, "-DPANEL_ROWS=128 -DPANEL_COLUMNS=64", "64 channels or fewer come out"};
    int i = columns > 64 ? 0 : 1;
    while (i < 2 && gpu_blocks(rows, panel[i].rows) * gpu_blocks(columns, panel[i].columns) * times <
                        gpu_device(p)->multiprocessors)
        i++;
    return i == 1 && columns <= 64 ? narrow : panel[i];
}

bool gpu_panel_reads(const void *at, int piece, int strides, const int64_t *stride) {
    bool aligned = (uintptr_t)at % 16 == 0;
    for (int i = 0; i < strides; i++) aligned = aligned && stride[i] % piece == 0;
    return aligned;
}

/* Do both operands lie as matmul_panel.cu wants them? Depths that need not be looked at further than int goes. */
static bool panels_fit(const MatmulArgs *a, int piece) {
    bool fit = a->b_step == 1 && gpu_panel_reads(a->b, piece, 2, (const int64_t[]){a->b_batch, a->b_column});
    for (int s = 0; fit && s < a->segments; s++) {
        const MatmulSegment *part = &a->segment[s];
        fit = part->step == 1 && part->depth % piece == 0 && part->depth < INT32_MAX / 2 &&
              gpu_panel_reads(part->at, piece, 4,
                              (const int64_t[]){a->a_batch, part->row[0], part->row[1], part->row[2]});
    }
    return fit;
}

/* The kernel of the ladder and its grid, once everything else is in the arguments. */
static int launch_product(GpuPlan *p, const Step *step, int64_t batches, MatmulArgs *a) {
    const bool half = gpu_half(p, step->node->input[0]), to_half = !step->strip && gpu_half(p, step->node->output[0]);
    const int code = gpu_region_places(p, step->strip, &a->places);
    if (code) return code;
    if (gpu_rung(p) == RUNG_PLAIN)
        return gpu_launch(
            p, step,
            (GpuCode){"cuda/kernels/matmul.cu", "matmul_plain", step->strip, gpu_values(p, NULL, half, to_half)},
            (GpuGrid){.x = gpu_blocks(a->m * a->n, GPU_BLOCK), .z = batches}, a, sizeof *a);
    const bool fit = panels_fit(a, half ? 8 : 4);
    if (!fit) gpu_because(p, "rows that do not lie in pieces of 16 bytes: no panels");
    if (gpu_rung(p) == RUNG_KEPT || !fit)
        return gpu_launch(
            p, step,
            (GpuCode){"cuda/kernels/matmul.cu", "matmul_tiled", step->strip, gpu_values(p, NULL, half, to_half)},
            (GpuGrid){gpu_blocks(a->m, TILE), gpu_blocks(a->n, TILE), batches, 0, 0}, a, sizeof *a);
    const GpuPanel panel = gpu_panel(p, a->m, a->n, batches);
    gpu_because(p, panel.why);
    return gpu_launch(p, step,
                      (GpuCode){"cuda/kernels/matmul_panel.cu", "matmul_panel", step->strip,
                                gpu_values(p, panel.define, half, to_half)},
                      (GpuGrid){gpu_blocks(a->m, panel.rows), gpu_blocks(a->n, panel.columns), batches, 0, 0}, a,
                      sizeof *a);
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
                                       x->size[last] == 1 ? 1 : x->stride[last]};
    }
    const bool half = gpu_half(p, node->input[0]);
    if (half && weight->base->kind != TENSOR_WEIGHT) return gpu_no_kernel(node, " with a computed weight, in 16 bits,");
    if (half || (k_axis == 0 && weight->base->kind == TENSOR_WEIGHT && gpu_rung(p) == RUNG_FAST)) { /* k innermost */
        const int64_t size[] = {weight->size[1 - k_axis], weight->size[k_axis]};
        CopyBoxArgs how = {.from = a.b, .count = size[0] * size[1]};
        for (int k = 0; k < MOVE_AXES; k++) how.size[k] = 1;
        for (int k = 0; k < 2; k++) {
            how.size[MOVE_AXES - 2 + k] = size[k];
            how.from_stride[MOVE_AXES - 2 + k] = weight->stride[k == 0 ? 1 - k_axis : k_axis];
        }
        how.to_stride[MOVE_AXES - 2] = size[1];
        how.to_stride[MOVE_AXES - 1] = 1;
        int code = gpu_pack(p, step, &how, half ? PACK_HALF : PACK_F32, &a.b);
        if (code) return code;
        a.b_column = size[1];
        a.b_step = 1;
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
