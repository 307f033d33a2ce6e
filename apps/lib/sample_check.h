/* apps/lib/sample_check.h - can a sample be what it says it is? Tests that nothing usable fails: they find eyes that
 * were swapped, truth of the other sign, empty maps and pictures that were lost on the way, not small errors. */
#ifndef PANUM_APPS_LIB_SAMPLE_CHECK_H
#define PANUM_APPS_LIB_SAMPLE_CHECK_H
#include "data/sample.h"

/* Whether a map belongs to the sample. */
typedef enum { SAMPLE_PAIR_ALONE, SAMPLE_HAS_TRUTH } SampleTruth;

enum { SAMPLE_WHY = 200 };
/* False when it is implausible, with what is wrong and the figures in `why` ("the left eye ..."). */
bool sample_plausible(const Sample *sample, SampleTruth truth, char why[SAMPLE_WHY]);
#endif
