/* tensor/ops/move.h - what the walk backwards (autograd/) has to know about views and copies. */
#ifndef PANUM_TENSOR_OPS_MOVE_H
#define PANUM_TENSOR_OPS_MOVE_H
#include "tensor/ops/ops.h"

bool op_is_detach(const Op *op);
/* Is it the result of t_pad_zeros? Along which axis, and where does what is not zero begin? */
bool node_is_padding(const Tensor *t);
int padding_axis(const Tensor *t);
int64_t padding_start(const Tensor *t);
/* x when its innermost axis is the one of `like`, whatever its strides; otherwise a dense copy in the order of `like`.
 */
Tensor *t_in_order(Tensor *x, const Tensor *like);
#endif
