#include "data/stereo_measure.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUGH_WIDTH = 192, /* blocks are looked for in pictures of this width */
    ROUGH_BLOCK = 12,
    ROUGH_STEP = 8,
    DENSE_WIDTH = 400, /* contours are judged at this width */
    DENSE_RANGE = 192, /* hypotheses at most */
    FINE_BLOCK = 24,   /* of the vertical offset, full size */
    FINE_BLOCKS = 240,
};
#define ROUGH_ACROSS 0.25 /* search range, share of the width: wider than any film, enough for parallel cameras */
#define ROUGH_DOWN 0.025  /* share of the height */

typedef struct {
    int width, height;
    uint8_t *p;
} Grey;

static void grey_free(Grey *grey) {
    mem_free(grey->p);
    *grey = (Grey){0};
}

/* Luma (BT.601, as JPEG), full size. */
static int grey_make(Grey *grey, const Image *image) {
    *grey = (Grey){image->width, image->height, mem_alloc((size_t)image_pixels(image))};
    if (!grey->p) return (int)err_code();
    int64_t n = image_pixels(image);
    for (int64_t i = 0; i < n; i++) {
        if (image->bits == 8) {
            const uint8_t *p = image->bytes + i * image->channels;
            grey->p[i] = image->channels == 1 ? *p : (uint8_t)((77 * p[0] + 150 * p[1] + 29 * p[2] + 128) >> 8);
        } else {
            const uint16_t *p = image_16(image) + i * image->channels;
            grey->p[i] = image->channels == 1
                             ? (uint8_t)(*p >> 8)
                             : (uint8_t)((77 * (p[0] >> 8) + 150 * (p[1] >> 8) + 29 * (p[2] >> 8) + 128) >> 8);
        }
    }
    return 0;
}

static int grey_shrink(Grey *to, const Grey *from, int width) {
    int height = (int)((int64_t)from->height * width / from->width);
    if (height < 1) height = 1;
    Image small, view = {from->width, from->height, 1, 8, from->p};
    int error = image_resize(&small, &view, width, height);
    *to = (Grey){0};
    if (!error) *to = (Grey){small.width, small.height, small.bytes};
    return error;
}

/* -------------------------------------------------------------------------------------- rough block matching */

typedef struct {
    float d, dy, score;
    int x, y;
} Block;

/* Zero-mean normalised correlation of two blocks; -1 when the second is flat. `a_mean` and `a_power` are the first's.
 */
static float correlate(const Grey *a, const Grey *b, int ax, int ay, int bx, int by, int size, float a_mean,
                       float a_power) {
    int sum = 0, square = 0, product = 0;
    for (int y = 0; y < size; y++) {
        const uint8_t *pa = a->p + (size_t)(ay + y) * (size_t)a->width + ax,
                      *pb = b->p + (size_t)(by + y) * (size_t)b->width + bx;
        for (int x = 0; x < size; x++) {
            sum += pb[x];
            square += pb[x] * pb[x];
            product += pa[x] * pb[x];
        }
    }
    float n = (float)(size * size), power = (float)square - (float)sum * (float)sum / n;
    if (power < n) return -1; /* a standard deviation below one grey level */
    return ((float)product - a_mean * (float)sum) / sqrtf(a_power * power);
}

static void block_statistics(const Grey *a, int ax, int ay, int size, float *mean, float *power) {
    int sum = 0, square = 0;
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            int v = a->p[(size_t)(ay + y) * (size_t)a->width + (size_t)(ax + x)];
            sum += v;
            square += v * v;
        }
    *mean = (float)sum / (float)(size * size);
    *power = (float)square - *mean * (float)sum;
}

/* Extremum of a parabola through three values at -1, 0, 1. */
static float parabola(float before, float at, float after) {
    float curve = before - 2 * at + after;
    if (!(fabsf(curve) > 1e-9f)) return 0;
    float shift = 0.5f * (before - after) / curve;
    return shift > 0.5f ? 0.5f : shift < -0.5f ? -0.5f : shift;
}

