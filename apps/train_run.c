/* apps/train_run.c - the training itself: samples, steps, measurements, checkpoints, and what people see of it. */
#include "apps/train_run.h"
#include "apps/lib/gpu_report.h"
#include "base/clock.h"
#include "base/json.h"
#include "data/synthetic.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NOTES_MAX = 90, LOADER_NICE = 5, PHASES_MAX = 3 };
#define FILM_JUDGING_SHARE 0.1
/* AdamW's step is a ratio of two averages of the gradient, so behind a gate that closes it stays as long as ever until
 * the gradient is as small as this, beside about 1e-4 for a number that learns. With the usual 1e-8 the local refiner's
 * activations had grown to 1e10 by then. Fine-tuning keeps the 1e-8 of the recipe it repeats. */
#define ADAM_EPSILON 1e-6

const char *const train_film_terms[FILM_TERMS] = {"photometric", "anchor",       "sign_magnitude",
                                                  "smoothness",  "translucency", "translucent_share"};

/* A stretch of a training with one size of pictures, one loss and one optimiser. */
typedef struct {
    const char *name, *best; /* best: the file for its best weights */
    int size[2];
    int64_t steps;
    const CinematicWeights *losses; /* NULL: truth */
    const char *const *frozen;
    int frozen_count;
    OptimGroup group[3];
    int groups;
    RateSchedule schedule;
} Phase;

typedef struct {
    const Verb *verb;
    const TrainOptions *o;
    Arena *arena;
    Phase phase[PHASES_MAX];
    int phases;
    Pool *pool;
    Device device;
    Trainer *trainer;
    TrainData *data, *held_out, *folder_data;
    TrainFilms *films;
    Loader *loader;
    Evaluator *evaluator, *folder; /* of truth; folder: of --validate, or NULL */
    FilmJudge *judge;              /* of films */
    int judged;
    const char *terms[GRAPH_TERMS_MAX];
    int term_count;
    TrainLog *log, *validation;
    SafetensorsNote settings[NOTES_MAX];
    int setting_count;
    EvalResult sgm, result;
    FilmResult film_result;
    double error;  /* what the last measurement goes by */
    bool measured; /* that is of the weights as they are now */
    bool aside;    /* it is for the report only, and no part of the training */
    int silent;    /* parameters without a gradient, as last told */
    struct {
        double sum[LOG_TERMS + GRAPH_TERMS_MAX];
        int64_t steps, skipped;
    } window; /* steps since the last row of the log */
    double began;
    int64_t begun_step;
    char extra[160]; /* behind the progress */
} Training;

static const char *path_in(const Training *r, const char *name) {
    return arena_format(r->arena, "%s/%s", r->o->output, name);
}

static const char *network_name(const Training *r) {
    return s2m2_sizes[r->o->size].name;
}

/* ---- setting up ---- */

int train_parse_crop(const Verb *verb, const char *option, const char *text, int size[2]) {
    int w = 0, h = 0, used = 0;
    if (sscanf(text, "%5dx%5d%n", &w, &h, &used) != 2 || text[used] || w < 64 || h < 64 || w % 32 || h % 32 ||
        w > 8192 || h > 8192)
        return usage_error(verb, "--%s: '%s' is not WIDTHxHEIGHT with both multiples of 32 from 64 to 8192", option,
                           show_path(text));
    size[0] = w;
    size[1] = h;
    return 0;
}

/* As name_matches takes them; "" for none. */
static const char *patterns_of(Arena *arena, const OptionList *list) {
    const char *patterns = list->count ? list->items[0] : "";
    for (int i = 1; i < list->count; i++) patterns = arena_format(arena, "%s,%s", patterns, list->items[i]);
    return patterns;
}

/* From truth: one phase. Norms and biases are no weights of a product: decay would only move them. */
static int plan_truth(Training *r) {
    static const RateShape shapes[] = {RATE_ONE_CYCLE, RATE_COSINE, RATE_CONSTANT};
    const TrainOptions *o = r->o;
    Phase *p = &r->phase[r->phases++];
    *p = (Phase){.name = "truth",
                 .best = "best.safetensors",
                 .steps = o->steps,
                 .frozen = o->freeze.items,
                 .frozen_count = o->freeze.count,
                 .schedule = {shapes[o->schedule], o->rate, 0, o->warmup, o->steps}};
    if (o->freeze.count)
        p->group[p->groups++] = (OptimGroup){.patterns = patterns_of(r->arena, &o->freeze), .frozen = true};
    p->group[p->groups++] = (OptimGroup){.patterns = "*.bias,*norm*", .rate = 1, .decay = 0};
    return train_parse_crop(r->verb, "crop", o->crop, p->size);
}

/* Confidence and occlusion have no loss on films. So that they stay what they were, what makes them from the hidden
 * state is not changed; the reference lets them drift. */
#define HEADS "*conf_occ_update*"
static const char *const keep_encoder[] = {"*cnn_backbone*", "*feat_pyramid*", "*transformer*", HEADS};
static const char *const keep_heads[] = {HEADS};

