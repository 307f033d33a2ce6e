/* data/scene_make.c - which scenes there are: the one of the demonstration, and any number drawn by lot. */
#include "base/rng.h"
#include "data/scene.h"

#include <math.h>
#include <string.h>

/* ---- the demonstration ---- */

/* A room of the outdoors, in metres, filmed as a camera would: 58 degrees across, eyes 65 mm apart, converged at 3 m.
 * With f b = 0.0585 widths*m, things at 1.2 m have parallax -2.9 % of width, infinity +1.95 %. */
void scene_demo(Scene *scene, uint64_t seed) {
    memset(scene, 0, sizeof *scene);
    scene->focal = 0.9, scene->interaxial = 0.065, scene->convergence = 3;
    scene->light = (Vec3){-0.45, -0.8, -0.55}, scene->ambient = 0.45;
    uint64_t s = seed * 1000;
    const SceneObject objects[] = {
        /* the sky: far, and no plainer than skies are */
        {SCENE_PLANE, .at = {0, 0, 80}, .u = {1, 0, 0}, .v = {0, 1, 0},
         .texture = {SCENE_NOISE, 40, 0.10, {{0.30f, 0.50f, 0.80f}, {0.85f, 0.88f, 0.92f}}, s + 1, 1}},
        {SCENE_QUAD, .at = {0, 0, 40}, .u = {34, 0, 0}, .v = {0, 5, 0}, .cut = SCENE_RIDGE, .cut_size = 1.5,
         .texture = {SCENE_NOISE, 3, 0.5, {{0.12f, 0.20f, 0.24f}, {0.22f, 0.33f, 0.36f}}, s + 2, 0.4}},
        {SCENE_QUAD, .at = {0, 0.2, 16}, .u = {14, 0, 0}, .v = {0, 2.1, 0}, .cut = SCENE_RIDGE, .cut_size = 1.4,
         .texture = {SCENE_NOISE, 1.2, 0.7, {{0.05f, 0.14f, 0.04f}, {0.18f, 0.30f, 0.08f}}, s + 3, 0.2}},
        /* the floor: from in front of the screen to the horizon */
        {SCENE_PLANE, .at = {0, 0.75, 0}, .u = {1, 0, 0}, .v = {0, 0, 1},
         .texture = {SCENE_CHECKER, 0.55, 0.45, {{0.42f, 0.36f, 0.28f}, {0.26f, 0.21f, 0.16f}}, s + 4, 0}},
        /* a wall of bricks, slanted: its left edge before the screen, its right edge behind it */
        {SCENE_QUAD, .at = {-1.02, 0.15, 3.1}, .u = {0.28, 0, 1.15}, .v = {0, 0.6, 0},
         .texture = {SCENE_BRICKS, 0.36, 0.4, {{0.40f, 0.13f, 0.08f}, {0.55f, 0.50f, 0.45f}}, s + 5, 0}},
        /* behind: a fence (thin things in a row) and an egg */
        {SCENE_QUAD, .at = {1.5, 0.28, 5.5}, .u = {1.5, 0, 0.6}, .v = {0, 0.47, 0}, .cut = SCENE_LATTICE,
         .cut_size = 0.16, .cut_count = 9,
         .texture = {SCENE_NOISE, 0.3, 0.4, {{0.50f, 0.42f, 0.30f}, {0.62f, 0.55f, 0.42f}}, s + 6, 0.2}},
        {SCENE_ELLIPSOID, .at = {-0.05, 0.28, 5.2}, .u = {0.62, 0, 0.1}, .v = {0, 0.5, 0}, .w = {-0.08, 0, 0.496},
         .texture = {SCENE_STRIPES, 0.16, 0.4, {{0.10f, 0.20f, 0.45f}, {0.55f, 0.60f, 0.65f}}, s + 7, 0}},
        /* on the screen: a frame */
        {SCENE_QUAD, .at = {0.25, -0.55, 3}, .u = {0.42, 0.06, 0}, .v = {-0.04, 0.3, 0.02}, .cut = SCENE_FRAME,
         .cut_size = 0.22,
         .texture = {SCENE_NOISE, 0.15, 0.5, {{0.50f, 0.36f, 0.06f}, {0.70f, 0.56f, 0.20f}}, s + 8, 0.2}},
        /* in front: a ball, a leaf-like disc, rods down to three pixels at 640 across, one of them through the ball's
           edge */
        {SCENE_ELLIPSOID, .at = {0.42, 0.2, 1.55}, .u = {0.26, 0, 0}, .v = {0, 0.26, 0}, .w = {0, 0, 0.26},
         .texture = {SCENE_NOISE, 0.16, 0.45, {{0.62f, 0.10f, 0.06f}, {0.75f, 0.42f, 0.10f}}, s + 9, 0}},
        {SCENE_QUAD, .at = {-0.42, -0.34, 1.45}, .u = {0.17, 0.05, 0.05}, .v = {-0.05, 0.15, 0.06}, .cut = SCENE_DISC,
         .texture = {SCENE_NOISE, 0.07, 0.6, {{0.16f, 0.38f, 0.08f}, {0.42f, 0.55f, 0.14f}}, s + 10, 0.1}},
        {SCENE_ROD, .at = {-0.3, 0.3, 1.75}, .u = {0.02, 0.5, 0.05}, .radius = 0.014,
         .texture = {SCENE_STRIPES, 0.06, 0.3, {{0.62f, 0.60f, 0.55f}, {0.10f, 0.10f, 0.12f}}, s + 11, 0}},
        {SCENE_ROD, .at = {0.55, -0.05, 1.25}, .u = {0.1, 0.42, -0.02}, .radius = 0.0035,
         .texture = {SCENE_NOISE, 0.05, 0.4, {{0.72f, 0.70f, 0.60f}, {0.40f, 0.38f, 0.30f}}, s + 12, 0.3}},
        {SCENE_ROD, .at = {0.85, 0.05, 2.3}, .u = {-0.05, 0.7, 0.1}, .radius = 0.01,
         .texture = {SCENE_NOISE, 0.08, 0.4, {{0.10f, 0.30f, 0.32f}, {0.30f, 0.52f, 0.50f}}, s + 13, 0.2}},
    };
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
        BUG_IF(scene_add(scene, &objects[i]), "demo object %d: %s", (int)i, err_sentence());
}

