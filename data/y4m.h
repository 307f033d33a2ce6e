/* data/y4m.h - YUV4MPEG2, the stream of plain pictures that film programs pass to each other, read and written.
 *
 * Read: 8 bits with 4:2:0 (jpeg, mpeg2, paldv), 4:1:1, 4:2:2, 4:4:4 and grey; 9 to 14 bits of the same, and to 16 of
 * 4:4:4 and grey (C420p10 ...), rounded to 8. Alpha (444alpha) is refused by name, and so is every other colour space.
 * Fields (I) are taken as frames; pixel shape (A) is reported and nothing more (ffmpeg writes A0:0 for "not known"); a
 * rate of 0 is refused; of the extensions XCOLORRANGE is followed, others are passed over. Chroma of odd sizes is
 * rounded up, as ffmpeg does; chroma samples are spread linearly, at the place the header names.
 *
 * Colours. The format does not name a matrix. The rule here, as in data/video.h: BT.709 above 1024 x 576 pixels,
 * BT.601 up to that. Range limited (16-235) unless XCOLORRANGE=FULL; C420jpeg says nothing about range, ffmpeg writes
 * it for MPEG material too. Written: 4:4:4, limited, the same rule. Grey: Cmono.
 *
 * Hostile streams: header up to 4,096 bytes, frame header up to 1,024, sides as any picture; each fault is ERR_INPUT
 * naming the field or the frame. */
#ifndef PANUM_DATA_Y4M_H
#define PANUM_DATA_Y4M_H
#include "data/image.h"
#include "data/video.h"

enum { Y4M_HEADER_MAX = 4096, Y4M_FRAME_HEADER_MAX = 1024 };

typedef struct {
    int width, height;
    Rate rate;                         /* 0 / 0: there was no F */
    int64_t aspect_over, aspect_under; /* of a pixel; 0 / 0: not known */
    int chroma_x, chroma_y;            /* a chroma sample for so many pixels each way: 2, 2 for 4:2:0; 0, 0 for grey */
    int site_x, site_y;                /* 0: chroma lies on the first of them, 1: midway */
    int bits;                          /* a sample, 8 to 16 */
    bool full_range, range_given;
    char interlaced; /* 'p', 't', 'b', 'm' or '?' */
    char colour[24]; /* the C field as written, "420jpeg" when there was none */
} Y4mHeader;

/* The first line without its newline; what it must start with is part of it. */
int y4m_parse(const char *line, size_t length, Y4mHeader *header);
size_t y4m_frame_bytes(const Y4mHeader *header);
/* One frame's planes to 8-bit RGB (or grey for Cmono); `image` is made when empty and reused otherwise. */
int y4m_to_image(const Y4mHeader *header, const uint8_t *planes, Image *image);

/* Where bytes come from: as many as there are, `want` at most, *got 0 at the end only. */
typedef int (*Y4mSource)(void *context, void *bytes, size_t want, size_t *got);
typedef struct Y4mReader Y4mReader;
/* `name` is for sentences. Reads the header at once. */
int y4m_open(const char *name, Y4mSource source, void *context, Y4mReader **reader);
const Y4mHeader *y4m_header(const Y4mReader *reader);
/* The next frame; *end: the stream ended behind the frame before. image NULL: the frame is passed over. */
int y4m_read(Y4mReader *reader, Image *image, bool *end);
/* After a failure: the stream ended inside a frame, and all before that was sound. */
bool y4m_broke_off(const Y4mReader *reader);
void y4m_close(Y4mReader **reader); /* NULL inside is fine */

int y4m_write_header(Out *out, int width, int height, int channels, Rate rate);
int y4m_write_frame(Out *out, const Image *image); /* 8-bit RGB or grey, of the size and channels in the header */
#endif
