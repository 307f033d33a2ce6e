/* exec/gpu_stereo.c - what is particular to stereo, on a GPU: optimal transport, the correlation pyramid and its
 * lookup, convex upsampling. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/convex.h"
#include "cuda/kernels/lookup.h"
#include "cuda/kernels/warp.h"
#include "tensor/ops/lookup_node.h"
#include "tensor/ops/ops.h"
#include "tensor/ops/sample_node.h"

/* A block works in one row of pixels of one pair: block_y and block_z; `width` threads in the row. */
static GpuGrid grid_of_rows(int64_t width, int64_t rows, int64_t pairs) {
    return (GpuGrid){.x = gpu_blocks(width, GPU_BLOCK), .y = rows, .z = pairs};
}

/* What kernels count with an int: elements of one row. */
static bool too_wide(int64_t columns, int64_t each) {
    return columns > (INT32_MAX - GPU_BLOCK) / each;
}

/* ---- lookup ---- */

/* What all three kernels have in common; cv is the volume or its gradient. */
static LookupArgs lookup_args(GpuPlan *p, const LookupOptions *options, const Tensor *cv, const Tensor *d) {
    const int last = cv->rank - 1;
    const int64_t h = d->size[2], w = d->size[3], coarse = w == cv->size[last - 1] ? 1 : 2;
    return (LookupArgs){
        .cv = gpu_address(p, cv),
        .cv_pair = cv->rank == 4 ? cv->stride[0] : h / coarse * cv->stride[0],
        .cv_row = cv->stride[last - 2],
        .cv_column = cv->stride[last - 1],
        .disparity = gpu_address(p, d),
        .d_pair = d->stride[0],
        .d_row = d->stride[2],
        .d_column = d->stride[3],
        .h = (int)h,
        .w = (int)w,
        .m = (int)cv->size[last],
        .step = options->step,
        .coarse = (int)coarse,
        .half_pixel = options->half_pixel,
    };
}

static void add_dy(GpuPlan *p, LookupArgs *a, const Tensor *dy) {
    a->dy = gpu_address(p, dy);
    a->dy_pair = dy->stride[0];
    a->dy_tap = dy->stride[1];
    a->dy_row = dy->stride[2];
    a->dy_column = dy->stride[3];
}

static bool lookup_too_wide(const Tensor *cv, const Tensor *d) {
    return too_wide(d->size[3], LOOKUP_TAPS_A_PIXEL) || too_wide(d->size[3], cv->size[cv->rank - 1]);
}

static int launch_lookup(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const Tensor *cv = node->input[0], *d = node->input[1];
    if (lookup_too_wide(cv, d)) return gpu_too_large(step);
    LookupArgs a = lookup_args(p, node->attributes, cv, d);
    a.y = gpu_address(p, node->output[0]);
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/lookup.cu", "lookup", NULL, NULL},
                      grid_of_rows((int64_t)a.w * LOOKUP_TAPS_A_PIXEL, a.h, d->size[0]), &a, sizeof a);
}

static int launch_lookup_backward_volume(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const Tensor *d = node->input[0], *dcv = node->output[0];
    if (lookup_too_wide(dcv, d)) return gpu_too_large(step);
    LookupArgs a = lookup_args(p, &((const LookupBackward *)node->attributes)->options, dcv, d);
    a.y = gpu_address(p, dcv);
    add_dy(p, &a, node->input[1]);
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/lookup.cu", "lookup_backward_volume", NULL, NULL},
                      grid_of_rows((int64_t)(a.w / a.coarse) * a.m, a.h / a.coarse, d->size[0]), &a, sizeof a);
}

static int launch_lookup_backward_disparity(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const Tensor *cv = node->input[0], *d = node->input[1];
    if (lookup_too_wide(cv, d)) return gpu_too_large(step);
    LookupArgs a = lookup_args(p, &((const LookupBackward *)node->attributes)->options, cv, d);
    a.y = gpu_address(p, node->output[0]);
    add_dy(p, &a, node->input[2]);
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/lookup.cu", "lookup_backward_disparity", NULL, NULL},
                      grid_of_rows(a.w, a.h, d->size[0]), &a, sizeof a);
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

static int launch_pool_pairs_backward(GpuPlan *p, const Step *step) {
    return launch_pairs(p, step, "pool_pairs_backward");
}

static int launch_even_pairs_backward(GpuPlan *p, const Step *step) {
    return launch_pairs(p, step, "even_pairs_backward");
}

static int launch_column_index(GpuPlan *p, const Step *step) {
    const Tensor *out = step->node->output[0];
    if (too_wide(out->size[3], 1)) return gpu_too_large(step);
    ColumnArgs a = {gpu_address(p, out), (int)out->size[2], (int)out->size[3]};
    return gpu_launch(p, step, (GpuCode){"cuda/kernels/lookup.cu", "column_index", NULL, NULL},
                      grid_of_rows(out->size[3], out->size[2], out->size[0]), &a, sizeof a);
}

/* ---- convex upsampling ---- */

