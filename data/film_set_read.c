/* data/film_set_read.c - a film's frame and its anchor as a sample. */
#include "base/rng.h"
#include "data/film_set.h"
#include "data/pairs.h"
#include "tensor/files/npy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- anchors ---- */

typedef struct {
    int width, height;
    float *disparity, *confidence, *occlusion; /* the last two NULL when the file has none */
} Anchor;

static void anchor_free(Anchor *anchor) {
    mem_free(anchor->disparity), mem_free(anchor->confidence), mem_free(anchor->occlusion);
    *anchor = (Anchor){0};
}

/* One plane, height x width, leading sizes of 1 allowed; its size must be the anchor's when that is known. */
static int read_plane(const Npz *npz, const char *name, Anchor *anchor, float **plane) {
    NpyArray array = {0};
    if (npz_read(npz, name, &array)) return err_code();
    int first = 0, code = 0;
    while (array.rank - first > 2 && array.size[first] == 1) first++;
    int64_t height = array.rank - first == 2 ? array.size[first] : 0, width = height ? array.size[first + 1] : 0;
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX ||
        width * height > IMAGE_PIXELS_MAX)
        code = fail(ERR_INPUT, "the array %s is no plane of 1 to %d rows and columns", name, IMAGE_SIDE_MAX);
    else if (anchor->width && (width != anchor->width || height != anchor->height))
        code = fail(ERR_INPUT, "the array %s has %lldx%lld values and disparity %dx%d", name, (long long)width,
                    (long long)height, anchor->width, anchor->height);
    if (!code && !(*plane = mem_array((size_t)(width * height), sizeof **plane))) code = err_code();
    if (!code) code = npy_to_f32(&array, *plane);
    if (!code) anchor->width = (int)width, anchor->height = (int)height;
    npy_free(&array);
    return code;
}

static int read_anchor(const char *path, Anchor *anchor) {
    Npz *npz = NULL;
    char name[300];
    *anchor = (Anchor){0};
    int code = npz_open(path, &npz);
    if (code) return code;
    bool parallax = !npz_has(npz, "disparity") && npz_has(npz, "parallax");
    code = read_plane(npz, parallax ? "parallax" : "disparity", anchor, &anchor->disparity);
    if (!code && npz_has(npz, "confidence")) code = read_plane(npz, "confidence", anchor, &anchor->confidence);
    if (!code && npz_has(npz, "occlusion")) code = read_plane(npz, "occlusion", anchor, &anchor->occlusion);
    npz_close(npz);
    if (code) {
        anchor_free(anchor);
        return fail_prefix("%s", err_printable(name, sizeof name, path));
    }
    if (parallax)
        for (int64_t i = 0; i < (int64_t)anchor->width * anchor->height; i++)
            anchor->disparity[i] = -anchor->disparity[i];
    return 0;
}

static float unit(float v) {
    return v >= 0 ? v > 1 ? 1 : v : 0; /* NaN is 0 */
}

static void take_anchor(const Anchor *anchor, Sample *sample) {
    SampleEye *left = &sample->left;
    for (int64_t i = 0; i < (int64_t)anchor->width * anchor->height; i++) {
        bool known = isfinite(anchor->disparity[i]) && fabsf(anchor->disparity[i]) <= IMAGE_SIDE_MAX;
        left->valid[i] = known ? anchor->confidence ? unit(anchor->confidence[i]) : 1 : 0;
        left->disparity[i] = left->valid[i] > 0 ? anchor->disparity[i] : 0;
        left->occlusion[i] = left->valid[i] > 0 ? anchor->occlusion ? unit(anchor->occlusion[i]) : 1 : 0;
    }
    sample->occlusion_known = anchor->occlusion != NULL;
}

/* ---- pictures ---- */

/* Brings an eye's picture to what the anchor was made from. */
static int fit_to_anchor(Image *eye, const Anchor *anchor) {
    if (eye->width == anchor->width && eye->height == anchor->height) return 0;
    Image fitted;
    int code;
    if (anchor->width == (eye->width & ~31) && anchor->height == (eye->height & ~31))
        code = image_crop(&fitted, eye, 0, 0, anchor->width, anchor->height);
    else if (llabs((int64_t)anchor->width * eye->height - (int64_t)anchor->height * eye->width) <=
             (eye->width > eye->height ? eye->width : eye->height)) /* the same shape to within a pixel */
        code = image_resize(&fitted, eye, anchor->width, anchor->height);
    else
        code = fail(
            ERR_INPUT,
            "the anchor has %dx%d pixels and an eye %dx%d: neither the same shape nor the eye cut to multiples of 32",
            anchor->width, anchor->height, eye->width, eye->height);
    if (code) return code;
    image_free(eye);
    *eye = fitted;
    return 0;
}

