/* data/synthetic_lot.c - stages drawn by lot.
 *
 * A stage is what a camera may meet: something behind everything, often a ground and walls, things standing on it or
 * flying about, thin things, leaves and fences, cloth, glass and mirrors. The sample is a crop of a larger picture as
 * often as a whole one, so that disparities in pixels and sizes of details vary as they do between a thumbnail and a
 * crop of a cinema frame. */
#include "data/synthetic_lot.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

typedef struct {
    uint64_t seed, n;
    Stage *stage;
    int width, height;
    double picture;           /* width of the camera's whole picture */
    double nearest, farthest; /* disparities, pixels: nearest > farthest */
    double texel;             /* pixels a texel, typical of this stage */
    double least_z;           /* nothing comes nearer than this */
    double plain;             /* share of this stage's surfaces that show next to nothing */
} Lot;

/* Never two draws among the arguments of one call, nor in one initialiser or product: C leaves their order open, and
 * gcc and clang take different ones. Where the last is drawn first below, that is the order in which streams were made
 * before. */
static double draw(Lot *lot, double low, double high) {
    return low + (high - low) * rng_unit(lot->seed, lot->n++);
}
/* Even in its logarithm. */
static double draw_scale(Lot *lot, double low, double high) {
    return exp(draw(lot, log(low), log(high)));
}
static int draw_whole(Lot *lot, int count) {
    return (int)draw(lot, 0, count);
}
static bool draw_chance(Lot *lot, double p) {
    return draw(lot, 0, 1) < p;
}
static uint64_t draw_bits(Lot *lot) {
    return rng_u64(lot->seed, lot->n++);
}

static Vec3 vec(double x, double y, double z) {
    return (Vec3){x, y, z};
}
/* Each part within its bound to either side, times its size. */
static Vec3 draw_vec(Lot *lot, Vec3 bound, Vec3 size) {
    const double z = draw(lot, -bound.z, bound.z), y = draw(lot, -bound.y, bound.y), x = draw(lot, -bound.x, bound.x);
    return vec(x * size.x, y * size.y, z * size.z);
}
static Vec3 sum(Vec3 a, Vec3 b) {
    return vec(a.x + b.x, a.y + b.y, a.z + b.z);
}
static Vec3 times(Vec3 a, double s) {
    return vec(a.x * s, a.y * s, a.z * s);
}

static double depth_of(const Lot *lot, double disparity) {
    double rho = 1 + disparity / lot->stage->span;
    return 1 / fmax(rho, 1e-4);
}

/* Length of a pixel at a depth. */
static double pixel_at(const Lot *lot, double z) {
    return z / lot->stage->focal;
}

/* The point that appears at pixel (x, y) of the sample between the eyes, at depth z. */
static Vec3 place(const Lot *lot, double x, double y, double z) {
    double p = pixel_at(lot, z);
    return vec((x - lot->stage->centre_x) * p, (y - lot->stage->centre_y) * p, z);
}

/* ---- surfaces ---- */

/* A turned, stretched grid of texels, `density` texels per unit of length. */
static void draw_grid(Lot *lot, Coat *coat, double density) {
    double turn = draw_chance(lot, 0.5) ? 1.5708 * draw_whole(lot, 4) : draw(lot, 0, 6.2832);
    /* now and then as long as things that move fast are smeared */
    double stretch = draw_chance(lot, 0.7)   ? 1
                     : draw_chance(lot, 0.9) ? draw_scale(lot, 0.4, 2.5)
                                             : draw_scale(lot, 0.15, 7);
    coat->across[0] = (float)(density * stretch * cos(turn)), coat->across[1] = (float)(density / stretch * sin(turn));
    coat->down[0] = (float)(-density * stretch * sin(turn)), coat->down[1] = (float)(density / stretch * cos(turn));
    coat->origin[0] = (float)draw(lot, 0, TEXTURE_SIDE), coat->origin[1] = (float)draw(lot, 0, TEXTURE_SIDE);
}