/* Inputs x and logits; the gradient's also dy. */
static ConvexArgs convex_args(GpuPlan *p, const Node *node) {
    const ConvexOptions *options = node->attributes;
    const Tensor *x = node->input[0], *logits = node->input[1];
    return (ConvexArgs){
        .x = gpu_address(p, x),
        .x_pair = x->stride[0],
        .x_row = x->stride[2],
        .x_column = x->stride[3],
        .logits = gpu_address(p, logits),
        .l_pair = logits->stride[0],
        .l_row = logits->stride[2],
        .l_column = logits->stride[3],
        .h = (int)x->size[2],
        .w = (int)x->size[3],
        .factor = options->factor,
        .clipped = options->clipped,
    };
}

static int launch_convex(GpuPlan *p, const Step *step) {
    const Tensor *out = step->node->output[0];
    if (too_wide(out->size[3], 1)) return gpu_too_large(step);
    ConvexArgs a = convex_args(p, step->node);
    a.y = gpu_address(p, out);
    return gpu_launch(p, step,
                      (GpuCode){"cuda/kernels/convex.cu", "convex_upsample", NULL,
                                gpu_values(p, NULL, gpu_half(p, step->node->input[1]), false)},
                      grid_of_rows(out->size[3], out->size[2], out->size[0]), &a, sizeof a);
}

static int launch_convex_backward(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const Tensor *dy = node->input[2];
    if (too_wide(dy->size[3], 1) || dy->size[2] > INT32_MAX / 2) return gpu_too_large(step);
    ConvexArgs a = convex_args(p, node);
    a.dy = gpu_address(p, dy);
    a.dy_pair = dy->stride[0];
    a.dy_row = dy->stride[2];
    a.dy_column = dy->stride[3];
    a.dx = gpu_address(p, node->output[0]);
    a.dlogits = gpu_address(p, node->output[1]);
    return gpu_launch(p, step,
                      (GpuCode){"cuda/kernels/convex.cu", "convex_upsample_backward", NULL,
                                gpu_values(p, NULL, gpu_half(p, node->input[1]), gpu_half(p, node->output[1]))},
                      (GpuGrid){.x = gpu_blocks(a.w, 16), .y = gpu_blocks(a.h, 16), .z = dy->size[0]}, &a, sizeof a);
}

/* ---- pictures along their rows ---- */

/* x NULL: the gradient to the picture, of the shape of `out`. */
static int launch_warp_kernel(GpuPlan *p, const Step *step, const char *kernel, const Tensor *x, const Tensor *d,
                              const Tensor *dy) {
    const Node *node = step->node;
    const SampleAttributes *attributes = node->attributes;
    const Tensor *out = node->output[0];
    const int64_t channels = (x ? x : out)->size[1];
    enum { EXACT = 1 << 24 }; /* columns that a float can tell apart */
    if (too_wide(d->size[3], channels) || d->size[3] > EXACT) return gpu_too_large(step);
    WarpArgs a = {
        .disparity = gpu_address(p, d),
        .d_pair = d->stride[0],
        .d_row = d->stride[2],
        .d_column = d->stride[3],
        .y = gpu_address(p, out),
        .inside = node->outputs > 1 ? gpu_address(p, node->output[1]) : NULL,
        .h = (int)d->size[2],
        .w = (int)d->size[3],
        .channels = (int)channels,
        .border = attributes->border,
    };
    if (x) {
        a.x = gpu_address(p, x);
        a.x_pair = x->stride[0];
        a.x_row = x->stride[2];
        a.x_column = x->stride[3];
    }
    if (dy) {
        a.dy = gpu_address(p, dy);
        a.dy_pair = dy->stride[0];
        a.dy_channel = dy->stride[1];
        a.dy_row = dy->stride[2];
        a.dy_column = dy->stride[3];
    }
    return gpu_launch(
        p, step,
        (GpuCode){"cuda/kernels/warp.cu", kernel, NULL, gpu_values(p, NULL, gpu_half(p, x ? x : dy), gpu_half(p, out))},
        grid_of_rows(dy ? a.w : a.w * channels, a.h, d->size[0]), &a, sizeof a);
}

static int launch_warp(GpuPlan *p, const Step *step) {
    return launch_warp_kernel(p, step, "warp_rows", step->node->input[0], step->node->input[1], NULL);
}

static int launch_warp_backward_disparity(GpuPlan *p, const Step *step) {
    Tensor *const *in = step->node->input;
    return launch_warp_kernel(p, step, "warp_rows_backward_disparity", in[0], in[1], in[2]);
}

static int launch_warp_backward_picture(GpuPlan *p, const Step *step) {
    Tensor *const *in = step->node->input;
    return launch_warp_kernel(p, step, "warp_rows_backward_picture", NULL, in[0], in[1]);
}

const GpuOperator gpu_stereo_operators[] = {
    {"lookup", launch_lookup},
    {"lookup_backward_volume", launch_lookup_backward_volume},
    {"lookup_backward_disparity", launch_lookup_backward_disparity},
    {"pool_pairs", launch_pool_pairs},
    {"pool_pairs_backward", launch_pool_pairs_backward},
    {"even_pairs", launch_even_pairs},
    {"even_pairs_backward", launch_even_pairs_backward},
    {"column_index", launch_column_index},
    {"convex_upsample", launch_convex},
    {"convex_upsample_backward", launch_convex_backward},
    {"warp_rows", launch_warp},
    {"warp_rows_backward_disparity", launch_warp_backward_disparity},
    {"warp_rows_backward_picture", launch_warp_backward_picture},
    {0},
};
#endif
