/* apps/train_run.c - the training itself: samples, steps, measurements, checkpoints, and what people see of it. */
#include "apps/train_run.h"
#include "base/clock.h"
#include "base/json.h"
#include "data/synthetic.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Samples to measure with come from a stream of their own. */
#define HELD_OUT_SEED 0x68656c64u

enum { NOTES_MAX = 90, LOADER_NICE = 5 };

typedef struct {
    const Verb *verb;
    const TrainOptions *o;
    Arena *arena;
    int width, height;
    Pool *pool;
    Trainer *trainer;
    Synthetic *synthetic, *held_out;
    Loader *loader;
    Evaluator *evaluator;
    TrainLog *log, *validation;
    SafetensorsNote settings[NOTES_MAX];
    int setting_count;
    EvalResult sgm, result;
    bool measured; /* result is of the weights as they are now */
    struct {
        double sum[LOG_TERMS + GRAPH_TERMS_MAX];
        int64_t steps, skipped;
    } window; /* steps since the last row of the log */
    double began;
    char extra[160]; /* behind the progress */
} Training;

static const char *path_in(const Training *r, const char *name) {
    return arena_format(r->arena, "%s/%s", r->o->output, name);
}

/* ---- setting up ---- */

static int parse_crop(const Verb *verb, const char *text, int *width, int *height) {
    int w = 0, h = 0, used = 0;
    if (sscanf(text, "%5dx%5d%n", &w, &h, &used) != 2 || text[used] || w < 64 || h < 64 || w % 32 || h % 32 ||
        w > 8192 || h > 8192)
        return usage_error(verb, "--crop: '%s' is not WIDTHxHEIGHT with both multiples of 32 from 64 to 8192",
                           show_path(text));
    *width = w;
    *height = h;
    return 0;
}

/* Norms and biases are no weights of a product: decay would only move them. */
static const OptimGroup undecayed = {.patterns = "*.bias,*norm*", .rate = 1, .decay = 0};

static int make_trainer(Training *r, OptimGroup *groups) {
    const TrainOptions *o = r->o;
    int count = 0;
    const S2m2Size *size = &s2m2_sizes[o->size];
    if (o->freeze.count) {
        const char *patterns = o->freeze.items[0];
        for (int i = 1; i < o->freeze.count; i++)
            patterns = arena_format(r->arena, "%s,%s", patterns, o->freeze.items[i]);
        groups[count++] = (OptimGroup){.patterns = patterns, .frozen = true};
    }
    groups[count++] = undecayed;
    static const RateShape shapes[] = {RATE_ONE_CYCLE, RATE_COSINE, RATE_CONSTANT};
    TrainerOptions options = {
        .graph = {.network = {.channels = size->channels,
                              .blocks = size->blocks,
                              .refine_iterations = (int)o->refinements},
                  .width = r->width,
                  .height = r->height,
                  .pairs = (int)o->micro_batch,
                  .frozen = o->freeze.items,
                  .frozen_count = o->freeze.count,
                  .recompute = o->recompute.items,
                  .recompute_count = o->recompute.count},
        .batch = (int)o->batch,
        .optim = {.method = o->method == 0 ? OPTIM_ADAMW : OPTIM_SGD,
                  .momentum = o->method == 0 ? 0 : 0.9,
                  .decay = o->decay,
                  .clip = o->clip,
                  .average = o->average,
                  .group = groups,
                  .groups = count},
        .schedule = {.shape = shapes[o->schedule], .rate = o->rate, .warmup = o->warmup, .steps = o->steps},
        .loss_scale = {.scale = 1},
        .seed = (uint64_t)o->seed};
    int code = trainer_make(&options, r->pool, &r->trainer);
    if (code) return code;
    char all[GROUPED_SIZE], trained[GROUPED_SIZE];
    PlanFacts facts = plan_facts(trainer_plan(r->trainer));
    say("%s: %s parameters, %s trained; a part of %d pair%s of %dx%d takes %s, %.1f G operations", size->name,
        text_grouped(all, trainer_parameters(r->trainer)->numbers),
        text_grouped(trained, optim_trained(trainer_optim(r->trainer))), (int)o->micro_batch,
        o->micro_batch == 1 ? "" : "s", r->width, r->height, show_bytes((double)facts.bytes), facts.flops / 1e9);
    return 0;
}

static int make_data(Training *r) {
    const TrainOptions *o = r->o;
    SyntheticOptions stream = {.seed = (uint64_t)o->seed, .width = r->width, .height = r->height};
    int code = synthetic_open(&r->synthetic, &stream);
    stream.seed = rng_u64(HELD_OUT_SEED, (uint64_t)o->seed);
    if (!code) code = synthetic_open(&r->held_out, &stream);
    if (code) return code;
    SampleSource source = synthetic_source(r->synthetic), held_out = synthetic_source(r->held_out);
    LoaderOptions how = {.threads = (int)o->loader_threads,
                         .ahead = (int)(2 * o->batch),
                         .position = (uint64_t)trainer_state(r->trainer)->position,
                         .nice = LOADER_NICE};
    code = loader_make(&r->loader, &source, &how);
    if (!code)
        code = evaluator_make(trainer_graph(r->trainer)->options.network, &held_out, 0, (int)o->validate_samples,
                              r->pool, &r->evaluator);
    if (!code) code = evaluator_sgm(r->evaluator, &r->sgm);
    if (!code)
        say("%d held-out samples; semi-global matching has an error of %.3f px there, bad-2 %.1f %%",
            evaluator_count(r->evaluator), r->sgm.epe,
            r->sgm.figures.value[METRIC_EVERY][METRIC_ANYWHERE][FIGURE_BAD + 2]);
    return code;
}

