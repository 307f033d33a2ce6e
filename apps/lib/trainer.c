#include "apps/lib/trainer.h"
#include "apps/lib/run.h"
#include "apps/lib/spike.h"
#include "apps/lib/train_device.h"
#include "base/clock.h"
#include "base/mem.h"
#include "nn/init.h"
#include "nn/store.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <string.h>

enum { BAD_SAMPLES_IN_A_ROW = 100, KEEP = 3 };

const LossScale trainer_loss_scale = {.scale = 65536, .patience = 2000};

static const char *const storage_names[] = {"f32", "f16", "bf16"}; /* by GpuStorage */

/* On a GPU the samples of a part are taken from the loader while the one before is computed. */
typedef struct {
    bool taken;
    int64_t position, bad_samples; /* of the stream behind it; samples left out on the way */
    uint64_t *index;               /* of its samples */
    int code;                      /* why there is none, with the sentence */
    char sentence[1024];
} Ahead;

struct Trainer {
    TrainerOptions options;
    Pool *pool;
    ParameterStore *store;
    TrainGraph graph;
    Plan *plan;
    Optim *optim;
    float *gradients;
    LossScale loss_scale;
    TrainerState state;
    Sample sample;
    uint64_t *batch; /* places in the stream of the samples of the last step */
    SampleNamer namer;
    const void *namer_context;
    SpikeWatch spikes;
    TrainDevice *device; /* NULL: the CPU */
    bool mirror_old;     /* weights and optimiser here are older than those on the device */
    Ahead ahead;
    const Tensor *scalar[1 + GRAPH_TERMS_MAX];
};

static Gpu *gpu_of(const Trainer *t) {
    return t->options.device ? t->options.device->gpu : NULL;
}

static int make_device(Trainer *t) {
    TrainDeviceOptions o = {.program = t->graph.program,
                            .plan = t->plan,
                            .storage = t->options.storage,
                            .kernels = t->options.device->kernels,
                            .list = store_parameters(t->store),
                            .gradient = t->graph.gradient,
                            .seed = t->graph.seed,
                            .scalar = t->scalar,
                            .parts = t->options.batch / t->options.graph.pairs,
                            .optim = t->optim,
                            .weights = store_block(t->store)};
    t->scalar[o.scalars++] = t->graph.loss;
    for (int i = 0; i < t->graph.terms; i++) t->scalar[o.scalars++] = t->graph.term[i].value;
    t->ahead.index = mem_zero((size_t)t->options.graph.pairs, sizeof *t->ahead.index);
    if (!t->ahead.index) return ERR_MEMORY;
    return train_device_make(gpu_of(t), &o, &t->device);
}

static int build(Trainer *t) {
    if (t->options.storage != GPU_F32 && !gpu_of(t))
        return fail(ERR_USAGE, "training in %s needs a GPU; on the CPU it is f32", storage_names[t->options.storage]);
    GraphOptions forward = t->options.graph;
    forward.part = GRAPH_FORWARD;
    int code = graph_record(&forward, NULL, &t->graph);
    if (!code) code = store_make_trainable(t->graph.program, &t->store);
    if (code) return code;
    const ParameterList *list = store_parameters(t->store);
    init_parameters(t->graph.program, list, t->options.seed, store_block(t->store));
    graph_drop(&t->graph);
    code = graph_record(&t->options.graph, list, &t->graph);
    if (code) return code;
    WeightSource source = store_source(t->store);
    PlanOptions plan = {.shape_only = gpu_of(t) != NULL, .halves = t->options.storage == GPU_F32 ? NULL : gpu_halves};
    code = plan_make(t->graph.program, &source, t->pool, plan, &t->plan);
    if (!code) code = optim_make(list, &t->options.optim, store_block(t->store), &t->optim);
    if (code) return code;
    t->gradients = mem_zero(gpu_of(t) ? 1 : (size_t)list->block + 1, sizeof *t->gradients);
    t->batch = mem_zero((size_t)t->options.batch, sizeof *t->batch);
    if (!t->gradients || !t->batch) return ERR_MEMORY;
    return gpu_of(t) ? make_device(t) : 0;
}

int trainer_make(const TrainerOptions *options, Pool *pool, Trainer **out) {
    BUG_IF(options->batch % options->graph.pairs, "a batch of %d in parts of %d", options->batch, options->graph.pairs);
    *out = NULL;
    Trainer *t = mem_zero(1, sizeof *t);
    if (!t) return ERR_MEMORY;
    t->options = *options;
    t->pool = pool;
    t->loss_scale = options->loss_scale;
    t->state.best = INFINITY;
    int code = build(t);
    if (code) {
        trainer_drop(t);
        return code;
    }
    *out = t;
    return 0;
}

