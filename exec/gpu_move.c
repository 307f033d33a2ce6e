/* exec/gpu_move.c - copies between layouts on a GPU: cat, copy, pad_zeros; fill. */
#include "exec/gpu_steps.h"

#ifndef PANUM_F64
#include "cuda/kernels/move.h"
#include "tensor/ops/move.h"

/* Axes in the order of `out`, the innermost last; `axis` of the tensors becomes the place that is returned. */
static int fill_axes(CopyBoxArgs *a, const int64_t *size, const Tensor *x, const Tensor *out, int axis) {
    /* channels of a channels-last map are its innermost axis */
    const bool channels_last = out->rank == 4 && out->stride[1] == 1 && out->size[1] > 1;
    static const int last_first[] = {1, 3, 2, 0};
    int found = 0;
    for (int k = 0; k < MOVE_AXES; k++) a->size[k] = 1;
    for (int k = 0; k < out->rank; k++) {
        const int from = channels_last ? last_first[k] : out->rank - 1 - k, place = MOVE_AXES - 1 - k;
        a->size[place] = size[from];
        a->from_stride[place] = x->stride[from];
        a->to_stride[place] = out->stride[from];
        if (from == axis) found = place;
    }
    return found;
}

/* One launch for each input, side by side along the axis that tells them apart; copy has one input. */
static int launch_parts(GpuPlan *p, const Step *step) {
    const Node *node = step->node;
    const Tensor *out = node->output[0];
    int64_t start = 0;
    int axis = 0; /* the one along which the parts are smaller than the whole */
    for (int k = 0; k < out->rank; k++)
        if (node->input[0]->size[k] != out->size[k]) axis = k;
    char *to = gpu_address(p, out);
    const bool half = gpu_half(p, out);
    for (int i = 0; i < node->inputs; i++) {
        const Tensor *x = node->input[i];
        CopyBoxArgs a = {.from = gpu_address(p, x),
                         .to = to + (size_t)(start * out->stride[axis]) * (half ? 2 : sizeof(float)),
                         .count = tensor_count(x)};
        fill_axes(&a, x->size, x, out, 0);
        start += x->size[axis];
        int code = gpu_launch(
            p, step, (GpuCode){"cuda/kernels/move.cu", "copy_box", NULL, gpu_values(p, NULL, gpu_half(p, x), half)},
            (GpuGrid){.x = gpu_blocks(a.count, GPU_BLOCK)}, &a, sizeof a);
        if (code) return code;
    }
    return 0;
}

static int launch_pad_zeros(GpuPlan *p, const Step *step) {
    const Tensor *x = step->node->input[0], *out = step->node->output[0];
    const int axis = padding_axis(out);
    PadBoxArgs a = {.box = {.from = gpu_address(p, x), .to = gpu_address(p, out), .count = tensor_count(out)},
                    .start = padding_start(out),
                    .end = padding_start(out) + x->size[axis]};
    a.axis = fill_axes(&a.box, out->size, x, out, axis);
    return gpu_launch(
        p, step,
        (GpuCode){"cuda/kernels/move.cu", "pad_box", NULL, gpu_values(p, NULL, gpu_half(p, x), gpu_half(p, out))},
        (GpuGrid){.x = gpu_blocks(a.box.count, GPU_BLOCK)}, &a, sizeof a);
}

static int launch_fill(GpuPlan *p, const Step *step) {
    const Tensor *out = step->node->output[0];
    FillArgs a = {
        .to = gpu_address(p, out), .count = tensor_count(out), .value = (float)*(const double *)step->node->attributes};
    return gpu_launch(p, step,
                      (GpuCode){"cuda/kernels/move.cu", "fill_all", NULL, gpu_values(p, NULL, false, gpu_half(p, out))},
                      (GpuGrid){.x = gpu_blocks(a.count, GPU_BLOCK)}, &a, sizeof a);
}

const GpuOperator gpu_move_operators[] = {
    {"cat", launch_parts}, {"copy", launch_parts}, {"pad_zeros", launch_pad_zeros}, {"fill", launch_fill}, {0}};
#endif