static int open_logs(Training *r) {
    const char *names[TRAIN_COLUMNS_MAX] = {"step", "samples", "rate", "gradient_norm", "skipped", "seconds", "loss"};
    static const char *const validation[VALID_COLUMNS] = {"step",          "seconds",   "epe",           "bad_1",
                                                          "bad_2",         "bad_3",     "sign",          "epe_visible",
                                                          "bad_2_visible", "occlusion", "sparsification"};
    const TrainGraph *graph = trainer_graph(r->trainer);
    for (int i = 0; i < graph->terms; i++) names[LOG_TERMS + i] = graph->term[i].name;
    const TrainerState *state = trainer_state(r->trainer);
    int code = train_log_open(path_in(r, "log.csv"), names, LOG_TERMS + graph->terms, state->log_bytes[0], &r->log);
    if (!code)
        code = train_log_open(path_in(r, "validation.csv"), validation, VALID_COLUMNS, state->log_bytes[1],
                              &r->validation);
    return code;
}

/* ---- on the way ---- */

static int flush_window(Training *r) {
    int64_t good = r->window.steps - r->window.skipped;
    if (!r->window.steps) return 0;
    const TrainerState *state = trainer_state(r->trainer);
    double row[TRAIN_COLUMNS_MAX];
    int columns = LOG_TERMS + trainer_graph(r->trainer)->terms;
    for (int c = 0; c < columns; c++) row[c] = good ? r->window.sum[c] / (double)good : NAN;
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
        for (int i = 0; i < trainer_graph(r->trainer)->terms; i++) sum[LOG_TERMS + i] += step->term[i];
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
    snprintf(epe, sizeof epe, "%.4f", r->result.epe);
    snprintf(hours, sizeof hours, "%.2f", state->seconds / 3600);
    snprintf(made, sizeof made, "panum %s train stereo", PANUM_VERSION);
    SafetensorsNote notes[NOTES_MAX + 8];
    int n = 0;
    notes[n++] = (SafetensorsNote){"model", s2m2_sizes[r->o->size].name};
    notes[n++] = (SafetensorsNote){"made_by", made};
    notes[n++] = (SafetensorsNote){"steps", step};
    notes[n++] = (SafetensorsNote){"hours", hours};
    notes[n++] = (SafetensorsNote){"validation_epe", epe};
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
    snprintf(title, sizeof title, "Training of %s", s2m2_sizes[r->o->size].name);
    TrainReport report = {.folder = r->o->output,
                          .title = title,
                          .settings = r->settings,
                          .setting_count = r->setting_count,
                          .state = trainer_state(r->trainer),
                          .graph = trainer_graph(r->trainer),
                          .log = r->log,
                          .validation = r->validation,
                          .evaluator = r->evaluator,
                          .result = &r->result,
                          .sgm = &r->sgm,
                          .threads = pool_threads(r->pool)};
    return train_report(&report);
}