void trainer_drop(Trainer *t) {
    if (!t) return;
    train_device_drop(t->device);
    mem_free(t->ahead.index);
    plan_drop(t->plan);
    graph_drop(&t->graph);
    optim_drop(t->optim);
    store_close(t->store);
    sample_free(&t->sample);
    mem_free(t->gradients);
    mem_free(t->batch);
    mem_free(t);
}

/* The weights, and what belongs to them, have changed here. */
static int weights_changed(Trainer *t) {
    if (t->device) return train_device_put(t->device);
    plan_repack(t->plan);
    return 0;
}

int trainer_sync(Trainer *t) {
    int code = t->mirror_old ? train_device_fetch(t->device) : 0;
    if (!code) t->mirror_old = false;
    return code;
}

GpuPlan *trainer_gpu_plan(Trainer *t) {
    return t->device ? train_device_plan(t->device) : NULL;
}

size_t trainer_device_bytes(const Trainer *t) {
    return t->device ? train_device_bytes(t->device) : 0;
}

static void restart_average(Trainer *t) {
    float *average = optim_block(t->optim, OPTIM_AVERAGE);
    if (average) memcpy(average, store_block(t->store), (size_t)store_parameters(t->store)->block * sizeof *average);
}

int trainer_load_weights(Trainer *t, const char *path, const char *model, const char *renew) {
    const ParameterList *list = store_parameters(t->store);
    float *weights = store_block(t->store), *before = mem_array((size_t)list->block, sizeof *before);
    int code = before ? trainer_sync(t) : (int)ERR_MEMORY;
    if (!code) memcpy(before, weights, (size_t)list->block * sizeof *before);
    if (!code) code = parameters_load(list, path, model, weights);
    int renewed = 0;
    for (int i = 0; !code && i < list->count; i++) {
        const Parameter *p = &list->at[i];
        if (!name_matches(renew, p->name)) continue;
        memcpy(weights + p->offset, before + p->offset, (size_t)p->count * sizeof *before);
        renewed++;
    }
    if (!code && *renew && !renewed)
        code = fail(ERR_USAGE, "--renew %s: no parameter of %s has such a name; panum model info lists them", renew,
                    model);
    mem_free(before);
    if (code) return code;
    restart_average(t);
    return weights_changed(t);
}

int trainer_take_weights(Trainer *t, const float *weights) {
    int code = trainer_sync(t);
    if (code) return code;
    memcpy(store_block(t->store), weights, (size_t)store_parameters(t->store)->block * sizeof *weights);
    restart_average(t);
    return weights_changed(t);
}

void trainer_name_samples(Trainer *t, SampleNamer namer, const void *context) {
    t->namer = namer;
    t->namer_context = context;
}

TrainerState *trainer_state(Trainer *t) {
    return &t->state;
}
const TrainGraph *trainer_graph(const Trainer *t) {
    return &t->graph;
}
Plan *trainer_plan(Trainer *t) {
    return t->plan;
}
const ParameterList *trainer_parameters(const Trainer *t) {
    return store_parameters(t->store);
}
const float *trainer_weights(const Trainer *t) {
    return store_block(t->store);
}
const float *trainer_best_guess(Trainer *t) {
    const float *average = optim_block(t->optim, OPTIM_AVERAGE);
    return average ? average : store_block(t->store);
}
Optim *trainer_optim(Trainer *t) {
    return t->optim;
}
LossScale trainer_scale(const Trainer *t) {
    return t->loss_scale;
}

/* ---- a step ---- */

/* The next sample that could be made; those that could not are counted and told. */
static int next_sample(Trainer *t, Loader *loader, int64_t *position, int64_t *bad_samples) {
    for (int bad = 0; bad < BAD_SAMPLES_IN_A_ROW; bad++) {
        int code = loader_next(loader, &t->sample);
        *position = (int64_t)loader_position(loader);
        if (!code || code == ERR_MEMORY || loader_ended(loader)) return code;
        ++*bad_samples;
        say("sample %" PRId64 " is left out: %s", *position - 1, err_sentence());
    }
    return fail(ERR_FAILED, "%d samples in a row could not be made; the last failure: %s", BAD_SAMPLES_IN_A_ROW,
                err_sentence());
}

