/* autograd/backward.h - the walk backwards: records, after the nodes of a program, those that compute the derivatives
 * of a loss, so that one plan holds forward and backward and places them together.
 *
 * Each operator records its own gradient (tensor/op.h); here contributions are added up, sums over what was broadcast
 * are made, and what nobody wants is not walked into. Gradients are ordinary tensors: a trainer makes those of the
 * parameters outputs. Second derivatives are not offered.
 *
 * Recompute: nodes whose scope matches a pattern are recorded once more, just before the gradients that read their
 * results, so that the first results need not be kept from forward to backward. */
#ifndef PANUM_AUTOGRAD_BACKWARD_H
#define PANUM_AUTOGRAD_BACKWARD_H
#include "tensor/program.h"

typedef struct {
    Tensor *seed; /* d(what is minimised)/d(loss), of the shape of the loss: the loss scale, or a weight of the sample;
                     NULL: ones */
    bool inputs;  /* gradients of f32 inputs are wanted too, not only those of weights */
    const char *const *frozen; /* patterns (text_matches) of weights that are constants */
    int frozen_count;
} BackwardOptions;

/* Records d(loss)/d(t) for every tensor on a path from a wanted weight or input to the loss. ERR_FAILED with the
 * operator's name and scope when one on the path has no gradient; ERR_MEMORY. To be called once for a program, outside
 * all scopes. */
int backward(Tensor *loss, const BackwardOptions *options);

/* d(loss)/d(t) after backward(), in the shape of t; NULL when no loss depends on it. That of a weight is dense and
 * row-major, as the weight is. */
Tensor *gradient_of(const Tensor *t);
#endif
