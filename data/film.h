/* data/film.h - films as a stream of stereo frames, whatever they lie in.
 *
 * A film is
 *   - a video file with both eyes packed in its frames (told by its content; read by ffmpeg),
 *   - a y4m stream: "-" is standard input, a pipe, or a file that begins with YUV4MPEG2,
 *   - a folder: with the subfolders left/ and right/; or with NAME_left.EXT and NAME_right.EXT (also _l and _r) side by
 *     side; or with pictures that hold both eyes each. Pictures are taken in the order of their names;
 *   - two of these of one kind, left and right, in step: two videos, two y4m files, two folders.
 *
 * How the eyes are packed is decided once for the film: asked for; a tag of the container; the file's name; shape and
 * content, over several frames spread over the film (a stream: over its first ones). When the content of most frames
 * contradicts a tag, the content wins and both are told.
 *
 * Frames are numbered from 0 at the film's start. Memory is a few frames, however long the film. A frame is given only
 * when the next one has come or the film has ended well: the last frame before a failure is not to be trusted. */
#ifndef PANUM_DATA_FILM_H
#define PANUM_DATA_FILM_H
#include "data/video.h"

typedef struct {
    double value;
    bool given, frames; /* in frames, else in seconds */
} FilmTime;
/* "62.5", "1:02.5", "1:02:03" or "1500f"; false for anything else. */
bool film_time_parse(const char *text, FilmTime *time);

typedef struct {
    const char *left, *right; /* right NULL: `left` holds both eyes */
    StereoLayout layout;      /* AUTO: found out */
    bool swap_eyes;
    FilmTime start, end; /* from start on, and before end */
    int64_t frames;      /* at most so many are given; 0: all */
    int64_t every;       /* every n-th; 0 and 1: all */
    Rate rate;           /* of a folder, which does not say; 0 / 0: 24 a second */
    ReadOptions read;    /* for the pictures of a folder; lenient: films that break off are taken as far as they go */
    VideoOptions run;
    bool mono_too; /* a film of one eye is no error: decision.layout is then MONO, and only facts can be asked for */
} FilmOptions;

typedef struct {
    int width, height;             /* of an eye as given */
    int frame_width, frame_height; /* as stored */
    Rate rate;                     /* of the film itself, whatever `every` is */
    bool variable, rate_assumed;
    int64_t first;  /* number of the first frame given */
    int64_t frames; /* that will be given; 0: not known */
    bool counted;   /* exactly so many */
    LayoutDecision decision;
    char what[300]; /* "640x240, 24 fps, h264 8-bit, 24 frames" */
    char cut[120];  /* "71,039 of the 142,078 bytes that its header announces are there"; "" for a whole film */
    char contradiction[200]; /* a tag that the pictures contradict, a sentence; "" for none */
    char identity[65];       /* hash of what is cheap to look at: names, sizes, times, first and last bytes */
} FilmFacts;

/* Is this a film at all, when nothing else says so? A regular file by its first bytes, "-" and pipes always; a folder
 * when it has subfolders left and right, or NAME_left and NAME_right: other folders may as well hold pictures that have
 * nothing to do with each other. Anything that cannot be opened is none. */
bool film_is(const char *path);

typedef struct Film Film;
int film_open(const FilmOptions *options, Film **film);
const FilmFacts *film_facts(const Film *film);
const VideoFacts *film_video(const Film *film); /* NULL when it is no video file */
bool film_of_files(const Film *film);           /* a folder of pictures */
/* Frames looked at before the film begins, spread over what will be given, at most FILM_SAMPLES. */
enum { FILM_SAMPLES = 5 };
int film_sample_count(const Film *film);
int film_sample(Film *film, int index, Image *left, Image *right); /* made; the caller frees */
void film_samples_drop(Film *film);
/* What the sample frames say of the eyes, as data/stereo_measure.h: medians and means over them. */
typedef struct {
    bool has_vertical; /* more than half of the frames agree on */
    double vertical;   /* rows by which the right eye lies lower */
    bool has_order;
    double eye_order;     /* -1..1, below 0: exchanged */
    bool identical;       /* both eyes are the same picture in every one */
    double d_low, d_high; /* rough range of disparity over all of them, pixels of an eye */
} FilmEyes;
extern const double FILM_VERTICAL_TRUST; /* the confidence from which a frame's vertical offset counts */
int film_measure(Film *film, FilmEyes *eyes);
/* Begins; the first `skip` frames that would be given are passed over. Once. */
int film_begin(Film *film, int64_t skip);
/* The next frame into left and right, which are made anew (free them). */
int film_next(Film *film, Image *left, Image *right, int64_t *number, bool *end);
/* After film_next failed: the film breaks off there, or lost too many frames on the way. Lenient reading (FilmOptions)
 * would have taken it as far as it goes. */
bool film_broke_off(const Film *film);
/* At the film's end: what people should know of how it ended, a sentence; "" when all is well. */
const char *film_note(const Film *film);
void film_close(Film **film); /* NULL inside is fine */
#endif
