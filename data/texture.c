/* data/texture.c - what is painted into the bank's textures, and their halved copies. */
#include "data/texture.h"
#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum { SIDE = TEXTURE_SIDE, MASK = SIDE - 1 };

/* One texture while it is painted; everything wraps round. */
typedef struct {
    float colour[SIDE * SIDE][3];
    float field[SIDE * SIDE];
    float work[SIDE * SIDE];
    uint64_t seed, n;
} Canvas;

struct TextureBank {
    uint64_t seed;
    pthread_mutex_t lock;
    Texture *made[TEXTURES]; /* written under the lock, read without it */
};

/* Never two draws among the arguments of one call, nor in one initialiser: C leaves their order open. */
static double draw(Canvas *c, double low, double high) {
    return low + (high - low) * rng_unit(c->seed, c->n++);
}
static int draw_whole(Canvas *c, int count) {
    return (int)draw(c, 0, count);
}
static bool draw_chance(Canvas *c, double p) {
    return draw(c, 0, 1) < p;
}
static float clamp01(float v) {
    return v < 0 ? 0 : v > 1 ? 1 : v;
}
static float mixf(float a, float b, float t) {
    return a + (b - a) * t;
}

/* ---- colours ---- */

/* A few colours that go together: a base, its lighter and darker sisters, and now and then a contrast. */
typedef struct {
    float colour[6][3];
} Palette;

static void draw_palette(Canvas *c, Palette *p) {
    double saturation = draw_chance(c, 0.25) ? 0.03 : draw(c, 0.05, 0.6), value = draw(c, 0.15, 0.75);
    double hue = draw(c, 0, 6.2832), spread = draw_chance(c, 0.6) ? 0.5 : 3.1;
    double contrast = draw(c, 0.1, 0.5);
    for (int k = 0; k < 6; k++) {
        double h = hue + draw(c, -spread, spread), v = value + draw(c, -contrast, contrast);
        double s = saturation * draw(c, 0.3, 1.2) * (v < 0.5 ? v + 0.3 : 0.8);
        for (int i = 0; i < 3; i++) p->colour[k][i] = clamp01((float)(v + s * cos(h + 2.0944 * i)));
    }
}

/* ---- fields: SIDE x SIDE values, wrapping round ---- */

/* Smooth lattice noise with `cells` cells a side (a power of two), added to `out` times `amplitude`. */
static void add_noise(Canvas *c, float *out, int cells, float amplitude) {
    uint64_t seed = rng_u64(c->seed, c->n++);
    if (cells >= SIDE) {
        for (int i = 0; i < SIDE * SIDE; i++) out[i] += amplitude * (float)rng_signed(seed, (uint64_t)i);
        return;
    }
    int step = SIDE / cells;
    float top[SIDE + 1], bottom[SIDE + 1], weight[SIDE];
    for (int i = 0; i < step; i++) {
        float t = ((float)i + 0.5f) / (float)step;
        weight[i] = t * t * (3 - 2 * t);
    }
    for (int j = 0; j < cells; j++) {
        for (int i = 0; i <= cells; i++) {
            uint64_t at = (uint64_t)(i % cells);
            top[i] = (float)rng_signed(seed, at + (uint64_t)j * (uint64_t)cells);
            bottom[i] = (float)rng_signed(seed, at + (uint64_t)((j + 1) % cells) * (uint64_t)cells);
        }
        for (int y = 0; y < step; y++) {
            float *row = out + (j * step + y) * SIDE;
            for (int i = 0; i < cells; i++) {
                float a = mixf(top[i], bottom[i], weight[y]), b = mixf(top[i + 1], bottom[i + 1], weight[y]);
                for (int x = 0; x < step; x++) row[i * step + x] += amplitude * mixf(a, b, weight[x]);
            }
        }
    }
}

