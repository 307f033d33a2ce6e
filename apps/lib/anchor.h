/* apps/lib/anchor.h - anchors: maps found by a matcher that training may trust, and why a frame has none.
 *
 * A frame is looked at before it is matched (anchor_look): is there something in it, are there two pictures, is left
 * left, do rows agree? What the matcher found is judged afterwards (anchor_check, anchor_judge): is it sure of itself,
 * and does the match from right to left say the same? */
#ifndef PANUM_APPS_LIB_ANCHOR_H
#define PANUM_APPS_LIB_ANCHOR_H
#include "apps/lib/pair.h"
#include "data/map.h"

/* In the order in which they are looked for; the first that holds is the reason. */
typedef enum {
    ANCHOR_KEPT,
    ANCHOR_UNREADABLE,  /* the picture, or its second eye, cannot be read */
    ANCHOR_BLANK,       /* nothing in it: a black frame, a fade */
    ANCHOR_MONO,        /* both eyes show the same picture */
    ANCHOR_SWAPPED,     /* left is right */
    ANCHOR_VERTICAL,    /* one eye lies lower than the other */
    ANCHOR_CONFIDENCE,  /* the matcher is not sure of it */
    ANCHOR_CONSISTENCY, /* left to right and right to left disagree */
    ANCHOR_REASONS
} AnchorReason;
extern const char *const anchor_reason_names[ANCHOR_REASONS]; /* "kept", "unreadable", "blank", "mono", ... */

typedef struct {
    bool reject[ANCHOR_REASONS]; /* which reasons count; ANCHOR_UNREADABLE always does */
    double vertical;             /* rows: more is too much */
    double confidence;           /* mean below which a map is not kept */
    double consistent;           /* share below which it is not kept */
} AnchorLimits;

/* Figures that were not taken are NaN. */
typedef struct {
    double eye_order;  /* -1..1, below 0: swapped (data/stereo_measure.h) */
    double vertical;   /* rows by which the right eye lies lower, where that can be said */
    double consistent; /* share of what the matcher trusts and both eyes see on which both directions agree, 0..1 */
    double nearest, farthest, front, behind, confidence, trusted; /* as PairSummary */
} AnchorFigures;
extern const AnchorFigures anchor_figures_none; /* all NaN */

/* Looks at the pictures: eye_order, vertical. */
int anchor_look(const Image *left, const Image *right, const AnchorLimits *limits, AnchorFigures *figures,
                AnchorReason *reason);
/* Compares maps of the left with maps of the right picture: a pixel agrees when the right map, where the pixel's match
 * falls, has its disparity to within a pixel, or a thousandth of the width if that is more. Sets `consistent`, and the
 * confidence of the left map to 0 where both eyes should see the pixel and it does not agree. */
void anchor_check(StereoMaps *left, const StereoMaps *right, AnchorFigures *figures);
/* Sums up the maps (before anchor_check changes their confidence) ... */
int anchor_measure(const StereoMaps *maps, AnchorFigures *figures);
/* ... and says whether maps of that width are kept. */
AnchorReason anchor_judge(const AnchorFigures *figures, int width, const AnchorLimits *limits);

/* The anchor file: an uncompressed NPZ with `disparity` float32, `confidence` and `occlusion` float16, height x width
 * each, and texts that say what they are. */
int anchor_write(const char *path, const StereoMaps *maps, const char *source, const char *matching,
                 const FileMeta *meta);
/* Reads one back, ours or the reference program's; all three arrays have to be there, of one size. `width`, `height`:
 * of the eye it should belong to; another size is ERR_INPUT, but for the eye cut to multiples of 32 when `cut`. */
int anchor_read(const char *path, int width, int height, bool cut, StereoMaps *maps);
#endif
