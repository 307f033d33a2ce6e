/* apps/lib/matcher_s2m2.c - S2M2 as a matcher: weights found and checked, pictures padded, one plan a picture size. */
#include "apps/lib/device.h"
#include "apps/lib/matcher.h"
#include "apps/lib/model_files.h"
#include "base/mem.h"
#include "data/pad.h"
#include "exec/player.h"
#include "models/s2m2.h"
#include "nn/store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FACTOR = 32, CHECK_SIDE = 64, SLOTS = 2 };

typedef struct {
    MatcherOptions options;
    const S2m2Size *size;
    ParameterStore *store;
    Pool *pool;
    char weights[2048];
    /* the plan of the last size: a film's frames all have one */
    Program *program;
    Player *player;
    Tensor *pictures;
    S2m2Output maps;
    Padding padding;
    bool padded;
    int width, height; /* of the pictures last given */
    Device device;
} S2m2State;

static S2m2Options network_options(const S2m2State *s) {
    static const S2m2Behaviour behaviours[] = {
        [BEHAVIOUR_R1] = S2M2_R1, [BEHAVIOUR_R2] = S2M2_R2, [BEHAVIOUR_R3] = S2M2_R3};
    return (S2m2Options){.channels = s->size->channels,
                         .blocks = s->size->blocks,
                         .refine_iterations = s->options.refine_iter,
                         .positive = s->options.positive,
                         .behaviour = behaviours[s->options.behaviour]};
}

static void drop_plan(S2m2State *s) {
    player_drop(s->player);
    program_drop(s->program);
    s->player = NULL;
    s->program = NULL;
}

static int record(S2m2State *s, Padding padding, bool padded) {
    s->program = program_make();
    if (!s->program) return ERR_MEMORY;
    Net net = {s->program};
    /* padding makes fractions, so a padded picture is given as numbers and not as bytes */
    s->pictures = program_input(s->program, "pictures", padded ? DTYPE_F32 : DTYPE_U8, 4,
                                (int64_t[]){2, 3, padding.height, padding.width});
    s->maps = s2m2(&net, s->pictures, network_options(s));
    s->padding = padding;
    s->padded = padded;
    return 0;
}

static int make_player(S2m2State *s) {
    WeightSource source = store_source(s->store);
    PlayerOptions options = device_player(&s->device);
    options.slots = SLOTS;
    options.plan = (PlanOptions){.exact = s->options.exact, .memory_limit = (size_t)s->options.max_memory};
    const MatcherPrecision precision = s->options.precision;
    if (s->device.gpu && precision != PRECISION_F32) {
        options.plan.halves = gpu_halves;
        options.on_gpu.storage = precision == PRECISION_BF16 ? GPU_BF16 : GPU_F16;
    } else if (precision == PRECISION_F16) {
        return fail(ERR_USAGE, "--precision f16 is for a GPU; the CPU has f32 and bf16");
    } else {
        options.plan.bf16 = precision == PRECISION_BF16;
    }
    return player_make(s->program, &source, s->pool, options, &s->player);
}

static int prepare(S2m2State *s, int width, int height) {
    Padding padding = padding_of(width, height, FACTOR);
    bool padded = padding_needed(padding, width, height);
    if (s->player && padding.width == s->padding.width && padding.height == s->padding.height && padded == s->padded) {
        s->padding = padding;
        return 0;
    }
    drop_plan(s);
    int code = record(s, padding, padded);
    if (!code) code = make_player(s);
    if (code && device_fall_back(&s->device, code)) code = make_player(s);
    if (code)
        drop_plan(s);
    else if (s->options.watch && !s->device.gpu)
        plan_watch(player_plan(s->player), s->options.watch, s->options.watch_context);
    return code;
}

static void s2m2_close(void *state) {
    S2m2State *s = state;
    drop_plan(s);
    store_close(s->store);
    device_close(&s->device);
    mem_free(s);
}

static int open_weights(S2m2State *s, MatcherModel model) {
    char names[128];
    if (s->options.weights)
        snprintf(s->weights, sizeof s->weights, "%s", s->options.weights);
    else if (!model_file_find(model, s->weights, sizeof s->weights))
        return fail(ERR_WEIGHTS,
                    "no weights of %s found: put %s into ./models or ~/.local/share/panum/models, set PANUM_MODELS, or "
                    "name the file with --weights",
                    matcher_model_name(model), model_file_names(model, names, sizeof names));
    int code = store_open(s->weights, &s->store);
    /* a small recording knows every name and shape: a wrong file is refused before any picture is looked at */
    const int rounds = s->options.refine_iter;
    if (rounds < 1) s->options.refine_iter = 1; /* a file holds the refiner also for those who do without */
    if (!code) code = record(s, (Padding){CHECK_SIDE, CHECK_SIDE, 0, 0}, false);
    s->options.refine_iter = rounds;
    if (!code) {
        code = store_check(s->store, s->program, s->size->name);
        if (code == ERR_WEIGHTS) {
            char sentence[820], shown[200];
            snprintf(sentence, sizeof sentence, "%.810s", err_sentence());
            fail(ERR_WEIGHTS, "%s; panum model verify %s --model %s lists them all", sentence,
                 err_printable(shown, sizeof shown, s->weights), s->size->name);
        }
    }
    drop_plan(s);
    return code;
}