/* Octaves from `coarsest` to `finest` cells a side, amplitudes falling as cells^-slope; standard deviation about 1. */
static void fill_octaves(Canvas *c, float *out, int coarsest, int finest, double slope) {
    memset(out, 0, sizeof(float) * SIDE * SIDE);
    for (int cells = coarsest; cells <= finest; cells *= 2)
        add_noise(c, out, cells, (float)pow((double)cells / coarsest, -slope));
    double sum = 0, squares = 0;
    for (int i = 0; i < SIDE * SIDE; i++) sum += (double)out[i], squares += (double)out[i] * (double)out[i];
    double mean = sum / (SIDE * SIDE), deviation = sqrt(fmax(squares / (SIDE * SIDE) - mean * mean, 1e-12));
    float shift = (float)mean, scale = (float)(1 / deviation);
    for (int i = 0; i < SIDE * SIDE; i++) out[i] = (out[i] - shift) * scale;
}

/* ---- painting ---- */

static void fill_colour(Canvas *c, const float rgb[3]) {
    for (int i = 0; i < SIDE * SIDE; i++) memcpy(c->colour[i], rgb, sizeof c->colour[i]);
}

/* Brightness noise over what is there. */
static void add_grain(Canvas *c, double strength, int coarsest, double slope) {
    fill_octaves(c, c->work, coarsest, SIDE, slope);
    for (int i = 0; i < SIDE * SIDE; i++)
        for (int k = 0; k < 3; k++) c->colour[i][k] *= 1 + (float)strength * c->work[i];
}

/* Grain of a strength and a slope within these bounds; the slope is drawn first. */
static void draw_grain(Canvas *c, double weakest, double strongest, double flattest, double steepest) {
    const double slope = draw(c, flattest, steepest);
    add_grain(c, draw(c, weakest, strongest), 8, slope);
}

/* Colours along a noise field, through the palette from dark to light: clouds, earth, plaster, skin, wool. */
static void paint_noise(Canvas *c) {
    Palette p;
    draw_palette(c, &p);
    int coarsest = 1 << (1 + draw_whole(c, 4));
    double slope = draw(c, 0.4, 1.3), contrast = draw(c, 0.1, 0.6);
    fill_octaves(c, c->work, coarsest, SIDE, slope);
    for (int i = 0; i < SIDE * SIDE; i++) {
        float t = clamp01(0.5f + (float)contrast * c->work[i]) * 2.999f;
        int k = (int)t;
        for (int j = 0; j < 3; j++) c->colour[i][j] = mixf(p.colour[k][j], p.colour[k + 1][j], t - (float)k);
    }
    if (draw_chance(c, 0.5)) /* colour of its own besides brightness */
        for (int j = 0; j < 3; j++) {
            fill_octaves(c, c->work, coarsest, SIDE, slope);
            float s = (float)draw(c, 0.01, 0.08);
            for (int i = 0; i < SIDE * SIDE; i++) c->colour[i][j] += s * c->work[i];
        }
}

/* sin of something bent by noise: marble, wood, water. */
static void paint_marble(Canvas *c) {
    Palette p;
    draw_palette(c, &p);
    fill_octaves(c, c->work, 2, SIDE / 2, draw(c, 0.9, 1.4));
    double bend = draw(c, 0.5, 4), power = draw(c, 0.6, 3);
    int waves_x = draw_whole(c, 3), waves_y = 1 + draw_whole(c, 12);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            int i = y * SIDE + x;
            double phase = 6.2832 / SIDE * (waves_x * x + waves_y * y) + bend * (double)c->work[i];
            float t = (float)pow(0.5 + 0.5 * sin(phase), power);
            for (int j = 0; j < 3; j++) c->colour[i][j] = mixf(p.colour[0][j], p.colour[1][j], t);
        }
    add_grain(c, draw(c, 0.02, 0.15), 16, 0.5);
}

/* A shape to stamp: turned rectangle, ellipse or lens (a leaf), with its own light from one edge to the other. */
typedef struct {
    float x, y, half_a, half_b, cosine, sine, square, shade, alpha;
    float colour[3];
} Stamp;

/* Of a row's from <= x < to, what may have |slope (x - centre) + offset| < half: a stamp that lies askew covers little
 * of the square around it. One pixel more on each side is left for rounding; which pixels are painted is decided one by
 * one. */
static void narrow(float *from, float *to, float centre, float slope, float offset, float half) {
    if (fabsf(slope) < 1e-3f) return;
    float low = centre + (-half - offset) / slope, high = centre + (half - offset) / slope;
    if (low > high) {
        float swap = low;
        low = high;
        high = swap;
    }
    if (low - 1 > *from) *from = floorf(low - 1);
    if (high + 2 < *to) *to = ceilf(high + 2);
}

