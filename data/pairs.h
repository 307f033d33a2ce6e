/* data/pairs.h - stereo pairs with truth, as the public benchmarks lay them out, or named one by one in a list.
 *
 * Folders that are recognised (NAME stands for anything):
 *
 * - Middlebury: NAME/ with im0 and im1 and disp0GT.pfm or disp0.pfm (2014, ETH3D; mask0nocc.png: 255 seen by both, 128
 *   hidden), with view1 and view5 and disp1.png, disp5.png (2005, 2006), or with im2, im6, disp2, disp6 (2003);
 * - KITTI 2012: image_0 (or colored_0) and image_1, disp_occ, disp_noc; 2015: image_2, image_3, disp_occ_0, disp_noc_0;
 *   with or without `training` above;
 * - Sintel: clean_left (or final_left), clean_right, disparities, occlusions, outofframe; or `training` above;
 * - SceneFlow: frames_cleanpass (or frames_finalpass)/.../left|right/NAME.png, disparity/.../left|right/NAME.pfm.
 *
 * A list is a text file whose first line names columns separated by tabs, of `left`, `right`, `truth`, and if wanted
 * `truth_right`, `scale`, `mask`, `truth_seen`, `name`, `group`; each further line is a pair, paths count from the
 * list's folder. `scale` is how many steps of an integer map make a pixel, `mask` a picture as Middlebury's,
 * `truth_seen` a second map of truth that has values only where both eyes see, as KITTI's.
 *
 * What is incomplete is not passed over in silence: it is counted among the rejected, with the reason of the first
 * ones. Truth that is missing is valid 0. Whether a point is hidden comes from the benchmark's own mask, else from
 * comparing both eyes' truth (within one pixel), else it is not known. */
#ifndef PANUM_DATA_PAIRS_H
#define PANUM_DATA_PAIRS_H
#include "base/mem.h"
#include "data/augment.h"
#include "data/read.h"

typedef enum {
    PAIRS_AUTO,
    PAIRS_LIST,
    PAIRS_MIDDLEBURY,
    PAIRS_KITTI,
    PAIRS_SINTEL,
    PAIRS_SCENEFLOW,
} PairsLayout;
const char *pairs_layout_name(PairsLayout layout);

typedef enum {
    TRUTH_MAP,    /* what data/map.h reads */
    TRUTH_SINTEL, /* 8-bit RGB PNG: d = 4 R + G / 64 + B / 16384 */
} TruthForm;

typedef enum {
    MASK_NONE,
    MASK_SEEN,   /* 255 seen by both eyes, 128 hidden, 0 not judged */
    MASK_TRUTH,  /* a second map of truth, that has values only where both eyes see (KITTI's noc) */
    MASK_HIDDEN, /* 255 hidden, else seen (Sintel's occlusions and outofframe) */
} MaskForm;

typedef struct {
    const char *name, *group; /* group: scene or sequence, never split between training and judging */
    const char *left, *right, *truth, *truth_right, *mask, *mask_also; /* NULL where there is none */
    double scale;                                                      /* of integer maps; 0: not known */
    TruthForm form;
    MaskForm mask_form;
} PairEntry;

enum { PAIRS_MAX = 1 << 20, PAIRS_REASONS = 16 };
typedef struct {
    PairsLayout layout;
    int64_t count, rejected;
    PairEntry *entries;                 /* in the order of their names */
    const char *reasons[PAIRS_REASONS]; /* of the first rejected, whole sentences */
    Arena *arena;                       /* all texts */
} Pairs;

/* ERR_INPUT when nothing is found; `pairs` is then empty. */
int pairs_find(const char *path, PairsLayout layout, Pairs *pairs);
/* A list whose paths count from `folder`. */
int pairs_find_list(const char *path, const char *folder, Pairs *pairs);
void pairs_free(Pairs *pairs);
/* The text of a list, into pairs that have an arena. */
int pairs_list_parse(Pairs *pairs, const char *folder, const uint8_t *bytes, size_t size);
int pairs_read(const PairEntry *entry, Sample *sample);

/* Pairs as an endless stream to train on: each pass in another order, each time another window, size, screen plane and
 * camera, drawn from the seed and the place in the stream. */
typedef struct {
    uint64_t seed;
    int width, height;
    double scale_low, scale_high; /* size of pictures, 0: 0.8 and 1.5; larger where a window would not fit */
    bool keep_screen;             /* else the screen plane is put anywhere in the scene (the signed rule) */
    const AugmentCamera *camera;  /* NULL: none; has to outlive the stream */
} PairsStreamOptions;
typedef struct {
    const Pairs *pairs;
    PairsStreamOptions options;
} PairsStream;
SampleSource pairs_source(PairsStream *stream);
/* The pair that a place in the stream is cut from. */
const PairEntry *pairs_stream_entry(const PairsStream *stream, uint64_t index);
/* The index-th of 0..count-1 in an order of its own for each seed. */
int64_t shuffled(uint64_t seed, int64_t count, int64_t index);
#endif
