/* apps/bench_kernels.h - what `panum bench` measures beside semi-global matching: single operators, whole networks and
 * memory, each as it runs in the product: a recorded program, a plan, replay with the fast kernels, seeded weights. */
#ifndef PANUM_APPS_BENCH_KERNELS_H
#define PANUM_APPS_BENCH_KERNELS_H
#include "apps/lib/bench.h"

/* A row for every operator, and for whole networks when `networks` says so or the filter begins with s2m2. */
int bench_kernels(Bench *bench, bool networks);

/* A row for a training step of each of some networks: forward and backward; and whole steps (apps/bench_train.h). */
int bench_train(Bench *bench);

/* Answers standard input line by line, so that a script can alternate rounds with those of other programs:
 *   peak             the peaks, measured now
 *   KERNEL SHAPE     one round, as "conv 3x3 128->128 120x184", "s2m2-S 736x480" or, a whole training step,
 *                    "train-s2m2-S 320x256": calls repeated until they last
 *                    50 ms (their number is fixed by the first round; that one prepares and its time does not count)
 *   drop             gives back the memory of everything prepared
 * The answer to each is one JSON object on one line. `weights` is the file that networks take, NULL for seeded ones. */
int bench_interactive(Pool *pool, const char *weights);

/* Does a network need the memory that its plan promises? Each is run in a process of its own, made by fork before
 * there are other threads: the high-water mark less what was resident at the start, against working memory, weights and
 * packed weights together. XL at 1920x1056 only with `networks`. */
int bench_memory(Bench *bench, int threads, bool networks);
#endif
