/* apps/gt.c - anchors for training from 3-D films: the options, and the order of the work. */
#include "apps/gt.h"
#include "apps/lib/model_files.h"
#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAYOUT_CHOICES "auto|mono|sbs|hsbs|tb|htb|pair|mpo|rows|cross"

#define AT(field) .at = offsetof(GtOptions, field)
static const Option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = OPTION_PATH,
     .value = "FOLDER",
     AT(output),
     .group = "Output",
     .help = "gets disparities/ with the anchors, manifest.jsonl and report.html; of videos also left/, right/ and "
             "film_structure.json; made when missing"},
    OPTION_OVERWRITE(GtOptions, overwrite, "Output"),
    {.name = "dry-run",
     .letter = 'n',
     .kind = OPTION_FLAG,
     AT(dry_run),
     .group = "Output",
     .help = "list the films and how many of their frames would be picked, and do nothing"},
    {.name = "pictures",
     .kind = OPTION_CHOICE,
     .value = "FORM",
     .choices = "jpg|png",
     .standard = "jpg",
     AT(pictures),
     .group = "Output",
     .help = "how the eyes of a video's frames are kept: jpg (quality 95, full colour resolution) or png (exact)"},
    {.name = "meta",
     .kind = OPTION_FLAG,
     .standard = "on",
     AT(meta),
     .group = "Output",
     .help = "leave version and command line out of the anchors"},
    {.name = "json",
     .kind = OPTION_FLAG,
     AT(json),
     .group = "Output",
     .help = "the counts as one JSON object on standard output"},
    {.name = "resume",
     .kind = OPTION_FLAG,
     .standard = "on",
     AT(resume),
     .group = "Output",
     .help = "drop what earlier runs left in the output and begin anew"},

    {.name = "per-film",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = FILM_FRAMES_MAX,
     .standard = "2500",
     AT(per_film),
     .group = "Frames",
     .help = "pick at most so many frames of a film, evenly spread, each moved by up to a fifth of the step by chance"},
    {.name = "full-film",
     .kind = OPTION_PATHS,
     .value = "NAME",
     AT(full),
     .group = "Frames",
     .help = "pick all frames of the film of this name; may be repeated"},
    {.name = "seed",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 0,
     .most = 1e15,
     .standard = "2026",
     AT(seed),
     .group = "Frames",
     .help = "of the chance by which frames are moved"},
    {.name = "shots",
     .kind = OPTION_FLAG,
     .standard = "on",
     AT(shots),
     .group = "Frames",
     .help = "do not look for cuts; finding them reads every frame of a film once"},
    {.name = "reuse",
     .kind = OPTION_PATH,
     .value = "FOLDER",
     AT(reuse),
     .group = "Frames",
     .help = "take anchors that lie there, under the same names, instead of matching; they are judged all the same"},

    {.name = "layout",
     .kind = OPTION_CHOICE,
     .value = "L",
     .choices = LAYOUT_CHOICES,
     .standard = "auto",
     AT(layout),
     .group = "Input",
     .help = "how the eyes lie in a frame: " LAYOUT_CHOICES},
    {.name = "swap-eyes",
     .kind = OPTION_FLAG,
     AT(swap_eyes),
     .group = "Input",
     .help = "the left picture is the right eye's, in all films of this run"},
    {.name = "ignore-crc",
     .kind = OPTION_FLAG,
     AT(ignore_crc),
     .group = "Input",
     .help = "read PNG files whose checksums are wrong"},
    {.name = "lenient",
     .kind = OPTION_FLAG,
     AT(lenient),
     .group = "Input",
     .help = "read JPEG files and films that break off as far as they go"},

    {.name = "reject",
     .kind = OPTION_TEXT,
     .value = "LIST",
     AT(reject),
     .shown = "all",
     .group = "Rejection",
     .help =
         "what makes a frame be left out: all, none, or some of blank,mono,swapped,vertical,confidence,consistency; "
         "what cannot be read always is"},
    {.name = "max-vertical",
     .kind = OPTION_REAL,
     .value = "ROWS",
     .least = 0,
     .most = 1000,
     .unit = "px",
     .standard = "2",
     AT(vertical),
     .group = "Rejection",
     .help = "vertical offset between the eyes that is still allowed"},
    {.name = "min-confidence",
     .kind = OPTION_FRACTION,
     .value = "C",
     .least = 0,
     .most = 1,
     .standard = "0.5",
     AT(confidence),
     .group = "Rejection",
     .help = "mean confidence below which a frame is left out"},
    {.name = "min-consistent",
     .kind = OPTION_FRACTION,
     .value = "S",
     .least = 0,
     .most = 1,
     .standard = "0.8",
     AT(consistent),
     .group = "Rejection",
     .help = "share of the trusted pixels on which matching left to right and right to left must agree"},
    {.name = "check",
     .kind = OPTION_FLAG,
     .standard = "on",
     AT(check),
     .group = "Rejection",
     .help = "do not match from right to left as well: half the time, and anchors keep pixels that nothing confirms"},

    OPTION_MODEL(GtOptions, model),
    OPTION_WEIGHTS(GtOptions, weights),
    {.name = "range",
     .kind = OPTION_RANGE,
     .value = "LO:HI",
     .least = -32768,
     .most = 32768,
     AT(range),
     .shown = "found in each frame",
     .group = "Matching",
     .help = "disparities to search, in pixels (-64:64) or in % of the width (-3:3%); chooses sgm"},
    {.name = "positive",
     .kind = OPTION_FLAG,
     AT(positive),
     .group = "Matching",
     .help = "nothing is behind the screen (d >= 0)"},
    {.name = "behaviour",
     .kind = OPTION_CHOICE,
     .value = "R",
     .choices = "r1|r2|r3",
     .standard = "r3",
     .shown = "r3; r2 with --reference",
     AT(behaviour),
     .group = "Matching",
     .help = "which published state of the s2m2 code to compute as"},
    OPTION_PRECISION(GtOptions, precision),
    OPTION_REFINE_ITER(GtOptions, refine_iter),
    {.name = "reference",
     .kind = OPTION_FLAG,
     AT(reference),
     .group = "Matching",
     .help = "as s2m2cinematic's prepare_gt does it: --positive, the upper left part of each eye with sides that are "
             "multiples of 32, no check, no rejection, anchors in the frames' own disparities/ reused; frames are "
             "picked by its rule with our own chance"},

    OPTION_DEVICE(GtOptions, device, "Machine"),
    OPTION_THREADS(GtOptions, threads, "Machine"),
    OPTION_MAX_MEMORY(GtOptions, max_memory),
    OPTION_PROGRESS(GtOptions, progress),
    OPTIONS_TALK(GtOptions, talk),
};

