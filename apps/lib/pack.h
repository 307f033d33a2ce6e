/* apps/lib/pack.h - two eyes' pictures into one, in the layouts that players, televisions and people use.
 *
 * Half layouts squeeze either eye to half its size, so that the whole has the size of one picture. CROSS is side by
 * side with the eyes exchanged, for looking at without glasses by crossing one's eyes. ROWS gives the left eye the even
 * rows (from 0) and the right eye the odd ones, as passive televisions show them. WIGGLE is an animated PNG of two
 * frames. */
#ifndef PANUM_APPS_PACK_H
#define PANUM_APPS_PACK_H
#include "apps/lib/anaglyph.h"

typedef enum { PACK_SBS, PACK_HSBS, PACK_TB, PACK_HTB, PACK_CROSS, PACK_ROWS, PACK_ANAGLYPH } PackLayout;

/* The pictures have one size; grey beside colour becomes colour, 8 beside 16 bits becomes 8. `kind` is for anaglyphs.
 */
int pack_images(Image *out, const Image *left, const Image *right, PackLayout layout, AnaglyphKind kind);

/* Moves the screen plane without resampling: disparity becomes d - shift everywhere. A positive shift pushes the scene
 * back; the left picture loses its `shift` leftmost columns, the right one its rightmost (a negative shift the others).
 */
int pack_shift(Image *left, Image *right, int shift);

/* Two frames that take turns for ever, each `milliseconds` long; viewers that know no animated PNG show the left eye.
 */
int wiggle_write(Out *out, const Image *left, const Image *right, int milliseconds);
#endif