static int run_part(Trainer *t, Loader *loader, int part, TrainerStep *step) {
    int pairs = t->options.graph.pairs;
    double began = clock_seconds();
    HostPlaces places = plan_places(t->plan);
    for (int i = 0; i < pairs; i++) {
        int code = next_sample(t, loader, &t->state.position, &t->state.bad_samples);
        if (code) return code;
        code = graph_fill(&t->graph, places, t->pool, i, &t->sample);
        if (code) return code;
        t->batch[part * pairs + i] = t->sample.index;
    }
    double loaded = clock_seconds();
    *(float *)plan_data(t->plan, t->graph.seed) = (float)t->loss_scale.scale;
    int code = plan_run(t->plan);
    if (code) return code;
    step->loss += graph_scalar(places, t->graph.loss);
    for (int i = 0; i < t->graph.terms; i++) step->term[i] += graph_scalar(places, t->graph.term[i].value);
    graph_take_gradients(&t->graph, t->plan, store_parameters(t->store), t->pool, part ? GRADIENTS_ADD : GRADIENTS_SET,
                         t->gradients);
    step->data_seconds += loaded - began;
    step->run_seconds += clock_seconds() - loaded;
    return 0;
}

/* On the CPU: the parts one after another, then the weights. */
static int compute_here(Trainer *t, Loader *loader, TrainerStep *step, OptimStep *done) {
    int parts = t->options.batch / t->options.graph.pairs;
    for (int part = 0; part < parts; part++) {
        int code = run_part(t, loader, part, step);
        if (code) return code;
    }
    step->loss /= parts;
    for (int i = 0; i < t->graph.terms; i++) step->term[i] /= parts;
    double ran = clock_seconds();
    /* a loss that is not finite may hide behind gradients that are: its part of the picture gave none */
    double scale = isfinite(step->loss) ? 1 / (t->loss_scale.scale * parts) : NAN;
    Spike spike;
    step->spiked = t->options.skip_spikes && spike_seen(&t->spikes, step->loss, &spike);
    if (step->spiked) {
        *done = (OptimStep){.skipped = true, .norm = NAN};
        return 0;
    }
    *done = optim_step(t->optim, t->pool, store_block(t->store), t->gradients, scale, step->rate);
    if (!done->skipped) plan_repack(t->plan);
    step->update_seconds = clock_seconds() - ran;
    return 0;
}

/* ---- a step on a GPU ---- */

static int fill_ahead(Trainer *t, Loader *loader) {
    int code = train_device_await(t->device);
    HostPlaces places = train_device_places(t->device);
    for (int i = 0; !code && i < t->options.graph.pairs; i++) {
        code = next_sample(t, loader, &t->ahead.position, &t->ahead.bad_samples);
        if (!code) code = graph_fill(&t->graph, places, t->pool, i, &t->sample);
        t->ahead.index[i] = t->sample.index;
    }
    return code ? code : train_device_send(t->device);
}

/* Takes the samples of the next part, unless that is done. What fails is told by the step that wants them. */
static void take_ahead(Trainer *t, Loader *loader, TrainerStep *step) {
    Ahead *a = &t->ahead;
    if (a->taken && a->position == (int64_t)loader_position(loader)) return;
    if (a->taken) train_device_discard(t->device); /* of a loader that is gone */
    double began = clock_seconds();
    a->taken = true;
    a->bad_samples = 0;
    a->code = fill_ahead(t, loader);
    a->position = (int64_t)loader_position(loader);
    if (a->code) snprintf(a->sentence, sizeof a->sentence, "%s", err_sentence());
    step->data_seconds += clock_seconds() - began;
}

static int begin_part(Trainer *t, Loader *loader, int part, TrainerStep *step) {
    Ahead *a = &t->ahead;
    take_ahead(t, loader, step);
    a->taken = false;
    t->state.position = a->position;
    t->state.bad_samples += a->bad_samples;
    if (a->code) return fail((ErrCode)a->code, "%s", a->sentence);
    int pairs = t->options.graph.pairs;
    memcpy(t->batch + (ptrdiff_t)part * pairs, a->index, (size_t)pairs * sizeof *t->batch);
    return train_device_part(t->device, part, t->loss_scale.scale);
}

