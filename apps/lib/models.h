/* apps/lib/models.h - the networks there are, and whether a file holds the weights of one. Where weights are looked for
 * is apps/lib/model_files.h. */
#ifndef PANUM_APPS_LIB_MODELS_H
#define PANUM_APPS_LIB_MODELS_H
#include "apps/lib/matcher.h"
#include "base/file.h"
#include "tensor/files/compare.h"

/* Who made its weights, and under what licence. */
const char *model_origin(MatcherModel model);
/* -1 with the error set when there is no memory. */
int64_t model_parameters(MatcherModel model);
/* 0 when the file holds exactly the tensors of the model; else ERR_WEIGHTS with one sentence about all differences and,
 * where `difference` is not NULL, every one of them by name (weights_difference_free). */
int model_fits(const Weights *weights, MatcherModel model, WeightsDifference *difference);
/* A whole safetensors file of the model with numbers that follow from the parameters' names (nn/store.h, seeded): for
 * measurements and tests. The sum of its parameters need not fit into memory. */
int model_write_seeded(MatcherModel model, Out *out);
/* ERR_USAGE naming the networks when `name` is none. */
int model_by_name(const char *name, MatcherModel *model);
#endif
