/* data/stereo.h - how two eyes lie in one picture or two files, found out, said and taken apart.
 *
 * What decides, in this order: the caller; a tag of the container (given by the caller, or a JPS segment); more than
 * one picture in a JPEG (MPO); the file's name, then its folder's; the content (do the halves match each other?); else
 * mono. Half or full, when the name leaves it open: a frame with the shape of a film (4:3, 16:10, 16:9, 1.85, 2.35
 * to 2.40) holds half-width or half-height eyes unless its content is not squeezed; any other shape holds full ones. */
#ifndef PANUM_DATA_STEREO_H
#define PANUM_DATA_STEREO_H
#include "data/read.h"
#include "data/stereo_measure.h"

typedef enum {
    LAYOUT_AUTO,
    LAYOUT_MONO,
    LAYOUT_SBS,   /* full side by side */
    LAYOUT_HSBS,  /* half width each, stretched to the frame's width */
    LAYOUT_TB,    /* full top and bottom */
    LAYOUT_HTB,   /* half height each, stretched to the frame's height */
    LAYOUT_PAIR,  /* two files */
    LAYOUT_MPO,   /* two JPEGs in one file */
    LAYOUT_ROWS,  /* row-interleaved, first row left; the other rows interpolated */
    LAYOUT_CROSS, /* full side by side for crossed eyes: the right eye's picture is on the left */
} StereoLayout;

const char *layout_name(StereoLayout layout);              /* "sbs", ...: what --layout takes */
const char *layout_words(StereoLayout layout);             /* "full side by side", ...: for people */
bool layout_parse(const char *name, StereoLayout *layout); /* false: no such name */

typedef struct {
    StereoLayout layout; /* never AUTO; CROSS comes out as SBS with right_first */
    bool right_first;    /* the first half (left, top, even rows, first picture) is the right eye's */
    char evidence[160];  /* "file name (_LRF)", "StereoMode 1", "content (0.87 of 455 blocks match)" */
} LayoutDecision;

typedef struct {
    StereoLayout layout; /* AUTO: find out */
    bool swap_eyes;      /* exchanges what would come out */
    StereoLayout tag;    /* what the container says; AUTO: nothing */
    bool tag_right_first;
    const char *tag_source; /* for the evidence, e.g. "StereoMode 11" */
    ReadOptions read;
} StereoOptions; /* all zero is a fine default */

/* Decides for a frame of width x height; `frame` (that size) may be NULL, then content is not asked and the shape alone
 * counts (32:9 or wider: side by side; 8:9: top and bottom). `path` may be NULL. Fails for want of memory only. */
int layout_decide(const char *path, int width, int height, const Image *frame, const StereoOptions *options,
                  LayoutDecision *decision);
/* Side by side or top and bottom, half or full, as the frame's shape says, and where `frame` is given its content. */
StereoLayout layout_by_shape(bool top_bottom, int width, int height, const Image *frame);
/* Can a frame of this size be taken apart so? ERR_INPUT "width 1921 cannot be split into two eyes". */
int layout_check(const LayoutDecision *decision, int width, int height);
/* The size of one eye. */
void layout_eye_size(const LayoutDecision *decision, int width, int height, int *eye_width, int *eye_height);
/* Takes a frame apart; MONO, PAIR and MPO are the caller's bug. */
int layout_split(const Image *frame, const LayoutDecision *decision, Image *left, Image *right);

typedef struct {
    Image left, right; /* right is empty when decision.layout is LAYOUT_MONO */
    LayoutDecision decision;
    bool identical; /* both eyes are the same picture */
    ReadNotes notes;
} StereoPair;

/* Stills: two files, or one (b NULL) packed, MPO, JPS, or mono. Both eyes come out with equal size, channels and bits.
 *
 * A picture of odd width W side by side, when that was asked for or its content shows it, gives eyes of (W - 1) / 2
 * columns: the first from its left edge, the second up to its right edge; the column between is left out, which a note
 * says. If that column was the right eye's own first one, every disparity is 1 px too large. Rows likewise, where it
 * means a row of vertical offset. Film frames of odd size are refused (layout_check). */
int stereo_read(const char *a, const char *b, const StereoOptions *options, StereoPair *pair);
void stereo_pair_free(StereoPair *pair);
#endif
