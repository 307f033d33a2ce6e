/* apps/match.c - stereo pictures to signed disparity: the options, and stills. What is to be done with them is planned
 * in apps/match_plan.c; films have apps/match_film.c. */
#include "apps/match.h"
#include "apps/lib/model_files.h"
#include "apps/lib/pair.h"
#include "apps/lib/ply.h"
#include "apps/lib/progress.h"
#include "apps/match_film.h"
#include "base/err.h"
#include "base/json.h"
#include "data/stereo.h"
#include "data/video.h"

#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In the order of StereoLayout. */
#define LAYOUT_CHOICES "auto|mono|sbs|hsbs|tb|htb|pair|mpo|rows|cross"

#define AT(field) .at = offsetof(MatchOptions, field)
static const Option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = OPTION_PATHS,
     .value = "PATH",
     AT(outputs),
     .shown = "NAME_disparity.npz and NAME_disparity.png beside the input",
     .group = "Output",
     .help = "what to write, by ending: " OUTPUT_ENDINGS
             " (.png is a colour map); may be repeated; a name that ends in / or "
             "is a folder gets NAME_disparity.npz and NAME_disparity.png in it"},
    {.name = "anaglyph",
     .kind = OPTION_PATH,
     .value = "FILE",
     AT(anaglyph),
     .group = "Output",
     .help = "also the pair for red-cyan glasses, as .png (Dubois); a folder gets NAME_anaglyph.png in it"},
    {.name = "map-range",
     .kind = OPTION_LENGTH,
     .value = "R",
     .least = 0.001,
     .most = 32768,
     AT(map_range),
     .shown = "found in the map",
     .group = "Output",
     .help = "disparity at full colour in the colour map, to both sides: 3% of the width, or 24 pixels"},
    {.name = "palette",
     .kind = OPTION_CHOICE,
     .value = "P",
     .choices = "default|cvd",
     .standard = "default",
     AT(palette),
     .group = "Output",
     .help = "colours of the colour map: red in front and blue behind, or orange and blue for colour-blind eyes (cvd)"},
    {.name = "calib",
     .kind = OPTION_PATH,
     .value = "FILE",
     AT(calib),
     .group = "Output",
     .help = "calibration for .ply, as Middlebury, ETH3D and KITTI have it"},
    {.name = "fov",
     .kind = OPTION_REAL,
     .value = "DEGREES",
     .least = 1,
     .most = 179,
     .unit = "deg",
     AT(fov),
     .group = "Output",
     .help = "horizontal field of view for .ply, when there is no calibration"},
    OPTION_OVERWRITE(MatchOptions, overwrite, "Output"),
    {.name = "dry-run",
     .letter = 'n',
     .kind = OPTION_FLAG,
     AT(dry_run),
     .group = "Output",
     .help = "say what would be done, and do nothing"},
    {.name = "quantity",
     .kind = OPTION_CHOICE,
     .value = "WHAT",
     .choices = "disparity|parallax",
     .standard = "disparity",
     AT(quantity),
     .group = "Output",
     .help = "what .pfm, .npy and .d16.png hold: disparity (x_left - x_right) or parallax (its negative), in pixels"},
    {.name = "reference",
     .kind = OPTION_CHOICE,
     .value = "EYE",
     .choices = "left|right",
     .standard = "left",
     AT(reference),
     .group = "Output",
     .help = "the picture whose pixels the maps belong to"},
    {.name = "meta",
     .kind = OPTION_FLAG,
     .standard = "on",
     AT(meta),
     .group = "Output",
     .help = "leave version and command line out of the files"},
    {.name = "json",
     .kind = OPTION_FLAG,
     AT(json),
     .group = "Output",
     .help = "one JSON object per picture on standard output"},

    {.name = "layout",
     .kind = OPTION_CHOICE,
     .value = "L",
     .choices = LAYOUT_CHOICES,
     .standard = "auto",
     AT(layout),
     .group = "Input",
     .help = "how the eyes lie in one file: " LAYOUT_CHOICES
             " (sbs and tb hold full pictures, hsbs and htb squeezed ones, cross is sbs for crossed eyes)"},
    {.name = "align",
     .kind = OPTION_FLAG,
     AT(align),
     .group = "Input",
     .help = "take out the vertical offset between the eyes that was measured"},
    {.name = "eye-test",
     .kind = OPTION_FLAG,
     .standard = "on",
     AT(eye_test),
     .group = "Input",
     .help = "do not test which eye is which, nor measure the vertical offset"},
    {.name = "swap-eyes",
     .kind = OPTION_FLAG,
     AT(swap_eyes),
     .group = "Input",
     .help = "the left picture is the right eye's"},
    {.name = "scale",
     .kind = OPTION_FRACTION,
     .value = "S",
     .least = 0.01,
     .most = 4,
     .standard = "1",
     AT(scale),
     .group = "Input",
     .help = "match at this size (0.5 or 50%); the maps still have the size and the pixels of the input"},
    {.name = "ignore-crc",
     .kind = OPTION_FLAG,
     AT(ignore_crc),
     .group = "Input",
     .help = "read PNG files whose checksums are wrong, with a warning"},
    {.name = "lenient",
     .kind = OPTION_FLAG,
     AT(lenient),
     .group = "Input",
     .help = "read JPEG files and films that break off as far as they go, with a warning"},
    {.name = "keep-going",
     .kind = OPTION_FLAG,
     AT(keep_going),
     .group = "Input",
     .help = "go on with the next picture after a failure, and exit with 1 at the end"},

    {.name = "start",
     .kind = OPTION_TEXT,
     .value = "TIME",
     AT(start),
     .group = "Films",
     .help = "begin here: 62.5 (seconds), 1:02:03, or 1500f (frames)"},
    {.name = "end", .kind = OPTION_TEXT, .value = "TIME", AT(end), .group = "Films", .help = "end before this time"},
    {.name = "frames",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = 1e9,
     AT(frames),
     .shown = "all",
     .group = "Films",
     .help = "match at most so many frames"},
    {.name = "every",
     .kind = OPTION_WHOLE,
     .value = "N",
     .least = 1,
     .most = 1e6,
     .standard = "1",
     AT(every),
     .group = "Films",
     .help = "match every N-th frame"},
    {.name = "resume",
     .kind = OPTION_FLAG,
     .standard = "on",
     AT(resume),
     .group = "Films",
     .help = "begin anew instead of going on where an interrupted run stopped"},
    {.name = "video",
     .kind = OPTION_FLAG,
     .standard = "on",
     AT(video),
     .group = "Films",
     .help = "no colour-map video beside the maps in a folder"},

    OPTION_MODEL(MatchOptions, model),
    OPTION_WEIGHTS(MatchOptions, weights),
    {.name = "range",
     .kind = OPTION_RANGE,
     .value = "LO:HI",
     .least = -32768,
     .most = 32768,
     AT(range),
     .shown = "found in the picture",
     .group = "Matching",
     .help = "disparities to search, in pixels (-64:64) or in % of the width (-3:3%); chooses sgm, the other models "
             "look everywhere"},
    {.name = "positive",
     .kind = OPTION_FLAG,
     AT(positive),
     .group = "Matching",
     .help = "nothing is behind the screen (d >= 0), as with cameras side by side that do not converge"},
    {.name = "behaviour",
     .kind = OPTION_CHOICE,
     .value = "R",
     .choices = "r1|r2|r3",
     .standard = "r3",
     AT(behaviour),
     .group = "Matching",
     .help = "which published state of the s2m2 code to compute as: r1 (of October 2025), r2 (January 2026), r3 (April "
             "2026)"},
    {.name = "exact",
     .kind = OPTION_FLAG,
     AT(exact),
     .group = "Matching",
     .help = "s2m2: no shortcuts in the arithmetic, as close to the definition as f32 allows; slower"},
    OPTION_PRECISION(MatchOptions, precision),
    OPTION_REFINE_ITER(MatchOptions, refine_iter),

    OPTION_DEVICE(MatchOptions, device, "Machine"),
    OPTION_THREADS(MatchOptions, threads, "Machine"),
    OPTION_MAX_MEMORY(MatchOptions, max_memory),
    OPTION_PROGRESS(MatchOptions, progress),
    OPTIONS_TALK(MatchOptions, talk),
};

