/* data/scene.h - stereo scenes of our own, drawn by ray casting with exact truth for both eyes.
 *
 * Space: x right, y down, z away from the viewer, in any one unit; the eyes stand at (-interaxial/2, 0, 0) and
 * (+interaxial/2, 0, 0) and look along z. Both pictures are cut from parallel cameras so that the plane z = convergence
 * is the screen, as a film camera's shifted sensors do. So rows correspond exactly, and with f the focal length in
 * pixels and b the interaxial
 *     x_left = f (x + b/2) / z - f b / (2 convergence) + (width - 1) / 2
 *     d = x_left - x_right = f b (1/z - 1/convergence)
 * positive in front of the screen, negative behind it, and never below -f b / convergence, which is infinity's.
 *
 * Colours are anti-aliased (several rays a pixel); truth is that of the ray through the pixel's centre: the disparity
 * of the surface hit there, and whether the same surface point is seen, unhidden and inside the picture, by the other
 * eye. A pixel whose ray hits nothing has no truth (NaN) and is black; a plane behind everything avoids it. Shading
 * does not depend on the eye, and a texture's finest detail only on depth, so a surface point has one colour in both.
 *
 * A new kind of surface is a new SceneShape: a bounding box, an intersection and texture coordinates (scene.c,
 * "shapes"). Left out: shadows, mirrors, glass, lens blur, motion, grain. What disturbs pictures belongs to
 * augmentation. */
#ifndef PANUM_DATA_SCENE_H
#define PANUM_DATA_SCENE_H
#include "base/pool.h"
#include "data/image.h"

typedef struct {
    double x, y, z;
} Vec3;

typedef enum {
    SCENE_PLANE,     /* endless: through `at`, spanned by u and v (one unit of texture each) */
    SCENE_QUAD,      /* parallelogram: centre `at`, half edges u and v */
    SCENE_ELLIPSOID, /* centre `at`, half axes u, v, w (at right angles) */
    SCENE_ROD,       /* round, with round ends: from at - u to at + u, `radius` thick */
} SceneShape;

/* What of a quad is there; a and b run over -1..1 along u and v. */
typedef enum {
    SCENE_WHOLE,
    SCENE_DISC,    /* a*a + b*b <= 1 */
    SCENE_FRAME,   /* a border, `cut_size` of the half edge wide */
    SCENE_LATTICE, /* `cut_count` bars each way, `cut_size` of their pitch thick: a fence, thin things before everything
                    */
    SCENE_RIDGE,   /* below a rough line that reaches `cut_size` down from the upper edge (b = -1): hills, hedges,
                      skylines */
} SceneCut;

typedef enum { SCENE_PLAIN, SCENE_NOISE, SCENE_CHECKER, SCENE_STRIPES, SCENE_BRICKS, SCENE_PATTERNS } ScenePattern;

/* Lengths in the scene's unit; colours linear light, 0..1. Noise of several octaves is laid over every pattern. */
typedef struct {
    ScenePattern pattern;
    double size;         /* of a square, stripe, brick or of the coarsest noise */
    double detail;       /* contrast of the noise, 0..1 */
    float colours[2][3]; /* the pattern's two */
    uint64_t seed;
    double glow; /* 0 lit as all things are; 1 by itself (skies) */
} SceneTexture;

typedef struct {
    SceneShape shape;
    Vec3 at, u, v, w;
    double radius;
    SceneCut cut; /* quads only */
    double cut_size;
    int cut_count;
    SceneTexture texture;
} SceneObject;

enum { SCENE_OBJECTS_MAX = 256 };
typedef struct {
    double focal;       /* focal length in picture widths (0.9: 58 degrees across) */
    double interaxial;  /* between the eyes */
    double convergence; /* distance of the screen plane */
    Vec3 light;         /* towards the light, any length */
    double ambient;     /* 0..1, the share of light that comes from everywhere */
    uint64_t seed;      /* for the cuts' noise */
    int count;
    SceneObject objects[SCENE_OBJECTS_MAX];
} Scene;

/* Adds an object; ERR_INPUT when there is no room or the object has no extent. */
int scene_add(Scene *scene, const SceneObject *object);

/* The disparity in pixels of depth z for a picture `width` pixels wide, and the depth of a disparity. */
double scene_disparity(const Scene *scene, int width, double z);
double scene_depth(const Scene *scene, int width, double disparity);

/* The scene of `panum demo`: a floor that runs through the screen, hills far behind, things behind, on and in front of
 * the screen, slanted, curved, thin and hiding each other. Parallax about -3 % to +2 % of width. */
void scene_demo(Scene *scene, uint64_t seed);

/* A scene drawn by lot, the same for the same seed: a backdrop, hills, floor or wall, and `objects` things (0: 6 to
 * 20), placed so that disparity spans about `behind`..`front` (fractions of width, 0: -0.02 and 0.03 or so, drawn too).
 */
typedef struct {
    uint64_t seed;
    int objects;
    double behind, front; /* behind < 0 < front */
} SceneLot;
int scene_random(Scene *scene, const SceneLot *lot);

typedef struct {
    Image left, right;              /* 8-bit RGB, sRGB */
    Map disparity, disparity_right; /* MAP_DISPARITY of the left and of the right picture */
    Map visible, visible_right; /* MAP_OCCLUSION: 1 seen by both, 0 hidden from the other eye or outside its picture,
                                   NaN no truth */
} SceneViews;

/* Draws both eyes. Equal, bit for bit, for any number of threads. `pool` may be NULL. */
int scene_render(const Scene *scene, int width, int height, Pool *pool, SceneViews *views);
void scene_views_free(SceneViews *views);
/* A visibility map as the mask `eval` reads: 255 seen by both, 128 hidden, 0 no truth. */
int scene_mask(Image *mask, const Map *visible);
#endif
