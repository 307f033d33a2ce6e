/* data/film_set.h - frames of 3-D films with anchors: what fine-tuning on one's own discs reads.
 *
 *   ROOT/frames/sbs/frame_000123.jpg   both eyes in one picture (else ROOT/frames/fSBS_3D, ROOT/frames, or ROOT
 * itself); ROOT/left/NAME, ROOT/right/NAME    or each eye in a folder of its own, the same names
 *   ROOT/film_structure.json           which numbers belong to which film; optional
 *   ANCHORS/frame_000123.npz           `disparity` (or `parallax`), and if there `confidence` and `occlusion`, H x W
 * each
 *
 * How the eyes are packed is found out for each picture or said by the caller (data/stereo.h): full or half side by
 * side, top and bottom, MPO, JPS. A video is sampled into such a folder first (data/film.h reads it). A frame's number
 * is what stands between the first "_" of its name and the ending; frames are in the order of their numbers, not of
 * their names. Pictures without a number are numbered as they come.
 *
 * film_structure.json is a list of {"nr", "name", "start", "end"}: inclusive ranges of numbers that do not overlap.
 *
 * A frame that cannot be used is left out with a reason that is kept: no number in any film, no anchor, no right eye.
 * One that turns out unreadable when it is asked for is an error that names the file. Nothing is ever replaced by black
 * or zeros. */
#ifndef PANUM_DATA_FILM_SET_H
#define PANUM_DATA_FILM_SET_H
#include "base/mem.h"
#include "data/augment.h"
#include "data/stereo.h"

typedef struct {
    const char *name;
    int64_t start, end; /* inclusive */
} FilmRange;

typedef struct {
    const char *path, *right; /* right: NULL when `path` holds both eyes */
    const char *anchor;       /* NULL: none */
    int64_t number;
    int film; /* index of its range; -1 when there is no film_structure.json */
} FilmFrame;

typedef struct {
    const char *path, *why;
} FilmRejected;

enum { FILM_RANGES_MAX = 10000, FILM_FRAMES_MAX = 1 << 22, FILM_NAME_MAX = 255, FILM_STRUCTURE_BYTES_MAX = 1 << 24 };
#define FILM_NUMBER_MAX 1000000000LL

typedef struct {
    FilmRange *films; /* in the order of their numbers */
    FilmFrame *frames;
    FilmRejected *rejected;
    int64_t film_count, frame_count, rejected_count, untaught;
    Arena *arena;
} FilmSet;

/* `anchors`: folder, NULL for ROOT/disparities when it is there. `need_anchors`: frames without one are rejected;
 * `taught_only`: where there is such a folder, they are left out and counted as untaught. */
typedef struct {
    const char *anchors;
    bool need_anchors, taught_only;
} FilmSetOptions;
int film_set_find(const char *root, const FilmSetOptions *options, FilmSet *set);
void film_set_free(FilmSet *set);
/* The text of film_structure.json into a set that has an arena. */
int film_structure_parse(FilmSet *set, const uint8_t *text, size_t size);

/* Which frames train and which judge: whole films while there are two or more, else one unbroken stretch of the only
 * one, with a margin on both sides that does neither, so that no neighbours stand on both sides. `share` of the frames
 * judge, about; at least one film trains. `use` has frame_count places. */
typedef enum { FRAME_TRAINS, FRAME_JUDGES, FRAME_NEITHER } FrameUse;
void film_set_split(const FilmSet *set, double share, uint64_t seed, uint8_t *use);
/* As s2m2cinematic divides them, to compare with: the frames in the order of their names as text are shuffled as
 * NumPy's RandomState(42) shuffles a list, and the last tenth, at least one, judges. Neighbours stand on both sides. */
int film_set_split_frames(const FilmSet *set, uint8_t *use);

/* A frame as a sample at the size of its anchor, or of an eye when it has none. The anchor is in `left`: valid is its
 * confidence, 0..1, and 0 where it has no value. An anchor made from the eye's upper left corner cut to multiples of 32
 * is matched with that corner; one of the same shape in another size with the picture brought to that size; any other
 * is ERR_INPUT. */
int film_frame_read(const FilmFrame *frame, const StereoOptions *options, Sample *sample);

/* The frames in use `use` as an endless stream: whole pictures brought to width x height, or windows of that size. */
typedef struct {
    uint64_t seed;
    int width, height;
    bool windows;
    double flip;                 /* chance of a picture upside down; the published recipe has 0.1 */
    const AugmentCamera *camera; /* NULL: none; has to outlive the stream */
    StereoOptions stereo;
} FilmStreamOptions;
typedef struct {
    const FilmSet *set;
    const int64_t *frames; /* indices into the set's frames, in any order */
    int64_t count;
    FilmStreamOptions options;
} FilmSetStream;
SampleSource film_set_source(FilmSetStream *stream);
/* The frame at a place in a stream that has frames. */
const FilmFrame *film_set_stream_frame(const FilmSetStream *stream, uint64_t index);
#endif
