/* apps/lib/anaglyph.h - two pictures in one for red-cyan glasses, red over the left eye.
 *
 * DUBOIS       least squares projection for real glasses (E. Dubois, ICASSP 2001; matrices for LCD and red-cyan, 2009),
 * in linear light: the least ghosting and natural colours but for reds. The default. GRAY         luminance of either
 * eye: no colour, no rivalry. COLOUR       the left eye's red, the right eye's green and blue as they are: most colour,
 * most rivalry. HALF_COLOUR  as COLOUR with the left eye's luminance for its red. OPTIMISED    red from the left eye's
 * green and blue (0.7, 0.3), brightened by a gamma of 1.5 (P. Wimmer): no rivalry of reds.
 *
 * Keep the result as PNG or 4:4:4: a subsampled chroma channel mixes the eyes. */
#ifndef PANUM_APPS_ANAGLYPH_H
#define PANUM_APPS_ANAGLYPH_H
#include "data/image.h"

/* In the order of the names, for option tables. */
typedef enum {
    ANAGLYPH_DUBOIS,
    ANAGLYPH_GRAY,
    ANAGLYPH_COLOUR,
    ANAGLYPH_HALF_COLOUR,
    ANAGLYPH_OPTIMISED,
    ANAGLYPH_KINDS
} AnaglyphKind;
#define ANAGLYPH_NAMES "dubois|gray|colour|half-colour|optimised"

/* The pictures have one size, any bits and channels; the result is a new 8-bit RGB picture. */
int anaglyph_make(Image *out, const Image *left, const Image *right, AnaglyphKind kind);
#endif