int app_match(int argc, char **argv);
const Verb verb_match = {
    .name = "match",
    .operands = "A [B]",
    .summary = "match a stereo picture or film: signed disparity, confidence and occlusion",
    .description =
        "A and B are the left and the right picture, or A alone holds both: side by side, top and bottom, MPO, JPS. "
        "Folders work "
        "as well: A full of such pictures, or A and B with the left and the right ones in the same order. Of a picture "
        "of odd width that holds both eyes the middle column is left out, which is said.\n\n"
        "A film is a video file, a y4m stream (- is standard input), or a folder with left/ and right/ or NAME_left "
        "and "
        "NAME_right in it; A holds both eyes, or A and B one each. Any folder is taken as a film's frames when an "
        "option "
        "of films is given or the output is a video. A film is written to a folder, which gets one .npz per frame and "
        "a "
        "colour-map video; to a video of colour maps (.mkv, .mp4); or to - as y4m. An interrupted run goes on when the "
        "same command is given again.\n\n"
        "Disparity is x in the left picture minus x in the right one, in pixels of the left picture: "
        "positive stands in front "
        "of the screen, negative behind it. Parallax is its negative. Films stay within about 3 % of the "
        "width on either side; "
        "public s2m2 weights are good to about -40 px and poor far beyond.\n\n"
        "The first lines say who matches and what was decided about the input, the last one sums up what was found.",
    .examples = "  panum match left.png right.png -o d.pfm -o d.npz -o d.png\n"
                "  panum match sbs.jpg --layout sbs --quantity parallax -y -o p.npz\n"
                "  panum match left.png right.png --range -3:3% --quantity parallax -o p.d16.png\n"
                "  panum match film.mkv -o out/ --frames 48",
    .least = 1,
    .most = 2,
    .run = app_match,
    .options = options,
    .count = sizeof options / sizeof *options,
};

