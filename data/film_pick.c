#include "data/film_pick.h"
#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b) {
    int64_t p = *(const int64_t *)a, q = *(const int64_t *)b;
    return (p > q) - (p < q);
}

int64_t film_pick(int64_t count, int64_t wanted, uint64_t seed, int64_t *indices) {
    int64_t n = wanted < count ? wanted : count, kept = 0;
    if (n < 1) return 0;
    double step = (double)count / (double)n;
    int64_t reach = (int64_t)(0.2 * step);
    for (int64_t i = 0; i < n; i++) {
        int64_t at = (int64_t)((double)i * step);
        at += (int64_t)(rng_unit(seed, (uint64_t)i) * (double)(2 * reach + 1)) - reach;
        indices[i] = at < 0 ? 0 : at >= count ? count - 1 : at;
    }
    qsort(indices, (size_t)n, sizeof *indices, ascending);
    for (int64_t i = 0; i < n; i++)
        if (!kept || indices[i] != indices[kept - 1]) indices[kept++] = indices[i];
    return kept;
}

int shot_picture(ShotPicture *small, const Image *picture) {
    Image resized = {0};
    if (image_resize(&resized, picture, SHOT_WIDTH, SHOT_HEIGHT)) return err_code();
    if (image_to_8bit(&resized)) {
        image_free(&resized);
        return err_code();
    }
    memset(small->bins, 0, sizeof small->bins);
    for (int i = 0; i < SHOT_WIDTH * SHOT_HEIGHT; i++) {
        const uint8_t *p = resized.bytes + (size_t)i * (size_t)resized.channels;
        small->grey[i] = resized.channels == 1 ? p[0] : (uint8_t)((54 * p[0] + 183 * p[1] + 19 * p[2]) >> 8);
        small->bins[small->grey[i] * SHOT_BINS / 256]++;
    }
    image_free(&resized);
    return 0;
}

ShotChange shot_change(const ShotPicture *a, const ShotPicture *b) {
    const double pixels = SHOT_WIDTH * SHOT_HEIGHT;
    /* A value may move to a neighbouring bin for nothing: flicker and noise push whole greys over a bin's edge. What
     * is left over of a bin is first matched with what is missing next to it. */
    int left[SHOT_BINS];
    int64_t moved = 0, difference = 0;
    for (int i = 0; i < SHOT_BINS; i++) left[i] = a->bins[i] - b->bins[i];
    for (int i = 0; i + 1 < SHOT_BINS; i++) {
        if ((left[i] > 0) == (left[i + 1] > 0)) continue;
        int here = abs(left[i]), there = abs(left[i + 1]), met = here < there ? here : there;
        left[i] += left[i] > 0 ? -met : met;
        left[i + 1] += left[i + 1] > 0 ? -met : met;
    }
    for (int i = 0; i < SHOT_BINS; i++) moved += abs(left[i]);
    for (int i = 0; i < SHOT_WIDTH * SHOT_HEIGHT; i++) difference += abs(a->grey[i] - b->grey[i]);
    return (ShotChange){.values = (double)moved / (2 * pixels), .places = (double)difference / (255 * pixels)};
}

bool shot_begins(const ShotPicture *before, const ShotPicture *after) {
    ShotChange c = shot_change(before, after);
    /* Motion changes places and hardly values, a change of light values and hardly places; the product of both is large
     * for cuts only. Two shots of one scene have alike values, and then nearly every place differs. */
    return (c.values > 0.15 && c.places > 0.06) || c.places > 0.2;
}
