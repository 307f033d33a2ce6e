/* exec/gpu_stage.h - feeding a plan on a GPU, and reading it, while it works.
 *
 * A stage has slots. Each holds the inputs of one run and the outputs of one, in pinned memory of the host, where the
 * caller fills and reads them, and in memory of the device beside the plan's block. Copies have streams of their own,
 * one up and one down, so that with two slots the next inputs travel while the plan runs on the last ones, and its
 * outputs while it runs on the next:
 *
 *     gpu_stage_await(stage, s);            the host memory of the slot is free
 *     ... fill gpu_stage_data(stage, s, input) ...
 *     gpu_stage_send(stage, s);             inputs begin their way
 *     gpu_stage_run(stage, s);              the plan runs on them when they are there; outputs begin theirs
 *     ... the same for another slot ...
 *     gpu_stage_finish(stage, s);           the outputs are there
 *
 * Everything is allocated by gpu_stage_make. */
#ifndef PANUM_EXEC_GPU_STAGE_H
#define PANUM_EXEC_GPU_STAGE_H
#include "exec/gpu.h"

typedef struct {
    const Tensor *const *input, *const *output; /* dense; inputs of the program, outputs or kept taps */
    int inputs, outputs, slots;
} GpuStageOptions;

typedef struct GpuStage GpuStage;
/* The plan and the device outlive it. */
int gpu_stage_make(GpuPlan *plan, Gpu *gpu, GpuStageOptions options, GpuStage **stage);
void gpu_stage_drop(GpuStage *stage); /* NULL is fine; waits for what is under way */

void *gpu_stage_data(const GpuStage *stage, int slot, const Tensor *t);
int gpu_stage_await(GpuStage *stage, int slot);
int gpu_stage_send(GpuStage *stage, int slot);
int gpu_stage_run(GpuStage *stage, int slot);
int gpu_stage_finish(GpuStage *stage, int slot);
/* The first half of gpu_stage_run, for those who start the plan themselves: in the plan's stream, inputs go where the
 * plan reads them as soon as they are there. */
int gpu_stage_enter(GpuStage *stage, int slot);

typedef struct {
    size_t device, pinned; /* bytes taken */
} GpuStageFacts;
GpuStageFacts gpu_stage_facts(const GpuStage *stage);
#endif
