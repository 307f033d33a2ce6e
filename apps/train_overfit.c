/* apps/train_overfit.c - `panum train stereo --overfit FRAME --steps 100`: does the cinematic loss move a network the
 * right way? A few frames, no others, a table of what the network says before and after. Nothing is kept. */
#include "apps/lib/train_films.h"
#include "apps/train_run.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { FRAMES_MAX = 8, LOG_EVERY = 10 };

typedef struct {
    Sample frame[FRAMES_MAX];
    int count;
} Frames;

static int make_frame(void *context, uint64_t index, Sample *sample) {
    const Frames *frames = context;
    return sample_copy(sample, &frames->frame[index % (uint64_t)frames->count]);
}

/* All at the size asked for, or that of the first with its sides cut down to multiples of 32. */
static int read_frames(const TrainOptions *o, const int crop[2], Arena *arena, Frames *frames) {
    int width = crop[0], height = crop[1];
    for (int i = 0; i < o->overfit.count; i++) {
        const char *path, *anchor;
        Sample whole = {0};
        int code = train_frame_read(o->overfit.items[i], o->films, o->anchors, arena, &path, &anchor, &whole);
        if (!code && !width) width = whole.width / 32 * 32, height = whole.height / 32 * 32;
        if (!code && (width < 64 || height < 64))
            code = fail(ERR_INPUT, "%s: is smaller than 64x64 pixels", show_path(path));
        if (!code) code = augment_resize(&frames->frame[i], &whole, width, height);
        sample_free(&whole);
        if (code) return code;
        frames->count++;
        say("%s: %dx%d for each eye, %s", show_path(path), width, height,
            anchor ? show_path(anchor) : "no anchor, so the anchor term is 0");
    }
    return 0;
}

static void print_match(const MatchFigures *m) {
    printf("block matching (last frame): %.1f to %.1f px, median %.1f; taught %.1f %% of the pixels, weight %.3f, "
           "%.1f %% of them below -1 px\n",
           m->least, m->most, m->median, 100 * m->taught, m->weight, 100 * m->behind);
}

static void print_row(const char *name, double before, double after, double scale, const char *unit) {
    printf("%-34s %10.3f %10.3f %s\n", name, scale * before, scale * after, unit);
}

static void print_table(const TrainGraph *graph, const FilmResult *before, const FilmResult *after) {
    printf("%-34s %10s %10s\n", "", "before", "after");
    print_row("loss", before->loss, after->loss, 1, "");
    for (int i = 0; i < graph->terms; i++) print_row(graph->term[i].name, before->term[i], after->term[i], 1, "");
    print_row("smallest disparity", before->figures.least, after->figures.least, 1, "px");
    print_row("98th percentile", before->figures.p98, after->figures.p98, 1, "px");
    print_row("below -0.5 px", before->figures.behind, after->figures.behind, 100, "%");
    print_row("asymmetry of the halves", before->figures.asymmetry, after->figures.asymmetry, 1, "");
    if (isnan(after->match.target)) return;
    printf("where block matching is below -1 px (mean %.2f px)\n", after->match.target);
    print_row("  the network's mean", before->match.found, after->match.found, 1, "px");
    print_row("  gap to block matching", before->match.found - before->match.target,
              after->match.found - after->match.target, 1, "px");
}

static int run_steps(const TrainOptions *o, Trainer *trainer, Loader *loader) {
    const TrainGraph *graph = trainer_graph(trainer);
    for (int64_t n = 1; n <= o->steps && !run_stopped(); n++) {
        TrainerStep step;
        int code = trainer_step(trainer, loader, &step);
        if (code) return code;
        if (n != 1 && n % LOG_EVERY != 0) continue;
        char line[400];
        int used = snprintf(line, sizeof line, "step %" PRId64 ": loss %.4f", n, step.loss);
        for (int i = 0; i < graph->terms && used < 300; i++)
            used += snprintf(line + used, sizeof line - (size_t)used, ", %s %.4f", graph->term[i].name, step.term[i]);
        say("%s", line);
    }
    return run_stopped() ? run_stop("nothing is kept of a quick test") : 0;
}

