/* apps/lib/colour.h - maps as pictures.
 *
 * The signed map: red (orange in the palette for colour-blind eyes) stands out towards the viewer, d > 0; blue lies
 * behind the screen, d < 0; the screen itself is near-white. The range is symmetric, so equal distances to either side
 * have equal strength, and both ramps are straight lines in OKLab, so equal steps of disparity look equal. Beyond the
 * range the colour stays at its end. No value: grey diagonal hatch. Hidden from the other eye: the colour crossed by
 * dark lines, where most of a pixel's neighbours are hidden too. A legend below the picture speaks parallax in % of the
 * picture's width and in pixels, as film people do: negative in front. */
#ifndef PANUM_APPS_COLOUR_H
#define PANUM_APPS_COLOUR_H
#include "data/image.h"

/* In the order of the option --palette default|cvd. */
typedef enum { PALETTE_RED_BLUE, PALETTE_ORANGE_BLUE } Palette;

typedef struct {
    double range; /* pixels of disparity at full colour; 0: from the map, see colour_range */
    Palette palette;
    const Map *occlusion; /* 1 visible, 0 hidden (crossed by lines); NULL: nothing is hidden */
    bool no_legend;
    const char *title; /* in the legend's first line; NULL: none */
} ColourOptions;

/* The symmetric range in pixels that shows a map: the larger magnitude of its 1st and 99th percentile, rounded up to
 * two digits of % of width, and at least 0.1 %. Of a map without values: 1 %. Several maps (of one film) share one:
 * give the larger. */
double colour_range(const Map *map);
/* The colour of d/range = t in -1..1 (clamped): t > 0 in front. */
void colour_of(Palette palette, double t, uint8_t rgb[3]);

/* Paints a disparity or parallax map into a new 8-bit RGB picture, the map's size plus the legend below it.
 * `used` (may be NULL) receives the range in pixels. */
int colour_map(Image *picture, const Map *map, const ColourOptions *options, double *used);
/* Height in pixels of the legend that colour_map adds below a map of this width. */
int colour_legend_height(int width);

/* |prediction - truth| from white (0) over orange to dark (range px and more); pixels without truth are hatched,
 * without a prediction black. */
int colour_error(Image *picture, const Map *prediction, const Map *truth, double range);
#endif