/* `density`: texels per unit of length that make a texel one pixel. */
static void draw_coat(Lot *lot, Coat *coat, double density) {
    memset(coat, 0, sizeof *coat);
    coat->texture = draw_bits(lot);
    draw_grid(lot, coat, density / (lot->texel * draw_scale(lot, 0.5, 2)));
    /* contrast, saturation, colour cast and brightness of its own */
    bool plain = draw_chance(lot, lot->plain);
    double contrast = plain ? draw_scale(lot, 0.008, 0.3) : draw(lot, 0.45, 1.1);
    double saturation = draw(lot, 0, 0.8), level = draw(lot, 50, 215);
    /* things differ more from orange to blue than from green to purple */
    double warm = draw(lot, -0.3, 0.3), green = draw(lot, -0.07, 0.07), cast[3] = {warm, green, -warm};
    int turn = draw_whole(lot, 6); /* which of the texture's colours stands for which: all six orders */
    for (int to = 0; to < 3; to++) {
        int own = ((turn < 3 ? to : 2 - to) + turn) % 3;
        double gain = contrast * exp(draw(lot, -0.15, 0.15));
        for (int from = 0; from < 3; from++)
            coat->colour[from][to] = (float)(gain * ((1 - saturation) / 3 + (from == own ? saturation : 0)));
        coat->colour[3][to] = (float)(level * exp(cast[to]) - gain * 120);
    }
    if (draw_chance(lot, 0.3)) {
        coat->shadow = draw_bits(lot), coat->shadow_scale = (float)draw_scale(lot, 0.1, 1);
        coat->shadow_level = (float)draw(lot, 0.3, 0.6), coat->shadow_softness = (float)draw_scale(lot, 0.03, 0.4);
        coat->shadow_depth = (float)draw(lot, 0.3, 0.85);
    }
    if (draw_chance(lot, plain ? 0.15 : 0.45)) {
        coat->detail = draw_bits(lot), coat->detail_scale = (float)draw_scale(lot, 0.7, 5);
        coat->detail_depth = (float)draw_scale(lot, 0.05, 0.45);
    }
    if (draw_chance(lot, 0.15)) coat->gloss = (float)draw(lot, 0.1, 0.9);
    if (draw_chance(lot, 0.06)) coat->mirror = (float)draw(lot, 0.1, 0.6), coat->mirrored = draw_bits(lot);
    coat->glow = draw_chance(lot, 0.2) ? (float)draw(lot, 0.2, 0.9) : 0.05f;
}

static Thing thing(Lot *lot, ThingShape shape, Vec3 at) {
    Thing t = {.shape = shape, .outline = OUTLINE_RECTANGLE, .at = at, .opacity = 1};
    draw_coat(lot, &t.coat, 1 / pixel_at(lot, at.z));
    if (draw_chance(lot, 0.05))
        t.opacity = (float)(draw_chance(lot, 0.5) ? draw(lot, 0.12, 0.42) : draw(lot, 0.55, 0.9));
    return t;
}

/* Axes turned by `roll` in the picture, then by yaw and pitch. */
typedef struct {
    Vec3 u, v, w;
} Axes;

static Axes axes(double roll, double yaw, double pitch) {
    double cr = cos(roll), sr = sin(roll), cy = cos(yaw), sy = sin(yaw), cp = cos(pitch), sp = sin(pitch);
    double flat[3][3] = {{cr, sr, 0}, {-sr, cr, 0}, {0, 0, 1}};
    Vec3 out[3];
    for (int i = 0; i < 3; i++) {
        double py = cp * flat[i][1] - sp * flat[i][2], pz = sp * flat[i][1] + cp * flat[i][2];
        out[i] = vec(cy * flat[i][0] + sy * pz, py, cy * pz - sy * flat[i][0]);
    }
    return (Axes){out[0], out[1], out[2]};
}

static Axes draw_axes(Lot *lot, double slant) {
    double roll = draw_chance(lot, 0.4) ? draw(lot, -0.1, 0.1) : draw(lot, -3.1416, 3.1416);
    const double pitch = draw(lot, -slant, slant), yaw = draw(lot, -slant, slant);
    return axes(roll, yaw, pitch);
}