static int plan_films(Training *r) {
    const TrainOptions *o = r->o;
    int64_t frames = train_films_count(r->films, FILMS_TRAIN), epoch = frames / o->batch;
    if (!epoch)
        return usage_error(r->verb, "--batch %" PRId64 " is more than the %" PRId64 " frames there are to learn from",
                           o->batch, frames);
    int heads = o->reference ? 0 : 1;
    OptimGroup kept = {.patterns = o->reference ? TRAIN_ENCODER_PATTERNS : TRAIN_ENCODER_PATTERNS "," HEADS,
                       .frozen = true};
    if (o->phase1 > 0) {
        Phase *p = &r->phase[r->phases++];
        *p = (Phase){.name = "phase 1",
                     .best = "best.safetensors",
                     .steps = o->phase1 * epoch,
                     .losses = &cinematic_phase_1,
                     .frozen = keep_encoder,
                     .frozen_count = 3 + heads,
                     .group = {kept},
                     .groups = 1,
                     .schedule = {.shape = RATE_CONSTANT, .rate = o->rate, .steps = o->phase1 * epoch}};
        int code = train_parse_crop(r->verb, "phase1-crop", o->phase1_crop, p->size);
        if (code) return code;
    }
    if (o->phase2 > 0) {
        Phase *p = &r->phase[r->phases++];
        *p = (Phase){.name = "phase 2",
                     .best = "best.safetensors",
                     .steps = o->phase2 * epoch,
                     .losses = &cinematic_phase_2,
                     .frozen = keep_heads,
                     .frozen_count = heads,
                     .schedule = {.shape = RATE_CONSTANT, .rate = o->rate, .steps = o->phase2 * epoch}};
        if (heads) p->group[p->groups++] = (OptimGroup){.patterns = HEADS, .frozen = true};
        p->group[p->groups++] =
            (OptimGroup){.patterns = TRAIN_ENCODER_PATTERNS, .rate = o->rate_encoder / o->rate, .decay = o->decay};
        int code = train_parse_crop(r->verb, "crop", o->crop, p->size);
        if (code) return code;
    }
    if (o->translucent) {
        Phase *p = &r->phase[r->phases++];
        *p = (Phase){
            .name = "translucent",
            .best = "best-translucent.safetensors", /* it may be worse than what phase 2 left: both are kept */
            .steps = o->translucent_epochs * epoch,
            .losses = &cinematic_phase_3,
            .frozen = keep_encoder,
            .frozen_count = 3 + heads,
            .group = {kept},
            .groups = 1,
            .schedule = {.shape = RATE_CONSTANT, .rate = o->rate_translucent, .steps = o->translucent_epochs * epoch}};
        int code = train_parse_crop(r->verb, "crop", o->crop, p->size);
        if (code) return code;
    }
    return r->phases ? 0 : usage_error(r->verb, "nothing to do: --phase1, --phase2 and --translucent are all 0");
}

static int64_t epoch_steps(const Training *r) {
    if (!r->o->films) return r->o->validate_every;
    return r->o->validate_every ? r->o->validate_every : train_films_count(r->films, FILMS_TRAIN) / r->o->batch;
}

static GraphOptions graph_of(const Training *r, const Phase *p) {
    const TrainOptions *o = r->o;
    const S2m2Size *size = &s2m2_sizes[o->size];
    return (GraphOptions){.network = {.channels = size->channels,
                                      .blocks = size->blocks,
                                      .refine_iterations = (int)o->refinements,
                                      .cinematic_occlusion = p->losses != NULL},
                          .width = p->size[0],
                          .height = p->size[1],
                          .pairs = (int)o->micro_batch,
                          .cinematic = p->losses,
                          .rule = o->reference ? LOSS_REFERENCE : LOSS_OURS,
                          .teacher = o->positive_anchors ? ANCHOR_POSITIVE : ANCHOR_SIGNED,
                          .frozen = p->frozen,
                          .frozen_count = p->frozen_count,
                          .recompute = o->recompute.items,
                          .recompute_count = o->recompute.count};
}

/* What was asked for where there is a GPU; training on the CPU is f32. That --device auto would go there because the
 * GPU has no bf16 is nothing to do in silence. */
static int set_precision(const Verb *verb, const TrainOptions *o, const Device *device, TrainerOptions *options) {
    const GpuStorage wanted = (GpuStorage)o->precision;
    if (device->gpu && wanted == GPU_BF16 && device->gpu->facts.arch < 80)
        return usage_error(verb, "%s has no bf16; --precision f16 or f32", device_name(device));
    options->storage = device->gpu ? wanted : GPU_F32;
    options->loss_scale = options->storage == GPU_F16 ? trainer_loss_scale : (LossScale){.scale = 1};
    if (options->storage != wanted) say("in f32: %s is for a GPU", wanted == GPU_F16 ? "f16" : "bf16");
    return 0;
}

int train_make_trainer(const Verb *verb, const TrainOptions *o, Device *device, Pool *pool, TrainerOptions *options,
                       Trainer **trainer) {
    int code;
    do {
        options->device = device;
        code = set_precision(verb, o, device, options);
        if (!code) code = trainer_make(options, pool, trainer);
    } while (code && device_fall_back(device, code));
    return code;
}

