/* apps/match_film.h - the part of `panum match` that takes films. */
#ifndef PANUM_APPS_MATCH_FILM_H
#define PANUM_APPS_MATCH_FILM_H
#include "apps/lib/colour.h"
#include "apps/lib/matcher.h"
#include "apps/lib/options.h"
#include "apps/lib/progress.h"
#include "data/map.h"
#include "data/stereo.h"

typedef struct {
    const Verb *verb;         /* for usage errors */
    const char *left, *right; /* operands; right NULL */
    const OptionList *outputs;
    bool overwrite, dry_run, json, resume, video, eye_test, align, swap_eyes, reference_right;
    StereoLayout layout;
    const char *start, *end; /* as typed; NULL */
    int64_t frames, every;
    double scale;
    ReadOptions read;
    MatcherOptions matcher;
    const char *s2m2_only; /* as match_tell_unused takes it */
    OptionLength map_range;
    Palette palette;
    const FileMeta *meta; /* NULL: none in the files */
    ProgressStyle progress;
} FilmRequest;

/* Do these operands name a film rather than pictures? `film_options`: options were given that only films have. */
bool match_is_film(const char *left, const char *right, const OptionList *outputs, bool film_options);
int match_film(const FilmRequest *request);
#endif
