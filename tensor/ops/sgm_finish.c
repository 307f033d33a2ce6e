/* After the search: the left-right check, the filling of gaps, the median, and what confidence and occlusion say. */
#include "base/err.h"
#include "base/mem.h"
#include "tensor/ops/sgm_inner.h"

#include <stdlib.h>
#include <string.h>

enum { VALID = 0, HIDDEN = 1, MISMATCH = 2 };

typedef struct {
    const SgmEyes *eyes;
    const SgmFound *found;
    int width, height, count;
    uint8_t *kind;
    uint16_t *filled;
    float *disparity, *confidence, *occlusion;
} Finish;

static inline int clamp(int v, int lo, int hi) { return v < lo ? lo : v > hi ? hi : v; }

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
    uint16_t *out = f->filled + at;
    int nothing = SGM_UNIT * clamp(-f->found->lo, 0, f->count - 1);
    for (int x = 0; x < f->width;) {
        if (kind[x] == VALID) {
            out[x] = found[x];
            x++;
            continue;
        }
        int end = x;
        while (end < f->width && kind[end] != VALID) end++;
        int before = x ? found[x - 1] : end < f->width ? found[end] : nothing;
        int after = end < f->width ? found[end] : before;
        int value = before < after ? before : after;
        for (; x < end; x++) out[x] = (uint16_t)value;
    }
}

static inline void order(int *a, int *b) {
    int low = *a < *b ? *a : *b, high = *a < *b ? *b : *a;
    *a = low, *b = high;
}

static int median9(int v[9]) {
    order(v + 1, v + 2), order(v + 4, v + 5), order(v + 7, v + 8);
    order(v + 0, v + 1), order(v + 3, v + 4), order(v + 6, v + 7);
    order(v + 1, v + 2), order(v + 4, v + 5), order(v + 7, v + 8);
    order(v + 0, v + 3), order(v + 5, v + 8), order(v + 4, v + 7);
    order(v + 3, v + 6), order(v + 1, v + 4), order(v + 2, v + 5);
    order(v + 4, v + 7), order(v + 4, v + 2), order(v + 6, v + 4);
    order(v + 4, v + 2);
    return v[4];
}

static void median_tile(void *context, int64_t y, int worker) {
    (void)worker;
    const Finish *f = context;
    const uint16_t *rows[3];
    for (int i = 0; i < 3; i++) rows[i] = f->filled + (size_t)clamp((int)y + i - 1, 0, f->height - 1) * (size_t)f->width;
    size_t at = (size_t)y * (size_t)f->width;
    const uint8_t *level = f->eyes->level[0] + (size_t)y * f->eyes->pitch;
    for (int x = 0; x < f->width; x++) {
        int left = x ? x - 1 : 0, right = x + 1 < f->width ? x + 1 : x, v[9];
        for (int i = 0; i < 3; i++) v[3 * i] = rows[i][left], v[3 * i + 1] = rows[i][x], v[3 * i + 2] = rows[i][right];
        size_t i = at + (size_t)x;
        f->disparity[i] = (float)f->found->lo + (float)median9(v) / SGM_UNIT;
        if (f->occlusion) f->occlusion[i] = f->kind[i] == HIDDEN ? 0 : 1;
        if (f->confidence) {
            bool flat = true;
            for (int u = -4; u <= 4; u++) flat &= level[x + u] == level[x];
            float margin = (float)f->found->margin[i] / 200;
            f->confidence[i] = f->kind[i] != VALID || flat ? 0 : margin < 1 ? margin : 1;
        }
    }
}

size_t sgm_finish_memory(int width, int height) { return 3 * (size_t)width * (size_t)height; }

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
    f.filled = mem_array(pixels, sizeof *f.filled);
    f.kind = mem_alloc(pixels);
    int rc = ERR_MEMORY;
    if (f.filled && f.kind) {
        rc = 0;
        pool_run(pool, f.height, check_tile, &f);
        pool_run(pool, f.height, fill_tile, &f);
        pool_run(pool, f.height, median_tile, &f);
    }
    mem_free(f.filled);
    mem_free(f.kind);
    return rc;
}