static int make_trainer(Training *r, const Phase *p, int64_t first_step) {
    const TrainOptions *o = r->o;
    TrainerOptions options = {.graph = graph_of(r, p),
                              .batch = (int)o->batch,
                              .optim = {.method = o->method == 0 ? OPTIM_ADAMW : OPTIM_SGD,
                                        .epsilon = o->films ? 0 : ADAM_EPSILON,
                                        .momentum = o->method == 0 ? 0 : 0.9,
                                        .decay = o->decay,
                                        .clip = o->clip,
                                        .average = o->average,
                                        .group = p->group,
                                        .groups = p->groups},
                              .schedule = p->schedule,
                              .first_step = first_step,
                              .skip_spikes = o->skip_spikes,
                              .seed = (uint64_t)o->seed};
    int code = train_make_trainer(r->verb, o, &r->device, r->pool, &options, &r->trainer);
    if (code) return code;
    char all[GROUPED_SIZE], trained[GROUPED_SIZE];
    PlanFacts facts = plan_facts(trainer_plan(r->trainer));
    say("%s: %s parameters, %s trained; a part of %d pair%s of %dx%d takes %s, %.1f G operations", network_name(r),
        text_grouped(all, trainer_parameters(r->trainer)->numbers),
        text_grouped(trained, optim_trained(trainer_optim(r->trainer))), (int)o->micro_batch,
        o->micro_batch == 1 ? "" : "s", p->size[0], p->size[1], show_bytes((double)facts.bytes), facts.flops / 1e9);
    if (r->device.gpu)
        say("on %s: %s of its memory", device_name(&r->device), show_bytes((double)trainer_device_bytes(r->trainer)));
    return 0;
}

static int start_loader(Training *r, SampleSource source) {
    LoaderOptions how = {.threads = (int)r->o->loader_threads,
                         .ahead = (int)(2 * (r->o->batch > r->o->loader_threads ? r->o->batch : r->o->loader_threads)),
                         .position = (uint64_t)trainer_state(r->trainer)->position,
                         .nice = LOADER_NICE};
    return loader_make(&r->loader, &source, &how);
}

/* Measures on the CPU where the GPU has room for the training alone. */
static int make_evaluator(Training *r, S2m2Options network, const SampleSource *source, Evaluator **out) {
    int count = (int)r->o->validate_samples, code = evaluator_make(network, source, 0, count, r->pool, &r->device, out);
    if (code != ERR_MEMORY || !r->device.gpu) return code;
    say("measuring on the CPU: %s", err_sentence());
    return evaluator_make(network, source, 0, count, r->pool, NULL, out);
}

static int make_truth_data(Training *r, const Phase *p) {
    const TrainOptions *o = r->o;
    TrainDataOptions options = {.seed = (uint64_t)o->seed,
                                .width = p->size[0],
                                .height = p->size[1],
                                .synthetic = o->synthetic || !o->data.count,
                                .pairs = o->data.items,
                                .pair_count = o->data.count};
    S2m2Options network = trainer_graph(r->trainer)->options.network;
    int code = train_data_open(&options, &r->data);
    if (!code && !options.synthetic && train_data_pairs(r->data) < o->batch)
        code = usage_error(r->verb, "--batch %" PRId64 " is more than the %" PRId64 " pairs that --data has", o->batch,
                           train_data_pairs(r->data));
    if (!code) code = start_loader(r, train_data_source(r->data));
    TrainDataOptions held_out = {
        .seed = options.seed, .width = p->size[0], .height = p->size[1], .synthetic = true, .judging = true};
    if (!code) code = train_data_open(&held_out, &r->held_out);
    if (code) return code;
    SampleSource source = train_data_source(r->held_out);
    code = make_evaluator(r, network, &source, &r->evaluator);
    if (!code && o->validate) {
        held_out.synthetic = false;
        held_out.pairs = &o->validate;
        held_out.pair_count = 1;
        code = train_data_open(&held_out, &r->folder_data);
        if (!code) source = train_data_source(r->folder_data);
        if (!code) code = make_evaluator(r, network, &source, &r->folder);
    }
    if (!code) code = evaluator_sgm(r->evaluator, &r->sgm);
    if (!code)
        say("%d held-out samples; semi-global matching has an error of %.3f px there, bad-2 %.1f %%",
            evaluator_count(r->evaluator), r->sgm.epe,
            r->sgm.figures.value[METRIC_EVERY][METRIC_ANYWHERE][FIGURE_BAD + 2]);
    return code;
}

static int make_film_data(Training *r, const Phase *p) {
    int code = start_loader(r, train_films_source(r->films, FILMS_TRAIN, p->size[0], p->size[1]));
    if (code) return code;
    GraphOptions graph = graph_of(r, p);
    graph.part = GRAPH_LOSSES;
    graph.pairs = 1;
    SampleSource judges = train_films_source(r->films, FILMS_JUDGE, p->size[0], p->size[1]);
    int64_t judges_there = train_films_count(r->films, FILMS_JUDGE);
    r->judged = (int)(judges_there < r->o->validate_samples ? judges_there : r->o->validate_samples);
    return film_judge_make(&graph, &judges, r->judged, r->pool, &r->device, &r->judge);
}

