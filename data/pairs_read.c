/* data/pairs_read.c - a pair with truth as a sample, and pairs as a stream to train on. */
#include "base/rng.h"
#include "data/map.h"
#include "data/pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- truth ---- */

/* Sintel's PNG: three bytes of one number. Every value is one; what is not known, its masks say. */
static int read_sintel(const char *path, Map *map) {
    Image image;
    char name[300];
    if (image_read(path, &(ReadOptions){.as_stored = true}, &image, NULL)) return err_code();
    int code = 0;
    if (image.channels != 3 || image.bits != 8)
        code = fail(ERR_INPUT, "%s: Sintel's disparities are 8-bit colour PNGs, and this has %d channels of %d bits",
                    err_printable(name, sizeof name, path), image.channels, image.bits);
    if (!code) code = map_make(map, image.width, image.height, MAP_DISPARITY);
    for (int64_t i = 0; !code && i < image_pixels(&image); i++) {
        const uint8_t *p = image.bytes + 3 * i;
        map->values[i] = 4.0f * p[0] + p[1] / 64.0f + p[2] / 16384.0f;
    }
    image_free(&image);
    return code;
}

/* Steps in a pixel of Middlebury's 8-bit maps, which the files do not say but their sizes do: 2003 came at a quarter
 * (450 wide), a half and whole; 2005 and 2006 at a third (413 to 465 wide), a half and whole. */
static double middlebury_scale(const PairEntry *entry, int width) {
    bool early = strstr(entry->truth, "disp2.") != NULL;
    if (early) return width <= 450 ? 4 : width <= 900 ? 2 : 1;
    return width <= 480 ? 3 : width <= 720 ? 2 : 1;
}

static int read_truth(const PairEntry *entry, const char *path, int width, int height, bool right, Map *map) {
    char name[300];
    if (entry->form == TRUTH_SINTEL) {
        if (read_sintel(path, map)) return err_code();
    } else {
        MapReadOptions options = {.scale = entry->scale, .kind_given = true, .kind = MAP_DISPARITY};
        if (!options.scale) options.scale = middlebury_scale(entry, width);
        if (map_read(path, &options, map, NULL)) return err_code();
    }
    if (map->width != width || map->height != height) {
        int code = fail(ERR_INPUT, "%s: the map has %dx%d pixels and the picture %dx%d",
                        err_printable(name, sizeof name, path), map->width, map->height, width, height);
        map_free(map);
        return code;
    }
    /* Parallel cameras see everything at d >= 0; some sets store the right eye's with the other sign. */
    if (right)
        for (int64_t i = 0; i < (int64_t)width * height; i++) map->values[i] = fabsf(map->values[i]);
    return 0;
}

static void take_truth(SampleEye *eye, const Map *map) {
    for (int64_t i = 0; i < (int64_t)map->width * map->height; i++) {
        float d = map->values[i];
        eye->valid[i] = isfinite(d), eye->disparity[i] = isfinite(d) ? d : 0, eye->occlusion[i] = 0;
    }
}

/* ---- who sees what ---- */

static int read_mask(const char *path, int width, int height, Image *mask) {
    char name[300];
    if (image_read(path, NULL, mask, NULL)) return err_code();
    int code = image_to_8bit(mask);
    if (!code && (mask->width != width || mask->height != height))
        code = fail(ERR_INPUT, "%s: the mask has %dx%d pixels and the picture %dx%d",
                    err_printable(name, sizeof name, path), mask->width, mask->height, width, height);
    if (code) image_free(mask);
    return code;
}

/* Compares both eyes' truth where both are known: within a pixel of each other, the point is seen by both. Where the
 * other eye has none at the match, nothing can be said and the truth is given up for this purpose only when outside. */
