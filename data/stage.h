/* data/stage.h - a renderer of stereo pairs made to be fast: for training, where every step needs new pictures.
 *
 * Same geometry as data/scene.h, in units that suit it: a camera of focal length f pixels looks along z, x right, y
 * down; the screen plane is z = 1; the eyes stand at (-+b/2, 0, 0), and with `span` = f b, in pixels, a point at
 * inverse depth rho = 1/z has disparity d = x_left - x_right = span (rho - 1) in front of the screen when positive;
 * -span is infinity's. Both eyes' rows are the same row.
 *
 * Every surface is one whose inverse depth along a row has a closed form, so a row is drawn thing by thing with plain
 * loops that compilers vectorise: a plane's is a linear function of x; an ellipsoid's, tube's or cone's is a linear
 * function and the root of a quadratic; a sheet is given as inverse depth over the picture between the eyes, from
 * which each eye's follows by a few Newton steps. The same closed form tells what the other eye sees at the exact place
 * of a pixel's match, so occlusion is exact too, not read off a neighbouring pixel.
 *
 * Truth is that of the ray through the pixel's centre. Colours are point-sampled in filtered textures inside a thing
 * and averaged over four rays at its edges. A see-through thing lays its colour over what is behind; truth is its
 * own surface when it is at least half opaque, and what is behind otherwise. Gloss and mirrors depend on the eye, as
 * they do in the world, so there, and only there and at edges, the eyes' colours differ. */
#ifndef PANUM_DATA_STAGE_H
#define PANUM_DATA_STAGE_H
#include "data/sample.h"
#include "data/scene.h"
#include "data/texture.h"

typedef enum {
    THING_FLAT,  /* centre `at`, half edges u and v */
    THING_BALL,  /* ellipsoid: centre `at`, half axes u, v, w at right angles */
    THING_TUBE,  /* elliptic tube with open ends: half axes u and v, from at - w to at + w */
    THING_CONE,  /* apex `at`, opening along w to half axes u and v there; between `low` and 1 of w */
    THING_SHEET, /* inverse depth over the picture between the eyes, `sheet` */
} ThingShape;

typedef enum { OUTLINE_RECTANGLE, OUTLINE_ELLIPSE, OUTLINE_NONE } Outline; /* of flat things and sheets */

/* How a surface looks. A texel's place is `origin` + `across` U + `down` V, with U and V lengths along the surface in
 * the stage's unit (pixels for a sheet). */
typedef struct {
    uint64_t texture;
    float origin[2], across[2], down[2];
    float colour[4]
                [4]; /* columns: what red, green and blue of the texture add to red, green and blue, and a constant */
    uint64_t shadow; /* of this texture's fourth value, `shadow_scale` times as coarse */
    float shadow_scale, shadow_level, shadow_softness, shadow_depth; /* depth 0: no shadow */
    uint64_t detail; /* texture whose brightness is laid over, `detail_scale` times as fine; depth 0: none */
    float detail_scale, detail_depth;
    float glow;          /* 0 lit as all things are; 1 by itself (skies) */
    float gloss, mirror; /* strength of highlights; share of a mirror image, as far behind the screen as can be */
    uint64_t mirrored;   /* texture that is seen in the mirror */
} Coat;

enum { SHEET_WAVES = 4 };
typedef struct {
    float x, y, half_width, half_height; /* in pixels from the picture's centre */
    float rho, slope_x, slope_y;         /* at its centre, and per pixel */
    float wave[SHEET_WAVES][4];          /* cycles per pixel across and down, phase in cycles, amplitude in rho */
} Sheet;

typedef struct {
    ThingShape shape;
    Outline outline;
    Vec3 at, u, v, w;
    float low;
    Sheet sheet;
    Coat coat;
    bool cut; /* flat things: only where the fourth value of texture `mask` exceeds `mask_level` */
    uint64_t mask;
    float mask_scale, mask_origin[2], mask_level; /* texels per half edge */
    float opacity;                                /* 1: opaque */
} Thing;

enum { STAGE_THINGS_MAX = 512 };
typedef struct {
    double focal, span;        /* pixels */
    double centre_x, centre_y; /* where the middle of the camera's picture lies in the sample, pixels; may be outside */
    Vec3 light;
    float ambient, fog;  /* fog: share of `fog_colour` at infinity */
    float fog_colour[3]; /* 0..255 */
    TextureBank *bank;
    int count;
    Thing things[STAGE_THINGS_MAX];
} Stage;

/* False when the stage is full. */
bool stage_add(Stage *stage, const Thing *thing);
/* Draws into a sample that has room (sample_reserve): pictures, disparity, valid and occlusion of both eyes. Where a
 * ray meets nothing the picture is black and valid is 0. */
int stage_draw(const Stage *stage, Sample *sample);
#endif
