/* data/image.h - pictures in memory.
 *
 * Image: samples interleaved, rows top down, no padding; 8 or 16 bits a sample; 1 (grey) or 3 (RGB) channels.
 *   Alpha is dropped by readers, colour is kept as stored.
 * Map: one float a pixel, rows top down, with what it holds (kind) and for which eye. NaN means "no value". */
#ifndef PANUM_DATA_IMAGE_H
#define PANUM_DATA_IMAGE_H
#include "base/err.h"
#include "base/file.h"
#include <stdint.h>

typedef struct {
    int width, height;
    int channels;   /* 1 or 3 */
    int bits;       /* 8 or 16 */
    uint8_t *bytes; /* width*height*channels samples; 16-bit samples in host order */
} Image;

/* Functions that return int give 0, or an error code with its sentence set; `to` is then empty. */
int image_make(Image *image, int width, int height, int channels, int bits); /* uninitialised samples */
void image_free(Image *image);                                               /* leaves it zeroed */
int image_copy(Image *to, const Image *from);
int image_crop(Image *to, const Image *from, int x, int y, int width, int height);
int image_to_8bit(Image *image); /* in place; 16-bit v becomes (v*255+32767)/65535 */
int image_to_rgb(Image *image);  /* in place; grey is repeated */
void image_mirror(Image *image); /* left <-> right, in place */
int image_resize(Image *to, const Image *from, int width, int height); /* area when smaller, bilinear when larger */
static inline uint16_t *image_16(const Image *image) {
    return (uint16_t *)(void *)image->bytes;
}
static inline int64_t image_pixels(const Image *image) {
    return (int64_t)image->width * image->height;
}

typedef enum { MAP_DISPARITY, MAP_PARALLAX, MAP_CONFIDENCE, MAP_OCCLUSION, MAP_MASK, MAP_OTHER } MapKind;
const char *map_kind_name(MapKind kind); /* "disparity", "parallax", ... */

typedef struct {
    int width, height;
    float *values; /* d = x_left - x_right in pixels for MAP_DISPARITY; p = -d in pixels for MAP_PARALLAX */
    MapKind kind;
    bool reference_right; /* the map belongs to the right picture */
} Map;

int map_make(Map *map, int width, int height, MapKind kind);
void map_free(Map *map);
int map_copy(Map *to, const Map *from);
void map_mirror(Map *map);
/* Disparity <-> parallax, in place: the sign changes, the kind with it. */
void map_set_quantity(Map *map, MapKind kind);

/* What a stereo matcher gives, in the left picture (or the right one: disparity.reference_right). */
typedef struct {
    Map disparity;  /* pixels, positive in front of the screen */
    Map confidence; /* 0..1: probability that the error is below 4 px, or the matcher's nearest notion of it */
    Map occlusion;  /* 1 visible in both eyes, 0 hidden from the other eye */
} StereoMaps;
void stereo_maps_free(StereoMaps *maps);

/* The largest picture that is read or made; nothing is allocated for a larger one. */
enum { IMAGE_SIDE_MAX = 32768 };
#define IMAGE_PIXELS_MAX ((int64_t)1 << 28)
#endif