static int compute_there(Trainer *t, Loader *loader, TrainerStep *step, OptimStep *done) {
    int parts = t->options.batch / t->options.graph.pairs, code = 0;
    double began = clock_seconds();
    for (int part = 0; !code && part < parts; part++) {
        code = begin_part(t, loader, part, step);
        if (!code && part + 1 < parts) take_ahead(t, loader, step);
    }
    t->mirror_old = true;
    if (!code) code = train_device_update(t->device, 1 / (t->loss_scale.scale * parts), step->rate);
    if (code) return code;
    take_ahead(t, loader, step); /* the next step's first */
    TrainDeviceStep result;
    code = train_device_finish(t->device, &result);
    if (code) return code;
    *done = result.done;
    const float *word = result.scalar;
    for (int part = 0; part < parts; part++) {
        step->loss += (double)*word++ / parts;
        for (int i = 0; i < t->graph.terms; i++) step->term[i] += (double)*word++ / parts;
    }
    step->run_seconds = clock_seconds() - began - step->data_seconds;
    return 0;
}

static void name_sample(const Trainer *t, uint64_t index, char *text, size_t size) {
    if (t->namer)
        t->namer(t->namer_context, index, text, size);
    else
        snprintf(text, size, "sample %" PRIu64, index);
}

/* The samples of the last step, as many as there is room for. */
static const char *batch_names(const Trainer *t, char *text, size_t size) {
    size_t used = 0;
    *text = 0;
    for (int i = 0; i < t->options.batch; i++) {
        char name[300], rest[40];
        name_sample(t, t->batch[i], name, sizeof name);
        snprintf(rest, sizeof rest, " and %d more", t->options.batch - i);
        if (used + strlen(name) + 2 + sizeof rest > size) {
            snprintf(text + used, size - used, "%s", rest);
            break;
        }
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", name);
    }
    return text;
}

static int tell_skipped(Trainer *t, const TrainerStep *step) {
    char names[600];
    batch_names(t, names, sizeof names);
    t->state.skipped++;
    if (++t->state.skipped_in_a_row >= SKIPPED_MOST)
        return fail(ERR_FAILED,
                    "%d steps in a row had a loss or gradients that are not finite, the last at step %" PRId64
                    " (%s); the last checkpoint is from before them: lower --lr or --clip%s and go on from it",
                    SKIPPED_MOST, t->state.step, names,
                    t->options.storage == GPU_F16
                        ? ", or take --precision bf16, which does not end at 65,504 as f16 does,"
                        : "");
    if (t->loss_scale.patience && isfinite(step->loss)) /* how the scale is found: the samples may be as good as any */
        say("step %" PRId64 ": loss %g, gradients that f16 does not hold: skipped, the loss scale is %g now",
            t->state.step, step->loss, t->loss_scale.scale);
    else
        say("step %" PRId64 ": loss %g, norm of the gradients %g: skipped (%s)", t->state.step, step->loss, step->norm,
            names);
    return 0;
}

static void watch_spikes(Trainer *t, const TrainerStep *step) {
    Spike spike;
    char names[600];
    if (!spike_watch(&t->spikes, step->loss, &spike)) return;
    say("step %" PRId64 ": loss %.4g is %.1f times the median of the steps before%s (%s)", t->state.step, step->loss,
        spike.factor, step->spiked ? ": skipped" : "", batch_names(t, names, sizeof names));
}

int trainer_step(Trainer *t, Loader *loader, TrainerStep *step) {
    *step = (TrainerStep){.rate = rate_at(&t->options.schedule, t->state.step - t->options.first_step)};
    double began = clock_seconds();
    OptimStep done;
    int code = (t->device ? compute_there : compute_here)(t, loader, step, &done);
    if (code) return code;
    if (!step->spiked) loss_scale_update(&t->loss_scale, done.skipped);
    step->norm = done.norm;
    step->skipped = done.skipped;
    t->state.step++;
    if (done.skipped && !step->spiked) {
        code = tell_skipped(t, step);
    } else {
        t->state.skipped += step->spiked;
        t->state.skipped_in_a_row = 0;
        watch_spikes(t, step);
    }
    t->state.seconds += clock_seconds() - began;
    return code;
}

/* ---- checkpoints ---- */

enum { STATE_NOTES = 15, NOTE_TEXT = 40 };

/* Every field of the state by name, for writing and reading alike. */
typedef struct {
    const char *name;
    int64_t *whole;
    double *real;
} StateField;