static int s2m2_open(const MatcherOptions *options, MatcherModel model, Pool *pool, void **state) {
    if (options->ranged)
        return fail(ERR_USAGE, "--range: the model %s searches every disparity; a range is for --model sgm",
                    matcher_model_name(model));
    S2m2State *s = mem_zero(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    *s = (S2m2State){.options = *options, .pool = pool, .size = s2m2_size(matcher_model_name(model))};
    int code = open_weights(s, model);
    if (!code) code = device_open(options->device, DEVICE_FORWARD, &s->device);
    if (code) {
        s2m2_close(s);
        return code;
    }
    *state = s;
    return 0;
}

/* One eye into its half of the network's input. */
static int fill_eye(const S2m2State *s, const Image *image, int eye) {
    size_t values = (size_t)s->padding.width * (size_t)s->padding.height * 3;
    if (s->padded)
        return pad_picture(image, s->padding, FACTOR,
                           (float *)player_data(s->player, s->pictures) + (size_t)eye * values);
    uint8_t *to = (uint8_t *)player_data(s->player, s->pictures) + (size_t)eye * values;
    if (image->channels == 3)
        memcpy(to, image->bytes, values);
    else
        for (size_t i = 0; i < values; i++) to[i] = image->bytes[i / 3];
    return 0;
}

static int take_map(const S2m2State *s, const Tensor *t, int width, int height, MapKind kind, Map *map) {
    int code = map_make(map, width, height, kind);
    if (code) return code;
    unpad_plane(player_data(s->player, t), s->padding, 1, map);
    for (int64_t i = 0; i < (int64_t)width * height; i++)
        if (!isfinite(map->values[i]) && s->options.precision == PRECISION_F16)
            return fail(
                ERR_WEIGHTS,
                "%s: in f16 these weights give a %s that is not a number at pixel %lld, most likely for numbers "
                "beyond 65,504; --precision bf16 or f32 has room for them",
                s->weights, map_kind_name(kind), (long long)i);
        else if (!isfinite(map->values[i]))
            return fail(
                ERR_WEIGHTS,
                "%s: these weights give a %s that is not a number at pixel %lld; panum model verify looks for damage",
                s->weights, map_kind_name(kind), (long long)i);
    return 0;
}

static int s2m2_start(void *state, const Image *left, const Image *right) {
    S2m2State *s = state;
    int code = prepare(s, left->width, left->height);
    if (!code) code = player_await(s->player);
    if (!code) code = fill_eye(s, left, 0);
    if (!code) code = fill_eye(s, right, 1);
    if (code) return code;
    s->width = left->width;
    s->height = left->height;
    return player_start(s->player);
}

static int s2m2_finish(void *state, StereoMaps *maps, char *describe, size_t size) {
    S2m2State *s = state;
    int w = s->width, h = s->height, code = player_finish(s->player);
    if (!code) code = take_map(s, s->maps.disparity, w, h, MAP_DISPARITY, &maps->disparity);
    if (!code) code = take_map(s, s->maps.confidence, w, h, MAP_CONFIDENCE, &maps->confidence);
    if (!code) code = take_map(s, s->maps.occlusion, w, h, MAP_OCCLUSION, &maps->occlusion);
    if (code) return code;
    char name[300];
    double bytes = (double)plan_facts(player_plan(s->player)).bytes, there = (double)player_device_bytes(s->player);
    snprintf(describe, size, "%s, weights %s, %d refinements, %.0f MiB %s%s", s->size->name,
             err_printable(name, sizeof name, s->weights), s->options.refine_iter,
             (s->device.gpu ? there : bytes) / 1048576, s->device.gpu ? "of " : "working memory",
             s->device.gpu ? device_name(&s->device) : "");
    return 0;
}

static int s2m2_run(void *state, const Image *left, const Image *right, StereoMaps *maps, char *describe, size_t size) {
    int code = s2m2_start(state, left, right);
    return code ? code : s2m2_finish(state, maps, describe, size);
}

static bool s2m2_overlaps(const void *state) {
    return ((const S2m2State *)state)->device.gpu != NULL;
}

static const char *s2m2_device(const void *state) {
    return device_name(&((const S2m2State *)state)->device);
}

/* A damaged file counts as willing, so that opening it says what is wrong. */
static bool s2m2_ready(const MatcherOptions *options, MatcherModel model) {
    char path[2048];
    return !options->weights && model_file_find(model, path, sizeof path) && model_file_wants_auto(path);
}

static const char *s2m2_weights(const void *state) {
    return ((const S2m2State *)state)->weights;
}

const MatcherBackend matcher_s2m2 = {.open = s2m2_open,
                                     .match = s2m2_run,
                                     .close = s2m2_close,
                                     .ready = s2m2_ready,
                                     .weights = s2m2_weights,
                                     .device = s2m2_device,
                                     .overlaps = s2m2_overlaps,
                                     .start = s2m2_start,
                                     .finish = s2m2_finish};