static int overfit(const Verb *verb, const TrainOptions *o, Device *device, Pool *pool, Frames *frames) {
    static const char *const encoder[] = TRAIN_ENCODER;
    const S2m2Size *size = &s2m2_sizes[o->size];
    GraphOptions graph = {.network = {.channels = size->channels,
                                      .blocks = size->blocks,
                                      .refine_iterations = (int)o->refinements,
                                      .cinematic_occlusion = true},
                          .width = frames->frame[0].width,
                          .height = frames->frame[0].height,
                          .pairs = 1,
                          .cinematic = &cinematic_phase_1,
                          .rule = o->reference ? LOSS_REFERENCE : LOSS_OURS,
                          .teacher = o->positive_anchors ? ANCHOR_POSITIVE : ANCHOR_SIGNED,
                          .frozen = encoder,
                          .frozen_count = o->init ? TRAIN_ENCODER_COUNT : 0,
                          .recompute = o->recompute.items,
                          .recompute_count = o->recompute.count};
    OptimGroup group = {.patterns = TRAIN_ENCODER_PATTERNS, .frozen = true};
    TrainerOptions options = {.graph = graph,
                              .batch = 1,
                              .optim = {.decay = o->decay, .clip = o->clip, .group = &group, .groups = o->init ? 1 : 0},
                              .schedule = {.shape = RATE_CONSTANT, .rate = o->rate, .steps = o->steps},
                              .seed = (uint64_t)o->seed};
    SampleSource source = {make_frame, frames};
    Trainer *trainer = NULL;
    FilmJudge *judge = NULL;
    Loader *loader = NULL;
    FilmResult before, after;
    int code = train_make_trainer(verb, o, device, pool, &options, &trainer);
    if (!code && device->gpu)
        say("on %s: %s of its memory", device_name(device), show_bytes((double)trainer_device_bytes(trainer)));
    if (!code && o->init) code = trainer_load_weights(trainer, o->init, size->name, "");
    graph.part = GRAPH_LOSSES;
    if (!code) code = film_judge_make(&graph, &source, frames->count, pool, device, &judge);
    if (!code) code = film_judge_run(judge, trainer_parameters(trainer), trainer_weights(trainer), &before);
    if (!code) print_match(&before.match);
    LoaderOptions how = {.position = 1}; /* the reference's first step takes the second frame */
    if (!code) code = loader_make(&loader, &source, &how);
    if (!code) code = run_steps(o, trainer, loader);
    if (!code) code = trainer_sync(trainer);
    if (!code) code = film_judge_run(judge, trainer_parameters(trainer), trainer_weights(trainer), &after);
    if (!code) print_table(trainer_graph(trainer), &before, &after);
    loader_drop(loader);
    film_judge_drop(judge);
    trainer_drop(trainer);
    return code;
}

int train_overfit(const Verb *verb, const TrainOptions *o, const int crop[2], Arena *arena) {
    if (o->overfit.count > FRAMES_MAX) return usage_error(verb, "--overfit: at most %d frames", FRAMES_MAX);
    Frames *frames = arena_alloc(arena, sizeof *frames);
    DeviceChoice where;
    int code = device_option(verb, o->device, &where);
    if (code) return code;
    Device device = {0};
    Pool *pool = pool_make((int)o->threads);
    code = frames && pool ? read_frames(o, crop, arena, frames) : (int)ERR_MEMORY;
    if (!code) code = device_open(where, DEVICE_TRAINING, &device);
    if (!code) code = overfit(verb, o, &device, pool, frames);
    device_close(&device);
    for (int i = 0; frames && i < frames->count; i++) sample_free(&frames->frame[i]);
    pool_drop(pool);
    return code;
}
