/* data/stereo_measure.h - what two pictures say about themselves as a stereo pair: how much of them matches, the rough
 * range of disparity, how far one lies below the other, and whether left is left. Never refuses; gives figures with a
 * confidence.
 *
 * Eye order, from two tests that need no knowledge of what is in the picture.
 *   Contours: an occluding contour belongs to the nearer surface and moves with it. Where the disparity jumps across a
 *   vertical contour, the contour's own disparity is the larger of the two sides when the eyes are in order, and the
 *   smaller when they are exchanged (exchanging turns every d into -d). Each jump votes.
 *   Ground: in most pictures what lies lower is nearer, so disparity grows from top to bottom. A habit of
 * photographers, not a law: alone it never reaches a confidence of 0.7. */
#ifndef PANUM_DATA_STEREO_MEASURE_H
#define PANUM_DATA_STEREO_MEASURE_H
#include "data/image.h"

typedef struct {
    double matched; /* share of textured blocks that have a counterpart in the other picture, 0..1 */
    int textured;   /* how many blocks were good enough to look for */
    double d_low,
        d_high;       /* 2nd and 98th percentile of the rough disparity, pixels of the pictures; 0, 0 when unknown */
    double eye_order; /* -1..1: above 0 the order is as given, below 0 exchanged; 2 P(as given) - 1 */
    double eye_confidence; /* |eye_order|; below 0.7 nothing should be said */
    int eye_votes;         /* contours that voted */
    double eye_contours;   /* balance of the votes, -1..1 */
    double eye_ground;     /* correlation of row and disparity, -1..1; 0 when depth hardly varies */
    double vertical; /* pixels: y_right - y_left of the same point; positive: the right picture's content lies lower */
    double vertical_confidence; /* 0..1 */
    bool identical;             /* the two pictures are equal to the byte */
} StereoMeasure;

/* Pictures of equal size, any type. Fails only for want of memory. */
int stereo_measure(const Image *left, const Image *right, StereoMeasure *measure);
/* Only `matched`, `textured`, the range and `identical`: a few milliseconds, for layout tests. */
int stereo_measure_rough(const Image *left, const Image *right, StereoMeasure *measure);
/* Moves the content of `right` up by `vertical` pixels (cubic in between), so that rows agree; the border is repeated.
 */
int stereo_align(Image *right, double vertical);
#endif
