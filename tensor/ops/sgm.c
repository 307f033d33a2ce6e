#include "tensor/ops/sgm.h"
#include "base/err.h"
#include "base/mem.h"
#include "tensor/ops/sgm_inner.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SPAN = 32,           /* pixels between two looks at the row above */
    ROWS_IN_FLIGHT = 64, /* most rows of a pass at work at once; the rings are wider than a row by as many */
    CENSUS_X = 4,
    CENSUS_Y = 3,
};

int SGM_P1 = 10, SGM_P2 = 120, SGM_P2MIN = 30, SGM_P2EDGE = 8;

typedef struct {
    int width, height, lo, hi, count, stride, ring;
    size_t state, cost_bytes, sum_bytes; /* bytes of one ring slot; of the two volumes */
} Shape;

typedef struct {
    Pool *pool;
    const SgmKernels *kernels;
    Shape shape;
    const uint8_t *grey[2]; /* left; right mirrored */
    const uint64_t *census[2];
    uint8_t *cost;          /* [y][x][k] */
    uint16_t *sum;          /* [y][x][k] of the forward pass */
    uint8_t *rings, *along; /* path states; one `along` per worker */
    uint8_t *p2;            /* 4 rows per worker */
    uint8_t p2_of[256];     /* by grey difference along the path */
    _Atomic int *done;      /* pixels finished, per row */
    bool backward;
    uint16_t *row_sum; /* one row per worker */
    uint16_t *row_scratch;
    int16_t *row_right;
    float *found, *uniqueness; /* left disparity (sub-pixel), margin of the winner */
    int16_t *right_best;       /* k or -1 */
} Search;

SgmOptions sgm_defaults(void) {
    return (SgmOptions){.automatic = true};
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static Shape shape_of(int width, int height, int lo, int hi) {
    Shape s = {.width = width, .height = height, .lo = lo, .hi = hi, .count = hi - lo + 1};
    s.stride = (s.count + 31) / 32 * 32;
    s.ring = width + ROWS_IN_FLIGHT;
    s.state = (size_t)s.stride + SGM_PAD;
    s.cost_bytes = (size_t)height * (size_t)width * (size_t)s.stride;
    s.sum_bytes = 2 * s.cost_bytes;
    return s;
}

size_t sgm_memory(int width, int height, int lo, int hi) {
    Shape s = shape_of(width, height, lo, hi);
    return s.cost_bytes + s.sum_bytes;
}

/* --- features --------------------------------------------------------------------------------------------------- */

static void grey_of(const uint8_t *image, int width, int height, int channels, bool mirrored, uint8_t *grey) {
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const uint8_t *p = image + ((size_t)y * (size_t)width + (size_t)x) * (size_t)channels;
            int value = channels == 1 ? p[0] : (77 * p[0] + 150 * p[1] + 29 * p[2] + 128) >> 8;
            grey[(size_t)y * (size_t)width + (size_t)(mirrored ? width - 1 - x : x)] = (uint8_t)value;
        }
}

static inline int clamp(int v, int lo, int hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

static void census_of(const uint8_t *grey, int width, int height, bool mirrored, uint64_t *census) {
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint64_t bits = 0;
            int centre = grey[(size_t)y * (size_t)width + (size_t)x];
            for (int v = -CENSUS_Y; v <= CENSUS_Y; v++)
                for (int u = -CENSUS_X; u <= CENSUS_X; u++) {
                    if (!u && !v) continue;
                    int xx = clamp(x + (mirrored ? -u : u), 0, width - 1), yy = clamp(y + v, 0, height - 1);
                    bits = bits << 1 | (grey[(size_t)yy * (size_t)width + (size_t)xx] < centre);
                }
            census[(size_t)y * (size_t)width + (size_t)x] = bits;
        }
}

/* --- the search -------------------------------------------------------------------------------------------------- */

static void cost_tile(void *context, int64_t y, int worker) {
    (void)worker;
    const Search *s = context;
    const Shape *h = &s->shape;
    size_t at = (size_t)y * (size_t)h->width;
    SgmFeatures left = {s->census[0] + at, s->grey[0] + at}, right = {s->census[1] + at, s->grey[1] + at};
    s->kernels->cost(&left, &right, h->width, h->lo, h->count, h->stride, s->cost + at * (size_t)h->stride);
}

static void wait_for(const _Atomic int *done, int pixels) {
    for (int i = 0; atomic_load_explicit(done, memory_order_acquire) < pixels; i++)
        if (i % 256 == 255) sched_yield();
}

static int ring_position(int position, int ring) {
    return ((position % ring) + ring) % ring;
}

