/* nn/store.h - the parameter store: values of parameters by name, outside any program, and packed copies of them.
 *
 * One program is recorded for each picture size; all of them share one store. Values come from a weights file (mapped;
 * f32 that lies in order is used where it is, anything else is converted once), from a rule (tests, benchmarks), or
 * from the one who trains them. */
#ifndef PANUM_NN_STORE_H
#define PANUM_NN_STORE_H
#include "nn/parameters.h"
#include "tensor/files/compare.h"
#include "tensor/program.h"
#include "tensor/weight_source.h"

typedef struct ParameterStore ParameterStore;

/* From a .safetensors or .pth file; ERR_WEIGHTS and the like. */
int store_open(const char *path, ParameterStore **store);
/* Deterministic values without a file, by the rule of tools/ref/seeded.py: seed = FNV-1a of the name; weights uniform
 * with variance 1/fan_in, norm scales around 1. */
int store_make_seeded(ParameterStore **store);
/* Multiplies the seeded values of one parameter, in double before rounding; before they are first asked for. */
int store_set_gain(ParameterStore *store, const char *name, double gain);
/* To be trained: the parameters of `program` in one block of the caller's to fill and to change (zeros at first;
 * nn/init.h, parameters_load). Plans read the block where it lies: after a change between two runs, plan_repack
 * (exec/plan.h) brings the packed copies up to date. */
int store_make_trainable(const Program *program, ParameterStore **store);
const ParameterList *
store_parameters(const ParameterStore *store); /* NULL unless made to be trained, as is the block */
real *store_block(ParameterStore *store);
void store_close(ParameterStore *store);

/* Are exactly the weights of `program` there, in these shapes? All that is missing, unexpected or misshapen in one
 * sentence (ERR_WEIGHTS); `model` is what it calls the network. A seeded store always has them. */
int store_check(const ParameterStore *store, const Program *program, const char *model);
/* The same for a file that is only looked at; `difference` gets the whole list, or is NULL (tensor/files/compare.h). */
int weights_fit_program(const Weights *file, const Program *program, const char *model, WeightsDifference *difference);
WeightSource store_source(ParameterStore *store);
size_t store_packed_bytes(const ParameterStore *store); /* of all packed copies made so far */
#endif