static void stamp(Canvas *c, const Stamp *s, bool on_field) {
    float reach_x = fabsf(s->cosine) * s->half_a + fabsf(s->sine) * s->half_b + 1;
    float reach_y = fabsf(s->sine) * s->half_a + fabsf(s->cosine) * s->half_b + 1;
    if (reach_x > SIDE / 2) reach_x = SIDE / 2;
    if (reach_y > SIDE / 2) reach_y = SIDE / 2;
    float soft = s->half_a < s->half_b ? s->half_a : s->half_b;
    for (int y = (int)(s->y - reach_y); y < (int)(s->y + reach_y); y++) {
        float from = s->x - reach_x, to = s->x + reach_x;
        narrow(&from, &to, s->x, s->cosine, s->sine * ((float)y - s->y), s->half_a);
        narrow(&from, &to, s->x, -s->sine, s->cosine * ((float)y - s->y), s->half_b);
        for (int x = (int)from; x < (int)to; x++) {
            float dx = (float)x - s->x, dy = (float)y - s->y;
            float a = (s->cosine * dx + s->sine * dy) / s->half_a, b = (s->cosine * dy - s->sine * dx) / s->half_b;
            float aa = a * a, bb = b * b;
            /* 1 at the outline: square 0 an ellipse, 1 a rectangle, -1 a lens */
            float r = s->square > 0.5f ? (aa > bb ? aa : bb) : s->square < -0.5f ? fabsf(b) + aa : aa + bb;
            if (r >= 1) continue;
            float cover = (1 - r) * soft;
            cover = (cover > 1 ? 1 : cover) * s->alpha;
            int i = (y & MASK) * SIDE + (x & MASK);
            if (on_field) {
                c->field[i] = mixf(c->field[i], s->shade, cover);
                continue;
            }
            float light = 1 + s->shade * a;
            for (int k = 0; k < 3; k++) c->colour[i][k] = mixf(c->colour[i][k], s->colour[k] * light, cover);
        }
    }
}

static Stamp draw_stamp(Canvas *c, double size, double square) {
    double angle = draw(c, 0, 6.2832), aspect = exp(draw(c, -0.8, 0.8));
    const float x = (float)draw(c, 0, SIDE), y = (float)draw(c, 0, SIDE), shade = (float)draw(c, -0.25, 0.25);
    Stamp s = {.x = x,
               .y = y,
               .half_a = (float)(size * aspect),
               .half_b = (float)(size / aspect),
               .cosine = (float)cos(angle),
               .sine = (float)sin(angle),
               .square = (float)square,
               .shade = shade,
               .alpha = 1};
    return s;
}

/* Shapes of all sizes (numbers falling as size^-2 to -3) covering one another. */
static void paint_leaves(Canvas *c) {
    Palette p, q;
    draw_palette(c, &p), draw_palette(c, &q);
    fill_colour(c, p.colour[0]);
    int kind = draw_whole(c, 4) - 1; /* -1 lenses, 0 ellipses, 1 rectangles, 2 all */
    bool upright = kind >= 1 && draw_chance(c, 0.5);
    double least = exp(draw(c, 0.3, 1.4)), most = exp(draw(c, 2.5, 4.2)), power = draw(c, 1.2, 2.2);
    double covered = 0, jitter = draw(c, 0, 0.12);
    for (int n = 0; covered < 3.5 && n < 9000; n++) {
        double u = draw(c, 0, 1),
               size = pow(mixf((float)pow(most, -power), (float)pow(least, -power), (float)u), -1 / power);
        Stamp s = draw_stamp(c, size, kind == 2 ? draw_whole(c, 3) - 1 : kind);
        if (upright) s.cosine = 1, s.sine = 0;
        const Palette *palette = draw_chance(c, 0.15) ? &q : &p;
        const float *colour = palette->colour[draw_whole(c, 6)];
        float v = (float)draw(c, -jitter, jitter);
        for (int k = 0; k < 3; k++) s.colour[k] = clamp01(colour[k] + v);
        stamp(c, &s, false);
        covered += 3 * size * size / (SIDE * SIDE);
    }
    if (draw_chance(c, 0.6)) draw_grain(c, 0.02, 0.2, 0.3, 1);
}

