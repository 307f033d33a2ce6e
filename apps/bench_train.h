/* apps/bench_train.h - whole training steps that can be measured: forward, backward, AdamW, repacking, one pair.
 *
 * The loss is the absolute difference to a constant truth over all stages (losses/disparity.c), because others can
 * compute it alike: bench/peers/torch_train.py does, from the same weights and pictures. Concentration, occlusion and
 * confidence, which `panum train` adds, are not in it, nor is a loader. */
#ifndef PANUM_APPS_BENCH_TRAIN_H
#define PANUM_APPS_BENCH_TRAIN_H
#include "exec/plan.h"
#include "models/s2m2.h"
#include "nn/store.h"

typedef struct TrainingStep TrainingStep;

typedef enum {
    KEEP_ALL,    /* every result that a gradient needs */
    KEEP_LITTLE, /* the large scopes of the network are computed again instead (--recompute) */
} TrainingKeeps;

/* Width and height are multiples of 32. `weights`: the file to begin with, NULL for seeded ones. */
int training_step_open(Pool *pool, const S2m2Size *size, int width, int height, TrainingKeeps keeps,
                       const char *weights, TrainingStep **step);
void training_step_drop(TrainingStep *step); /* NULL is fine */
/* One step; the context is the TrainingStep. Weights change: every step has another loss. */
int training_step_run(void *context);

const Plan *training_step_plan(const TrainingStep *step);
const ParameterStore *training_step_store(const TrainingStep *step);
typedef struct {
    double first, last; /* losses of the first and of the last step, each before its update */
} TrainingLoss;
TrainingLoss training_step_loss(const TrainingStep *step);
/* Bytes beside the plan's working memory and the packed weights: weights, gradients, two moments. */
size_t training_step_state(const TrainingStep *step);
#endif