/* ---- one job -------------------------------------------------------------------------------------------------------
 */

typedef struct {
    StereoPair pair;
    StereoMeasure measure;
    bool measured;
    char decided[500]; /* "full side by side 1280x480 (file name), 640x480 an eye, left first (tested 0.93)" */
} Input;

/* Confidence from which a measured vertical offset is told and, when asked, taken out: half of the blocks that were
 * found lie within 3 rows of each other. */
static const double VERTICAL_TRUST = 0.4;

/* What was decided about the eyes, with its evidence, as the first line for people. */
static void describe_input(const MatchOptions *o, Input *in) {
    const StereoPair *p = &in->pair;
    const StereoMeasure *m = &in->measure;
    char *to = in->decided, *end = to + sizeof in->decided;
    if (p->decision.layout == LAYOUT_PAIR)
        to += snprintf(to, (size_t)(end - to), "pair of %s, %dx%d", p->notes.format ? p->notes.format : "pictures",
                       p->left.width, p->left.height);
    else
        to += snprintf(to, (size_t)(end - to), "%s (from %s), %dx%d an eye", layout_words(p->decision.layout),
                       p->decision.evidence, p->left.width, p->left.height);
    if (p->decision.layout != LAYOUT_PAIR)
        to += snprintf(to, (size_t)(end - to), ", %s first", p->decision.right_first ? "right" : "left");
    if (o->swap_eyes) to += snprintf(to, (size_t)(end - to), ", eyes swapped as asked");
    if (!in->measured) return;
    if (fabs(m->eye_order) >= 0.7) to += snprintf(to, (size_t)(end - to), ", eye test %+.2f", m->eye_order);
    if (m->vertical_confidence >= VERTICAL_TRUST)
        snprintf(to, (size_t)(end - to), ", vertical offset %+.2f px%s", m->vertical,
                 o->align && m->vertical != 0 ? " taken out" : "");
}