/* Long thin strokes in about one direction: grass, hair, straw, scratches. */
static void paint_strokes(Canvas *c) {
    Palette p;
    draw_palette(c, &p);
    fill_colour(c, p.colour[0]);
    if (draw_chance(c, 0.5)) add_grain(c, 0.2, 4, 0.8);
    double angle = draw(c, 0, 6.2832), spread = draw_chance(c, 0.5) ? 0.3 : 3.2, width = draw(c, 0.6, 2.5);
    int count = (int)(exp(draw(c, 3.5, 7.6)));
    for (int n = 0; n < count; n++) {
        Stamp s = draw_stamp(c, 1, draw_chance(c, 0.5) ? -1 : 0);
        double turn = angle + draw(c, -spread, spread);
        s.half_a = (float)draw(c, 8, 60), s.half_b = (float)(width * draw(c, 0.7, 1.5));
        s.cosine = (float)cos(turn), s.sine = (float)sin(turn);
        memcpy(s.colour, p.colour[1 + draw_whole(c, 5)], sizeof s.colour);
        stamp(c, &s, false);
    }
}

/* The nearest of scattered points, cell by cell: stones, leather, cracked earth. */
static void paint_stones(Canvas *c) {
    Palette p;
    draw_palette(c, &p);
    int cells = 4 << draw_whole(c, 4), step = SIDE / cells; /* 4 to 32 a side */
    uint64_t seed = rng_u64(c->seed, c->n++);
    float joint = (float)draw(c, 0, 0.25), dome = (float)draw(c, -0.4, 0.4);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            float first = 1e9f, second = 1e9f;
            uint64_t which = 0;
            for (int k = 0; k < 9; k++) {
                int i = x / step + k % 3 - 1, j = y / step + k / 3 - 1;
                uint64_t cell = (uint64_t)((j + cells) % cells * cells + (i + cells) % cells);
                uint64_t bits = rng_u64(seed, cell);
                float px = ((float)i + (float)(bits & 255) / 255) * (float)step,
                      py = ((float)j + (float)(bits >> 8 & 255) / 255) * (float)step;
                float dx = px - (float)x, dy = py - (float)y, d = dx * dx + dy * dy;
                if (d < first)
                    second = first, first = d, which = bits;
                else if (d < second)
                    second = d;
            }
            float edge = (sqrtf(second) - sqrtf(first)) / (float)step;
            const float *colour = p.colour[1 + (which >> 16) % 5];
            float light = (edge < joint ? 0.35f : 1) * (1 - dome * (1 - edge));
            for (int k = 0; k < 3; k++) c->colour[y * SIDE + x][k] = colour[k] * light;
        }
    draw_grain(c, 0.03, 0.2, 0.3, 0.9);
}

/* Cells in rows, each of its own shade, with joints: tiles, bricks, chequers, windows. */
static void paint_tiles(Canvas *c) {
    Palette p;
    draw_palette(c, &p);
    int across = 2 << draw_whole(c, 5), down = draw_chance(c, 0.5) ? across : across * 2 > 64 ? across : across * 2;
    bool bricks = draw_chance(c, 0.4), chequer = draw_chance(c, 0.4);
    float joint = draw_chance(c, 0.7) ? (float)draw(c, 0.03, 0.2) : 0, jitter = (float)draw(c, 0, 0.3);
    uint64_t seed = rng_u64(c->seed, c->n++);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            float b = (float)y / SIDE * (float)down, a = (float)x / SIDE * (float)across;
            int j = (int)b;
            if (bricks && j % 2) a += 0.5f;
            int i = (int)a;
            float inside_a = a - (float)i, inside_b = b - (float)j;
            i %= across;
            bool in_joint = inside_a < joint || inside_b < joint * (float)down / (float)across;
            const float *colour = in_joint ? p.colour[5] : p.colour[chequer ? (i + j) & 1 : 0];
            float light = in_joint ? 1 : 1 + jitter * (float)rng_signed(seed, (uint64_t)(j * across + i));
            for (int k = 0; k < 3; k++) c->colour[y * SIDE + x][k] = colour[k] * light;
        }
    draw_grain(c, 0, 0.15, 0.3, 1);
}