static void drop_phase(Training *r) {
    loader_drop(r->loader);
    evaluator_drop(r->evaluator);
    evaluator_drop(r->folder);
    film_judge_drop(r->judge);
    train_data_close(r->data);
    train_data_close(r->held_out);
    train_data_close(r->folder_data);
    r->data = r->held_out = r->folder_data = NULL;
    trainer_drop(r->trainer);
    r->loader = NULL;
    r->evaluator = r->folder = NULL;
    r->judge = NULL;
    r->trainer = NULL;
}

/* Everything of the phase that a state (NULL: the beginning) is in; weights are the caller's to bring. */
static int make_phase(Training *r, int index, int64_t first_step, const TrainerState *state) {
    const Phase *p = &r->phase[index];
    if (r->phases > 1)
        say("%s: %" PRId64 " steps at %dx%d, learning rate %g", p->name, p->steps, p->size[0], p->size[1],
            p->schedule.rate);
    int code = make_trainer(r, p, first_step);
    if (!code && state) *trainer_state(r->trainer) = *state;
    return code;
}

static void name_sample(const void *context, uint64_t index, char *text, size_t size) {
    const Training *r = context;
    if (r->o->films)
        train_films_name(r->films, FILMS_TRAIN, index, text, size);
    else
        train_data_name(r->data, index, text, size);
}

static int make_data(Training *r) {
    const Phase *p = &r->phase[trainer_state(r->trainer)->phase];
    trainer_name_samples(r->trainer, name_sample, r);
    return r->o->films ? make_film_data(r, p) : make_truth_data(r, p);
}

static int open_logs(Training *r) {
    static const char *const first[LOG_TERMS] = {"step",    "samples", "rate", "gradient_norm",
                                                 "skipped", "seconds", "loss"};
    static const char *const truth[VALID_COLUMNS] = {
        "step",        "seconds",       "epe",       "bad_1",          "bad_2",      "bad_3",        "sign",
        "epe_visible", "bad_2_visible", "occlusion", "sparsification", "folder_epe", "folder_bad_2", "folder_sign"};
    static const char *const films[] = {"step", "seconds", "phase", "loss"};
    static const char *const figures[] = {"least", "p98", "behind", "asymmetry", "anchor_sign"};
    const char *names[TRAIN_COLUMNS_MAX];
    const TrainGraph *graph = trainer_graph(r->trainer);
    r->term_count = r->o->films ? FILM_TERMS : graph->terms;
    for (int i = 0; i < r->term_count; i++) r->terms[i] = r->o->films ? train_film_terms[i] : graph->term[i].name;
    memcpy(names, first, sizeof first);
    memcpy(names + LOG_TERMS, r->terms, (size_t)r->term_count * sizeof *names);
    const TrainerState *state = trainer_state(r->trainer);
    int code = train_log_open(path_in(r, "log.csv"), names, LOG_TERMS + r->term_count, state->log_bytes[0], &r->log);
    if (code) return code;
    if (!r->o->films)
        return train_log_open(path_in(r, "validation.csv"), truth, VALID_COLUMNS, state->log_bytes[1], &r->validation);
    memcpy(names, films, sizeof films);
    memcpy(names + FILM_TERM, train_film_terms, sizeof train_film_terms);
    memcpy(names + FILM_LEAST, figures, sizeof figures);
    return train_log_open(path_in(r, "validation.csv"), names, FILM_COLUMNS, state->log_bytes[1], &r->validation);
}

/* Which column of the tables a term of the graph goes to. */
static int column_of(const Training *r, const char *term) {
    for (int i = 0; i < r->term_count; i++)
        if (strcmp(r->terms[i], term) == 0) return i;
    panum_bug(__FILE__, __LINE__, "no column for the term %s", term);
}

/* ---- on the way ---- */

static int flush_window(Training *r) {
    int64_t good = r->window.steps - r->window.skipped;
    if (!r->window.steps) return 0;
    const TrainerState *state = trainer_state(r->trainer);
    double row[TRAIN_COLUMNS_MAX];
    int columns = LOG_TERMS + r->term_count;
    for (int c = 0; c < columns; c++) row[c] = good ? r->window.sum[c] / (double)good : NAN;
    if (r->o->films) { /* terms that this phase does not have */
        for (int c = LOG_TERMS; c < columns; c++)
            if (r->window.sum[c] == 0) row[c] = NAN;
    }
    row[LOG_STEP] = (double)state->step;
    row[LOG_SAMPLES] = (double)state->position;
    row[LOG_SKIPPED] = (double)state->skipped;
    row[LOG_SECONDS] = state->seconds;
    memset(&r->window, 0, sizeof r->window);
    return train_log_add(r->log, row);
}

static int add_to_window(Training *r, const TrainerStep *step) {
    double *sum = r->window.sum;
    r->window.steps++;
    r->window.skipped += step->skipped;
    if (!step->skipped) {
        sum[LOG_RATE] += step->rate;
        sum[LOG_NORM] += step->norm;
        sum[LOG_LOSS] += step->loss;
        const TrainGraph *graph = trainer_graph(r->trainer);
        for (int i = 0; i < graph->terms; i++) sum[LOG_TERMS + column_of(r, graph->term[i].name)] += step->term[i];
    }
    return r->window.steps >= r->o->log_every ? flush_window(r) : 0;
}