static void warn_about(const Job *job, const MatchOptions *o, const Input *in) {
    const StereoMeasure *m = &in->measure;
    for (int i = 0; i < in->pair.notes.count; i++) say("%s: %s", show_path(job->left), in->pair.notes.text[i]);
    if (!in->measured || in->pair.identical) return;
    if (m->eye_order <= -0.7)
        say("%s: eyes look swapped (eye test %+.2f): what is in front will seem behind; %s", show_path(job->left),
            m->eye_order, o->swap_eyes ? "leave --swap-eyes out" : "add --swap-eyes, or --no-eye-test to silence this");
    if (o->align && m->vertical_confidence < VERTICAL_TRUST)
        say("%s: the vertical offset could not be measured, so --align takes nothing out", show_path(job->left));
    /* matching runs along rows: beyond a pixel it suffers */
    if (m->vertical_confidence >= VERTICAL_TRUST && fabs(m->vertical) >= 1 && !o->align)
        say("%s: the right eye lies %.1f px %s; add --align to take that out", show_path(job->left), fabs(m->vertical),
            m->vertical > 0 ? "lower" : "higher");
}

static int read_input(const Job *job, const MatchOptions *o, Input *in) {
    memset(in, 0, sizeof *in);
    StereoOptions how = {.layout = (StereoLayout)o->layout,
                         .swap_eyes = o->swap_eyes,
                         .read = {.ignore_crc = o->ignore_crc, .lenient = o->lenient}};
    int rc = stereo_read(job->left, job->right, &how, &in->pair);
    if (rc) return rc;
    if (in->pair.decision.layout == LAYOUT_MONO)
        rc = fail(ERR_INPUT,
                  "%s: holds one picture and no second eye (%s); give the other eye's file as well, or say --layout",
                  show_path(job->left), in->pair.decision.evidence);
    if (!rc && o->eye_test) {
        rc = stereo_measure(&in->pair.left, &in->pair.right, &in->measure);
        in->measured = !rc;
    }
    if (rc)
        stereo_pair_free(&in->pair);
    else
        describe_input(o, in);
    return rc;
}

static void print_json(const Job *job, const Input *in, const Matcher *matcher, const PairSummary *s) {
    char quoted[2048];
    printf("{\"left\":%s,", json_quote(quoted, sizeof quoted, job->left));
    if (job->right) printf("\"right\":%s,", json_quote(quoted, sizeof quoted, job->right));
    const StereoPair *p = &in->pair;
    printf("\"width\":%d,\"height\":%d,\"layout\":\"%s\",\"right_first\":%s,", p->left.width, p->left.height,
           layout_name(p->decision.layout), p->decision.right_first ? "true" : "false");
    printf("\"evidence\":%s,", json_quote(quoted, sizeof quoted, p->decision.evidence));
    if (in->measured)
        printf("\"eye_order\":%.4f,\"vertical\":%.4f,\"vertical_confidence\":%.4f,", in->measure.eye_order,
               in->measure.vertical, in->measure.vertical_confidence);
    printf("\"model\":\"%s\",\"matching\":%s,", matcher_model_name(matcher_model(matcher)),
           json_quote(quoted, sizeof quoted, matcher_describe(matcher)));
    printf("\"parallax_percent\":{\"nearest\":%.4f,\"farthest\":%.4f},\"front\":%.6f,\"screen\":%.6f,\"behind\":%.6f,"
           "\"hidden\":%.6f,\"confidence\":%.6f,\"trusted\":%.6f,\"seconds\":%.4f,\"outputs\":[",
           s->nearest, s->farthest, s->front, s->screen, s->behind, s->hidden, s->confidence, s->trusted,
           matcher_seconds(matcher));
    for (int i = 0; i < job->output_count; i++)
        printf("%s%s", i ? "," : "", json_quote(quoted, sizeof quoted, job->outputs[i].path));
    printf("]}\n");
}

/* Before the work rather than after it. */
static int check_calibration(const MatchOptions *o, const Image *picture) {
    const Map shape = {.width = picture->width, .height = picture->height, .reference_right = o->reference == 1};
    Camera camera;
    return o->calib ? camera_from_calibration(o->calib, &shape, &camera) : 0;
}