/* Looks for the blocks of `a` in `b`. Returns how many have texture; those found (score at least 0.8 and clearly better
 * than elsewhere in the row) go into `found`. */
static int match_blocks(const Grey *a, const Grey *b, Block *found, int *count, float *scores) {
    int across = (int)(ROUGH_ACROSS * a->width), down = 1 + (int)(ROUGH_DOWN * a->height), textured = 0;
    *count = 0;
    for (int y = 0; y + ROUGH_BLOCK <= a->height; y += ROUGH_STEP)
        for (int x = 0; x + ROUGH_BLOCK <= a->width; x += ROUGH_STEP) {
            float mean, power, best = -2;
            block_statistics(a, x, y, ROUGH_BLOCK, &mean, &power);
            if (power < 25.0f * ROUGH_BLOCK * ROUGH_BLOCK) continue; /* standard deviation 5 */
            textured++;
            int best_x = 0, best_y = 0, low = x - across < 0 ? 0 : x - across;
            int high = x + across > b->width - ROUGH_BLOCK ? b->width - ROUGH_BLOCK : x + across;
            for (int bx = low; bx <= high; bx++) scores[bx] = -2;
            for (int by = y - down; by <= y + down; by++) {
                if (by < 0 || by + ROUGH_BLOCK > b->height) continue;
                for (int bx = low; bx <= high; bx++) {
                    float score = correlate(a, b, x, y, bx, by, ROUGH_BLOCK, mean, power);
                    if (score > scores[bx]) scores[bx] = score;
                    if (score > best) {
                        best = score;
                        best_x = bx;
                        best_y = by;
                    }
                }
            }
            float second = -2;
            for (int bx = low; bx <= high; bx++)
                if (abs(bx - best_x) > 3 && scores[bx] > second) second = scores[bx];
            if (best < 0.8f || best - second < 0.05f) continue;
            found[(*count)++] = (Block){(float)(x - best_x), (float)(best_y - y), best, x, y};
        }
    return textured;
}

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The value below which a share of the n values lies; sorts them. */
static float percentile(float *values, int n, double share) {
    qsort(values, (size_t)n, sizeof *values, compare_floats);
    int at = (int)(share * (n - 1) + 0.5);
    return values[at < 0 ? 0 : at >= n ? n - 1 : at];
}

typedef struct {
    float d_low, d_high, dy; /* pixels at ROUGH_WIDTH */
    int blocks;
} Rough;

static int rough(const Grey *left, const Grey *right, StereoMeasure *m, Rough *r) {
    Grey a = {0}, b = {0};
    int width = left->width < ROUGH_WIDTH ? left->width : ROUGH_WIDTH;
    int error = grey_shrink(&a, left, width);
    if (!error) error = grey_shrink(&b, right, width);
    size_t most = error ? 0 : ((size_t)a.width / ROUGH_STEP + 1) * ((size_t)a.height / ROUGH_STEP + 1);
    Block *found = error ? NULL : mem_array(most, sizeof *found);
    float *work = error ? NULL : mem_array(most + (size_t)a.width, sizeof *work);
    if (!error && (!found || !work)) error = (int)err_code();
    *r = (Rough){0};
    if (!error) {
        int count;
        m->textured = match_blocks(&a, &b, found, &count, work);
        m->matched = m->textured ? (double)count / m->textured : 0;
        r->blocks = count;
        if (count >= 4) {
            float scale = (float)left->width / (float)width;
            for (int i = 0; i < count; i++) work[i] = found[i].d;
            r->d_low = percentile(work, count, 0.02);
            r->d_high = percentile(work, count, 0.98);
            for (int i = 0; i < count; i++) work[i] = found[i].dy;
            r->dy = percentile(work, count, 0.5);
            m->d_low = (double)(r->d_low * scale);
            m->d_high = (double)(r->d_high * scale);
        }
    }
    mem_free(found);
    mem_free(work);
    grey_free(&a);
    grey_free(&b);
    return error;
}

