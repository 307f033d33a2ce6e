/* apps/lib/pair.h - one stereo pair through a matcher, as stills and film frames have it: prepared, matched, brought
 * back to the size and eye asked for, and summed up for people. */
#ifndef PANUM_APPS_LIB_PAIR_H
#define PANUM_APPS_LIB_PAIR_H
#include "apps/lib/matcher.h"

typedef struct {
    double scale;         /* pictures are matched at this size; maps come back in full size and full-size pixels */
    bool reference_right; /* maps of the right picture */
    double vertical;      /* rows by which the right picture's content lies lower: it is moved up (or, when the maps
                             belong to the right picture, the left one down) before matching */
} PairOptions;
PairOptions pair_defaults(void);

/* left and right of equal size; any bits and channels. The maps have the size of the pictures, whatever the scale. */
int pair_match(Matcher *matcher, const PairOptions *options, const Image *left, const Image *right, StereoMaps *maps);

/* The same in two halves, for matchers that overlap (matcher_start): what is between them is in `under_way`. */
typedef struct {
    int width, height, matched_width, matched_height;
} PairUnderWay;
int pair_start(Matcher *matcher, const PairOptions *options, const Image *left, const Image *right,
               PairUnderWay *under_way);
int pair_finish(Matcher *matcher, const PairOptions *options, const PairUnderWay *under_way, StereoMaps *maps);

/* What a person wants to know of a map, over pixels with a value. */
typedef struct {
    double nearest, farthest;     /* parallax in % of the width, 1st and 99th percentile of trusted pixels */
    double front, behind, screen; /* shares of all pixels: d > 1 px, d < -1 px, between */
    double confidence;            /* mean */
    double trusted;               /* share with confidence of at least one half */
    double hidden;                /* share that the other eye does not see */
} PairSummary;
int pair_summarise(const StereoMaps *maps, PairSummary *summary);
/* One line: "parallax -1.9 to +2.4 % of the width; 31 % in front of the screen, 52 % behind; confidence 0.81". */
void pair_summary_line(const PairSummary *summary, char *out, size_t size);
#endif