/* Penalties along the four paths into row y of a pass, from the grey difference to the pixel before. Directions are
 * those of the pass; `turn` maps its pixels to the picture. */
static void penalties(const Search *s, int y, uint8_t *p2) {
    const Shape *h = &s->shape;
    int step = s->backward ? -1 : 1;
    int row = s->backward ? h->height - 1 - y : y;
    const uint8_t *here = s->grey[0] + (size_t)row * (size_t)h->width + (s->backward ? h->width - 1 : 0);
    const uint8_t *above = y ? here - (ptrdiff_t)step * h->width : here;
    for (int x = 0; x < h->width; x++) {
        int value = here[step * x], left = x ? x - 1 : x, right = x + 1 < h->width ? x + 1 : x;
        p2[x] = s->p2_of[abs(value - here[step * left])];
        p2[h->width + x] = s->p2_of[abs(value - above[step * left])];
        p2[2 * h->width + x] = s->p2_of[abs(value - above[step * x])];
        p2[3 * h->width + x] = s->p2_of[abs(value - above[step * right])];
    }
}

static void finish_row(Search *s, int row, int worker, const uint16_t *sum);

static void path_tile(void *context, int64_t tile, int worker) {
    Search *s = context;
    const Shape *h = &s->shape;
    int y = (int)tile;
    int row = s->backward ? h->height - 1 - y : y;
    size_t pixel = (size_t)row * (size_t)h->width + (s->backward ? (size_t)h->width - 1 : 0);
    uint8_t *along = s->along + (size_t)worker * (h->state + SGM_PAD) + SGM_PAD;
    uint8_t *p2 = s->p2 + (size_t)worker * 4 * (size_t)h->width;
    uint16_t *row_sum = s->row_sum + (size_t)worker * (size_t)h->width * (size_t)h->stride;
    penalties(s, y, p2);
    memset(along, 0, (size_t)h->stride);
    memset(along - SGM_PAD, 255, SGM_PAD);
    memset(along + h->stride, 255, SGM_PAD);
    SgmSpan span = {
        .stride = h->stride,
        .cost = s->cost + pixel * (size_t)h->stride,
        .cost_step = s->backward ? -h->stride : h->stride,
        .before = s->backward ? s->sum + pixel * (size_t)h->stride : NULL,
        .sum = s->backward ? row_sum + (size_t)(h->width - 1) * (size_t)h->stride : s->sum + pixel * (size_t)h->stride,
        .along = along,
        .ring = h->ring,
        .p2 = {p2, p2 + h->width, p2 + 2 * h->width, p2 + 3 * h->width},
        .p1 = (uint8_t)SGM_P1,
    };
    size_t ring_bytes = (size_t)h->ring * h->state + SGM_PAD;
    for (int path = 0; path < 3; path++) span.slots[path] = s->rings + (size_t)path * ring_bytes;
    if (y >= ROWS_IN_FLIGHT) wait_for(&s->done[y - ROWS_IN_FLIGHT], h->width);
    for (int x = 0; x < h->width; x += SPAN) {
        span.first = x;
        span.count = h->width - x < SPAN ? h->width - x : SPAN;
        if (y) {
            int needed = x + span.count + 1;
            wait_for(&s->done[y - 1], needed < h->width ? needed : h->width);
        }
        /* A path's states stay in one ring place all the way down: lines of slope +1 keep x - y, of slope -1 x + y. */
        span.slot[0] = ring_position(x - y, h->ring);
        span.slot[1] = x;
        span.slot[2] = ring_position(x + y, h->ring);
        /* Paths that begin here know nothing yet. */
        if (x == 0) memset(span.slots[0] + SGM_PAD + (size_t)span.slot[0] * h->state, 0, (size_t)h->stride);
        if (x + span.count == h->width)
            memset(span.slots[2] + SGM_PAD + (size_t)ring_position(h->width - 1 + y, h->ring) * h->state, 0,
                   (size_t)h->stride);
        s->kernels->paths(&span);
        atomic_store_explicit(&s->done[y], x + span.count, memory_order_release);
    }
    if (s->backward) finish_row(s, row, worker, row_sum);
}

static void run_pass(Search *s, bool backward) {
    const Shape *h = &s->shape;
    s->backward = backward;
    size_t ring_bytes = (size_t)h->ring * h->state + SGM_PAD;
    for (int path = 0; path < 3; path++) {
        uint8_t *ring = s->rings + (size_t)path * ring_bytes;
        memset(ring, 0, ring_bytes);
        for (int i = 0; i <= h->ring; i++) memset(ring + (size_t)i * h->state, 255, SGM_PAD);
    }
    for (int y = 0; y < h->height; y++) atomic_store_explicit(&s->done[y], 0, memory_order_relaxed);
    pool_run(s->pool, h->height, path_tile, s);
}

