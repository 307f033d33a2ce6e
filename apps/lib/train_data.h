/* apps/lib/train_data.h - what a training learns from and is measured on, as streams of samples. */
#ifndef PANUM_APPS_LIB_TRAIN_DATA_H
#define PANUM_APPS_LIB_TRAIN_DATA_H
#include "data/augment.h"

enum { TRAIN_SOURCES_MAX = 16 };

/* Pairs with truth: the synthetic stream and folders or lists of others, taken in turn. */
typedef struct {
    uint64_t seed;
    int width, height;
    bool synthetic;
    const char *const *pairs; /* paths as pairs_find takes them */
    int pair_count;
    bool judging; /* another stream of synthetic scenes; other pairs as they are, without camera, always the same
                     windows */
} TrainDataOptions;

typedef struct TrainData TrainData;
int train_data_open(const TrainDataOptions *options, TrainData **data);
SampleSource train_data_source(TrainData *data);
void train_data_close(TrainData *data); /* NULL is fine */

/* Frames of films with anchors: those that train and those that judge, never of one film. */
typedef struct TrainFilms TrainFilms;
typedef enum { FILMS_TRAIN, FILMS_JUDGE } FilmsUse;
int train_films_open(const char *root, const char *anchors, double judging_share, uint64_t seed, TrainFilms **films);
void train_films_close(TrainFilms *films); /* NULL is fine */
int64_t train_films_count(const TrainFilms *films, FilmsUse use);
/* Whole pictures at one size, each pass in another order; those that train change as the published recipe says. Valid
 * until the next call for the same use. */
SampleSource train_films_source(TrainFilms *films, FilmsUse use, int width, int height);
/* One frame by itself; `anchor` may be NULL. */
int train_frame_read(const char *path, const char *anchor, Sample *sample);
#endif