/* An outline of leaves, blades, holes or clouds. */
static void cut(Lot *lot, Thing *t, double texels_per_edge) {
    t->cut = true, t->mask = draw_bits(lot), t->mask_scale = (float)texels_per_edge;
    t->mask_origin[0] = (float)draw(lot, 0, TEXTURE_SIDE), t->mask_origin[1] = (float)draw(lot, 0, TEXTURE_SIDE);
    t->mask_level = (float)draw(lot, 0.3, 0.6);
}

/* ---- things ---- */

/* Tilts a flat thing less where it would come too near. */
static void keep_off(const Lot *lot, Thing *t) {
    double reach = fabs(t->u.z) + fabs(t->v.z), room = fmax(t->at.z - lot->least_z, 0.02 * t->at.z);
    if (reach > room) t->u.z *= room / reach, t->v.z *= room / reach;
}

static void add_box(Lot *lot, Vec3 at, double a, double b, double c, Axes x) {
    Vec3 half[3] = {times(x.u, a), times(x.v, b), times(x.w, c)};
    Thing face = thing(lot, THING_FLAT, at);
    face.opacity = 1;
    bool alike = draw_chance(lot, 0.6);
    for (int k = 0; k < 6; k++) {
        int n = k % 3;
        face.at = sum(at, times(half[n], k < 3 ? 1 : -1));
        face.u = half[(n + 1) % 3], face.v = half[(n + 2) % 3];
        if (!alike) draw_coat(lot, &face.coat, 1 / pixel_at(lot, at.z));
        stage_add(lot->stage, &face);
    }
}

/* A stroke from one point to another. */
static void add_rod(Lot *lot, Vec3 from, Vec3 to, double radius, const Coat *coat) {
    Vec3 half = times(vec(to.x - from.x, to.y - from.y, to.z - from.z), 0.5);
    double size = sqrt(half.x * half.x + half.y * half.y + half.z * half.z);
    if (!(size > 0)) return;
    Vec3 along = times(half, 1 / size), side = fabs(along.z) < 0.9 ? vec(0, 0, 1) : vec(1, 0, 0);
    double d = side.x * along.x + side.y * along.y + side.z * along.z;
    side = sum(side, times(along, -d));
    side = times(side, radius / sqrt(side.x * side.x + side.y * side.y + side.z * side.z));
    Vec3 other = vec(along.y * side.z - along.z * side.y, along.z * side.x - along.x * side.z,
                     along.x * side.y - along.y * side.x);
    Thing t = {.shape = THING_TUBE,
               .at = times(sum(from, to), 0.5),
               .u = side,
               .v = other,
               .w = half,
               .coat = *coat,
               .opacity = 1};
    stage_add(lot->stage, &t);
}

/* Boughs that fork, with or without leaves. */
static void add_branch(Lot *lot, Vec3 from, Vec3 way, double radius, int forks, const Coat *coat) {
    Vec3 to = sum(from, way);
    if (to.z < lot->least_z) return;
    add_rod(lot, from, to, radius, coat);
    if (!forks) return;
    double size = sqrt(way.x * way.x + way.y * way.y + way.z * way.z);
    for (int i = 0, n = 2 + draw_whole(lot, 2); i < n; i++) {
        Vec3 turn = draw_vec(lot, vec(1, 1, 0.5), vec(size, size, size));
        double shorter = draw(lot, 0.4, 0.75), at = draw(lot, 0.5, 1);
        add_branch(lot, sum(from, times(way, at)), times(sum(way, turn), shorter), radius * 0.65, forks - 1, coat);
    }
}

static void add_leaves(Lot *lot, Vec3 at, double reach, int layers) {
    Coat coat;
    draw_coat(lot, &coat, 1 / pixel_at(lot, at.z));
    uint64_t mask = draw_bits(lot);
    for (int i = 0; i < layers; i++) {
        Vec3 here = sum(at, draw_vec(lot, vec(0.6, 0.6, 0.5), vec(reach, reach, fmin(reach, at.z * 0.3))));
        Thing t = {.shape = THING_FLAT, .outline = OUTLINE_ELLIPSE, .at = here, .coat = coat, .opacity = 1};
        Axes x = draw_axes(lot, 0.7);
        double size = reach * draw(lot, 0.5, 1);
        t.u = times(x.u, size), t.v = times(x.v, size);
        keep_off(lot, &t);
        cut(lot, &t, size / pixel_at(lot, at.z) / draw_scale(lot, 0.5, 2));
        t.mask = mask;
        for (int k = 0; k < 3; k++) t.coat.colour[3][k] += (float)draw(lot, -25, 25);
        stage_add(lot->stage, &t);
    }
}

