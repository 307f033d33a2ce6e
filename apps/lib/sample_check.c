#include "apps/lib/sample_check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Disparities below this, in pixels, do not tell one sign from the other. */
#define SIGN_LEAST 2.0f
/* Of the pixels compared, this share of all is needed, and this ratio of differences to call the truth wrong. */
#define SIGN_SHARE 0.05
#define SIGN_RATIO 0.8
/* A few wild values are in every measured map; more than this share is another scale or another format. */
#define WILD_SHARE 0.01

static size_t pixels_of(const Sample *s) {
    return (size_t)s->width * (size_t)s->height;
}

static bool is_one_colour(const Sample *s, const SampleEye *eye) {
    for (size_t i = 1; i < pixels_of(s); i++)
        if (memcmp(eye->rgb, eye->rgb + 3 * i, 3) != 0) return false;
    return true;
}

typedef struct {
    int64_t valid, wild;
    float wildest;
    /* pixels that can tell signs apart, and sums of differences of brightness to the right eye there */
    int64_t compared;
    double as_said, opposite;
} Survey;

/* Summed over the colours; out of the picture: -1. */
static int difference(const Sample *s, int x, int y, float d) {
    int at = (int)lrintf((float)x - d);
    if (at < 0 || at >= s->width) return -1;
    const uint8_t *a = s->left.rgb + 3 * ((size_t)y * (size_t)s->width + (size_t)x);
    const uint8_t *b = s->right.rgb + 3 * ((size_t)y * (size_t)s->width + (size_t)at);
    return abs(a[0] - b[0]) + abs(a[1] - b[1]) + abs(a[2] - b[2]);
}

static Survey survey(const Sample *s) {
    Survey found = {0};
    for (int y = 0; y < s->height; y++)
        for (int x = 0; x < s->width; x++) {
            size_t i = (size_t)y * (size_t)s->width + (size_t)x;
            float d = s->left.disparity[i];
            if (!(s->left.valid[i] > 0)) continue;
            found.valid++;
            if (fabsf(d) >= (float)s->width) {
                found.wild++;
                if (fabsf(d) > fabsf(found.wildest)) found.wildest = d;
                continue;
            }
            if (fabsf(d) < SIGN_LEAST || (s->occlusion_known && s->left.occlusion[i] < 0.5f)) continue;
            int as_said = difference(s, x, y, d), opposite = difference(s, x, y, -d);
            if (as_said < 0 || opposite < 0) continue;
            found.compared++;
            found.as_said += as_said;
            found.opposite += opposite;
        }
    return found;
}

static bool truth_plausible(const Sample *s, char why[SAMPLE_WHY]) {
    Survey found = survey(s);
    double per_value = found.compared ? 1.0 / (3.0 * (double)found.compared) : 0;
    if (!found.valid)
        snprintf(why, SAMPLE_WHY, "no pixel of its map has a disparity");
    else if ((double)found.wild > WILD_SHARE * (double)found.valid)
        snprintf(why, SAMPLE_WHY,
                 "%" PRId64 " of %" PRId64 " disparities are beyond the picture's width of %d px, up to %g; the scale "
                 "may be wrong",
                 found.wild, found.valid, s->width, (double)found.wildest);
    else if ((double)found.compared > SIGN_SHARE * (double)pixels_of(s) && found.opposite < SIGN_RATIO * found.as_said)
        snprintf(why, SAMPLE_WHY,
                 "the pictures fit disparities of the opposite sign better (mean difference %.1f, as it is %.1f); the "
                 "eyes may be swapped",
                 found.opposite * per_value, found.as_said * per_value);
    else
        return true;
    return false;
}

bool sample_plausible(const Sample *s, SampleTruth truth, char why[SAMPLE_WHY]) {
    if (is_one_colour(s, &s->left) || is_one_colour(s, &s->right))
        snprintf(why, SAMPLE_WHY, "the %s eye's picture is of one colour",
                 is_one_colour(s, &s->left) ? "left" : "right");
    else if (memcmp(s->left.rgb, s->right.rgb, 3 * pixels_of(s)) == 0)
        snprintf(why, SAMPLE_WHY, "both eyes have the same picture");
    else
        return truth == SAMPLE_PAIR_ALONE || truth_plausible(s, why);
    return false;
}