static int save(Training *r) {
    int code = flush_window(r);
    if (code) return code;
    TrainerState *state = trainer_state(r->trainer);
    state->log_bytes[0] = train_log_bytes(r->log);
    state->log_bytes[1] = train_log_bytes(r->validation);
    return trainer_save(r->trainer, r->o->output, r->settings, r->setting_count);
}

static int write_weights(Training *r, const char *name, const float *block, WeightDType dtype) {
    char step[32], epe[32], hours[32], made[80];
    const TrainerState *state = trainer_state(r->trainer);
    snprintf(step, sizeof step, "%" PRId64, state->step);
    snprintf(epe, sizeof epe, "%.4f", r->error);
    snprintf(hours, sizeof hours, "%.2f", state->seconds / 3600);
    snprintf(made, sizeof made, "panum %s train stereo", PANUM_VERSION);
    SafetensorsNote notes[NOTES_MAX + 8];
    int n = 0;
    notes[n++] = (SafetensorsNote){"model", network_name(r)};
    notes[n++] = (SafetensorsNote){"made_by", made};
    notes[n++] = (SafetensorsNote){"steps", step};
    notes[n++] = (SafetensorsNote){"hours", hours};
    notes[n++] = (SafetensorsNote){r->o->films ? "validation_loss" : "validation_epe", epe};
    for (int i = 0; i < r->setting_count; i++) notes[n++] = r->settings[i];
    Out *out;
    int code = out_open(path_in(r, name), OUT_OVERWRITE, &out);
    if (code) return code;
    code = parameters_write(trainer_parameters(r->trainer), block, dtype, notes, n, out);
    int end = code ? 0 : out_commit(&out);
    out_abort(&out);
    return code ? code : end;
}

static double figure(const EvalResult *result, int kind, int what) {
    return result->figures.value[kind][METRIC_ANYWHERE][what];
}

static int write_report(Training *r) {
    char title[200];
    snprintf(title, sizeof title, "Training of %s", network_name(r));
    const GraphOptions *graph = &trainer_graph(r->trainer)->options;
    TrainReport report = {.folder = r->o->output,
                          .title = title,
                          .settings = r->settings,
                          .setting_count = r->setting_count,
                          .state = trainer_state(r->trainer),
                          .width = graph->width,
                          .height = graph->height,
                          .terms = r->terms,
                          .term_count = r->term_count,
                          .log = r->log,
                          .validation = r->validation,
                          .evaluator = r->evaluator,
                          .result = &r->result,
                          .sgm = &r->sgm,
                          .judge = r->judge,
                          .film_result = &r->film_result,
                          .films = r->films,
                          .judged = r->judged,
                          .threads = pool_threads(r->pool)};
    return train_report(&report);
}

/* Were these weights measured before a run was ended and taken up again? They are measured once more, for the report,
 * but it is no other measurement. */
static bool is_known(const Training *r) {
    const TrainerState *state = trainer_state(r->trainer);
    int64_t rows = train_log_rows(r->validation);
    return rows && train_log_column(r->validation, VALID_STEP)[rows - 1] == (double)state->step &&
           (!r->o->films || train_log_column(r->validation, FILM_PHASE)[rows - 1] == (double)state->phase);
}

static int measure_truth(Training *r) {
    TrainerState *state = trainer_state(r->trainer);
    const ParameterList *list = trainer_parameters(r->trainer);
    const float *weights = trainer_best_guess(r->trainer);
    int code = evaluator_run(r->evaluator, list, weights, &r->result);
    if (code) return code;
    const EvalResult *e = &r->result;
    EvalResult folder;
    if (r->folder) code = evaluator_run(r->folder, list, weights, &folder);
    if (code) return code;
    double row[VALID_COLUMNS] = {[VALID_STEP] = (double)state->step,
                                 [VALID_SECONDS] = state->seconds,
                                 [VALID_EPE] = e->epe,
                                 [VALID_BAD1] = figure(e, METRIC_EVERY, FIGURE_BAD + 1),
                                 [VALID_BAD2] = figure(e, METRIC_EVERY, FIGURE_BAD + 2),
                                 [VALID_BAD3] = figure(e, METRIC_EVERY, FIGURE_BAD + 3),
                                 [VALID_SIGN] = figure(e, METRIC_EVERY, FIGURE_SIGN),
                                 [VALID_VISIBLE_EPE] = figure(e, METRIC_VISIBLE, FIGURE_EPE),
                                 [VALID_VISIBLE_BAD2] = figure(e, METRIC_VISIBLE, FIGURE_BAD + 2),
                                 [VALID_OCCLUSION] = e->occlusion,
                                 [VALID_SPARSIFICATION] = e->sparsification,
                                 [VALID_FOLDER_EPE] = r->folder ? folder.epe : NAN,
                                 [VALID_FOLDER_BAD2] = r->folder ? figure(&folder, METRIC_EVERY, FIGURE_BAD + 2) : NAN,
                                 [VALID_FOLDER_SIGN] = r->folder ? figure(&folder, METRIC_EVERY, FIGURE_SIGN) : NAN};
    r->error = row[VALID_VISIBLE_EPE]; /* where nothing can be seen a bent loss leaves guesses far off as they are */
    say("step %" PRId64
        ": held-out error %.3f px (sgm %.3f), visible %.3f; bad-1 %.1f %%, bad-2 %.1f %% (sgm %.1f); sign "
        "right %.2f %%; occlusion %.3f, confidence %.3f",
        state->step, e->epe, r->sgm.epe, row[VALID_VISIBLE_EPE], row[VALID_BAD1], row[VALID_BAD2],
        figure(&r->sgm, METRIC_EVERY, FIGURE_BAD + 2), row[VALID_SIGN], e->occlusion, e->sparsification);
    if (r->folder)
        say("  %s: error %.3f px, bad-2 %.1f %%, sign right %.2f %%", show_path(r->o->validate), folder.epe,
            row[VALID_FOLDER_BAD2], row[VALID_FOLDER_SIGN]);
    return r->aside ? 0 : train_log_add(r->validation, row);
}