/* Rods side by side: fences, railings, blinds, cages, organ pipes. */
static void add_fence(Lot *lot, Vec3 at, double pixel) {
    Coat coat;
    draw_coat(lot, &coat, 1 / pixel);
    int count = 4 + draw_whole(lot, 16);
    double pitch = pixel * draw_scale(lot, 4, 30), radius = pitch * draw(lot, 0.05, 0.3);
    double tilt = draw(lot, -0.2, 0.2), turn = draw(lot, -1, 1);
    Axes x = axes(draw_chance(lot, 0.7) ? 0 : draw(lot, -1.6, 1.6), turn, tilt);
    Vec3 up = times(x.v, pitch * draw_scale(lot, 2, 12)), step = times(x.u, pitch);
    for (int i = 0; i < count; i++) {
        Vec3 foot = sum(at, times(step, i - 0.5 * count));
        if (foot.z - fabs(up.z) < lot->least_z) continue;
        add_rod(lot, sum(foot, times(up, -1)), sum(foot, up), radius, &coat);
    }
    Vec3 end = times(step, 0.5 * count);
    if (at.z - fabs(end.z) > lot->least_z && draw_chance(lot, 0.6))
        for (int k = -1; k <= 1; k += 2)
            add_rod(lot, sum(sum(at, times(end, -1)), times(up, 0.9 * k)), sum(sum(at, end), times(up, 0.9 * k)),
                    radius, &coat);
}

static void add_sheet(Lot *lot, double x, double y, double half_width, double half_height, double disparity,
                      double relief, Outline outline) {
    Thing t = {.shape = THING_SHEET, .outline = outline, .opacity = 1};
    draw_coat(lot, &t.coat, 1);
    Sheet *s = &t.sheet;
    double span = lot->stage->span;
    s->x = (float)(x - lot->stage->centre_x), s->y = (float)(y - lot->stage->centre_y);
    s->half_width = (float)half_width, s->half_height = (float)half_height;
    s->rho = (float)(1 + disparity / span);
    /* the disparity changes by less than half a pixel a pixel in all, so that rows neither fold nor tear */
    double steepest = 0.45, slope = draw_chance(lot, 0.5) ? draw(lot, -0.15, 0.15) : 0;
    s->slope_x = (float)(slope / span), s->slope_y = (float)(draw_chance(lot, 0.5) ? draw(lot, -0.3, 0.3) / span : 0);
    steepest -= fabs(slope);
    for (int k = 0; k < SHEET_WAVES; k++) {
        double turn = draw(lot, 0, 3.1416),
               waves = draw_scale(lot, 0.4, 4) * (1 << k) / 2 / fmax(half_width, half_height);
        s->wave[k][0] = (float)(0.5 * waves * cos(turn)), s->wave[k][1] = (float)(0.5 * waves * sin(turn));
        s->wave[k][2] = (float)draw(lot, 0, 1);
        double amplitude = relief * draw(lot, 0.2, 1) / (1 << k);
        double most = 0.2 * steepest / (8 * fabs((double)s->wave[k][0]) + 1e-6);
        s->wave[k][3] = (float)(fmin(amplitude, most) / span);
    }
    stage_add(lot->stage, &t);
}

static double draw_disparity(Lot *lot) {
    return draw(lot, lot->farthest, lot->nearest);
}