/* -------------------------------------------------------------------------------------------- vertical offset */

typedef struct {
    int x, y;
    float strength;
} Corner;

static int compare_corners(const void *a, const void *b) {
    const Corner *x = a, *y = b;
    if (x->strength != y->strength) return x->strength < y->strength ? 1 : -1;
    return x->y != y->y ? x->y - y->y : x->x - y->x;
}

/* One candidate block a cell of the grid: where rows differ most, since only that fixes a vertical position. */
static int find_corners(const Grey *g, Corner *corners, int most) {
    int cell = FINE_BLOCK * 3 / 2, n = 0;
    if (g->width > 64 * cell) cell = g->width / 64;
    for (int y = 0; y + cell + FINE_BLOCK < g->height; y += cell)
        for (int x = 0; x + FINE_BLOCK < g->width && n < most; x += cell) {
            int64_t sum = 0, across = 0;
            for (int j = 1; j < FINE_BLOCK - 1; j++) {
                const uint8_t *p = g->p + (size_t)(y + j) * (size_t)g->width + x;
                for (int i = 1; i < FINE_BLOCK - 1; i++) {
                    int dv = p[i + g->width] - p[i - g->width], dh = p[i + 1] - p[i - 1];
                    sum += dv * dv;
                    across += dh * dh;
                }
            }
            /* Both directions: a horizontal edge alone would slide along a slanted line. */
            float strength = (float)(sum < across ? sum : across) / (FINE_BLOCK * FINE_BLOCK);
            if (strength > 16) corners[n++] = (Corner){x, y, strength};
        }
    qsort(corners, (size_t)n, sizeof *corners, compare_corners);
    return n < FINE_BLOCKS ? n : FINE_BLOCKS;
}

/* The vertical position of one block in the other picture, or NAN. Search: every disparity of the rough range at a
 * third of the rows first would miss thin structures; so all, by steps of 2, then all neighbours of the best. */
static float fine_offset(const Grey *a, const Grey *b, const Corner *c, int d_low, int d_high, int dy_low,
                         int dy_high) {
    float mean, power, best = -2;
    int best_d = 0, best_y = 0;
    block_statistics(a, c->x, c->y, FINE_BLOCK, &mean, &power);
    for (int pass = 0; pass < 2; pass++) {
        int step = pass ? 1 : 2, from_d = pass ? best_d - 2 : d_low, to_d = pass ? best_d + 2 : d_high;
        int from_y = pass ? best_y - 2 : dy_low, to_y = pass ? best_y + 2 : dy_high;
        for (int dy = from_y; dy <= to_y; dy += step)
            for (int d = from_d; d <= to_d; d += step) {
                int bx = c->x - d, by = c->y + dy;
                if (bx < 0 || by < 1 || bx + FINE_BLOCK > b->width || by + FINE_BLOCK + 1 > b->height) continue;
                float score = correlate(a, b, c->x, c->y, bx, by, FINE_BLOCK, mean, power);
                if (score > best) {
                    best = score;
                    best_d = d;
                    best_y = dy;
                }
            }
        if (best < 0.6f) return NAN;
    }
    int bx = c->x - best_d, by = c->y + best_y;
    if (best < 0.85f || bx < 1 || bx + FINE_BLOCK + 1 > b->width || by < 1 || by + FINE_BLOCK + 1 > b->height)
        return NAN;
    float above = correlate(a, b, c->x, c->y, bx, by - 1, FINE_BLOCK, mean, power);
    float below = correlate(a, b, c->x, c->y, bx, by + 1, FINE_BLOCK, mean, power);
    if (above > best || below > best) return NAN;
    return (float)best_y + parabola(above, best, below);
}

