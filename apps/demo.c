/* apps/demo.c - the whole road on a scene of our own: render, match, measure against exact truth, show. */
#include "apps/lib/anaglyph.h"
#include "apps/lib/colour.h"
#include "apps/lib/html.h"
#include "apps/lib/matcher.h"
#include "apps/lib/metrics_show.h"
#include "apps/lib/options.h"
#include "apps/lib/pair.h"
#include "apps/lib/run.h"
#include "apps/lib/summary.h"
#include "base/clock.h"
#include "data/map.h"
#include "data/scene.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    const char *output, *device;
    bool overwrite, json;
    int model;
    int64_t width, seed, threads;
    TalkOptions talk;
} DemoOptions;

static const Option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = OPTION_PATH,
     .value = "FOLDER",
     .standard = "panum-demo",
     .at = offsetof(DemoOptions, output),
     .group = "Output",
     .help = "where the pictures, the maps and index.html go"},
    OPTION_OVERWRITE(DemoOptions, overwrite, "Output"),
    {.name = "json",
     .kind = OPTION_FLAG,
     .at = offsetof(DemoOptions, json),
     .group = "Output",
     .help = "the metrics as one JSON object on standard output instead of a table"},
    {.name = "width",
     .kind = OPTION_WHOLE,
     .value = "PIXELS",
     .standard = "640",
     .least = 64,
     .most = 4096,
     .at = offsetof(DemoOptions, width),
     .group = "Scene",
     .help = "width of the pictures; the height is three quarters of it"},
    {.name = "seed",
     .kind = OPTION_WHOLE,
     .value = "N",
     .standard = "1",
     .least = 0,
     .most = 1000000,
     .at = offsetof(DemoOptions, seed),
     .group = "Scene",
     .help = "another number paints the same things with other textures"},
    {.name = "model",
     .kind = OPTION_CHOICE,
     .value = "NAME",
     .choices = MATCHER_MODELS,
     .standard = "auto",
     .at = offsetof(DemoOptions, model),
     .group = "Scene",
     .help = "who matches: " MATCHER_MODELS "; auto takes the one that panum match takes"},
    OPTION_DEVICE(DemoOptions, device, "Machine"),
    OPTION_THREADS(DemoOptions, threads, "Machine"),
    OPTIONS_TALK(DemoOptions, talk),
};

int app_demo(int argc, char **argv);
const Verb verb_demo = {
    .name = "demo",
    .operands = "",
    .summary = "render a stereo scene with known depth, match it, say how right that is, and leave a page to look at",
    .description = "Draws a small scene for two eyes: things in front of the screen, on it and behind it, thin, "
                   "slanted, round, hiding "
                   "each other. The depth of every pixel is known exactly. Then the matcher that panum match "
                   "takes finds the depth from the "
                   "two pictures alone, and both are compared.\n\n"
                   "Open index.html in the folder: it is one file, needs no network, and shows everything.",
    .examples = "  panum demo            leaves panum-demo/index.html\n"
                "  panum demo -y -o out  the same into out/, replacing what is there",
    .least = 0,
    .most = 0,
    .run = app_demo,
    .options = options,
    .count = sizeof options / sizeof *options,
};

/* Everything the demonstration makes. */
typedef struct {
    SceneViews views;
    Image mask, colours, truth_colours, errors, anaglyph;
    StereoMaps maps;
    MetricFigures figures;
    MapSummary found, truth;
    double range, render_seconds; /* range in pixels, one for both maps */
} Demo;

static void free_demo(Demo *d) {
    scene_views_free(&d->views);
    image_free(&d->mask), image_free(&d->colours), image_free(&d->truth_colours);
    image_free(&d->errors), image_free(&d->anaglyph);
    stereo_maps_free(&d->maps);
}

/* In the order of writing; the page comes last, so that it never stands beside a missing file. */
enum { LEFT, RIGHT, TRUTH, MASK, FOUND, COLOURS, TRUTH_COLOURS, ERRORS, ANAGLYPH, PAGE, FILES };
static const char *const file_names[FILES] = {"left.png",      "right.png",     "truth.pfm", "mask.png",
                                              "disparity.pfm", "disparity.png", "truth.png", "errors.png",
                                              "anaglyph.png",  "index.html"};

static const char *path_in(Arena *arena, const char *folder, int file) {
    size_t n = strlen(folder);
    return arena_format(arena, "%s%s%s", folder, n && folder[n - 1] == '/' ? "" : "/", file_names[file]);
}