int film_frame_read(const FilmFrame *frame, const StereoOptions *options, Sample *sample) {
    StereoPair pair;
    Anchor anchor = {0};
    char name[300];
    if (stereo_read(frame->path, frame->right, options, &pair)) return err_code();
    err_printable(name, sizeof name, frame->path);
    int code = 0;
    if (!pair.right.bytes)
        code = fail(ERR_INPUT, "%s: holds one eye (%s); say how both are packed if there are two", name,
                    pair.decision.evidence);
    else if (pair.identical)
        code = fail(ERR_INPUT, "%s: both eyes are the same picture", name);
    if (!code) code = image_to_8bit(&pair.left);
    if (!code) code = image_to_8bit(&pair.right);
    if (!code) code = image_to_rgb(&pair.left);
    if (!code) code = image_to_rgb(&pair.right);
    if (!code && frame->anchor) {
        code = read_anchor(frame->anchor, &anchor);
        if (!code && (fit_to_anchor(&pair.left, &anchor) || fit_to_anchor(&pair.right, &anchor)))
            code = fail_prefix("%s", err_printable(name, sizeof name, frame->anchor));
    }
    if (!code) code = sample_reserve(sample, pair.left.width, pair.left.height);
    if (!code) {
        size_t pixels = (size_t)sample->width * (size_t)sample->height;
        memcpy(sample->left.rgb, pair.left.bytes, 3 * pixels), memcpy(sample->right.rgb, pair.right.bytes, 3 * pixels);
        SampleEye *eyes[2] = {&sample->left, &sample->right};
        for (int eye = 0; eye < 2; eye++) {
            memset(eyes[eye]->disparity, 0, 4 * pixels), memset(eyes[eye]->valid, 0, 4 * pixels);
            memset(eyes[eye]->occlusion, 0, 4 * pixels);
        }
        if (frame->anchor) take_anchor(&anchor, sample);
    }
    anchor_free(&anchor);
    stereo_pair_free(&pair);
    return code;
}

/* ---- the stream ---- */

const FilmFrame *film_set_stream_frame(const FilmSetStream *stream, uint64_t index) {
    uint64_t count = (uint64_t)stream->count;
    int64_t which = shuffled(rng_u64(stream->options.seed, index / count), stream->count, (int64_t)(index % count));
    return &stream->set->frames[stream->frames[which]];
}

static int make_from_films(void *context, uint64_t index, Sample *sample) {
    const FilmSetStream *stream = context;
    const FilmStreamOptions *o = &stream->options;
    uint64_t seed = rng_u64(o->seed ^ 0x66696c6d73, index);
    if (!stream->count) return fail(ERR_INPUT, "no frames of films are left to train on");
    char name[300];
    const FilmFrame *frame = film_set_stream_frame(stream, index);
    Sample whole = {0};
    int code = film_frame_read(frame, &o->stereo, &whole);
    if (!code && o->windows && (whole.width < o->width || whole.height < o->height))
        code = fail(ERR_INPUT, "%s: a frame of %dx%d is too small for windows of %dx%d",
                    err_printable(name, sizeof name, frame->path), whole.width, whole.height, o->width, o->height);
    if (!code && o->windows) {
        int x = (int)(rng_unit(seed, 0) * (whole.width - o->width + 1));
        int y = (int)(rng_unit(seed, 1) * (whole.height - o->height + 1));
        code = augment_crop(sample, &whole, x, x, y, o->width, o->height);
    } else if (!code) {
        code = augment_resize(sample, &whole, o->width, o->height);
    }
    sample_free(&whole);
    if (!code && rng_unit(seed, 2) < o->flip) augment_flip_rows(sample);
    if (!code && o->camera) code = augment_photograph(sample, o->camera, rng_u64(seed, 3));
    sample->index = index;
    return code;
}

SampleSource film_set_source(FilmSetStream *stream) {
    return (SampleSource){make_from_films, stream};
}
