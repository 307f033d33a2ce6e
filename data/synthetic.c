/* data/synthetic.c - the stream: which scene stands at which place, drawn and photographed. */
#include "data/synthetic.h"
#include "base/mem.h"
#include "base/rng.h"
#include "data/scene.h"

#include <math.h>
#include <string.h>

struct Synthetic {
    SyntheticOptions options;
};

int synthetic_open(Synthetic **synthetic, const SyntheticOptions *options) {
    *synthetic = NULL;
    if (options->disparity_limit < 0 || options->disparity_limit > 1)
        return fail(ERR_INPUT, "a disparity limit of %g is no share of the width; it is 0 to 1",
                    options->disparity_limit);
    Synthetic *s = mem_zero(1, sizeof *s);
    if (!s) return err_code();
    s->options = *options;
    if (!s->options.disparity_limit) s->options.disparity_limit = 0.25;
    *synthetic = s;
    return 0;
}

void synthetic_close(Synthetic *synthetic) {
    mem_free(synthetic);
}

static void take_eye(SampleEye *eye, const Image *image, const Map *disparity, const Map *visible) {
    int64_t pixels = image_pixels(image);
    memcpy(eye->rgb, image->bytes, (size_t)pixels * 3);
    for (int64_t i = 0; i < pixels; i++) {
        float d = disparity->values[i];
        eye->valid[i] = d == d;
        eye->disparity[i] = d == d ? d : 0;
        eye->occlusion[i] = d == d ? visible->values[i] : 0;
    }
}

int synthetic_make(const Synthetic *s, uint64_t index, Sample *sample) {
    const SyntheticOptions *o = &s->options;
    uint64_t seed = rng_u64(o->seed, index);
    Scene *scene = mem_alloc(sizeof *scene);
    if (!scene) return err_code();
    SceneViews views = {0};
    double limit = o->disparity_limit;
    SceneLot lot = {.seed = seed,
                    .behind = -fmin(limit, 0.01 * exp(2.5 * rng_unit(seed, 1))),
                    .front = fmin(limit, 0.01 * exp(2.5 * rng_unit(seed, 2)))};
    int code = scene_random(scene, &lot);
    if (!code) code = scene_render(scene, o->width, o->height, NULL, &views);
    if (!code) code = sample_reserve(sample, o->width, o->height);
    if (!code) {
        take_eye(&sample->left, &views.left, &views.disparity, &views.visible);
        take_eye(&sample->right, &views.right, &views.disparity_right, &views.visible_right);
        sample->occlusion_known = sample->right_known = true;
        sample->index = index;
    }
    scene_views_free(&views);
    mem_free(scene);
    return code;
}

static int make(void *context, uint64_t index, Sample *sample) {
    return synthetic_make(context, index, sample);
}

SampleSource synthetic_source(Synthetic *synthetic) {
    return (SampleSource){make, synthetic};
}
