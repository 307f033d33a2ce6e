/* data/film_stream.h - one stream of pictures inside a film (data/film.h): a video, a y4m stream or a list of files.
 * Indices count the stream's pictures from 0. */
#ifndef PANUM_DATA_FILM_STREAM_H
#define PANUM_DATA_FILM_STREAM_H
#include "data/film.h"
#include "data/y4m.h"

typedef enum { STREAM_VIDEO, STREAM_Y4M, STREAM_FILES } StreamKind;

enum { AHEAD_MAX = 24 };
typedef struct {
    StreamKind kind;
    char path[4096]; /* a video's or a y4m stream's, "-" for standard input; a folder's */
    char name[300];  /* printable, for sentences */
    VideoOptions run;
    ReadOptions read;
    int width, height, channels;
    Rate rate;
    bool variable, counted;
    int64_t frames; /* 0: not known */
    VideoFacts facts;
    VideoReader *video;
    int fd; /* of a y4m stream */
    Y4mReader *y4m;
    int64_t at;             /* index of the next picture that reading gives */
    int64_t stop, step;     /* as stream_begin was told */
    char **files;           /* STREAM_FILES */
    Image ahead[AHEAD_MAX]; /* y4m: pictures read before the film begins, a ring */
    int64_t ahead_index[AHEAD_MAX];
    int ahead_first, ahead_count;
    bool ended; /* the look-ahead met the end */
} Stream;

int stream_open(Stream *stream, const char *path, const FilmOptions *options);
/* A folder's pictures: all of them, or those whose stems end in `tail` ("_left"); ERR_INPUT when there are none. */
int stream_open_files(Stream *stream, const char *folder, const char *tail, const FilmOptions *options);
void stream_close(Stream *stream);

/* Random access: videos of known length and files. */
bool stream_seeks(const Stream *stream);
int stream_picture(Stream *stream, int64_t index, Image *picture);
/* y4m: reads on to picture `first`, and from there keeps pictures until `wanted` say something (are not flat). */
int stream_look_ahead(Stream *stream, int64_t first, int64_t step, int wanted);
bool picture_is_flat(const Image *picture);

/* From picture `first` on every step-th, the first `skip` of these left out. */
int stream_begin(Stream *stream, int64_t first, int64_t step, int64_t skip);
int stream_next(Stream *stream, Image *picture, bool *end); /* `picture` made anew or reused */
/* After a failure: the stream was sound as far as it went, and breaks off. */
bool stream_broke_off(const Stream *stream);
int stream_identity(Stream *stream, char hex[65]);
#endif
