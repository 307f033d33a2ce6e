/* apps/lib/show.h - what a file is, for people or as JSON on standard output. */
#ifndef PANUM_APPS_LIB_SHOW_H
#define PANUM_APPS_LIB_SHOW_H
#include "tensor/files/weights.h"

int show_weights(const Weights *weights, bool json, bool tensors);
#endif
