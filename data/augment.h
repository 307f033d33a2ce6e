/* data/augment.h - the same pair seen another way: geometry with its truth, and cameras that are not perfect.
 *
 * Geometry moves picture, disparity, valid and occlusion by one and the same rule, for both eyes. Photometry touches
 * pictures only, both eyes alike but for what two cameras do differently. Everything is a function of the seed given.
 */
#ifndef PANUM_DATA_AUGMENT_H
#define PANUM_DATA_AUGMENT_H
#include "data/sample.h"

/* Cuts a window out of each eye: columns from x_left of the left picture and from x_right of the right one, the same
 * rows. Disparities become d - (x_left - x_right): a window shifted by c = x_left - x_right moves the screen plane to
 * what had disparity c, without resampling. A point whose match the other window lost counts as hidden. `to` and `from`
 * are different samples. */
int augment_crop(Sample *to, const Sample *from, int x_left, int x_right, int y, int width, int height);
/* The disparity that `share` of the left eye's valid pixels do not exceed (0.5: the median); 0 when none is valid. */
float augment_quantile(const Sample *sample, double share);
/* Another size. Pictures by area or bilinearly; disparity and masks are taken bilinearly inside a surface and from the
 * nearest pixel where neighbours differ by more than a pixel or are not all valid; disparity is multiplied by the ratio
 * of widths. */
int augment_resize(Sample *to, const Sample *from, int width, int height);
/* The pair in a mirror: each picture mirrored and the eyes exchanged, so that disparity keeps its sign:
 * d'(x) = d_right(width - 1 - x). A picture not seen before. The truth is the right eye's, so right_known is needed for
 * there to be any. */
void augment_mirror(Sample *sample);
void augment_flip_rows(Sample *sample); /* upside down */
/* Moves the right eye's picture and truth down by `shift` rows plus `turn` rows per column counted from the middle
 * column, bilinearly: a rig out of true. The left eye's disparity stays what it is, x_left - x_right of the match,
 * which is now in another row. Edge rows are repeated; the right eye's truth is given up where it is not a pixel's own.
 */
int augment_misalign(Sample *sample, double shift, double turn);
/* Puts something on the right picture only, which the left eye does not see: a rectangle of the picture's mean colour
 * or of noise. Left pixels whose match is under it are hidden; their disparity stays known. */
void augment_patch(Sample *sample, int x, int y, int width, int height, uint64_t seed);

/* How imperfect the cameras are. Each is the largest change drawn, 0 none. */
typedef struct {
    float exposure, contrast, gamma, colour, saturation; /* of both eyes, in natural logarithms */
    float unlike;                                        /* of one eye against the other, as a share of the above */
    float noise;                                         /* standard deviation, grey levels of 255 */
    float blur;                                          /* standard deviation, pixels */
    float defocus;  /* chance that only one depth is sharp; needs both eyes' truth */
    float motion;   /* chance that the camera moved while it looked */
    float blocks;   /* chance of being squeezed as JPEG does, in 8x8 blocks */
    float misalign; /* rows */
    float patch;    /* chance of a patch before the right eye */
} AugmentCamera;

extern const AugmentCamera augment_usual; /* what training uses when nothing else is said */
/* Photographs the sample anew; draws everything from the seed. */
int augment_photograph(Sample *sample, const AugmentCamera *camera, uint64_t seed);
#endif