/* Anything, anywhere in the sample. */
static void add_something(Lot *lot, bool large) {
    double disparity = draw_disparity(lot), z = depth_of(lot, disparity), pixel = pixel_at(lot, z);
    double x = draw(lot, -0.1, 1.1) * lot->width, y = draw(lot, -0.1, 1.1) * lot->height;
    Vec3 at = place(lot, x, y, z);
    double size =
        pixel * fmin(lot->picture * draw_scale(lot, 0.015, large ? 0.4 : 0.16), (large ? 0.8 : 0.4) * lot->width);
    double aspect = draw_scale(lot, 0.4, 2.5), kind = draw(lot, 0, large ? 0.7 : 1);
    /* solids must not come nearer than the nearest */
    double deep = fmin(size, fmax(z - lot->least_z, 0.02 * z));
    double slant = draw_chance(lot, 0.5) ? 0.25 : 1.1;
    Axes turn = draw_axes(lot, slant);
    if (kind < 0.24) {
        Thing t = thing(lot, THING_FLAT, at);
        t.u = times(turn.u, size * aspect), t.v = times(turn.v, size / aspect);
        keep_off(lot, &t);
        t.outline = draw_chance(lot, 0.35) ? OUTLINE_ELLIPSE : OUTLINE_RECTANGLE;
        if (draw_chance(lot, 0.4)) cut(lot, &t, draw_scale(lot, 20, 120));
        stage_add(lot->stage, &t);
    } else if (kind < 0.42) {
        Thing t = thing(lot, THING_BALL, at);
        t.u = times(turn.u, deep * aspect * 0.8), t.v = times(turn.v, deep / aspect * 0.8);
        t.w = times(turn.w, deep * draw(lot, 0.3, 1));
        stage_add(lot->stage, &t);
    } else if (kind < 0.56) {
        add_box(lot, at, deep * aspect * 0.7, deep / aspect * 0.7, deep * draw(lot, 0.2, 0.9), turn);
    } else if (kind < 0.66) {
        Thing t = thing(lot, draw_chance(lot, 0.7) ? THING_TUBE : THING_CONE, at);
        double radius = deep * draw_scale(lot, 0.15, 0.8);
        t.u = times(turn.u, radius), t.v = times(turn.w, radius * draw(lot, 0.4, 1)), t.w = times(turn.v, deep);
        t.low = (float)draw(lot, 0.02, 0.6);
        stage_add(lot->stage, &t);
    } else if (kind < 0.78) { /* thin: from a third of a pixel on */
        Coat coat;
        draw_coat(lot, &coat, 1 / pixel);
        int count = draw_chance(lot, 0.4) ? 1 + draw_whole(lot, 6) : 1;
        double reach = fmin(2 * size, 3 * fmax(z - lot->least_z, 0.02 * z));
        for (int i = 0; i < count; i++) {
            Vec3 way = draw_vec(lot, vec(1, 1, 0.3), vec(reach, reach, reach));
            double aside = draw(lot, -1, 1), along = draw(lot, -1, 1);
            Vec3 from = sum(at, vec(along * size, aside * size, 0));
            add_rod(lot, sum(from, times(way, -1)), sum(from, way), pixel * draw_scale(lot, 0.35, 4), &coat);
        }
    } else if (kind < 0.83) {
        add_fence(lot, at, pixel);
    } else if (kind < 0.88) {
        Coat coat;
        draw_coat(lot, &coat, 1 / pixel);
        double reach = fmin(size, z / 4);
        int forks = 1 + draw_whole(lot, 3);
        double lean = draw(lot, -0.3, 0.3);
        add_branch(lot, at, vec(lean * reach, -reach, 0), fmax(reach * 0.06, pixel * 0.5), forks, &coat);
        if (draw_chance(lot, 0.5)) add_leaves(lot, sum(at, vec(0, -reach, 0)), reach, 2 + draw_whole(lot, 4));
    } else if (kind < 0.93) {
        add_leaves(lot, at, fmin(size, z / 4), 1 + draw_whole(lot, 5));
    } else {
        double px = size / pixel;
        Outline outline = draw_chance(lot, 0.5) ? OUTLINE_ELLIPSE : OUTLINE_RECTANGLE;
        add_sheet(lot, x, y, px * aspect, px / aspect, disparity, draw_scale(lot, 0.5, 12), outline);
    }
}

/* ---- stages ---- */

/* An endless plane whose disparity runs from `low` to `high` over the sample, growing by shares of `across` to the
 * right and `down` downwards. */
