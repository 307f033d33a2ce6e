/* apps/train.c - the command line of training, and whether it begins or goes on. */
#include "apps/lib/data_check.h"
#include "apps/lib/lock.h"
#include "apps/train_run.h"

#include <string.h>
#include <unistd.h>

#define AT(field) .at = offsetof(TrainOptions, field)
static const Option options[] = {
    {.name = "size",
     .kind = OPTION_CHOICE,
     .value = "SIZE",
     .choices = "XS|S|M|L|XL",
     .standard = "XS",
     AT(size),
     .group = TRAIN_NETWORK,
     .help = "S2M2 of this size: XS|S|M|L|XL"},
    {.name = "init",
     .kind = OPTION_PATH,
     .value = "FILE",
     AT(init),
     .shown = "numbers that follow from the seed",
     .group = TRAIN_NETWORK,
     .help = "begin with these weights (.safetensors or .pth)"},
    {.name = "renew",
     .kind = OPTION_PATHS,
     .value = "PATTERN",
     AT(renew),
     .group = TRAIN_NETWORK,
     .help = "of the weights of --init, do not take parameters with such names but numbers that follow from the seed; "
             "may be repeated"},
    {.name = "freeze",
     .kind = OPTION_PATHS,
     .value = "PATTERN",
     AT(freeze),
     .group = TRAIN_NETWORK,
     .help = "do not change parameters with such names, * standing for any text; may be repeated"},
    {.name = "refine-iter",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = 16,
     .standard = "3",
     AT(refinements),
     .group = TRAIN_NETWORK,
     .help = "refinements of the disparity"},
    {.name = "synthetic",
     .kind = OPTION_FLAG,
     AT(synthetic),
     .group = TRAIN_DATA,
     .help = "scenes that panum renders itself, with exact truth of both signs, endless; the default, and with --data "
             "in turn with it"},
    {.name = "data",
     .kind = OPTION_PATHS,
     .value = "PATH",
     AT(data),
     .group = TRAIN_DATA,
     .help =
         "pairs with truth: a folder laid out as Middlebury, ETH3D, KITTI, Sintel or SceneFlow are, or a list (first "
         "line: left, right, truth, between tabs); may be repeated"},
    {.name = "crop",
     .kind = OPTION_TEXT,
     .value = "WxH",
     .shown = "256x128; 960x512 for films",
     AT(crop),
     .group = TRAIN_DATA,
     .help = "size of the pictures of a step, multiples of 32"},
    {.name = "steps",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = 1e9,
     .standard = "20000",
     AT(steps),
     .group = TRAIN_RECIPE,
     .help = "changes of the weights in all"},
    {.name = "batch",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = 1024,
     .standard = "4",
     AT(batch),
     .group = TRAIN_RECIPE,
     .help = "pairs of pictures for a step"},
    {.name = "micro-batch",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = 1024,
     .standard = "1",
     AT(micro_batch),
     .group = TRAIN_RECIPE,
     .help =
         "pairs computed at once, a divisor of the batch; memory grows with it, the gradients of the parts are added"},
    {.name = "optimizer",
     .kind = OPTION_CHOICE,
     .value = "NAME",
     .choices = "adamw|sgd",
     .standard = "adamw",
     AT(method),
     .group = TRAIN_RECIPE,
     .help = "adamw, or sgd with momentum 0.9"},
    {.name = "lr",
     .kind = OPTION_REAL,
     .value = "RATE",
     .least = 1e-12,
     .most = 100,
     .standard = "0.001",
     AT(rate),
     .group = TRAIN_RECIPE,
     .help = "highest learning rate"},
    {.name = "schedule",
     .kind = OPTION_CHOICE,
     .value = "SHAPE",
     .choices = TRAIN_SCHEDULES,
     .standard = "one-cycle",
     AT(schedule),
     .group = TRAIN_RECIPE,
     .help = "of the learning rate over the steps: one-cycle (up, then down), cosine (down) or constant"},
    {.name = "warmup",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 0,
     .most = 1e9,
     .standard = "0",
     AT(warmup),
     .group = TRAIN_RECIPE,
     .help = "steps over which a cosine or constant rate rises first"},
    {.name = "weight-decay",
     .kind = OPTION_REAL,
     .value = "X",
     .least = 0,
     .most = 10,
     .standard = "0.0001",
     AT(decay),
     .group = TRAIN_RECIPE,
     .help = "decay of the weights, times the rate, a step; norms and biases have none"},
    {.name = "clip",
     .kind = OPTION_REAL,
     .value = "X",
     .least = 0,
     .most = 1e9,
     .standard = "1",
     AT(clip),
     .group = TRAIN_RECIPE,
     .help = "the norm of all gradients is brought down to this; 0 leaves it"},
    {.name = "skip-spikes",
     .kind = OPTION_FLAG,
     AT(skip_spikes),
     .group = TRAIN_RECIPE,
     .help = "leave out a step whose loss is far above those of the last 128, which otherwise is only told; with "
             "--device cpu"},
    {.name = "average",
     .kind = OPTION_REAL,
     .value = "D",
     .least = 0,
     .most = 0.999999,
     .standard = "0.999",
     AT(average),
     .group = TRAIN_RECIPE,
     .help =
         "decay of the running average of the weights, which is what is validated and kept; 0: the weights themselves"},
    {.name = "seed",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 0,
     .most = 1e15,
     .standard = "1",
     AT(seed),
     .group = TRAIN_RECIPE,
     .help = "everything drawn at random follows from it"},
    {.name = "films",
     .kind = OPTION_PATH,
     .value = "ROOT",
     AT(films),
     .group = TRAIN_FILMS,
     .help =
         "fine-tune on frames of 3-D films instead, without truth: ROOT/frames/sbs/frame_000123.jpg or ROOT/left and "
         "ROOT/right, ROOT/film_structure.json; sets --batch 1, --lr 1e-5, --clip 5, --average 0, a constant rate"},
    {.name = "anchors",
     .kind = OPTION_PATH,
     .value = "FOLDER",
     AT(anchors),
     .shown = "ROOT/disparities",
     .group = TRAIN_FILMS,
     .help = "a teacher's maps, frame_000123.npz with disparity, confidence, occlusion; where there is such a folder, "
             "frames without one are left out: panum gt has none for what it rejects"},
    {.name = "positive-anchors",
     .kind = OPTION_FLAG,
     AT(positive_anchors),
     .group = TRAIN_FILMS,
     .help = "the teacher knew nothing behind the screen: only what it has more than 2 px in front counts; anchors of "
             "panum gt have both signs"},
    {.name = "phase1",
     .kind = OPTION_WHOLE,
     .value = "EPOCHS",
     .least = 0,
     .most = 1e6,
     .standard = "5",
     AT(phase1),
     .group = TRAIN_FILMS,
     .help = "at first the encoder stays as it is and the pictures are large"},
    {.name = "phase1-crop",
     .kind = OPTION_TEXT,
     .value = "WxH",
     .standard = "1920x1056",
     AT(phase1_crop),
     .group = TRAIN_FILMS,
     .help = "size of the pictures then"},
    {.name = "phase2",
     .kind = OPTION_WHOLE,
     .value = "EPOCHS",
     .least = 0,
     .most = 1e6,
     .standard = "45",
     AT(phase2),
     .group = TRAIN_FILMS,
     .help = "then everything learns, at the size of --crop"},
    {.name = "lr-encoder",
     .kind = OPTION_REAL,
     .value = "RATE",
     .least = 0,
     .most = 100,
     .standard = "1e-6",
     AT(rate_encoder),
     .group = TRAIN_FILMS,
     .help = "learning rate of the encoder in phase 2"},
    {.name = "translucent",
     .kind = OPTION_FLAG,
     AT(translucent),
     .group = TRAIN_FILMS,
     .help = "a third phase with a loss for translucent things, the encoder kept"},
    {.name = "translucent-epochs",
     .kind = OPTION_WHOLE,
     .value = "EPOCHS",
     .least = 1,
     .most = 1e6,
     .standard = "10",
     AT(translucent_epochs),
     .group = TRAIN_FILMS,
     .help = "how long"},
    {.name = "lr-translucent",
     .kind = OPTION_REAL,
     .value = "RATE",
     .least = 1e-12,
     .most = 100,
     .standard = "2.5e-6",
     AT(rate_translucent),
     .group = TRAIN_FILMS,
     .help = "learning rate then"},
    {.name = "min-delta",
     .kind = OPTION_REAL,
     .value = "X",
     .least = 0,
     .most = 1e9,
     .standard = "0.0005",
     AT(min_delta),
     .group = TRAIN_FILMS,
     .help = "by how much a loss must be lower to count as better"},
    {.name = "reference",
     .kind = OPTION_FLAG,
     AT(reference),
     .group = TRAIN_FILMS,
     .help =
         "the losses as s2m2cinematic published them: block matching of the opposite sign, without zero and without "
         "tests, and all parameters learn; frames are drawn one by one to judge with, as there, neighbours of those "
         "that "
         "are learned from; to compare with"},
    {.name = "output",
     .letter = 'o',
     .kind = OPTION_PATH,
     .value = "FOLDER",
     .standard = "panum-train",
     AT(output),
     .group = "Running",
     .help = "checkpoints, weights, tables and report.html; a folder with checkpoints in it is gone on with"},
    {.name = "overfit",
     .kind = OPTION_PATHS,
     .value = "FRAME",
     AT(overfit),
     .group = "Running",
     .help =
         "a quick test instead: so many --steps (100) of phase 1 of the recipe for films on this frame alone, and a "
         "table of before and after: a file with both eyes, the left one of left/ and right/, or with --films the name "
         "or number of a frame there; may be repeated; keeps nothing"},
    {.name = "check-data",
     .kind = OPTION_FLAG,
     AT(check_data),
     .group = "Running",
     .help = "only read every sample of --data, --films and --validate once, and tell which cannot be read or cannot "
             "be right"},
    {.name = "resume",
     .kind = OPTION_FLAG,
     .standard = "on",
     AT(resume),
     .group = "Running",
     .help = "begin anew, removing the checkpoints that are there, instead of going on with them"},
    {.name = "resume-anyway",
     .kind = OPTION_FLAG,
     AT(resume_anyway),
     .group = "Running",
     .help = "go on with the settings given now where they differ from those it was begun with"},
    {.name = "validate-every",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = 1e9,
     AT(validate_every),
     .shown = "500, or an epoch of films",
     .group = "Running",
     .help = "steps between measurements on samples that are never trained on"},
    {.name = "validate",
     .kind = OPTION_PATH,
     .value = "PATH",
     AT(validate),
     .group = "Running",
     .help = "measure on pairs with truth from there too, as --data takes them"},
    {.name = "validate-samples",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = 10000,
     .standard = "24",
     AT(validate_samples),
     .group = "Running",
     .help = "how many of them"},
    {.name = "checkpoint-every",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = 1e9,
     .standard = "250",
     AT(checkpoint_every),
     .group = "Running",
     .help = "steps between checkpoints: so much is lost at most"},
    {.name = "log-every",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = 1e9,
     .standard = "10",
     AT(log_every),
     .group = "Running",
     .help = "steps in a row of log.csv"},
    {.name = "patience",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 0,
     .most = 1e9,
     .shown = "0; 7 for films",
     AT(patience),
     .group = "Running",
     .help = "stop after so many measurements in a row without a better one; 0: never"},
    {.name = "hours",
     .kind = OPTION_REAL,
     .value = "H",
     .least = 0,
     .most = 1e5,
     .standard = "0",
     AT(hours),
     .group = "Running",
     .help = "stop after this time, as Ctrl-C would; 0: never"},
    OPTION_DEVICE(TrainOptions, device, "Running"),
    {.name = "precision",
     .kind = OPTION_CHOICE,
     .value = "P",
     .choices = "f32|f16|bf16",
     .standard = "f32",
     AT(precision),
     .group = "Running",
     .help =
         "of values and their gradients on a GPU: f16, with a loss scale that finds itself, or bf16 (sm_80 on) take "
         "less memory and use the tensor cores; weights, their gradients, losses and disparities stay f32, and on "
         "the CPU everything does"},
    OPTION_THREADS(TrainOptions, threads, "Running"),
    {.name = "loader-threads",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 0,
     .most = 64,
     .standard = "1",
     AT(loader_threads),
     .group = "Running",
     .help = "threads that make samples meanwhile; the samples are the same for any number"},
    {.name = "recompute",
     .kind = OPTION_PATHS,
     .value = "SCOPE",
     AT(recompute),
     .group = "Running",
     .help = "compute results of such parts of the network (refiner*) twice instead of keeping them: less memory, more "
             "time; may be repeated"},
    OPTION_PROGRESS(TrainOptions, progress),
    {.name = "json",
     .kind = OPTION_FLAG,
     AT(json),
     .group = "Talking",
     .help = "one JSON object on standard output at the end"},
    OPTIONS_TALK(TrainOptions, talk),
};

