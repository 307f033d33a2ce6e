/* apps/lib/matcher_sgm.c - semi-global matching as a matcher. */
#include "apps/lib/matcher.h"
#include "base/mem.h"
#include "tensor/ops/sgm.h"

#include <math.h>
#include <stdio.h>

typedef struct {
    MatcherOptions options;
    Pool *pool;
    MatcherSearch search;
    int asked[2]; /* unless searching as opened */
    int range[2]; /* of the last match */
} SgmState;

static int sgm_open(const MatcherOptions *options, MatcherModel model, Pool *pool, void **state) {
    (void)model;
    if (options->weights)
        return fail(ERR_USAGE, "--weights: the model sgm has no weights; name one that has, as --model s2m2-S");
    SgmState *s = mem_zero(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    *s = (SgmState){.options = *options, .pool = pool};
    *state = s;
    return 0;
}

static int to_pixels(double value, bool percent, int width) {
    double pixels = percent ? value * width / 100 : value;
    return (int)fmax(-1e6, fmin(1e6, pixels < 0 ? floor(pixels) : ceil(pixels)));
}

static int sgm_run(void *state, const Image *left, const Image *right, StereoMaps *maps, char *describe, size_t size) {
    SgmState *s = state;
    const MatcherOptions *o = &s->options;
    int w = left->width, h = left->height;
    SgmOptions options = sgm_defaults();
    if (o->max_memory) options.memory = (size_t)o->max_memory;
    if (s->search != SEARCH_AS_OPENED) {
        options.automatic = options.at_least = s->search == SEARCH_AT_LEAST;
        options.lo = s->asked[0];
        options.hi = s->asked[1];
    } else if (o->ranged) {
        options.automatic = false;
        options.lo = to_pixels(o->low, o->percent, w);
        options.hi = to_pixels(o->high, o->percent, w);
        if (o->positive && options.hi < 0)
            return fail(ERR_USAGE, "--positive: the range ends at %d px, so nothing is left to search", options.hi);
        if (o->positive && options.lo < 0) options.lo = 0;
    }
    int rc = map_make(&maps->disparity, w, h, MAP_DISPARITY);
    if (!rc) rc = map_make(&maps->confidence, w, h, MAP_CONFIDENCE);
    if (!rc) rc = map_make(&maps->occlusion, w, h, MAP_OCCLUSION);
    if (rc) return rc;
    SgmReport report;
    rc = sgm_match(s->pool, left->bytes, right->bytes, w, h, left->channels, &options, maps->disparity.values,
                   maps->confidence.values, maps->occlusion.values, &report);
    if (!rc && o->positive && report.lo < 0) {
        /* the range that was found reaches behind the screen: search what is left of it */
        options.automatic = false;
        options.lo = 0;
        options.hi = report.hi > 0 ? report.hi : 0;
        rc = sgm_match(s->pool, left->bytes, right->bytes, w, h, left->channels, &options, maps->disparity.values,
                       maps->confidence.values, maps->occlusion.values, &report);
    }
    if (rc) return rc;
    s->range[0] = report.lo;
    s->range[1] = report.hi;
    snprintf(describe, size, "sgm, %d to %d px searched (%s)", report.lo, report.hi,
             s->search == SEARCH_EXACTLY    ? "fixed for the film"
             : s->search == SEARCH_AT_LEAST ? "the film's, and what was found in the picture"
             : o->ranged                    ? "as asked"
                                            : "found in the picture");
    return 0;
}

static void sgm_close(void *state) {
    mem_free(state);
}

static void search_so(void *state, MatcherSearch search, const int range[2]) {
    SgmState *s = state;
    s->search = search;
    for (int i = 0; search != SEARCH_AS_OPENED && i < 2; i++) s->asked[i] = range[i];
}

static void sgm_searched(const void *state, int range[2]) {
    const SgmState *s = state;
    for (int i = 0; i < 2; i++) range[i] = s->range[i];
}

const MatcherBackend matcher_sgm = {
    .open = sgm_open, .match = sgm_run, .close = sgm_close, .search = search_so, .searched = sgm_searched};
