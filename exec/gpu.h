/* exec/gpu.h - a plan on a GPU: the same steps and places, with a kernel of cuda/kernels for each step.
 *
 * The plan is made with shape_only: it says what runs and where everything lies in one block, and that block is then
 * the GPU's. gpu_plan_make takes two pieces of device memory (the block, and the weights), compiles every kernel and
 * captures all launches in one graph; a run is that graph. Nothing is allocated from then on, on either side.
 *
 * An operator that no table of exec/gpu_*.c knows is refused by name when the plan is made. */
#ifndef PANUM_EXEC_GPU_H
#define PANUM_EXEC_GPU_H
#include "cuda/gpu.h"
#include "cuda/region.h"
#include "exec/plan.h"

typedef enum {
    RUNG_FAST,  /* the fastest kernel of each ladder */
    RUNG_PLAIN, /* the one that says what is computed */
    RUNG_KEPT,  /* the fastest of those that come compiled with the program (cuda/kept.h): what a device without a
                   compiler  gets, whatever was asked for */
} GpuRung;

/* What activations are stored in, and weights multiplied in, where a plan made with gpu_halves says so. Sums are f32.
 */
typedef enum { GPU_F32, GPU_F16, GPU_BF16 /* from sm_80 on */ } GpuStorage;

/* Weights that lie on the device already, in an order of their owner's: one block for a network that is trained, or
 * that several plans share. */
typedef struct {
    void *block;
    int64_t (*place)(const void *context, const Tensor *weight); /* bytes from `block`, a multiple of 64 */
    const void *context;
} GpuWeights;

typedef struct {
    GpuRung rung;
    GpuStorage storage;
    bool launch_each;          /* no graph: a run launches its kernels one by one */
    const GpuWeights *weights; /* NULL: the plan keeps a copy of what the source gives */
    KernelStore *kernels;      /* compiled before by others, and outliving the plan; NULL: it has its own */
} GpuPlanOptions;

/* PlanOptions.halves of a plan that is to run with GPU_F16 or GPU_BF16: every value is stored in 16 bits that only
 * kernels meet which take it so, but for outputs, taps that are kept, and what has fewer than eight channels:
 * positions, disparities, confidences and the like stay f32, as do all that transport and lookup read and write, and
 * gradients of weights with all that adds them up. */
void gpu_halves(const struct Steps *steps, bool *half);

typedef struct GpuPlan GpuPlan;
/* `plan`, its program and `gpu` outlive it. Weights are copied: the source may go; it is not asked at all where
 * options.weights is given. */
int gpu_plan_make(const Plan *plan, const WeightSource *weights, Gpu *gpu, GpuPlanOptions options, GpuPlan **out);
void gpu_plan_drop(GpuPlan *plan);

/* Fills an input from dense host memory, and reads an output or a kept tap that is dense in its layout. Both wait. */
int gpu_plan_write(GpuPlan *plan, const Tensor *t, const void *from);
int gpu_plan_read(GpuPlan *plan, const Tensor *t, void *to);
int gpu_plan_run(GpuPlan *plan); /* and waits */

/* For those who give the device more to do at a time than one run (exec/gpu_stage.h, training): begins a run in the
 * plan's stream; where a tensor lies, whose bytes are its own from its first writer to its last reader only (an output
 * to the end); and the weights once more from a source, for a plan that keeps a copy. */
int gpu_plan_start(GpuPlan *plan);
GpuStream *gpu_plan_stream(GpuPlan *plan);
void *gpu_plan_place(GpuPlan *plan, const Tensor *t);
int gpu_plan_reload(GpuPlan *plan, const WeightSource *weights);

typedef struct {
    size_t block, weights, extra; /* bytes of device memory taken: all that a run needs beside the kernels. Extra: the
                                     tables and the scratch that kernels have and the CPU's operators have not */
    int launches;                 /* of a run */
} GpuPlanFacts;
GpuPlanFacts gpu_plan_facts(const GpuPlan *plan);

/* A launch of a run; its texts are the plan's. */
typedef struct {
    const char *kernel, *define; /* NULL: not specialised */
    const char *why;             /* it is this kernel and not the fastest one, or this form; NULL: nothing to say */
    bool region;                 /* the text of a region is compiled with it */
    int step;                    /* of the plan, that it belongs to */
    GpuLaunch how;
    double seconds; /* the least that gpu_plan_measure found; 0: not measured */
} GpuLaunchFacts;
GpuLaunchFacts gpu_plan_launch(const GpuPlan *plan, int launch);
/* Runs the launches one by one, an event between two, so many times; what they take together is more than a run. */
int gpu_plan_measure(GpuPlan *plan, int rounds);
#endif
