/* apps/lib/matcher.h - one door to every stereo matcher: open by name, match pictures, ask what was done, close.
 *
 * Pictures: two of equal size, 8 bits, both grey or both RGB. Result: maps of the left picture, freed by the caller
 * with stereo_maps_free. Disparity d = x_left - x_right in pixels, positive in front of the screen, finite everywhere.
 * A matcher may be used for any number of pictures of any sizes, by one thread at a time. */
#ifndef PANUM_APPS_LIB_MATCHER_H
#define PANUM_APPS_LIB_MATCHER_H
#include "apps/lib/device_choice.h"
#include "base/pool.h"
#include "data/image.h"

/* In the order of MATCHER_MODELS. */
typedef enum {
    MODEL_AUTO,
    MODEL_SGM,
    MODEL_S2M2_XS,
    MODEL_S2M2_S,
    MODEL_S2M2_M,
    MODEL_S2M2_L,
    MODEL_S2M2_XL
} MatcherModel;
#define S2M2_MODELS "s2m2-XS|s2m2-S|s2m2-M|s2m2-L|s2m2-XL"
#define MATCHER_MODELS "auto|sgm|" S2M2_MODELS

/* Options of verbs that match. */
#define OPTION_MODEL(Type, field)                                                                                    \
    {                                                                                                                \
        .name = "model", .kind = OPTION_CHOICE, .value = "NAME", .choices = MATCHER_MODELS, .standard = "auto",      \
        .at = offsetof(Type, field), .group = "Matching",                                                            \
        .help =                                                                                                      \
            "who matches: " MATCHER_MODELS                                                                           \
            "; auto is the largest s2m2 whose weights are found and do not say that auto should pass them over (as " \
            "those of s2m2-XS that come with panum may), else sgm, which needs none"                                 \
    }
#define OPTION_WEIGHTS(Type, field)                                                                                \
    {                                                                                                              \
        .name = "weights", .kind = OPTION_PATH, .value = "FILE", .at = offsetof(Type, field), .group = "Matching", \
        .shown = "looked for in $PANUM_MODELS, ./models, ~/.local/share/panum/models, and among what came with "   \
                 "panum",                                                                                          \
        .help = "weights of the model, .safetensors or .pth"                                                       \
    }
#define OPTION_PRECISION(Type, field)                                                                              \
    {                                                                                                              \
        .name = "precision", .kind = OPTION_CHOICE, .value = "P", .choices = "f32|bf16|f16", .standard = "f32",    \
        .at = offsetof(Type, field), .group = "Matching",                                                          \
        .help = "s2m2: numbers in products; bf16 is faster where the processor or the GPU (sm_80 on) has it, and " \
                "coarser; f16 is for GPUs, between the two"                                                        \
    }
#define OPTION_REFINE_ITER(Type, field)                                                                     \
    {                                                                                                       \
        .name = "refine-iter", .kind = OPTION_WHOLE, .value = "N", .least = 0, .most = 64, .standard = "3", \
        .at = offsetof(Type, field), .group = "Matching", .help = "s2m2: rounds of refinement"              \
    }
#define OPTION_MAX_MEMORY(Type, field)                                                                              \
    {                                                                                                               \
        .name = "max-memory", .kind = OPTION_SIZE, .value = "SIZE", .least = 16 << 20, .at = offsetof(Type, field), \
        .group = "Machine",                                                                                         \
        .help = "working memory of the matcher (512M, 8G); large pictures are then matched in parts"                \
    }

const char *matcher_model_name(MatcherModel model);
/* The option --device of a verb that matches with `model`: ERR_USAGE for what is no device, and for a GPU with sgm. */
int matcher_device_option(const Verb *verb, const char *text, MatcherModel model, DeviceChoice *where);

typedef enum { BEHAVIOUR_R1, BEHAVIOUR_R2, BEHAVIOUR_R3 } MatcherBehaviour;
typedef enum { PRECISION_F32, PRECISION_BF16, PRECISION_F16 } MatcherPrecision;

const char *matcher_precision_name(MatcherPrecision precision);