int app_train(int argc, char **argv);
const Verb verb_train = {
    .name = "train",
    .operands = "stereo",
    .words = "stereo",
    .summary = "train the stereo matcher, from scratch or from weights, and report how good it gets",
    .description =
        "Trains S2M2 to find signed disparity, on scenes that panum draws itself. The folder gets checkpoints, "
        "log.csv, "
        "validation.csv, report.html (curves, figures by sign, the worst pictures) and best.safetensors, the weights "
        "with the lowest error, where both eyes see, on samples that were never trained on: panum match --weights "
        "takes them. The "
        "translucent "
        "phase has a best-translucent.safetensors of its own.\n\n"
        "It may be stopped at any instant. The same command, or just the folder, goes on from the last checkpoint, and "
        "what comes out is, bit for bit, what an unbroken run gives. Results depend on the seed, not on threads.",
    .examples = "  panum train stereo --steps 20000 -o runs/a     trains XS from scratch\n"
                "  panum train stereo -o runs/a                   goes on where it stopped\n"
                "  panum train stereo --init runs/a/best.safetensors --lr 1e-4 -o runs/b\n"
                "  panum train stereo --init s2m2-L.pth --size L --films /films --phase1 5 --phase2 45 -o runs/c\n"
                "  panum train stereo --init s2m2-L.pth --size L --overfit frame_001000.jpg --steps 100\n"
                "  panum train stereo --films gt/ --init s2m2-L.pth --size L --overfit 1000",
    .least = 1,
    .most = 1,
    .run = app_train,
    .options = options,
    .count = sizeof options / sizeof *options,
};

