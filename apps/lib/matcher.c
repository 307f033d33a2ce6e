#include "apps/lib/matcher.h"
#include "base/clock.h"
#include "base/mem.h"
#include "tensor/files/describe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const model_names[] = {"auto", "sgm", "s2m2-XS", "s2m2-S", "s2m2-M", "s2m2-L", "s2m2-XL"};

/* Which back end runs which model; NULL: not in this build. */
static const MatcherBackend *const backends[] = {
    [MODEL_SGM] = &matcher_sgm,     [MODEL_S2M2_XS] = &matcher_s2m2, [MODEL_S2M2_S] = &matcher_s2m2,
    [MODEL_S2M2_M] = &matcher_s2m2, [MODEL_S2M2_L] = &matcher_s2m2,  [MODEL_S2M2_XL] = &matcher_s2m2,
};
/* What `auto` tries, best first. */
static const MatcherModel preference[] = {MODEL_S2M2_XL, MODEL_S2M2_L,  MODEL_S2M2_M,
                                          MODEL_S2M2_S,  MODEL_S2M2_XS, MODEL_SGM};

struct Matcher {
    const MatcherBackend *backend;
    void *state;
    Pool *pool;
    MatcherModel model;
    double seconds;
    char describe[256];
};

const char *matcher_model_name(MatcherModel model) {
    return model_names[model];
}

const char *matcher_precision_name(MatcherPrecision precision) {
    static const char *const names[] = {[PRECISION_F32] = "f32", [PRECISION_BF16] = "bf16", [PRECISION_F16] = "f16"};
    return names[precision];
}

MatcherOptions matcher_defaults(void) {
    return (MatcherOptions){.behaviour = BEHAVIOUR_R3, .refine_iter = 3, .device = {.kind = DEVICE_CPU}};
}

/* The model that a weights file named without --model is of. */
static int model_of_weights(const char *path, MatcherModel *model) {
    Weights *weights;
    char guess[64], name[300];
    int code = weights_open(path, &weights);
    if (code) return code;
    weights_guess_model(weights, guess, sizeof guess);
    weights_close(weights);
    for (int i = MODEL_S2M2_XS; i <= MODEL_S2M2_XL; i++) {
        if (strcmp(guess, model_names[i]) != 0) continue;
        *model = (MatcherModel)i;
        return 0;
    }
    return fail(ERR_WEIGHTS, "%s: these are not weights of a model known here; panum model info lists what they are",
                err_printable(name, sizeof name, path));
}

MatcherModel matcher_choice(const MatcherOptions *options) {
    if (options->ranged) return MODEL_SGM; /* the one that searches a range */
    for (size_t i = 0; i < sizeof preference / sizeof *preference; i++) {
        const MatcherBackend *b = backends[preference[i]];
        if (b && (!b->ready || b->ready(options, preference[i]))) return preference[i];
    }
    return MODEL_SGM;
}

int matcher_device_option(const Verb *verb, const char *text, MatcherModel model, DeviceChoice *where) {
    int code = device_option(verb, text, where);
    if (code || where->kind != DEVICE_CUDA || model != MODEL_SGM) return code;
    return usage_error(verb, "--device %s is for the s2m2 models; sgm runs on the CPU", text);
}

/* Weights that nobody named did not do: the way out belongs into the sentence. */
static int refuse_found(int code) {
    char sentence[1024];
    snprintf(sentence, sizeof sentence, "%s", err_sentence());
    return code == ERR_WEIGHTS ? fail(ERR_WEIGHTS, "%s; the model sgm needs none", sentence) : code;
}