static void add_wall(Lot *lot, double low, double high, double across, double down) {
    const Stage *stage = lot->stage;
    double steep = fabs(across) + fabs(down), range = steep > 0 ? (high - low) / steep : 0;
    double gx = range * across / lot->width / stage->span, gy = range * down / lot->height / stage->span;
    double middle = 1 + (steep > 0 ? (low + high) / 2 : low) / stage->span;
    /* rho = r + gx t + gy s is the plane of normal n with n . p = 1 */
    double r = middle - gx * (lot->width / 2.0 - stage->centre_x) - gy * (lot->height / 2.0 - stage->centre_y);
    Vec3 n = vec(gx * stage->focal, gy * stage->focal, r);
    double nn = n.x * n.x + n.y * n.y + n.z * n.z;
    Vec3 side = fabs(n.y) * fabs(n.y) < 0.8 * nn ? vec(n.z, 0, -n.x) : vec(0, n.z, -n.y);
    double size = sqrt(side.x * side.x + side.y * side.y + side.z * side.z);
    side = times(side, 1 / size);
    Vec3 other = vec(n.y * side.z - n.z * side.y, n.z * side.x - n.x * side.z, n.x * side.y - n.y * side.x);
    Thing wall = thing(lot, THING_FLAT, times(n, 1 / nn));
    draw_coat(lot, &wall.coat, stage->focal * middle);
    wall.outline = OUTLINE_NONE, wall.opacity = 1, wall.u = side, wall.v = times(other, 1 / sqrt(nn));
    stage_add(lot->stage, &wall);
}

/* Behind everything: a wall, slanted or not, or a bent sheet; and a plane behind it where it ends. */
static void add_backdrop(Lot *lot) {
    double last_rho = fmax(1 + 1.1 * (lot->farthest - 1) / lot->stage->span, 0.004);
    Thing last = thing(lot, THING_FLAT, vec(0, 0, 1 / last_rho));
    last.outline = OUTLINE_NONE, last.u = vec(1, 0, 0), last.v = vec(0, 1, 0), last.opacity = 1;
    last.coat.glow = 0.8f, last.coat.mirror = 0;
    stage_add(lot->stage, &last);
    double kind = draw(lot, 0, 1);
    if (kind < 0.25) {
        add_sheet(lot, lot->width / 2.0, lot->height / 2.0, lot->width, lot->height,
                  lot->farthest + 0.15 * (lot->nearest - lot->farthest),
                  draw(lot, 0.05, 0.4) * (lot->nearest - lot->farthest), OUTLINE_NONE);
    } else if (kind < 0.8) {
        double turn = draw_chance(lot, 0.5) ? draw(lot, -1, 1) : 0, tilt = draw_chance(lot, 0.3) ? draw(lot, -1, 1) : 0;
        add_wall(lot, lot->farthest, lot->farthest + draw(lot, 0, 0.9) * (lot->nearest - lot->farthest), turn, tilt);
    }
    for (int i = draw_chance(lot, 0.4) ? 1 + draw_whole(lot, 3) : 0; i > 0; i--) { /* hills, hedges, skylines */
        double far_z = depth_of(lot, lot->farthest + draw(lot, 0.03, 0.4) * (lot->nearest - lot->farthest));
        double pixel = pixel_at(lot, far_z);
        Thing ridge = thing(lot, THING_FLAT, place(lot, lot->width / 2.0, lot->height * draw(lot, 0.6, 1.3), far_z));
        ridge.u = vec(lot->width * pixel * 1.5, 0, 0), ridge.v = vec(0, lot->height * pixel * draw(lot, 0.3, 0.9), 0);
        ridge.opacity = 1;
        cut(lot, &ridge, draw_scale(lot, 30, 200));
        ridge.mask_level = (float)draw(lot, 0.15, 0.4);
        stage_add(lot->stage, &ridge);
    }
}