static void tell(const char *sentence) {
    say_always("panum train: %s; using an older one", sentence);
}

/* What is not given and depends on what is trained. */
static void fill_in(TrainOptions *o, const Parsed *parsed) {
    bool films = o->films || o->overfit.count;
    if (!o->crop && !o->overfit.count) o->crop = films ? "960x512" : "256x128";
    if (!films) {
        if (!o->validate_every) o->validate_every = 500;
        return;
    }
    if (!option_given(&verb_train, parsed, "batch")) o->batch = 1;
    if (!option_given(&verb_train, parsed, "lr")) o->rate = 1e-5;
    if (!option_given(&verb_train, parsed, "clip")) o->clip = 5;
    if (!option_given(&verb_train, parsed, "average")) o->average = 0;
    if (!option_given(&verb_train, parsed, "schedule")) o->schedule = TRAIN_CONSTANT;
    if (!option_given(&verb_train, parsed, "patience")) o->patience = 7;
    if (o->overfit.count && !option_given(&verb_train, parsed, "steps")) o->steps = 100;
}

/* Options again, with what the checkpoint says where nothing is given now. */
static int merge(const Checkpoint *from, int argc, char **argv, TrainOptions *o, Parsed *parsed, Parsed *merged) {
    int count;
    char **arguments;
    int code = settings_arguments(&verb_train, parsed, from, argc, argv, parsed->arena, &count, &arguments);
    if (code) return code;
    memset(o, 0, sizeof *o);
    code = options_parse(&verb_train, count, arguments, o, merged);
    if (!code) fill_in(o, merged);
    if (!code && !o->resume_anyway) code = settings_compare(&verb_train, o, from, parsed->arena);
    return code;
}