/* Sub-pixel offset in -0.5..0.5 from the sums beside the winner: two straight lines of equal slope (a symmetric V),
 * which suits absolute differences better than a parabola. */
static float between(int before, int here, int after) {
    int left = before - here, right = after - here, steep = left > right ? left : right;
    return steep ? 0.5f * (float)(left - right) / (float)steep : 0;
}

static void finish_row(Search *s, int row, int worker, const uint16_t *sum) {
    const Shape *h = &s->shape;
    size_t at = (size_t)row * (size_t)h->width;
    int16_t *best = s->row_right + (size_t)worker * (size_t)h->width;
    uint16_t *second = s->row_scratch + (size_t)worker * 2 * (size_t)h->width, *scratch = second + h->width;
    s->kernels->choose(sum, h->width, h->lo, h->count, h->stride, best, second, s->right_best + at, scratch);
    for (int x = 0; x < h->width; x++, sum += h->stride) {
        int k = best[x];
        float d = (float)(h->lo + k);
        if (k > 0 && k + 1 < h->count) d += between(sum[k - 1], sum[k], sum[k + 1]);
        s->found[at + (size_t)x] = d;
        s->uniqueness[at + (size_t)x] = (float)(second[x] - sum[k]);
    }
}

/* --- filling ----------------------------------------------------------------------------------------------------- */

enum { VALID = 0, HIDDEN = 1, MISMATCH = 2 };

static void check_row(const Search *s, int y, uint8_t *kind) {
    const Shape *h = &s->shape;
    size_t at = (size_t)y * (size_t)h->width;
    const int16_t *right = s->right_best + at;
    for (int x = 0; x < h->width; x++) {
        float d = s->found[at + (size_t)x];
        int whole = (int)(d - (float)h->lo + 0.5f), other = x - (h->lo + whole);
        kind[x] = HIDDEN;
        if (other < 0 || other >= h->width) continue;
        if (right[other] >= 0 && abs(right[other] - whole) <= 1) {
            kind[x] = VALID;
            continue;
        }
        /* hidden if no right pixel points here; a mismatch if one does, at another disparity */
        for (int k = 0; k < h->count; k++) {
            int o = x - (h->lo + k);
            if (o >= 0 && o < h->width && right[o] == k) {
                kind[x] = MISMATCH;
                break;
            }
        }
    }
}

static void fill_row(const Search *s, int y, const uint8_t *kind, float *d) {
    int width = s->shape.width;
    const float *found = s->found + (size_t)y * (size_t)width;
    for (int x = 0; x < width;) {
        if (kind[x] == VALID) {
            d[x] = found[x];
            x++;
            continue;
        }
        int end = x;
        while (end < width && kind[end] != VALID) end++;
        float fill = 0;
        if (x > 0 && end < width)
            fill = found[x - 1] < found[end] ? found[x - 1] : found[end];
        else if (x > 0)
            fill = found[x - 1];
        else if (end < width)
            fill = found[end];
        else
            fill = s->shape.lo > 0 ? (float)s->shape.lo : s->shape.hi < 0 ? (float)s->shape.hi : 0;
        for (; x < end; x++) d[x] = fill;
    }
}

static void median_3x3(const float *in, int width, int height, float *out) {
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            float v[9];
            int n = 0;
            for (int b = -1; b <= 1; b++)
                for (int a = -1; a <= 1; a++) {
                    float value =
                        in[(size_t)clamp(y + b, 0, height - 1) * (size_t)width + (size_t)clamp(x + a, 0, width - 1)];
                    int i = n++;
                    for (; i > 0 && v[i - 1] > value; i--) v[i] = v[i - 1];
                    v[i] = value;
                }
            out[(size_t)y * (size_t)width + (size_t)x] = v[4];
        }
}

