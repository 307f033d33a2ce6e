/* data/jpeg.h - JPEG checked marker by marker, then decoded by stb_image (base/stb.h), which must not see hostile
 * tables.
 *
 * Decoded: 8 bits, baseline, extended and progressive, Huffman-coded; grey, YCbCr, RGB, CMYK and YCCK as Adobe writes
 * them (inverted). Everything else is named and refused. Sentences come without the file's name. */
#ifndef PANUM_DATA_JPEG_H
#define PANUM_DATA_JPEG_H
#include "data/read.h"

enum { JPEG_SCANS_MAX = 128, JPEG_COMPONENTS = 4 };

typedef struct {
    int id, h, v, quantiser;
} JpegComponent;

typedef struct {
    int width, height, components; /* as stored, before the orientation */
    JpegComponent component[JPEG_COMPONENTS];
    int h_most, v_most; /* the largest sampling factors */
    bool progressive;
    bool jfif;
    int adobe;       /* transform of the Adobe segment: 0 none (RGB or CMYK), 1 YCbCr, 2 YCCK; -1 without segment */
    int orientation; /* EXIF, 1 to 8; 1 when absent or not believed */
    int scans;
    bool whole; /* the end marker (EOI) was found */
    size_t end; /* bytes up to and with it; when it is missing, up to where the last whole segment or scan ends */
    const uint8_t *exif; /* content of APP1 after "Exif\0\0"; NULL */
    size_t exif_size;
    const uint8_t *mpf; /* content of APP2 after "MPF\0"; NULL */
    size_t mpf_size;
    bool has_jps; /* an APP3 segment "_JPSJPS_" */
    uint32_t
        jps; /* its descriptor: bits 0-7 1 stereo, 8-15 layout (1 rows, 2 side by side, 3 top-bottom), 18 left first */
} JpegInfo;

/* Checks every marker, table and size of the picture that starts at bytes[0]; notes may be NULL. */
int jpeg_check(const uint8_t *bytes, size_t size, JpegInfo *info, ReadNotes *notes);
int jpeg_decode(const uint8_t *bytes, size_t size, const ReadOptions *options, Image *image, ReadNotes *notes);
/* The size after the orientation is applied. */
static inline int jpeg_shown_width(const JpegInfo *info) {
    return info->orientation > 4 ? info->height : info->width;
}
static inline int jpeg_shown_height(const JpegInfo *info) {
    return info->orientation > 4 ? info->width : info->height;
}
#endif
