/* apps/lib/bench.h - timing a kernel against what this machine can do, measured in the same run.
 *
 * Protocol: one round to warm up, then at least seven, or as many as fit in half a second (fifty at most); minimum and
 * median are kept. The peaks are those of the threads in use: multiply-adds on registers, and reading memory that is
 * larger than the caches. Shares of a peak mean little on a machine that others use too; the minimum is the steadier.
 */
#ifndef PANUM_APPS_LIB_BENCH_H
#define PANUM_APPS_LIB_BENCH_H
#include "base/pool.h"
#include "cuda/gpu.h"
#include <stdbool.h>
#include <stdio.h>

typedef struct {
    char kernel[48], shape[64];
    char note[96];       /* a figure of its own kind, "312 million disparities a second" */
    double flops, bytes; /* of one run, as the source says it should compute and move; 0: not counted */
    bool half;           /* its share is of the peak of 16-bit products */
    double ms_min, ms_median;
} BenchRow;

/* Memory of a network, in bytes. */
typedef struct {
    char what[64];
    double start;                    /* resident before anything was made */
    double working, weights, packed; /* what is promised: the plan's block, parameters, packed copies */
    double measured;                 /* high-water mark less start */
} BenchMemory;

enum { BENCH_ROWS_MAX = 512, BENCH_MEMORY_MAX = 8 };
typedef struct {
    Pool *pool;
    const char *filter;                   /* only kernels whose name begins so; NULL: all */
    int rounds;                           /* 0: as the protocol says */
    const GpuFacts *gpu;                  /* what is measured is this GPU; NULL: the CPU */
    double peak_gflops, peak_gflops_half; /* of all threads of the pool, or of the GPU; half: bf16 on the CPU, f16 on a
                                             GPU, 0 where it cannot */
    double peak_gbytes;                   /* read; on a GPU read and written by copies */
    double gbytes_up, gbytes_down;        /* of copies to a GPU and from it */
    int count;
    BenchRow rows[BENCH_ROWS_MAX];
    int memory_count;
    BenchMemory memory[BENCH_MEMORY_MAX];
} Bench;

void bench_begin(Bench *bench, const char *filter);
/* Takes the pool and measures the peaks. ERR_MEMORY. */
int bench_measure_peaks(Bench *bench, Pool *pool);
/* Should a kernel of this name be measured? Ask before its data are made. */
bool bench_wants(const Bench *bench, const char *kernel);
/* Times `run`; `note` may be NULL. Stops early (ERR_STOPPED) on SIGINT; passes on the first failure of run. The row may
 * be completed by the caller afterwards. */
int bench_run(Bench *bench, const char *kernel, const char *shape, double flops, double bytes,
              int (*run)(void *context), void *context, BenchRow **row);
/* A row measured elsewhere. */
BenchRow *bench_add(Bench *bench, const char *kernel, const char *shape, double flops, double bytes, double ms_min,
                    double ms_median);
/* The larger of a row's two shares of what bounds it. */
double bench_share(const Bench *bench, const BenchRow *row);
void bench_print(const Bench *bench, FILE *to);
void bench_print_json(const Bench *bench, FILE *to);

/* Multiply-adds on registers for about this many seconds in this thread: GFLOP/s. One per instruction level. */
double peak_gflops_base(double seconds);
double peak_gflops_avx2(double seconds);
double peak_gflops_avx512(double seconds);
double peak_gflops_bf16(double seconds); /* 0 when this was not built with it; only where cpu_has_bf16() */
#endif
