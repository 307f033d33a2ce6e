/* tensor/ops/simple.h - compound operators written in simpler ones. Slower and hungrier than the operators of ops.h;
 * the tests hold the two equal, and a machine without a kernel for the compound one can run these. */
#ifndef PANUM_TENSOR_OPS_SIMPLE_H
#define PANUM_TENSOR_OPS_SIMPLE_H
#include "tensor/ops/ops.h"

/* Writes the whole score table, (B,T,S) for each head. At most 16 heads. */
Tensor *t_attention_simple(Tensor *q, Tensor *k, Tensor *v, AttentionOptions options);
/* The factor must be a power of two. */
Tensor *t_convex_upsample_simple(Tensor *x, Tensor *logits, ConvexOptions options);
#endif
