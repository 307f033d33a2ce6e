/* tensor/ops/sample_node.h - attributes of the nodes of sample.c, for whoever runs them elsewhere. */
#ifndef PANUM_TENSOR_OPS_SAMPLE_NODE_H
#define PANUM_TENSOR_OPS_SAMPLE_NODE_H
#include <stdbool.h>
#include <stdint.h>

/* Of grid_sample, warp_rows and their gradients. */
typedef struct {
    bool border, align_corners;
    int64_t h, w; /* of the picture, for its gradient */
} SampleAttributes;
#endif