int app_gt(int argc, char **argv);
const Verb verb_gt = {
    .name = "gt",
    .operands = "INPUT...",
    .summary = "make training anchors from 3-D films: pick frames, match them, reject bad ones, report",
    .description =
        "INPUT is a folder of frames with both eyes (ROOT/frames/sbs/frame_000123.jpg or ROOT/left and ROOT/right, "
        "with "
        "film_structure.json where there are several films), or videos, or a folder of videos. Of each film frames are "
        "picked, looked at and matched from left to right and from right to left. A frame that is kept becomes an "
        "anchor, disparities/frame_000123.npz: disparity (float32), confidence and occlusion (float16); confidence is "
        "0 "
        "where the two directions disagree. Of videos the eyes' pictures are kept as well, so that the output is a "
        "folder of frames with anchors that training can read.\n\n"
        "A frame is left out when it is blank, when both eyes show the same picture, when the eyes look swapped or one "
        "lies lower, when the matcher is not sure or its two directions disagree, and when it cannot be read. "
        "manifest.jsonl says of every frame what became of it and why, report.html shows it.\n\n"
        "Shots are found by hard cuts between neighbouring frames; a dissolve stays one shot.\n\n"
        "The same command again goes on where a run was interrupted, and adds what is missing when there are more "
        "frames, more films or a larger --per-film; what it knows is in gt.work in the output. Other settings of "
        "matching or rejection ask for --no-resume.",
    .examples = "  panum gt films/ -o gt/ --per-film 500\n"
                "  panum gt left_first.mkv -o gt/ --per-film 200 --pictures png\n"
                "  panum gt frames/ -o anchors/ --reference --weights CH384NTR3.pth --model s2m2-XL",
    .least = 1,
    .most = -1,
    .run = app_gt,
    .options = options,
    .count = sizeof options / sizeof *options,
};

