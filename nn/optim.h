/* nn/optim.h - one step of training: gradients in, changed weights out.
 *
 * Everything is a pass over flat blocks of f32 in one layout (nn/parameters.h), in vectors and by threads, with the
 * same bits for any number of threads and any instruction set. An optimiser owns its moments and the average of the
 * weights; it does not own the weights, nor the schedule: the rate of each step is given.
 *
 * AdamW (Loshchilov and Hutter 2019) and SGD with momentum are PyTorch's, formula for formula, and so is clipping by
 * the global norm. A gradient that is not finite changes nothing: the step says so (`skipped`). */
#ifndef PANUM_NN_OPTIM_H
#define PANUM_NN_OPTIM_H
#include "base/pool.h"
#include "nn/parameters.h"

typedef enum { OPTIM_ADAMW, OPTIM_SGD } OptimMethod;

/* Parameters with options of their own. Each belongs to the first group whose patterns (name_matches) take it; those
 * that none takes have rate 1 and the decay of OptimOptions. */
typedef struct {
    const char *patterns;
    double rate; /* factor on the rate of the step */
    double decay;
    bool frozen; /* never changed, and not part of the norm */
} OptimGroup;

enum { OPTIM_GROUPS_MAX = 16 };
typedef struct {
    OptimMethod method;
    double beta1, beta2, epsilon; /* AdamW; 0 means 0.9, 0.999, 1e-8 */
    double momentum;              /* SGD */
    double decay;                 /* of weights, decoupled in AdamW, part of the gradient in SGD */
    double clip;                  /* the norm of all gradients is brought down to this; 0: never */
    double average;               /* decay d of the weights' average a += (1-d)(w - a), early on the larger
                                     (1+t)/(10+t); 0: none is kept */
    const OptimGroup *group;
    int groups;
} OptimOptions;

typedef struct Optim Optim;
/* `list` and the texts of groups must outlive it. `weights` is what the average begins with. */
int optim_make(const ParameterList *list, const OptimOptions *options, const float *weights, Optim **optim);
void optim_drop(Optim *optim); /* NULL is fine */

typedef struct {
    double norm; /* L2 of all gradients times `scale`, before clipping */
    bool skipped;
} OptimStep;
/* Gradients are taken times `scale` (one over the loss scale and the number of parts they were summed from). */
OptimStep optim_step(Optim *optim, Pool *pool, float *weights, const float *gradients, double scale, double rate);
/* Steps that changed something: what Adam's correction of the early moments counts. */
int64_t optim_steps(const Optim *optim);
int64_t optim_trained(const Optim *optim); /* numbers that are not frozen */
/* How many trained parameters have had no gradient worth the name for the last hundred steps or so: their first moment
 * lies below OPTIM_SILENT of the whole's. `first` (may be NULL) is the first of them. A part of a network that
 * saturates falls silent, which no loss tells. 0 where the method keeps no moments. */
#define OPTIM_SILENT 1e-9
int optim_silent(const Optim *optim, int *first);
/* The group of a parameter, -1 for none. */
int optim_group(const Optim *optim, int parameter);

/* The numbers that a step is made with, for other players of it (a GPU): those of the step that follows `steps` that
 * changed something, of each group at group + 1 and of what is in no group at 0. */
typedef struct {
    float keep;   /* AdamW: 1 - rate decay */
    float step;   /* AdamW: rate / (1 - beta1^n); SGD: rate */
    float shrink; /* SGD: decay */
} OptimRate;
typedef struct {
    OptimRate rate[OPTIM_GROUPS_MAX + 1];
    float gain1, keep2, gain2; /* AdamW: 1 - beta1, beta2, 1 - beta2 */
    float root, epsilon;       /* sqrt(1 - beta2^n) */
    float momentum;            /* SGD: 0 the first time */
    float towards;             /* the average's share of the new weights */
} OptimNumbers;
OptimNumbers optim_numbers(const Optim *optim, double rate);
const OptimOptions *optim_options(const Optim *optim);

/* Its state, for checkpoints: blocks that the method does not have are NULL. */
enum { OPTIM_MOMENT1, OPTIM_MOMENT2, OPTIM_AVERAGE, OPTIM_BLOCKS };
extern const char *const optim_block_names[OPTIM_BLOCKS];
float *optim_block(Optim *optim, int block);
void optim_set_steps(Optim *optim, int64_t steps);

/* ---- loss scaling, for gradients in f16: PyTorch's GradScaler. The loss is multiplied by `scale` before the backward
 * pass; a step with gradients that are not finite is skipped and halves it, `patience` good ones in a row double it.
 * ---- */
typedef struct {
    double scale;
    int64_t good;     /* steps since it last changed */
    int64_t patience; /* 0: the scale never changes, which is right for f32 */
} LossScale;
void loss_scale_update(LossScale *scale, bool skipped);

/* ---- schedules: the rate of step n = 0, 1, ... of `steps` ---- */
typedef enum { RATE_CONSTANT, RATE_COSINE, RATE_ONE_CYCLE } RateShape;
typedef struct {
    RateShape shape;
    double rate;    /* the highest */
    double last;    /* cosine: the rate at the end, as a share of `rate` */
    int64_t warmup; /* constant, cosine: steps that rise linearly, (n+1)/warmup of the rate */
    int64_t steps;
} RateSchedule;
/* One cycle is PyTorch's OneCycleLR as it comes: cosine from rate/25 up over 30 % of the steps, then cosine down to
 * rate/250,000. */
double rate_at(const RateSchedule *schedule, int64_t step);
#endif
