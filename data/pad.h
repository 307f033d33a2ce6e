/* data/pad.h - pictures whose sides are multiples of a factor, and maps cut back to the picture's size.
 *
 * The rule is that of the published S2M2 code: the picture lies in the middle of the larger canvas, and round
 * it lies a blurred copy: the canvas (zeros outside the picture) averaged into floor(H0/f) x floor(W0/f) cells and
 * enlarged bilinearly. A side below f, where the reference fails, is first grown to f by repeating its edges: our own
 * rule. */
#ifndef PANUM_DATA_PAD_H
#define PANUM_DATA_PAD_H
#include "data/image.h"

typedef struct {
    int width, height; /* of the canvas: multiples of the factor */
    int left, top;     /* where the picture begins in it */
} Padding;
Padding padding_of(int width, int height, int factor);
static inline bool padding_needed(Padding p, int width, int height) {
    return p.width != width || p.height != height;
}
/* Fills p.width*p.height*3 values, interleaved RGB in 0..255; 8-bit pictures, grey is repeated. */
int pad_picture(const Image *image, Padding p, int factor, float *out);
/* The part of a canvas-sized plane (times `scale` in both directions) that belongs to the picture. */
void unpad_plane(const float *plane, Padding p, int scale, Map *map);
#endif
