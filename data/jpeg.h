/* data/jpeg.h - JPEG checked marker by marker, then decoded by stb_image (base/stb.h), which must not see hostile
 * tables. Sentences come without the file's name. */
#ifndef PANUM_DATA_JPEG_H
#define PANUM_DATA_JPEG_H
#include "data/read.h"

typedef struct {
    int width, height, components;
    bool progressive;
    int adobe;       /* transform of the Adobe segment: 0 none (RGB or CMYK), 1 YCbCr, 2 YCCK; -1 without segment */
    int orientation; /* EXIF, 1 to 8; 1 when absent or not believed */
    size_t end;      /* bytes up to and with EOI; the size given when it is missing */
    bool whole;      /* EOI was found */
    int scans;
    size_t mpf, mpf_size; /* the multi-picture index (after "MPF\0"), size 0 when there is none */
    size_t stereo; /* the text of a JPS segment (APP3 "_JPSJPS_") with its descriptor word; 0 when there is none */
    uint32_t stereo_descriptor;
} JpegInfo;

/* Checks every marker, table and size of the first picture in `bytes`. */
int jpeg_check(const uint8_t *bytes, size_t size, JpegInfo *info, ReadNotes *notes);
int jpeg_decode(const uint8_t *bytes, size_t size, const ReadOptions *options, Image *image, ReadNotes *notes);
#endif