int matcher_open(const MatcherOptions *options, Matcher **matcher) {
    *matcher = NULL;
    MatcherModel model = options->model;
    if (model == MODEL_AUTO && options->weights) {
        int code = model_of_weights(options->weights, &model);
        if (code) return code;
    }
    const bool found = model == MODEL_AUTO;
    if (found) model = matcher_choice(options);
    if (model == MODEL_SGM && options->device.kind == DEVICE_CUDA)
        return fail(ERR_USAGE,
                    "a GPU is asked for, and sgm matches here, which runs on the CPU: %s, or leave --device out",
                    options->ranged ? "leave --range out" : "name one of the s2m2 models");
    const MatcherBackend *backend = backends[model];
    if (!backend)
        return fail(ERR_WEIGHTS, "the model %s is not in this build; use --model sgm, which needs no weights",
                    model_names[model]);
    Matcher *m = mem_zero(1, sizeof *m);
    if (!m) return ERR_MEMORY;
    *m = (Matcher){.backend = backend, .model = model};
    m->pool = pool_make(options->threads);
    int rc = m->pool ? backend->open(options, model, m->pool, &m->state) : ERR_MEMORY;
    if (rc) {
        pool_drop(m->pool);
        mem_free(m);
        return found ? refuse_found(rc) : rc;
    }
    *matcher = m;
    return 0;
}

void matcher_close(Matcher *matcher) {
    if (!matcher) return;
    matcher->backend->close(matcher->state);
    pool_drop(matcher->pool);
    mem_free(matcher);
}

static int check_pair(const Image *left, const Image *right) {
    if (left->width != right->width || left->height != right->height)
        return fail(ERR_INPUT,
                    "the left picture has %d x %d pixels and the right one %d x %d; both eyes must be of one size",
                    left->width, left->height, right->width, right->height);
    BUG_IF(left->bits != 8 || right->bits != 8 || left->channels != right->channels, "matcher: pictures not prepared");
    return 0;
}

int matcher_match(Matcher *matcher, const Image *left, const Image *right, StereoMaps *maps) {
    memset(maps, 0, sizeof *maps);
    int rc = check_pair(left, right);
    if (rc) return rc;
    double start = clock_seconds();
    rc = matcher->backend->match(matcher->state, left, right, maps, matcher->describe, sizeof matcher->describe);
    matcher->seconds = clock_seconds() - start;
    if (rc) stereo_maps_free(maps);
    return rc;
}

bool matcher_overlaps(const Matcher *matcher) {
    return matcher->backend->overlaps && matcher->backend->overlaps(matcher->state);
}

int matcher_start(Matcher *matcher, const Image *left, const Image *right) {
    int rc = check_pair(left, right);
    if (rc) return rc;
    return matcher->backend->start(matcher->state, left, right);
}

/* Its time is what it made the caller wait. */
int matcher_finish(Matcher *matcher, StereoMaps *maps) {
    memset(maps, 0, sizeof *maps);
    double start = clock_seconds();
    int rc = matcher->backend->finish(matcher->state, maps, matcher->describe, sizeof matcher->describe);
    matcher->seconds = clock_seconds() - start;
    if (rc) stereo_maps_free(maps);
    return rc;
}

void matcher_search(Matcher *matcher, MatcherSearch search, const int range[2]) {
    if (matcher->backend->search) matcher->backend->search(matcher->state, search, range);
}

bool matcher_searched(const Matcher *matcher, int range[2]) {
    if (matcher->backend->searched) matcher->backend->searched(matcher->state, range);
    return matcher->backend->searched != NULL;
}

MatcherModel matcher_model(const Matcher *matcher) {
    return matcher->model;
}

const char *matcher_weights(const Matcher *matcher) {
    return matcher->backend->weights ? matcher->backend->weights(matcher->state) : NULL;
}

const char *matcher_device(const Matcher *matcher) {
    return matcher->backend->device ? matcher->backend->device(matcher->state) : "the CPU";
}

Pool *matcher_pool(Matcher *matcher) {
    return matcher->pool;
}

const char *matcher_describe(const Matcher *matcher) {
    return matcher->describe;
}

double matcher_seconds(const Matcher *matcher) {
    return matcher->seconds;
}
