/* tests/cuda/simt/plan_case.h - a program on the emulated device, held against the CPU. */
#ifndef PANUM_TESTS_CUDA_SIMT_PLAN_CASE_H
#define PANUM_TESTS_CUDA_SIMT_PLAN_CASE_H
#include "exec/gpu.h"
#include "tests/cuda/simt/emulated.h"

void must(int code); /* fails the test with the error's sentence */

typedef struct {
    PlanOptions plan;
    GpuPlanOptions gpu;
    Emulated device;
} PlanWay;

/* Fills the inputs from their ids, runs on both and compares every output. `bound` is of |difference| / max(1,
 * |value|). Checks as well that the device memory taken is what the plan promised and that a second run takes none. */
void compare_plan(const char *what, Program *program, PlanWay way, double bound);
/* The same, one value of each input being `odd`, NaN or infinite. The CPU runs its definitions, and results that are
 * NaN or infinite are to be so on both. */
void compare_plan_odd(const char *what, Program *program, PlanWay way, float odd, double bound);
#endif