static int vertical_offset(const Grey *left, const Grey *right, const Rough *r, StereoMeasure *m) {
    enum { CELLS = 4096 };
    if (r->blocks < 8 || left->width < 4 * FINE_BLOCK || left->height < 3 * FINE_BLOCK) return 0;
    /* Full size up to 2,048 wide; beyond, half a pixel of 4K does not matter more than the time. */
    Grey a = {0}, b = {0};
    int width = left->width < 2048 ? left->width : 2048, error = grey_shrink(&a, left, width);
    if (!error) error = grey_shrink(&b, right, width);
    Corner *corners = error ? NULL : mem_array(CELLS, sizeof *corners);
    float *values = error ? NULL : mem_array(FINE_BLOCKS, sizeof *values);
    if (!error && (!corners || !values)) error = (int)err_code();
    if (!error) {
        float rough_width = (float)(left->width < ROUGH_WIDTH ? left->width : ROUGH_WIDTH),
              up = (float)width / rough_width;
        int slack = (int)ceilf(up) + 1, n = find_corners(&a, corners, CELLS), count = 0;
        int d_low = (int)floorf(r->d_low * up) - slack, d_high = (int)ceilf(r->d_high * up) + slack;
        int dy_low = (int)floorf(r->dy * up) - slack, dy_high = (int)ceilf(r->dy * up) + slack;
        for (int i = 0; i < n; i++) {
            float dy = fine_offset(&a, &b, &corners[i], d_low, d_high, dy_low, dy_high);
            if (!isnan(dy)) values[count++] = dy;
        }
        if (count >= 8) {
            float low = percentile(values, count, 0.25), middle = percentile(values, count, 0.5),
                  high = percentile(values, count, 0.75);
            float back = (float)left->width / (float)width;
            m->vertical = (double)(middle * back);
            /* Trust falls with the spread (a quartile range of 2 px halves it) and with few blocks. */
            m->vertical_confidence = 1.0 / (1.0 + (double)(high - low) / 2) * (count < 40 ? count / 40.0 : 1.0);
        }
    }
    mem_free(corners);
    mem_free(values);
    grey_free(&a);
    grey_free(&b);
    return error;
}

/* ------------------------------------------------------------------------------------------- dense disparity
 *
 * A small semi-global matcher (Hirschmueller 2008; four paths, census 5x5) at DENSE_WIDTH, good enough to say which
 * surface lies left and right of a contour. The matcher for people is elsewhere (--model sgm). */

static void census(const Grey *g, uint32_t *out) {
    memset(out, 0, (size_t)g->width * (size_t)g->height * sizeof *out);
    for (int y = 2; y < g->height - 2; y++)
        for (int x = 2; x < g->width - 2; x++) {
            const uint8_t *c = g->p + (size_t)y * (size_t)g->width + x;
            uint32_t bits = 0;
            for (int j = -2; j <= 2; j++)
                for (int i = -2; i <= 2; i++)
                    if (i || j) bits = bits << 1 | (c[(ptrdiff_t)j * g->width + i] < *c);
            out[(size_t)y * (size_t)g->width + (size_t)x] = bits;
        }
}

/* Adds one path's costs: `step` pixels back lies the predecessor. */
static void add_path(const uint8_t *cost, const uint16_t *before, uint16_t *now, uint16_t *sum, int range, int p1,
                     int p2) {
    uint16_t least = UINT16_MAX;
    for (int d = 0; d < range; d++)
        if (before[d] < least) least = before[d];
    for (int d = 0; d < range; d++) {
        int v = before[d];
        if (d > 0 && before[d - 1] + p1 < v) v = before[d - 1] + p1;
        if (d + 1 < range && before[d + 1] + p1 < v) v = before[d + 1] + p1;
        if (least + p2 < v) v = least + p2;
        now[d] = (uint16_t)(cost[d] + v - least);
        sum[d] = (uint16_t)(sum[d] + now[d]);
    }
}

