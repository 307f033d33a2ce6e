/* data/loader.h - samples made ahead of time by threads of their own, handed out in the order of the stream.
 *
 * Sample i of a stream is a function of i (data/sample.h), so N threads give the same samples in the same order as one,
 * and the position is one number: a loader started at position p goes on exactly as the one that was stopped there.
 * Memory is bounded: `ahead` samples at most are made or being made beyond the one handed out. */
#ifndef PANUM_DATA_LOADER_H
#define PANUM_DATA_LOADER_H
#include "data/sample.h"

typedef struct {
    int threads;       /* 0: none, samples are made when they are asked for */
    int ahead;         /* 0: two for each thread, at least 2 */
    uint64_t position; /* of the first sample to hand out */
    uint64_t end;      /* no sample has this place or a later one; 0: endless */
    int nice;          /* how far loader threads stand back for others, 0 to 19 as nice(1) counts; Linux only */
} LoaderOptions;

typedef struct Loader Loader;
int loader_make(Loader **loader, const SampleSource *source, const LoaderOptions *options);
/* The next sample; the one in `sample` is given back in exchange, so that no memory is allocated in the long run. A
 * sample that could not be made is an error here, at its place in the order, and the position moves on past it: the
 * caller may stop or ask for the next. ERR_INPUT when the stream has ended (loader_ended). */
int loader_next(Loader *loader, Sample *sample);
bool loader_ended(const Loader *loader);
/* Of the sample that loader_next will hand out: what a checkpoint keeps. */
uint64_t loader_position(const Loader *loader);
/* Waits for the samples being made, then ends the threads. NULL is fine. */
void loader_drop(Loader *loader);
#endif
