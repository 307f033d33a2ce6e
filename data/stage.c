/* data/stage.c - rows of inverse depth, and what they look like. */
#include "data/stage.h"
#include "base/cpu.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

typedef float Vec4 __attribute__((vector_size(16)));
typedef uint8_t Bytes4 __attribute__((vector_size(4)));

static double dot(Vec3 a, Vec3 b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
static Vec3 cross(Vec3 a, Vec3 b) {
    return (Vec3){a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
static Vec3 scaled(Vec3 a, double s) {
    return (Vec3){a.x * s, a.y * s, a.z * s};
}
static double length(Vec3 a) {
    return sqrt(dot(a, a));
}

/* ---- things made ready ---- */

/* A thing as one eye sees it. Its own coordinates of the point at depth z along the ray of pixel (t, s), both counted
 * from the centre, are p + z q with q = q0 + t qx + s qy. */
typedef struct {
    double p[3], q0[3], qx[3], qy[3];
    float left, right, top, bottom; /* where it can be seen, in t and s */
} Seen;

typedef struct {
    const Thing *thing;
    const Texture *texture, *shadow, *mirrored, *mask, *detail;
    int mask_texture_level;
    Vec3 axis[3];     /* coordinates of a point: dot(axis[k], point - at) */
    Vec3 flat_normal; /* unit length, towards the eyes */
    float axis_length[3];
    double sign[3], constant; /* of a quadric: sum of sign a^2 = constant */
    float low, high;          /* of the third coordinate */
    float texels_per_length;
    bool veil;  /* see-through */
    bool solid; /* its surface is truth */
    Seen seen[2];
} Actor;

/* An actor along one row. */
typedef struct {
    float p[3], q0[3], qx[3]; /* own coordinates: p + (q0 + t qx) / rho */
    float r0, r1;             /* flat: rho = r0 + r1 t; */
    float a0, a1, b0, b1;     /* rho times the coordinates along u and v */
    float middle;             /* quadric: with m = t - middle */
    float l0, l1;             /* rho = (l0 + l1 m +- sqrt(d0 + d1 m + d2 m^2)) */
    float d0, d1, d2;
} Row;

typedef struct {
    const Stage *stage;
    Sample *sample;
    int width, height;
    float focal, span;
    float light[3];
    float *rho[2];     /* of each eye's pixels: what is opaque */
    float *veil[2];    /* and what is see-through before it; 0: none */
    uint16_t *id[2];   /* actor + 1; 0: nothing */
    uint16_t *over[2]; /* of the veil */
    uint8_t *busy[2];  /* pixels that thin or cut things touch */
    int count;
    Actor actors[STAGE_THINGS_MAX];
} Draw;

bool stage_add(Stage *stage, const Thing *thing) {
    if (stage->count >= STAGE_THINGS_MAX) return false;
    stage->things[stage->count++] = *thing;
    return true;
}

/* Where the thing's bounding box appears, with a pixel to spare. */
static void bound(const Draw *draw, const Actor *a, int eye, Seen *seen) {
    const Thing *o = a->thing;
    const Stage *stage = draw->stage;
    seen->left = seen->top = -1e9f, seen->right = seen->bottom = 1e9f;
    if (o->shape == THING_SHEET) {
        if (o->outline == OUTLINE_NONE) return;
        const Sheet *h = &o->sheet;
        float swing = fabsf(h->slope_x) * h->half_width + fabsf(h->slope_y) * h->half_height;
        for (int k = 0; k < SHEET_WAVES; k++) swing += fabsf(h->wave[k][3]);
        float middle = (eye ? -0.5f : 0.5f) * draw->span * (h->rho - 1) + h->x;
        float reach = h->half_width + 0.5f * draw->span * swing + 1;
        seen->left = middle - reach, seen->right = middle + reach;
        seen->top = h->y - h->half_height - 1, seen->bottom = h->y + h->half_height + 1;
        return;
    }
    if (o->shape == THING_FLAT && o->outline == OUTLINE_NONE) return;
    double eye_x = (eye ? 0.5 : -0.5) * stage->span / stage->focal, shift = (eye ? 0.5 : -0.5) * stage->span;
    double left = 1e9, right = -1e9, top = 1e9, bottom = -1e9;
    for (int i = 0; i < 8; i++) {
        double su = i & 1 ? 1 : -1, sv = i & 2 ? 1 : -1, sw = i & 4 ? 1 : o->shape == THING_CONE ? 0 : -1;
        if (o->shape == THING_FLAT) sw = 0;
        Vec3 p = {o->at.x + su * o->u.x + sv * o->v.x + sw * o->w.x, o->at.y + su * o->u.y + sv * o->v.y + sw * o->w.y,
                  o->at.z + su * o->u.z + sv * o->v.z + sw * o->w.z};
        if (p.z < 1e-3) return; /* reaches behind the eyes: may be anywhere */
        double x = stage->focal * (p.x - eye_x) / p.z + shift, y = stage->focal * p.y / p.z;
        left = fmin(left, x), right = fmax(right, x), top = fmin(top, y), bottom = fmax(bottom, y);
    }
    seen->left = (float)left - 1, seen->right = (float)right + 1, seen->top = (float)top - 1,
    seen->bottom = (float)bottom + 1;
}

static int prepare(Draw *draw, Actor *a, const Thing *o) {
    const Stage *stage = draw->stage;
    memset(a, 0, sizeof *a);
    a->thing = o;
    a->texture = texture_get(stage->bank, o->coat.texture);
    a->shadow = o->coat.shadow_depth > 0 ? texture_get(stage->bank, o->coat.shadow) : a->texture;
    a->mirrored = o->coat.mirror > 0 ? texture_get(stage->bank, o->coat.mirrored) : a->texture;
    a->mask = o->cut ? texture_get(stage->bank, o->mask) : a->texture;
    a->detail = o->coat.detail_depth > 0 ? texture_get(stage->bank, o->coat.detail) : a->texture;
    if (!a->texture || !a->shadow || !a->mirrored || !a->mask || !a->detail) return err_code();
    a->veil = o->opacity < 1, a->solid = o->opacity >= 0.5f;
    a->low = -1, a->high = 1;
    const Coat *c = &o->coat;
    float area = fabsf(c->across[0] * c->down[1] - c->across[1] * c->down[0]);
    a->texels_per_length = sqrtf(area);
    if (o->shape == THING_FLAT) {
        Vec3 normal = cross(o->u, o->v), vn = cross(o->v, normal), nu = cross(normal, o->u);
        a->axis[0] = scaled(vn, 1 / dot(o->u, vn)), a->axis[1] = scaled(nu, 1 / dot(o->v, nu));
        a->axis[2] = scaled(normal, 1 / length(normal));
        a->flat_normal = scaled(a->axis[2], dot(a->axis[2], o->at) > 0 ? -1 : 1);
    } else if (o->shape != THING_SHEET) {
        a->axis[0] = scaled(o->u, 1 / dot(o->u, o->u)), a->axis[1] = scaled(o->v, 1 / dot(o->v, o->v));
        a->axis[2] = scaled(o->w, 1 / dot(o->w, o->w));
        a->sign[0] = a->sign[1] = 1;
        a->sign[2] = o->shape == THING_BALL ? 1 : o->shape == THING_TUBE ? 0 : -1;
        a->constant = o->shape == THING_CONE ? 0 : 1;
        if (o->shape == THING_BALL) a->low = -1e6f, a->high = 1e6f;
        if (o->shape == THING_CONE) a->low = o->low;
    }
    a->axis_length[0] = (float)length(o->u), a->axis_length[1] = (float)length(o->v);
    a->axis_length[2] = (float)length(o->w);
    for (int eye = 0; eye < 2; eye++) {
        Seen *seen = &a->seen[eye];
        double f = stage->focal, shift = (eye ? -0.5 : 0.5) * stage->span, eye_x = -shift / f;
        Vec3 from = {eye_x - o->at.x, -o->at.y, -o->at.z};
        for (int k = 0; k < 3; k++) {
            seen->p[k] = dot(a->axis[k], from);
            seen->q0[k] = a->axis[k].x * shift / f + a->axis[k].z;
            seen->qx[k] = a->axis[k].x / f, seen->qy[k] = a->axis[k].y / f;
        }
        bound(draw, a, eye, seen);
    }
    /* an outline is cut from the copy of the mask whose texels are about a pixel, the same for both eyes */
    if (o->cut) {
        float half_edge = fminf(a->axis_length[0], a->axis_length[1]) * (float)(stage->focal / fmax(o->at.z, 0.05));
        float texels = o->mask_scale / fmaxf(half_edge, 1);
        while (a->mask_texture_level < TEXTURE_LEVELS - 3 && texels > 1.5f) a->mask_texture_level++, texels *= 0.5f;
    }
    return 0;
}

/* False when this eye cannot see the thing along this row. */
static bool make_row(const Actor *a, int eye, double s, Row *row) {
    const Seen *seen = &a->seen[eye];
    double q[3];
    for (int k = 0; k < 3; k++) {
        q[k] = seen->q0[k] + s * seen->qy[k];
        row->p[k] = (float)seen->p[k], row->q0[k] = (float)q[k], row->qx[k] = (float)seen->qx[k];
    }
    switch (a->thing->shape) {
    case THING_FLAT: {
        if (fabs(seen->p[2]) < 1e-6) return false;
        double r0 = -q[2] / seen->p[2], r1 = -seen->qx[2] / seen->p[2];
        row->r0 = (float)r0, row->r1 = (float)r1;
        row->a0 = (float)(seen->p[0] * r0 + q[0]), row->a1 = (float)(seen->p[0] * r1 + seen->qx[0]);
        row->b0 = (float)(seen->p[1] * r0 + q[1]), row->b1 = (float)(seen->p[1] * r1 + seen->qx[1]);
        return true;
    }
    case THING_SHEET:
        return true;
    default: {
        double c = -a->constant, middle = 0.5 * ((double)seen->left + (double)seen->right);
        if (fabs(middle) > 1e5) middle = 0;
        double l = 0, l1 = 0, s0 = 0, s1 = 0, s2 = 0;
        for (int k = 0; k < 3; k++) {
            double p = seen->p[k], at = q[k] + middle * seen->qx[k], x = seen->qx[k], sign = a->sign[k];
            c += sign * p * p;
            l -= sign * p * at, l1 -= sign * p * x;
            s0 += sign * at * at, s1 += 2 * sign * at * x, s2 += sign * x * x;
        }
        if (c < 1e-6) return false; /* the eye is inside */
        double d0 = l * l - c * s0, d1 = 2 * l * l1 - c * s1, d2 = l1 * l1 - c * s2;
        row->middle = (float)middle;
        row->l0 = (float)(l / c), row->l1 = (float)(l1 / c);
        row->d0 = (float)(d0 / (c * c)), row->d1 = (float)(d1 / (c * c)), row->d2 = (float)(d2 / (c * c));
        /* nothing of it in this row: the quadratic stays below 0 */
        return !(d2 < 0 && d1 * d1 - 4 * d0 * d2 < 0);
    }
    }
}

/* ---- texture look-ups ---- */

static Vec4 texel(const uint8_t *p) {
    Bytes4 b;
    memcpy(&b, p, 4);
    return __builtin_convertvector(b, Vec4);
}

static int whole(float v) {
    int i = (int)v;
    return i - ((float)i > v);
}

static inline Vec4 bilinear(const Texture *texture, int level, float u, float v) {
    float shrink = 1 / (float)(1 << level);
    u = u * shrink - 0.5f, v = v * shrink - 0.5f;
    int side = TEXTURE_SIDE >> level, mask = side - 1, x = whole(u), y = whole(v);
    float fx = u - (float)x, fy = v - (float)y;
    int x0 = x & mask, x1 = (x + 1) & mask;
    const uint8_t *top = texture->level[level] + (size_t)((y & mask) * side) * 4,
                  *bottom = texture->level[level] + (size_t)(((y + 1) & mask) * side) * 4;
    Vec4 a = texel(top + 4 * x0), b = texel(top + 4 * x1), c = texel(bottom + 4 * x0), d = texel(bottom + 4 * x1);
    a += (b - a) * fx, c += (d - c) * fx;
    return a + (c - a) * fy;
}

static inline float field_at(const Texture *texture, int level, float u, float v) {
    float shrink = 1 / (float)(1 << level);
    u = u * shrink - 0.5f, v = v * shrink - 0.5f;
    int side = TEXTURE_SIDE >> level, mask = side - 1, x = whole(u), y = whole(v);
    float fx = u - (float)x, fy = v - (float)y;
    int x0 = (x & mask) * 4 + 3, x1 = ((x + 1) & mask) * 4 + 3;
    const uint8_t *top = texture->level[level] + (size_t)((y & mask) * side) * 4,
                  *bottom = texture->level[level] + (size_t)(((y + 1) & mask) * side) * 4;
    float a = (float)top[x0], b = (float)top[x1], c = (float)bottom[x0], d = (float)bottom[x1];
    a += (b - a) * fx, c += (d - c) * fx;
    return (a + (c - a) * fy) * (1.0f / 255);
}

/* `footprint`: texels in a pixel's side. Blends the two copies that lie about it. */
static Vec4 filtered(const Texture *texture, float u, float v, float footprint) {
    if (!(footprint > 1)) return bilinear(texture, 0, u, v);
    uint32_t bits;
    memcpy(&bits, &footprint, 4);
    int level = (int)(bits >> 23) - 127;
    if (level >= TEXTURE_LEVELS - 1) return bilinear(texture, TEXTURE_LEVELS - 1, u, v);
    /* the blend takes the middle half of the way from one copy to the next, so that often one look-up will do */
    float part = (float)(bits & 0x7fffff) * 0x1p-22f - 0.5f;
    if (part <= 0) return bilinear(texture, level, u, v);
    if (part >= 1) return bilinear(texture, level + 1, u, v);
    Vec4 fine = bilinear(texture, level, u, v);
    return fine + (bilinear(texture, level + 1, u, v) - fine) * part;
}

/* ---- inverse depth along a row ---- */

static inline __attribute__((always_inline)) void meet_flat(const Actor *a, const Row *row, const float *t, int n,
                                                            float *rho) {
    float r0 = row->r0, r1 = row->r1, a0 = row->a0, a1 = row->a1, b0 = row->b0, b1 = row->b1;
    switch (a->thing->outline) {
    case OUTLINE_NONE:
        for (int i = 0; i < n; i++) {
            float r = r0 + r1 * t[i];
            rho[i] = r > 0 ? r : 0;
        }
        return;
    case OUTLINE_RECTANGLE:
        for (int i = 0; i < n; i++) {
            float r = r0 + r1 * t[i], u = fabsf(a0 + a1 * t[i]), v = fabsf(b0 + b1 * t[i]);
            float most = u > v ? u : v;
            rho[i] = most <= r ? r : 0;
        }
        return;
    case OUTLINE_ELLIPSE:
        for (int i = 0; i < n; i++) {
            float r = r0 + r1 * t[i], u = a0 + a1 * t[i], v = b0 + b1 * t[i];
            float rr = r > 0 ? r * r : -1;
            rho[i] = u * u + v * v <= rr ? r : 0;
        }
        return;
    }
}

static inline __attribute__((always_inline)) void meet_quadric(const Actor *a, const Row *row, const float *t, int n,
                                                               float *rho) {
    float l0 = row->l0, l1 = row->l1, d0 = row->d0, d1 = row->d1, d2 = row->d2, middle = row->middle;
    float p = row->p[2], w0 = row->q0[2], w1 = row->qx[2], low = a->low, high = a->high;
    for (int i = 0; i < n; i++) {
        float m = t[i] - middle, line = l0 + l1 * m, square = d0 + m * (d1 + m * d2);
        float root = sqrtf(square > 0 ? square : 0);
        float near = line + root, far = line - root, w = w0 + w1 * t[i];
        float near_w = p * near + w, far_w = p * far + w;
        /* within the ends, times rho; a miss leaves 0 */
        float r = far_w >= low * far && far_w <= high * far ? far : 0;
        r = near_w >= low * near && near_w <= high * near ? near : r;
        r = r > 0 ? r : 0;
        rho[i] = square >= 0 ? r : 0;
    }
}

/* to the nearest whole number, without a call */
static float rounded(float v) {
    return (v + 12582912.0f) - 12582912.0f;
}

/* One wave's share of a sheet's inverse depth and of its slope across; two parabolas for a sine. */
static inline __attribute__((always_inline)) void add_wave(const float wave[4], float x, float s, float *rho,
                                                           float *slope) {
    float u = wave[0] * x + wave[1] * s + wave[2];
    u -= rounded(u);
    float bend = fabsf(u);
    *rho += wave[3] * (16 * u * (0.5f - bend));
    *slope += wave[3] * wave[0] * (8 - 32 * bend);
}

/* A sheet's inverse depth and its slope across, at place (x, s) between the eyes. Written out wave by wave, or loops
 * over it would not be vectorised. */
static inline __attribute__((always_inline)) void sheet_at(const Sheet *h, float x, float s, float *rho, float *slope) {
    float r = h->rho + h->slope_x * (x - h->x) + h->slope_y * (s - h->y), g = h->slope_x;
    add_wave(h->wave[0], x, s, &r, &g);
    add_wave(h->wave[1], x, s, &r, &g);
    add_wave(h->wave[2], x, s, &r, &g);
    add_wave(h->wave[3], x, s, &r, &g);
    *rho = r, *slope = g;
}
_Static_assert(SHEET_WAVES == 4, "sheet_at adds four waves");

/* Which place x between the eyes an eye sees at t: x + half_span (rho(x) - 1) = t, by Newton's steps from x = t; then
 * the inverse depth is what puts x at t, which the last step has made exact to rounding. */
static inline __attribute__((always_inline)) void meet_sheet(const Draw *draw, const Actor *a, int eye, float s,
                                                             const float *t, int n, float *rho) {
    Sheet h = a->thing->sheet;
    float half_span = (eye ? -0.5f : 0.5f) * draw->span, per_half_span = 1 / half_span;
    float v = (s - h.y) / h.half_height, per_half_width = 1 / h.half_width;
    Outline outline = a->thing->outline;
    float room = outline == OUTLINE_NONE ? 1e30f : outline == OUTLINE_ELLIPSE ? 1 - v * v : fabsf(v) <= 1 ? 1 : -1;
    for (int i = 0; i < n; i++) rho[i] = t[i]; /* first the place x, then the inverse depth */
    for (int step = 0; step < 3; step++)
        for (int i = 0; i < n; i++) {
            float x = rho[i], r, g;
            sheet_at(&h, x, s, &r, &g);
            rho[i] = x - (x + half_span * (r - 1) - t[i]) / (1 + half_span * g);
        }
    for (int i = 0; i < n; i++) {
        float x = rho[i], r = 1 + (t[i] - x) * per_half_span, u = (x - h.x) * per_half_width;
        r = r > 0 ? r : 0;
        rho[i] = u * u <= room ? r : 0;
    }
}

typedef struct {
    void (*meet)(const Draw *draw, const Actor *a, const Row *row, int eye, float s, const float *t, int n, float *rho);
    void (*merge)(const float *rho, uint16_t mine, int n, float *best, uint16_t *id);
} RowKernels;

static inline __attribute__((always_inline)) void meet(const Draw *draw, const Actor *a, const Row *row, int eye,
                                                       float s, const float *t, int n, float *rho) {
    switch (a->thing->shape) {
    case THING_FLAT:
        meet_flat(a, row, t, n, rho);
        break;
    case THING_SHEET:
        meet_sheet(draw, a, eye, s, t, n, rho);
        break;
    default:
        meet_quadric(a, row, t, n, rho);
    }
}

/* Keeps what is nearer. */
static inline __attribute__((always_inline)) void merge(const float *restrict rho, uint16_t mine, int n,
                                                        float *restrict best, uint16_t *restrict id) {
    for (int i = 0; i < n; i++) {
        bool nearer = rho[i] > best[i];
        id[i] = nearer ? mine : id[i];
        best[i] = nearer ? rho[i] : best[i];
    }
}

static void meet_plain(const Draw *draw, const Actor *a, const Row *row, int eye, float s, const float *t, int n,
                       float *rho) {
    meet(draw, a, row, eye, s, t, n, rho);
}
static void merge_plain(const float *rho, uint16_t mine, int n, float *best, uint16_t *id) {
    merge(rho, mine, n, best, id);
}
static const RowKernels kernels_plain = {meet_plain, merge_plain};

/* The same source once more in wider vectors. Without fused multiply-add, so the bits are the same on every machine and
 * a seed means the same stream everywhere. */
#if defined __x86_64__
__attribute__((target("avx2"))) static void meet_avx2(const Draw *draw, const Actor *a, const Row *row, int eye,
                                                      float s, const float *t, int n, float *rho) {
    meet(draw, a, row, eye, s, t, n, rho);
}
__attribute__((target("avx2"))) static void merge_avx2(const float *rho, uint16_t mine, int n, float *best,
                                                       uint16_t *id) {
    merge(rho, mine, n, best, id);
}
static const RowKernels kernels_avx2 = {meet_avx2, merge_avx2};
static const RowKernels *row_kernels(void) {
    return cpu_level() >= CPU_AVX2 ? &kernels_avx2 : &kernels_plain;
}
#else
static const RowKernels *row_kernels(void) {
    return &kernels_plain;
}
#endif

/* What is left of a flat thing after its outline is cut out, where it is nearer than `best`. */
static void cut_out(const Actor *a, const Row *row, const float *t, int n, const float *best, float *rho,
                    uint8_t *busy) {
    const Thing *o = a->thing;
    for (int i = 0; i < n; i++) {
        if (!(rho[i] > best[i])) continue;
        float z = 1 / rho[i], u = (row->a0 + row->a1 * t[i]) * z, v = (row->b0 + row->b1 * t[i]) * z;
        float f = field_at(a->mask, a->mask_texture_level, o->mask_origin[0] + o->mask_scale * u,
                           o->mask_origin[1] + o->mask_scale * v);
        if (busy) busy[i] |= fabsf(f - o->mask_level) < 0.1f; /* an outline runs by, perhaps between pixels' centres */
        if (f < o->mask_level) rho[i] = 0;
    }
}

/* What stands along a row at places t, nearest first: opaque things into rho and id, see-through ones before them into
 * veil and over. `busy` (may be NULL): where thin or cut things may cover part of a pixel. `low` and `high` bound t. */
typedef struct {
    float *rho, *veil;
    uint16_t *id, *over;
    uint8_t *busy;
} Cast;

static void cast(const Draw *draw, int eye, double s, const float *t, int n, bool ordered, const Cast *out,
                 float *scratch) {
    const RowKernels *kernels = row_kernels();
    memset(out->rho, 0, sizeof(float) * (size_t)n), memset(out->veil, 0, sizeof(float) * (size_t)n);
    memset(out->id, 0, sizeof(uint16_t) * (size_t)n), memset(out->over, 0, sizeof(uint16_t) * (size_t)n);
    for (int k = 0; k < draw->count; k++) {
        const Actor *a = &draw->actors[k];
        const Seen *seen = &a->seen[eye];
        if (s < (double)seen->top || s > (double)seen->bottom) continue;
        int first = 0, last = n;
        if (ordered) { /* t runs by ones */
            first = seen->left > t[0] ? (int)fminf(seen->left - t[0], (float)n) : 0;
            last = seen->right < t[n - 1] ? (int)fmaxf(seen->right - t[0] + 1, 0) : n;
            if (first >= last) continue;
        }
        Row row;
        if (!make_row(a, eye, s, &row)) continue;
        float *rho = scratch;
        const float *at = t + first;
        int m = last - first;
        kernels->meet(draw, a, &row, eye, (float)s, at, m, rho);
        float *best = (a->veil ? out->veil : out->rho) + first;
        uint16_t *id = (a->veil ? out->over : out->id) + first, mine = (uint16_t)(k + 1);
        if (a->thing->cut) cut_out(a, &row, at, m, best, rho, out->busy ? out->busy + first : NULL);
        kernels->merge(rho, mine, m, best, id);
        /* a thing that may pass between pixel centres: rows and columns about it are looked at closely */
        if (out->busy && a->thing->shape == THING_TUBE && row.d2 < 0) {
            float disc = row.d1 * row.d1 - 4 * row.d0 * row.d2;
            float half = sqrtf(disc > 0 ? disc : 0) / (-2 * row.d2), centre = row.middle - row.d1 / (2 * row.d2) - t[0];
            if (half < 4) {
                int from = (int)(centre - half - 1.5f), to = (int)(centre + half + 2.5f);
                for (int i = from < first ? first : from; i < to && i < last; i++) out->busy[i] = 1;
            }
        }
    }
    for (int i = 0; i < n; i++) {
        bool before = out->veil[i] > out->rho[i];
        out->over[i] = before ? out->over[i] : 0;
        out->veil[i] = before ? out->veil[i] : 0;
    }
}

/* Of a place cast: inverse depth of the surface that counts. */
static float truth_of(const Draw *draw, float rho, float veil, uint16_t over) {
    return over && draw->actors[over - 1].solid ? veil : rho;
}

/* ---- colour ---- */

/* The colour, 0..255 and beyond, of the actor's surface at rho along the ray of (t, s). */
static Vec4 shade(const Draw *draw, const Actor *a, const Row *row, int eye, float t, float s, float rho) {
    const Thing *o = a->thing;
    const Coat *coat = &o->coat;
    float z = 1 / rho, inverse_focal = 1 / draw->focal;
    float dir_x = (t + (eye ? -0.5f : 0.5f) * draw->span) * inverse_focal, dir_y = s * inverse_focal;
    float own[3], n[3], across, down, footprint = a->texels_per_length;
    if (o->shape == THING_SHEET) {
        float half_span = (eye ? -0.5f : 0.5f) * draw->span, x = t - half_span * (rho - 1), r, gx;
        sheet_at(&o->sheet, x, s, &r, &gx);
        across = x, down = s;
        float gy = o->sheet.slope_y;
        for (int k = 0; k < SHEET_WAVES; k++) {
            const float *w = o->sheet.wave[k];
            float u = w[0] * x + w[1] * s + w[2];
            u -= rounded(u);
            gy += w[3] * w[1] * (8 - 32 * fabsf(u));
        }
        n[0] = -gx * draw->focal, n[1] = -gy * draw->focal, n[2] = -(rho - gx * x - gy * s);
    } else {
        for (int k = 0; k < 3; k++) own[k] = row->p[k] + (row->q0[k] + row->qx[k] * t) * z;
        if (o->shape == THING_FLAT) {
            across = own[0] * a->axis_length[0], down = own[1] * a->axis_length[1];
            n[0] = (float)a->flat_normal.x, n[1] = (float)a->flat_normal.y, n[2] = (float)a->flat_normal.z;
        } else {
            Vec3 normal = {0, 0, 0};
            for (int k = 0; k < 3; k++) {
                double m = a->sign[k] * (double)own[k];
                normal.x += m * a->axis[k].x, normal.y += m * a->axis[k].y, normal.z += m * a->axis[k].z;
            }
            n[0] = (float)normal.x, n[1] = (float)normal.y, n[2] = (float)normal.z;
            /* papered face by face, as a box would be: the face that the point looks through most */
            float lengths[3];
            for (int k = 0; k < 3; k++) lengths[k] = own[k] * a->axis_length[k];
            float absolute[3] = {fabsf(own[0]), fabsf(own[1]), o->shape == THING_BALL ? fabsf(own[2]) : -1};
            int face =
                absolute[0] > absolute[1] ? (absolute[0] > absolute[2] ? 0 : 2) : (absolute[1] > absolute[2] ? 1 : 2);
            across = lengths[face == 0 ? 1 : 0], down = lengths[face == 2 ? 1 : 2];
            if (own[face] < 0) face += 3;
            across += 40 * (float)face / a->texels_per_length;
        }
    }
    float normal_length = 1 / sqrtf(n[0] * n[0] + n[1] * n[1] + n[2] * n[2] + 1e-30f);
    float ray_length = 1 / sqrtf(dir_x * dir_x + dir_y * dir_y + 1);
    float facing = -(n[0] * dir_x + n[1] * dir_y + n[2]) * normal_length * ray_length;
    if (facing < 0) normal_length = -normal_length, facing = -facing; /* seen from its other side */
    for (int k = 0; k < 3; k++) n[k] *= normal_length;
    if (o->shape != THING_SHEET) footprint *= z * inverse_focal / sqrtf(facing < 0.04f ? 0.04f : facing);

    float u = coat->origin[0] + coat->across[0] * across + coat->down[0] * down;
    float v = coat->origin[1] + coat->across[1] * across + coat->down[1] * down;
    Vec4 paint = filtered(a->texture, u, v, footprint), colour;
    memcpy(&colour, coat->colour[3], sizeof colour);
    for (int k = 0; k < 3; k++) {
        Vec4 column;
        memcpy(&column, coat->colour[k], sizeof column);
        colour += column * paint[k];
    }
    if (coat->detail_depth > 0) {
        float k = coat->detail_scale;
        Vec4 over = filtered(a->detail, u * k + 31, v * k + 57, footprint * k);
        colour *= 1 + coat->detail_depth * ((over[0] + over[1] + over[2]) * (1.0f / 384) - 1);
    }
    float lit = n[0] * draw->light[0] + n[1] * draw->light[1] + n[2] * draw->light[2], shadow = 1;
    if (coat->shadow_depth > 0) {
        float f = field_at(a->shadow, 0, u * coat->shadow_scale + 77, v * coat->shadow_scale + 13);
        f = (f - coat->shadow_level) / coat->shadow_softness + 0.5f;
        f = f < 0 ? 0 : f > 1 ? 1 : f;
        shadow = 1 - coat->shadow_depth * f;
    }
    float ambient = draw->stage->ambient, light = ambient + (1 - ambient) * (lit > 0 ? lit : 0) * shadow;
    light = light * (0.6f + 0.4f * shadow);
    light += (1 - light) * coat->glow;
    colour *= sqrtf(light); /* pictures hold about the root of light */
    if (coat->gloss > 0 && lit > 0) {
        float half[3] = {draw->light[0] - dir_x * ray_length, draw->light[1] - dir_y * ray_length,
                         draw->light[2] - ray_length};
        float along = (n[0] * half[0] + n[1] * half[1] + n[2] * half[2]) /
                      sqrtf(half[0] * half[0] + half[1] * half[1] + half[2] * half[2] + 1e-6f);
        float peak = along > 0 ? along * along : 0;
        peak *= peak, peak *= peak, peak *= peak, peak *= peak;
        colour += 255 * coat->gloss * peak * shadow;
    }
    if (coat->mirror > 0) { /* a far picture behind the surface: it has infinity's disparity, bent by the normal */
        float far_x = t + (eye ? -0.5f : 0.5f) * draw->span, bend = 0.6f * draw->focal;
        Vec4 image = bilinear(a->mirrored, 1, far_x + bend * n[0], s + bend * n[1]);
        float share = coat->mirror * (0.4f + 0.6f * (1 - facing));
        colour += (image - colour) * share;
    }
    if (draw->stage->fog > 0) {
        float share = draw->stage->fog / (1 + 4 * rho);
        Vec4 fog = {draw->stage->fog_colour[0], draw->stage->fog_colour[1], draw->stage->fog_colour[2], 0};
        colour += (fog - colour) * share;
    }
    return colour;
}

/* ---- the pictures ---- */

/* Rows of the actors, made when first needed. */
typedef struct {
    int made[STAGE_THINGS_MAX]; /* for which row number, so that nothing has to be cleared */
    Row row[STAGE_THINGS_MAX];
} Rows;

static const Row *row_of(const Draw *draw, Rows *rows, int eye, int which, double s, int number) {
    if (rows->made[which] != number) {
        make_row(&draw->actors[which], eye, s, &rows->row[which]);
        rows->made[which] = number;
    }
    return &rows->row[which];
}

static Vec4 colour_of(const Draw *draw, Rows *rows, int eye, float t, double s, int number, float rho, uint16_t id,
                      float veil, uint16_t over) {
    Vec4 colour = {0};
    if (id)
        colour = shade(draw, &draw->actors[id - 1], row_of(draw, rows, eye, id - 1, s, number), eye, t, (float)s, rho);
    if (over) {
        const Actor *a = &draw->actors[over - 1];
        Vec4 front = shade(draw, a, row_of(draw, rows, eye, over - 1, s, number), eye, t, (float)s, veil);
        colour += (front - colour) * a->thing->opacity;
    }
    return colour;
}

static uint8_t to_byte(float v) {
    return (uint8_t)(v <= 0 ? 0 : v >= 255 ? 255 : v + 0.5f);
}

/* Scratch for one row. */
typedef struct {
    float *t, *scratch, *rho, *veil;
    uint16_t *id, *over;
    int *column;
    Vec4 *sum;
    Rows *rows;
} Work;

/* Four rays on the corners of a turned square: no two in one row or column. */
enum { RAYS = 4 };
static const float ray_places[RAYS][2] = {{-0.125f, -0.375f}, {0.375f, -0.125f}, {-0.375f, 0.125f}, {0.125f, 0.375f}};

static void cast_centres(Draw *draw, int eye, Work *work) {
    int w = draw->width, h = draw->height;
    float cx = (float)draw->stage->centre_x;
    for (int x = 0; x < w; x++) work->t[x] = (float)x - cx;
    for (int y = 0; y < h; y++) {
        size_t at = (size_t)y * (size_t)w;
        memset(draw->busy[eye] + at, 0, (size_t)w);
        Cast out = {draw->rho[eye] + at, draw->veil[eye] + at, draw->id[eye] + at, draw->over[eye] + at,
                    draw->busy[eye] + at};
        cast(draw, eye, (double)y - draw->stage->centre_y, work->t, w, true, &out, work->scratch);
    }
}

static void write_truth(const Draw *draw, int eye, Work *work) {
    int w = draw->width, h = draw->height;
    const SampleEye *to = eye ? &draw->sample->right : &draw->sample->left;
    float cx = (float)draw->stage->centre_x;
    for (int y = 0; y < h; y++) {
        size_t at = (size_t)y * (size_t)w;
        float *disparity = to->disparity + at, *valid = to->valid + at, *occlusion = to->occlusion + at;
        int n = 0;
        for (int x = 0; x < w; x++) {
            uint16_t over = draw->over[eye][at + (size_t)x];
            float rho = truth_of(draw, draw->rho[eye][at + (size_t)x], draw->veil[eye][at + (size_t)x], over);
            bool there = rho > 0;
            float d = there ? draw->span * (rho - 1) : 0, match = eye ? (float)x + d : (float)x - d;
            valid[x] = there, disparity[x] = d, occlusion[x] = 0;
            if (there && match >= 0 && match <= (float)(w - 1)) work->column[n] = x, work->t[n++] = match - cx;
        }
        if (!n) continue;
        Cast out = {work->rho, work->veil, work->id, work->over, NULL};
        cast(draw, !eye, (double)y - draw->stage->centre_y, work->t, n, false, &out, work->scratch);
        for (int i = 0; i < n; i++) {
            float met = truth_of(draw, work->rho[i], work->veil[i], work->over[i]);
            float nearer = draw->span * (met - 1) - disparity[work->column[i]];
            /* a fortieth of a pixel is far above rounding and below any disparity that matters */
            occlusion[work->column[i]] = nearer < 0.025f;
        }
    }
}

static void paint(const Draw *draw, int eye, Work *work, int *number) {
    int w = draw->width, h = draw->height;
    uint8_t *rgb = (eye ? &draw->sample->right : &draw->sample->left)->rgb;
    float cx = (float)draw->stage->centre_x;
    const uint16_t *id = draw->id[eye], *over = draw->over[eye];
    for (int y = 0; y < h; y++) {
        double s = (double)y - draw->stage->centre_y;
        size_t at = (size_t)y * (size_t)w;
        int n = 0;
        ++*number;
        for (int x = 0; x < w; x++) {
            size_t i = at + (size_t)x;
            bool edge = draw->busy[eye][i];
            if (x) edge |= id[i] != id[i - 1] || over[i] != over[i - 1];
            if (x + 1 < w) edge |= id[i] != id[i + 1] || over[i] != over[i + 1];
            if (y) edge |= id[i] != id[i - (size_t)w] || over[i] != over[i - (size_t)w];
            if (y + 1 < h) edge |= id[i] != id[i + (size_t)w] || over[i] != over[i + (size_t)w];
            if (edge) {
                work->column[n++] = x;
                continue;
            }
            Vec4 c = colour_of(draw, work->rows, eye, (float)x - cx, s, *number, draw->rho[eye][i], id[i],
                               draw->veil[eye][i], over[i]);
            for (int k = 0; k < 3; k++) rgb[3 * i + (size_t)k] = to_byte(c[k]);
        }
        if (!n) continue;
        memset(work->sum, 0, sizeof *work->sum * (size_t)n);
        for (int ray = 0; ray < RAYS; ray++) {
            double sub = s + (double)ray_places[ray][1];
            ++*number;
            for (int i = 0; i < n; i++) work->t[i] = (float)work->column[i] - cx + ray_places[ray][0];
            Cast out = {work->rho, work->veil, work->id, work->over, NULL};
            cast(draw, eye, sub, work->t, n, false, &out, work->scratch);
            for (int i = 0; i < n; i++)
                work->sum[i] += colour_of(draw, work->rows, eye, work->t[i], sub, *number, work->rho[i], work->id[i],
                                          work->veil[i], work->over[i]);
        }
        for (int i = 0; i < n; i++)
            for (int k = 0; k < 3; k++)
                rgb[3 * (at + (size_t)work->column[i]) + (size_t)k] = to_byte(work->sum[i][k] * (1.0f / RAYS));
    }
}

int stage_draw(const Stage *stage, Sample *sample) {
    Arena *arena = arena_make();
    if (!arena) return err_code();
    size_t w = (size_t)sample->width, pixels = w * (size_t)sample->height;
    Draw *draw = mem_zero(1, sizeof *draw);
    uint8_t *planes = mem_array(pixels, 2 * (4 + 4 + 2 + 2 + 1));
    Work work = {.t = arena_alloc(arena, w * 4),
                 .scratch = arena_alloc(arena, w * 4),
                 .rho = arena_alloc(arena, w * 4),
                 .veil = arena_alloc(arena, w * 4),
                 .id = arena_alloc(arena, w * 2),
                 .over = arena_alloc(arena, w * 2),
                 .column = arena_alloc(arena, w * 4),
                 .sum = arena_alloc(arena, w * sizeof(Vec4)),
                 .rows = arena_alloc(arena, sizeof(Rows))};
    int code = !draw || !planes || arena_failed(arena) ? err_code() : 0;
    if (!code) {
        draw->stage = stage, draw->sample = sample, draw->width = sample->width, draw->height = sample->height;
        draw->focal = (float)stage->focal, draw->span = (float)stage->span;
        double light = length(stage->light);
        draw->light[0] = (float)(stage->light.x / light), draw->light[1] = (float)(stage->light.y / light),
        draw->light[2] = (float)(stage->light.z / light);
        uint8_t *at = planes;
        for (int eye = 0; eye < 2; eye++) {
            draw->rho[eye] = (float *)(void *)at, at += 4 * pixels;
            draw->veil[eye] = (float *)(void *)at, at += 4 * pixels;
        }
        for (int eye = 0; eye < 2; eye++) {
            draw->id[eye] = (uint16_t *)(void *)at, at += 2 * pixels;
            draw->over[eye] = (uint16_t *)(void *)at, at += 2 * pixels;
        }
        for (int eye = 0; eye < 2; eye++, at += pixels) draw->busy[eye] = at;
        for (; !code && draw->count < stage->count; draw->count++)
            code = prepare(draw, &draw->actors[draw->count], &stage->things[draw->count]);
    }
    if (!code) {
        int number = 0;
        for (int eye = 0; eye < 2; eye++) cast_centres(draw, eye, &work);
        for (int eye = 0; eye < 2; eye++) write_truth(draw, eye, &work), paint(draw, eye, &work, &number);
        sample->occlusion_known = sample->right_known = true;
    }
    mem_free(planes), mem_free(draw);
    arena_drop(arena);
    return code;
}