/* A ground or a ceiling from near the viewer towards the horizon, or a wall along the side. */
static void add_ground(Lot *lot) {
    double range = lot->nearest - lot->farthest, high = lot->farthest + range * draw(lot, 0.4, 1);
    double low = lot->farthest - range * draw(lot, 0, 1); /* part of it lies behind the backdrop */
    low = fmax(low, -0.98 * lot->stage->span);
    bool upright = draw_chance(lot, 0.25), other = draw_chance(lot, upright ? 0.5 : 0.12);
    double main = other ? -1 : 1, aslant = draw_chance(lot, 0.4) ? draw(lot, -0.3, 0.3) : 0;
    add_wall(lot, low, high, upright ? main : aslant, upright ? aslant : main);
}

/* What the pair's disparities span, in shares of the camera's picture. */
static void draw_range(Lot *lot, double limit) {
    double kind = draw(lot, 0, 1), far, near;
    if (kind < 0.4) { /* as films are: some behind the screen, some before it */
        far = -draw_scale(lot, 0.002, 0.04);
        near = draw_chance(lot, 0.2) ? draw(lot, 0, 0.01) : draw_scale(lot, 0.005, 0.06);
    } else if (kind < 0.8) { /* as wide as rigs for measuring are, the screen anywhere in it */
        double range = draw_scale(lot, 0.03, 0.22), below = draw(lot, 0, 0.85);
        far = -range * below, near = range * (1 - below);
    } else { /* all behind or all before the screen */
        double range = draw_scale(lot, 0.01, 0.12), shift = draw_scale(lot, 0.002, 0.06);
        bool before = draw_chance(lot, 0.65);
        far = before ? shift : -shift - range, near = far + range;
    }
    lot->farthest = fmax(far * lot->picture, -limit), lot->nearest = fmin(near * lot->picture, limit);
    if (lot->nearest - lot->farthest < 2)
        lot->nearest = fmin(lot->farthest + 2, limit), lot->farthest = lot->nearest - 2;
}

void stage_lot(Stage *stage, TextureBank *bank, int width, int height, double limit, uint64_t seed) {
    Lot lot = {.seed = rng_u64(0x7374616765, seed), .stage = stage, .width = width, .height = height};
    memset(stage, 0, offsetof(Stage, things));
    stage->bank = bank;
    lot.picture = width * (draw_chance(&lot, 0.35) ? 1 : draw_scale(&lot, 1, 3.2));
    double rows = fmax(lot.picture * draw(&lot, 0.45, 0.8), height);
    stage->centre_x = lot.picture / 2 - draw(&lot, 0, lot.picture - width);
    stage->centre_y = rows / 2 - draw(&lot, 0, rows - height);
    stage->focal = lot.picture * draw_scale(&lot, 0.6, 2);
    draw_range(&lot, limit);
    /* infinity lies behind the farthest; the nearer the two, the deeper the space between far and near */
    double range = lot.nearest - lot.farthest;
    stage->span = fmax(-lot.farthest, 0) + range * draw_scale(&lot, 0.08, 2);
    const double ahead = draw(&lot, -1, -0.2), down = draw(&lot, -1.2, 0.2);
    stage->light = vec(draw(&lot, -1, 1), down, ahead);
    stage->ambient = (float)draw(&lot, 0.25, 0.8);
    if (draw_chance(&lot, 0.2)) {
        stage->fog = (float)draw(&lot, 0.1, 0.9);
        for (int k = 0; k < 3; k++) stage->fog_colour[k] = (float)draw(&lot, 90, 220);
    }
    lot.texel = draw_scale(&lot, 0.4, 2.5);
    /* rooms with painted walls have whole regions that only their borders tell about */
    lot.plain = draw_chance(&lot, 0.5) ? 0.12 : draw(&lot, 0.2, 0.75);
    lot.least_z = depth_of(&lot, fmin(limit, lot.nearest + 0.3 * range));

    add_backdrop(&lot);
    if (draw_chance(&lot, 0.6)) add_ground(&lot);
    if (draw_chance(&lot, 0.2)) add_ground(&lot);
    int things = draw_chance(&lot, 0.07) ? draw_whole(&lot, 3) : 3 + (int)draw_scale(&lot, 3, 35);
    for (int i = 0; i < things && stage->count < STAGE_THINGS_MAX - 64; i++)
        add_something(&lot, draw_chance(&lot, 0.12));
}