/* ---- by lot ---- */

typedef struct {
    uint64_t seed, n;
} Lot;

/* Never two draws in one initialiser or product, nor among the arguments of one call: C leaves their order open. */
static double draw(Lot *lot, double low, double high) {
    return low + (high - low) * rng_unit(lot->seed, lot->n++);
}
static int draw_whole(Lot *lot, int count) {
    return (int)draw(lot, 0, count);
}
static bool draw_chance(Lot *lot, double p) {
    return draw(lot, 0, 1) < p;
}

static SceneTexture draw_texture(Lot *lot, double size) {
    SceneTexture t = {.pattern = draw_chance(lot, 0.55) ? SCENE_NOISE : (ScenePattern)draw_whole(lot, SCENE_PATTERNS)};
    t.size = size * exp(draw(lot, -1.6, 0.3));
    t.detail = draw_chance(lot, 0.15) ? draw(lot, 0.02, 0.1) : draw(lot, 0.2, 0.8); /* some walls are nearly plain */
    double brightness = exp(draw(lot, -2.2, -0.4));
    for (int k = 0; k < 2; k++)
        for (int c = 0; c < 3; c++) {
            double v = brightness * exp(draw(lot, -0.6, 0.6)) * (k ? 1.6 : 1);
            t.colours[k][c] = (float)(v > 0.9 ? 0.9 : v);
        }
    t.seed = rng_u64(lot->seed, lot->n++);
    t.glow = draw_chance(lot, 0.2) ? 0.5 : 0.05;
    return t;
}

/* Two perpendicular vectors of lengths a and b, facing the viewer but for a slant of up to `slant` radians, and a
 * third. */
static void draw_axes(Lot *lot, double a, double b, double c, double slant, Vec3 *u, Vec3 *v, Vec3 *w) {
    double roll = draw(lot, -3.1416, 3.1416), yaw = draw(lot, -slant, slant), pitch = draw(lot, -slant, slant);
    double cr = cos(roll), sr = sin(roll), cy = cos(yaw), sy = sin(yaw), cp = cos(pitch), sp = sin(pitch);
    /* rows of Ry(yaw) Rx(pitch) applied to the rolled x, y and z axes */
    double x[3][3] = {{cr, sr, 0}, {-sr, cr, 0}, {0, 0, 1}}, size[3] = {a, b, c};
    Vec3 *out[3] = {u, v, w};
    for (int i = 0; i < 3; i++) {
        double py = cp * x[i][1] - sp * x[i][2], pz = sp * x[i][1] + cp * x[i][2];
        *out[i] = (Vec3){size[i] * (cy * x[i][0] + sy * pz), size[i] * py, size[i] * (cy * pz - sy * x[i][0])};
    }
}

