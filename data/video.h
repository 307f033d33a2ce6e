/* data/video.h - films through ffmpeg and ffprobe: facts, pictures in, pictures out.
 *
 * Reading: frames come as 8-bit RGB of one constant size, full range, in the order and number in which they are stored
 * (no frame is repeated or dropped for the sake of a rate; rotation tags are not followed). YCbCr is converted with the
 * film's own matrix and range; where the film does not say, BT.709 above 1024 x 576 pixels and BT.601 up to that, and
 * the range its pixel format implies. HDR transfers are left as they are coded.
 * Only local files are opened: ffmpeg may use its protocols file and pipe, and no other.
 *
 * Writing: H.264, CRF 18, BT.709; 4:4:4 in .mkv (thin coloured lines keep their colour), 4:2:0 in .mp4, which few
 * players take otherwise (a black column or row makes odd sizes even there). Byte for byte the same for the same
 * pictures.
 *
 * The program is $PANUM_FFMPEG, else ffmpeg in PATH; ffprobe is taken from the same place. Failures of theirs are
 * ERR_TOOL with their last words. */
#ifndef PANUM_DATA_VIDEO_H
#define PANUM_DATA_VIDEO_H
#include "data/process.h"
#include "data/stereo.h"

typedef struct {
    int64_t over, under; /* frames in seconds: 24000 / 1001; 0 / 0 when not known */
} Rate;
static inline double rate_value(Rate rate) {
    return rate.under ? (double)rate.over / (double)rate.under : 0;
}
static inline bool rate_equal(Rate a, Rate b) {
    return a.over * b.under == b.over * a.under && !a.under == !b.under;
}

typedef struct {
    int width, height;
    Rate rate;           /* mean */
    bool variable;       /* frames do not all last equally long, by the tags or by the time stamps of a few hundred */
    bool back;           /* time stamps go back, as where films were joined; their frames come in the order they lie */
    int64_t frames;      /* 0: not known */
    bool frames_counted; /* the container says so; else frames is duration times rate */
    double seconds;      /* 0: not known */
    int64_t promised;    /* frames by the container's own word, whatever is left of them; 0: it says nothing */
    int64_t bytes, announced;   /* of the file, and by its header (data/container.h); more announced: the film is cut */
    char codec[32], pixels[32]; /* as ffmpeg calls them: "h264", "yuv420p10le" */
    char matrix[24], range[12], transfer[24]; /* "bt709", "tv"; "" when not said */
    int bits;                                 /* a sample */
    int rotation;                             /* degrees of a tag that is not followed */
    StereoLayout tag; /* MONO: says it is; AUTO: says nothing; SBS and TB stand for half ones too */
    bool tag_right_first;
    char tag_source[64]; /* "StereoMode 11 (right_left)", "frame packing: top and bottom" */
} VideoFacts;

/* Common to all that start a program here. */
typedef struct {
    double patience; /* seconds without a sign of life; 0: PROCESS_PATIENCE */
    bool (*stopped)(void);
} VideoOptions;

/* ERR_INPUT when ffprobe finds no film in it that it can read, or one that cannot be matched (sides, layouts that are
 * not read). */
int video_facts(const char *path, const VideoOptions *options, VideoFacts *facts);
/* Facts for people, without the layout: "3840x1080, 23.976 fps, 10-bit bt709, 142,310 frames". */
void video_describe(const VideoFacts *facts, char *out, size_t size);
/* "71,039 of the 142,078 bytes that its header announces are there"; "" when the film is not cut. */
void video_describe_cut(const VideoFacts *facts, char *out, size_t size);

typedef struct {
    VideoOptions run;
    double start;  /* seconds from the film's start; frames before are not read */
    int64_t skip;  /* then, after that many frames ... */
    int64_t every; /* ... every n-th, 0 and 1: all */
} VideoReadOptions;
typedef struct VideoReader VideoReader;
int video_open(const char *path, const VideoFacts *facts, const VideoReadOptions *options, VideoReader **reader);
/* The next frame into `frame`, which is made when empty and reused otherwise. *end: there is none, and ffmpeg ended as
 * it should. A size that changes within the film is ERR_INPUT. */
int video_read(VideoReader *reader, Image *frame, bool *end);
/* After the end: what ffmpeg said of the film although it ended well ("" for nothing): pictures it could not read are
 * left out, or patched from their neighbours. */
const char *video_complaint(const VideoReader *reader);
void video_close(VideoReader **reader); /* at any time; NULL inside is fine */

typedef enum { VIDEO_MKV, VIDEO_MP4 } VideoForm;
bool video_form(const char *path, VideoForm *form); /* by the name's end; false: neither */
typedef struct VideoWriter VideoWriter;
/* Writes to `path` as it is; the caller gives it its final name when video_finish has succeeded. */
int video_create(const char *path, VideoForm form, int width, int height, Rate rate, const VideoOptions *options,
                 VideoWriter **writer);
int video_write(VideoWriter *writer, const Image *frame); /* 8-bit RGB of that size */
int video_finish(VideoWriter **writer);
void video_abandon(VideoWriter **writer); /* NULL inside is fine; the file is the caller's to remove */

/* Joins parts made by video_create with VIDEO_MP4 or VIDEO_MKV and equal arguments, in the order of the list file:
 * lines of "file 'NAME'" beside that file. Nothing is coded anew. `title` (may be NULL) goes into the file. */
int video_join(const char *list, const char *path, VideoForm form, Rate rate, const char *title,
               const VideoOptions *options);
/* How many pictures a file of ours holds. */
int video_count(const char *path, const VideoOptions *options, int64_t *frames);
/* 0 when ffmpeg is there and starts. */
int video_check(const VideoOptions *options);
#endif