static int run_job(const Work *work, const Job *job, Matcher *matcher) {
    const MatchOptions *o = work->o;
    Input in;
    int rc = read_input(job, o, &in);
    if (rc) return rc;
    const StereoPair *p = &in.pair;
    rc = check_calibration(o, &p->left);
    if (rc) {
        stereo_pair_free(&in.pair);
        return rc;
    }
    say("%s: %s", show_path(job->left), in.decided);
    warn_about(job, o, &in);
    if (o->dry_run) {
        for (int i = 0; i < job->output_count; i++) say("would write %s", show_path(job->outputs[i].path));
        stereo_pair_free(&in.pair);
        return 0;
    }
    PairOptions how = pair_defaults();
    how.scale = o->scale;
    how.reference_right = o->reference == 1;
    if (o->align && in.measured && in.measure.vertical_confidence >= VERTICAL_TRUST) how.vertical = in.measure.vertical;
    StereoMaps maps;
    PairSummary summary;
    rc = pair_match(matcher, &how, &p->left, &p->right, &maps);
    if (!rc) rc = pair_summarise(&maps, &summary);
    if ((!rc || rc == ERR_STOPPED) && run_stopped()) rc = run_stop("nothing was written");
    if (!rc) {
        const int threads = pool_threads(matcher_pool(matcher));
        say_more(1, "%s, %d thread%s, %.2f s", matcher_describe(matcher), threads, threads == 1 ? "" : "s",
                 matcher_seconds(matcher));
        FileMeta meta = {.version = "panum " PANUM_VERSION, .command = work->command};
        OutputContent content = {.maps = &maps,
                                 .left = &p->left,
                                 .right = &p->right,
                                 .quantity = o->quantity ? MAP_PARALLAX : MAP_DISPARITY,
                                 .source = job->left,
                                 .meta = o->meta ? &meta : NULL,
                                 .map_range = o->map_range.percent ? o->map_range.value * p->left.width / 100
                                                                   : o->map_range.value,
                                 .palette = (Palette)o->palette,
                                 .calibration = o->calib,
                                 .fov = o->fov};
        rc = match_make_folders(o);
        if (!rc) rc = outputs_write(job->outputs, job->output_count, o->overwrite ? OUT_OVERWRITE : OUT_NEW, &content);
    }
    if (!rc) {
        char line[300];
        pair_summary_line(&summary, line, sizeof line);
        say("%s", line);
        if (o->json) print_json(job, &in, matcher, &summary);
    }
    stereo_maps_free(&maps);
    stereo_pair_free(&in.pair);
    return rc;
}

static MatcherOptions matcher_options(const MatchOptions *o) {
    MatcherOptions how = matcher_defaults();
    how.model = (MatcherModel)o->model;
    how.weights = o->weights;
    how.ranged = o->range.given;
    how.low = o->range.low;
    how.high = o->range.high;
    how.percent = o->range.percent;
    if (!o->range.percent) {
        how.low *= o->scale;
        how.high *= o->scale;
    }
    how.positive = o->positive;
    how.threads = (int)o->threads;
    how.max_memory = o->max_memory;
    how.behaviour = (MatcherBehaviour)o->behaviour;
    how.exact = o->exact;
    how.precision = (MatcherPrecision)o->precision;
    how.refine_iter = (int)o->refine_iter;
    how.device = o->where;
    return how;
}

/* One picture through a large network can take minutes: it is watched, and Ctrl-C does not wait for its end. */
static bool watch_picture(void *context, double done) {
    if (context) progress_step(context, (int64_t)(done * 100), NULL);
    return run_stopped();
}

void match_tell_unused(const Matcher *matcher, const char *s2m2_only, bool ranged) {
    if (!s2m2_only || matcher_model(matcher) != MODEL_SGM) return;
    bool several = strchr(s2m2_only, ',') != NULL;
    say("%s %s nothing here: %s for the s2m2 models, and sgm matches%s", s2m2_only, several ? "do" : "does",
        several ? "they are" : "it is", ranged ? " where --range is given" : "");
}