/* Bands of unequal widths, one way or both: cloth, planks, blinds, awnings. */
static void paint_stripes(Canvas *c) {
    Palette p;
    draw_palette(c, &p);
    int bands = 2 + draw_whole(c, draw_chance(c, 0.5) ? 8 : 60), repeats = 1 << draw_whole(c, 4);
    bool both = draw_chance(c, 0.4), soft = draw_chance(c, 0.3), upright = draw_chance(c, 0.5);
    uint8_t band[2][SIDE];
    uint64_t seed = rng_u64(c->seed, c->n++);
    for (int way = 0; way < 2; way++) {
        double edge[64], total = 0;
        for (int i = 0; i < bands; i++) edge[i] = total += 0.3 + rng_unit(seed, (uint64_t)(way * 64 + i));
        for (int x = 0; x < SIDE; x++) {
            double at = (double)((x * repeats) & MASK) / SIDE * total;
            int i = 0;
            while (i < bands - 1 && at >= edge[i]) i++;
            band[way][x] = (uint8_t)(rng_u64(seed, (uint64_t)(200 + way * 64 + i)) % 5);
        }
    }
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            const float *a = p.colour[band[0][upright ? x : y]], *b = p.colour[band[1][upright ? y : x]];
            float wave = soft ? 0.8f + 0.2f * sinf(6.2832f * (float)((upright ? x : y) * repeats) / SIDE) : 1;
            for (int k = 0; k < 3; k++) c->colour[y * SIDE + x][k] = wave * (both ? 0.5f * (a[k] + b[k]) : a[k]);
        }
    if (both && draw_chance(c, 0.5))
        add_grain(c, 0.15, 64, 0.2); /* weave */
    else
        draw_grain(c, 0, 0.15, 0.3, 1);
}

/* Lines of small signs of strokes, words apart: print, signs, screens. */
static void paint_writing(Canvas *c) {
    Palette p;
    draw_palette(c, &p);
    bool light_ground = draw_chance(c, 0.7);
    float ground[3], ink[3];
    for (int k = 0; k < 3; k++) {
        ground[k] = light_ground ? 0.6f + 0.35f * p.colour[0][k] : 0.3f * p.colour[0][k];
        ink[k] = light_ground ? 0.25f * p.colour[1][k] : 0.6f + 0.4f * p.colour[1][k];
    }
    fill_colour(c, ground);
    if (draw_chance(c, 0.6)) add_grain(c, draw(c, 0.01, 0.08), 4, 0.8);
    int lines = 6 << draw_whole(c, 3), pitch = SIDE / lines;
    for (int line = 0; line < lines; line++) {
        if (draw_chance(c, 0.12)) continue;
        float size = 0.33f * (float)pitch, y = ((float)line + 0.5f) * (float)pitch;
        for (float x = 0; x < SIDE; x += size * 1.6f) {
            if (draw_chance(c, 0.18)) continue;
            int strokes = 2 + draw_whole(c, 3);
            for (int k = 0; k < strokes; k++) {
                Stamp s = {.half_a = size * (float)draw(c, 0.4, 1),
                           .half_b = fmaxf(0.7f, 0.22f * size),
                           .square = 1,
                           .alpha = 1};
                static const float turn[4][2] = {{1, 0}, {0, 1}, {0.7071f, 0.7071f}, {0.7071f, -0.7071f}};
                int way = draw_whole(c, 5) % 4;
                s.cosine = turn[way][0], s.sine = turn[way][1];
                s.x = x + size * (float)draw(c, 0, 0.8), s.y = y + size * (float)draw(c, -0.8, 0.8);
                memcpy(s.colour, ink, sizeof ink);
                stamp(c, &s, false);
            }
        }
    }
}

