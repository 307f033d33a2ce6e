/* apps/lib/train_films.h - measuring a matcher on frames of films, where there is no truth: the losses themselves, and
 * what its maps look like in numbers. */
#ifndef PANUM_APPS_LIB_TRAIN_FILMS_H
#define PANUM_APPS_LIB_TRAIN_FILMS_H
#include "apps/lib/device.h"
#include "apps/lib/train_graph.h"

/* A signed map in numbers, as s2m2cinematic's validate has them. Pixels of disparity, positive in front. */
typedef struct {
    double least, p98; /* smallest value; 98th percentile */
    double behind;     /* share of pixels with d < -0.5 */
    double asymmetry;  /* median |d| over the left half where |d| > 0.5, by that over the right half; NaN where one of
                          them  has no such pixel */
} SignedFigures;
int signed_figures(const Map *disparity, SignedFigures *figures);

/* What the block matcher found in a pair, and what the network says in the same places. */
typedef struct {
    double least, most, median; /* of the targets, pixels */
    double taught;              /* share of pixels with a weight */
    double behind;              /* of these, below -1 px */
    double weight;              /* mean of these */
    double target, found; /* means where the target is below -1 px: its own and the network's; NaN where none is */
} MatchFigures;
int match_figures(const float *target, const float *weight, const Map *disparity, MatchFigures *figures);

typedef struct {
    double loss, term[GRAPH_TERMS_MAX]; /* means over the frames */
    double *frame_loss;                 /* of each frame; the judge's, until its next run */
    SignedFigures figures;              /* means over the frames that have them */
    double anchor_sign; /* share of what the teacher is sure of (confidence from 0.5 on) and has more than 2 px off the
                           screen, over all frames, that is on its side of the screen; NaN: there is nothing of it */
    MatchFigures match; /* of the last frame */
} FilmResult;

typedef struct FilmJudge FilmJudge;
/* `graph` with part GRAPH_LOSSES and one pair; frames are places 0..count-1 of the source, read anew for each run.
 * `device` NULL: the CPU. */
int film_judge_make(const GraphOptions *graph, const SampleSource *source, int count, Pool *pool, const Device *device,
                    FilmJudge **judge);
void film_judge_drop(FilmJudge *judge); /* NULL is fine */
const TrainGraph *film_judge_graph(const FilmJudge *judge);
int film_judge_run(FilmJudge *judge, const ParameterList *list, const float *weights, FilmResult *result);
/* A frame and its disparity with the weights of the last run; `sample` is filled, map_free. */
int film_judge_frame(FilmJudge *judge, int index, Sample *sample, Map *disparity);
#endif