/* A precision that is asked for now, and not by an earlier run, must be possible where it is asked to be. */
static int check_precision(const TrainOptions *o, const Parsed *parsed) {
    DeviceChoice device;
    if (!o->precision || !option_given(&verb_train, parsed, "precision")) return 0;
    if (!device_choice(o->device, &device) || device.kind != DEVICE_CPU) return 0;
    return usage_error(&verb_train, "--precision %s is for a GPU; training on the CPU is f32",
                       o->precision == GPU_F16 ? "f16" : "bf16");
}

static int train(int argc, char **argv, TrainOptions *o, Parsed *parsed) {
    int lock;
    bool was_there = access(o->output, F_OK) == 0;
    int made = 0, code = folder_make_above(o->output, &made);
    if (!code) code = folder_lock(o->output, o->output, &lock);
    if (code) return code;
    out_sweep(o->output);
    Checkpoint *from = NULL;
    Parsed merged = {0};
    if (o->resume) code = checkpoint_newest(o->output, tell, &from);
    if (!code && from) code = merge(from, argc, argv, o, parsed, &merged);
    if (!code) code = train_stereo(&verb_train, o, parsed->arena, from);
    checkpoint_close(from);
    if (merged.arena) parsed_free(&merged);
    if (code && !was_there) folder_unmake(o->output, made);
    close(lock);
    return code;
}