/* d in pixels (x_left - x_right) for every pixel of the left picture, INT16_MIN where left and right disagree. */
static int dense(const Grey *left, const Grey *right, int d_low, int range, int16_t *disparity) {
    enum { P1 = 4, P2 = 40 };
    size_t w = (size_t)left->width, h = (size_t)left->height, r = (size_t)range;
    uint32_t *cl = mem_array(w * h, sizeof *cl), *cr = mem_array(w * h, sizeof *cr);
    uint8_t *cost = mem_alloc(w * h * r);
    uint16_t *sum = mem_zero(w * h * r, sizeof *sum), *rows = mem_zero(2 * w * r, sizeof *rows);
    int16_t *best_right = mem_array(w, sizeof *best_right);
    int error = cl && cr && cost && sum && rows && best_right ? 0 : (int)err_code();
    if (!error) {
        census(left, cl);
        census(right, cr);
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++)
                for (int d = 0; d < range; d++) {
                    int xr = (int)x - (d_low + d);
                    cost[(y * w + x) * r + (size_t)d] =
                        xr < 0 || xr >= left->width
                            ? 12
                            : (uint8_t)__builtin_popcount(cl[y * w + x] ^ cr[y * w + (size_t)xr]);
                }
        for (int pass = 0; pass < 2; pass++) { /* right and down, then left and up */
            uint16_t *above = rows, *line = rows + w * r;
            memset(rows, 0, 2 * w * r * sizeof *rows);
            for (size_t j = 0; j < h; j++) {
                size_t y = pass ? h - 1 - j : j;
                uint16_t two[2][DENSE_RANGE] = {{0}};
                for (size_t i = 0; i < w; i++) {
                    size_t x = pass ? w - 1 - i : i, at = (y * w + x) * r;
                    add_path(cost + at, two[i & 1], two[~i & 1], sum + at, range, P1, P2);
                    add_path(cost + at, above + x * r, line + x * r, sum + at, range, P1, P2);
                }
                uint16_t *swap = above;
                above = line;
                line = swap;
            }
        }
        for (size_t y = 0; y < h; y++) {
            for (size_t x = 0; x < w; x++) { /* the right picture's choice, along the diagonal of the same sums */
                int best = -1, least = INT32_MAX;
                for (int d = 0; d < range; d++) {
                    int xl = (int)x + d_low + d;
                    if (xl < 0 || xl >= left->width) continue;
                    int v = sum[(y * w + (size_t)xl) * r + (size_t)d];
                    if (v < least) {
                        least = v;
                        best = d;
                    }
                }
                best_right[x] = (int16_t)best;
            }
            for (size_t x = 0; x < w; x++) {
                int best = 0;
                const uint16_t *s = sum + (y * w + x) * r;
                for (int d = 1; d < range; d++)
                    if (s[d] < s[best]) best = d;
                int xr = (int)x - (d_low + best);
                bool agree = xr >= 0 && xr < left->width && abs(best_right[xr] - best) <= 1;
                disparity[y * w + x] = agree ? (int16_t)(d_low + best) : INT16_MIN;
            }
        }
    }
    mem_free(cl);
    mem_free(cr);
    mem_free(cost);
    mem_free(sum);
    mem_free(rows);
    mem_free(best_right);
    return error;
}

/* ------------------------------------------------------------------------------------------------- eye order */

/* The disparity of a surface: median of the valid values in columns x0..x1 of rows y-1..y+1; false when too few agree.
 */
static bool surface(const int16_t *disparity, int width, int x0, int x1, int y, int *d) {
    int16_t v[32];
    int n = 0;
    for (int j = y - 1; j <= y + 1; j++)
        for (int x = x0; x <= x1; x++) {
            int16_t value = disparity[(size_t)j * (size_t)width + (size_t)x];
            if (value != INT16_MIN && n < 32) v[n++] = value;
        }
    if (n < 6) return false;
    for (int i = 1; i < n; i++) /* insertion: at most 18 values */
        for (int k = i; k > 0 && v[k] < v[k - 1]; k--) {
            int16_t t = v[k];
            v[k] = v[k - 1];
            v[k - 1] = t;
        }
    *d = v[n / 2];
    return v[n - 1 - n / 6] - v[n / 6] <= 2; /* one surface, not two */
}

