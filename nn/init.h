/* nn/init.h - numbers to begin training with.
 *
 * What a parameter is follows from the operator that reads it first, so a model says nothing about it. The rules are
 * PyTorch's defaults: weights and biases of convolutions and linear layers uniform in +-1/sqrt(fan_in) (He et al. 2015
 * with the slope sqrt 5 that PyTorch chose), where fan_in of a transposed convolution counts, as there, its outputs;
 * norms begin as the identity. A convolution without a bias is an update of a state, and begins with none: while
 * updates are noise, the quickest way to a lower loss is to close the gates before them, and they do not open again
 * (seen: the local refiner of S2M2-XS, closed within 5,000 steps). Values depend on the seed and the parameter's name
 * only. */
#ifndef PANUM_NN_INIT_H
#define PANUM_NN_INIT_H
#include "nn/parameters.h"

/* Fills `block`, laid out as `list`, which is that of `program`. */
void init_parameters(const Program *program, const ParameterList *list, uint64_t seed, real *block);
#endif
