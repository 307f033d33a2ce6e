/* cuda/paper.h - a device that is only a description: nothing runs on it, and memory is addresses that nobody may
 * touch. A plan made on it has every launch of a real one, so that what would run where can be told on a machine
 * without a GPU. */
#ifndef PANUM_CUDA_PAPER_H
#define PANUM_CUDA_PAPER_H
#include "cuda/gpu.h"

/* Of this architecture; shared memory of a block and multiprocessors are those of its largest known device. */
int paper_open(int arch, Gpu **gpu);
#endif