/* How badly the contour at (x, y) fits at disparity d: difference of horizontal gradients over 5 rows, best of
 * d-1..d+1. */
static int contour_cost(const Grey *a, const Grey *b, int x, int y, int d) {
    int least = INT32_MAX;
    for (int t = d - 1; t <= d + 1; t++) {
        int xr = x - t, cost = 0;
        if (xr < 2 || xr >= b->width - 2) continue;
        for (int j = -2; j <= 2; j++) {
            const uint8_t *p = a->p + (size_t)(y + j) * (size_t)a->width + x,
                          *q = b->p + (size_t)(y + j) * (size_t)b->width + xr;
            for (int i = -1; i <= 1; i++) cost += abs((p[i + 1] - p[i - 1]) - (q[i + 1] - q[i - 1]));
        }
        if (cost < least) least = cost;
    }
    return least;
}

/* Column x of 5 rows around y: difference of the pictures at disparity d, grey levels. */
static int column_cost(const Grey *a, const Grey *b, int x, int y, int d) {
    int cost = 0, xr = x - d;
    if (xr < 0 || xr >= b->width) return 5 * 64;
    for (int j = -2; j <= 2; j++)
        cost += abs(a->p[(size_t)(y + j) * (size_t)a->width + (size_t)x] -
                    b->p[(size_t)(y + j) * (size_t)b->width + (size_t)xr]);
    return cost;
}

/* Can the surface of disparity `left` give way to that of `right` at the contour in column x and nowhere else? The two
 * costs say where it can, to a margin; every column that can must be without another contour half as strong. */
static bool meet_at(const Grey *a, const Grey *b, int x, int reach, int y, int left, int right) {
    int total[32], n = 2 * reach + 1, x0 = x - reach, least = 0;
    total[0] = 0;
    for (int i = 0; i < n; i++) total[0] += column_cost(a, b, x0 + i, y, right);
    for (int i = 0; i < n; i++)
        total[i + 1] = total[i] + column_cost(a, b, x0 + i, y, left) - column_cost(a, b, x0 + i, y, right);
    for (int i = 1; i <= n; i++)
        if (total[i] < total[least]) least = i;
    int limit = total[least] + total[least] / 4 + 40; /* 40: five rows of 8 grey levels */
    if (total[0] <= limit || total[n] <= limit) return false;
    if (total[reach] > limit && total[reach + 1] > limit) return false;
    const uint8_t *row = a->p + (size_t)y * (size_t)a->width;
    int slope = abs(row[x + 1] - row[x - 1]);
    for (int i = 0; i <= n; i++) {
        if (total[i] > limit) continue;
        for (int c = x0 + i - 2; c <= x0 + i + 1; c++)
            if (abs(c - x) > 2 && 2 * abs(row[c + 1] - row[c - 1]) > slope) return false;
    }
    return true;
}

/* Votes of the contours of `a`; d is measured from a to b. Only where the left surface has the larger d: there, in
 * either eye order, nothing of `a` is hidden from `b`, and the two surfaces meet in `a` at a column that can be found.
 */
static void vote(const Grey *a, const Grey *b, const int16_t *disparity, double *plus, double *minus) {
    enum { NEAR = 4, FAR = 9, STRONG = 16, JUMP = 3 };
    for (int y = 3; y < a->height - 3; y++)
        for (int x = FAR + 4; x < a->width - FAR - 4; x++) {
            const uint8_t *p = a->p + (size_t)y * (size_t)a->width + x;
            int slope = abs(p[1] - p[-1]), left, right;
            if (slope < STRONG || slope < abs(p[0] - p[-2]) || slope <= abs(p[2] - p[0])) continue;
            if (!surface(disparity, a->width, x - FAR, x - NEAR, y, &left) ||
                !surface(disparity, a->width, x + NEAR, x + FAR, y, &right))
                continue;
            if (left - right < JUMP) continue;
            if (!meet_at(a, b, x, FAR, y, left, right)) continue;
            int cost_left = contour_cost(a, b, x, y, left), cost_right = contour_cost(a, b, x, y, right);
            if (cost_left == INT32_MAX || cost_right == INT32_MAX) continue;
            /* A clear winner that itself fits well against the contour's own strength (15 differences of it). */
            int good = cost_left < cost_right ? cost_left : cost_right,
                bad = cost_left < cost_right ? cost_right : cost_left;
            if (3 * good > 2 * bad || good > 5 * slope) continue;
            *(cost_left < cost_right ? plus : minus) += 1;
        }
}