static int check(const TrainOptions *o, Arena *arena) {
    int count = o->data.count;
    const char **pairs = arena_alloc(arena, ((size_t)count + 1) * sizeof *pairs);
    if (!pairs) return ERR_MEMORY;
    for (int i = 0; i < count; i++) pairs[i] = o->data.items[i];
    if (o->validate) pairs[count++] = o->validate;
    if (!count && !o->films)
        return usage_error(&verb_train, "--check-data reads what --data, --films or --validate name; synthetic scenes "
                                        "are made and need no check");
    DataCheckOptions what = {.pairs = pairs,
                             .pair_count = count,
                             .films = o->films,
                             .anchors = o->anchors,
                             .threads = (int)o->threads,
                             .json = o->json,
                             .progress = (ProgressStyle)o->progress};
    return data_check(&what);
}

int app_train(int argc, char **argv) {
    TrainOptions o = {0};
    Parsed parsed;
    int code = options_parse(&verb_train, argc, argv, &o, &parsed);
    if (code) return code;
    code = talk_begin(&o.talk);
    if (!code && strcmp(parsed.operands[0], "stereo") != 0)
        code = usage_error(&verb_train, "'%s' is nothing that can be trained; write panum train stereo",
                           show_path(parsed.operands[0]));
    if (!code) fill_in(&o, &parsed);
    if (!code) code = check_precision(&o, &parsed);
    if (!code && o.check_data) {
        code = check(&o, parsed.arena);
    } else if (!code && o.overfit.count) {
        int crop[2] = {0};
        if (o.crop) code = train_parse_crop(&verb_train, "crop", o.crop, crop);
        if (!code) code = train_overfit(&verb_train, &o, crop, parsed.arena);
    } else if (!code) {
        code = train(argc, argv, &o, &parsed);
    }
    parsed_free(&parsed);
    return code;
}
