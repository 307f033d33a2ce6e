/* apps/lib/gpu_report.h - what a plan does on a GPU, kernel by kernel: what is launched, what it should compute and
 * move by the operators' own count, and, where it was measured, how long it takes. */
#ifndef PANUM_APPS_LIB_GPU_REPORT_H
#define PANUM_APPS_LIB_GPU_REPORT_H
#include "exec/gpu.h"
#include <stdio.h>

/* A line a launch: step, operator, kernel, grid, threads, shared memory, whether a region is in its hole, scope, what
 * it is compiled with and why it is this kernel. */
void gpu_report_launches(const GpuPlan *gpu, const Plan *plan, FILE *to);
/* What the launches of one kernel come to. Its texts are the plan's. */
typedef struct {
    const char *kernel, *define; /* NULL: not specialised */
    int launches;
    double seconds, flops, bytes; /* seconds 0: not measured */
} KernelLine;
enum { KERNEL_LINES_MAX = 256 };
/* Fills at most KERNEL_LINES_MAX, the slowest first; returns how many. */
int gpu_report_lines(const GpuPlan *gpu, const Plan *plan, KernelLine *line);

/* A line a kernel, the slowest first (or the most launched, before gpu_plan_measure): launches, time, share, operations
 * and bytes, and rates. A step of several launches counts its work once, with the first of them. */
void gpu_report_kernels(const GpuPlan *gpu, const Plan *plan, FILE *to);
#endif
