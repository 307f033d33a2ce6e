/* data/synthetic.h - an endless, seeded stream of synthetic stereo pairs to train on.
 *
 * Sample i of a stream is a pure function of the options and i. Truth is exact for both eyes: the disparity of the
 * surface that the ray through the pixel's centre meets, and whether the other eye sees the same surface point. Both
 * signs occur in every stream: the screen plane lies inside the scene most of the time, and now and then before or
 * behind all of it. */
#ifndef PANUM_DATA_SYNTHETIC_H
#define PANUM_DATA_SYNTHETIC_H
#include "data/sample.h"

typedef struct {
    uint64_t seed;
    int width, height;      /* of every sample */
    double disparity_limit; /* |d| is below this share of the width; 0: 0.25 (crops of larger pictures need more than
                               a picture's 12 %) */
    bool clean; /* no camera: neither noise, blur nor differences between the eyes; right(x - d) = left(x) */
} SyntheticOptions;

typedef struct Synthetic Synthetic;
int synthetic_open(Synthetic **synthetic, const SyntheticOptions *options);
/* Any thread, any order. */
int synthetic_make(const Synthetic *synthetic, uint64_t index, Sample *sample);
SampleSource synthetic_source(Synthetic *synthetic); /* for a loader; the stream must outlive it */
void synthetic_close(Synthetic *synthetic);          /* NULL is fine */
#endif
