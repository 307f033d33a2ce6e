/* apps/lib/trainer.h - a network being trained: weights, optimiser, the program of a step, and how far it has come.
 *
 * A step takes `batch` samples from a loader, runs them `micro` at a time forward and backward, adds the gradients in
 * f32, changes the weights and brings packed copies up to date. What it computes follows from the options and the
 * samples alone: any number of threads gives the same bits, and so does going on from a checkpoint. On a GPU
 * (apps/lib/train_device.h) sums have another order, so its numbers are near those of the CPU, and its own every time;
 * a checkpoint of either goes on on the other, in
 * whatever storage. */
#ifndef PANUM_APPS_LIB_TRAINER_H
#define PANUM_APPS_LIB_TRAINER_H
#include "apps/lib/checkpoint.h"
#include "apps/lib/device.h"
#include "apps/lib/train_graph.h"
#include "data/loader.h"
#include "nn/optim.h"

typedef struct {
    GraphOptions graph; /* pairs is the micro-batch */
    int batch;          /* a multiple of graph.pairs */
    OptimOptions optim;
    RateSchedule schedule;
    int64_t first_step; /* with which the schedule begins */
    /* What values and their gradients are stored and multiplied in; weights, their gradients, the optimiser, losses,
     * positions and transport are f32 always. 16 bits need a GPU: on the CPU they would be rounded for nothing. */
    GpuStorage storage;
    LossScale loss_scale; /* of f32 and bf16, whose exponents are alike, {1}; of f16 trainer_loss_scale */
    bool skip_spikes;     /* a step whose loss is far above those before it changes nothing; on the CPU only */
    uint64_t seed;        /* of the initial weights */
    const Device *device; /* which outlives it; NULL: the CPU */
} TrainerOptions;

/* How far it has come: all of it is in a checkpoint. The trainer moves the first group on, its caller the second. */
typedef struct {
    int64_t step;     /* steps taken, skipped ones counted */
    int64_t position; /* of the next sample in the stream */
    int64_t skipped, skipped_in_a_row;
    int64_t bad_samples; /* that could not be made */
    double seconds;      /* of all runs together */

    double best;               /* lowest held-out error of this phase so far, infinity before the first */
    int64_t best_step, stale;  /* stale: validations since */
    int64_t phase, phase_step; /* of a recipe with several: which, and the step it began with */
    int64_t log_bytes[2];      /* of the tables that belong to this step */
} TrainerState;

typedef struct {
    double loss, term[GRAPH_TERMS_MAX];
    double norm, rate;
    bool skipped, spiked; /* spiked: skipped for its loss */
    double data_seconds, run_seconds, update_seconds;
} TrainerStep;

/* PyTorch's GradScaler as it comes: 65,536 at first, twice as much after 2000 good steps in a row. */
extern const LossScale trainer_loss_scale;

typedef struct Trainer Trainer;
int trainer_make(const TrainerOptions *options, Pool *pool, Trainer **trainer);
void trainer_drop(Trainer *trainer); /* NULL is fine */
/* Begins from weights instead of the seed, but for parameters whose names match `renew` (name_matches; "" for none):
 * they stay what they were. */
int trainer_load_weights(Trainer *trainer, const char *path, const char *model, const char *renew);

/* The same from a block in memory, laid out as that of a trainer of the same network. */
int trainer_take_weights(Trainer *trainer, const float *weights);

/* One step. A loss or a gradient that is not finite changes no weight and is told, as is the loss scale that it halves;
 * SKIPPED_MOST in a row are ERR_FAILED. A loss far above those of the steps before (apps/lib/spike.h) is told, and the
 * step taken unless skip_spikes. ERR_INPUT when the loader has no more samples. */
enum { SKIPPED_MOST = 20 };
int trainer_step(Trainer *trainer, Loader *loader, TrainerStep *step);

/* How samples are called where something is told of them: fills `text`. Without it they are numbers. */
typedef void (*SampleNamer)(const void *context, uint64_t index, char *text, size_t size);
void trainer_name_samples(Trainer *trainer, SampleNamer namer, const void *context);

TrainerState *trainer_state(Trainer *trainer);
const TrainGraph *trainer_graph(const Trainer *trainer);
Plan *trainer_plan(Trainer *trainer);
GpuPlan *trainer_gpu_plan(Trainer *trainer);         /* NULL on the CPU */
size_t trainer_device_bytes(const Trainer *trainer); /* of GPU memory; 0 on the CPU */
const ParameterList *trainer_parameters(const Trainer *trainer);
/* From a GPU: what the next three read is of the last step only after this. trainer_save does it itself. */
int trainer_sync(Trainer *trainer);
const float *trainer_weights(const Trainer *trainer);
/* What is validated and shipped: the average where one is kept, else the weights. */
const float *trainer_best_guess(Trainer *trainer);
Optim *trainer_optim(Trainer *trainer);
LossScale trainer_scale(const Trainer *trainer);

/* Everything into folder/checkpoint_STEP, the last three are kept; `notes` are added to its metadata. */
int trainer_save(Trainer *trainer, const char *folder, const SafetensorsNote *notes, int count);
/* ERR_WEIGHTS when something is missing in it. The loss scale goes on where both are f16; it begins anew else. */
int trainer_restore(Trainer *trainer, const Checkpoint *checkpoint);
#endif