/* Measures, writes down, keeps the best. */
static int measure(Training *r) {
    TrainerState *state = trainer_state(r->trainer);
    double began = clock_seconds();
    int code = evaluator_run(r->evaluator, trainer_parameters(r->trainer), trainer_best_guess(r->trainer), &r->result);
    if (code) return code;
    state->seconds += clock_seconds() - began;
    const EvalResult *e = &r->result;
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
                                 [VALID_SPARSIFICATION] = e->sparsification};
    code = train_log_add(r->validation, row);
    if (code) return code;
    say("step %" PRId64
        ": held-out error %.3f px (sgm %.3f), visible %.3f; bad-1 %.1f %%, bad-2 %.1f %% (sgm %.1f); sign "
        "right %.2f %%; occlusion %.3f, confidence %.3f",
        state->step, e->epe, r->sgm.epe, row[VALID_VISIBLE_EPE], row[VALID_BAD1], row[VALID_BAD2],
        figure(&r->sgm, METRIC_EVERY, FIGURE_BAD + 2), row[VALID_SIGN], e->occlusion, e->sparsification);
    if (e->epe < state->best) {
        state->best = e->epe;
        state->best_step = state->step;
        state->stale = 0;
        code = write_weights(r, "best.safetensors", trainer_best_guess(r->trainer), WEIGHT_F32);
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

static int take_step(Training *r, Progress *progress) {
    TrainerState *state = trainer_state(r->trainer);
    TrainerStep step;
    bool profiled = r->o->talk.verbose >= 2 && progress->done - state->step == 0 && r->window.steps == 2;
    plan_profile(trainer_plan(r->trainer), profiled);
    int code = trainer_step(r->trainer, r->loader, &step);
    if (!code && profiled) print_profile(r, &step);
    if (!code) code = add_to_window(r, &step);
    r->measured = false;
    if (code) return code;
    if (isfinite(state->best))
        snprintf(r->extra, sizeof r->extra, "loss %.3f, held-out error %.3f px (best %.3f)", step.loss, r->result.epe,
                 state->best);
    else
        snprintf(r->extra, sizeof r->extra, "loss %.3f", step.loss);
    progress_step(progress, state->step, r->extra);
    if (state->step % r->o->validate_every == 0) {
        code = measure(r);
        r->measured = true;
    }
    if (!code && state->step % r->o->checkpoint_every == 0) code = save(r);
    return code;
}

static bool should_stop(const Training *r) {
    const TrainerState *state = trainer_state(r->trainer);
    if (r->o->patience && state->stale >= r->o->patience) return true;
    return r->o->hours > 0 && clock_seconds() - r->began > 3600 * r->o->hours;
}

static void print_json(const Training *r) {
    const TrainerState *state = trainer_state(r->trainer);
    char folder[2048];
    printf("{\"folder\":%s,\"step\":%" PRId64 ",\"seconds\":%.1f,\"best_epe\":%.6g,\"best_step\":%" PRId64
           ",\"sgm_epe\":%.6g,\"skipped\":%" PRId64 ",\"metrics\":",
           json_quote(folder, sizeof folder, r->o->output), state->step, state->seconds, state->best, state->best_step,
           r->sgm.epe, state->skipped);
    metrics_json(stdout, &r->result.figures);
    printf("}\n");
}

static int loop(Training *r) {
    TrainerState *state = trainer_state(r->trainer);
    Progress progress;
    progress_begin(&progress, (ProgressStyle)r->o->progress, "train", "steps", r->o->steps);
    progress_resume(&progress, state->step);
    int code = 0;
    while (!code && state->step < r->o->steps && !run_stopped() && !should_stop(r)) code = take_step(r, &progress);
    progress_end(&progress);
    if (code) return code;
    if (!r->measured) code = measure(r);
    if (!code) code = save(r);
    if (code) return code;
    if (run_stopped())
        return run_stop(arena_format(r->arena, "step %" PRId64 " is saved; panum train stereo -o %s goes on",
                                     state->step, show_path(r->o->output)));
    if (state->step < r->o->steps)
        say("stopped at step %" PRId64 " of %" PRId64 "; panum train stereo -o %s goes on", state->step, r->o->steps,
            show_path(r->o->output));
    say("best held-out error %.3f px at step %" PRId64 " (semi-global matching %.3f): %s; %s", state->best,
        state->best_step, r->sgm.epe, show_path(path_in(r, "best.safetensors")), show_path(path_in(r, "report.html")));
    if (r->o->json) print_json(r);
    return state->bad_samples
               ? fail(ERR_FAILED, "%" PRId64 " samples could not be made and were left out", state->bad_samples)
               : 0;
}

static int prepare(Training *r, OptimGroup *groups, const Checkpoint *from) {
    const TrainOptions *o = r->o;
    int code = parse_crop(r->verb, o->crop, &r->width, &r->height);
    if (code) return code;
    if (o->batch % o->micro_batch)
        return usage_error(r->verb, "--batch %" PRId64 " is not a multiple of --micro-batch %" PRId64, o->batch,
                           o->micro_batch);
    r->setting_count = settings_notes(r->verb, o, r->arena, r->settings, NOTES_MAX);
    r->pool = pool_make((int)o->threads);
    if (!r->pool) return ERR_MEMORY;
    code = make_trainer(r, groups);
    if (!code && from) code = trainer_restore(r->trainer, from);
    if (!code && !from && o->init) code = trainer_load_weights(r->trainer, o->init, s2m2_sizes[o->size].name);
    if (!code && from) say("goes on from %s", show_path(checkpoint_path(from)));
    if (!code) code = make_data(r);
    if (!code) code = open_logs(r);
    return code;
}

int train_stereo(const Verb *verb, const TrainOptions *options, Arena *arena, const Checkpoint *from) {
    Training *r = arena_alloc(arena, sizeof *r);
    if (!r) return ERR_MEMORY;
    OptimGroup groups[OPTIM_GROUPS_MAX];
    *r = (Training){.verb = verb, .o = options, .arena = arena, .began = clock_seconds()};
    int code = prepare(r, groups, from);
    if (!code) code = loop(r);
    loader_drop(r->loader);
    evaluator_drop(r->evaluator);
    synthetic_close(r->synthetic);
    synthetic_close(r->held_out);
    train_log_close(r->log);
    train_log_close(r->validation);
    trainer_drop(r->trainer);
    pool_drop(r->pool);
    return code;
}
