/* tests/cuda/simt/seen.h - which operators a test has held against the CPU on a device, in which storage: lines in
 * $PANUM_BUILD/operators.seen, from which tests/cuda/test_operators.c makes docs/gpu_operators.tsv. */
#ifndef PANUM_TESTS_CUDA_SIMT_SEEN_H
#define PANUM_TESTS_CUDA_SIMT_SEEN_H
#include "exec/gpu.h"

/* To be called once a comparison has passed. An operator counts as seen in 16 bits when one of its tensors is. */
void operators_seen(const Plan *plan, GpuStorage storage);
void operators_seen_path(char *to, size_t size);
#endif