static int measure_films(Training *r) {
    TrainerState *state = trainer_state(r->trainer);
    FilmResult *f = &r->film_result;
    int code = film_judge_run(r->judge, trainer_parameters(r->trainer), trainer_best_guess(r->trainer), f);
    if (code) return code;
    const TrainGraph *graph = film_judge_graph(r->judge);
    double row[FILM_COLUMNS];
    for (int c = 0; c < FILM_COLUMNS; c++) row[c] = NAN;
    row[FILM_STEP] = (double)state->step;
    row[FILM_SECONDS] = state->seconds;
    row[FILM_PHASE] = (double)state->phase;
    row[FILM_LOSS] = f->loss;
    for (int i = 0; i < graph->terms; i++) row[FILM_TERM + column_of(r, graph->term[i].name)] = f->term[i];
    row[FILM_LEAST] = f->figures.least;
    row[FILM_P98] = f->figures.p98;
    row[FILM_BEHIND] = 100 * f->figures.behind;
    row[FILM_ASYMMETRY] = f->figures.asymmetry;
    row[FILM_ANCHOR_SIGN] = 100 * f->anchor_sign;
    r->error = f->loss;
    char sign[60] = "";
    if (isfinite(f->anchor_sign)) snprintf(sign, sizeof sign, ", %.2f %% on the anchors' side", 100 * f->anchor_sign);
    say("step %" PRId64
        ", %s: held-out loss %.4f; disparity from %.1f px, 98th percentile %.1f, below -0.5 px %.1f %%, "
        "asymmetry %.2f%s",
        state->step, r->phase[state->phase].name, f->loss, f->figures.least, f->figures.p98, row[FILM_BEHIND],
        f->figures.asymmetry, sign);
    return r->aside ? 0 : train_log_add(r->validation, row);
}

/* Tells when parameters begin to get no gradient, or more of them do. */
static void listen(Training *r) {
    int first = 0, silent = optim_silent(trainer_optim(r->trainer), &first);
    const ParameterList *list = trainer_parameters(r->trainer);
    if (silent > r->silent)
        say("no gradient reaches %d of %d parameters, %s first: %s", silent, list->count, list->at[first].name,
            r->o->films ? "this phase's losses may ask nothing of them, or that part of the network is saturated"
                        : "that part of the network is saturated and no longer learns");
    r->silent = silent;
}

/* Is a measurement of now one that an unbroken training makes, and makes now for the first time? */
typedef enum { MEASURE_IN_TURN, MEASURE_STOPPED } MeasureWhy;

/* Measures, writes down, keeps the best. When somebody stops the training between two measurements, what it says goes
 * into the report and nowhere else, so that going on is as if it had not been stopped; but weights there are, if none
 * have been kept yet. */
static int measure(Training *r, MeasureWhy why) {
    TrainerState *state = trainer_state(r->trainer);
    double began = clock_seconds();
    r->aside = why == MEASURE_STOPPED || is_known(r);
    int code = trainer_sync(r->trainer);
    if (!code) code = r->o->films ? measure_films(r) : measure_truth(r);
    if (code) return code;
    r->measured = true;
    listen(r);
    if (r->aside && !isfinite(state->best))
        code = write_weights(r, r->phase[state->phase].best, trainer_best_guess(r->trainer), WEIGHT_F32);
    if (code || r->aside) return code ? code : write_report(r);
    state->seconds += clock_seconds() - began;
    double delta = r->o->films ? r->o->min_delta : 0;
    if (r->error < state->best - delta) {
        state->best = r->error;
        state->best_step = state->step;
        state->stale = 0;
        code = write_weights(r, r->phase[state->phase].best, trainer_best_guess(r->trainer), WEIGHT_F32);
    } else {
        state->stale++;
    }
    if (!code) code = write_report(r);
    return code;
}

