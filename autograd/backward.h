/* autograd/backward.h - the walk backwards: records, after the nodes of a program, those that compute the derivatives
 * of a loss, so that one plan holds forward and backward and places them together.
 *
 * Each operator records its own gradient (tensor/op.h); here contributions are added up, sums over what was broadcast
 * are made, and what nobody wants is not walked into. Gradients are ordinary tensors: a trainer makes those of the
 * parameters outputs. Second derivatives are not offered.
 *
 * Recompute: what was recorded in a scope whose name matches a pattern is recorded once more, just before its
 * gradients, and those read the second results: the first need not be kept from forward to backward, only what enters
 * the scope and what leaves it. The outermost matching scope counts; each time a scope is entered stands for itself, so
 * an iteration is a scope as well as a block is. */
#ifndef PANUM_AUTOGRAD_BACKWARD_H
#define PANUM_AUTOGRAD_BACKWARD_H
#include "tensor/program.h"

typedef struct {
    Tensor *seed; /* d(what is minimised)/d(loss), of the shape of the loss: the loss scale, or a weight of the sample;
                     NULL: ones */
    bool inputs;  /* gradients of f32 inputs are wanted too, not only those of weights */
    const char *const *frozen; /* patterns (text_matches) of weights that are constants */
    int frozen_count;
    const char *const *recompute; /* patterns of scopes, each taken as a whole every time it is entered */
    int recompute_count;
    bool keep_all; /* also what operators call light (tensor/op.h), which is else computed again where it is read */
} BackwardOptions;

/* Records d(loss)/d(t) for every tensor on a path from a wanted weight or input to the loss. ERR_FAILED with the
 * operator's name and scope when one on the path has no gradient; ERR_MEMORY. To be called once for a program, outside
 * all scopes. */
int backward(Tensor *loss, const BackwardOptions *options);

/* d(loss)/d(t) after backward(), in the shape of t; NULL when no loss depends on it. That of a weight is dense and
 * row-major, as the weight is. */
Tensor *gradient_of(const Tensor *t);
#endif
