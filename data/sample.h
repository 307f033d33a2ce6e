/* data/sample.h - one training sample: a stereo pair with what is known about it, and where samples come from.
 *
 * Disparity d = x_left - x_right in pixels of this sample. A sample owns all its planes in one block and keeps it when
 * it is filled again with pictures of the same size or smaller, so a stream of samples costs no allocation.
 *
 * Masks. `valid` is 1 where disparity is known and 0 elsewhere; where it is 0 the disparity holds 0 and means nothing.
 * `occlusion` is, as in the matcher's output and in MAP_OCCLUSION, 1 where the same surface point is seen by the other
 * eye and 0 where it is hidden or outside the other picture; it counts only where `valid` is 1, and in the whole
 * sample only when `occlusion_known`. */
#ifndef PANUM_DATA_SAMPLE_H
#define PANUM_DATA_SAMPLE_H
#include "data/image.h"

/* One eye. Rows top down, no padding. */
typedef struct {
    uint8_t *rgb;     /* height * width * 3, sRGB */
    float *disparity; /* height * width each */
    float *valid;
    float *occlusion;
} SampleEye;

typedef struct {
    int width, height;
    SampleEye left, right;
    bool occlusion_known;
    bool right_known;   /* the right eye's disparity, valid and occlusion are filled in; otherwise its valid is all 0 */
    uint64_t index;     /* its place in the stream it came from */
    void *block;        /* all of the above */
    size_t block_bytes; /* of the block, which may be larger than needed */
} Sample;

/* Makes room for a size; contents are undefined. A zeroed Sample is empty. */
int sample_reserve(Sample *sample, int width, int height);
void sample_free(Sample *sample); /* leaves it zeroed */
int sample_copy(Sample *to, const Sample *from);

/* Where samples come from. `make` fills the sample of a place in the stream and must be a pure function of that place:
 * any thread, any order, any number of times gives the same bytes. ERR_INPUT for a place that has no sample. */
typedef struct {
    int (*make)(void *context, uint64_t index, Sample *sample);
    void *context;
} SampleSource;
#endif