/* Discs on a ground, in order or scattered; also random dots. */
static void paint_dots(Canvas *c) {
    Palette p;
    draw_palette(c, &p);
    if (draw_chance(c, 0.25)) {
        int block = 1 << draw_whole(c, 4);
        uint64_t seed = rng_u64(c->seed, c->n++);
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                memcpy(c->colour[y * SIDE + x], p.colour[rng_u64(seed, (uint64_t)(y / block * SIDE + x / block)) % 4],
                       sizeof p.colour[0]);
        return;
    }
    fill_colour(c, p.colour[0]);
    bool ordered = draw_chance(c, 0.5);
    int across = 4 << draw_whole(c, 4), count = across * across;
    double size = (double)SIDE / across * draw(c, 0.12, 0.42);
    for (int n = 0; n < count; n++) {
        Stamp s = draw_stamp(c, size, 0);
        if (ordered) {
            s.x = ((float)(n % across) + (n / across % 2 ? 0.5f : 0)) * (SIDE / (float)across);
            s.y = (float)(n / across) * (SIDE / (float)across);
            s.half_a = s.half_b = (float)size;
        }
        memcpy(s.colour, p.colour[1 + draw_whole(c, ordered ? 1 : 5)], sizeof s.colour);
        stamp(c, &s, false);
    }
    add_grain(c, draw(c, 0, 0.1), 8, 0.6);
}

/* Nearly nothing: a wall, a sky, a board. What little there is may be less than the camera's noise. */
static void paint_plain(Canvas *c) {
    Palette p;
    draw_palette(c, &p);
    fill_colour(c, p.colour[0]);
    const double slope = draw(c, 0.3, 1.2);
    const int coarsest = 1 << draw_whole(c, 6);
    add_grain(c, draw_chance(c, 0.3) ? 0 : draw(c, 0.004, 0.03), coarsest, slope);
    if (draw_chance(c, 0.5)) {
        fill_octaves(c, c->work, 1, 4, 1.2);
        float s = (float)draw(c, 0.02, 0.15);
        for (int i = 0; i < SIDE * SIDE; i++)
            for (int k = 0; k < 3; k++) c->colour[i][k] *= 1 + s * c->work[i];
    }
}

/* A quarter, an eighth or a sixteenth of what is there, repeated: wallpaper, facades, crowds of the same. */
static void repeat_part(Canvas *c) {
    int side = SIDE >> (1 + draw_whole(c, 3));
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            int i = y % side * SIDE + x % side;
            if (i != y * SIDE + x) memcpy(c->colour[y * SIDE + x], c->colour[i], sizeof c->colour[0]);
        }
}

/* The fourth value: a field in 0..1 whose level sets are outlines. */
static void paint_field(Canvas *c) {
    int kind = draw_whole(c, 5);
    if (kind <= 1) { /* clouds, from round to ragged */
        const double slope = draw(c, 0.7, 1.6);
        fill_octaves(c, c->field, 2 << draw_whole(c, 3), 64, slope);
        for (int i = 0; i < SIDE * SIDE; i++) c->field[i] = clamp01(0.5f + 0.25f * c->field[i]);
        return;
    }
    memset(c->field, 0, sizeof c->field);
    double angle = draw(c, 0, 6.2832), spread = kind == 2 ? 3.2 : 0.4;
    int count = kind == 4 ? 40 : (int)exp(draw(c, 4, 5.8));
    double size = kind == 4 ? draw(c, 6, 18) : draw(c, 4, 12);
    for (int n = 0; n < count; n++) { /* leaves, blades, holes: cones whose height falls from the middle outwards */
        Stamp s = draw_stamp(c, size * exp(draw(c, -0.5, 0.5)), kind == 4 ? 0 : -1);
        double turn = angle + draw(c, -spread, spread);
        s.cosine = (float)cos(turn), s.sine = (float)sin(turn), s.shade = 1;
        if (kind == 3) s.half_a = (float)draw(c, 20, 90), s.half_b = (float)draw(c, 1.5, 4);
        stamp(c, &s, true);
    }
}

static void paint(Canvas *c) {
    static void (*const painters[])(Canvas *) = {
        paint_noise,   paint_noise,  paint_noise,  paint_noise,  paint_leaves,  paint_leaves,
        paint_leaves,  paint_leaves, paint_leaves, paint_marble, paint_strokes, paint_strokes,
        paint_stones,  paint_stones, paint_tiles,  paint_tiles,  paint_stripes, paint_stripes,
        paint_writing, paint_dots,   paint_plain,  paint_plain,  paint_plain};
    enum { PAINTERS = sizeof painters / sizeof *painters };
    int which = draw_whole(c, PAINTERS);
    painters[which](c);
    if (painters[which] != paint_plain && draw_chance(c, 0.07)) repeat_part(c);
    paint_field(c);
}

