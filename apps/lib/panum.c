#include "panum.h"
#include "apps/lib/matcher.h"
#include "base/err.h"
#include "base/mem.h"

#include <string.h>

_Static_assert(PANUM_USAGE == (int)ERR_USAGE && PANUM_INPUT == (int)ERR_INPUT && PANUM_WEIGHTS == (int)ERR_WEIGHTS &&
                   PANUM_MEMORY == (int)ERR_MEMORY && PANUM_FAILED == (int)ERR_FAILED,
               "the codes of panum.h are those of base/err.h");

struct PanumMatcher {
    Matcher *matcher;
    StereoMaps maps;
};

const char *panum_version(void) {
    return PANUM_VERSION;
}

static int find_model(const char *name, MatcherModel *model) {
    for (int i = MODEL_AUTO; i <= MODEL_S2M2_XL; i++)
        if (strcmp(matcher_model_name((MatcherModel)i), name) == 0) {
            *model = (MatcherModel)i;
            return 0;
        }
    char shown[100];
    return fail(ERR_USAGE, "there is no model '%s'; the models are %s", err_printable(shown, sizeof shown, name),
                MATCHER_MODELS);
}

int panum_open(const PanumOptions *options, PanumMatcher **matcher) {
    *matcher = NULL;
    MatcherOptions o = matcher_defaults();
    if (options) {
        if (options->size != sizeof *options)
            return fail(ERR_USAGE, "PanumOptions.size is %zu, this library knows %zu: begin with PANUM_OPTIONS",
                        options->size, sizeof *options);
        int rc = options->model ? find_model(options->model, &o.model) : 0;
        if (rc) return rc;
        if (options->threads < 0 || options->threads > 1024)
            return fail(ERR_USAGE, "threads is %d; it must be 0 to 1024", options->threads);
        if (options->max_memory < 0) return fail(ERR_USAGE, "max_memory is negative");
        if (options->ranged && !(options->range_low < options->range_high))
            return fail(ERR_USAGE, "the range is empty: range_low must be below range_high");
        o.weights = options->weights;
        o.threads = options->threads;
        o.positive = options->positive != 0;
        o.ranged = options->ranged != 0;
        o.low = options->range_low;
        o.high = options->range_high;
        o.max_memory = options->max_memory;
    }
    PanumMatcher *m = mem_zero(1, sizeof *m);
    if (!m) return ERR_MEMORY;
    int rc = matcher_open(&o, &m->matcher);
    if (rc) {
        mem_free(m);
        return rc;
    }
    *matcher = m;
    return 0;
}

void panum_close(PanumMatcher *matcher) {
    if (!matcher) return;
    stereo_maps_free(&matcher->maps);
    matcher_close(matcher->matcher);
    mem_free(matcher);
}

static int copy_in(Image *image, const uint8_t *bytes, ptrdiff_t stride, int width, int height, int channels) {
    int rc = image_make(image, width, height, channels, 8);
    if (rc) return rc;
    size_t row = (size_t)width * (size_t)channels;
    for (int y = 0; y < height; y++) memcpy(image->bytes + (size_t)y * row, bytes + y * stride, row);
    return 0;
}

int panum_match(PanumMatcher *matcher, const uint8_t *left, ptrdiff_t left_stride, const uint8_t *right,
                ptrdiff_t right_stride, int width, int height, int channels) {
    stereo_maps_free(&matcher->maps);
    if (!left || !right) return fail(ERR_USAGE, "a picture is missing");
    if (width < 1 || height < 1 || width > IMAGE_SIDE_MAX || height > IMAGE_SIDE_MAX ||
        (int64_t)width * height > IMAGE_PIXELS_MAX)
        return fail(ERR_INPUT, "a picture of %d x %d pixels cannot be matched", width, height);
    if (channels != 1 && channels != 3) return fail(ERR_USAGE, "channels is %d; it must be 1 or 3", channels);
    ptrdiff_t row = (ptrdiff_t)width * channels;
    if ((left_stride < row && left_stride > -row) || (right_stride < row && right_stride > -row))
        return fail(ERR_USAGE, "a stride is shorter than a row of %td bytes", row);
    Image pair[2] = {{0}, {0}};
    int rc = copy_in(&pair[0], left, left_stride, width, height, channels);
    if (!rc) rc = copy_in(&pair[1], right, right_stride, width, height, channels);
    if (!rc) rc = matcher_match(matcher->matcher, &pair[0], &pair[1], &matcher->maps);
    image_free(&pair[0]);
    image_free(&pair[1]);
    return rc;
}

const float *panum_disparity(const PanumMatcher *matcher) {
    return matcher->maps.disparity.values;
}

const float *panum_confidence(const PanumMatcher *matcher) {
    return matcher->maps.confidence.values;
}

const float *panum_occlusion(const PanumMatcher *matcher) {
    return matcher->maps.occlusion.values;
}

int panum_width(const PanumMatcher *matcher) {
    return matcher->maps.disparity.width;
}

int panum_height(const PanumMatcher *matcher) {
    return matcher->maps.disparity.height;
}

const char *panum_describe(const PanumMatcher *matcher) {
    return matcher_describe(matcher->matcher);
}

const char *panum_error(void) {
    return err_sentence();
}