static int state_fields(Trainer *t, int64_t *steps, StateField fields[STATE_NOTES]) {
    TrainerState *s = &t->state;
    const StateField all[STATE_NOTES] = {{"step", &s->step, NULL},
                                         {"position", &s->position, NULL},
                                         {"skipped", &s->skipped, NULL},
                                         {"skipped_in_a_row", &s->skipped_in_a_row, NULL},
                                         {"bad_samples", &s->bad_samples, NULL},
                                         {"seconds", NULL, &s->seconds},
                                         {"best", NULL, &s->best},
                                         {"best_step", &s->best_step, NULL},
                                         {"stale", &s->stale, NULL},
                                         {"phase", &s->phase, NULL},
                                         {"phase_step", &s->phase_step, NULL},
                                         {"log_bytes", &s->log_bytes[0], NULL},
                                         {"validation_bytes", &s->log_bytes[1], NULL},
                                         {"optim_steps", steps, NULL},
                                         {"loss_scale_good", &t->loss_scale.good, NULL}};
    memcpy(fields, all, sizeof all);
    return STATE_NOTES;
}

int trainer_save(Trainer *t, const char *folder, const SafetensorsNote *notes, int count) {
    SafetensorsNote all[CHECKPOINT_NOTES_MAX];
    char text[STATE_NOTES][NOTE_TEXT], scale[NOTE_TEXT], spikes[SPIKE_TEXT], name[CHECKPOINT_NAME], path[PATH_MAX];
    BUG_IF(count + STATE_NOTES + 3 > CHECKPOINT_NOTES_MAX, "%d notes in a checkpoint", count);
    int code = trainer_sync(t);
    if (code) return code;
    int64_t steps = optim_steps(t->optim);
    StateField fields[STATE_NOTES];
    int n = state_fields(t, &steps, fields);
    for (int i = 0; i < n; i++) {
        if (fields[i].whole)
            snprintf(text[i], NOTE_TEXT, "%" PRId64, *fields[i].whole);
        else
            snprintf(text[i], NOTE_TEXT, "%a", *fields[i].real);
        all[i] = (SafetensorsNote){fields[i].name, text[i]};
    }
    snprintf(scale, sizeof scale, "%a", t->loss_scale.scale);
    all[n++] = (SafetensorsNote){"loss_scale", scale};
    spike_text(&t->spikes, spikes);
    if (t->options.skip_spikes) all[n++] = (SafetensorsNote){"losses", spikes};
    all[n++] = (SafetensorsNote){"storage", storage_names[t->options.storage]};
    for (int i = 0; i < count; i++) all[n++] = notes[i];
    CheckpointBlock blocks[1 + OPTIM_BLOCKS] = {{"weights", store_block(t->store)}};
    int used = 1;
    for (int b = 0; b < OPTIM_BLOCKS; b++)
        if (optim_block(t->optim, b))
            blocks[used++] = (CheckpointBlock){optim_block_names[b], optim_block(t->optim, b)};
    checkpoint_name(name, t->state.step);
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path)
        return fail(ERR_USAGE, "%s: the name is too long", show_path(folder));
    code = checkpoint_write(path, store_parameters(t->store), blocks, used, all, n);
    if (!code) checkpoint_prune(folder, KEEP);
    return code;
}

int trainer_restore(Trainer *t, const Checkpoint *c) {
    int64_t steps = 0;
    StateField fields[STATE_NOTES];
    int n = state_fields(t, &steps, fields), code = 0;
    for (int i = 0; !code && i < n; i++)
        code = fields[i].whole ? checkpoint_whole(c, fields[i].name, 0, INT64_MAX / 2, fields[i].whole)
                               : checkpoint_real(c, fields[i].name, fields[i].real);
    const char *storage = checkpoint_note(c, "storage");
    if (!code) code = checkpoint_real(c, "loss_scale", &t->loss_scale.scale);
    const char *losses = checkpoint_note(c, "losses"); /* there is none where spikes were not skipped until now */
    if (!code && losses && !spike_parse(&t->spikes, losses))
        code = fail(ERR_WEIGHTS, "%s: the losses of the steps before are no list of numbers",
                    show_path(checkpoint_path(c)));
    if (!t->options.loss_scale.patience || !storage || strcmp(storage, storage_names[GPU_F16]) != 0)
        t->loss_scale = t->options.loss_scale;
    if (!code) code = checkpoint_block(c, "weights", store_parameters(t->store), store_block(t->store));
    for (int b = 0; !code && b < OPTIM_BLOCKS; b++)
        if (optim_block(t->optim, b))
            code = checkpoint_block(c, optim_block_names[b], store_parameters(t->store), optim_block(t->optim, b));
    if (code) return code;
    optim_set_steps(t->optim, steps);
    t->mirror_old = false;
    return weights_changed(t);
}