/* Weights that are there and did not want to be taken: the first; NULL: there are none. */
static const char *passed_over(char *name, size_t size) {
    char path[2048];
    for (int i = MODEL_S2M2_XL; i >= MODEL_S2M2_XS; i--)
        if (model_file_find((MatcherModel)i, path, sizeof path)) {
            snprintf(name, size, "%s", matcher_model_name((MatcherModel)i));
            return name;
        }
    return NULL;
}

void match_tell_matcher(const Matcher *matcher, const MatcherOptions *asked) {
    char name[32];
    if (matcher_weights(matcher))
        say("%s matches, with the weights %s", matcher_model_name(matcher_model(matcher)),
            show_path(matcher_weights(matcher)));
    else if (asked->model == MODEL_AUTO && !asked->ranged && passed_over(name, sizeof name))
        say("%s matches, which is right more often than the weights of %s that were found; --model %s takes those",
            matcher_model_name(matcher_model(matcher)), name, name);
    else if (asked->model == MODEL_AUTO && !asked->ranged)
        say("%s matches: no weights of a network were found (panum model list tells where they are looked for)",
            matcher_model_name(matcher_model(matcher)));
}

static int run_jobs(const Work *work) {
    const MatchOptions *o = work->o;
    MatcherOptions how = matcher_options(o);
    Matcher *matcher;
    Progress progress;
    bool single = work->count == 1;
    how.watch = watch_picture;
    how.watch_context = single ? &progress : NULL;
    int rc = matcher_open(&how, &matcher), failed = 0;
    if (rc) return rc;
    talk_hold();
    if (!o->dry_run) match_tell_matcher(matcher, &how);
    match_tell_unused(matcher, work->s2m2_only, o->range.given);
    progress_begin(&progress, (ProgressStyle)o->progress, "match", single ? "%" : "pictures",
                   single ? 100 : work->count);
    for (int i = 0; !rc && i < work->count; i++) {
        talk_hold();
        rc = run_stopped() ? run_stop("the pictures before were finished") : run_job(work, &work->jobs[i], matcher);
        talk_release(rc == 0);
        if (rc && rc != ERR_STOPPED && rc != ERR_MEMORY && o->keep_going && work->count > 1) {
            say_always("panum match: %s", err_sentence());
            failed++;
            rc = 0;
        }
        if (!single || !rc) progress_step(&progress, single ? 100 : i + 1, NULL);
    }
    progress_end(&progress);
    matcher_close(matcher);
    if (!rc && failed) rc = fail(ERR_FAILED, "%d of %d pictures failed", failed, work->count);
    return rc;
}

static bool is_picture(const char *path) {
    struct stat st;
    uint8_t head[256];
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, head, sizeof head);
    if (fd >= 0) close(fd);
    ContentKind kind = n > 0 ? content_kind(head, (size_t)n) : CONTENT_UNKNOWN;
    return kind == CONTENT_PNG || kind == CONTENT_JPEG || kind == CONTENT_PNM;
}

/* One picture was given, and something that only films have was asked for. */
static int refuse_picture(const MatchOptions *o, const char *picture) {
    for (int i = 0; i < o->outputs.count; i++) {
        const char *path = o->outputs.items[i];
        if (strcmp(path, "-") == 0)
            return usage_error(&verb_match,
                               "-o -: is for films, whose colour maps go to standard output as y4m, and %s is a "
                               "picture; name a file, as -o map.npz",
                               show_path(picture));
        if (video_form(path, NULL) && !match_is_folder(path))
            return usage_error(&verb_match, "%s: is a video, and %s is a picture; name a file like map.npz or map.png",
                               show_path(path), show_path(picture));
    }
    return usage_error(&verb_match,
                       "--start, --end, --frames, --every, --resume and --video are for films, and %s is "
                       "a picture",
                       show_path(picture));
}