static void compare_eyes(SampleEye *mine, const SampleEye *other, int w, int h, int direction) {
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            size_t i = (size_t)y * (size_t)w + (size_t)x;
            float match = (float)x - (float)direction * mine->disparity[i];
            int at = (int)floorf(match + 0.5f);
            if (!(mine->valid[i] > 0) || at < 0 || at >= w) continue;
            size_t j = (size_t)y * (size_t)w + (size_t)at;
            mine->occlusion[i] = other->valid[j] > 0 && fabsf(other->disparity[j] - mine->disparity[i]) <= 1;
        }
}

/* Each kind of mask, as 1 seen and 0 hidden, into the left eye. */
static int apply_mask(const PairEntry *entry, Sample *sample) {
    int w = sample->width, h = sample->height;
    SampleEye *left = &sample->left;
    size_t pixels = (size_t)w * (size_t)h;
    if (entry->mask_form == MASK_TRUTH) {
        Map seen;
        if (read_truth(entry, entry->mask, w, h, false, &seen)) return err_code();
        for (size_t i = 0; i < pixels; i++) left->occlusion[i] = left->valid[i] > 0 && isfinite(seen.values[i]);
        map_free(&seen);
    } else {
        Image mask;
        if (read_mask(entry->mask, w, h, &mask)) return err_code();
        for (size_t i = 0; i < pixels; i++) {
            uint8_t v = mask.bytes[i * (size_t)mask.channels];
            if (entry->mask_form == MASK_HIDDEN)
                left->occlusion[i] = v < 128;
            else
                left->occlusion[i] = v == 255;
        }
        image_free(&mask);
    }
    if (entry->mask_also) {
        Image mask;
        if (read_mask(entry->mask_also, w, h, &mask)) return err_code();
        for (size_t i = 0; i < pixels; i++)
            if (mask.bytes[i * (size_t)mask.channels] >= 128) left->occlusion[i] = 0;
        image_free(&mask);
    }
    for (int y = 0; y < h; y++) /* a match outside the picture is hidden whatever the mask says */
        for (int x = 0; x < w; x++) {
            size_t i = (size_t)y * (size_t)w + (size_t)x;
            float match = (float)x - left->disparity[i];
            if (!(left->valid[i] > 0) || match < 0 || match > (float)(w - 1)) left->occlusion[i] = 0;
        }
    sample->occlusion_known = true;
    return 0;
}

static int read_rgb(const char *path, Image *image) {
    if (image_read(path, NULL, image, NULL)) return err_code();
    if (image_to_8bit(image) || image_to_rgb(image)) {
        image_free(image);
        return err_code();
    }
    return 0;
}

int pairs_read(const PairEntry *entry, Sample *sample) {
    Image left, right;
    char name[300];
    if (read_rgb(entry->left, &left)) return err_code();
    if (read_rgb(entry->right, &right)) {
        image_free(&left);
        return err_code();
    }
    int code = 0, w = left.width, h = left.height;
    if (right.width != w || right.height != h)
        code = fail(ERR_INPUT, "%s: the right picture has %dx%d pixels and the left one %dx%d",
                    err_printable(name, sizeof name, entry->right), right.width, right.height, w, h);
    if (!code) code = sample_reserve(sample, w, h);
    size_t pixels = (size_t)w * (size_t)h;
    if (!code) {
        memcpy(sample->left.rgb, left.bytes, 3 * pixels), memcpy(sample->right.rgb, right.bytes, 3 * pixels);
        memset(sample->right.disparity, 0, 4 * pixels), memset(sample->right.valid, 0, 4 * pixels);
        memset(sample->right.occlusion, 0, 4 * pixels);
    }
    image_free(&left), image_free(&right);
    Map map;
    if (!code && !(code = read_truth(entry, entry->truth, w, h, false, &map))) {
        take_truth(&sample->left, &map);
        map_free(&map);
    }
    if (!code && entry->truth_right && !(code = read_truth(entry, entry->truth_right, w, h, true, &map))) {
        take_truth(&sample->right, &map);
        map_free(&map);
        sample->right_known = sample->occlusion_known = true;
        compare_eyes(&sample->left, &sample->right, w, h, 1);
        compare_eyes(&sample->right, &sample->left, w, h, -1);
    }
    if (!code && entry->mask_form != MASK_NONE) code = apply_mask(entry, sample);
    return code;
}

