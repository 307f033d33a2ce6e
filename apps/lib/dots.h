/* apps/lib/dots.h - a random-dot pair: nothing to see with one eye, a square floating in front of its ground with two.
 * What selftest and bench match: exact truth at any size, no file. d = x_left - x_right; the square is in front. */
#ifndef PANUM_APPS_LIB_DOTS_H
#define PANUM_APPS_LIB_DOTS_H
#include "data/image.h"
#include <stdbool.h>

/* 8-bit grey. The square is the middle half of the left picture in both directions, `front` px before the screen (> 0);
 * the ground lies at `behind` (< front). */
int dots_make(Image *left, Image *right, int width, int height, int front, int behind, uint64_t seed);
static inline bool dots_in_square(int x, int y, int width, int height) {
    return x >= width / 4 && x < width - width / 4 && y >= height / 4 && y < height - height / 4;
}
#endif