/* ---- what was asked for ---- */

static int parse_reject(const GtOptions *o, bool reject[ANCHOR_REASONS]) {
    const char *text = o->reject ? o->reject : o->reference ? "none" : "all";
    bool all = strcmp(text, "all") == 0;
    for (int r = 0; r < ANCHOR_REASONS; r++) reject[r] = all || r == ANCHOR_UNREADABLE;
    if (all || strcmp(text, "none") == 0) return 0;
    for (const char *at = text;; at++) {
        size_t n = strcspn(at, ",");
        int found = 0;
        for (int r = ANCHOR_BLANK; r < ANCHOR_REASONS; r++)
            if (strlen(anchor_reason_names[r]) == n && strncmp(at, anchor_reason_names[r], n) == 0) found = r;
        if (!found)
            return usage_error(&verb_gt,
                               "--reject: '%s' is not all, none, or some of blank,mono,swapped,vertical,confidence,"
                               "consistency with commas between",
                               show_path(text));
        reject[found] = true;
        at += n;
        if (!*at) return 0;
    }
}

/* What --reference stands for. */
static int settle_options(GtOptions *o, const Parsed *parsed) {
    if (!o->output) return usage_error(&verb_gt, "-o FOLDER is missing");
    if (!o->reference) return 0;
    o->positive = true;
    if (!option_given(&verb_gt, parsed, "check")) o->check = false;
    if (!option_given(&verb_gt, parsed, "behaviour")) o->behaviour = BEHAVIOUR_R2;
    return 0;
}

static MatcherOptions matcher_options(const GtOptions *o) {
    MatcherOptions how = matcher_defaults();
    how.model = (MatcherModel)o->model;
    how.weights = o->weights;
    how.ranged = o->range.given;
    how.low = o->range.low, how.high = o->range.high, how.percent = o->range.percent;
    how.positive = o->positive;
    how.threads = (int)o->threads;
    how.max_memory = o->max_memory;
    how.behaviour = (MatcherBehaviour)o->behaviour;
    how.precision = (MatcherPrecision)o->precision;
    how.refine_iter = (int)o->refine_iter;
    how.device = o->where;
    return how;
}

static bool watch(void *context, double done) {
    (void)context, (void)done;
    return run_stopped();
}

/* ---- the output ---- */

enum { SETTINGS_MAX = 32 };
typedef struct {
    JournalSetting item[SETTINGS_MAX];
    int count;
} Settings;

