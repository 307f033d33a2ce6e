/* apps/lib/font.h - a bitmap font of our own for the few words a picture carries: printable ASCII, 5x7 in a 6x10 cell.
 */
#ifndef PANUM_APPS_FONT_H
#define PANUM_APPS_FONT_H
#include "data/image.h"

enum { FONT_WIDTH = 6, FONT_HEIGHT = 10 }; /* of a cell at scale 1, spacing included */

/* Draws into an 8-bit RGB picture; what falls outside is cut off. (x, y) is the upper left corner of the first cell. */
void font_draw(Image *image, int x, int y, int scale, const uint8_t colour[3], const char *text);
int font_width(const char *text, int scale); /* pixels, without the space after the last character */
#endif