static void flip(Grey *g) {
    for (int y = 0; y < g->height; y++) {
        uint8_t *a = g->p + (size_t)y * (size_t)g->width, *b = a + g->width - 1;
        for (; a < b; a++, b--) {
            uint8_t t = *a;
            *a = *b;
            *b = t;
        }
    }
}

/* Correlation of a row's height in the picture and its median disparity, over rows with enough of it. Weakened when the
 * whole change from top to bottom is below half a percent of the width, where it may be noise. */
static double ground(const int16_t *disparity, int width, int height, float *values) {
    double n = 0, y1 = 0, y2 = 0, d1 = 0, d2 = 0, yd = 0;
    for (int y = 0; y < height; y++) {
        int k = 0;
        for (int x = 0; x < width; x++) {
            int16_t d = disparity[(size_t)y * (size_t)width + (size_t)x];
            if (d != INT16_MIN) values[k++] = d;
        }
        if (k < width / 5) continue;
        double d = (double)percentile(values, k, 0.5);
        n += 1;
        y1 += y;
        y2 += (double)y * y;
        d1 += d;
        d2 += d * d;
        yd += y * d;
    }
    if (n < 10) return 0;
    double yy = y2 - y1 * y1 / n, dd = d2 - d1 * d1 / n, both = yd - y1 * d1 / n;
    if (!(yy > 0) || !(dd > 0)) return 0;
    double change = fabs(both / yy) * height / width, weight = change / 0.005;
    return both / sqrt(yy * dd) * (weight < 1 ? weight : 1);
}

static int eye_order(const Grey *left, const Grey *right, const Rough *r, StereoMeasure *m) {
    if (r->blocks < 8 || left->width < 48 || left->height < 24) return 0;
    int width = left->width < DENSE_WIDTH ? left->width : DENSE_WIDTH;
    float up = (float)width / (float)(left->width < ROUGH_WIDTH ? left->width : ROUGH_WIDTH);
    int d_low = (int)floorf(r->d_low * up) - 8, range = (int)ceilf(r->d_high * up) + 8 - d_low + 1;
    if (range > DENSE_RANGE) {
        d_low += (range - DENSE_RANGE) / 2;
        range = DENSE_RANGE;
    }
    Grey a = {0}, b = {0};
    Image aligned = {0};
    int error = grey_shrink(&a, left, width);
    if (!error) error = grey_shrink(&b, right, width);
    double dy = m->vertical * width / left->width;
    if (!error && fabs(dy) > 0.3) {
        aligned = (Image){b.width, b.height, 1, 8, b.p};
        error = stereo_align(&aligned, dy);
        b.p = aligned.bytes;
    }
    int16_t *disparity = error ? NULL : mem_array((size_t)a.width * (size_t)a.height, sizeof *disparity);
    float *values = error ? NULL : mem_array((size_t)a.width, sizeof *values);
    if (!error && (!disparity || !values)) error = (int)err_code();
    double plus = 0, minus = 0;
    if (!error) error = dense(&a, &b, d_low, range, disparity);
    if (!error) {
        vote(&a, &b, disparity, &plus, &minus);
        m->eye_ground = ground(disparity, a.width, a.height, values);
        /* The right picture's contours vote too: mirrored, it is a left picture with the same sign of d. */
        flip(&a);
        flip(&b);
        error = dense(&b, &a, d_low, range, disparity);
        if (!error) vote(&b, &a, disparity, &plus, &minus);
    }
    double votes = plus + minus;
    m->eye_votes = (int)votes;
    if (!error) {
        /* Neighbouring rows see the same contour: about eight votes count as one independent one. The balance in
         * standard deviations, and 1.5 for a perfect ground, are taken as log-odds. On 22 real pairs, each in both
         * orders, this gave no wrong sign above 0.4 (tests/data/test_stereo.c). */
        m->eye_contours = votes > 0 ? (plus - minus) / votes : 0;
        double odds = m->eye_contours * sqrt(votes / 8) + 1.5 * m->eye_ground;
        m->eye_order = tanh(odds / 2);
        m->eye_confidence = fabs(m->eye_order);
    }
    mem_free(values);
    mem_free(disparity);
    grey_free(&a);
    grey_free(&b);
    return error;
}

