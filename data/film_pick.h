/* data/film_pick.h - which frames of a film to take, and where its shots begin.
 *
 * Picking: frames as far apart as can be, each moved a little by chance so that nothing that repeats in the film (a
 * cut every so many frames, a shutter) meets the step.
 *
 * Shots: two neighbours belong to different shots when their pictures differ both in what grey values they have and in
 * where. Both are measured on small grey pictures. It finds hard cuts. A dissolve is too slow for it and stays one
 * shot; a flash begins a shot, and its end another. Where the frames given lie seconds apart, a fast pan looks like a
 * cut as well: shots are then runs of frames that look alike. */
#ifndef PANUM_DATA_FILM_PICK_H
#define PANUM_DATA_FILM_PICK_H
#include "data/image.h"

/* Writes at most min(wanted, count) different indices in 0..count-1, ascending, into `indices` and returns how many:
 * floor(i step) plus a whole number drawn evenly from -floor(step / 5) to +floor(step / 5), with step = count / n, kept
 * within the film; what falls together is taken once. The same for the same arguments. */
int64_t film_pick(int64_t count, int64_t wanted, uint64_t seed, int64_t *indices);

enum { SHOT_WIDTH = 64, SHOT_HEIGHT = 36, SHOT_BINS = 32 };
typedef struct {
    uint8_t grey[SHOT_WIDTH * SHOT_HEIGHT];
    int bins[SHOT_BINS];
} ShotPicture;
/* A picture of any type; grey values of 8 bits by BT.709's weights. */
int shot_picture(ShotPicture *small, const Image *picture);

typedef struct {
    double values; /* share of pixels that would have to change their grey value, by more than a bin: 0..1 */
    double places; /* mean difference of the pixels, 0..1 */
} ShotChange;
ShotChange shot_change(const ShotPicture *before, const ShotPicture *after);
/* Does a new shot begin between them? */
bool shot_begins(const ShotPicture *before, const ShotPicture *after);
#endif
