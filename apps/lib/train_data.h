/* apps/lib/train_data.h - what a training learns from and is measured on, as streams of samples. */
#ifndef PANUM_APPS_LIB_TRAIN_DATA_H
#define PANUM_APPS_LIB_TRAIN_DATA_H
#include "base/mem.h"
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
/* How people find a sample again: the left picture of its pair, or "synthetic scene 12". Returns `text`. */
const char *train_data_name(const TrainData *data, uint64_t index, char *text, size_t size);
int64_t train_data_pairs(const TrainData *data); /* without synthetic ones */
void train_data_close(TrainData *data);          /* NULL is fine */

/* Frames of films with anchors: those that train and those that judge, never of one film; or drawn one by one, as
 * s2m2cinematic does (data/film_set.h). */
typedef struct TrainFilms TrainFilms;
typedef enum { FILMS_TRAIN, FILMS_JUDGE } FilmsUse;
typedef enum { FILMS_BY_FILM, FILMS_BY_FRAME } FilmsDivision;
/* Where there is a folder of anchors (NULL: ROOT/disparities), frames without one are left out. `judging_share` and what the seed draws of the division count for FILMS_BY_FILM only. */
int train_films_open(const char *root, const char *anchors, FilmsDivision division, double judging_share, uint64_t seed,
                     TrainFilms **films);
void train_films_close(TrainFilms *films); /* NULL is fine */
int64_t train_films_count(const TrainFilms *films, FilmsUse use);
/* Whole pictures at one size, each pass in another order; those that train change as the published recipe says. Valid
 * until the next call for the same use. */
SampleSource train_films_source(TrainFilms *films, FilmsUse use, int width, int height);
/* The frame at a place of the last source for that use. Returns `text`. */
const char *train_films_name(const TrainFilms *films, FilmsUse use, uint64_t index, char *text, size_t size);

/* One frame by itself: a file (with ROOT/left/NAME goes ROOT/right/NAME), or where there is no such file and `films`
 * is not NULL, the name without ending or the number of a frame there. Its anchor lies in `anchors`; where that is NULL
 * beside it or in the disparities of its folder. `path` and `anchor` (NULL: none) are what was found. */
int train_frame_read(const char *name, const char *films, const char *anchors, Arena *arena, const char **path,
                     const char **anchor, Sample *sample);
#endif
