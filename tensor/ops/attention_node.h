/* tensor/ops/attention_node.h - what attention.c and attention_gradient.c share. */
#ifndef PANUM_TENSOR_OPS_ATTENTION_NODE_H
#define PANUM_TENSOR_OPS_ATTENTION_NODE_H
#include "tensor/op.h"
#include "tensor/ops/ops.h"

enum { PE_HALF = 16, PE_WIDTH = 32 };

typedef struct {
    int heads;
    bool swap_halves;
    int64_t h, w;                  /* of the grid; 0 without the relative term */
    const real *table_y, *table_x; /* T_ny [2h-1][16], T_nx [2w-1][16], in the program's memory */
} AttentionAttributes;

/* Batch of k and v that batch b of q meets. */
static inline int64_t other_batch(const AttentionAttributes *a, int64_t b, int64_t batches) {
    return a->swap_halves ? (b + batches / 2) % batches : b;
}

void attention_print(const Node *node, FILE *to);
void attention_gradient(const Node *node, Tensor *const *d_output, Tensor **d_input);
#endif
