/* exec/gpu_stereo.c - what is particular to stereo, on a GPU: optimal transport, the correlation pyramid and its
 * lookup, convex upsampling. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/convex.h"
#include "cuda/kernels/lookup.h"
#include "cuda/kernels/transport.h"
#include "tensor/ops/transport_node.h"

#include <string.h>

/* A block works in one row of pixels of one pair: block_y and block_z; `width` threads in the row. */
static GpuGrid grid_of_rows(int64_t width, int64_t rows, int64_t pairs) {
    return (GpuGrid){.x = gpu_blocks(width, GPU_BLOCK), .y = rows, .z = pairs};
}

/* What kernels count with an int: elements of one row. */
static bool too_wide(int64_t columns, int64_t each) {
    return columns > (INT32_MAX - GPU_BLOCK) / each;
}

/* ---- transport ---- */

static int launch_transport(GpuPlan *p, const Step *step) {
    enum { VECTORS = 3 };
    const Node *node = step->node;
    const TransportOptions *options = node->attributes;
    const Tensor *cv = node->input[0], *out = node->output[0];
    const int64_t w = out->size[3], rows = out->size[0] * out->size[2];
    TransportArgs a = {
        .scores = gpu_address(p, cv),
        .pair = cv->rank == 4 ? cv->stride[0] : 0,
        .row = cv->stride[cv->rank - 3],
        .line = cv->stride[cv->rank - 2],
        .disparity = gpu_address(p, out),
        .confidence = gpu_address(p, node->output[1]),
        .occlusion = gpu_address(p, node->output[2]),
        .h = (int)out->size[2],
        .w = (int)w,
        .pitch = transport_pitch((int)w),
        .iterations = options->iterations,
        .positive = options->positive,
    };
    const size_t vectors = (size_t)(VECTORS * a.pitch) * sizeof(float), matrix = (size_t)(w * w) * sizeof(float);
    a.on_chip = vectors + matrix <= gpu_device(p)->shared_a_block;
    const size_t shared = vectors + (a.on_chip ? matrix : 0);
    if (shared > gpu_device(p)->shared_a_block)
        return gpu_no_kernel(node, " of so many columns for the shared memory of this device");
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/transport.cu", "transport_plain", NULL, NULL},
                      (GpuGrid){.x = rows, .shared = shared}, &a, sizeof a);
}

/* ---- lookup ---- */

static int launch_lookup(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const LookupOptions *options = node->attributes;
    const Tensor *cv = node->input[0], *d = node->input[1], *out = node->output[0];
    const int last = cv->rank - 1;
    const int64_t h = out->size[2], w = out->size[3], coarse = w / cv->size[last - 1];
    if (too_wide(w, LOOKUP_TAPS) || cv->size[last] > INT32_MAX / 2) return gpu_too_large(step);
    LookupArgs a = {
        .cv = gpu_address(p, cv),
        .cv_pair = cv->rank == 4 ? cv->stride[0] : h / coarse * cv->stride[0],
        .cv_row = cv->stride[last - 2],
        .cv_column = cv->stride[last - 1],
        .disparity = gpu_address(p, d),
        .d_pair = d->stride[0],
        .d_row = d->stride[2],
        .d_column = d->stride[3],
        .y = gpu_address(p, out),
        .h = (int)h,
        .w = (int)w,
        .m = (int)cv->size[last],
        .step = options->step,
        .coarse = (int)coarse,
        .half_pixel = options->half_pixel,
    };
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/lookup.cu", "lookup", NULL, NULL},
                      grid_of_rows(w * LOOKUP_TAPS, h, out->size[0]), &a, sizeof a);
}

/* Volumes (N,h,w,m), or (N*h,w,m), which is one pair of N*h rows. */
static int launch_pairs(GpuPlan *p, const Step *step, const char *kernel) {
    const Tensor *in = step->node->input[0], *out = step->node->output[0];
    const int last = out->rank - 1;
    const int64_t h = out->size[last - 2], w = out->size[last - 1], m = out->size[last];
    if (too_wide(w, m)) return gpu_too_large(step);
    PairsArgs a = {
        .from = gpu_address(p, in),
        .to = gpu_address(p, out),
        .pair = in->rank == 4 ? in->stride[0] : 0,
        .row = in->stride[last - 2],
        .column = in->stride[last - 1],
        .step = in->stride[last],
        .h = (int)h,
        .w = (int)w,
        .m = (int)m,
    };
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/lookup.cu", kernel, NULL, NULL},
                      grid_of_rows(w * m, h, out->rank == 4 ? out->size[0] : 1), &a, sizeof a);
}

static int launch_pool_pairs(GpuPlan *p, const Step *step) {
    return launch_pairs(p, step, "pool_pairs");
}

static int launch_even_pairs(GpuPlan *p, const Step *step) {
    return launch_pairs(p, step, "even_pairs");
}

static int launch_column_index(GpuPlan *p, const Step *step) {
    const Tensor *out = step->node->output[0];
    if (too_wide(out->size[3], 1)) return gpu_too_large(step);
    ColumnArgs a = {gpu_address(p, out), (int)out->size[2], (int)out->size[3]};
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/lookup.cu", "column_index", NULL, NULL},
                      grid_of_rows(out->size[3], out->size[2], out->size[0]), &a, sizeof a);
}

/* ---- convex upsampling ---- */

static int launch_convex(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const ConvexOptions *options = node->attributes;
    const Tensor *x = node->input[0], *logits = node->input[1], *out = node->output[0];
    if (too_wide(out->size[3], 1)) return gpu_too_large(step);
    ConvexArgs a = {
        .x = gpu_address(p, x),
        .x_pair = x->stride[0],
        .x_row = x->stride[2],
        .x_column = x->stride[3],
        .logits = gpu_address(p, logits),
        .l_pair = logits->stride[0],
        .l_row = logits->stride[2],
        .l_column = logits->stride[3],
        .y = gpu_address(p, out),
        .h = (int)x->size[2],
        .w = (int)x->size[3],
        .factor = options->factor,
        .clipped = options->clipped,
    };
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/convex.cu", "convex_upsample", NULL, NULL},
                      grid_of_rows(out->size[3], out->size[2], out->size[0]), &a, sizeof a);
}

const GpuOperator gpu_stereo_operators[] = {
    {"transport", launch_transport},
    {"lookup", launch_lookup},
    {"pool_pairs", launch_pool_pairs},
    {"even_pairs", launch_even_pairs},
    {"column_index", launch_column_index},
    {"convex_upsample", launch_convex},
    {0},
};
#endif