/* Where the time of a step goes, by operator, from the second step on (the first one touches fresh memory). */
static void print_profile(const Training *r, const TrainerStep *step) {
    typedef struct {
        const char *name;
        double seconds, flops;
        int steps;
    } Line;
    Line lines[128];
    int count = 0;
    double total = 0;
    const Plan *plan = trainer_plan(r->trainer);
    for (int i = 0; i < plan_steps(plan); i++) {
        StepFacts facts = plan_step(plan, i);
        int k = 0;
        while (k < count && strcmp(lines[k].name, facts.name) != 0) k++;
        if (k == 128) continue;
        if (k == count) lines[count++] = (Line){.name = facts.name};
        lines[k].seconds += facts.seconds;
        lines[k].flops += facts.flops;
        lines[k].steps++;
        total += facts.seconds;
    }
    say_more(2, "a step: waiting for samples %.0f ms, network and gradients %.0f ms, weights %.0f ms",
             1e3 * step->data_seconds, 1e3 * step->run_seconds, 1e3 * step->update_seconds);
    for (int n = 0; n < 24 && n < count; n++) {
        int best = 0;
        for (int k = 1; k < count; k++)
            if (lines[k].seconds > lines[best].seconds) best = k;
        say_more(2, "  %5.1f %%  %8.2f ms  %4d steps  %6.1f Gop/s  %s", 100 * lines[best].seconds / total,
                 1e3 * lines[best].seconds, lines[best].steps, lines[best].flops / lines[best].seconds / 1e9,
                 lines[best].name);
        lines[best].seconds = -1;
    }
}

/* The same on a GPU, by kernel: its launches are run once more, one by one. */
static int print_gpu_profile(const Training *r, const TrainerStep *step) {
    GpuPlan *gpu = trainer_gpu_plan(r->trainer);
    char *text = NULL;
    size_t size = 0;
    int code = gpu_plan_measure(gpu, 3);
    if (code) return code;
    say_more(2, "a step: waiting for samples %.1f ms, network, gradients and weights %.1f ms", 1e3 * step->data_seconds,
             1e3 * step->run_seconds);
    FILE *to = open_memstream(&text, &size);
    if (!to) return 0;
    gpu_report_kernels(gpu, trainer_plan(r->trainer), to);
    if (!fclose(to))
        for (char *rest = text, *line; (line = strtok_r(rest, "\n", &rest));) say_more(2, "  %s", line);
    free(text);
    return 0;
}

static int take_step(Training *r, Progress *progress) {
    TrainerState *state = trainer_state(r->trainer);
    TrainerStep step;
    bool profiled = r->o->talk.verbose >= 2 && state->step == r->begun_step + 2, on_gpu = r->device.gpu != NULL;
    plan_profile(trainer_plan(r->trainer), profiled && !on_gpu);
    int code = trainer_step(r->trainer, r->loader, &step);
    if (!code && profiled && on_gpu) code = print_gpu_profile(r, &step);
    if (!code && profiled && !on_gpu) print_profile(r, &step);
    if (!code) code = add_to_window(r, &step);
    r->measured = false;
    if (code) return code;
    if (isfinite(state->best))
        snprintf(r->extra, sizeof r->extra, "loss %.3f, best held-out %.3f", step.loss, state->best);
    else
        snprintf(r->extra, sizeof r->extra, "loss %.3f", step.loss);
    progress_step(progress, state->step, r->extra);
    if (state->step % epoch_steps(r) == 0) code = measure(r, MEASURE_IN_TURN);
    if (!code && state->step % r->o->checkpoint_every == 0) code = save(r);
    return code;
}

static bool out_of_time(const Training *r) {
    return r->o->hours > 0 && clock_seconds() - r->began > 3600 * r->o->hours;
}

/* Early stopping begins after the first phase of several, as in the published recipe. */
static bool is_stale(const Training *r) {
    const TrainerState *state = trainer_state(r->trainer);
    bool counts = r->phases == 1 || state->phase > 0;
    return counts && r->o->patience && state->stale >= r->o->patience;
}

static void print_json(const Training *r) {
    const TrainerState *state = trainer_state(r->trainer);
    char folder[2048];
    printf("{\"folder\":%s,\"step\":%" PRId64 ",\"seconds\":%.1f,\"best\":%.6g,\"best_step\":%" PRId64
           ",\"skipped\":%" PRId64,
           json_quote(folder, sizeof folder, r->o->output), state->step, state->seconds, state->best, state->best_step,
           state->skipped);
    if (r->evaluator) {
        printf(",\"sgm_epe\":%.6g,\"metrics\":", r->sgm.epe);
        metrics_json(stdout, &r->result.figures);
    }
    printf("}\n");
}

/* On to the next phase with the weights of this one; its own optimiser, its own best. */
static int next_phase(Training *r) {
    TrainerState state = *trainer_state(r->trainer);
    size_t bytes = (size_t)trainer_parameters(r->trainer)->block * sizeof(float);
    float *weights = mem_alloc(bytes);
    if (!weights) return ERR_MEMORY;
    int code = trainer_sync(r->trainer);
    if (code) {
        mem_free(weights);
        return code;
    }
    memcpy(weights, trainer_best_guess(r->trainer), bytes);
    drop_phase(r);
    state.phase++;
    state.phase_step = state.step;
    state.best = INFINITY;
    state.best_step = state.stale = 0;
    code = make_phase(r, (int)state.phase, state.step, &state);
    if (!code) code = trainer_take_weights(r->trainer, weights);
    if (!code) code = make_data(r);
    mem_free(weights);
    return code;
}

/* Steps until the phase ends, is stale, or somebody stops it. */
static int run_phase(Training *r, Progress *progress) {
    const TrainerState *state = trainer_state(r->trainer);
    int64_t end = state->phase_step + r->phase[state->phase].steps;
    int code = 0;
    while (!code && state->step < end && !run_stopped() && !out_of_time(r) && !is_stale(r))
        code = take_step(r, progress);
    if (!code && state->step < end && is_stale(r))
        say("%s ends here: not better in %" PRId64 " measurements in a row (--patience)", r->phase[state->phase].name,
            state->stale);
    bool ended = state->step >= end || is_stale(r);
    if (!code && !r->measured) code = measure(r, ended ? MEASURE_IN_TURN : MEASURE_STOPPED);
    if (!code) code = save(r);
    return code;
}

