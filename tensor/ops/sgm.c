/* Semi-global matching: the way from two pictures to the maps, and the search range. */
#include "tensor/ops/sgm.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "tensor/ops/sgm_inner.h"

#include <stdlib.h>
#include <string.h>

SgmOptions sgm_defaults(void) {
    return (SgmOptions){.automatic = true, .memory = (size_t)512 << 20};
}

static inline int clamp(int v, int lo, int hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

/* --- pictures ------------------------------------------------------------------------------------------------------
 */

/* Brings the right picture's greys to the left one's: the monotone curve that makes their distributions equal. Two
 * cameras, or two lenses of one, seldom agree in brightness, and then level differences would mislead. */
static void match_tones(SgmEyes *eyes) {
    int64_t counts[2][256] = {{0}};
    for (int eye = 0; eye < 2; eye++)
        for (int y = 0; y < eyes->height; y++)
            for (int x = 0; x < eyes->width; x++) counts[eye][eyes->level[eye][(size_t)y * eyes->pitch + (size_t)x]]++;
    uint8_t curve[256];
    int64_t below = 0, left_up_to = counts[0][0];
    int grey = 0;
    for (int i = 0; i < 256; i++) {
        int64_t middle = below + counts[1][i] / 2;
        below += counts[1][i];
        while (grey < 255 && left_up_to <= middle) left_up_to += counts[0][++grey];
        curve[i] = (uint8_t)grey;
    }
    for (int y = 0; y < eyes->height; y++)
        for (int x = 0; x < eyes->width; x++) {
            uint8_t *pixel = eyes->level[1] + (size_t)y * eyes->pitch + (size_t)x;
            *pixel = curve[*pixel];
        }
}

static void read_eye(const uint8_t *image, int channels, SgmEyes *eyes, int eye) {
    for (int y = 0; y < eyes->height; y++) {
        uint8_t *out = eyes->level[eye] + (size_t)y * eyes->pitch + (eye ? eyes->width - 1 : 0);
        int step = eye ? -1 : 1;
        for (int x = 0; x < eyes->width; x++, image += channels)
            out[step * x] =
                channels == 1 ? image[0] : (uint8_t)((77 * image[0] + 150 * image[1] + 29 * image[2] + 128) >> 8);
    }
}

/* --- the range -----------------------------------------------------------------------------------------------------
 */

static const float TRUSTED = 0.4f;
enum {
    COARSE_WIDTH = 128,
    COARSE_HEIGHT = 16,  /* least, where the picture has as many: a few rows of means have no texture left */
    ROUNDING = 16 * 128, /* what base/mem.h may add to 16 blocks */
};

/* Means over factor x factor pixels. What the factor leaves over is cut off on the same side of both eyes. */
static void shrink(const SgmEyes *in, int factor, SgmEyes *out) {
    for (int eye = 0; eye < 2; eye++) {
        const uint8_t *from = in->level[eye] + (eye ? in->width - out->width * factor : 0);
        for (int y = 0; y < out->height; y++)
            for (int x = 0; x < out->width; x++) {
                int sum = factor * factor / 2;
                for (int v = 0; v < factor; v++)
                    for (int u = 0; u < factor; u++)
                        sum += from[(size_t)(y * factor + v) * in->pitch + (size_t)(x * factor + u)];
                out->level[eye][(size_t)y * out->pitch + (size_t)x] = (uint8_t)(sum / (factor * factor));
            }
    }
    sgm_eyes_pad(out);
}

/* What trusted pixels span, in quarter pixels, without the outermost half percent on either side. */
static bool spanned(const float *disparity, const float *confidence, size_t pixels, int reach, int *histogram, int bins,
                    int *first, int *last) {
    int64_t trusted = 0;
    for (size_t i = 0; i < pixels; i++) {
        if (confidence[i] < TRUSTED) continue;
        histogram[clamp((int)(4 * (disparity[i] + (float)reach) + 0.5f), 0, bins - 1)]++;
        trusted++;
    }
    int64_t cut = trusted / 200, seen = 0;
    *first = 0, *last = bins - 1;
    while (*first < bins - 1 && (seen += histogram[*first]) <= cut) ++*first;
    for (seen = 0; *last > *first && (seen += histogram[*last]) <= cut;) --*last;
    *first -= 4 * reach, *last -= 4 * reach;
    return trusted > 0;
}

/* Matches a small copy of the pair over a third of its width to both sides and takes what its trusted pixels span,
 * widened by one and a half of the small pixels. */
static int find_range(Pool *pool, const SgmKernels *kernels, const SgmEyes *eyes, size_t memory, int *lo, int *hi) {
    int factor = (eyes->width + COARSE_WIDTH - 1) / COARSE_WIDTH;
    if (factor > eyes->height / COARSE_HEIGHT) factor = clamp(eyes->height / COARSE_HEIGHT, 1, factor);
    int w = eyes->width / factor, h = eyes->height / factor;
    int reach = clamp(w * 36 / 100, 2, (SGM_RANGE_MAX - 1) / 2);
    if (reach > w - 1) reach = w - 1;
    size_t pixels = (size_t)w * (size_t)h;
    int bins = 4 * (2 * reach + 1), first = 0, last = 0;
    SgmEyes small = {0};
    SgmFound found = {0};
    float *maps = mem_array(2 * pixels, sizeof *maps);
    int *histogram = mem_zero((size_t)bins, sizeof *histogram);
    int rc = maps && histogram ? sgm_eyes_make(&small, w, h) : ERR_MEMORY;
    if (!rc) rc = sgm_found_make(&found, w, h, -reach, reach);
    if (!rc) {
        shrink(eyes, factor, &small);
        rc = sgm_search(pool, kernels, &small, memory, &found);
    }
    if (!rc) rc = sgm_finish(pool, &small, &found, maps, maps + pixels, NULL);
    if (!rc && spanned(maps, maps + pixels, pixels, reach, histogram, bins, &first, &last)) {
        *lo = ((first - 6) * factor - 3) / 4;
        *hi = ((last + 6) * factor + 3) / 4;
    } else
        *lo = *hi = 0;
    sgm_found_drop(&found);
    sgm_eyes_drop(&small);
    mem_free(maps);
    mem_free(histogram);
    return rc;
}

/* --- the whole -----------------------------------------------------------------------------------------------------
 */

size_t sgm_memory(int width, int height, int lo, int hi, size_t limit, int threads) {
    if (!limit) limit = sgm_defaults().memory;
    size_t pixels = (size_t)width * (size_t)height, pitch = (size_t)width + 2 * SGM_PAD;
    size_t search = sgm_search_memory(width, height, lo, hi, limit, threads), finish = sgm_finish_memory(width, height);
    return 2 * pitch * (size_t)height + 6 * pixels + (search > finish ? search : finish) + ROUNDING;
}

static int check(int width, int height, int channels, const SgmOptions *o) {
    if (width < 1 || height < 1 || width > SGM_SIDE_MAX || height > SGM_SIDE_MAX)
        return fail(ERR_INPUT, "a picture of %d x %d pixels cannot be matched: each side must be 1 to %d pixels", width,
                    height, SGM_SIDE_MAX);
    if (channels != 1 && channels != 3)
        return fail(ERR_INPUT, "a picture with %d channels cannot be matched: it must have 1 or 3", channels);
    if (o->automatic && !o->at_least) return 0;
    if (o->hi < o->lo)
        return fail(ERR_USAGE, "the search range %d to %d is empty: its first end must be the smaller", o->lo, o->hi);
    if (!o->automatic && (int64_t)o->hi - o->lo >= SGM_RANGE_MAX)
        return fail(ERR_USAGE,
                    "the search range %d to %d holds more than %d disparities: narrow it or match a smaller picture",
                    o->lo, o->hi, SGM_RANGE_MAX);
    return 0;
}

int sgm_match_with(const SgmKernels *kernels, Pool *pool, const uint8_t *left, const uint8_t *right, int width,
                   int height, int channels, const SgmOptions *options, float *disparity, float *confidence,
                   float *occlusion, SgmReport *report) {
    double start = clock_seconds(), range_seconds = 0;
    SgmOptions o = options ? *options : sgm_defaults();
    if (!o.memory) o.memory = sgm_defaults().memory;
    int rc = check(width, height, channels, &o);
    if (rc) return rc;
    SgmEyes eyes;
    SgmFound found = {0};
    rc = sgm_eyes_make(&eyes, width, height);
    if (!rc) {
        read_eye(left, channels, &eyes, 0);
        read_eye(right, channels, &eyes, 1);
        match_tones(&eyes);
        sgm_eyes_pad(&eyes);
        if (o.automatic) rc = find_range(pool, kernels, &eyes, o.memory, &o.lo, &o.hi);
        if (o.automatic && o.at_least) {
            o.lo = o.lo < options->lo ? o.lo : options->lo;
            o.hi = o.hi > options->hi ? o.hi : options->hi;
        }
        range_seconds = o.automatic ? clock_seconds() - start : 0;
    }
    if (!rc) {
        o.lo = clamp(o.lo, 1 - width, width - 1);
        o.hi = clamp(o.hi, 1 - width, width - 1);
        if (o.hi - o.lo >= SGM_RANGE_MAX) o.hi = o.lo + SGM_RANGE_MAX - 1;
        rc = sgm_found_make(&found, width, height, o.lo, o.hi);
    }
    if (!rc) rc = sgm_search(pool, kernels, &eyes, o.memory, &found);
    if (!rc) rc = sgm_finish(pool, &eyes, &found, disparity, confidence, occlusion);
    sgm_found_drop(&found);
    sgm_eyes_drop(&eyes);
    if (report)
        *report = (SgmReport){.lo = o.lo,
                              .hi = o.hi,
                              .seconds = clock_seconds() - start,
                              .range_seconds = range_seconds,
                              .memory = sgm_memory(width, height, o.lo, o.hi, o.memory, pool_threads(pool))};
    return rc;
}

int sgm_match(Pool *pool, const uint8_t *left, const uint8_t *right, int width, int height, int channels,
              const SgmOptions *options, float *disparity, float *confidence, float *occlusion, SgmReport *report) {
    return sgm_match_with(sgm_kernels(), pool, left, right, width, height, channels, options, disparity, confidence,
                          occlusion, report);
}
