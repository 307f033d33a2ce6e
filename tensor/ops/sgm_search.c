/* Semi-global matching's search: features, costs, paths, winners.
 *
 * Eight paths in two passes over the picture, four each; the second is the first with the picture turned by 180
 * degrees. A pass goes down its rows; row y works a few pixels behind row y - 1 (a wavefront), so that every row is one
 * tile of the pool and yet every path runs through the whole picture. Since the sum of a pixel is finished inside its
 * row's tile in a fixed order, the result does not depend on who runs which. Tiles are claimed in order, so the row
 * waited for is always at work or done. */
#include "base/err.h"
#include "base/mem.h"
#include "tensor/ops/sgm_inner.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    P1 = 25,             /* for a step of one disparity */
    P2 = 120,            /* for a larger one inside a surface */
    P2_LEAST = 30,       /* and across the strongest edge */
    P2_FALL = 5,         /* what P2 loses with each grey level */
    SPAN = 32,           /* pixels between two looks at the row above */
    ROWS_IN_FLIGHT = 64, /* most rows of a pass at work at once; the rings are wider than a row by as many */
    OVERLAP = 64,        /* rows matched beyond a strip on each side, so that paths arrive informed */
};

typedef struct {
    Pool *pool;
    const SgmKernels *kernels;
    const SgmEyes *eyes;
    SgmFound *found;
    int width, height; /* height of the strip */
    int lo, count, stride, ring;
    int top;             /* picture row of the strip's first row */
    int keep, keep_end;  /* picture rows whose result is taken */
    size_t state;        /* bytes between ring places */
    size_t winner_pitch; /* of SgmWinners' right arrays */
    bool backward;
    uint8_t *census[2][4];    /* at pixel (0, 0) of the picture, the eyes' pitch */
    uint8_t *cost;            /* [y][x][k] of the strip */
    uint16_t *sum;            /* [y][x][k] of the forward pass */
    uint8_t *rings, *workers; /* path states; what each worker needs alone */
    size_t ring_bytes, worker_bytes, along_bytes, p2_bytes, row_sum_bytes, winner_bytes;
    _Atomic int *done; /* pixels finished, per row of the pass */
} Search;

