#include "data/scene.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/srgb.h"

#include <math.h>
#include <string.h>

/* ---- vectors ---- */

static Vec3 plus(Vec3 a, Vec3 b) {
    return (Vec3){a.x + b.x, a.y + b.y, a.z + b.z};
}
static Vec3 minus(Vec3 a, Vec3 b) {
    return (Vec3){a.x - b.x, a.y - b.y, a.z - b.z};
}
static Vec3 scaled(Vec3 a, double s) {
    return (Vec3){a.x * s, a.y * s, a.z * s};
}
static double dot(Vec3 a, Vec3 b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
static Vec3 cross(Vec3 a, Vec3 b) {
    return (Vec3){a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
static double length(Vec3 a) {
    return sqrt(dot(a, a));
}

/* ---- noise ---- */

/* A value in -1..1 for a lattice point; 21 bits of each coordinate count. */
static double lattice(uint64_t seed, int64_t x, int64_t y, int64_t z) {
    const uint64_t mask = (1u << 21) - 1;
    return rng_signed(seed, ((uint64_t)x & mask) | ((uint64_t)y & mask) << 21 | ((uint64_t)z & mask) << 42);
}

static double smooth(double t) {
    return t * t * (3 - 2 * t);
}
static double mix(double a, double b, double t) {
    return a + (b - a) * t;
}

/* floor for what fits an int64_t; one conversion instead of a call on machines without a rounding instruction */
static int64_t whole(double x) {
    int64_t i = (int64_t)x;
    return i - (x < (double)i);
}

static double noise2(uint64_t seed, double x, double y) {
    int64_t i = whole(x), j = whole(y);
    double u = smooth(x - (double)i), v = smooth(y - (double)j);
    double top = mix(lattice(seed, i, j, 0), lattice(seed, i + 1, j, 0), u);
    double bottom = mix(lattice(seed, i, j + 1, 0), lattice(seed, i + 1, j + 1, 0), u);
    return mix(top, bottom, v);
}

static double noise3(uint64_t seed, Vec3 p) {
    int64_t i = whole(p.x), j = whole(p.y), k = whole(p.z);
    double u = smooth(p.x - (double)i), v = smooth(p.y - (double)j), w = smooth(p.z - (double)k);
    double layer[2];
    for (int s = 0; s < 2; s++) {
        double top = mix(lattice(seed, i, j, k + s), lattice(seed, i + 1, j, k + s), u);
        double bottom = mix(lattice(seed, i, j + 1, k + s), lattice(seed, i + 1, j + 1, k + s), u);
        layer[s] = mix(top, bottom, v);
    }
    return mix(layer[0], layer[1], w);
}

/* Octaves from wavelength `size` down to two footprints; each is faded in between two and four footprints, so nothing
 * finer than a pixel's grid can hold is ever drawn. Scaled to a standard deviation of about 0.45. */
static double octaves(uint64_t seed, bool solid, Vec3 p, double size, double footprint) {
    double sum = 0, power = 0, amplitude = 1;
    for (int k = 0; k < 12 && size > 2 * footprint; k++, size *= 0.5, amplitude *= 0.8) {
        double fade = (size / footprint - 2) * 0.5;
        double a = fade < 1 ? amplitude * fade : amplitude;
        Vec3 q = scaled(p, 1 / size);
        sum += a * (solid ? noise3(seed + (uint64_t)k * 77, q) : noise2(seed + (uint64_t)k * 77, q.x, q.y));
        power += amplitude * amplitude;
    }
    return power > 0 ? sum / sqrt(power) : 0;
}

/* ---- shapes ---- */

/* An object made ready: coordinates of a point p on it are dot(u_dual, p - at) and so on. */
typedef struct {
    SceneObject o;
    Vec3 normal; /* of flat shapes, not of unit length */
    Vec3 u_dual, v_dual, w_dual;
    double u_length, v_length;
    double nearest;   /* no point of it has a smaller z */
    double box[2][4]; /* left, top, right, bottom in pixels, for the left and the right eye */
} Solid;

typedef struct {
    double z;    /* also the ray's parameter: rays have direction (x, y, 1) */
    int solid;   /* -1: nothing */
    double a, b; /* flat shapes: coordinates along u and v */
} Hit;

typedef struct {
    const Scene *scene;
    int width, height, count;
    double focal_px, screen_shift; /* f in pixels; f b / (2 convergence) */
    double eye_x[2];
    Vec3 light;
    Solid solids[SCENE_OBJECTS_MAX]; /* nearest first */
    uint8_t encoded[4097];           /* linear light in 1/4096 to sRGB */
    SceneViews *views;
    int tiles_across, tiles_down;
} Render;

enum { TILE = 16 };
/* Nearer is behind the eyes; farther is nowhere: planes seen edge-on would be met beyond what numbers can hold. */
static const double z_least = 1e-6, z_most = 1e12;

/* noise along a line, for ridges; -1..1 */
static double rough_line(uint64_t seed, double at) {
    return 0.6 * noise2(seed, at * 2.5, 0.5) + 0.3 * noise2(seed + 1, at * 9, 0.5) +
           0.15 * noise2(seed + 2, at * 37, 0.5);
}

static bool cut_keeps(const SceneObject *o, double a, double b) {
    switch (o->cut) {
    case SCENE_DISC:
        return a * a + b * b <= 1;
    case SCENE_FRAME:
        return fabs(a) > 1 - o->cut_size || fabs(b) > 1 - o->cut_size;
    case SCENE_LATTICE: {
        double p = (a + 1) * 0.5 * o->cut_count, q = (b + 1) * 0.5 * o->cut_count;
        return fabs(p - floor(p) - 0.5) < 0.5 * o->cut_size || fabs(q - floor(q) - 0.5) < 0.5 * o->cut_size;
    }
    case SCENE_RIDGE:
        return b > -1 + o->cut_size * (0.5 + 0.5 * rough_line(o->texture.seed, a));
    default:
        return true;
    }
}

/* The nearest z > z_least at which the ray o + z*dir meets the solid; 0 if it does not. */
static double meet(const Solid *s, Vec3 origin, Vec3 dir, double *a, double *b) {
    Vec3 from = minus(origin, s->o.at);
    switch (s->o.shape) {
    case SCENE_PLANE:
    case SCENE_QUAD: {
        double slope = dot(s->normal, dir);
        if (slope == 0) return 0;
        double z = -dot(s->normal, from) / slope;
        if (!(z > z_least && z < z_most)) return 0;
        Vec3 p = plus(from, scaled(dir, z));
        *a = dot(s->u_dual, p), *b = dot(s->v_dual, p);
        if (s->o.shape == SCENE_PLANE) return z;
        return fabs(*a) <= 1 && fabs(*b) <= 1 && cut_keeps(&s->o, *a, *b) ? z : 0;
    }
    case SCENE_ELLIPSOID: { /* a unit ball in its own coordinates */
        Vec3 p = {dot(s->u_dual, from), dot(s->v_dual, from), dot(s->w_dual, from)};
        Vec3 q = {dot(s->u_dual, dir), dot(s->v_dual, dir), dot(s->w_dual, dir)};
        double qq = dot(q, q), pq = dot(p, q), root = pq * pq - qq * (dot(p, p) - 1);
        if (root < 0) return 0;
        double z = (-pq - sqrt(root)) / qq;
        return z > z_least ? z : 0;
    }
    case SCENE_ROD: { /* a cylinder round the axis between the ends, then the ball at the end it overshoots */
        Vec3 axis = scaled(s->o.u, 2), tail = plus(from, s->o.u);
        double r2 = s->o.radius * s->o.radius, aa = dot(axis, axis), ad = dot(axis, dir), at = dot(axis, tail),
               dd = dot(dir, dir);
        double qa = aa * dd - ad * ad, qb = aa * dot(tail, dir) - at * ad, qc = aa * (dot(tail, tail) - r2) - at * at;
        double root = qb * qb - qa * qc, along = 0;
        if (root < 0) return 0;
        if (qa > 0) {
            double z = (-qb - sqrt(root)) / qa;
            along = at + z * ad;
            if (along > 0 && along < aa) return z > z_least ? z : 0;
        } else { /* looking along the axis */
            along = ad > 0 ? 0 : aa;
        }
        Vec3 end = along <= 0 ? tail : minus(tail, axis);
        double eb = dot(end, dir), er = eb * eb - dd * (dot(end, end) - r2);
        if (er < 0) return 0;
        double z = (-eb - sqrt(er)) / dd;
        return z > z_least ? z : 0;
    }
    }
    return 0;
}

static Vec3 normal_at(const Solid *s, Vec3 point) {
    Vec3 from = minus(point, s->o.at);
    switch (s->o.shape) {
    case SCENE_ELLIPSOID: /* gradient of a^2 + b^2 + c^2 */
        return plus(plus(scaled(s->u_dual, dot(s->u_dual, from)), scaled(s->v_dual, dot(s->v_dual, from))),
                    scaled(s->w_dual, dot(s->w_dual, from)));
    case SCENE_ROD: {
        double along = dot(from, s->o.u) / dot(s->o.u, s->o.u);
        return minus(from, scaled(s->o.u, along < -1 ? -1 : along > 1 ? 1 : along));
    }
    default:
        return s->normal;
    }
}

/* Corners of a box that holds the object, for its place in the pictures. None for a plane. */
static int corners(const SceneObject *o, Vec3 out[16]) {
    int n = 0;
    for (int i = 0; i < 8; i++) {
        Vec3 u = scaled(o->u, i & 1 ? 1 : -1), v = scaled(o->v, i & 2 ? 1 : -1), w = scaled(o->w, i & 4 ? 1 : -1);
        Vec3 ball = {o->radius * (i & 1 ? 1 : -1), o->radius * (i & 2 ? 1 : -1), o->radius * (i & 4 ? 1 : -1)};
        switch (o->shape) {
        case SCENE_PLANE:
            return 0;
        case SCENE_QUAD:
            if (i < 4) out[n++] = plus(o->at, plus(u, v));
            break;
        case SCENE_ELLIPSOID:
            out[n++] = plus(o->at, plus(u, plus(v, w)));
            break;
        case SCENE_ROD:
            out[n++] = plus(plus(o->at, o->u), ball);
            out[n++] = plus(minus(o->at, o->u), ball);
            break;
        }
    }
    return n;
}

static void bound(Solid *s, const Render *r) {
    Vec3 corner[16];
    int n = corners(&s->o, corner);
    s->nearest = n ? INFINITY : 0;
    for (int i = 0; i < n; i++) s->nearest = fmin(s->nearest, corner[i].z);
    for (int eye = 0; eye < 2; eye++) {
        double *box = s->box[eye];
        if (s->nearest <= z_least) { /* reaches behind the eyes: may be anywhere */
            box[0] = box[1] = -INFINITY, box[2] = box[3] = INFINITY;
            continue;
        }
        box[0] = box[1] = INFINITY, box[2] = box[3] = -INFINITY;
        for (int i = 0; i < n; i++) {
            double x = r->focal_px * (corner[i].x - r->eye_x[eye]) / corner[i].z + (eye ? 1 : -1) * r->screen_shift +
                       0.5 * (r->width - 1);
            double y = r->focal_px * corner[i].y / corner[i].z + 0.5 * (r->height - 1);
            box[0] = fmin(box[0], x - 1), box[1] = fmin(box[1], y - 1);
            box[2] = fmax(box[2], x + 1), box[3] = fmax(box[3], y + 1);
        }
    }
}

static Solid prepare(const SceneObject *o, const Render *r) {
    Solid s = {.o = *o, .u_length = length(o->u), .v_length = length(o->v)};
    if (o->shape == SCENE_PLANE || o->shape == SCENE_QUAD) {
        s.normal = cross(o->u, o->v);
        Vec3 vn = cross(o->v, s.normal), nu = cross(s.normal, o->u);
        s.u_dual = scaled(vn, 1 / dot(o->u, vn));
        s.v_dual = scaled(nu, 1 / dot(o->v, nu));
    } else if (o->shape == SCENE_ELLIPSOID) {
        s.u_dual = scaled(o->u, 1 / dot(o->u, o->u));
        s.v_dual = scaled(o->v, 1 / dot(o->v, o->v));
        s.w_dual = scaled(o->w, 1 / dot(o->w, o->w));
    }
    bound(&s, r);
    return s;
}

/* ---- rays ---- */

static Vec3 ray(const Render *r, int eye, double x, double y) {
    return (Vec3){(x - 0.5 * (r->width - 1) + (eye ? -1 : 1) * r->screen_shift) / r->focal_px,
                  (y - 0.5 * (r->height - 1)) / r->focal_px, 1};
}

static Hit cast(const Render *r, const uint8_t *list, int count, int eye, Vec3 dir) {
    Hit hit = {INFINITY, -1, 0, 0};
    Vec3 origin = {r->eye_x[eye], 0, 0};
    for (int i = 0; i < count; i++) {
        const Solid *s = &r->solids[list[i]];
        if (s->nearest >= hit.z) break; /* the list is ordered */
        double a = 0, b = 0, z = meet(s, origin, dir, &a, &b);
        if (z > 0 && z < hit.z) hit = (Hit){z, list[i], a, b};
    }
    return hit;
}

/* Does anything stand between `eye` and the point at depth z along dir? The point's own surface does not count: 1e-6 of
 * its depth is far above rounding and far below any disparity that matters. */
static bool is_hidden(const Render *r, const uint8_t *list, int count, int eye, Vec3 dir, double x, double z) {
    Vec3 origin = {r->eye_x[eye], 0, 0};
    double limit = z * (1 - 1e-6);
    for (int i = 0; i < count; i++) {
        const Solid *s = &r->solids[list[i]];
        if (s->nearest >= limit) break;
        if (x < s->box[eye][0] || x > s->box[eye][2]) continue;
        double a, b, met = meet(s, origin, dir, &a, &b);
        if (met > 0 && met < limit) return true;
    }
    return false;
}

/* ---- colour ---- */

/* 0 or 1 of a pattern with hard edges at point q; faded to a half where its cells get smaller than pixels. */
static double pattern_at(const SceneTexture *t, bool solid, Vec3 q, double footprint) {
    double s = t->size, value = 0;
    int64_t i = whole(q.x / s), j = whole(q.y / s), k = solid ? whole(q.z / s) : 0;
    switch (t->pattern) {
    case SCENE_CHECKER:
        value = (double)((i + j + k) & 1);
        break;
    case SCENE_STRIPES:
        value = (double)((solid ? j : i) & 1);
        break;
    case SCENE_BRICKS: { /* bricks 1 x 0.5, rows shifted by half, joints 8 % */
        double row = floor(2 * q.y / s), along = q.x / s + (fmod(row, 2) != 0 ? 0.5 : 0), up = 2 * q.y / s - row;
        double left = along - floor(along);
        value = left < 0.08 || up < 0.16
                    ? 1
                    : 0.35 * (0.5 + 0.5 * lattice(t->seed + 9, (int64_t)floor(along), (int64_t)row, 0));
        break;
    }
    default:
        return 0;
    }
    double clear = (s / footprint - 1) * 0.5;
    return clear >= 1 ? value : clear <= 0 ? 0.5 : mix(0.5, value, clear);
}

static bool is_solid(const Solid *s) {
    return s->o.shape == SCENE_ELLIPSOID || s->o.shape == SCENE_ROD;
}

static Vec3 point_of(const Render *r, int eye, Vec3 dir, const Hit *hit) {
    return plus((Vec3){r->eye_x[eye], 0, 0}, scaled(dir, hit->z));
}

/* Where in its texture the hit lies: along its edges for a flat thing, in space for a solid one. */
static Vec3 texture_point(const Solid *s, Vec3 point, const Hit *hit) {
    return is_solid(s) ? minus(point, s->o.at) : (Vec3){hit->a * s->u_length, hit->b * s->v_length, 0};
}

/* What changes slowly from pixel to pixel: light and noise, both free of detail under two pixels. */
typedef struct {
    double light, share; /* share of the second colour; of SCENE_NOISE only, the other patterns have edges */
    double footprint;    /* of a pixel on the surface, in the scene's unit */
} Surface;

/* All of it as seen from between the eyes, so that a point has one colour for both. A slanted surface is foreshortened
 * one way only: its footprint is the geometric mean of both. */
static Surface surface_at(const Render *r, Vec3 point, const Hit *hit) {
    const Solid *s = &r->solids[hit->solid];
    const SceneTexture *t = &s->o.texture;
    Vec3 normal = normal_at(s, point), q = texture_point(s, point, hit);
    double per_length = 1 / length(normal), facing = -dot(normal, point) * per_length / length(point);
    double slant = fabs(facing) < 0.02 ? 0.02 : fabs(facing);
    Surface out = {.footprint = hit->z / (r->focal_px * sqrt(slant))};
    double grain = octaves(t->seed, is_solid(s), q, t->size, out.footprint);
    if (t->pattern == SCENE_NOISE) {
        double share = 0.5 + 0.9 * grain;
        out.share = share < 0 ? 0 : share > 1 ? 1 : share;
        grain = octaves(t->seed + 31, is_solid(s), q, t->size * 0.25, out.footprint);
    }
    double lambert = dot(normal, r->light) * per_length * (facing < 0 ? -1 : 1);
    double light = r->scene->ambient + (1 - r->scene->ambient) * (lambert > 0 ? lambert : 0);
    out.light = mix(light, 1, t->glow) * (1 + 1.4 * t->detail * grain);
    if (out.light < 0.02) out.light = 0.02;
    return out;
}

static bool has_edges(const SceneTexture *t) {
    return t->pattern != SCENE_PLAIN && t->pattern != SCENE_NOISE;
}

static void add_colour(const SceneTexture *t, double light, double share, double rgb[3]) {
    for (int c = 0; c < 3; c++) {
        double v = light * mix((double)t->colours[0][c], (double)t->colours[1][c], share);
        rgb[c] += v > 1 ? 1 : v;
    }
}

/* The sixteen rays of a pixel lie in the cells of a 4x4 grid; the first four of this order form a rotated square, and
 * the rest are cast only where these see different things or different sides of a pattern's edge. */
static const uint8_t sample_order[16] = {1, 7, 8, 14, 0, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 15};
enum { FEW = 4, MANY = 16 };

typedef struct {
    Vec3 dir;
    Hit hit;
} Sample;

static Sample sample(const Render *r, const uint8_t *list, int count, int eye, int x, int y, int cell) {
    Sample s;
    s.dir = ray(r, eye, x + (cell % 4 - 1.5) / 4, y + (cell / 4 - 1.5) / 4);
    s.hit = cast(r, list, count, eye, s.dir);
    return s;
}

static double share_of(const Render *r, int eye, const Sample *s, double footprint) {
    const Solid *solid = &r->solids[s->hit.solid];
    Vec3 q = texture_point(solid, point_of(r, eye, s->dir, &s->hit), &s->hit);
    return pattern_at(&solid->o.texture, is_solid(solid), q, footprint);
}

/* `centre` is the hit of the ray through the pixel's middle: where all rays of a pixel meet one thing, light and noise
 * are taken there once and only a pattern with edges is looked at by every ray. */
static void pixel_colour(const Render *r, const uint8_t *list, int count, int eye, int x, int y, const Sample *centre,
                         uint8_t out[3]) {
    Sample samples[MANY];
    double sum[3] = {0};
    int used = FEW;
    bool one_thing = true, one_side = true;
    for (int i = 0; i < FEW; i++) {
        samples[i] = sample(r, list, count, eye, x, y, sample_order[i]);
        one_thing &= samples[i].hit.solid == centre->hit.solid;
    }
    if (one_thing && centre->hit.solid >= 0) {
        const SceneTexture *t = &r->solids[centre->hit.solid].o.texture;
        Surface surface = surface_at(r, point_of(r, eye, centre->dir, &centre->hit), &centre->hit);
        double share = surface.share;
        if (has_edges(t)) {
            double shares[MANY], total = 0;
            for (int i = 0; i < used; i++) {
                if (i >= FEW) {
                    samples[i] = sample(r, list, count, eye, x, y, sample_order[i]);
                    if (samples[i].hit.solid != centre->hit.solid)
                        samples[i] = *centre; /* a corner of something else */
                }
                shares[i] = share_of(r, eye, &samples[i], surface.footprint);
                total += shares[i];
                one_side &= shares[i] == shares[0];
                if (i == FEW - 1 && !one_side) used = MANY;
            }
            share = total / used;
        }
        add_colour(t, surface.light, share, sum);
        used = 1;
    } else if (!one_thing) {
        used = MANY;
        for (int i = 0; i < used; i++) {
            if (i >= FEW) samples[i] = sample(r, list, count, eye, x, y, sample_order[i]);
            const Hit *hit = &samples[i].hit;
            if (hit->solid < 0) continue;
            const SceneTexture *t = &r->solids[hit->solid].o.texture;
            Surface surface = surface_at(r, point_of(r, eye, samples[i].dir, hit), hit);
            add_colour(t, surface.light,
                       has_edges(t) ? share_of(r, eye, &samples[i], surface.footprint) : surface.share, sum);
        }
    }
    for (int c = 0; c < 3; c++) out[c] = r->encoded[(int)(sum[c] / used * 4096 + 0.5)];
}

/* ---- the picture ---- */

/* Solids whose box touches the rows and columns given, nearest first. */
static int gather(const Render *r, int eye, int x0, int y0, int x1, int y1, uint8_t *list) {
    int n = 0;
    for (int i = 0; i < r->count; i++) {
        const double *box = r->solids[i].box[eye];
        if (box[0] <= x1 && box[2] >= x0 && box[1] <= y1 && box[3] >= y0) list[n++] = (uint8_t)i;
    }
    return n;
}

static void render_tile(void *context, int64_t tile, int worker) {
    (void)worker;
    const Render *r = context;
    int64_t per_eye = (int64_t)r->tiles_across * r->tiles_down;
    int eye = tile >= per_eye, other = !eye;
    tile %= per_eye;
    int x0 = (int)(tile % r->tiles_across) * TILE, y0 = (int)(tile / r->tiles_across) * TILE;
    int x1 = x0 + TILE < r->width ? x0 + TILE : r->width, y1 = y0 + TILE < r->height ? y0 + TILE : r->height;
    uint8_t here[SCENE_OBJECTS_MAX], there[SCENE_OBJECTS_MAX];
    int here_count = gather(r, eye, x0 - 1, y0 - 1, x1, y1, here);
    int there_count = gather(r, other, 0, y0 - 1, r->width - 1, y1, there);
    Image *image = eye ? &r->views->right : &r->views->left;
    Map *disparity = eye ? &r->views->disparity_right : &r->views->disparity;
    Map *visible = eye ? &r->views->visible_right : &r->views->visible;
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) {
            int64_t i = (int64_t)y * r->width + x;
            Sample centre = {.dir = ray(r, eye, x, y)};
            centre.hit = cast(r, here, here_count, eye, centre.dir);
            pixel_colour(r, here, here_count, eye, x, y, &centre, image->bytes + 3 * i);
            if (centre.hit.solid < 0) {
                disparity->values[i] = visible->values[i] = NAN;
                continue;
            }
            double d = 2 * r->focal_px * r->eye_x[1] / centre.hit.z - 2 * r->screen_shift;
            double match = eye ? x + d : x - d;
            disparity->values[i] = (float)d;
            bool inside = match >= 0 && match <= r->width - 1;
            visible->values[i] =
                inside && !is_hidden(r, there, there_count, other, ray(r, other, match, y), match, centre.hit.z);
        }
}

static int by_nearest(const Solid *a, const Solid *b) {
    return (a->nearest > b->nearest) - (a->nearest < b->nearest);
}

int scene_render(const Scene *scene, int width, int height, Pool *pool, SceneViews *views) {
    memset(views, 0, sizeof *views);
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX)
        return fail(ERR_INPUT, "a scene cannot be drawn %dx%d pixels large; sides are 1 to %d", width, height,
                    IMAGE_SIDE_MAX);
    Render *r = mem_alloc(sizeof *r);
    if (!r) return err_code();
    *r = (Render){.scene = scene, .width = width, .height = height, .count = scene->count, .views = views};
    r->focal_px = scene->focal * width;
    r->screen_shift = 0.5 * r->focal_px * scene->interaxial / scene->convergence;
    r->eye_x[0] = -0.5 * scene->interaxial, r->eye_x[1] = 0.5 * scene->interaxial;
    r->light = scaled(scene->light, 1 / length(scene->light));
    r->tiles_across = (width + TILE - 1) / TILE, r->tiles_down = (height + TILE - 1) / TILE;
    for (int i = 0; i < scene->count;
         i++) { /* insertion keeps the order of equals, so results do not depend on a sort */
        Solid s = prepare(&scene->objects[i], r);
        int at = i;
        for (; at > 0 && by_nearest(&r->solids[at - 1], &s) > 0; at--) r->solids[at] = r->solids[at - 1];
        r->solids[at] = s;
    }
    for (int i = 0; i <= 4096; i++) {
        r->encoded[i] = (uint8_t)(255 * srgb_from_linear(i / 4096.0) + 0.5);
    }
    if (image_make(&views->left, width, height, 3, 8) || image_make(&views->right, width, height, 3, 8) ||
        map_make(&views->disparity, width, height, MAP_DISPARITY) ||
        map_make(&views->disparity_right, width, height, MAP_DISPARITY) ||
        map_make(&views->visible, width, height, MAP_OCCLUSION) ||
        map_make(&views->visible_right, width, height, MAP_OCCLUSION)) {
        scene_views_free(views);
        mem_free(r);
        return err_code();
    }
    views->disparity_right.reference_right = views->visible_right.reference_right = true;
    pool_run(pool, 2 * (int64_t)r->tiles_across * r->tiles_down, render_tile, r);
    mem_free(r);
    return 0;
}

void scene_views_free(SceneViews *views) {
    image_free(&views->left), image_free(&views->right);
    map_free(&views->disparity), map_free(&views->disparity_right);
    map_free(&views->visible), map_free(&views->visible_right);
}

int scene_mask(Image *mask, const Map *visible) {
    if (image_make(mask, visible->width, visible->height, 1, 8)) return err_code();
    for (int64_t i = 0; i < image_pixels(mask); i++) {
        float v = visible->values[i];
        mask->bytes[i] = v != v ? 0 : v >= 0.5f ? 255 : 128;
    }
    return 0;
}

double scene_disparity(const Scene *scene, int width, double z) {
    return scene->focal * width * scene->interaxial * (1 / z - 1 / scene->convergence);
}

double scene_depth(const Scene *scene, int width, double disparity) {
    return 1 / (disparity / (scene->focal * width * scene->interaxial) + 1 / scene->convergence);
}

static bool has_extent(const SceneObject *o) {
    switch (o->shape) {
    case SCENE_PLANE:
    case SCENE_QUAD:
        return length(cross(o->u, o->v)) > 0;
    case SCENE_ELLIPSOID:
        return length(o->u) > 0 && length(o->v) > 0 && length(o->w) > 0;
    case SCENE_ROD:
        return length(o->u) > 0 && o->radius > 0;
    }
    return false;
}

int scene_add(Scene *scene, const SceneObject *object) {
    if (scene->count >= SCENE_OBJECTS_MAX)
        return fail(ERR_INPUT, "a scene holds at most %d objects", SCENE_OBJECTS_MAX);
    if (!has_extent(object) || !(object->texture.size > 0))
        return fail(ERR_INPUT, "object %d of the scene has no extent", scene->count);
    scene->objects[scene->count++] = *object;
    return 0;
}