static void setting(Settings *s, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void setting(Settings *s, const char *name, const char *format, ...) {
    char text[JOURNAL_TEXT];
    va_list args;
    BUG_IF(s->count == SETTINGS_MAX, "too many settings");
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->item[s->count].name = name;
    err_printable(s->item[s->count].value, sizeof s->item[s->count].value, text);
    s->count++;
}

/* The file of weights as it is now: other ones under the same name make other anchors. */
static void note_weights(const Gt *gt, Settings *s) {
    char found[4096] = "";
    struct stat st;
    MatcherModel model = matcher_model(gt->matcher);
    if (model != MODEL_SGM && gt->o->weights) snprintf(found, sizeof found, "%s", gt->o->weights);
    if (model != MODEL_SGM && !gt->o->weights && !model_file_find(model, found, sizeof found)) *found = 0;
    if (*found && stat(found, &st) == 0)
        setting(s, "weights", "%lld bytes of %lld", (long long)st.st_size, (long long)st.st_mtime);
    else
        setting(s, "weights", "%s", "none");
}

/* All on which it depends what becomes of a frame. Which frames are picked may change from run to run, and swapped eyes
 * are noted with each frame. */
static void note_settings(const Gt *gt, Settings *s) {
    const GtOptions *o = gt->o;
    char reject[200] = "";
    for (int r = ANCHOR_BLANK; r < ANCHOR_REASONS; r++)
        if (gt->limits.reject[r])
            snprintf(reject + strlen(reject), sizeof reject - strlen(reject), "%s%s", *reject ? "," : "",
                     anchor_reason_names[r]);
    setting(s, "panum", "%s", PANUM_VERSION);
    setting(s, "input", "%s", gt->is_set ? gt->root : "videos");
    setting(s, "--model", "%s", matcher_model_name(matcher_model(gt->matcher)));
    setting(s, "--weights", "%s", o->weights ? o->weights : "");
    note_weights(gt, s);
    if (o->range.given)
        setting(s, "--range", "%g:%g%s", o->range.low, o->range.high, o->range.percent ? "%" : "");
    else
        setting(s, "--range", "%s", "");
    setting(s, "--positive", "%d", o->positive);
    setting(s, "--behaviour", "r%d", o->behaviour + 1);
    setting(s, "--precision", "%s", matcher_precision_name((MatcherPrecision)o->precision));
    setting(s, "--refine-iter", "%d", (int)o->refine_iter);
    setting(s, "--reference", "%d", o->reference);
    setting(s, "--max-memory", "%lld", (long long)o->max_memory);
    setting(s, "--layout", "%s", layout_name((StereoLayout)o->layout));
    setting(s, "--check", "%d", o->check);
    setting(s, "--reject", "%s", reject);
    setting(s, "--max-vertical", "%g", o->vertical);
    setting(s, "--min-confidence", "%g", o->confidence);
    setting(s, "--min-consistent", "%g", o->consistent);
    setting(s, "--pictures", "%s", o->pictures ? "png" : "jpg");
    setting(s, "--ignore-crc", "%d", o->ignore_crc);
    setting(s, "--lenient", "%d", o->lenient);
}

/* What is written when all frames are done; the last one for videos only. */
enum { SUMMARIES = 3 };
static const char *summary_path(const Gt *gt, int index, char path[GT_PATH]) {
    static const char *const names[SUMMARIES] = {"manifest.jsonl", "report.html", "film_structure.json"};
    snprintf(path, GT_PATH, "%s/%s", gt->folder, names[index]);
    return path;
}
static int summaries(const Gt *gt) {
    return gt->is_set ? SUMMARIES - 1 : SUMMARIES;
}

/* Files of a frame that an earlier run made and that --no-resume gives up. */
static void drop_frame(void *context, const char *piece) {
    const Gt *gt = context;
    char path[GT_PATH], folder[4100];
    long long number;
    if (sscanf(piece, "frame %18lld", &number) != 1 || number < 0) return;
    snprintf(folder, sizeof folder, "%s/disparities", gt->folder);
    unlink(gt_anchor_path(gt, number, folder, path));
    for (int i = 0; i < summaries(gt); i++) unlink(summary_path(gt, i, path));
    if (gt->is_set) return;
    unlink(gt_picture_path(gt, number, "left", path));
    unlink(gt_picture_path(gt, number, "right", path));
}

/* Anchors and lists that no journal of ours speaks of are somebody's work. */
static int check_foreign(const Gt *gt) {
    char path[GT_PATH], folder[4100];
    struct stat st;
    if (gt->o->overwrite || journal_pieces(gt->journal)) return 0;
    snprintf(folder, sizeof folder, "%s/disparities", gt->folder);
    for (int64_t i = 0; i < gt->film_count; i++) {
        const GtFilm *f = &gt->films[i];
        for (int64_t k = 0; k < (gt->is_set ? f->count : f->picked_count); k++) {
            int64_t number = gt_number_at(gt, f, gt->is_set ? k : f->picked[k]);
            if (stat(gt_anchor_path(gt, number, folder, path), &st) == 0)
                return fail(ERR_USAGE,
                            "%s exists; name another output (with --reuse %s to take what is there), or add -y to "
                            "replace it",
                            show_path(path), show_path(folder));
        }
    }
    for (int i = 0; i < summaries(gt); i++)
        if (stat(summary_path(gt, i, path), &st) == 0)
            return fail(ERR_USAGE, "%s exists; name another output, or add -y to replace it", show_path(path));
    return 0;
}

static int open_journal(Gt *gt) {
    Settings *settings = mem_zero(1, sizeof *settings);
    if (!settings) return ERR_MEMORY;
    note_settings(gt, settings);
    int rc = 0;
    if (mkdir(gt->folder, 0777) != 0 && errno != EEXIST)
        rc = fail(errno == ENOSPC ? ERR_MEMORY : ERR_USAGE, "%s: the folder cannot be made: %s", show_path(gt->folder),
                  strerror(errno));
    if (!rc)
        rc = journal_open(gt->work, gt->folder, settings->item, settings->count,
                          gt->o->resume ? JOURNAL_RESUME : JOURNAL_ANEW, drop_frame, gt, &gt->journal);
    mem_free(settings);
    return rc;
}

static int check_places(Gt *gt) {
    size_t n = strlen(gt->o->output);
    if (n >= sizeof gt->folder - 1) return usage_error(&verb_gt, "the output's name is too long");
    while (n > 1 && gt->o->output[n - 1] == '/') n--;
    snprintf(gt->folder, sizeof gt->folder, "%.*s", (int)n, gt->o->output);
    snprintf(gt->work, sizeof gt->work, "%s/gt.work", gt->folder);
    gt->reuse = gt->o->reuse;
    struct stat st;
    if (stat(gt->folder, &st) == 0 && !S_ISDIR(st.st_mode))
        return fail(ERR_USAGE, "%s: is no folder", show_path(gt->folder));
    if (stat(gt->folder, &st) != 0 && out_check(gt->folder, OUT_NEW)) return err_code();
    if (gt->reuse && (stat(gt->reuse, &st) != 0 || !S_ISDIR(st.st_mode)))
        return fail(ERR_INPUT, "%s: is no folder to take anchors from", show_path(gt->reuse));
    return 0;
}

/* The folder that anchors are taken from must not be the one they are written to; with --reference the frames' own. */
static int settle_reuse(Gt *gt) {
    char folder[4100];
    struct stat a, b;
    snprintf(folder, sizeof folder, "%s/disparities", gt->folder);
    bool has_output = stat(folder, &b) == 0;
    if (!gt->reuse && gt->o->reference && gt->is_set) {
        const char *own = arena_format(gt->arena, "%s/disparities", gt->root);
        if (!own) return ERR_MEMORY;
        if (stat(own, &a) == 0 && S_ISDIR(a.st_mode) && !(has_output && a.st_dev == b.st_dev && a.st_ino == b.st_ino))
            gt->reuse = own;
    } else if (gt->reuse && has_output && stat(gt->reuse, &a) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino) {
        return usage_error(&verb_gt, "--reuse %s: is also where the anchors go; name another output",
                           show_path(gt->reuse));
    }
    return 0;
}

/* ---- the work ---- */

static void tell_films(const Gt *gt) {
    int64_t picked = 0, missing = 0, frames = 0, active = 0;
    for (int64_t i = 0; i < gt->film_count; i++) {
        const GtFilm *f = &gt->films[i];
        if (!f->active) continue;
        picked += f->picked_count, missing += f->missing, frames += f->count, active++;
        if (gt->o->dry_run)
            say("%s: %lld frames, %lld picked", show_path(f->name), (long long)f->count, (long long)f->picked_count);
    }
    if (gt->set.rejected_count)
        say("%lld picture%s cannot be used; of the first, %s: %s", (long long)gt->set.rejected_count,
            gt->set.rejected_count == 1 ? "" : "s", show_path(gt->set.rejected[0].path), gt->set.rejected[0].why);
    if (gt->o->dry_run)
        say("%lld film%s, %lld frames, %lld picked", (long long)active, active == 1 ? "" : "s", (long long)frames,
            (long long)picked);
    else
        say("%lld film%s, %lld frames, %lld picked, %lld of them to do, by %s", (long long)active,
            active == 1 ? "" : "s", (long long)frames, (long long)picked, (long long)missing,
            matcher_model_name(matcher_model(gt->matcher)));
}

/* The manifest and the report, whatever became of the run; its failure comes first. */
static int finish(Gt *gt, int rc) {
    char sentence[1024];
    snprintf(sentence, sizeof sentence, "%s", rc ? err_sentence() : "");
    int end = gt_write_manifest(gt);
    if (!end) end = gt_write_report(gt);
    if (rc) return fail((ErrCode)rc, "%s", sentence);
    return end;
}

static int work(Gt *gt, const Parsed *parsed) {
    int rc = gt_find(gt, parsed->operands, parsed->operand_count);
    if (!rc && !gt->film_count) rc = fail(ERR_INPUT, "there are no films to pick frames from");
    if (!rc) rc = settle_reuse(gt);
    if (!rc && gt->o->dry_run) {
        rc = gt_pick(gt);
        if (!rc) tell_films(gt);
        return rc;
    }
    MatcherOptions how = matcher_options(gt->o);
    how.watch = watch;
    if (!rc) rc = matcher_open(&how, &gt->matcher);
    if (!rc) rc = open_journal(gt);
    if (!rc) rc = gt_load(gt);
    if (!rc) rc = gt_register(gt);
    if (!rc) rc = gt_pick(gt);
    if (!rc && (rc = check_foreign(gt))) journal_remove(&gt->journal);
    if (!rc && !journal_pieces(gt->journal)) rc = journal_add(gt->journal, "begun");
    if (rc) return rc;
    tell_films(gt);
    if (!gt->is_set) rc = gt_write_structure(gt);
    if (!rc) rc = gt_run(gt);
    rc = finish(gt, rc);
    if (rc) return rc;
    gt_tell(gt);
    if (gt->o->json) gt_print_json(gt);
    for (int64_t i = 0; i < gt->record_count; i++)
        if (!gt->records[i].reason) return 0;
    return fail(ERR_FAILED, "no frame was kept; %s/report.html says why", show_path(gt->folder));
}

static void release(Gt *gt) {
    journal_close(&gt->journal);
    matcher_close(gt->matcher);
    for (int64_t i = 0; i < gt->film_count; i++) mem_free(gt->films[i].picked), mem_free(gt->films[i].cuts);
    mem_free(gt->films), mem_free(gt->records);
    if (gt->set.arena) film_set_free(&gt->set);
    mem_free(gt);
}

int app_gt(int argc, char **argv) {
    GtOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_gt, argc, argv, &o, &parsed);
    if (rc) return rc;
    Gt *gt = mem_zero(1, sizeof *gt);
    if (!gt) rc = ERR_MEMORY;
    if (!rc) rc = settle_options(&o, &parsed);
    if (!rc && o.range.given && o.model >= MODEL_S2M2_XS)
        rc =
            usage_error(&verb_gt, "--range is for sgm; %s looks everywhere", matcher_model_name((MatcherModel)o.model));
    if (!rc) rc = matcher_device_option(&verb_gt, o.device, (MatcherModel)o.model, &o.where);
    if (!rc) rc = talk_begin(&o.talk);
    if (!rc) {
        gt->o = &o;
        gt->arena = parsed.arena;
        gt->limits = (AnchorLimits){.vertical = o.vertical, .confidence = o.confidence, .consistent = o.consistent};
        gt->read = (ReadOptions){.ignore_crc = o.ignore_crc, .lenient = o.lenient};
        gt->command = command_line(gt->arena, argc, argv);
        gt->meta = (FileMeta){.version = "panum " PANUM_VERSION, .command = gt->command};
        if (!gt->command) rc = ERR_MEMORY;
        if (!rc) rc = parse_reject(&o, gt->limits.reject);
        if (!rc) rc = check_places(gt);
        talk_hold();
        if (!rc) rc = work(gt, &parsed);
        talk_release(rc == 0);
    }
    if (gt) release(gt);
    parsed_free(&parsed);
    return rc;
}