/* The folder is made if it is not there, and nothing in it is in the way. */
static int prepare_folder(const DemoOptions *o, Arena *arena) {
    struct stat st;
    if (mkdir(o->output, 0777) != 0 && errno != EEXIST)
        return fail(ERR_INPUT, "%s: the folder cannot be made: %s", show_path(o->output), strerror(errno));
    if (stat(o->output, &st) != 0 || !S_ISDIR(st.st_mode))
        return fail(ERR_INPUT, "%s: is not a folder; choose another name with -o", show_path(o->output));
    for (int f = 0; f < FILES; f++) {
        const char *path = path_in(arena, o->output, f);
        if (!path) return fail(ERR_MEMORY, "no memory for file names");
        int rc = out_check(path, o->overwrite ? OUT_OVERWRITE : OUT_NEW);
        if (rc) return rc;
    }
    return 0;
}

static int compute(const DemoOptions *o, Matcher *matcher, Demo *d) {
    static Scene scene; /* large for a stack */
    scene_demo(&scene, (uint64_t)o->seed);
    int width = (int)o->width, height = (width * 3 + 2) / 4;
    double began = clock_seconds();
    int rc = scene_render(&scene, width, height, matcher_pool(matcher), &d->views);
    d->render_seconds = clock_seconds() - began;
    if (!rc) rc = scene_mask(&d->mask, &d->views.visible);
    PairOptions how = pair_defaults();
    Metrics metrics;
    if (!rc) rc = pair_match(matcher, &how, &d->views.left, &d->views.right, &d->maps);
    if (!rc) rc = metrics_measure(&metrics, &d->maps.disparity, &d->views.disparity, &d->mask);
    if (rc) return rc;
    metric_figures(&d->figures, &metrics);
    map_summarise(&d->found, &d->maps.disparity);
    map_summarise(&d->truth, &d->views.disparity);
    d->range = colour_range(&d->views.disparity);
    ColourOptions colours = {.range = d->range, .occlusion = &d->maps.occlusion};
    ColourOptions truth_colours = {.range = d->range, .occlusion = &d->views.visible};
    rc = colour_map(&d->colours, &d->maps.disparity, &colours, NULL);
    if (!rc) rc = colour_map(&d->truth_colours, &d->views.disparity, &truth_colours, NULL);
    if (!rc) rc = colour_error(&d->errors, &d->maps.disparity, &d->views.disparity, 4);
    if (!rc) rc = anaglyph_make(&d->anaglyph, &d->views.left, &d->views.right, ANAGLYPH_DUBOIS);
    return rc;
}

enum { BINS = 80 };

static void write_page(Html *html, const DemoOptions *o, Matcher *matcher, const Demo *d) {
    int width = d->views.left.width;
    html_note(html,
              "The sign: disparity d = x_left - x_right in pixels. Red, d > 0, comes out of the screen; blue, d < 0, "
              "lies behind it; "
              "white is on it. Film people say parallax p = -d in %% of the picture's width: negative comes out.");
    const int threads = pool_threads(matcher_pool(matcher));
    html_text(html,
              "A scene made of numbers was drawn for two eyes: %d x %d pixels, seed %lld, %.2f s. Its depth is known "
              "exactly for every "
              "pixel. Then the depth was looked for in the two pictures alone: %s; %.2f s on %d thread%s.",
              width, d->views.left.height, (long long)o->seed, d->render_seconds, matcher_describe(matcher),
              matcher_seconds(matcher), threads, threads == 1 ? "" : "s");
    html_heading(html, "What was found, and what is true");
    html_figures_begin(html, 2);
    html_image(html, &d->colours, "signed map of the disparity that was found",
               "Found from the two pictures. Hatched: hidden from the right eye.");
    html_image(html, &d->truth_colours, "signed map of the true disparity", "True, on the same scale.");
    html_image(html, &d->errors, "map of the errors", "The error: white is none, darkest is 4 pixels and more.");
    html_wiggle(html, &d->views.left, &d->views.right,
                "Both eyes in turn: what swings stands off the screen, what rests is on it; things in front and behind "
                "swing in opposite directions.");
    html_figures_end(html);
    html_heading(html, "How right it is");
    metrics_html(html, &d->figures,
                 "EPE is the mean error in pixels; bad x the share of pixels more than x pixels off; D1 more than 3 "
                 "pixels and 5 % off; sign right "
                 "among pixels more than 2 pixels off the screen. Hidden pixels are seen by the left eye only: nothing "
                 "in the pictures says how "
                 "far they are.");
    html_heading(html, "How much of it is where");
    double found[BINS], truth[BINS];
    map_histogram(&d->maps.disparity, -d->range, d->range, BINS, found);
    map_histogram(&d->views.disparity, -d->range, d->range, BINS, truth);
    html_parallax_histogram(
        html, found, truth, BINS, d->range, width,
        "Parallax in % of the width. Bars: found; line: true. Heights grow with the square root of the share.");
    html_text(html,
              "In front of the screen: %.1f %% of the picture (true: %.1f %%); behind: %.1f %% (true: %.1f %%). "
              "Parallax from %+.2f to "
              "%+.2f %% of the width for 98 %% of it (true: %+.2f to %+.2f %%).",
              100 * d->found.front, 100 * d->truth.front, 100 * d->found.behind, 100 * d->truth.behind,
              -100 * d->found.disparity[4] / width, -100 * d->found.disparity[0] / width,
              -100 * d->truth.disparity[4] / width, -100 * d->truth.disparity[0] / width);
    html_heading(html, "The pair");
    html_figures_begin(html, 3);
    html_image(html, &d->views.left, "the left eye's picture", "Left eye.");
    html_image(html, &d->views.right, "the right eye's picture",
               "Right eye. Side by side: let your left eye look at the left picture.");
    html_image(html, &d->anaglyph, "red-cyan anaglyph",
               "For red-cyan glasses, red on the left (Dubois, in linear light).");
    html_figures_end(html);
    html_heading(html, "Again, by hand");
    html_command(
        html, "panum match left.png right.png -o d.pfm -o d.png\npanum eval d.pfm --truth truth.pfm --mask mask.png");
}

