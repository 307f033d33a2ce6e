/* apps/lib/validate.h - what a map says of itself when there is no truth: the figures by which the reference program
 * for cinematic matching judges a frame, as it defines them.
 *
 * They describe, they do not measure accuracy: a map of noise has good ones. Disparity d = x_left - x_right in pixels,
 * positive in front of the screen; so the reference's "negative" is what lies behind.
 *   minimum    the smallest d
 *   P98        the 98th percentile, linear between neighbours in order: the value at rank 0.98 (n - 1)
 *   NegPix     share of pixels with d < -0.5 px, of those with a value
 *   asymmetry  L / max(R, 0.01): L and R are the medians of |d| over the pixels of the left half (columns below
 *              floor(width / 2)) and of the rest with |d| > 0.5 px; of an even number the mean of the middle two.
 * Where the reference would divide an empty set, the figure cannot be said and is NaN: all four of a map without
 * values, asymmetry when a half has no pixel beyond 0.5 px. */
#ifndef PANUM_APPS_LIB_VALIDATE_H
#define PANUM_APPS_LIB_VALIDATE_H
#include "data/image.h"

#include <stdio.h>

typedef enum { SELF_MINIMUM, SELF_P98, SELF_NEGPIX, SELF_ASYMMETRY, SELF_FIGURES } SelfFigure;
typedef struct {
    int64_t pixels, values;     /* of the map; with a value */
    double value[SELF_FIGURES]; /* px, px, percent, a ratio */
} SelfFigures;

/* The map is MAP_DISPARITY. Fails for want of memory only. */
int self_figures(SelfFigures *figures, const Map *map);
/* The mean of each figure over those of `count` that have it; pixels and values are summed. */
void self_figures_mean(SelfFigures *mean, const SelfFigures *figures, int64_t count);

extern const char *const self_figure_heads[SELF_FIGURES]; /* for tables: "minimum", "P98", "NegPix", "asymmetry" */
/* "-24.51 px", "31.20 %", "0.97", "-" when it cannot be said. */
const char *self_figure_text(char *out, size_t size, SelfFigure figure, double value);
/* {"values":..,"min":..,"p98":..,"negpix":..,"asymmetry":..}; null where nothing can be said. */
void self_figures_json(FILE *out, const SelfFigures *figures);
#endif