static inline int clamp(int v, int lo, int hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

/* --- pictures ----------------------------------------------------------------------------------------------------- */

int sgm_eyes_make(SgmEyes *eyes, int width, int height) {
    size_t pitch = (size_t)width + 2 * SGM_PAD, plane = pitch * (size_t)height;
    *eyes = (SgmEyes){.width = width, .height = height, .pitch = pitch, .block = mem_alloc(2 * plane)};
    if (!eyes->block) return ERR_MEMORY;
    for (int eye = 0; eye < 2; eye++) eyes->level[eye] = eyes->block + (size_t)eye * plane + SGM_PAD;
    return 0;
}

void sgm_eyes_pad(SgmEyes *eyes) {
    for (int eye = 0; eye < 2; eye++)
        for (int y = 0; y < eyes->height; y++) {
            uint8_t *row = eyes->level[eye] + (size_t)y * eyes->pitch;
            memset(row - SGM_PAD, row[0], SGM_PAD);
            memset(row + eyes->width, row[eyes->width - 1], SGM_PAD);
        }
}

void sgm_eyes_drop(SgmEyes *eyes) {
    mem_free(eyes->block);
}

int sgm_found_make(SgmFound *found, int width, int height, int lo, int hi) {
    size_t pixels = (size_t)width * (size_t)height;
    *found = (SgmFound){.lo = lo, .hi = hi, .block = mem_array(3 * pixels, sizeof(uint16_t))};
    if (!found->block) return ERR_MEMORY;
    found->found = found->block;
    found->margin = found->found + pixels;
    found->right = found->margin + pixels;
    return 0;
}

void sgm_found_drop(SgmFound *found) {
    mem_free(found->block);
}

/* Sets the bits of `one` in out where the neighbour is darker. */
static void mark_darker(const uint8_t *restrict neighbour, const uint8_t *restrict centre, int width, uint8_t one,
                        uint8_t *restrict out) {
    for (int x = 0; x < width; x++) out[x] = (uint8_t)(out[x] | (neighbour[x] < centre[x] ? one : 0));
}

/* Census: one bit for each second neighbour of a 9 x 7 window, set where it is darker than the centre. The right eye
 * lies mirrored, and so must its window. */
static void census_row(const SgmEyes *eyes, int eye, int y, uint8_t *const planes[4]) {
    const uint8_t *centre = eyes->level[eye] + (size_t)y * eyes->pitch;
    int plane = 0, bit = 0;
    for (int i = 0; i < 4; i++) memset(planes[i] + (size_t)y * eyes->pitch, 0, (size_t)eyes->width);
    for (int v = -3; v <= 3; v++)
        for (int u = -4; u <= 4; u++) {
            if (((u + v) & 1) == 0) continue;
            int row = clamp(y + v, 0, eyes->height - 1);
            const uint8_t *neighbour = eyes->level[eye] + (size_t)row * eyes->pitch + (eye ? -u : u);
            mark_darker(neighbour, centre, eyes->width, (uint8_t)(1 << bit), planes[plane] + (size_t)y * eyes->pitch);
            if (++bit == 8) bit = 0, plane++;
        }
}

static void census_tile(void *context, int64_t y, int worker) {
    (void)worker;
    const Search *s = context;
    for (int eye = 0; eye < 2; eye++) census_row(s->eyes, eye, (int)y, s->census[eye]);
}

/* --- costs and paths ---------------------------------------------------------------------------------------------- */

static SgmFeatures features(const Search *s, int eye, int y) {
    size_t at = (size_t)y * s->eyes->pitch;
    SgmFeatures f = {.level = s->eyes->level[eye] + at};
    for (int i = 0; i < 4; i++) f.census[i] = s->census[eye][i] + at;
    return f;
}

static void cost_tile(void *context, int64_t y, int worker) {
    (void)worker;
    const Search *s = context;
    SgmFeatures left = features(s, 0, s->top + (int)y), right = features(s, 1, s->top + (int)y);
    s->kernels->cost(&left, &right, s->width, s->lo, s->count, s->stride,
                     s->cost + (size_t)y * (size_t)s->width * (size_t)s->stride);
}

static void wait_for(const _Atomic int *done, int pixels) {
    for (int i = 0; atomic_load_explicit(done, memory_order_acquire) < pixels; i++)
        if (i % 256 == 255) sched_yield();
}

static int ring_place(int place, int ring) {
    return (place % ring + ring) % ring;
}

static inline uint8_t penalty(int here, int from) {
    int p2 = P2 - P2_FALL * abs(here - from);
    return (uint8_t)(p2 > P2_LEAST ? p2 : P2_LEAST);
}

/* P2 along the four paths into each pixel of a row of the pass, from the grey difference to the pixel before. */
static void penalties(const Search *s, int y, uint8_t *restrict p2) {
    int width = s->width, turn = s->backward ? -1 : 1;
    int row = s->top + (s->backward ? s->height - 1 - y : y);
    const uint8_t *restrict here = s->eyes->level[0] + (size_t)row * s->eyes->pitch;
    const uint8_t *restrict above = y ? here - turn * (ptrdiff_t)s->eyes->pitch : here;
    const uint8_t *const from[4] = {here - turn, above - turn, above, above + turn};
    for (int path = 0; path < 4; path++, p2 += width) {
        const uint8_t *restrict other = from[path];
        if (s->backward)
            for (int x = 0; x < width; x++) p2[width - 1 - x] = penalty(here[x], other[x]);
        else
            for (int x = 0; x < width; x++) p2[x] = penalty(here[x], other[x]);
    }
}

/* The winner's place to a fraction: two straight lines of equal slope through the three sums round it (a symmetric V),
 * which suits costs that grow linearly better than a parabola does. In units of 1 / SGM_UNIT. */
static int fraction(int before, int here, int after) {
    int left = before - here, right = after - here, steep = left > right ? left : right;
    if (steep <= 0) return 0;
    int turn = left - right;
    return (turn * SGM_UNIT + (turn < 0 ? -steep : steep)) / (2 * steep);
}

static void finish_row(Search *s, int row, const SgmWinners *w, const uint16_t *sum) {
    uint16_t *right = w->right_sum;
    for (int x = 0; x < s->width; x++) right[x] = UINT16_MAX;
    s->kernels->choose(sum, s->width, s->lo, s->count, s->stride, w);
    size_t at = (size_t)row * (size_t)s->width;
    uint16_t *found = s->found->found + at;
    for (int x = 0; x < s->width; x++, sum += s->stride) {
        int k = w->best[x], place = SGM_UNIT * k;
        if (k > 0 && k + 1 < s->count) place += fraction(sum[k - 1], sum[k], sum[k + 1]);
        found[x] = (uint16_t)place;
    }
    memcpy(s->found->margin + at, w->margin, (size_t)s->width * sizeof *w->margin);
    for (int x = 0; x < s->width; x++)
        s->found->right[at + (size_t)x] = right[x] == UINT16_MAX ? SGM_NONE : w->right_best[x];
}

static void path_tile(void *context, int64_t tile, int worker) {
    Search *s = context;
    int y = (int)tile, width = s->width;
    int row = s->backward ? s->height - 1 - y : y;
    size_t first = ((size_t)row * (size_t)width + (s->backward ? (size_t)width - 1 : 0)) * (size_t)s->stride;
    uint8_t *mine = s->workers + (size_t)worker * s->worker_bytes;
    uint8_t *along = mine + SGM_PAD, *p2 = mine + s->along_bytes;
    uint16_t *row_sum = (uint16_t *)(void *)(p2 + s->p2_bytes);
    penalties(s, y, p2);
    memset(mine, 255, s->along_bytes);
    memset(along, 0, (size_t)s->stride);
    SgmSpan span = {
        .stride = s->stride,
        .cost = s->cost + first,
        .step = s->backward ? -s->stride : s->stride,
        .before = s->backward ? s->sum + first : NULL,
        .sum = s->backward ? row_sum + (size_t)(width - 1) * (size_t)s->stride : s->sum + first,
        .along = along,
        .ring = s->ring,
        .state = s->state,
        .p2 = {p2, p2 + width, p2 + 2 * width, p2 + 3 * width},
        .p1 = P1,
    };
    for (int path = 0; path < 3; path++) span.slots[path] = s->rings + (size_t)path * s->ring_bytes + SGM_PAD;
    if (y >= ROWS_IN_FLIGHT) wait_for(&s->done[y - ROWS_IN_FLIGHT], width);
    for (int x = 0; x < width; x += SPAN) {
        span.first = x;
        span.count = width - x < SPAN ? width - x : SPAN;
        if (y) wait_for(&s->done[y - 1], clamp(x + span.count + 1, 0, width));
        /* A path keeps its ring place all the way down: lines of slope +1 share x - y, of slope -1 x + y. */
        span.slot[0] = ring_place(x - y, s->ring);
        span.slot[1] = x;
        span.slot[2] = ring_place(x + y, s->ring);
        /* paths that begin here know nothing yet */
        if (x == 0) memset(span.slots[0] + (size_t)span.slot[0] * s->state, 0, (size_t)s->stride);
        if (x + span.count == width)
            memset(span.slots[2] + (size_t)ring_place(width - 1 + y, s->ring) * s->state, 0, (size_t)s->stride);
        s->kernels->paths(&span);
        atomic_store_explicit(&s->done[y], x + span.count, memory_order_release);
    }
    if (!s->backward || s->top + row < s->keep || s->top + row >= s->keep_end) return;
    uint16_t *arrays = row_sum + s->row_sum_bytes / sizeof *row_sum, margin = SGM_RANGE_MAX + SGM_PAD;
    SgmWinners winners = {.best = arrays,
                          .margin = arrays + s->winner_pitch,
                          .right_sum = arrays + 2 * s->winner_pitch + margin,
                          .right_best = arrays + 3 * s->winner_pitch + margin};
    finish_row(s, s->top + row, &winners, row_sum);
}

static void run_pass(Search *s, bool backward) {
    s->backward = backward;
    for (int path = 0; path < 3; path++) {
        uint8_t *ring = s->rings + (size_t)path * s->ring_bytes;
        memset(ring, 255, s->ring_bytes);
        for (int i = 0; i < s->ring; i++) memset(ring + SGM_PAD + (size_t)i * s->state, 0, (size_t)s->stride);
    }
    for (int y = 0; y < s->height; y++) atomic_store_explicit(&s->done[y], 0, memory_order_relaxed);
    pool_run(s->pool, s->height, path_tile, s);
}

/* --- sizes -------------------------------------------------------------------------------------------------------- */

static size_t round64(size_t n) {
    return (n + 63) & ~(size_t)63;
}

/* Rows whose results one strip gives, and its rows with the overlap. */
static int strip_rows(int width, int height, int stride, size_t memory, int *with_overlap) {
    size_t rows = memory / (3 * (size_t)width * (size_t)stride);
    *with_overlap = height;
    if (rows >= (size_t)height) return height;
    int keep = rows > 2 * OVERLAP + OVERLAP ? (int)rows - 2 * OVERLAP : OVERLAP;
    int strips = (height + keep - 1) / keep;
    keep = (height + strips - 1) / strips;
    if (keep + 2 * OVERLAP < height) *with_overlap = keep + 2 * OVERLAP;
    return keep;
}

static void lay_out(Search *s, int width, int lo, int hi) {
    s->width = width;
    s->lo = lo;
    s->count = hi - lo + 1;
    s->stride = (s->count + 31) / 32 * 32;
    s->ring = width + ROWS_IN_FLIGHT;
    s->state = (size_t)s->stride + SGM_PAD;
    s->ring_bytes = round64((size_t)s->ring * s->state + SGM_PAD);
    s->along_bytes = round64((size_t)s->stride + 2 * SGM_PAD);
    s->p2_bytes = round64(4 * (size_t)width);
    s->row_sum_bytes = round64(2 * (size_t)width * (size_t)s->stride);
    s->winner_pitch = (size_t)width + 2 * (SGM_RANGE_MAX + SGM_PAD);
    s->winner_bytes = round64(4 * s->winner_pitch * sizeof(uint16_t));
    s->worker_bytes = s->along_bytes + s->p2_bytes + s->row_sum_bytes + s->winner_bytes;
}

size_t sgm_search_memory(int width, int height, int lo, int hi, size_t memory, int threads) {
    Search s;
    lay_out(&s, width, lo, hi);
    int rows;
    strip_rows(width, height, s.stride, memory, &rows);
    return 3 * (size_t)rows * (size_t)width * (size_t)s.stride + 3 * s.ring_bytes + (size_t)threads * s.worker_bytes +
           8 * ((size_t)width + 2 * SGM_PAD) * (size_t)height + (size_t)rows * sizeof(int);
}

int sgm_search(Pool *pool, const SgmKernels *kernels, const SgmEyes *eyes, size_t memory, SgmFound *found) {
    Search s = {.pool = pool, .kernels = kernels, .eyes = eyes, .found = found};
    lay_out(&s, eyes->width, found->lo, found->hi);
    int rows, keep = strip_rows(eyes->width, eyes->height, s.stride, memory, &rows);
    size_t volume = (size_t)rows * (size_t)s.width * (size_t)s.stride, plane = eyes->pitch * (size_t)eyes->height;
    uint8_t *census = mem_alloc(8 * plane);
    s.cost = mem_alloc(volume);
    s.sum = mem_array(volume, sizeof *s.sum);
    s.rings = mem_alloc(3 * s.ring_bytes);
    s.workers = mem_array((size_t)pool_threads(pool), s.worker_bytes);
    s.done = mem_array((size_t)rows, sizeof *s.done);
    int rc = ERR_MEMORY;
    if (census && s.cost && s.sum && s.rings && s.workers && s.done) {
        rc = 0;
        for (int i = 0; i < 8; i++) {
            s.census[i / 4][i % 4] = census + (size_t)i * plane + SGM_PAD;
            /* what a kernel reads beyond the rows is never used, but it is read */
            memset(census + (size_t)i * plane, 0, SGM_PAD);
        }
        pool_run(pool, eyes->height, census_tile, &s);
        for (s.keep = 0; s.keep < eyes->height; s.keep = s.keep_end) {
            s.keep_end = s.keep + keep < eyes->height ? s.keep + keep : eyes->height;
            s.top = clamp(s.keep - OVERLAP, 0, eyes->height - rows);
            int bottom = s.keep_end + OVERLAP < eyes->height ? s.keep_end + OVERLAP : eyes->height;
            s.height = (bottom - s.top < rows ? bottom - s.top : rows);
            pool_run(pool, s.height, cost_tile, &s);
            run_pass(&s, false);
            run_pass(&s, true);
        }
    }
    mem_free(census);
    mem_free(s.cost);
    mem_free(s.sum);
    mem_free(s.rings);
    mem_free(s.workers);
    mem_free(s.done);
    return rc;
}