/* ---- the bank ---- */

static const size_t texture_bytes = 4 * ((size_t)SIDE * SIDE * 4 - 1) / 3; /* SIDE^2 + SIDE^2/4 + ... + 1 texels */

static uint8_t to_byte(float v) {
    return (uint8_t)(int)(clamp01(v) * 255 + 0.5f);
}

/* A row at a time, so that the arithmetic is in vectors. */
static void to_bytes(const Canvas *c, uint8_t *texels) {
    uint8_t colours[3 * SIDE], fields[SIDE];
    for (int y = 0; y < SIDE; y++, texels += 4 * SIDE) {
        const float *colour = c->colour[y * SIDE], *field = c->field + y * SIDE;
        for (int i = 0; i < 3 * SIDE; i++) colours[i] = to_byte(colour[i]);
        for (int i = 0; i < SIDE; i++) fields[i] = to_byte(field[i]);
        for (int x = 0; x < SIDE; x++) {
            memcpy(texels + 4 * x, colours + 3 * x, 3);
            texels[4 * x + 3] = fields[x];
        }
    }
}

/* Means of 2x2 texels, rounded: every second byte at a time, each in 16 bits of a word, so that sums have room. */
static void halve(const uint8_t *from, uint8_t *to, int side) {
    const uint32_t bytes = 0x00ff00ff, rounding = 0x00020002;
    for (int y = 0; y < side; y++, from += 16 * side, to += 4 * side)
        for (int x = 0; x < side; x++) {
            uint32_t p[4], mean;
            memcpy(p, from + 8 * x, 8), memcpy(p + 2, from + 8 * (side + x), 8);
            uint32_t even = (p[0] & bytes) + (p[1] & bytes) + (p[2] & bytes) + (p[3] & bytes) + rounding;
            uint32_t odd =
                (p[0] >> 8 & bytes) + (p[1] >> 8 & bytes) + (p[2] >> 8 & bytes) + (p[3] >> 8 & bytes) + rounding;
            mean = (even >> 2 & bytes) | (odd >> 2 & bytes) << 8;
            memcpy(to + 4 * x, &mean, 4);
        }
}

static Texture *make_texture(uint64_t seed) {
    Canvas *c = mem_alloc(sizeof *c);
    Texture *t = mem_alloc(sizeof *t + texture_bytes);
    if (!c || !t) {
        mem_free(c), mem_free(t);
        return NULL;
    }
    c->seed = seed, c->n = 0;
    paint(c);
    uint8_t *at = (uint8_t *)(t + 1);
    t->level[0] = at;
    to_bytes(c, at);
    for (int level = 1; level < TEXTURE_LEVELS; level++) {
        at += 4 * (SIDE >> (level - 1)) * (SIDE >> (level - 1));
        t->level[level] = at;
        halve(t->level[level - 1], at, SIDE >> level);
    }
    mem_free(c);
    return t;
}

int texture_bank_make(TextureBank **bank, uint64_t seed) {
    *bank = mem_zero(1, sizeof **bank);
    if (!*bank) return err_code();
    (*bank)->seed = seed;
    pthread_mutex_init(&(*bank)->lock, NULL);
    return 0;
}

const Texture *texture_get(TextureBank *bank, uint64_t which) {
    which %= TEXTURES;
    Texture *t = __atomic_load_n(&bank->made[which], __ATOMIC_ACQUIRE);
    if (t) return t;
    pthread_mutex_lock(&bank->lock);
    t = bank->made[which];
    if (!t) {
        t = make_texture(rng_u64(bank->seed, which));
        __atomic_store_n(&bank->made[which], t, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&bank->lock);
    return t;
}

void texture_bank_drop(TextureBank *bank) {
    if (!bank) return;
    for (int i = 0; i < TEXTURES; i++) mem_free(bank->made[i]);
    pthread_mutex_destroy(&bank->lock);
    mem_free(bank);
}
