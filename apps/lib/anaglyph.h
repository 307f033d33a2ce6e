/* apps/lib/anaglyph.h - two pictures in one for red-cyan glasses, red over the left eye.
 * Keep the result as PNG or 4:4:4: a subsampled chroma channel mixes the eyes. */
#ifndef PANUM_APPS_ANAGLYPH_H
#define PANUM_APPS_ANAGLYPH_H
#include "data/image.h"

/* In the order of ANAGLYPH_NAMES, for option tables. */
typedef enum {
    /* Least squares projection for real glasses (E. Dubois, ICASSP 2001; matrices for LCD and red-cyan of 2009), in
     * linear light: the least ghosting, and natural colours but for reds. The default. */
    ANAGLYPH_DUBOIS,
    ANAGLYPH_GRAY,        /* luminance of either eye: no colour, no rivalry */
    ANAGLYPH_COLOUR,      /* the left eye's red, the right eye's green and blue: most colour, most rivalry */
    ANAGLYPH_HALF_COLOUR, /* the same with the left eye's luminance for its red */
    /* Red from the left eye's green and blue (0.7, 0.3), brightened by a gamma of 1.5 (P. Wimmer): reds do not flicker.
     */
    ANAGLYPH_OPTIMISED,
    ANAGLYPH_KINDS
} AnaglyphKind;
#define ANAGLYPH_NAMES "dubois|gray|colour|half-colour|optimised"

/* The pictures have one size, any bits and channels; the result is a new 8-bit RGB picture. */
int anaglyph_make(Image *out, const Image *left, const Image *right, AnaglyphKind kind);
#endif
