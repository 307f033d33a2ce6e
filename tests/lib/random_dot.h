/* tests/lib/random_dot.h - the random-dot pair: nothing to see with one eye, a square floating in front with two.
 *
 * A square stands in front of the screen on a ground behind it. Every pixel of both pictures and of every truth follows
 * from whole-pixel shifts, so all of it is exact. The rule being tested everywhere with it (d = x_left - x_right):
 * the square has d = +8 (parallax -8) and is painted red, the ground has d = -5 (parallax +5) and is painted blue. */
#ifndef PANUM_TESTS_RANDOM_DOT_H
#define PANUM_TESTS_RANDOM_DOT_H
#include "data/image.h"

typedef struct {
    int width, height;  /* pixels; 0: 128 x 96 */
    int square, ground; /* disparity in pixels; both 0: +8 and -5 */
    int channels;       /* 1 or 3; 0: 1 */
    uint64_t seed;
} RandomDotOptions;

typedef struct {
    Image left, right;               /* 8 bits */
    Map truth, truth_right;          /* MAP_DISPARITY in the left and in the right picture; every pixel has a value */
    Map visible, visible_right;      /* MAP_OCCLUSION: 1 seen by both eyes, 0 hidden or outside the other picture */
    Image mask;                      /* the same for the left picture as eval reads it: 255 visible, 128 hidden */
    int square_x, square_y;          /* the square in the left picture: upper left corner, */
    int square_width, square_height; /* and size; in the right picture it lies `square` pixels to the left */
} RandomDot;

int random_dot_make(RandomDot *pair, const RandomDotOptions *options);
void random_dot_free(RandomDot *pair);
#endif