/* ---------------------------------------------------------------------------------------------------- public */

static int measure_pair(const Image *left, const Image *right, StereoMeasure *m, bool all) {
    *m = (StereoMeasure){0};
    BUG_IF(left->width != right->width || left->height != right->height, "stereo_measure: %dx%d and %dx%d", left->width,
           left->height, right->width, right->height);
    m->identical = left->channels == right->channels && left->bits == right->bits &&
                   memcmp(left->bytes, right->bytes,
                          (size_t)image_pixels(left) * (size_t)left->channels * (size_t)(left->bits / 8)) == 0;
    Grey a = {0}, b = {0};
    Rough r = {0};
    int error = grey_make(&a, left);
    if (!error) error = grey_make(&b, right);
    if (!error) error = rough(&a, &b, m, &r);
    if (!error && all && !m->identical) error = vertical_offset(&a, &b, &r, m);
    if (!error && all && !m->identical) error = eye_order(&a, &b, &r, m);
    grey_free(&a);
    grey_free(&b);
    return error;
}

int stereo_measure(const Image *left, const Image *right, StereoMeasure *measure) {
    return measure_pair(left, right, measure, true);
}

int stereo_measure_rough(const Image *left, const Image *right, StereoMeasure *measure) {
    return measure_pair(left, right, measure, false);
}

int stereo_align(Image *right, double vertical) {
    if (!(fabs(vertical) < right->height)) return 0; /* also NaN: nothing sensible to do */
    Image out;
    int error = image_make(&out, right->width, right->height, right->channels, right->bits);
    if (error) return error;
    /* Catmull-Rom in 1/256; the weights add up to 256, so flat areas stay flat. */
    double whole = floor(vertical), t = vertical - whole;
    int w[4] = {(int)lrint(128 * (-t + 2 * t * t - t * t * t)), 0, (int)lrint(128 * (t + 4 * t * t - 3 * t * t * t)),
                (int)lrint(128 * (t * t * t - t * t))};
    w[1] = 256 - w[0] - w[2] - w[3];
    int n = right->width * right->channels, most = right->bits == 8 ? 255 : 65535;
    for (int y = 0; y < right->height; y++) {
        int64_t at[4];
        for (int k = 0; k < 4; k++) {
            int64_t row = y + (int64_t)whole + k - 1;
            at[k] = (row < 0 ? 0 : row >= right->height ? right->height - 1 : row) * n;
        }
        for (int i = 0; i < n; i++) {
            int64_t sum = 128;
            for (int k = 0; k < 4; k++)
                sum += (int64_t)w[k] * (right->bits == 8 ? right->bytes[at[k] + i] : image_16(right)[at[k] + i]);
            sum >>= 8;
            int64_t value = sum < 0 ? 0 : sum > most ? most : sum;
            if (right->bits == 8)
                out.bytes[(int64_t)y * n + i] = (uint8_t)value;
            else
                image_16(&out)[(int64_t)y * n + i] = (uint16_t)value;
        }
    }
    image_free(right);
    *right = out;
    return 0;
}