static bool prepare(Search *s, int workers) {
    const Shape *h = &s->shape;
    size_t pixels = (size_t)h->width * (size_t)h->height, w = (size_t)h->width, n = (size_t)workers;
    s->cost = mem_alloc(h->cost_bytes);
    s->sum = mem_alloc(h->sum_bytes);
    s->rings = mem_alloc(3 * ((size_t)h->ring * h->state + SGM_PAD));
    s->along = mem_alloc(n * (h->state + SGM_PAD));
    s->p2 = mem_alloc(n * 4 * w);
    s->done = mem_zero((size_t)h->height, sizeof *s->done);
    s->row_sum = mem_alloc(n * w * (size_t)h->stride * 2);
    s->row_scratch = mem_alloc(n * w * 4);
    s->row_right = mem_alloc(n * w * 2);
    s->found = mem_array(pixels, sizeof(float));
    s->uniqueness = mem_array(pixels, sizeof(float));
    s->right_best = mem_array(pixels, sizeof(int16_t));
    return s->cost && s->sum && s->rings && s->along && s->p2 && s->done && s->row_sum && s->row_scratch &&
           s->row_right && s->found && s->uniqueness && s->right_best;
}

static void release(Search *s) {
    mem_free(s->cost);
    mem_free(s->sum);
    mem_free(s->rings);
    mem_free(s->along);
    mem_free(s->p2);
    mem_free(s->done);
    mem_free(s->row_sum);
    mem_free(s->row_scratch);
    mem_free(s->row_right);
    mem_free(s->found);
    mem_free(s->uniqueness);
    mem_free(s->right_best);
}

/* Matches the whole picture in lo..hi. */
static int search(Pool *pool, uint8_t *const grey[2], int width, int height, int lo, int hi, float *disparity,
                  float *confidence, float *occlusion) {
    Search s = {.pool = pool, .kernels = sgm_kernels(), .shape = shape_of(width, height, lo, hi)};
    size_t pixels = (size_t)width * (size_t)height;
    uint64_t *census = mem_array(2 * pixels, sizeof *census);
    uint8_t *kind = mem_alloc(pixels);
    if (!census || !kind || !prepare(&s, pool_threads(pool))) {
        mem_free(census);
        mem_free(kind);
        release(&s);
        return ERR_MEMORY;
    }
    for (int eye = 0; eye < 2; eye++) {
        census_of(grey[eye], width, height, eye == 1, census + (size_t)eye * pixels);
        s.grey[eye] = grey[eye];
        s.census[eye] = census + (size_t)eye * pixels;
    }
    for (int i = 0; i < 256; i++) {
        int p2 = SGM_P2 * SGM_P2EDGE / (SGM_P2EDGE + i);
        s.p2_of[i] = (uint8_t)clamp(p2, SGM_P2MIN, 255 - SGM_COST_MAX);
    }
    pool_run(pool, height, cost_tile, &s);
    run_pass(&s, false);
    run_pass(&s, true);
    for (int y = 0; y < height; y++) {
        size_t at = (size_t)y * (size_t)width;
        check_row(&s, y, kind + at);
        fill_row(&s, y, kind + at, disparity + at);
    }
    memcpy(s.found, disparity, pixels * sizeof *disparity);
    median_3x3(s.found, width, height, disparity);
    for (size_t i = 0; i < pixels; i++) {
        if (occlusion) occlusion[i] = kind[i] == HIDDEN ? 0 : 1;
        if (confidence) {
            float margin = s.uniqueness[i] / 200;
            bool flat = census[i] == 0 && s.grey[0][i] == s.grey[0][i ? i - 1 : i] &&
                        s.grey[0][i] == s.grey[0][i + 1 < pixels ? i + 1 : i];
            confidence[i] = kind[i] == VALID && !flat ? (margin < 1 ? margin : 1) : 0;
        }
    }
    mem_free(census);
    mem_free(kind);
    release(&s);
    return 0;
}

const SgmKernels *sgm_kernels(void) {
    return &sgm_kernels_plain;
}

/* --- the range ---------------------------------------------------------------------------------------------------- */

enum { COARSE_WIDTH = 128 };

/* Mean over whole factor x factor blocks. */
static void shrink(const uint8_t *in, int width, int factor, int small_width, int small_height, uint8_t *out) {
    for (int y = 0; y < small_height; y++)
        for (int x = 0; x < small_width; x++) {
            int sum = 0;
            for (int v = 0; v < factor; v++)
                for (int u = 0; u < factor; u++)
                    sum += in[(size_t)(y * factor + v) * (size_t)width + (size_t)(x * factor + u)];
            out[(size_t)y * (size_t)small_width + (size_t)x] =
                (uint8_t)((sum + factor * factor / 2) / (factor * factor));
        }
}

/* Matches a small copy of the pair over a third of its width to both sides and takes what its trusted pixels span,
 * without the outermost half percent on either side, widened by one small pixel and a half. */
