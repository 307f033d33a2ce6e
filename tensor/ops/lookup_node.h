/* tensor/ops/lookup_node.h - attributes of the nodes of lookup.c, for whoever runs them elsewhere. */
#ifndef PANUM_TENSOR_OPS_LOOKUP_NODE_H
#define PANUM_TENSOR_OPS_LOOKUP_NODE_H
#include "tensor/ops/ops.h"

/* Of both gradients of lookup. */
typedef struct {
    LookupOptions options;
    int64_t m;      /* of the volume */
    int64_t coarse; /* pixels of a side that share a row of it */
} LookupBackward;
#endif
