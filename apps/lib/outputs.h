/* apps/lib/outputs.h - the files that a match leaves: one form per name ending, all of them written before the first
 * becomes visible, so that a failure leaves none (promise P4). */
#ifndef PANUM_APPS_LIB_OUTPUTS_H
#define PANUM_APPS_LIB_OUTPUTS_H
#include "apps/lib/colour.h"
#include "data/image.h"
#include "data/map.h"

typedef enum { OUTPUT_PFM, OUTPUT_NPY, OUTPUT_NPZ, OUTPUT_D16, OUTPUT_COLOUR, OUTPUT_PLY, OUTPUT_ANAGLYPH } OutputForm;
typedef struct {
    const char *path;
    OutputForm form;
} Output;
/* What the ending of path says (never OUTPUT_ANAGLYPH, which is asked for by its own option); ERR_USAGE naming the
 * endings there are. */
int output_form(const char *path, OutputForm *form);
#define OUTPUT_ENDINGS ".pfm .npy .npz .d16.png .png .ply"

/* What there is to write. */
typedef struct {
    const StereoMaps *maps;
    const Image *left, *right; /* of full size */
    MapKind quantity;          /* MAP_DISPARITY or MAP_PARALLAX, for forms that hold one map */
    const char *source;        /* what was matched, as the user named it */
    const int64_t *frame;      /* its number in a film, for .npz; NULL: no film */
    const FileMeta *meta;      /* NULL: no version and command in the file */
    double map_range;          /* pixels at full colour; 0: found in the map */
    Palette palette;
    const char *calibration; /* file, for .ply; NULL: fov */
    double fov;              /* horizontal field of view in degrees, for .ply */
} OutputContent;

/* Before any work: could `path` be written, is it none of the inputs? */
int output_check(const char *path, OutMode mode, const char *const *inputs, int input_count);
int outputs_write(const Output *outputs, int count, OutMode mode, const OutputContent *content);
#endif
