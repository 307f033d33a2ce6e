/* After the search: the left-right check, the filling of gaps, the median, and what confidence and occlusion say. */
#include "base/err.h"
#include "base/mem.h"
#include "tensor/ops/sgm_inner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    VALID = 0,
    HIDDEN = 1,
    MISMATCH = 2,
    TRUST_STEPS = 512,
    TRUST_FALL = 75, /* margin by which the doubt falls to 1/e; fitted, see sgm.h */
};

typedef struct {
    const SgmEyes *eyes;
    const SgmFound *found;
    int width, height, count;
    uint8_t *kind;
    size_t pitch;             /* of the next two: a row and one place beyond each end */
    int16_t *filled, *smooth; /* in 1 / SGM_UNIT from lo, at pixel (0, 0) */
    float *disparity, *confidence, *occlusion;
    float trust[TRUST_STEPS]; /* confidence by margin */
} Finish;

static inline int clamp(int v, int lo, int hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

/* A pixel is valid when the right pixel it points at points back to within one disparity; hidden when no right pixel
 * points at it; else it was matched wrongly. */
static void check_tile(void *context, int64_t y, int worker) {
    (void)worker;
    const Finish *f = context;
    size_t at = (size_t)y * (size_t)f->width;
    const uint16_t *right = f->found->right + at, *found = f->found->found + at;
    uint8_t *kind = f->kind + at;
    memset(kind, HIDDEN, (size_t)f->width);
    for (int mirrored = 0; mirrored < f->width; mirrored++) {
        if (right[mirrored] == SGM_NONE) continue;
        int x = f->width - 1 - mirrored + f->found->lo + right[mirrored];
        kind[x] = MISMATCH;
    }
    for (int x = 0; x < f->width; x++) {
        int k = (found[x] + SGM_UNIT / 2) / SGM_UNIT, mirrored = f->width - 1 - x + f->found->lo + k;
        if (mirrored < 0 || mirrored >= f->width) {
            kind[x] = HIDDEN;
            continue;
        }
        if (right[mirrored] != SGM_NONE && abs(right[mirrored] - k) <= 1) kind[x] = VALID;
    }
}

static void fill_tile(void *context, int64_t y, int worker) {
    (void)worker;
    const Finish *f = context;
    size_t at = (size_t)y * (size_t)f->width;
    const uint16_t *found = f->found->found + at;
    const uint8_t *kind = f->kind + at;
    int16_t *out = f->filled + (size_t)y * f->pitch;
    int nothing = SGM_UNIT * clamp(-f->found->lo, 0, f->count - 1);
    for (int x = 0; x < f->width;) {
        if (kind[x] == VALID) {
            out[x] = (int16_t)found[x];
            x++;
            continue;
        }
        int end = x;
        while (end < f->width && kind[end] != VALID) end++;
        int before = x ? found[x - 1] : end < f->width ? found[end] : nothing;
        int after = end < f->width ? found[end] : before;
        int value = before < after ? before : after;
        for (; x < end; x++) out[x] = (int16_t)value;
    }
    out[-1] = out[0], out[f->width] = out[f->width - 1];
}

/* How far the winner stays below its rivals says how likely it is right. Pixels that failed the check have no winner
 * of their own, and without any grey difference along the row a match means nothing. */
static void trust_row(const Finish *f, int y) {
    size_t at = (size_t)y * (size_t)f->width;
    const uint8_t *level = f->eyes->level[0] + (size_t)y * f->eyes->pitch;
    const uint16_t *margins = f->found->margin + at;
    float *out = f->confidence + at;
    int last_step = -5; /* the last x with level[x] != level[x - 1] in -4..x+4 */
    for (int x = -3; x < 4; x++)
        if (level[x] != level[x - 1]) last_step = x;
    for (int x = 0; x < f->width; x++) {
        if (level[x + 4] != level[x + 3]) last_step = x + 4;
        bool flat = last_step < x - 3;
        int margin = margins[x] == UINT16_MAX ? 0 : clamp(margins[x], 0, TRUST_STEPS - 1);
        out[x] = f->kind[at + (size_t)x] != VALID || flat ? 0 : f->trust[margin];
    }
}

#define ORDER(a, b)                                                                      \
    do {                                                                                 \
        int16_t smaller = v##a < v##b ? v##a : v##b, larger = v##a < v##b ? v##b : v##a; \
        v##a = smaller, v##b = larger;                                                   \
    } while (0)

/* The median of nine by a network of exchanges (19 of them), which compilers turn into vector minima and maxima. */
static void median_row(const int16_t *restrict a, const int16_t *restrict b, const int16_t *restrict c, int width,
                       int16_t *restrict out) {
    for (int x = 0; x < width; x++) {
        int16_t v0 = a[x - 1], v1 = a[x], v2 = a[x + 1], v3 = b[x - 1], v4 = b[x], v5 = b[x + 1], v6 = c[x - 1],
                v7 = c[x], v8 = c[x + 1];
        ORDER(1, 2);
        ORDER(4, 5);
        ORDER(7, 8);
        ORDER(0, 1);
        ORDER(3, 4);
        ORDER(6, 7);
        ORDER(1, 2);
        ORDER(4, 5);
        ORDER(7, 8);
        ORDER(0, 3);
        ORDER(5, 8);
        ORDER(4, 7);
        ORDER(3, 6);
        ORDER(1, 4);
        ORDER(2, 5);
        ORDER(4, 7);
        ORDER(4, 2);
        ORDER(6, 4);
        ORDER(4, 2);
        out[x] = v4;
    }
}

static void median_tile(void *context, int64_t y, int worker) {
    (void)worker;
    const Finish *f = context;
    const int16_t *rows[3];
    for (int i = 0; i < 3; i++) rows[i] = f->filled + (size_t)clamp((int)y + i - 1, 0, f->height - 1) * f->pitch;
    size_t at = (size_t)y * (size_t)f->width;
    int16_t *median = f->smooth + (size_t)y * f->pitch;
    median_row(rows[0], rows[1], rows[2], f->width, median);
    for (int x = 0; x < f->width; x++)
        f->disparity[at + (size_t)x] = (float)f->found->lo + (float)median[x] * (1.0f / SGM_UNIT);
    const uint8_t *kind = f->kind + at;
    if (f->occlusion)
        for (int x = 0; x < f->width; x++) f->occlusion[at + (size_t)x] = kind[x] == HIDDEN ? 0 : 1;
    if (f->confidence) trust_row(f, (int)y);
}

size_t sgm_finish_memory(int width, int height) {
    return 4 * ((size_t)width + 2) * (size_t)height + (size_t)width * (size_t)height;
}

int sgm_finish(Pool *pool, const SgmEyes *eyes, const SgmFound *found, float *disparity, float *confidence,
               float *occlusion) {
    Finish f = {.eyes = eyes,
                .found = found,
                .width = eyes->width,
                .height = eyes->height,
                .count = found->hi - found->lo + 1,
                .disparity = disparity,
                .confidence = confidence,
                .occlusion = occlusion};
    size_t pixels = (size_t)f.width * (size_t)f.height;
    f.pitch = (size_t)f.width + 2;
    int16_t *planes = mem_array(2 * f.pitch * (size_t)f.height, sizeof *planes);
    f.kind = mem_alloc(pixels);
    int rc = ERR_MEMORY;
    if (planes && f.kind) {
        rc = 0;
        for (int i = 0; i < TRUST_STEPS; i++) f.trust[i] = 1 - expf(-(float)i / TRUST_FALL);
        f.filled = planes + 1;
        f.smooth = f.filled + f.pitch * (size_t)f.height;
        pool_run(pool, f.height, check_tile, &f);
        pool_run(pool, f.height, fill_tile, &f);
        pool_run(pool, f.height, median_tile, &f);
    }
    mem_free(planes);
    mem_free(f.kind);
    return rc;
}