/* ---- the stream ---- */

int64_t shuffled(uint64_t seed, int64_t count, int64_t index) {
    /* Four rounds of a Feistel network permute the numbers below the next power of four; those that are not below
     * `count` are sent on until they are. */
    int half = 1;
    while (half < 31 && (int64_t)1 << (2 * half) < count) half++;
    uint64_t mask = ((uint64_t)1 << half) - 1, at = (uint64_t)index;
    do {
        uint64_t low = at & mask, high = at >> half;
        for (uint64_t round = 0; round < 4; round++) {
            uint64_t next = high ^ (rng_u64(seed + round, low) & mask);
            high = low, low = next;
        }
        at = high << half | low;
    } while (at >= (uint64_t)count);
    return (int64_t)at;
}

static double clamped(double v, double low, double high) {
    return v < low ? low : v > high ? high : v;
}

/* A window of a resized pair with the screen plane where the lot puts it. */
static int cut_window(const Sample *whole, const PairsStreamOptions *o, uint64_t seed, Sample *sample) {
    double low = o->scale_low ? o->scale_low : 0.8, high = o->scale_high ? o->scale_high : 1.5;
    double scale = low * exp(log(high / low) * rng_unit(seed, 0));
    double plane = o->keep_screen ? 0 : (double)augment_quantile(whole, rng_unit(seed, 1));
    plane = clamped(plane, -0.4 * whole->width, 0.4 * whole->width);
    /* large enough for the window after the columns that moving the screen costs */
    scale = fmax(scale, fmax((o->width + 1) / (whole->width - fabs(plane)), (o->height + 1.0) / whole->height));
    if (scale > 16)
        return fail(ERR_INPUT, "a picture of %dx%d is too small for windows of %dx%d", whole->width, whole->height,
                    o->width, o->height);
    Sample sized = {0};
    int code = augment_resize(&sized, whole, (int)ceil(whole->width * scale), (int)ceil(whole->height * scale));
    if (!code) {
        int shift = (int)lrint(plane * scale), room = sized.width - o->width - abs(shift);
        if (room < 0) shift += shift > 0 ? room : -room, room = 0;
        int x = (int)(rng_unit(seed, 2) * (room + 1)), y = (int)(rng_unit(seed, 3) * (sized.height - o->height + 1));
        code = augment_crop(sample, &sized, x + (shift > 0 ? shift : 0), x + (shift < 0 ? -shift : 0), y, o->width,
                            o->height);
    }
    sample_free(&sized);
    return code;
}

const PairEntry *pairs_stream_entry(const PairsStream *stream, uint64_t index) {
    uint64_t count = (uint64_t)stream->pairs->count, pass = index / count;
    return &stream->pairs
                ->entries[shuffled(rng_u64(stream->options.seed, pass), (int64_t)count, (int64_t)(index % count))];
}

static int make_from_pairs(void *context, uint64_t index, Sample *sample) {
    const PairsStream *stream = context;
    const PairsStreamOptions *o = &stream->options;
    uint64_t seed = rng_u64(o->seed ^ 0x7061697273, index);
    Sample whole = {0};
    int code = pairs_read(pairs_stream_entry(stream, index), &whole);
    if (!code) code = cut_window(&whole, o, seed, sample);
    sample_free(&whole);
    if (!code && sample->right_known && rng_unit(seed, 4) < 0.5) augment_mirror(sample);
    if (!code && o->camera) code = augment_photograph(sample, o->camera, rng_u64(seed, 5));
    sample->index = index;
    return code;
}

SampleSource pairs_source(PairsStream *stream) {
    return (SampleSource){make_from_pairs, stream};
}