typedef struct {
    MatcherModel model;
    const char *weights; /* file; NULL: looked for in the folders of weights */
    bool ranged;         /* search low..high only */
    double low, high;    /* pixels, or % of the width */
    bool percent;
    bool positive;      /* look for d >= 0 only: everything in front of or on the screen */
    int threads;        /* 0: as many as this process may use */
    int64_t max_memory; /* bytes of working memory; 0: no limit of ours */
    /* S2M2 only */
    MatcherBehaviour behaviour; /* which released arithmetic (models/s2m2.h) */
    bool exact;                 /* the order of operations of the definition, no Winograd */
    MatcherPrecision precision;
    int refine_iter;     /* refinements, 3 as released */
    DeviceChoice device; /* as matcher_defaults has it the CPU */
    /* Told how far one picture has come, 0..1, a few hundred times a picture; true stops it with ERR_STOPPED. May be
     * NULL. */
    bool (*watch)(void *context, double done);
    void *watch_context;
} MatcherOptions;
MatcherOptions matcher_defaults(void);

typedef struct Matcher Matcher;
/* auto takes the best S2M2 whose weights are found and want it (model_files.h), else sgm; and sgm when a range is
 * given. What is found is not passed over when it turns out damaged: that is an error. */
MatcherModel matcher_choice(const MatcherOptions *options); /* what auto comes to; options->weights is not looked at */
int matcher_open(const MatcherOptions *options, Matcher **matcher);
int matcher_match(Matcher *matcher, const Image *left, const Image *right, StereoMaps *maps);
void matcher_close(Matcher *matcher); /* NULL is fine */

/* matcher_match in two halves, for many pictures of one size where the matcher overlaps (on a GPU): between the halves
 * the next pair may be started, so that its copies, and what the caller does, go on beside computing. At most two are
 * under way; finish gives the maps of the one that was started first. Whether it overlaps is known after the first. */
bool matcher_overlaps(const Matcher *matcher);
int matcher_start(Matcher *matcher, const Image *left, const Image *right);
int matcher_finish(Matcher *matcher, StereoMaps *maps);

/* For matchers that search a range (sgm), from now on: as they were opened, over low..high pixels of the pictures
 * given, or over that joined with what is found in each picture. And the range that the last match searched, false for
 * matchers that look everywhere. */
typedef enum { SEARCH_AS_OPENED, SEARCH_EXACTLY, SEARCH_AT_LEAST } MatcherSearch;
void matcher_search(Matcher *matcher, MatcherSearch search, const int range[2]); /* as opened: the range is not read */
bool matcher_searched(const Matcher *matcher, int range[2]);

MatcherModel matcher_model(const Matcher *matcher);  /* never MODEL_AUTO */
const char *matcher_weights(const Matcher *matcher); /* the file; NULL for a matcher that needs none */
Pool *matcher_pool(Matcher *matcher);
/* Where it computes: "NVIDIA H200" or "the CPU". */
const char *matcher_device(const Matcher *matcher);
/* What the last match did, without a final point: "sgm, -24 to 32 px searched (found in the picture)". */
const char *matcher_describe(const Matcher *matcher);
double matcher_seconds(const Matcher *matcher); /* of the last match */

/* ---- for back ends: one entry of the table in matcher.c ---- */
typedef struct {
    int (*open)(const MatcherOptions *options, MatcherModel model, Pool *pool, void **state);
    int (*match)(void *state, const Image *left, const Image *right, StereoMaps *maps, char *describe, size_t size);
    void (*close)(void *state);
    /* Whether `auto` may take it: its weights are where weights are looked for. NULL: always. */
    bool (*ready)(const MatcherOptions *options, MatcherModel model);
    /* NULL: it looks everywhere. */
    void (*search)(void *state, MatcherSearch search, const int range[2]);
    void (*searched)(const void *state, int range[2]);
    const char *(*weights)(const void *state); /* NULL: it needs none */
    /* NULL: the CPU */
    const char *(*device)(const void *state);
    /* Whether two pairs may be under way at a time. NULL: never, and the next two are not asked. */
    bool (*overlaps)(const void *state);
    int (*start)(void *state, const Image *left, const Image *right);
    int (*finish)(void *state, StereoMaps *maps, char *describe, size_t size);
} MatcherBackend;
extern const MatcherBackend matcher_sgm, matcher_s2m2;
#endif