/* A thing whose centre has disparity d (fraction of width), anywhere in a picture, 4 to 40 % of it wide. */
static SceneObject draw_thing(Lot *lot, const Scene *scene, double d) {
    SceneObject o = {0};
    double z = scene_depth(scene, 1, d), reach = z / scene->focal; /* the picture's width at that depth */
    double size = reach * 0.02 * exp(draw(lot, 0, 2.3));
    const double x = draw(lot, -0.5, 0.5) * reach, y = draw(lot, -0.4, 0.4) * reach;
    o.at = (Vec3){x, y, z};
    o.texture = draw_texture(lot, 2 * size);
    double kind = draw(lot, 0, 1), aspect = exp(draw(lot, -0.7, 0.7));
    /* solids must not swallow the eyes: their depth is bounded by a third of the distance */
    double deep = fmin(size, z / 3);
    if (kind < 0.35) {
        o.shape = SCENE_QUAD;
        draw_axes(lot, fmin(size * aspect, z / 2), fmin(size / aspect, z / 2), 1, draw_chance(lot, 0.5) ? 1.1 : 0.3,
                  &o.u, &o.v, &o.w);
        static const SceneCut cuts[] = {SCENE_WHOLE, SCENE_WHOLE, SCENE_DISC, SCENE_FRAME, SCENE_LATTICE};
        o.cut = cuts[draw_whole(lot, 5)];
        o.cut_size = o.cut == SCENE_LATTICE ? draw(lot, 0.12, 0.5) : draw(lot, 0.1, 0.5);
        o.cut_count = 2 + draw_whole(lot, 8);
    } else if (kind < 0.65) {
        o.shape = SCENE_ELLIPSOID;
        draw_axes(lot, deep * aspect * 0.8, deep / aspect * 0.8, deep * draw(lot, 0.4, 1), 1, &o.u, &o.v, &o.w);
    } else { /* rods, from a fifth of a percent of the width on */
        o.shape = SCENE_ROD;
        o.radius = reach * 0.001 * exp(draw(lot, 0, 2.5));
        draw_axes(lot, fmin(reach * draw(lot, 0.05, 0.5), z / 2), 1, 1, 0.5, &o.u, &o.v, &o.w);
    }
    return o;
}

int scene_random(Scene *scene, const SceneLot *options) {
    Lot lot = {rng_u64(0x7363656e65, options->seed), 0};
    memset(scene, 0, sizeof *scene);
    double behind = options->behind ? options->behind : -draw(&lot, 0.005, 0.03);
    double front = options->front ? options->front : draw(&lot, 0.005, 0.04);
    if (!(behind < 0) || !(front > 0) || behind < -1 || front > 1)
        return fail(ERR_INPUT, "a scene's disparity spans %g to %g of width; it must be below 0 to above 0", behind,
                    front);
    int things = options->objects ? options->objects : 6 + draw_whole(&lot, 15);
    scene->convergence = 1; /* the unit: nothing depends on how large it is */
    scene->focal = draw(&lot, 0.7, 1.4);
    scene->interaxial = -behind / scene->focal; /* infinity lies at `behind` */
    scene->light.x = draw(&lot, -1, 1), scene->light.y = draw(&lot, -1.2, -0.2), scene->light.z = draw(&lot, -1, -0.2);
    scene->ambient = draw(&lot, 0.3, 0.7);

    double far = scene_depth(scene, 1, behind * draw(&lot, 0.5, 0.97)), reach = far / scene->focal;
    SceneObject back = {SCENE_PLANE, .at = {0, 0, far}};
    back.texture = draw_texture(&lot, reach * 0.5);
    /* a backdrop may be slanted by up to half a radian, a wall seen from the side */
    double turn = draw_chance(&lot, 0.4) ? draw(&lot, -0.5, 0.5) : 0;
    back.u = (Vec3){cos(turn), 0, sin(turn)}, back.v = (Vec3){0, 1, 0};
    if (scene_add(scene, &back)) return err_code();
    /* and one far behind it, for where the slant runs away to infinity */
    SceneObject last = {SCENE_PLANE, .at = {0, 0, far * 40}, .u = {1, 0, 0}, .v = {0, 1, 0}};
    last.texture = draw_texture(&lot, reach * 20);
    if (scene_add(scene, &last)) return err_code();

    for (int i = draw_whole(&lot, 3); i > 0; i--) { /* layers of hills or hedges */
        double z = scene_depth(scene, 1, behind * draw(&lot, 0.1, 0.8)), across = z / scene->focal;
        SceneObject ridge = {SCENE_QUAD, .u = {across, 0, 0}, .v = {0, 0.35 * across, 0}, .cut = SCENE_RIDGE};
        ridge.at.x = draw(&lot, -0.3, 0.3) * across, ridge.at.y = draw(&lot, 0.1, 0.4) * across, ridge.at.z = z;
        ridge.cut_size = draw(&lot, 0.3, 1.6);
        ridge.texture = draw_texture(&lot, across * 0.2);
        if (scene_add(scene, &ridge)) return err_code();
    }
    if (draw_chance(&lot, 0.6)) { /* a floor, or now and then a ceiling */
        double y = draw(&lot, 0.15, 0.4);
        if (!draw_chance(&lot, 0.85)) y = -y;
        SceneObject floor_plane = {SCENE_PLANE, .at = {0, y, 0}, .u = {1, 0, 0}, .v = {0, 0, 1}};
        floor_plane.texture = draw_texture(&lot, 0.3);
        if (scene_add(scene, &floor_plane)) return err_code();
    }
    for (int i = 0; i < things; i++) { /* uniform in disparity, so near and far get equal shares */
        SceneObject o = draw_thing(&lot, scene, draw(&lot, 0.85 * behind, front));
        if (scene_add(scene, &o)) return err_code();
    }
    return 0;
}