/* Films have a file of their own; what only pictures have is refused. */
static int run_film(const Work *work, const Parsed *parsed) {
    const MatchOptions *o = work->o;
    FileMeta meta = {.version = "panum " PANUM_VERSION, .command = work->command};
    if (is_picture(parsed->operands[0])) return refuse_picture(o, parsed->operands[0]);
    if (o->anaglyph || o->calib || o->fov > 0)
        return usage_error(&verb_match, "--anaglyph, --calib and --fov are for pictures, and this is a film");
    FilmRequest request = {.verb = &verb_match,
                           .left = parsed->operands[0],
                           .right = parsed->operand_count > 1 ? parsed->operands[1] : NULL,
                           .outputs = &o->outputs,
                           .overwrite = o->overwrite,
                           .dry_run = o->dry_run,
                           .json = o->json,
                           .resume = o->resume,
                           .video = o->video,
                           .eye_test = o->eye_test,
                           .align = o->align,
                           .swap_eyes = o->swap_eyes,
                           .reference_right = o->reference == 1,
                           .layout = (StereoLayout)o->layout,
                           .start = o->start,
                           .end = o->end,
                           .frames = o->frames,
                           .every = o->every,
                           .scale = o->scale,
                           .read = {.ignore_crc = o->ignore_crc, .lenient = o->lenient},
                           .matcher = matcher_options(o),
                           .s2m2_only = work->s2m2_only,
                           .map_range = o->map_range,
                           .palette = (Palette)o->palette,
                           .meta = o->meta ? &meta : NULL,
                           .progress = (ProgressStyle)o->progress};
    return match_film(&request);
}

static bool is_film(const MatchOptions *o, const Parsed *parsed) {
    static const char *const only[] = {"start", "end", "frames", "every", "resume", "video"};
    bool asked = false;
    for (size_t i = 0; i < sizeof only / sizeof *only; i++) asked = asked || option_given(&verb_match, parsed, only[i]);
    return match_is_film(parsed->operands[0], parsed->operand_count > 1 ? parsed->operands[1] : NULL, &o->outputs,
                         asked);
}

int app_match(int argc, char **argv) {
    MatchOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_match, argc, argv, &o, &parsed);
    if (rc) return rc;
    static const char *const s2m2_only[] = {"behaviour", "exact", "precision", "refine-iter"};
    for (size_t i = 0; !rc && o.model == MODEL_SGM && i < sizeof s2m2_only / sizeof *s2m2_only; i++)
        if (option_given(&verb_match, &parsed, s2m2_only[i]))
            rc = usage_error(&verb_match, "--%s is for the s2m2 models, and the model is sgm", s2m2_only[i]);
    if (!rc && o.range.given && o.model >= MODEL_S2M2_XS)
        rc = usage_error(&verb_match, "--range is for sgm; %s looks everywhere",
                         matcher_model_name((MatcherModel)o.model));
    if (!rc) rc = matcher_device_option(&verb_match, o.device, (MatcherModel)o.model, &o.where);
    if (!rc && o.calib && o.fov > 0) rc = usage_error(&verb_match, "--calib and --fov exclude each other");
    if (!rc && o.align && !o.eye_test)
        rc = usage_error(&verb_match, "--align needs the measurement that --no-eye-test leaves out");
    if (!rc) rc = talk_begin(&o.talk);
    Work work = {.arena = parsed.arena, .o = &o};
    for (size_t i = 0; !rc && i < sizeof s2m2_only / sizeof *s2m2_only; i++) {
        if (!option_given(&verb_match, &parsed, s2m2_only[i])) continue;
        work.s2m2_only = work.s2m2_only ? arena_format(work.arena, "%s, --%s", work.s2m2_only, s2m2_only[i])
                                        : arena_format(work.arena, "--%s", s2m2_only[i]);
        if (!work.s2m2_only) rc = ERR_MEMORY;
    }
    if (!rc) {
        work.command = command_line(work.arena, argc, argv);
        if (!work.command) rc = ERR_MEMORY;
    }
    if (!rc && is_film(&o, &parsed)) {
        rc = run_film(&work, &parsed);
    } else if (!rc) {
        rc = match_plan(&work, &parsed);
        if (!rc) rc = run_jobs(&work);
    }
    parsed_free(&parsed);
    return rc;
}
