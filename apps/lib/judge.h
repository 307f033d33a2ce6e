/* apps/lib/judge.h - how good a matcher is on pairs with truth: one pair, the mean of many, and figures of another
 * matcher that were written down. */
#ifndef PANUM_APPS_LIB_JUDGE_H
#define PANUM_APPS_LIB_JUDGE_H
#include "apps/lib/matcher.h"
#include "apps/lib/metrics_show.h"
#include "base/mem.h"
#include "data/sample.h"

typedef struct {
    MetricFigures figures;
    double visible_ranking, ranking; /* how the confidence ranks errors (ranking_sparsification): of pixels that both
                                        eyes see, and of all with truth */
    double occlusion;                /* average precision of finding what is hidden; NaN where nobody knows what is */
    double seconds;                  /* of matching */
} Judgement;

/* Matches the pair as panum match would, and measures against its left truth. Grey pictures are matched as such. `maps`
 * (may be NULL) gets what was found, for the caller to free. */
int judge_sample(Matcher *matcher, const Sample *sample, Judgement *judgement, StereoMaps *maps);
/* The signed rule: `to` is the pair with the screen at a percentile of its truth. */
int judge_plane(Sample *to, const Sample *from, double percent);
/* Every figure's mean over those that have it, all counting alike. */
int judge_mean(Judgement *mean, const Judgement *const *all, int64_t count);

/* Written down: a text file whose first line that does not begin with # names columns separated by tabs, `name`,
 * `plane`, `bad_2` and `sign`; then a line for each pair and percentile, figures in percent of visible pixels. */
typedef struct {
    const char *name;
    double plane, bad_2, sign;
} Recorded;
typedef struct {
    Recorded *at;
    int64_t count;
} Record;
int record_read(const char *path, Arena *arena, Record *record);
/* NULL when there is none. */
const Recorded *record_find(const Record *record, const char *name, double plane);
#endif