static int finish(Training *r, bool whole) {
    const TrainerState *state = trainer_state(r->trainer);
    if (run_stopped())
        return run_stop(arena_format(r->arena, "step %" PRId64 " is saved; panum train stereo -o %s goes on",
                                     state->step, show_path(r->o->output)));
    if (!whole)
        say("stopped at step %" PRId64 "; panum train stereo -o %s goes on", state->step, show_path(r->o->output));
    if (!isfinite(state->best))
        say("not measured in turn yet; the weights as they are: %s; %s",
            show_path(path_in(r, r->phase[state->phase].best)), show_path(path_in(r, "report.html")));
    else if (r->o->films)
        say("best held-out loss of the last phase %.4f at step %" PRId64 ": %s; %s", state->best, state->best_step,
            show_path(path_in(r, r->phase[state->phase].best)), show_path(path_in(r, "report.html")));
    else
        say("best held-out error of what both eyes see %.3f px at step %" PRId64 " (semi-global matching %.3f): %s; %s",
            state->best, state->best_step, figure(&r->sgm, METRIC_VISIBLE, FIGURE_EPE),
            show_path(path_in(r, "best.safetensors")), show_path(path_in(r, "report.html")));
    if (r->o->json) print_json(r);
    if (!state->bad_samples) return 0;
    return fail(ERR_FAILED, "%" PRId64 " samples could not be made and were left out", state->bad_samples);
}

static int loop(Training *r) {
    Progress progress;
    int64_t total = 0;
    for (int i = 0; i < r->phases; i++) total += r->phase[i].steps;
    r->begun_step = trainer_state(r->trainer)->step;
    progress_begin(&progress, (ProgressStyle)r->o->progress, "train", "steps", total);
    progress_resume(&progress, r->begun_step);
    int code = run_phase(r, &progress);
    while (!code && !run_stopped() && !out_of_time(r) && trainer_state(r->trainer)->phase + 1 < r->phases) {
        code = next_phase(r);
        if (!code) code = run_phase(r, &progress);
    }
    progress_end(&progress);
    return code ? code : finish(r, !out_of_time(r));
}

static int prepare(Training *r, const Checkpoint *from) {
    const TrainOptions *o = r->o;
    if (o->batch % o->micro_batch)
        return usage_error(r->verb, "--batch %" PRId64 " is not a multiple of --micro-batch %" PRId64, o->batch,
                           o->micro_batch);
    if (o->films && o->data.count) return usage_error(r->verb, "--films has no truth and --data has; give one of them");
    r->setting_count = settings_notes(r->verb, o, r->arena, r->settings, NOTES_MAX);
    r->pool = pool_make((int)o->threads);
    if (!r->pool) return ERR_MEMORY;
    DeviceChoice where;
    int code = device_option(r->verb, o->device, &where);
    if (!code) code = device_open(where, DEVICE_TRAINING, &r->device);
    if (!code && o->skip_spikes && r->device.gpu)
        code = usage_error(r->verb, "--skip-spikes needs --device cpu: on a GPU the weights change before the loss is "
                                    "looked at");
    if (code) return code;
    code = o->films ? train_films_open(o->films, o->anchors, o->reference ? FILMS_BY_FRAME : FILMS_BY_FILM,
                                       FILM_JUDGING_SHARE, (uint64_t)o->seed, &r->films)
                    : 0;
    if (!code) code = o->films ? plan_films(r) : plan_truth(r);
    int64_t phase = 0, first = 0;
    if (!code && from) code = checkpoint_whole(from, "phase", 0, r->phases - 1, &phase);
    if (!code && from) code = checkpoint_whole(from, "phase_step", 0, INT64_MAX / 2, &first);
    if (!code) code = make_phase(r, (int)phase, first, NULL);
    if (!code && from) code = trainer_restore(r->trainer, from);
    if (!code && !from && o->init)
        code = trainer_load_weights(r->trainer, o->init, network_name(r), patterns_of(r->arena, &o->renew));
    if (!code && from) say("goes on from %s", show_path(checkpoint_path(from)));
    if (!code) code = make_data(r);
    if (!code) code = open_logs(r);
    return code;
}

int train_stereo(const Verb *verb, const TrainOptions *options, Arena *arena, const Checkpoint *from) {
    Training *r = arena_alloc(arena, sizeof *r);
    if (!r) return ERR_MEMORY;
    r->verb = verb;
    r->o = options;
    r->arena = arena;
    r->began = clock_seconds();
    int code = prepare(r, from);
    /* what is there goes only when nothing stands in the way of what comes in its place */
    if (!code && !options->resume) checkpoint_prune(options->output, 0);
    if (!code) code = loop(r);
    drop_phase(r);
    train_films_close(r->films);
    train_log_close(r->log);
    train_log_close(r->validation);
    pool_drop(r->pool);
    device_close(&r->device);
    return code;
}
