/* apps/lib/film_out.h - what matching a film leaves: a folder of maps, colour-map videos, or a y4m stream of them.
 *
 * Every frame is finished, with all its files under their final names, before the next is begun; colour maps wait as
 * PNG in the work folder until PART_FRAMES of them are coded as one part of the video. The parts are joined without
 * being coded anew. Where parts begin depends on the frames' order only, so a film that was interrupted, killed and
 * continued at any frame gives the same bytes as one in one go. A video has its final name only when it is whole and
 * its frames have been counted.
 *
 * The colours' range is one for the whole film: what looks stronger is farther from the screen, in every frame. */
#ifndef PANUM_APPS_LIB_FILM_OUT_H
#define PANUM_APPS_LIB_FILM_OUT_H
#include "apps/lib/colour.h"
#include "apps/lib/journal.h"
#include "data/map.h"
#include "data/video.h"

enum { FILM_VIDEOS_MAX = 4, PART_FRAMES = 240 };
typedef struct {
    const char *folder;                  /* gets frame_000123.npz; NULL: none */
    const char *videos[FILM_VIDEOS_MAX]; /* .mkv or .mp4 */
    int video_count;
    bool to_stream;   /* y4m on standard output, and nothing else */
    const char *work; /* folder of the journal */
    Rate rate;        /* of the video */
    double range;     /* pixels at full colour */
    Palette palette;
    const char *source;
    const FileMeta *meta;
    VideoOptions run;
} FilmOutOptions;

typedef struct FilmOut FilmOut;
/* `journal` NULL for a stream. `done` frames were finished by an earlier run and parts of them coded; see
 * film_out_found. */
int film_out_open(const FilmOutOptions *options, int64_t done, FilmOut **out);
/* Of the `count` frames in `numbers` that a journal speaks of: how many from the first on have all their files. */
int64_t film_out_found(const FilmOutOptions *options, const int64_t *numbers, int64_t count);
int film_out_frame(FilmOut *out, int64_t number, const StereoMaps *maps);
int film_out_finish(FilmOut *out);  /* the rest of the video, joined and named */
void film_out_close(FilmOut **out); /* NULL inside is fine */
#endif
