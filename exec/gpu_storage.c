/* exec/gpu_storage.c - which tensors of a plan lie in 16 bits a number: gpu_halves. */
#include "exec/gpu.h"

#ifndef PANUM_F64
#include "exec/steps.h"

#include <string.h>

/* An operator whose kernels take 16 bits: as inputs, where bit 0 is the data operand with all its parts and bit k the
 * k-th input after it; and as outputs, by number, where no region stores them: that is the region's affair. Inputs are
 * of one type, all of these or none, unless each is loaded by itself; outputs are of one type always.
 * What is not here reads and writes f32: positions, lookup and transport always, and with them the tables of
 * correlation that those read; sums of reductions, gradients of weights and of positions. */
typedef struct {
    const char *op;
    unsigned inputs, outputs;
    enum { TOGETHER, EACH } loads;
} TakesHalf;

/* clang-format off */
static const TakesHalf takes_half[] = {
    {"adaptive_avg_pool", 1, 1, TOGETHER},
    {"adaptive_avg_pool_backward", 1, 1, TOGETHER},
    {"attention", 7, 1, TOGETHER},
    {"attention_backward", 15, 7, TOGETHER},
    {"attention_relative", 7, 1, TOGETHER},
    {"avg_pool2", 1, 1, TOGETHER},
    {"avg_pool2_backward", 1, 1, TOGETHER},
    {"avg_pool2d", 1, 1, TOGETHER},
    {"avg_pool2d_backward", 1, 1, TOGETHER},
    {"cat", ~0u, 1, EACH},
    {"conv2d", 1, 1, EACH},
    {"conv2d_weight_gradient", 3, 0, EACH},
    {"conv_transpose2d", 1, 1, EACH},
    {"convex_upsample", 2, 0, TOGETHER},
    {"convex_upsample_backward", 2, 2, TOGETHER},
    {"copy", ~0u, 1, EACH},
    {"fill", 0, 1, TOGETHER},
    {"grid_sample", 1, 1, TOGETHER},
    {"grid_sample_backward_grid", 5, 0, TOGETHER},
    {"grid_sample_backward_picture", 2, 1, TOGETHER},
    {"group_norm", 1, 1, TOGETHER},
    {"group_norm_gradient", 5, 1, TOGETHER},
    {"layer_norm", 1, 1, TOGETHER},
    {"layer_norm_gradient", 5, 1, EACH},
    {"linear", 1, 1, TOGETHER},
    {"linear_input_gradient", 1, 1, TOGETHER},
    {"linear_weight_gradient", 3, 0, EACH},
    {"matmul", 3, 1, TOGETHER},
    {"matmul_nt", 3, 1, TOGETHER},
    {"pad_zeros", 1, 1, TOGETHER},
    {"pointwise", ~0u, 1, EACH},
    {"resize_bilinear", 1, 1, TOGETHER},
    {"resize_bilinear_backward", 1, 1, TOGETHER},
    {"softmax", 1, 1, TOGETHER},
    {"softmax_gradient", 3, 1, EACH},
    {"sum", 1, 0, TOGETHER},
    {"sum_channels", 1, 0, TOGETHER},
    {"sum_positions", 1, 0, TOGETHER},
    {"upsample2_nearest", 1, 1, TOGETHER},
    {"upsample2_nearest_backward", 1, 1, TOGETHER},
    {"warp_rows", 1, 1, TOGETHER},
    {"warp_rows_backward_disparity", 5, 0, TOGETHER},
    {"warp_rows_backward_picture", 2, 1, TOGETHER},
};
/* clang-format on */

static const TakesHalf *find_row(const Node *node) {
    for (size_t i = 0; i < sizeof takes_half / sizeof *takes_half; i++)
        if (!strcmp(takes_half[i].op, node->op->name)) return &takes_half[i];
    return NULL;
}

/* `t` is the gradient of a weight, or added to others that are together, moved or not: it stays f32, as the weight is.
 */
static void keep_gradient(const Tensor *t, bool *half) {
    static const char *const moves[] = {"cat", "copy", "pad_zeros"};
    const Node *node = t->base->node;
    half[t->base->id] = false;
    if (!node) return;
    bool on = node->op->kind == OP_POINTWISE && ((const PointwiseAttributes *)node->attributes)->function == FN_ADD;
    for (int i = 0; i < 3; i++) on = on || !strcmp(node->op->name, moves[i]);
    for (int k = 0; on && k < node->inputs; k++) keep_gradient(node->input[k], half);
}

enum { HALF_CHANNELS_LEAST = 8 /* a piece of 16 bytes */ };

/* Takes what `row` cannot meet out of `half`; true when something was. */
static bool keep_f32(const Step *step, const TakesHalf *row, bool *half) {
    const Node *node = step->node;
    bool changed = false, all = true; /* what is loaded together is in 16 bits so far */
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < node->inputs; k++) {
            const Tensor *x = node->input[k];
            if (!x) continue;
            const int bit = k < node->segments ? 0 : k - node->segments + 1;
            const bool may = row && row->inputs >> bit & 1;
            if (pass == 0 && may && row->loads == TOGETHER) all = all && half[x->base->id];
            if (pass == 0 || !half[x->base->id] || (may && all)) continue;
            half[x->base->id] = false;
            changed = true;
        }
    bool every = true; /* of the outputs that may be */
    for (int k = 0; !step->strip && row && k < node->outputs; k++)
        every = every && (!(row->outputs >> k & 1) || half[node->output[k]->base->id]);
    for (int k = 0; k < node->outputs; k++) {
        const bool may = step->strip ? k == 0 : row && every && row->outputs >> k & 1;
        const int id = node->output[k]->base->id;
        if (!half[id] || may) continue;
        half[id] = false;
        changed = true;
    }
    return changed;
}

void gpu_halves(const struct Steps *steps, bool *half) {
    for (int i = 0; i < program_tensors(steps->program); i++) {
        const Tensor *t = program_tensor(steps->program, i);
        const int64_t channels = t->rank == 4 ? t->size[1] : t->rank ? t->size[t->rank - 1] : 1;
        half[i] = t->base == t && t->kind == TENSOR_VALUE && t->dtype == DTYPE_F32 && !steps->wanted[i] &&
                  channels >= HALF_CHANNELS_LEAST;
    }
    for (int i = 0; i < program_tensors(steps->program); i++) {
        const Tensor *t = program_tensor(steps->program, i);
        if (t->kind == TENSOR_WEIGHT && t->gradient) keep_gradient(t->gradient, half);
    }
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i < steps->steps; i++)
            if (steps->step[i].node)
                changed = keep_f32(&steps->step[i], find_row(steps->step[i].node), half) || changed;
    }
}

#endif
