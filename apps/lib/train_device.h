/* apps/lib/train_device.h - a training on a GPU: weights, moments, average and gradients live there, and so do the
 * steps.
 *
 * A step runs its parts one after another (the captured graph of forward and backward, then their gradients added to
 * the block), and then changes the weights; what comes back is a few numbers. Inputs have two slots: while one part is
 * computed the next is filled by the caller and travels. With storage in 16 bits (mixed precision) values and their
 * gradients lie so on the device and products are of such numbers; weights, gradients of weights, the optimiser and its
 * blocks stay f32. The host's weights and optimiser (nn/optim.h) are what is
 * begun with, and a mirror to be asked for: checkpoints are written from it and read into it, so that a training begun
 * on one device goes on on another. */
#ifndef PANUM_APPS_LIB_TRAIN_DEVICE_H
#define PANUM_APPS_LIB_TRAIN_DEVICE_H
#include "exec/player.h"
#include "nn/optim.h"

typedef struct {
    Program *program;
    const Plan *plan; /* of the program, shape_only, with gpu_halves where storage is in 16 bits */
    GpuStorage storage;
    KernelStore *kernels;
    const ParameterList *list;
    Tensor *const *gradient;     /* by parameter, outputs of the program; NULL: none */
    const Tensor *seed;          /* the input [1] that the loss is multiplied by */
    const Tensor *const *scalar; /* outputs [1] to bring back of each part; the first is the loss */
    int scalars, parts;          /* of a step */
    Optim *optim;
    float *weights;
} TrainDeviceOptions;

typedef struct TrainDevice TrainDevice;
/* All that the options name outlives it, and so does the device. Takes the host's numbers over. */
int train_device_make(Gpu *gpu, const TrainDeviceOptions *options, TrainDevice **device);
void train_device_drop(TrainDevice *device); /* NULL is fine */

/* The numbers of weights and optimiser to the host, and from it. */
int train_device_fetch(TrainDevice *device);
int train_device_put(TrainDevice *device);

/* Inputs of the part after those sent: wait until there is room, fill all but the seed, send. */
int train_device_await(TrainDevice *device);
HostPlaces train_device_places(const TrainDevice *device);
int train_device_send(TrainDevice *device);
void train_device_discard(TrainDevice *device); /* what was sent and not begun is not wanted any more */

/* Begins the next part that was sent, the part-th of its step. */
int train_device_part(TrainDevice *device, int part, double seed);
/* Begins the change of the weights; `scale` on gradients and `rate` as optim_step has them. */
int train_device_update(TrainDevice *device, double scale, double rate);
typedef struct {
    OptimStep done;
    const float *scalar; /* [parts][scalars], until the next step */
} TrainDeviceStep;
/* Waits for the step. A loss that is not finite counts as gradients that are not. */
int train_device_finish(TrainDevice *device, TrainDeviceStep *step);

size_t train_device_bytes(const TrainDevice *device); /* of GPU memory */
GpuPlan *train_device_plan(TrainDevice *device);
#endif
