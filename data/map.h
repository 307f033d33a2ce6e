/* data/map.h - maps of numbers (disparity, parallax, masks) from and into files. The type is in data/image.h.
 *
 * What a file holds: every format we write says whether it is disparity d = x_left - x_right or parallax p = -d.
 *   d16 PNG  text chunks "panum:encoding" = "d16", "panum:kind", "panum:unit", "panum:scale", "panum:reference".
 *   PFM      the format has neither comments nor room behind the numbers. Public PFM maps are disparity by convention,
 *            and so are ours, with the scale line "-1.0". Ours with parallax spell the same number "-1e0", which every
 *            reader takes for the same scale, and map_read for the statement that this is parallax.
 *   .flo     optical flow from left to right: its horizontal part is x_right - x_left, that is parallax.
 * When a file does not say, disparity is assumed and a note says so.
 *
 * Missing values are NaN in memory; in files: +inf in PFM (Middlebury's way), 0 in 16-bit PNG, 1e10 in .flo. */
#ifndef PANUM_DATA_MAP_H
#define PANUM_DATA_MAP_H
#include "data/read.h"

typedef struct {
    double scale;    /* integer files without text of ours: steps in a pixel (256 KITTI, 4 Middlebury 2003 ...); 0: not
                        known */
    bool kind_given; /* `kind` below is meant; contradicting what the file says is an error */
    MapKind kind;    /* MAP_MASK, MAP_CONFIDENCE, MAP_OCCLUSION, MAP_OTHER: integers as they are, 0 is a value, no scale
                        needed */
} MapReadOptions;

/* PFM (both byte orders), 16- and 8-bit PNG and PGM of integers, d16 PNG, .flo. On failure the map is empty.
 * Integer formats of a disparity or parallax: value / scale, 0 is "no value"; without scale ERR_USAGE asks for it. */
int map_read(const char *path, const MapReadOptions *options, Map *map, ReadNotes *notes);
int map_read_memory(const char *name, const uint8_t *bytes, size_t size, const MapReadOptions *options, Map *map,
                    ReadNotes *notes);

/* Optical flow: .flo, or KITTI's 16-bit RGB PNG ((R - 32768)/64, (G - 32768)/64, valid where B > 0). NaN where unknown.
 */
int flow_read(const char *path, Map *u, Map *v, ReadNotes *notes);
int flow_read_memory(const char *name, const uint8_t *bytes, size_t size, Map *u, Map *v, ReadNotes *notes);

/* What goes into a file beside the numbers; either may be NULL and is then left out. */
typedef struct {
    const char *version; /* of the program */
    const char *command; /* the line that made the file */
} FileMeta;

typedef struct {
    int64_t missing; /* pixels without value */
    int64_t clipped; /* pixels whose value did not fit and was set to the nearest that does */
} MapWritten;

enum { D16_STEPS = 64, D16_ZERO = 32768, D16_RANGE = 511 };
/* written may be NULL. */
int map_write_pfm(Out *out, const Map *map, MapWritten *written);
/* 16-bit grey PNG, value = 32768 + 64 v, 0 = no value; |v| above 511 is clipped and counted, and when that is more than
 * one pixel in a hundred nothing is written: ERR_INPUT. Disparity and parallax only. */
int map_write_d16(Out *out, const Map *map, const FileMeta *meta, MapWritten *written);
int flow_write(Out *out, const Map *u, const Map *v);

/* By the name's end: .pfm, .d16.png; anything else is ERR_USAGE. */
int map_write(const char *path, OutMode mode, const Map *map, const FileMeta *meta, MapWritten *written);
/* Baseline JPEG; 16-bit pictures are narrowed. The encoder keeps full colour resolution above 90 only, which anaglyphs
 * need: a halved chroma channel mixes the eyes. */
enum { JPEG_QUALITY = 95 };
int jpeg_write(Out *out, const Image *image, int quality);
/* By the name's end: .png (with meta and `kind`, e.g. "colour map of parallax"; NULL: none), .ppm .pgm .pnm, .jpg
 * .jpeg. */
int image_write(const char *path, OutMode mode, const Image *image, const char *kind, const FileMeta *meta);
#endif
