/* apps/train_run.h - between the command line of `panum train stereo` (train.c), the training itself (train_run.c),
 * what is remembered of its options (train_settings.c) and its report (train_report.c). */
#ifndef PANUM_APPS_TRAIN_RUN_H
#define PANUM_APPS_TRAIN_RUN_H
#include "apps/lib/options.h"
#include "apps/lib/progress.h"
#include "apps/lib/run.h"
#include "apps/lib/train_data.h"
#include "apps/lib/train_eval.h"
#include "apps/lib/train_films.h"
#include "apps/lib/train_log.h"
#include "apps/lib/trainer.h"
#include "base/rng.h"
#include "base/text.h"

typedef struct {
    /* settings: they decide what comes out, and a training goes on with those it began with */
    int size;
    const char *init;
    OptionList renew, freeze;
    int64_t refinements;
    bool synthetic;
    OptionList data;
    const char *crop;
    int64_t steps, batch, micro_batch, warmup, seed;
    double rate, decay, clip, average;
    int schedule, method;
    const char *films, *anchors, *phase1_crop;
    int64_t phase1, phase2, translucent_epochs;
    double rate_encoder, rate_translucent, min_delta;
    bool skip_spikes, translucent, reference, positive_anchors;
    /* how it runs: free to change from one run to the next */
    const char *output, *validate, *device;
    OptionList overfit;
    bool resume, resume_anyway, check_data, json;
    int64_t threads, loader_threads, checkpoint_every, validate_every, validate_samples, log_every, patience;
    double hours;
    OptionList recompute;
    int precision; /* GpuStorage */
    int progress;
    TalkOptions talk;
} TrainOptions;

/* In the order of --schedule. */
enum { TRAIN_ONE_CYCLE, TRAIN_COSINE, TRAIN_CONSTANT };
#define TRAIN_SCHEDULES "one-cycle|cosine|constant"

/* Groups of the option table whose options are settings. What --precision was is remembered with them, but free to
 * change, as the device is. */
#define TRAIN_NETWORK "The network"
#define TRAIN_DATA "What it learns from"
#define TRAIN_RECIPE "The recipe"
#define TRAIN_FILMS "Films"

/* The parts of the network that the cinematic recipe keeps at first, and changes slowly later. */
#define TRAIN_ENCODER \
    { "*cnn_backbone*", "*feat_pyramid*", "*transformer*" }
#define TRAIN_ENCODER_COUNT 3
#define TRAIN_ENCODER_PATTERNS "*cnn_backbone*,*feat_pyramid*,*transformer*"
/* WxH, both multiples of 32, 64 to 8192; ERR_USAGE naming the option. */
int train_parse_crop(const Verb *verb, const char *option, const char *text, int size[2]);

/* ---- train_settings.c ---- */
/* All settings as notes of a checkpoint ("option.batch" = "4"), and how often and on what it is measured; the texts
 * live in the arena. Returns how many. */
int settings_notes(const Verb *verb, const void *values, Arena *arena, SafetensorsNote *notes, int room);
/* The arguments again, with those settings of a checkpoint added that are not among them. */
int settings_arguments(const Verb *verb, const Parsed *given, const Checkpoint *from, int argc, char **argv,
                       Arena *arena, int *count, char ***arguments);
/* ERR_USAGE with all differences between a checkpoint's settings and these. */
int settings_compare(const Verb *verb, const void *values, const Checkpoint *with, Arena *arena);

/* ---- train_run.c ---- */
int train_stereo(const Verb *verb, const TrainOptions *options, Arena *arena, const Checkpoint *from);
/* On `device`, in --precision where it is a GPU; with --device auto on the CPU where the GPU could not. Fills those
 * fields of `how`. */
int train_make_trainer(const Verb *verb, const TrainOptions *options, Device *device, Pool *pool, TrainerOptions *how,
                       Trainer **trainer);

/* ---- train_overfit.c ---- */
/* `crop` 0x0: as large as the frames are. */
int train_overfit(const Verb *verb, const TrainOptions *options, const int crop[2], Arena *arena);

/* ---- train_report.c ---- */
/* Columns of the two tables. */
enum { LOG_STEP, LOG_SAMPLES, LOG_RATE, LOG_NORM, LOG_SKIPPED, LOG_SECONDS, LOG_LOSS, LOG_TERMS };
enum {
    VALID_STEP,
    VALID_SECONDS,
    VALID_EPE,
    VALID_BAD1,
    VALID_BAD2,
    VALID_BAD3,
    VALID_SIGN,
    VALID_VISIBLE_EPE,
    VALID_VISIBLE_BAD2,
    VALID_OCCLUSION,
    VALID_SPARSIFICATION,
    VALID_FOLDER_EPE, /* of --validate */
    VALID_FOLDER_BAD2,
    VALID_FOLDER_SIGN,
    VALID_COLUMNS
};
/* The terms of the losses of films, in the order of both tables; and the columns of their validation. */
enum { FILM_TERMS = 6 };
extern const char *const train_film_terms[FILM_TERMS];
enum {
    FILM_STEP,
    FILM_SECONDS,
    FILM_PHASE,
    FILM_LOSS,
    FILM_TERM,
    FILM_LEAST = FILM_TERM + FILM_TERMS,
    FILM_P98,
    FILM_BEHIND,
    FILM_ASYMMETRY,
    FILM_ANCHOR_SIGN, /* percent */
    FILM_COLUMNS
};
typedef struct {
    const char *folder, *title;
    const SafetensorsNote *settings;
    int setting_count;
    const TrainerState *state;
    int width, height;
    const char *const *terms; /* of log.csv */
    int term_count;
    const TrainLog *log, *validation;
    /* pairs with truth */
    Evaluator *evaluator;
    const EvalResult *result; /* of the weights that the evaluator holds */
    const EvalResult *sgm;
    /* or films */
    FilmJudge *judge;
    const FilmResult *film_result;
    const TrainFilms *films;
    int judged; /* frames */
    int threads;
} TrainReport;
/* Writes folder/report.html. */
int train_report(const TrainReport *report);
#endif