static int find_range(Pool *pool, uint8_t *const grey[2], int width, int height, int *lo, int *hi) {
    int factor = (width + COARSE_WIDTH - 1) / COARSE_WIDTH;
    while (factor > 1 && height / factor < 1) factor--;
    int w = width / factor, h = height / factor, reach = w * 36 / 100 > 2 ? w * 36 / 100 : 2;
    if (reach > (SGM_RANGE_MAX - 1) / 2) reach = (SGM_RANGE_MAX - 1) / 2;
    if (reach > w - 1) reach = w - 1;
    size_t pixels = (size_t)w * (size_t)h;
    uint8_t *small[2] = {mem_alloc(pixels), mem_alloc(pixels)};
    float *maps = mem_array(2 * pixels, sizeof *maps);
    int bins = 4 * (2 * reach + 1) + 1;
    int *histogram = mem_zero((size_t)bins, sizeof *histogram);
    int rc = ERR_MEMORY;
    if (small[0] && small[1] && maps && histogram) {
        /* the right picture lies mirrored: cut what the factor leaves over on its other side */
        shrink(grey[0], width, factor, w, h, small[0]);
        shrink(grey[1] + (width - w * factor), width, factor, w, h, small[1]);
        rc = search(pool, small, w, h, -reach, reach, maps, maps + pixels, NULL);
    }
    *lo = *hi = 0;
    if (!rc) {
        int64_t trusted = 0;
        for (size_t i = 0; i < pixels; i++) {
            if (maps[pixels + i] < 0.2f) continue;
            histogram[clamp((int)(4 * (maps[i] + (float)reach) + 0.5f), 0, bins - 1)]++;
            trusted++;
        }
        int64_t cut = trusted / 200, seen = 0;
        int first = 0, last = bins - 1;
        while (first < bins - 1 && (seen += histogram[first]) <= cut) first++;
        for (seen = 0; last > first && (seen += histogram[last]) <= cut;) last--;
        if (!trusted) first = last = 4 * reach;
        *lo = ((first - 4 * reach - 6) * factor - 3) / 4;
        *hi = ((last - 4 * reach + 6) * factor + 3) / 4;
    }
    mem_free(small[0]);
    mem_free(small[1]);
    mem_free(maps);
    mem_free(histogram);
    return rc;
}

int sgm_match(Pool *pool, const uint8_t *left, const uint8_t *right, int width, int height, int channels,
              const SgmOptions *options, float *disparity, float *confidence, float *occlusion, SgmReport *report) {
    double start = now();
    SgmOptions o = options ? *options : sgm_defaults();
    if (width < 1 || height < 1 || width > SGM_SIDE_MAX || height > SGM_SIDE_MAX)
        return fail(ERR_INPUT, "A picture of %d x %d pixels cannot be matched: each side must be 1 to %d pixels.",
                    width, height, SGM_SIDE_MAX);
    if (channels != 1 && channels != 3)
        return fail(ERR_INPUT, "A picture with %d channels cannot be matched: it must have 1 or 3.", channels);
    if (!o.automatic && o.hi < o.lo)
        return fail(ERR_USAGE, "The search range %d to %d is empty: its first end must be the smaller.", o.lo, o.hi);
    if (!o.automatic && o.hi - o.lo + 1 > SGM_RANGE_MAX)
        return fail(ERR_USAGE,
                    "The search range %d to %d holds more than %d disparities: narrow it or match a smaller picture.",
                    o.lo, o.hi, SGM_RANGE_MAX);
    size_t pixels = (size_t)width * (size_t)height;
    uint8_t *grey[2] = {mem_alloc(pixels), mem_alloc(pixels)};
    double range_seconds = 0;
    int rc = ERR_MEMORY;
    if (grey[0] && grey[1]) {
        grey_of(left, width, height, channels, false, grey[0]);
        grey_of(right, width, height, channels, true, grey[1]);
        rc = 0;
        if (o.automatic) {
            rc = find_range(pool, grey, width, height, &o.lo, &o.hi);
            range_seconds = now() - start;
        }
        o.lo = clamp(o.lo, 1 - width, width - 1);
        o.hi = clamp(o.hi, 1 - width, width - 1);
        if (o.hi - o.lo >= SGM_RANGE_MAX) o.hi = o.lo + SGM_RANGE_MAX - 1;
        if (!rc) rc = search(pool, grey, width, height, o.lo, o.hi, disparity, confidence, occlusion);
    }
    mem_free(grey[0]);
    mem_free(grey[1]);
    if (report)
        *report = (SgmReport){.lo = o.lo,
                              .hi = o.hi,
                              .seconds = now() - start,
                              .range_seconds = range_seconds,
                              .memory = sgm_memory(width, height, o.lo, o.hi)};
    return rc;
}
