/* apps/lib/train_eval.h - how good weights are on samples that were never trained on. */
#ifndef PANUM_APPS_LIB_TRAIN_EVAL_H
#define PANUM_APPS_LIB_TRAIN_EVAL_H
#include "apps/lib/device.h"
#include "apps/lib/metrics_show.h"
#include "apps/lib/train_graph.h"

typedef struct {
    MetricFigures figures; /* of all pixels of all samples together */
    double epe;            /* over all pixels with truth, px: what "best" goes by */
    double sparsification; /* of the confidence (ranking.h) */
    double occlusion;      /* average precision of finding what is hidden from the other eye; NaN where unknown */
    double *sample_epe;    /* of each sample */
} EvalResult;

typedef struct Evaluator Evaluator;
/* Keeps `count` samples of a source from place `first` on; all must have one size, multiples of 32. `device` NULL: the
 * CPU. */
int evaluator_make(S2m2Options network, const SampleSource *source, uint64_t first, int count, Pool *pool,
                   const Device *device, Evaluator **evaluator);
void evaluator_drop(Evaluator *evaluator); /* NULL is fine */
int evaluator_count(const Evaluator *evaluator);
const Sample *evaluator_sample(const Evaluator *evaluator, int index);
/* `weights` is a block laid out as `list`. The result's sample_epe belongs to the evaluator. */
int evaluator_run(Evaluator *evaluator, const ParameterList *list, const float *weights, EvalResult *result);
/* The maps of one sample with the weights of the last run; stereo_maps_free. */
int evaluator_maps(Evaluator *evaluator, int index, StereoMaps *maps);
/* The same samples by semi-global matching: what there is to beat. */
int evaluator_sgm(Evaluator *evaluator, EvalResult *result);

/* Views of a sample for the tools that work on pictures and maps. Where there is no truth the map holds NaN; the mask
 * is as metrics_measure wants it. */
int sample_images(const Sample *sample, Image *left, Image *right);
int sample_truth(const Sample *sample, Map *truth, Image *mask);
#endif