static int write_files(const DemoOptions *o, Matcher *matcher, const Demo *d, const FileMeta *meta, Arena *arena) {
    OutMode mode = o->overwrite ? OUT_OVERWRITE : OUT_NEW;
    const Image *images[FILES] = {[LEFT] = &d->views.left,  [RIGHT] = &d->views.right,           [MASK] = &d->mask,
                                  [COLOURS] = &d->colours,  [TRUTH_COLOURS] = &d->truth_colours, [ERRORS] = &d->errors,
                                  [ANAGLYPH] = &d->anaglyph};
    static const char *const kinds[FILES] = {[LEFT] = "left eye",
                                             [RIGHT] = "right eye",
                                             [MASK] = "255 seen by both eyes, 128 hidden from the right one",
                                             [COLOURS] = "colour map of disparity",
                                             [TRUTH_COLOURS] = "colour map of the true disparity",
                                             [ERRORS] = "error of disparity",
                                             [ANAGLYPH] = "red-cyan anaglyph"};
    const Map *maps[FILES] = {[TRUTH] = &d->views.disparity, [FOUND] = &d->maps.disparity};
    for (int f = 0; f < PAGE; f++) {
        const char *path = path_in(arena, o->output, f);
        int rc =
            images[f] ? image_write(path, mode, images[f], kinds[f], meta) : map_write(path, mode, maps[f], meta, NULL);
        if (rc) return rc;
    }
    Out *out;
    int rc = out_open(path_in(arena, o->output, PAGE), mode, &out);
    if (rc) return rc;
    Html html;
    html_begin(&html, out, "panum: depth with a sign");
    write_page(&html, o, matcher, d);
    rc = html_end(&html);
    if (!rc) return out_commit(&out);
    out_abort(&out);
    return rc;
}

static void print_summary(const DemoOptions *o, const Demo *d, const char *page) {
    int width = d->views.left.width;
    if (o->json) {
        metrics_json(stdout, &d->figures);
        putchar('\n');
    } else {
        metrics_table(stdout, &d->figures);
    }
    say("found: parallax %+.2f to %+.2f %% of the width (true %+.2f to %+.2f); %.0f %% in front of the screen, %.0f %% "
        "behind (true %.0f, %.0f)",
        -100 * d->found.disparity[4] / width, -100 * d->found.disparity[0] / width,
        -100 * d->truth.disparity[4] / width, -100 * d->truth.disparity[0] / width, 100 * d->found.front,
        100 * d->found.behind, 100 * d->truth.front, 100 * d->truth.behind);
    say("look at %s", show_path(page));
}

int app_demo(int argc, char **argv) {
    DemoOptions o = {0};
    Parsed parsed;
    int rc = options_parse(&verb_demo, argc, argv, &o, &parsed);
    if (rc) return rc;
    Demo d;
    memset(&d, 0, sizeof d);
    Matcher *matcher = NULL;
    rc = talk_begin(&o.talk);
    MatcherOptions how = matcher_defaults();
    how.model = (MatcherModel)o.model;
    how.threads = (int)o.threads;
    if (!rc) rc = matcher_device_option(&verb_demo, o.device, how.model, &how.device);
    if (!rc) rc = prepare_folder(&o, parsed.arena);
    if (!rc) rc = matcher_open(&how, &matcher);
    if (!rc && matcher_weights(matcher))
        say("%s matches, with the weights %s", matcher_model_name(matcher_model(matcher)),
            show_path(matcher_weights(matcher)));
    else if (!rc)
        say("sgm matches, which needs no weights");
    if (!rc) rc = compute(&o, matcher, &d);
    if (!rc && run_stopped()) rc = run_stop("nothing was written");
    const FileMeta meta = {.version = "panum " PANUM_VERSION, .command = "panum demo"};
    if (!rc) rc = write_files(&o, matcher, &d, &meta, parsed.arena);
    if (!rc) print_summary(&o, &d, path_in(parsed.arena, o.output, PAGE));
    matcher_close(matcher);
    free_demo(&d);
    parsed_free(&parsed);
    return rc;
}
